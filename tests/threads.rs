//! Sixteen threads that do everything at once to one cache: values are whole, limits hold, and the counts add up.

mod marked;

use std::sync::atomic::{AtomicU64, Ordering};

use cacheness::blocking::Cache;
use cacheness::{Limits, ListOptions, PutOptions};
use tempfile::TempDir;

const THREADS: u64 = 16;
const MAX_ENTRIES: u64 = 150;

/// What all threads did together.
#[derive(Default)]
struct Counted {
    puts: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    removals: AtomicU64,
    evicted: AtomicU64,
}

fn work(cache: &Cache, thread: u64, operations: u64, counted: &Counted) {
    let one = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(thread + 1);
    for serial in 0..operations {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = format!("k{}", (random >> 8) % 200);
        match random % 20 {
            0..=7 => {
                let len = if random.is_multiple_of(3) { 20_000 } else { 100 };
                let options = PutOptions::new().inline(len == 100).tag(format!("t{}", serial % 4));
                let put = cache.put_with(&key, &marked::value(thread, serial, len), options).unwrap();
                counted.evicted.fetch_add(put.evicted as u64, Ordering::Relaxed);
                one(&counted.puts);
            }
            8..=15 => match cache.get::<Vec<u8>, _>(&key).unwrap() {
                Some(value) => {
                    marked::marks(&value);
                    one(&counted.hits);
                }
                None => drop(one(&counted.misses)),
            },
            16 => {
                if cache.remove(&key).unwrap() {
                    one(&counted.removals);
                }
            }
            17 => drop(cache.list(ListOptions::new().tag("t1").limit(20)).unwrap()),
            18 => {
                let stats = cache.stats().unwrap();
                assert!(stats.entries <= MAX_ENTRIES, "{} entries", stats.entries);
            }
            _ => drop(cache.touch(&key).unwrap()),
        }
    }
}

fn sixteen_threads(cache: &Cache, operations: u64) {
    cache.set_limits(Limits::unbounded().max_entries(MAX_ENTRIES)).unwrap();
    let counted = Counted::default();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, counted) = (cache.clone(), &counted);
            scope.spawn(move || work(&cache, thread, operations, counted));
        }
    });
    let (stats, told) = (cache.stats().unwrap(), |count: &AtomicU64| count.load(Ordering::Relaxed));
    let counters = stats.counters;
    assert_eq!(counters.puts, told(&counted.puts));
    assert_eq!((counters.hits, counters.misses), (told(&counted.hits), told(&counted.misses)));
    assert_eq!((counters.removals, counters.evictions), (told(&counted.removals), told(&counted.evicted)));
    assert_eq!(counters.errors, 0);
    assert!(counters.hits > 0 && counters.evictions > 0);
    assert!(stats.entries <= MAX_ENTRIES);
    assert_eq!(cache.count_matching(ListOptions::new()).unwrap(), stats.entries);
}

// shows: row 100
#[test]
fn sixteen_threads_on_files_do_everything_at_once() {
    let folder = TempDir::new().unwrap();
    sixteen_threads(&Cache::open(folder.path()).unwrap(), 400);
}

#[test]
fn sixteen_threads_in_memory_do_everything_at_once() {
    sixteen_threads(&Cache::memory().unwrap(), 1_000);
}

#[test]
fn sixteen_threads_on_json_do_everything_at_once() {
    let folder = TempDir::new().unwrap();
    sixteen_threads(&Cache::builder().folder(folder.path()).metadata("json").open_blocking().unwrap(), 100);
}

#[test]
#[ignore = "a minute of sixteen threads"]
fn sixteen_threads_for_long() {
    let folder = TempDir::new().unwrap();
    sixteen_threads(&Cache::open(folder.path()).unwrap(), 20_000);
}
