//! The circuit breaker of each backend.

use cacheness::{ErrorKind, OnReadError, RemoteCalls};

use super::{Remote, SECOND, down, large};

fn once() -> RemoteCalls {
    RemoteCalls::new().attempts(1).breaker_failures(3)
}

// shows: row 101
#[tokio::test]
async fn gets_of_a_backend_that_is_gone_become_misses_that_cost_nothing_and_hits_again_when_it_is_back() {
    let remote = Remote::new();
    let builder = remote.builder().on_read_error(OnReadError::Miss).remote(once());
    let cache = builder.open().await.unwrap();
    cache.put("k", &large()).await.unwrap();
    let get = || cache.get::<Vec<u8>, _>("k");
    assert_eq!(get().await.unwrap(), Some(large()));
    remote.gone(true);
    for _ in 0..10 {
        assert_eq!(get().await.unwrap(), None);
    }
    assert_eq!(remote.metadata.calls_of("get_entry"), 1 + 3, "seven of them were not made");
    assert_eq!(cache.put("k", "v").await.unwrap_err().kind(), ErrorKind::Unavailable);
    remote.gone(false);
    assert_eq!(get().await.unwrap(), None, "it is not tried again before the pause is over");
    remote.clock.advance(5 * SECOND);
    assert_eq!(get().await.unwrap(), Some(large()));
    assert_eq!(remote.metadata.calls_of("ping"), 1);
    let told = remote.told(cache).await;
    assert_eq!(
        told,
        ["metadata far degraded", "metadata far down", "metadata far degraded", "metadata far ok"]
    );
}

#[tokio::test]
async fn a_probe_that_fails_keeps_calls_from_being_made_for_another_pause() {
    let remote = Remote::new();
    let cache = remote.builder().remote(once()).open().await.unwrap();
    remote.gone(true);
    for _ in 0..3 {
        cache.get::<u8, _>("k").await.unwrap_err();
    }
    for round in 1..4 {
        remote.clock.advance(5 * SECOND);
        for _ in 0..3 {
            let error = cache.get::<u8, _>("k").await.unwrap_err();
            assert!(error.to_string().contains("it is not called"), "{error}");
            assert!(
                error.to_string().contains("the server is down") && !error.is_outcome_unknown(),
                "{error}"
            );
        }
        assert_eq!((remote.metadata.calls_of("ping"), remote.metadata.calls_of("get_entry")), (round, 3));
    }
    // A store that answers its ping and fails the call is not taken for healthy.
    remote.gone(false);
    remote.metadata.fail_next("get_entry", down());
    remote.clock.advance(5 * SECOND);
    cache.get::<u8, _>("k").await.unwrap_err();
    let made = remote.metadata.calls();
    cache.get::<u8, _>("k").await.unwrap_err();
    assert_eq!(remote.metadata.calls(), made);
    remote.clock.advance(5 * SECOND);
    assert_eq!(cache.get::<u8, _>("k").await.unwrap(), None);
}

#[tokio::test]
async fn one_call_at_a_time_tries_whether_the_backend_is_back() {
    let remote = Remote::new();
    let cache = remote.builder().remote(once()).open().await.unwrap();
    remote.gone(true);
    for _ in 0..3 {
        cache.get::<u8, _>("k").await.unwrap_err();
    }
    remote.gone(false);
    let _ = remote.metadata.clone().slow_by_clock(SECOND);
    remote.clock.advance(5 * SECOND);
    let probing = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<u8, _>("k").await })
    };
    while remote.clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        let error = cache.get::<u8, _>("k").await.unwrap_err();
        assert!(error.to_string().contains("it is being tried out now"), "{error}");
    }
    let (got, _) = remote.turning(probing).await;
    assert_eq!(got.unwrap().unwrap(), None);
    assert_eq!((remote.metadata.calls_of("ping"), remote.metadata.calls_of("get_entry")), (1, 4));
    remote.metadata.calm(true);
}

#[tokio::test]
async fn when_the_backend_answers_its_ping_others_do_not_wait_for_the_call_that_tried_it() {
    let remote = Remote::new();
    let cache = remote.builder().remote(once()).open().await.unwrap();
    cache.put("k", &large()).await.unwrap();
    remote.gone(true);
    for _ in 0..3 {
        cache.put("other", &large()).await.unwrap_err();
    }
    remote.gone(false);
    let _ = remote.blobs.clone().slow_by_clock(SECOND);
    remote.clock.advance(5 * SECOND);
    let made = remote.blobs.calls_of("put");
    let probing = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.put("other", &large()).await })
    };
    while remote.clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(remote.blobs.calls_of("ping"), 1);
    remote.clock.advance(SECOND);
    while remote.blobs.calls_of("put") == made {
        tokio::task::yield_now().await;
    }
    // It is under way, and the blob of another key is got meanwhile.
    let (got, took) = remote.turning(cache.get::<Vec<u8>, _>("k")).await;
    assert!(got.unwrap() == Some(large()) && took <= SECOND, "{took:?}");
    remote.turning(probing).await.0.unwrap().unwrap();
    remote.blobs.calm(true);
}

#[tokio::test]
async fn a_moment_in_which_all_calls_fail_at_once_does_not_open_it_where_they_succeed_when_repeated() {
    let remote = Remote::new();
    let cache = remote.open().await;
    (0..40).for_each(|_| remote.metadata.fail_next("get_entry", down()));
    let gets = (0..40).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<u8, _>("k").await })
    });
    let gets: Vec<_> = gets.collect();
    let (all, _) = remote
        .turning(async {
            let mut all = Vec::new();
            for get in gets {
                all.push(get.await.unwrap());
            }
            all
        })
        .await;
    assert!(all.iter().filter(|got| got.is_ok()).count() >= 35, "{all:?}");
}

#[tokio::test]
async fn attempts_that_time_out_open_it_one_by_one() {
    let remote = Remote::new();
    let cache = remote.open().await;
    let _ = remote.metadata.clone().slow_by_clock(super::HANGS);
    let (_, took) = remote
        .turning(async {
            while !cache.get::<u8, _>("k").await.unwrap_err().to_string().contains("it is not called") {}
        })
        .await;
    assert!(took <= 60 * SECOND, "{took:?}");
    remote.metadata.calm(true);
}

#[tokio::test]
async fn each_backend_has_its_own() {
    let remote = Remote::new();
    let cache = remote.builder().remote(once()).open().await.unwrap();
    remote.blobs.fail_all(Some(down()));
    for _ in 0..4 {
        cache.put("k", &large()).await.unwrap_err();
    }
    assert_eq!(remote.blobs.calls_of("put"), 3);
    cache.put("k", "small").await.unwrap();
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("small"));
    remote.blobs.fail_all(None);
}

#[tokio::test]
async fn errors_of_a_backend_that_answers_do_not_open_it() {
    let remote = Remote::new();
    let cache = remote.builder().remote(once()).open().await.unwrap();
    remote.metadata.fail_all(Some(cacheness::Error::new(ErrorKind::StorageFull, "the disk is full")));
    for _ in 0..10 {
        assert_eq!(cache.put("k", "v").await.unwrap_err().kind(), ErrorKind::StorageFull);
    }
    remote.metadata.fail_all(None);
    cache.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn the_question_whether_it_answers_takes_no_longer_than_one_attempt_whatever_the_call_may_take() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1);
    let cache = remote.builder().remote(calls).open().await.unwrap();
    let value = vec![7_u8; 40 << 20];
    remote.blobs.fail_next("put", down());
    cache.put("k", &value).await.unwrap_err();
    remote.clock.advance(5 * SECOND);
    let _ = remote.blobs.clone().slow_by_clock(super::HANGS);
    let (put, took) = remote.turning(cache.put("k", &value)).await;
    assert!(put.unwrap_err().to_string().contains("it is not called") && took <= 11 * SECOND, "{took:?}");
    remote.blobs.calm(true);
}

#[tokio::test]
async fn no_blob_is_written_for_an_entry_that_cannot_be_put() {
    let remote = Remote::new();
    let cache = remote.builder().remote(once()).open().await.unwrap();
    remote.metadata.fail_all(Some(down()));
    for _ in 0..3 {
        cache.get::<u8, _>("k").await.unwrap_err();
    }
    for round in 0..3 {
        let error = cache.put("k", &large()).await.unwrap_err();
        assert!(error.to_string().contains("metadata backend `far`"), "{error}");
        assert_eq!((remote.blobs.calls_of("put"), remote.metadata.calls_of("ping")), (0, round));
        // When the pause is over, it is asked before.
        remote.clock.advance(5 * SECOND);
    }
    remote.metadata.fail_all(None);
    remote.clock.advance(5 * SECOND);
    cache.put("k", &large()).await.unwrap();
    assert_eq!((remote.blobs.calls_of("put"), remote.metadata.calls_of("apply")), (1, 1));
}
