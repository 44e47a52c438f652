//! Timeouts, repetitions, deadlines, and what is never repeated.

use std::time::Duration;

use cacheness::{Error, ErrorKind, OnReadError, PutOptions, RemoteCalls};

use super::{HANGS, Remote, SECOND, blocking, down, eventually, large};

const MILLI: Duration = Duration::from_millis(1);

#[tokio::test]
async fn what_fails_for_a_reason_that_may_pass_is_made_again() {
    let remote = Remote::new();
    let cache = remote.open().await;
    cache.put("k", &large()).await.unwrap();
    for (chaos, method) in [(&remote.metadata, "get_entry"), (&remote.blobs, "get_range")] {
        (0..3).for_each(|_| chaos.fail_next(method, down()));
    }
    let (before, blobs_before) = (remote.metadata.calls_of("get_entry"), remote.blobs.calls_of("get_range"));
    let (got, took) = remote.turning(cache.get::<Vec<u8>, _>("k")).await;
    assert_eq!(got.unwrap(), Some(large()));
    assert_eq!(remote.metadata.calls_of("get_entry") - before, 4);
    assert_eq!(remote.blobs.calls_of("get_range") - blobs_before, 4);
    // Three pauses each, of 100, 200 and 400 ms at the most.
    assert!(took <= 1406 * MILLI, "{took:?}");
}

#[test]
fn the_blocking_face_repeats_as_well() {
    let remote = Remote::new();
    let cache = remote.builder().open_blocking().unwrap();
    cache.put("k", "v").unwrap();
    (0..3).for_each(|_| remote.metadata.fail_next("get_entry", down()));
    let (got, _) = remote.turning_for(|| cache.get::<String, _>("k"));
    assert_eq!(got.unwrap().as_deref(), Some("v"));
    remote.gone(true);
    let (got, _) = remote.turning_for(|| cache.get::<String, _>("k"));
    assert_eq!(got.unwrap_err().kind(), ErrorKind::Unavailable);
    remote.gone(false);
}

#[tokio::test]
async fn a_call_is_given_up_after_its_last_attempt() {
    let remote = Remote::new();
    let cache = remote.builder().remote(RemoteCalls::new().attempts(3)).open().await.unwrap();
    remote.gone(true);
    let (got, _) = remote.turning(cache.get::<u8, _>("k")).await;
    let error = got.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("backend: far"), "{error}");
    assert_eq!(remote.metadata.calls_of("get_entry"), 3);
    remote.gone(false);
}

#[tokio::test]
async fn what_will_not_pass_is_not_made_again() {
    let remote = Remote::new();
    let cache = remote.open().await;
    remote.metadata.fail_next("get_entry", Error::new(ErrorKind::PermissionDenied, "not you"));
    assert_eq!(cache.get::<u8, _>("k").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(remote.metadata.calls_of("get_entry"), 1);
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline_on_both_faces() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(100).timeout(4 * SECOND).deadline(10 * SECOND);
    let cache = remote.builder().remote(calls.breaker_failures(1_000)).open().await.unwrap();
    let _ = remote.metadata.clone().slow_by_clock(HANGS);
    let (got, took) = remote.turning(cache.get::<u8, _>("k")).await;
    assert_eq!(got.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(took <= 10_200 * MILLI && remote.metadata.calls_of("get_entry") >= 2, "{took:?}");
    let cache = blocking(&cache);
    let (got, took) = remote.turning_for(|| cache.get::<u8, _>("k"));
    assert_eq!(got.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(took <= 10_200 * MILLI, "{took:?}");
    remote.metadata.calm(true);
}

#[tokio::test]
async fn a_large_blob_has_more_time_than_a_small_one() {
    let remote = Remote::new();
    let cache = remote.open().await;
    let value = vec![7_u8; 40 << 20];
    cache.put("k", &value).await.unwrap();
    // Five parts of 8 MiB and a rest have six times ten seconds.
    let _ = remote.blobs.clone().slow_by_clock(55 * SECOND);
    let (got, took) = remote.turning(cache.get::<Vec<u8>, _>("k")).await;
    assert!(got.unwrap() == Some(value) && took >= 55 * SECOND);
    let (stored, took) = remote.turning(cache.put("small", &large())).await;
    assert!(stored.unwrap_err().kind() == ErrorKind::Timeout && took <= 32 * SECOND, "{took:?}");
    remote.blobs.calm(true);
}

#[tokio::test]
async fn a_put_is_made_again_and_what_it_stored_stays_readable_though_answers_were_lost() {
    let remote = Remote::new();
    let cache = remote.open().await;
    remote.metadata.lose_answers(true);
    remote.metadata.fail_next("apply", down());
    remote.blobs.lose_answers(true);
    remote.blobs.fail_next("put", down());
    let (stored, _) = remote.turning(cache.put("k", &large())).await;
    stored.unwrap();
    assert_eq!((remote.metadata.calls_of("apply"), remote.blobs.calls_of("put")), (2, 2));
    remote.clock.advance(1_000 * SECOND);
    cache.purge().await.unwrap();
    assert_eq!(cache.get::<Vec<u8>, _>("k").await.unwrap(), Some(large()), "its blob became no garbage");
}

#[tokio::test]
async fn a_put_whose_last_answer_was_lost_is_an_error_and_its_blob_is_kept() {
    let remote = Remote::new();
    let cache = remote.open().await;
    remote.metadata.lose_answers(true);
    (0..4).for_each(|_| remote.metadata.fail_next("apply", down()));
    let (stored, _) = remote.turning(cache.put("k", &large())).await;
    let error = stored.unwrap_err();
    assert!(error.is_outcome_unknown() && error.to_string().contains("outcome: unknown"), "{error}");
    assert_eq!(remote.blobs.calls_of("delete_many"), 0);
    assert_eq!(cache.get::<Vec<u8>, _>("k").await.unwrap(), Some(large()), "it was carried out");
}

#[tokio::test]
async fn what_is_not_known_of_a_first_attempt_is_not_forgotten_when_the_second_is_refused() {
    let remote = Remote::new();
    let cache = remote.open().await;
    remote.metadata.lose_answers(true);
    remote.metadata.fail_next("apply", down());
    remote.metadata.fail_next("apply", Error::new(ErrorKind::StorageFull, "the disk is full"));
    let (stored, _) = remote.turning(cache.put("k", &large())).await;
    let error = stored.unwrap_err();
    assert!(error.kind() == ErrorKind::StorageFull && error.is_outcome_unknown(), "{error}");
    assert_eq!(remote.blobs.calls_of("delete_many"), 0);
    assert_eq!(cache.get::<Vec<u8>, _>("k").await.unwrap(), Some(large()));
}

#[tokio::test]
async fn a_put_that_was_certainly_not_carried_out_leaves_no_blob() {
    let remote = Remote::new();
    let cache = remote.builder().remote(RemoteCalls::new().attempts(1)).open().await.unwrap();
    remote.metadata.fail_next("apply", down().with_outcome_unknown(false));
    assert!(!cache.put("k", &large()).await.unwrap_err().is_outcome_unknown());
    assert_eq!(remote.blobs.calls_of("delete_many"), 1);
}

#[tokio::test]
async fn a_put_that_takes_too_long_is_not_made_again_while_it_may_still_be_carried_out() {
    let remote = Remote::new();
    let cache = remote.open().await;
    let _ = remote.metadata.clone().slow_by_clock(HANGS);
    let (stored, took) = remote.turning(cache.put("k", &large())).await;
    let error = stored.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.is_outcome_unknown(), "{error}");
    assert!((10 * SECOND..12 * SECOND).contains(&took), "{took:?}");
    assert_eq!((remote.metadata.calls_of("apply"), remote.blobs.calls_of("delete_many")), (1, 0));
    remote.metadata.calm(true);
}

#[tokio::test]
async fn a_change_on_a_condition_and_an_extension_are_made_again_only_after_an_error_that_changed_nothing() {
    let remote = Remote::new();
    let cache = remote.open().await;
    let made = || remote.metadata.calls_of("apply");
    cache.put_with("k", "v", PutOptions::ttl(60 * SECOND)).await.unwrap();
    remote.metadata.lose_answers(true);
    remote.metadata.fail_next("apply", down());
    let error = cache.touch("k").await.unwrap_err();
    assert!(error.is_outcome_unknown() && error.to_string().contains("outcome: unknown"), "{error}");
    assert_eq!(made(), 2);
    remote.metadata.fail_next("apply", down());
    assert!(cache.extend_ttl("k", 60 * SECOND).await.unwrap_err().is_outcome_unknown());
    assert_eq!(made(), 3);
    let left = cache.get_entry("k").await.unwrap().unwrap().ttl_left();
    assert_eq!(left, Some(120 * SECOND), "it was extended once");
    remote.metadata.lose_answers(false);
    remote.metadata.fail_next("apply", down().with_outcome_unknown(false));
    let (touched, _) = remote.turning(cache.touch("k")).await;
    assert!(touched.unwrap());
    assert_eq!(made(), 5);
}

#[test]
fn nothing_is_counted_twice_though_the_answer_was_lost() {
    let remote = Remote::new();
    let cache = remote.builder().open_blocking().unwrap();
    let recorded = || remote.metadata.calls_of("record_accesses");
    remote.metadata.lose_answers(true);
    remote.metadata.fail_next("record_accesses", down());
    cache.put("k", "v").unwrap();
    eventually(|| recorded() == 1);
    cache.get::<String, _>("k").unwrap();
    eventually(|| recorded() == 2);
    eventually(|| cache.stats().unwrap().counters.hits == 1);
    assert_eq!(cache.stats().unwrap().counters.puts, 1);
}

#[test]
fn what_was_certainly_not_counted_is_counted_later() {
    let remote = Remote::new();
    let cache = remote.builder().remote(RemoteCalls::new().attempts(1)).open_blocking().unwrap();
    remote.metadata.fail_next("record_accesses", down().with_outcome_unknown(false));
    cache.put("k", "v").unwrap();
    eventually(|| remote.metadata.calls_of("record_accesses") == 1);
    cache.get::<String, _>("k").unwrap();
    eventually(|| remote.metadata.calls_of("record_accesses") == 2);
    let counters = cache.stats().unwrap().counters;
    assert_eq!((counters.puts, counters.hits), (1, 1));
}

#[tokio::test]
async fn a_large_value_is_sent_again_from_its_file() {
    let remote = Remote::new();
    // To read it from its file takes time that is not the clock's.
    let cache =
        remote.builder().remote(RemoteCalls::new().timeout(HANGS).deadline(HANGS)).open().await.unwrap();
    let value: Vec<u8> = (0..20).flat_map(|_| large()).collect();
    (0..3).for_each(|_| remote.blobs.fail_next("put", down()));
    let (stored, _) = remote.turning(cache.put("k", &value)).await;
    stored.unwrap();
    assert_eq!(remote.blobs.calls_of("put"), 4);
    assert!(cache.get::<Vec<u8>, _>("k").await.unwrap() == Some(value));
}

#[tokio::test]
async fn more_calls_than_may_be_under_way_wait_for_their_turn_and_not_for_ever() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().in_flight(2).timeout(5 * SECOND).deadline(6 * SECOND);
    let cache = remote.builder().remote(calls).open().await.unwrap();
    let _ = remote.metadata.clone().slow_by_clock(2 * SECOND);
    let get = || cache.get::<u8, _>("k");
    let (got, took) = remote.turning(async { tokio::join!(get(), get(), get(), get()) }).await;
    assert!([got.0, got.1, got.2, got.3].iter().all(Result::is_ok));
    assert!((4 * SECOND..5 * SECOND).contains(&took), "{took:?}");
    let _ = remote.metadata.clone().slow_by_clock(4 * SECOND);
    let many = (0..6).map(|_| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<u8, _>("k").await })
    });
    let many: Vec<_> = many.collect();
    let (got, took) = remote
        .turning(async {
            let mut got = Vec::new();
            for call in many {
                got.push(call.await.unwrap());
            }
            got
        })
        .await;
    assert!(took <= 7 * SECOND, "{took:?}");
    let said: Vec<String> = got.into_iter().filter_map(|got| got.err().map(|e| e.to_string())).collect();
    assert!(said.iter().any(|said| said.contains("remote.in_flight")), "{said:?}");
    remote.metadata.calm(true);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_gives_its_place_back() {
    let remote = Remote::new();
    let cache = remote.builder().remote(RemoteCalls::new().in_flight(1)).open().await.unwrap();
    let _ = remote.metadata.clone().slow_by_clock(SECOND);
    for _ in 0..3 {
        let dropped = cache.clone();
        let call = tokio::spawn(async move { dropped.get::<u8, _>("k").await });
        while remote.clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        call.abort();
        let _ = call.await;
    }
    let (got, took) = remote.turning(cache.get::<u8, _>("k")).await;
    assert!(got.is_ok() && took <= 6 * SECOND, "{took:?}");
    remote.metadata.calm(true);
}

#[tokio::test]
async fn a_call_whose_turn_comes_when_its_time_is_over_is_not_sent() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().in_flight(1).timeout(5 * SECOND).deadline(5 * SECOND);
    let cache = remote.builder().remote(calls).open().await.unwrap();
    let _ = remote.metadata.clone().slow_by_clock(5 * SECOND - MILLI);
    let (done, _) = remote.turning(async { tokio::join!(cache.get::<u8, _>("k"), cache.put("k", &1)) }).await;
    assert_eq!(done.0.unwrap(), None);
    let error = done.1.unwrap_err();
    assert!(error.to_string().contains("remote.in_flight") && !error.is_outcome_unknown(), "{error}");
    assert_eq!(remote.metadata.calls_of("apply"), 0);
    remote.metadata.calm(true);
}

#[tokio::test]
async fn counts_that_were_being_written_down_for_a_call_that_was_dropped_are_there_once() {
    let remote = Remote::new();
    let cache = remote.open().await;
    cache.put("k", "v").await.unwrap();
    cache.get::<String, _>("k").await.unwrap();
    let _ = remote.metadata.clone().slow_by_clock(SECOND);
    let dropped = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.namespaces().await })
    };
    while remote.metadata.calls_of("record_accesses") == 0 {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    let _ = dropped.await;
    remote.metadata.calm(true);
    remote.clock.advance(SECOND);
    // The call that was under way is carried out now.
    tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(200))).await.unwrap();
    let counters = cache.stats().await.unwrap().counters;
    assert_eq!((counters.puts, counters.hits), (1, 1));
    remote.clock.advance(100 * SECOND);
    cache.namespaces().await.unwrap();
    assert_eq!(cache.get_entry("k").await.unwrap().unwrap().entry.hits, 1);
}

#[tokio::test]
async fn a_put_that_nobody_waits_for_any_more_is_not_made_again_over_a_later_one() {
    let remote = Remote::new();
    let cache = remote.open().await;
    remote.metadata.fail_next("apply", down());
    let dropped = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.put("k", "given up").await })
    };
    // Until it waits for its second attempt.
    while remote.metadata.calls_of("apply") == 0 || remote.clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    let _ = dropped.await;
    cache.put("k", "later").await.unwrap();
    remote.clock.advance(100 * SECOND);
    tokio::task::spawn_blocking(|| std::thread::sleep(100 * MILLI)).await.unwrap();
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("later"));
    assert_eq!(remote.metadata.calls_of("apply"), 2);
}

/// A clock that fails the cache's upkeep once.
struct Panicking(std::sync::atomic::AtomicBool);

impl cacheness::Clock for Panicking {
    fn now(&self) -> cacheness::Timestamp {
        let is_upkeep = std::thread::current().name() == Some("cacheness-flush");
        assert!(!is_upkeep || self.0.swap(true, std::sync::atomic::Ordering::SeqCst), "this is a test");
        cacheness::SystemClock.now()
    }

    fn sleep_until(
        &self,
        deadline: cacheness::Timestamp,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        cacheness::SystemClock.sleep_until(deadline)
    }
}

#[test]
fn upkeep_goes_on_after_a_panic() {
    let remote = Remote::new();
    let clock = std::sync::Arc::new(Panicking(false.into()));
    let cache = remote.builder().env(cacheness::Env::with_clock(clock.clone())).open_blocking().unwrap();
    cache.put("k", "v").unwrap();
    eventually(|| clock.0.load(std::sync::atomic::Ordering::SeqCst));
    cache.put("k", "w").unwrap();
    eventually(|| remote.metadata.calls_of("record_accesses") > 0);
    assert_eq!(cache.stats().unwrap().counters.puts, 2);
}

#[tokio::test]
async fn a_lookup_or_a_blob_that_nobody_waits_for_any_more_takes_no_turn_and_is_not_made_again() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().in_flight(1).breaker_failures(1_000);
    let cache = remote.builder().remote(calls).open().await.unwrap();
    let _ = remote.metadata.clone().slow_by_clock(SECOND);
    let get = |key: &'static str| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get::<u8, _>(key).await })
    };
    let first = get("first");
    while remote.metadata.calls_of("get_entry") == 0 {
        tokio::task::yield_now().await;
    }
    // These wait for their turn, and then nobody waits for them.
    for given_up in [get("second"), get("third")] {
        tokio::task::yield_now().await;
        given_up.abort();
        assert!(given_up.await.unwrap_err().is_cancelled());
    }
    remote.turning(first).await.0.unwrap().unwrap();
    remote.turning(get("last")).await.0.unwrap().unwrap();
    assert_eq!(remote.metadata.calls_of("get_entry"), 2);
    remote.metadata.calm(true);

    // One whose first attempt fails.
    remote.blobs.fail_all(Some(down()));
    let put = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.put("k", &large()).await })
    };
    while remote.blobs.calls_of("put") == 0 || remote.clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    remote.blobs.fail_all(None);
    let (stored, _) = remote.turning(cache.put("k", &large())).await;
    stored.unwrap();
    assert_eq!(remote.blobs.calls_of("put"), 2, "once for each put");
}

#[tokio::test]
async fn a_backend_that_panics_or_says_what_nobody_understands_is_a_miss_by_the_same_policy() {
    for (policy, is_error) in [(OnReadError::Miss, false), (OnReadError::Error, true)] {
        let remote = Remote::new();
        let cache = remote.builder().on_read_error(policy).open().await.unwrap();
        cache.put("k", "v").await.unwrap();
        remote
            .metadata
            .fail_next("get_entry", Error::new(ErrorKind::Unexpected, "the answer makes no sense"));
        let got = cache.get::<String, _>("k").await;
        assert_eq!(got.as_ref().err().map(Error::kind), is_error.then_some(ErrorKind::Unexpected));
        assert_eq!(got.ok().flatten(), None);
        assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("v"));
    }
}
