//! The three ways in which programs want to live with failures, each by options alone: go on without the cache, be spared a server that is
//! down, or be told at once.

use std::collections::BTreeMap;

use cacheness::{Config, Error, ErrorKind, PutOptions, Stored, StoredState, Variables};

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

/// A value that JSON cannot encode, since its keys are no text.
fn no_json() -> BTreeMap<Vec<u8>, u8> {
    BTreeMap::from([(vec![1], 1)])
}

/// By default it is an error of a kind of its own, whatever becomes of other failures, and what was stored before stays.
// shows: row U43
#[tokio::test]
async fn a_value_that_its_format_cannot_encode_is_an_error() {
    let remote = Remote::new();
    let cache = open(&remote, "on_write_error = 'drop'").await;
    cache.put("k", "v").await.unwrap();
    let error = cache.put_with("k", &no_json(), PutOptions::new().handler("json")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Encode, false));
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("v"));
}

/// `skip_cache` and `log_and_continue`: the program goes on without it, and it is logged, counted and told.
// shows: row U43
#[tokio::test]
async fn a_value_that_its_format_cannot_encode_may_be_left_out() {
    let remote = Remote::new();
    let cache = open(&remote, "on_encode_error = 'drop'").await;
    let json = || PutOptions::new().handler("json");
    let stored = cache.put_with("k", &no_json(), json()).await.unwrap();
    assert_eq!((stored.state, stored.version, stored.key.as_str()), (StoredState::Dropped, None, "k"));
    assert_eq!(cache.get::<BTreeMap<Vec<u8>, u8>, _>("k").await.unwrap(), None);
    let (bad, good) = (no_json(), BTreeMap::from([(vec![], 1)]));
    let face = super::blocking(&cache);
    let many = face.put_many([("a", &bad), ("b", &good), ("c", &bad)], PutOptions::new()).unwrap();
    assert!(many.iter().all(Stored::is_stored), "the format of their own choice takes them");
    let many = face.put_many([("a", &bad), ("b", &bad)], json()).unwrap();
    let keys: Vec<&str> = many.iter().map(|put| put.key.as_str()).collect();
    assert!(many.iter().all(|put| put.state == StoredState::Dropped) && keys == ["a", "b"]);
    assert_eq!(cache.get("a").await.unwrap(), Some(no_json()), "what was stored before stays");
    assert_eq!(cache.health().await.unwrap().writes.dropped, 3);
    let told = remote.told(cache).await;
    assert_eq!(told, ["write_dropped k", "write_dropped a", "write_dropped b"]);
}

/// `fallback_serializer`: another format takes its place.
// shows: row U43
#[tokio::test]
async fn a_value_that_its_format_cannot_encode_may_be_given_to_another() {
    let remote = Remote::new();
    let cache = open(&remote, "on_encode_error = 'other_format'").await;
    let stored = cache.put_with("k", &no_json(), PutOptions::new().handler("json")).await.unwrap();
    assert!(stored.is_stored());
    assert_eq!(cache.get("k").await.unwrap(), Some(no_json()));
    assert_eq!(cache.get_entry("k").await.unwrap().unwrap().format.handler, "msgpack");
}

/// Where some of many cannot be encoded, each outcome stands where its value stood.
#[tokio::test]
async fn outcomes_of_many_puts_keep_their_places_where_some_are_left_out() {
    /// Encodes only what is even.
    #[derive(serde::Deserialize)]
    struct Even(u8);

    impl serde::Serialize for Even {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0.is_multiple_of(2) {
                self.0.serialize(serializer)
            } else {
                Err(serde::ser::Error::custom("odd"))
            }
        }
    }

    let remote = Remote::new();
    let cache = open(&remote, "on_encode_error = 'drop'").await;
    let values = [1, 2, 3, 4, 5].map(Even);
    let values = values.iter().enumerate().map(|(at, value)| (format!("k{at}"), value));
    let stored = super::blocking(&cache).put_many(values, PutOptions::new()).unwrap();
    let found: Vec<(&str, bool)> = stored.iter().map(|put| (put.key.as_str(), put.is_stored())).collect();
    assert_eq!(found, [("k0", false), ("k1", true), ("k2", false), ("k3", true), ("k4", false)]);
}
