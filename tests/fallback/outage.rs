//! What a cache does while its backends are down.

use std::io::Read;
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{Env, Error, ErrorKind, HealthState, Limits, ListOptions, PutOptions, RemoteCalls};

use super::{FILES, MEMORY, Two, get, large, until};

// shows: row U49
#[test]
fn reads_and_writes_go_on_while_the_first_store_is_down() {
    for first in [FILES, MEMORY] {
        for second in [FILES, MEMORY] {
            let two = Two::of(first, second);
            let cache = two.open();
            cache.put("before", &large(1)).unwrap();
            two.down();
            assert_eq!(get(&cache, "before"), None, "only the first store has it");
            cache.put("small", &7).unwrap();
            cache.put("large", &large(2)).unwrap();
            cache.put_reader("streamed", &large(3).repeat(20)[..], PutOptions::new()).unwrap();
            assert_eq!(cache.get("small").unwrap(), Some(7));
            assert_eq!(get(&cache, "large"), Some(large(2)));
            let mut streamed = Vec::new();
            cache.reader("streamed").unwrap().unwrap().read_to_end(&mut streamed).unwrap();
            assert!(streamed == large(3).repeat(20));
            cache.put("small", &8).unwrap();
            cache.put("passing", &1).unwrap();
            assert!(cache.remove("passing").unwrap());
            assert_eq!(cache.get("small").unwrap(), Some(8));
            assert_eq!(cache.get::<i32, _>("passing").unwrap(), None);
            let listed = cache.list(ListOptions::new()).unwrap().entries;
            let keys: Vec<&str> = listed.iter().map(|entry| entry.entry.key.as_str()).collect();
            assert_eq!(keys, ["large", "small", "streamed"]);
            assert!(cache.stats().unwrap().counters.hits >= 3);
            two.up();
            until(|| get(&cache, "before") == Some(large(1)));
            assert_eq!(cache.get("small").unwrap(), Some(8));
            assert_eq!(get(&cache, "large"), Some(large(2)));
            assert_eq!(cache.get::<i32, _>("passing").unwrap(), None);
            cache.close().unwrap();
        }
    }
}

// shows: row U49
#[tokio::test(flavor = "multi_thread")]
async fn the_async_face_goes_on_as_well() {
    let two = Two::new();
    let cache = two.builder().open().await.unwrap();
    two.down();
    cache.put("small", &7).await.unwrap();
    cache.put("large", &large(2)).await.unwrap();
    assert_eq!(cache.get("small").await.unwrap(), Some(7));
    assert_eq!(cache.get("large").await.unwrap(), Some(large(2)));
    two.up();
    tokio::task::block_in_place(|| two.meet());
    assert_eq!(cache.get("large").await.unwrap(), Some(large(2)));
    cache.close().await.unwrap();
    tokio::task::block_in_place(|| two.is_whole());
}

#[test]
fn a_cache_opens_while_its_backends_are_down_and_meets_them_later() {
    let two = Two::new();
    two.down();
    let cache = two.builder().limits(Limits::unbounded().max_entries(3)).open_blocking().unwrap();
    cache.put("small", &7).unwrap();
    cache.put("large", &large(2)).unwrap();
    drop(cache);
    // It is there after a restart during the outage.
    let cache = two.builder().limits(Limits::unbounded().max_entries(3)).open_blocking().unwrap();
    assert_eq!(cache.get("small").unwrap(), Some(7));
    assert_eq!(get(&cache, "large"), Some(large(2)));
    assert_eq!(cache.limits().unwrap().max_entries, Some(3));
    assert!(cache.drop_namespace("default").unwrap_err().is_temporary());
    two.up();
    two.meet();
    let elsewhere = two.elsewhere();
    assert_eq!(elsewhere.get("small").unwrap(), Some(7));
    assert_eq!(get(&elsewhere, "large"), Some(large(2)));
    assert_eq!(elsewhere.limits().unwrap().max_entries, Some(3));
    assert_eq!(get(&cache, "large"), Some(large(2)));
    drop((cache, elsewhere));
    two.is_whole();
}

#[test]
fn what_is_wrong_with_the_first_store_for_good_is_an_error() {
    let two = Two::new();
    two.entries.fail_all(Some(Error::new(ErrorKind::PermissionDenied, "wrong password")));
    assert_eq!(two.builder().open_blocking().unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn one_half_of_the_first_store_that_is_down_loses_nothing() {
    for entries_are_down in [true, false] {
        let two = Two::new();
        let cache = two.open();
        cache.put("k", &large(1)).unwrap();
        cache.put("gone", &large(2)).unwrap();
        let chaos = if entries_are_down { &two.entries } else { &two.blobs };
        chaos.fail_all(Some(Error::new(ErrorKind::Timeout, "no answer")));
        two.later();
        cache.put("k", &large(3)).unwrap();
        cache.put("new", &large(4)).unwrap();
        cache.put("small", &5).unwrap();
        cache.remove("gone").unwrap();
        assert_eq!(get(&cache, "k"), Some(large(3)));
        assert_eq!(get(&cache, "new"), Some(large(4)));
        assert_eq!(get(&cache, "gone"), None);
        // Nobody else is led to blobs that they cannot reach.
        let elsewhere = two.elsewhere();
        assert_eq!(get(&elsewhere, "k"), Some(large(1)));
        two.up();
        two.meet();
        assert_eq!(get(&elsewhere, "k"), Some(large(3)));
        assert_eq!(get(&elsewhere, "new"), Some(large(4)));
        assert_eq!(elsewhere.get("small").unwrap(), Some(5));
        assert_eq!(get(&elsewhere, "gone"), None);
        drop((cache, elsewhere));
        two.is_whole();
    }
}

#[test]
fn a_value_is_read_and_changed_rightly_before_it_is_brought() {
    let two = Two::new();
    let cache = two.open();
    cache.put("old", &1).unwrap();
    two.down();
    let ttl = PutOptions::ttl(Duration::from_secs(100));
    cache.put_with("touched", &1, ttl).unwrap();
    cache.put("twice", &1).unwrap();
    cache.remove("old").unwrap();
    cache.put("old again", &1).unwrap();
    assert!(cache.extend_ttl("touched", Duration::from_secs(1_000)).unwrap());
    two.up();
    assert_eq!(cache.get::<i32, _>("old").unwrap(), None);
    cache.put("twice", &2).unwrap();
    assert_eq!(cache.get("twice").unwrap(), Some(2));
    assert!(cache.extend_ttl("touched", Duration::from_secs(2_000)).unwrap());
    assert!(cache.remove("old again").unwrap());
    let listed = cache.list(ListOptions::new()).unwrap().entries;
    let keys: Vec<&str> = listed.iter().map(|entry| entry.entry.key.as_str()).collect();
    assert_eq!(keys, ["touched", "twice"]);
    let many = cache.get_many::<i32, _>(&["twice", "old", "old again", "touched"]).unwrap();
    assert_eq!(many.into_iter().flatten().collect::<Vec<_>>(), [2, 1]);
    two.meet();
    two.clock.advance(Duration::from_secs(1_000));
    let elsewhere = two.elsewhere();
    assert_eq!(elsewhere.get("twice").unwrap(), Some(2));
    assert_eq!(elsewhere.get("touched").unwrap(), Some(1));
    assert_eq!(elsewhere.get::<i32, _>("old").unwrap(), None);
}

#[test]
fn a_listing_of_both_stores_has_each_key_once_and_in_order() {
    let two = Two::new();
    let cache = two.open();
    for n in 0..60 {
        cache.put(format!("k{n:02}").as_str(), &n).unwrap();
        two.later();
    }
    two.down();
    for n in (0..60).step_by(3) {
        cache.put(format!("k{n:02}").as_str(), &vec![n; 50_000]).unwrap();
        two.later();
    }
    for n in (1..60).step_by(3) {
        cache.remove(format!("k{n:02}").as_str()).unwrap();
    }
    two.blobs.fail_all(Some(Error::new(ErrorKind::StorageFull, "the disk is full")));
    two.entries.fail_all(None);
    let looked = two.blobs.calls_of("exists");
    until(|| two.blobs.calls_of("exists") > looked + 5);
    let expected: Vec<String> = (0..60).filter(|n| n % 3 != 1).map(|n| format!("k{n:02}")).collect();
    for limit in [1, 7, 1_000] {
        for descending in [false, true] {
            let mut keys = Vec::new();
            let mut after = None;
            loop {
                let mut options = ListOptions::new().limit(limit);
                if descending {
                    options = options.descending();
                }
                if let Some(after) = after {
                    options = options.after(after);
                }
                let page = cache.list(options).unwrap();
                keys.extend(page.entries.iter().map(|entry| entry.entry.key.as_str().to_owned()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if descending {
                keys.reverse();
            }
            assert_eq!(keys, expected, "{limit} a page");
        }
    }
    two.blobs.fail_all(None);
    two.meet();
    let found = cache.list(ListOptions::new()).unwrap().entries;
    assert_eq!(found.len(), expected.len());
}

#[test]
fn remote_backends_fall_and_come_back_behind_their_circuit_breakers() {
    let two = Two::new();
    for chaos in [&two.entries, &two.blobs] {
        // From now on they count as remote, and calls to them go through timeouts, repetitions and a breaker.
        let _ = chaos.clone().slow(Duration::from_micros(1));
    }
    let calls = RemoteCalls::new().attempts(2).breaker_pause(Duration::from_millis(100));
    let cache = two.builder().env(Env::new()).remote(calls).open_blocking().unwrap();
    cache.put("before", &large(1)).unwrap();
    two.down();
    for n in 0..20 {
        cache.put(format!("k{n}").as_str(), &large(n)).unwrap();
        assert_eq!(get(&cache, &format!("k{n}")), Some(large(n)));
    }
    assert_ne!(cache.health().unwrap().state, HealthState::Ok);
    two.up();
    until(|| two.held().0.is_empty());
    let elsewhere = Cache::builder().folder(two.first()).open_blocking().unwrap();
    for n in 0..20 {
        assert_eq!(get(&elsewhere, &format!("k{n}")), Some(large(n)));
        assert_eq!(get(&cache, &format!("k{n}")), Some(large(n)));
    }
    assert_eq!(get(&cache, "before"), Some(large(1)));
    assert_eq!(cache.health().unwrap().state, HealthState::Ok);
}
