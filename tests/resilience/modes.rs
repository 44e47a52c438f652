//! The three ways in which programs want to live with failures, each by options alone: go on without the cache, be spared a server that is
//! down, or be told at once.

use cacheness::{Config, Error, ErrorKind, PutOptions, StoredState, Variables};

use super::{Remote, SECOND};

async fn open(remote: &Remote, text: &str) -> cacheness::Cache {
    let config = Config::from_toml(text, &Variables::none()).unwrap();
    remote.builder().config(config).unwrap().open().await.unwrap()
}

/// `graceful_degradation`: the program notices nothing but misses.
// shows: row U43
#[tokio::test]
async fn a_cache_may_degrade_gracefully() {
    let remote = Remote::new();
    let text =
        "on_read_error = 'miss'\non_write_error = 'drop'\n[remote]\nattempts = 1\nbreaker_failures = 1000";
    let cache = open(&remote, text).await;
    cache.put("k", "v").await.unwrap();
    remote.gone(true);
    assert_eq!(cache.get::<String, _>("k").await.unwrap(), None);
    assert_eq!(cache.put("k", "w").await.unwrap().state, StoredState::Dropped);
    assert!(!cache.remove("k").await.unwrap());
    remote.gone(false);
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("v"));
}

/// `circuit_breaker`: after so many failures a server is left alone for a while.
// shows: row U43
#[tokio::test]
async fn a_cache_may_leave_a_server_alone_that_fails() {
    let remote = Remote::new();
    let text = "[remote]\nattempts = 1\nbreaker_failures = 2\nbreaker_pause = '5s'";
    let cache = open(&remote, text).await;
    remote.gone(true);
    for _ in 0..2 {
        assert_eq!(cache.put("k", "v").await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    let calls = remote.metadata.calls();
    assert_eq!(cache.put("k", "v").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(remote.metadata.calls(), calls, "the server is not asked");
    remote.gone(false);
    remote.clock.advance(6 * SECOND);
    cache.put("k", "v").await.unwrap();
}

/// `fail_fast`: the first failure is an error, of reads as of writes.
// shows: row U43
#[tokio::test]
async fn a_cache_may_fail_fast() {
    let remote = Remote::new();
    let text = "on_read_error = 'error'\non_write_error = 'error'\n[remote]\nattempts = 1";
    let cache = open(&remote, text).await;
    cache.put("k", "v").await.unwrap();
    let calls = remote.metadata.calls_of("get_entry");
    remote.metadata.fail_next("get_entry", Error::new(ErrorKind::Unavailable, "the server is down"));
    assert_eq!(cache.get::<String, _>("k").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(remote.metadata.calls_of("get_entry"), calls + 1, "it is not asked again");
}

/// A value that cannot be encoded is an error of the put by each of them, of a kind of its own, so that the program can leave the cache out
/// (`skip_cache`), choose another format (`fallback_serializer`), or log it and go on; what was stored before stays.
// shows: row U43
#[tokio::test]
async fn a_value_that_no_format_takes_can_be_told_from_a_failure() {
    let remote = Remote::new();
    let cache = open(&remote, "on_write_error = 'drop'").await;
    cache.put("k", "v").await.unwrap();
    let value = std::collections::BTreeMap::from([(vec![1_u8], 1_u8)]);
    let error = cache.put_with("k", &value, PutOptions::new().handler("json")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Encode, false));
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("v"));
    cache.put_with("k", &value, PutOptions::new().handler("msgpack")).await.unwrap();
    assert_eq!(cache.get("k").await.unwrap(), Some(value));
}
