//! Puts, removals and touches that fail, by the policies `error` and `drop`.

use cacheness::{Error, ErrorKind, OnWriteError, PutOptions, RemoteCalls, StoredState};

use super::{Remote, SECOND, blocking, large};

fn once() -> RemoteCalls {
    RemoteCalls::new().attempts(1).breaker_failures(1_000)
}

#[tokio::test]
async fn by_default_a_write_that_fails_is_an_error() {
    let remote = Remote::new();
    let cache = remote.builder().remote(once()).open().await.unwrap();
    cache.put("k", "v").await.unwrap();
    remote.gone(true);
    assert_eq!(cache.put("k", "w").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(cache.remove("k").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(cache.touch("k").await.unwrap_err().kind(), ErrorKind::Unavailable);
    remote.gone(false);
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn a_write_that_is_dropped_is_counted_and_told() {
    let remote = Remote::new();
    let builder = remote.builder().remote(once()).on_write_error(OnWriteError::Drop);
    let cache = builder.open().await.unwrap();
    let stored = cache.put("k", "v").await.unwrap();
    assert!(stored.is_stored() && stored.version.is_some_and(|version| version.0 > 0));
    remote.gone(true);
    let dropped = cache.put("k", &large()).await.unwrap();
    assert_eq!((dropped.state, dropped.version), (StoredState::Dropped, None));
    assert!(!dropped.is_stored());
    let dropped = blocking(&cache).put_many([("a", &1), ("b", &2)], PutOptions::new()).unwrap();
    assert!(dropped.iter().all(|put| put.state == StoredState::Dropped) && dropped.len() == 2);
    assert!(!cache.remove("k").await.unwrap());
    assert_eq!(cache.remove_many(&["a", "b"]).await.unwrap(), 0);
    assert!(!cache.touch("k").await.unwrap());
    remote.gone(false);
    assert_eq!(cache.health().await.unwrap().writes.dropped, 7);
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("v"), "what was there stays");
    assert_eq!(cache.stats().await.unwrap().entries, 1);
    let told = remote.told(cache).await;
    let told: Vec<_> = told.iter().filter(|line| line.starts_with("write")).collect();
    let expected = ["k", "a", "b", "k", "a", "b", "k"].map(|key| format!("write_dropped {key}"));
    assert_eq!(told, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_error_that_will_not_pass_is_an_error_by_every_policy() {
    for policy in [OnWriteError::Error, OnWriteError::Drop, OnWriteError::Queue] {
        let remote = Remote::new();
        let cache = remote.builder().remote(once()).on_write_error(policy).open().await.unwrap();
        remote.metadata.fail_all(Some(Error::new(ErrorKind::PermissionDenied, "not you")));
        assert_eq!(cache.put("k", "v").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(cache.remove("k").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        remote.metadata.fail_all(None);
        assert_eq!(cache.health().await.unwrap().writes, Default::default());
    }
}

#[tokio::test]
async fn superseded_blobs_of_a_remote_store_are_deleted_behind_the_back_of_puts() {
    let remote = Remote::new();
    let cache = remote.open().await;
    cache.put("k", &large()).await.unwrap();
    cache.put("k", &large()).await.unwrap();
    remote.clock.advance(100 * SECOND);
    cache.put("other", "v").await.unwrap();
    super::eventually(|| remote.blobs.calls_of("delete_many") > 0);
    assert_eq!(cache.get::<Vec<u8>, _>("k").await.unwrap(), Some(large()));
}

#[test]
fn garbage_of_a_remote_store_goes_though_more_is_made_than_one_batch_of_an_embedded_one() {
    let remote = Remote::new();
    let cache = remote.builder().open_blocking().unwrap();
    for _ in 0..200 {
        cache.put("k", &large()).unwrap();
    }
    remote.clock.advance(100 * SECOND);
    cache.put("other", "v").unwrap();
    super::eventually(|| cache.sweep_dry_run(std::time::Duration::ZERO).unwrap().blobs == 1);
    assert_eq!(cache.get::<Vec<u8>, _>("k").unwrap(), Some(large()));
}
