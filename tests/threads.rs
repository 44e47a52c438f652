//! Sixteen threads that do everything at once to one cache: values are whole, limits hold, and the counts add up.

mod marked;

use std::sync::atomic::{AtomicU64, Ordering};

use cacheness::blocking::Cache;
use cacheness::{Limits, ListOptions, ListOrder, PutOptions};
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

/// The files of a folder that this process has open.
#[cfg(target_os = "linux")]
fn open_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let open = fs_err::read_dir("/proc/self/fd").unwrap();
    // One that was closed meanwhile has no name any more.
    let names = open.filter_map(|file| fs_err::read_link(file.unwrap().path()).ok());
    names.filter(|name| name.starts_with(folder)).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_call_holds_two_files_at_the_most_and_a_reader_one() {
    use std::sync::atomic::AtomicBool;

    const CALLERS: usize = 8;
    for (metadata, most_of_index) in [("sqlite", 15), ("json", 4)] {
        let folder = TempDir::new().unwrap();
        let cache = Cache::builder().folder(folder.path()).metadata(metadata).open_blocking().unwrap();
        let done = AtomicBool::new(false);
        let most = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS as u64)
                .map(|caller| {
                    let cache = &cache;
                    scope.spawn(move || {
                        for serial in 0..60 {
                            let (key, len) = (format!("{caller} {}", serial % 4), [20_000, 1_500_000, 300]);
                            let value = marked::value(caller, serial, len[serial as usize % 3]);
                            cache.put(&key, &value).unwrap();
                            assert!(cache.get::<Vec<u8>, _>(&key).unwrap() == Some(value));
                        }
                    })
                })
                .collect();
            let looks = scope.spawn(|| {
                let mut most = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let open = open_files(folder.path());
                    most = if open.len() > most.len() { open } else { most };
                }
                most
            });
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            done.store(true, Ordering::Relaxed);
            looks.join().unwrap()
        });
        let of_index = open_files(folder.path());
        assert!((1..=most_of_index).contains(&of_index.len()), "{metadata}: {of_index:?}");
        let (blobs, index): (Vec<_>, Vec<_>) =
            most.iter().partition(|name| name.starts_with(folder.path().join("blobs")));
        assert!(!blobs.is_empty() && blobs.len() <= 2 * CALLERS, "{metadata}: {most:?}");
        assert!(index.len() <= most_of_index, "{metadata}: {most:?}");

        let readers: Vec<_> =
            (0..CALLERS).map(|at| cache.reader(format!("{at} 1")).unwrap().unwrap()).collect();
        assert!(open_files(folder.path()).len() <= most_of_index + readers.len());
        drop(readers);
        assert!(open_files(folder.path()).len() <= most_of_index);
    }
}

/// What is counted after the call began is left to others, or the call would go on for as long as they do.
#[test]
fn a_listing_by_use_and_statistics_end_while_entries_are_used() {
    use std::sync::atomic::AtomicBool;

    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let keys: Vec<String> = (0..3_000).map(|at| format!("k{at}")).collect();
    cache.put_many(keys.iter().map(|key| (key, "value")), PutOptions::new()).unwrap();
    let (ended, wait) = std::sync::mpsc::channel();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    keys.iter().for_each(|key| drop(cache.get::<String, _>(key).unwrap()));
                }
            });
        }
        let listing = cache.clone();
        std::thread::spawn(move || {
            for _ in 0..5 {
                let page = listing.list(ListOptions::new().order_by(ListOrder::Hits).limit(10)).unwrap();
                assert_eq!(page.entries.len(), 10);
                listing.stats().unwrap();
            }
            ended.send(()).unwrap();
        });
        let waited = wait.recv_timeout(std::time::Duration::from_secs(60));
        done.store(true, Ordering::Relaxed);
        waited.expect("the listings end");
    });
}
