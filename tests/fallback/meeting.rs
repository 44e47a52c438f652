//! How what was done during an outage is brought to the first store.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cacheness::{Error, ErrorKind, ListOptions, PutOptions};

use super::{Two, get, large, until};

#[test]
fn what_was_done_meanwhile_is_brought_to_the_first_store_and_nothing_is_left() {
    let two = Two::new();
    let cache = two.open();
    for key in ["kept", "overwritten", "removed", "newer", "removed, then newer"] {
        cache.put(key, &large(0)).unwrap();
    }
    let tenant = cache.namespace("tenant").unwrap();
    let reused = cache.namespace("reused").unwrap();
    for cache in [&tenant, &reused] {
        cache.put("a", &large(1)).unwrap();
        cache.put("b", &1).unwrap();
    }
    two.down();
    cache.put("put", &large(2)).unwrap();
    cache.put("overwritten", &large(3)).unwrap();
    cache.put("overwritten", &large(4)).unwrap();
    cache.put("newer", &large(5)).unwrap();
    cache.remove("removed").unwrap();
    cache.remove("removed, then newer").unwrap();
    cache.put_with("expired", &large(6), PutOptions::ttl(Duration::from_millis(1))).unwrap();
    tenant.clear().unwrap();
    reused.clear().unwrap();
    two.later();
    reused.put("b", &2).unwrap();
    assert_eq!(tenant.get::<i32, _>("b").unwrap(), None);
    // Another machine can reach the first store, and is later.
    two.later();
    let elsewhere = two.elsewhere();
    elsewhere.put("newer", &large(7)).unwrap();
    elsewhere.put("removed, then newer", &large(8)).unwrap();
    two.up();
    two.meet();
    for cache in [&cache, &elsewhere] {
        let found = ["kept", "put", "overwritten", "newer", "removed", "removed, then newer", "expired"]
            .map(|key| get(cache, key).map(|value| value[0]));
        assert_eq!(found, [Some(0), Some(2), Some(4), Some(7), None, Some(8), None]);
        assert!(cache.namespace("tenant").unwrap().list(ListOptions::new()).unwrap().entries.is_empty());
        let reused = cache.namespace("reused").unwrap();
        assert_eq!(reused.get::<i32, _>("a").unwrap(), None);
        assert_eq!(reused.get("b").unwrap(), Some(2));
    }
    let counted = cache.stats().unwrap().counters;
    assert!(counted.puts >= 10, "{counted:?}");
    cache.close().unwrap();
    elsewhere.close().unwrap();
    two.is_whole();
}

#[test]
fn a_crash_or_an_outage_at_any_call_of_the_meeting_loses_and_leaves_nothing() {
    for lost_answer in [false, true] {
        // So many calls it makes at the least. It ends with the first that it does not make.
        for (which, least) in [("entries", 12), ("blobs", 8)] {
            for call in 1.. {
                let two = Two::new();
                let cache = two.open();
                cache.put("overwritten", &large(0)).unwrap();
                cache.put("removed", &large(0)).unwrap();
                let tenant = cache.namespace("tenant").unwrap();
                tenant.put("a", &large(1)).unwrap();
                two.down();
                cache.put("put", &large(2)).unwrap();
                cache.put("overwritten", &large(3)).unwrap();
                cache.put("small", &4).unwrap();
                cache.remove("removed").unwrap();
                tenant.clear().unwrap();
                drop((cache, tenant));
                two.up();
                let chaos = if which == "entries" { &two.entries } else { &two.blobs };
                chaos.lose_answers(lost_answer);
                let last = chaos.calls() + call;
                chaos.fail_call(last, Error::new(ErrorKind::Unavailable, "the connection broke"));
                let cache = two.builder().open_blocking().unwrap();
                let begun = Instant::now();
                while chaos.calls() < last && begun.elapsed() < Duration::from_secs(2) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                drop(cache);
                // From now on a failure that has not struck is passed over.
                let struck = chaos.calls() >= last;
                chaos.lose_answers(false);
                chaos.calm(true);
                two.clock.advance(Duration::from_secs(121));
                let cache = two.open();
                two.meet();
                let found =
                    ["put", "overwritten", "removed"].map(|key| get(&cache, key).map(|value| value[0]));
                assert_eq!(found, [Some(2), Some(3), None], "{which}, call {call}");
                assert_eq!(cache.get("small").unwrap(), Some(4));
                assert_eq!(get(&cache.namespace("tenant").unwrap(), "a"), None);
                drop(cache);
                two.is_whole();
                if !struck {
                    assert!(call > least, "the meeting made no call {call} of {which}");
                    break;
                }
            }
        }
    }
}

#[test]
fn outages_that_come_and_go_while_two_processes_write_lose_no_confirmed_write() {
    let two = Two::new();
    let caches = [two.open(), two.open()];
    let mut last: BTreeMap<String, Option<u8>> = BTreeMap::new();
    for round in 0..12_u8 {
        if round % 3 == 2 {
            two.up()
        } else {
            two.down()
        }
        for step in 0..12_u8 {
            two.later();
            // Each writes keys of its own, so that it is known what was last.
            let writer = usize::from(step % 2);
            let key = format!("{writer}/{}", (round * 5 + step) % 9);
            match step % 5 {
                4 => {
                    caches[writer].remove(key.as_str()).unwrap();
                    last.insert(key, None);
                }
                _ => {
                    caches[writer].put(key.as_str(), &large(round * 12 + step)).unwrap();
                    last.insert(key, Some(round * 12 + step));
                }
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }
    two.up();
    two.meet();
    let elsewhere = two.elsewhere();
    for (key, value) in last {
        for cache in [&caches[0], &caches[1], &elsewhere] {
            assert_eq!(get(cache, &key).map(|found| found[0]), value, "{key}");
        }
    }
    // A blob that was brought ahead of a row that went just as the store did is an orphan.
    elsewhere.sweep(Duration::ZERO).unwrap();
    drop((caches, elsewhere));
    two.is_whole();
}

#[test]
fn keys_whose_values_cannot_be_brought_yet_are_still_read_and_written() {
    let two = Two::new();
    let cache = two.open();
    for key in ["put", "removed", "kept"] {
        cache.put(key, &large(0)).unwrap();
    }
    two.down();
    for key in ["put", "removed", "kept", "new"] {
        cache.put(key, &large(1)).unwrap();
    }
    two.up();
    // Its disk takes no more blobs, which is no outage.
    two.blobs.fail_all(Some(Error::new(ErrorKind::StorageFull, "the disk is full")));
    until(|| two.blobs.calls_of("put") + two.blobs.calls_of("exists") > 8);
    cache.put("put", &2).unwrap();
    assert!(cache.remove("removed").unwrap());
    assert!(cache.remove("new").unwrap());
    let elsewhere = two.elsewhere();
    for cache in [&cache, &elsewhere] {
        assert_eq!(cache.get("put").unwrap(), Some(2));
        assert_eq!(cache.get::<i32, _>("removed").unwrap(), None);
        assert_eq!(cache.get::<i32, _>("new").unwrap(), None);
    }
    assert_eq!(get(&cache, "kept"), Some(large(1)));
    let listed = cache.list(ListOptions::new().descending()).unwrap().entries;
    let keys: Vec<&str> = listed.iter().map(|entry| entry.entry.key.as_str()).collect();
    assert_eq!(keys, ["put", "kept"]);
    two.blobs.fail_all(None);
    two.meet();
    assert_eq!(get(&elsewhere, "kept"), Some(large(1)));
    drop((cache, elsewhere));
    two.is_whole();
}
