//! Caches in memory hold no more than their limits say: what is superseded goes at once, and no reader misses for it.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use cacheness::*;

/// Longer than what lies with its entry.
const LENGTH: usize = 100 * 1024;

const MOST: u64 = 20 * LENGTH as u64;

/// A value that says of itself whether it is whole.
fn value(seed: u64) -> Vec<u8> {
    let mut bytes = vec![seed as u8; LENGTH];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes.len() == LENGTH && bytes[8..].iter().all(|&byte| byte == bytes[0])
}

fn caches() -> Vec<blocking::Cache> {
    let registry = Registry::builtin();
    let names = ["memory", "sqlite_memory"].into_iter();
    let limits = Limits::unbounded().max_bytes(MOST);
    names
        .filter(|name| registry.metadata_backend(name).is_ok())
        .map(|name| Cache::builder().metadata(name).limits(limits.clone()).open_blocking().unwrap())
        .collect()
}

#[track_caller]
fn assert_bounded(cache: &blocking::Cache) {
    let stats = cache.total_stats().unwrap();
    assert!(stats.stored_bytes <= MOST, "{} bytes", stats.stored_bytes);
    assert_eq!(stats.garbage_bytes, 0, "nothing superseded is kept");
}

#[test]
fn what_is_replaced_evicted_or_removed_goes_at_once() {
    for cache in caches() {
        for i in 0..100 {
            cache.put("same", &value(i)).unwrap();
            assert_bounded(&cache);
            cache.put(format!("{i}"), &value(i)).unwrap();
            assert_bounded(&cache);
        }
        assert!(cache.remove("same").unwrap());
        assert_bounded(&cache);
        assert_eq!(cache.remove_matching(ListOptions::new().limit(3)).unwrap(), 3);
        assert_bounded(&cache);
        cache.set_limits(Limits::unbounded().max_entries(2)).unwrap();
        assert_bounded(&cache);
        cache.put_with("soon", &value(1), PutOptions::ttl(std::time::Duration::from_nanos(1))).unwrap();
        assert_eq!(cache.purge().unwrap().expired, 1);
        assert_bounded(&cache);
    }
}

#[test]
fn what_was_cleared_goes_with_the_next_puts() {
    for cache in caches() {
        for i in 0..20 {
            cache.put(format!("{i}"), &value(i)).unwrap();
        }
        assert_eq!(cache.clear().unwrap(), 20);
        cache.put("small", &1).unwrap();
        cache.put("small", &2).unwrap();
        assert_bounded(&cache);
    }
}

#[test]
fn no_reader_misses_while_others_write() {
    for cache in caches() {
        cache.put("k", &value(0)).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut gets = 0;
                        while !done.load(Ordering::Relaxed) {
                            let bytes = cache.get::<Vec<u8>, _>("k").unwrap();
                            assert!(is_whole(&bytes.expect("it is always there")));
                            gets += 1;
                        }
                        gets
                    })
                })
                .collect();
            let writers: Vec<_> = (0..2)
                .map(|who| {
                    let cache = &cache;
                    scope.spawn(move || {
                        (0..500).for_each(|i| drop(cache.put("k", &value(who * 1_000 + i)).unwrap()))
                    })
                })
                .collect();
            let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(written.into_iter().all(|writer| writer.is_ok()));
            assert!(readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>() > 0);
        });
        assert_bounded(&cache);
        let stats = cache.stats().unwrap();
        assert_eq!((stats.counters.misses, stats.counters.errors), (0, 0));
    }
}

#[test]
fn a_reader_keeps_the_value_that_it_was_opened_on() {
    for cache in caches() {
        cache.put("k", &value(1)).unwrap();
        let mut reader = cache.reader("k").unwrap().unwrap();
        let mut first = [0; 10];
        reader.read_exact(&mut first).unwrap();
        cache.put("k", &value(2)).unwrap();
        assert!(cache.remove("k").unwrap());
        assert_bounded(&cache);
        let mut bytes = first.to_vec();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, value(1));
    }
}
