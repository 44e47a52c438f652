//! A first store that answers again, or for the first time: what the cache knows of it then, and whom it keeps waiting.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{Env, Error, ErrorKind, Event, HealthState, PutOptions, RemoteCalls};

use super::{FILES, MEMORY, Two, get, large, until};

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection broke")
}

#[test]
fn a_first_store_that_comes_after_the_opening_is_watched_like_one_that_was_there() {
    let two = Two::of(MEMORY, FILES);
    for chaos in [&two.entries, &two.blobs] {
        let _ = chaos.clone().remote();
    }
    let told: Arc<Mutex<Vec<(String, HealthState)>>> = Arc::default();
    let listening = told.clone();
    two.down();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1).breaker_pause(Duration::from_millis(1));
    let cache = two.builder().remote(calls).listener(move |event| {
        if let Event::BackendState { role, state, .. } = event {
            listening.lock().unwrap().push((role.to_string(), *state));
        }
    });
    let cache = cache.open_blocking().unwrap();
    cache.put("k", &large(1)).unwrap();
    assert_eq!(cache.health().unwrap().state, HealthState::Down);
    two.up();
    until(|| cache.health().unwrap().state == HealthState::Ok);
    let health = cache.health().unwrap();
    assert!(health.backends.iter().all(|backend| backend.last_answer.is_some()), "{health:?}");
    two.down();
    cache.put("k", &large(2)).unwrap();
    until(|| told.lock().unwrap().iter().any(|(role, state)| role == "blobs" && *state == HealthState::Down));
}

#[test]
fn a_write_does_not_wait_until_a_large_blob_has_been_brought() {
    let two = Two::new();
    // Calls to it go through a guard, and it can be made slow later.
    let slow = |by| drop(two.blobs.clone().slow(by));
    slow(Duration::from_micros(1));
    let cache = two.builder().env(Env::new()).open_blocking().unwrap();
    let error = Error::new(ErrorKind::Unavailable, "the server is down");
    two.entries.fail_all(Some(error.clone()));
    two.blobs.fail_all(Some(error));
    cache.put("a blob", &large(1)).unwrap();
    cache.put("small", &1).unwrap();
    cache.put("touched", &large(2)).unwrap();
    let before = two.blobs.calls_of("put");
    slow(Duration::from_secs(3));
    two.entries.fail_all(None);
    two.blobs.fail_all(None);
    until(|| two.blobs.calls_of("put") > before);
    let begun = Instant::now();
    cache.put("small", &2).unwrap();
    assert!(cache.remove("touched").unwrap());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    slow(Duration::from_micros(1));
    until(|| two.held().0.is_empty());
    assert_eq!(cache.get("small").unwrap(), Some(2));
    assert_eq!(get(&cache, "a blob"), Some(large(1)));
    assert_eq!(get(&cache, "touched"), None);
}

#[test]
fn a_blob_that_was_brought_ahead_of_a_row_that_has_gone_is_taken_back() {
    let two = Two::new();
    let slow = |by| drop(two.blobs.clone().slow(by));
    slow(Duration::from_micros(1));
    let cache = two.builder().env(Env::new()).open_blocking().unwrap();
    let error = Error::new(ErrorKind::Unavailable, "the server is down");
    two.entries.fail_all(Some(error.clone()));
    two.blobs.fail_all(Some(error));
    cache.put("k", &large(1)).unwrap();
    let before = two.blobs.calls_of("put");
    slow(Duration::from_secs(1));
    two.entries.fail_all(None);
    two.blobs.fail_all(None);
    until(|| two.blobs.calls_of("put") > before);
    cache.put("k", &1).unwrap();
    slow(Duration::from_micros(1));
    until(|| two.held().0.is_empty());
    let blobs = || super::files(&two.first().join("blobs")).len();
    until(|| two.blobs.calls_of("delete_many") > 0 && blobs() == 0);
    assert_eq!(cache.get("k").unwrap(), Some(1));
}

/// What the second store has counted.
fn hits_of_second(two: &Two) -> u64 {
    let spare = Cache::builder().folder(two.spare()).env(two.env()).open_blocking().unwrap();
    spare.stats().unwrap().counters.hits
}

#[test]
fn what_was_counted_and_whose_answer_was_lost_is_not_counted_twice() {
    let two = Two::new();
    let cache = two.open();
    cache.put("k", &1).unwrap();
    cache.namespaces().unwrap();
    (0..5).for_each(|_| assert_eq!(cache.get("k").unwrap(), Some(1)));
    two.entries.lose_answers(true);
    two.entries.fail_next("record_accesses", lost());
    cache.namespaces().unwrap();
    two.entries.lose_answers(false);
    assert_eq!(hits_of_second(&two), 0);
    assert_eq!(cache.stats().unwrap().counters.hits, 5);
}

#[test]
fn counts_that_are_brought_and_whose_answer_is_lost_are_not_brought_twice() {
    let two = Two::new();
    let cache = two.open();
    two.down();
    cache.put("k", &1).unwrap();
    (0..5).for_each(|_| assert_eq!(cache.get("k").unwrap(), Some(1)));
    cache.namespaces().unwrap();
    assert_eq!(hits_of_second(&two), 5);
    two.entries.lose_answers(true);
    two.entries.fail_next("record_accesses", lost());
    let recorded = two.entries.calls_of("record_accesses");
    two.up();
    until(|| two.entries.calls_of("record_accesses") > recorded);
    two.entries.lose_answers(false);
    two.meet();
    until(|| hits_of_second(&two) == 0);
    assert_eq!(two.elsewhere().stats().unwrap().counters.hits, 5);
}

#[test]
fn a_value_that_was_never_valid_replaces_an_older_one_also_while_the_store_is_down() {
    let two = Two::new();
    let cache = two.open();
    cache.put("key", &1).unwrap();
    two.down();
    cache.put_with("key", &2, PutOptions::ttl(Duration::ZERO)).unwrap();
    assert_eq!(cache.get::<i32, _>("key").unwrap(), None);
    two.up();
    two.meet();
    assert_eq!(cache.get::<i32, _>("key").unwrap(), None, "not the older one");
}

#[test]
fn a_value_that_can_never_be_brought_in_time_holds_up_no_other() {
    let two = Two::new();
    let cache = two.open();
    two.down();
    for (key, what) in [("a", 1), ("b", 2), ("c", 3)] {
        cache.put(key, &large(what)).unwrap();
    }
    // The blob of `a` never is: the store takes those of the others after the first attempt.
    for attempt in (1..2).chain(4..500) {
        let too_slow = Error::new(ErrorKind::Timeout, "not within the time of a call");
        two.blobs.fail_call_of("put", attempt, too_slow);
    }
    two.up();
    until(|| {
        two.later();
        two.held().0 == ["default/a"]
    });
    for (key, what) in [("a", 1), ("b", 2), ("c", 3)] {
        assert_eq!(get(&cache, key).map(|value| value[0]), Some(what), "{key}");
    }
    two.blobs.calm(true);
    two.meet();
    assert_eq!(get(&cache, "a").map(|value| value[0]), Some(1));
}
