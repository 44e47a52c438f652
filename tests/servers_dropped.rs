//! Calls to servers that are given up half-way, each after every number of polls there is: values are whole, the counts fit,
//! leases end, and feeds tell of everything.

#![expect(clippy::disallowed_methods, reason = "servers have clocks of their own")]

mod marked;
mod network;
mod polled;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cacheness::{Cache, Changed, ConfigOptions, Lease, Limits, ListOptions, PutOptions, VerifyOptions};
use network::{place, s3_at, server};
use polled::polled;

async fn open(metadata: &str, place: &str) -> Cache {
    let options = match metadata {
        "postgres" => ConfigOptions::new().with("url", server("TEST_POSTGRES")).with("schema", place),
        _ => ConfigOptions::new().with("url", server("TEST_REDIS")).with("prefix", place),
    };
    let builder = Cache::builder().metadata_with(metadata, options);
    builder.blobs_with("s3", s3_at(&server("TEST_S3"), place)).open().await.unwrap()
}

fn as_blob() -> PutOptions {
    PutOptions::new().inline(false).tag("tagged")
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many calls [`call`] knows.
const CALLS: usize = 24;

/// Begins one of the calls, and drops it after so many polls. True where it ended before.
async fn call(cache: &Cache, which: usize, serial: u64, polls: usize) -> bool {
    let (short, long) = (marked::value(3, serial, 200), marked::value(3, serial, 6_000));
    let several = [("blob", &long), ("more", &short)];
    let all = ListOptions::new();
    match which {
        0 => polled(polls, cache.put("inline", &short)).await.is_some(),
        1 => polled(polls, cache.put_with("blob", &long, as_blob())).await.is_some(),
        2 => polled(polls, cache.put_many(several, as_blob())).await.is_some(),
        3 => polled(polls, cache.put_shared("blob", Arc::new(long), as_blob())).await.is_some(),
        4 => polled(polls, cache.put_reader("blob", &long[..], as_blob())).await.is_some(),
        5 => polled(polls, cache.get::<Vec<u8>, _>("inline")).await.is_some(),
        6 => polled(polls, cache.get::<Vec<u8>, _>("blob")).await.is_some(),
        7 => polled(polls, cache.get_many::<Vec<u8>, _>(&["inline", "blob"])).await.is_some(),
        8 => polled(polls, cache.remove("blob")).await.is_some(),
        9 => polled(polls, cache.remove_many(&["inline", "blob"])).await.is_some(),
        10 => polled(polls, cache.remove_matching(all.tag("tagged"))).await.is_some(),
        11 => polled(polls, cache.touch("blob")).await.is_some(),
        12 => polled(polls, cache.extend_ttl("inline", DAY)).await.is_some(),
        13 => polled(polls, cache.list(all)).await.is_some(),
        14 => polled(polls, cache.clear()).await.is_some(),
        15 => polled(polls, cache.purge()).await.is_some(),
        16 => polled(polls, cache.sweep(DAY)).await.is_some(),
        17 => polled(polls, cache.stats()).await.is_some(),
        18 => polled(polls, cache.reset_stats()).await.is_some(),
        19 => {
            polled(polls, cache.set_namespace_limits(Limits::unbounded().max_entries(1_000))).await.is_some()
        }
        20 => polled(polls, cache.namespaces()).await.is_some(),
        21 => polled(polls, cache.verify(VerifyOptions::new())).await.is_some(),
        22 => polled(polls, cache.health()).await.is_some(),
        _ => polled(polls, cache.get_raw("blob")).await.is_some(),
    }
}

async fn calls_may_be_dropped(metadata: &str) {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let cache = open(metadata, &place).await;
    let (mut serial, mut dropped) = (0, 0);
    for which in 0..CALLS {
        for polls in 1.. {
            serial += 1;
            cache.put("inline", &marked::value(1, serial, 100)).await.unwrap();
            cache.put_with("blob", &marked::value(1, serial, 5_000), as_blob()).await.unwrap();
            let ended = call(&cache, which, serial, polls).await;
            for entry in cache.list(ListOptions::new()).await.unwrap().entries {
                // What was given up may still be carried out, so an entry may go between the two.
                if let Some(value) = cache.get::<Vec<u8>, _>(&entry.key).await.unwrap() {
                    marked::marks(&value);
                }
            }
            if ended {
                break;
            }
            dropped += 1;
            assert!(polls < 200, "{metadata}: call {which} does not end");
        }
    }
    assert!(dropped >= CALLS, "{metadata}: {dropped} calls were dropped half-way");
    cache.close().await.unwrap();

    let cache = open(metadata, &place).await;
    let page = cache.list(ListOptions::new()).await.unwrap();
    let stats = cache.stats().await.unwrap();
    let bytes: u64 = page.entries.iter().map(|entry| entry.stored_size).sum();
    assert_eq!((stats.entries, stats.stored_bytes), (page.entries.len() as u64, bytes), "{metadata}");
    assert_eq!(stats.counters.errors, 0, "{metadata}");
    assert!(cache.verify(VerifyOptions::new()).await.unwrap().is_clean(), "{metadata}");
    // Nobody writes any more, so that no grace is needed: what no entry names is deleted, and nothing else.
    cache.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(cache.sweep_dry_run(Duration::ZERO).await.unwrap().orphans, 0, "{metadata}");
    for entry in &page.entries {
        let value: Vec<u8> = cache.get(&entry.key).await.unwrap().expect("an entry has its value");
        marked::marks(&value);
    }
}

#[tokio::test]
async fn calls_that_are_dropped_half_way_leave_a_whole_cache_on_postgres() {
    calls_may_be_dropped("postgres").await;
}

#[tokio::test]
async fn calls_that_are_dropped_half_way_leave_a_whole_cache_on_redis() {
    calls_may_be_dropped("redis").await;
}

/// The lease of this name, by another handle, once it is free.
async fn taken(cache: &Cache, name: &str, within: Duration, what: &str) -> Lease {
    let begun = Instant::now();
    loop {
        if let Some(lease) = cache.lease(name, DAY).await.unwrap() {
            return lease;
        }
        assert!(begun.elapsed() < within, "{what}: the lease is not free after {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_lease_that_is_given_up_at_any_moment_is_free_soon_and_never_held_twice() {
    for metadata in ["postgres", "redis"] {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let (cache, other) = (open(metadata, &place).await, open(metadata, &place).await);
        let mut dropped = [0; 3];
        for polls in 1.. {
            // Should it be given after it was given up, it ends with its time.
            let lease = polled(polls, cache.lease("asked for", Duration::from_secs(3))).await;
            let ended = lease.is_some();
            drop(lease);
            let what = format!("{metadata}: acquiring, {polls} polls");
            let theirs = taken(&other, "asked for", Duration::from_secs(10), &what).await;
            assert!(cache.lease("asked for", DAY).await.unwrap().is_none(), "{what}");
            assert!(theirs.release().await.unwrap(), "{what}");
            if ended {
                break;
            }
            dropped[0] += 1;
        }
        for polls in 1.. {
            let mut lease = cache.lease("renewed", DAY).await.unwrap().expect("nobody else has it");
            let ended = polled(polls, lease.renew(DAY)).await;
            assert_ne!(ended, Some(false), "{metadata}: renewing, {polls} polls");
            assert!(
                other.lease("renewed", DAY).await.unwrap().is_none(),
                "{metadata}: it is held all the time"
            );
            assert!(lease.renew(DAY).await.unwrap() && lease.release().await.unwrap(), "{metadata}");
            if ended.is_some() {
                break;
            }
            dropped[1] += 1;
        }
        for polls in 1.. {
            let lease = cache.lease("released", DAY).await.unwrap().expect("nobody else has it");
            let ended = polled(polls, lease.release()).await;
            let what = format!("{metadata}: releasing, {polls} polls");
            assert_ne!(ended, Some(false), "{what}");
            let theirs = taken(&other, "released", Duration::from_secs(10), &what).await;
            assert!(theirs.release().await.unwrap(), "{what}");
            if ended.is_some() {
                break;
            }
            dropped[2] += 1;
        }
        assert!(dropped.iter().all(|dropped| *dropped > 0), "{metadata}: {dropped:?} were given up");
        cache.close().await.unwrap();
        other.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_feed_whose_waits_are_given_up_tells_of_every_change() {
    for metadata in ["postgres", "redis"] {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let (cache, other) = (open(metadata, &place).await, open(metadata, &place).await);
        let mut dropped = 0;
        for polls in 1.. {
            let Some(mut changes) = polled(polls, cache.changes()).await else {
                dropped += 1;
                continue;
            };
            let mut told = Vec::new();
            for serial in 0..60_u64 {
                // Given up after one to three polls; what has come by then counts.
                let some = polled(serial as usize % 3 + 1, changes.next()).await;
                other.put(format!("k{serial}"), &serial).await.unwrap();
                dropped += usize::from(some.is_none());
                told.extend(some.into_iter().flatten());
            }
            other.put("end", &0).await.unwrap();
            let is_end = |changed: &Changed| matches!(changed, Changed::Put { key, .. } if key == "end");
            while !told.iter().any(is_end) {
                told.extend(changes.next().await.unwrap());
            }
            for serial in 0..60_u64 {
                let wanted = format!("k{serial}");
                let is_told =
                    |changed: &Changed| matches!(changed, Changed::Put { key, .. } if *key == wanted);
                assert!(told.iter().any(is_told), "{metadata}: nobody told of {wanted}");
            }
            break;
        }
        assert!(dropped > 0, "{metadata}: no wait was given up");
        cache.close().await.unwrap();
        other.close().await.unwrap();
    }
}
