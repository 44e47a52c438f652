//! Closing and dropping a cache whose servers are gone or hang.

use cacheness::{OnWriteError, RemoteCalls};

use super::{HANGS, Remote, SECOND, blocking, large, refused};

fn with_hanging_servers(remote: &Remote) {
    let _ = remote.metadata.clone().slow_by_clock(HANGS);
    let _ = remote.blobs.clone().slow_by_clock(HANGS);
}

#[tokio::test]
async fn a_server_that_hangs_does_not_hang_a_close() {
    let remote = Remote::new();
    let cache = remote.open().await;
    cache.put("k", &large()).await.unwrap();
    with_hanging_servers(&remote);
    let (closed, took) = remote.turning(cache.close()).await;
    assert!(closed.is_err() && took <= 45 * SECOND, "{took:?}");
    assert_eq!(
        remote.metadata.calls_of("due_garbage"),
        0,
        "where nobody answers, nobody is waited for again"
    );
}

#[test]
fn a_server_that_hangs_does_not_hang_a_drop() {
    let remote = Remote::new();
    let cache = remote.builder().open_blocking().unwrap();
    cache.put("k", &large()).unwrap();
    with_hanging_servers(&remote);
    let ((), took) = remote.turning_for(|| drop(cache));
    assert!(took <= 45 * SECOND, "{took:?}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_of_at_once() {
    let remote = Remote::new();
    let cache = remote.open().await;
    cache.put("k", &large()).await.unwrap();
    remote.gone(true);
    let (closed, took) = remote.turning(cache.close()).await;
    assert!(closed.is_err() && took < SECOND, "{took:?}");
    assert!(cache.close().await.is_ok(), "it is closed");
}

#[tokio::test]
async fn closing_makes_the_writes_that_wait_though_the_pause_is_not_over() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1);
    let builder = remote.builder().remote(calls).on_write_error(OnWriteError::Queue);
    let cache = builder.open().await.unwrap();
    remote.gone(true);
    cache.put("k", "v").await.unwrap();
    remote.gone(false);
    let applied = remote.metadata.calls_of("apply");
    cache.close().await.unwrap();
    assert_eq!(remote.metadata.calls_of("apply"), applied + 1);
}

#[test]
fn closing_says_how_many_writes_are_lost_and_does_not_wait_for_long() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1);
    let builder = remote.builder().remote(calls).on_write_error(OnWriteError::Queue);
    let cache = builder.open_blocking().unwrap();
    remote.gone(true);
    cache.put("a", "v").unwrap();
    cache.put("b", &large()).unwrap();
    remote.gone(false);
    with_hanging_servers(&remote);
    let (closed, took) = remote.turning_for(|| cache.close());
    let error = closed.unwrap_err().to_string();
    assert!(error.contains("2 writes") && error.contains("are lost"), "{error}");
    assert!(took <= 60 * SECOND, "{took:?}");
    assert_eq!(
        remote.told.lock().unwrap().iter().filter(|line| line.starts_with("write_dropped")).count(),
        2
    );
    drop(cache);
}

#[tokio::test]
async fn a_closed_cache_queues_nothing() {
    let remote = Remote::new();
    let builder = remote.builder().on_write_error(OnWriteError::Queue);
    let cache = builder.open().await.unwrap();
    cache.close().await.unwrap();
    remote.metadata.fail_all(Some(refused()));
    assert!(blocking(&cache).put("k", "v").is_err() && cache.health().await.is_err());
}

#[tokio::test]
async fn closing_makes_what_waits_though_some_calls_fail() {
    let remote = Remote::new();
    let builder = remote.builder().remote(RemoteCalls::new().breaker_failures(1_000));
    let cache = builder.on_write_error(OnWriteError::Queue).open().await.unwrap();
    remote.gone(true);
    for key in ["a", "b", "c"] {
        remote.turning(cache.put(key, "v")).await.0.unwrap();
    }
    remote.gone(false);
    let applied = remote.metadata.calls_of("apply");
    (0..3).for_each(|_| remote.metadata.fail_next("apply", refused()));
    let (closed, took) = remote.turning(cache.close()).await;
    closed.unwrap();
    assert_eq!(remote.metadata.calls_of("apply"), applied + 6);
    assert!(took < 10 * SECOND, "{took:?}");
}

#[tokio::test]
async fn closing_waits_for_another_call_that_tries_out_the_backend() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1);
    let builder = remote.builder().remote(calls).on_write_error(OnWriteError::Queue);
    let cache = builder.open().await.unwrap();
    remote.gone(true);
    cache.put("k", "v").await.unwrap();
    remote.gone(false);
    let _ = remote.metadata.clone().slow_by_clock(SECOND);
    remote.clock.advance(5 * SECOND);
    let probing = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<u8, _>("other").await })
    };
    while remote.metadata.calls_of("ping") == 0 {
        tokio::task::yield_now().await;
    }
    let applied = remote.metadata.calls_of("apply");
    let (closed, _) = remote.turning(cache.close()).await;
    closed.unwrap();
    assert_eq!(remote.metadata.calls_of("apply"), applied + 1);
    assert_eq!(probing.await.unwrap().unwrap(), None);
}

#[test]
fn closing_loses_none_but_the_writes_that_need_what_hangs() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1);
    let builder = remote.builder().remote(calls).on_write_error(OnWriteError::Queue);
    let cache = builder.open_blocking().unwrap();
    remote.gone(true);
    for key in ["a", "b", "c", "d"] {
        cache.put(key, &large()).unwrap();
    }
    for key in ["e", "f", "g"] {
        cache.put(key, "v").unwrap();
    }
    remote.gone(false);
    let _ = remote.blobs.clone().slow_by_clock(HANGS);
    let (closed, took) = remote.turning_for(|| cache.close());
    let error = closed.unwrap_err().to_string();
    assert!(error.contains("4 writes") && took <= 60 * SECOND, "{took:?} {error}");
}
