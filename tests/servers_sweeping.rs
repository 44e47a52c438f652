//! Sweeping on servers that several processes and several caches use at once: what is live stays.

#![allow(clippy::print_stdout, reason = "the long version says how much it did")]

mod network;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{ConfigOptions, ErrorKind, PutOptions};
use network::{place, s3_at, server};

fn open(metadata: &str, place: &str, prefix: &str) -> Cache {
    let options = match metadata {
        "postgres" => ConfigOptions::new().with("url", server("TEST_POSTGRES")).with("schema", place),
        _ => ConfigOptions::new().with("url", server("TEST_REDIS")).with("prefix", place),
    };
    Cache::builder()
        .metadata_with(metadata, options)
        .blobs_with("s3", s3_at(&server("TEST_S3"), prefix))
        .open_blocking()
        .unwrap()
}

fn put(cache: &Cache, key: &str, value: &str) -> Result<(), cacheness::Error> {
    cache.put_with(key, value, PutOptions::new().inline(false)).map(drop)
}

#[test]
fn two_caches_over_one_bucket_never_touch_each_others_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let (one, other) = (open("postgres", &place, &place), open("redis", &place, &place));
    for number in 0..30 {
        put(&one, &format!("k{number}"), "one").unwrap();
        put(&other, &format!("k{number}"), "other").unwrap();
    }
    assert_eq!(one.sweep(Duration::ZERO).unwrap().blobs, 30, "it sees its own only");
    one.clear().unwrap();
    one.purge().unwrap();
    for number in 0..30 {
        put(&one, &format!("k{number}"), "one").unwrap();
        put(&one, &format!("k{number}"), "one again").unwrap();
    }
    let swept = (one.sweep(Duration::ZERO).unwrap(), other.sweep(Duration::ZERO).unwrap());
    assert_eq!(
        (swept.0.deleted, swept.1.deleted),
        (0, 0),
        "garbage is no orphan, and neither is another cache's blob"
    );
    for number in 0..30 {
        let key = format!("k{number}");
        assert_eq!(other.get::<String, _>(&key).unwrap().as_deref(), Some("other"));
        assert_eq!(one.get::<String, _>(&key).unwrap().as_deref(), Some("one again"));
    }
}

/// Sweeps without any grace, so that each put may meet one between its blob and its entry.
fn race(metadata: &str, time: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let (over, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let puts = std::thread::scope(|scope| {
        let (place, over, refused) = (&place, &over, &refused);
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                scope.spawn(move || {
                    let cache = open(metadata, place, place);
                    let mut confirmed = vec![None; 5];
                    let mut turn = 0_usize;
                    while !over.load(Ordering::Acquire) {
                        turn += 1;
                        let (slot, value) = (turn % 5, format!("{writer} {turn}"));
                        let key = format!("w{writer}-{slot}");
                        match put(&cache, &key, &value) {
                            Ok(()) => confirmed[slot] = Some(value),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        assert_eq!(cache.get::<String, _>(&key).unwrap(), confirmed[slot], "{key}");
                    }
                    turn
                })
            })
            .collect();
        let sweeper = open(metadata, place, place);
        let end = Instant::now() + time;
        let mut sweeps = 0_u64;
        while Instant::now() < end {
            sweeper.sweep(Duration::ZERO).unwrap();
            sweeps += 1;
        }
        over.store(true, Ordering::Release);
        assert!(sweeps > 3, "only {sweeps} sweeps");
        writers.into_iter().map(|writer| writer.join().unwrap()).sum::<usize>()
    });
    println!("{metadata}: {puts} puts, {} of them refused", refused.load(Ordering::Relaxed));
    let cache = open(metadata, &place, &place);
    cache.sweep(Duration::ZERO).unwrap();
    assert_eq!(cache.sweep_dry_run(Duration::ZERO).unwrap().orphans, 0);
}

#[test]
fn a_sweeper_that_races_puts_deletes_nothing_that_is_live() {
    race("postgres", Duration::from_secs(4));
    race("redis", Duration::from_secs(4));
}

#[test]
#[ignore = "takes five minutes"]
fn a_sweeper_that_races_puts_for_long_deletes_nothing_that_is_live_on_postgres() {
    race("postgres", Duration::from_secs(300));
}

#[test]
#[ignore = "takes five minutes"]
fn a_sweeper_that_races_puts_for_long_deletes_nothing_that_is_live_on_redis() {
    race("redis", Duration::from_secs(300));
}
