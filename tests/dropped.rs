//! Calls that are given up half-way: each of the async face, polled once, twice and so on before it is dropped, leaves a cache
//! in which each value is whole, the counts fit, and nothing is left behind for good. And a runtime that ends in the middle of
//! writes. Leases and feeds need a server, and are in `servers_dropped.rs`; the rotation of keys needs two, and is in
//! `protection`.

#![expect(
    clippy::disallowed_methods,
    reason = "what goes on after a dropped call is real work of other threads"
)]

mod marked;
mod polled;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cacheness::{
    Cache, CacheBuilder, Env, ErrorKind, Limits, ListOptions, PutOptions, ReadOptions, RebuildOptions,
    Register, Registry, VerifyOptions,
};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};
use polled::polled;
use tempfile::TempDir;

/// A registry in which every call of a backend waits a moment, so that there are many places to stop at.
fn slow(metadata: &str) -> Registry {
    let mut registry = Registry::builtin();
    let chaos = || Chaos::new().slow(Duration::from_micros(200));
    let inner = registry.metadata_backend(metadata).unwrap().clone();
    let inner = ChaosMetadataFactory::wrap_shared(inner, chaos());
    registry.register_metadata_backend(inner, Register::new().named(metadata).replace()).unwrap();
    let inner = registry.blob_backend("filesystem").unwrap().clone();
    let inner = ChaosBlobFactory::wrap_shared(inner, chaos());
    registry.register_blob_backend(inner, Register::new().named("filesystem").replace()).unwrap();
    registry
}

fn builder(registry: Registry, metadata: &str, folder: &Path) -> CacheBuilder {
    CacheBuilder::new(registry).folder(folder).metadata(metadata)
}

async fn open(registry: Registry, metadata: &str, folder: &Path) -> Cache {
    builder(registry, metadata, folder).open().await.unwrap()
}

fn as_blob() -> PutOptions {
    PutOptions::new().inline(false).tag("tagged")
}

/// What is there before each call: a value in the index, one with a TTL, one in a blob, and another namespace.
async fn prepare(cache: &Cache, serial: u64) {
    cache.put("inline", &marked::value(1, serial, 100)).await.unwrap();
    let brief = PutOptions::ttl(Duration::from_secs(3_600));
    cache.put_with("brief", &marked::value(1, serial, 100), brief).await.unwrap();
    cache.put_with("blob", &marked::value(1, serial, 5_000), as_blob()).await.unwrap();
    let other = cache.namespace("other").unwrap();
    other.put_with("theirs", &marked::value(2, serial, 5_000), as_blob()).await.unwrap();
}

/// How many calls [`call`] knows.
const CALLS: usize = 46;

/// Begins one of the calls, and drops it after so many polls. True where it ended before.
async fn call(cache: &Cache, which: usize, serial: u64, polls: usize) -> bool {
    let (short, long) = (marked::value(3, serial, 200), marked::value(3, serial, 6_000));
    let huge = marked::value(3, serial, 1_200_000);
    let several = [("blob", &long), ("more", &short)];
    let (all, day) = (ListOptions::new(), Duration::from_secs(24 * 60 * 60));
    match which {
        0 => polled(polls, cache.put("inline", &short)).await.is_some(),
        1 => polled(polls, cache.put_with("blob", &long, as_blob())).await.is_some(),
        2 => polled(polls, cache.put_with("blob", &huge, as_blob())).await.is_some(),
        3 => polled(polls, cache.put_many(several, as_blob())).await.is_some(),
        4 => polled(polls, cache.get::<Vec<u8>, _>("inline")).await.is_some(),
        5 => polled(polls, cache.get::<Vec<u8>, _>("blob")).await.is_some(),
        6 => polled(polls, cache.get_many::<Vec<u8>, _>(&["inline", "blob"])).await.is_some(),
        7 => polled(polls, cache.remove("blob")).await.is_some(),
        8 => polled(polls, cache.remove_many(&["inline", "blob"])).await.is_some(),
        9 => polled(polls, cache.touch("blob")).await.is_some(),
        10 => polled(polls, cache.list(all)).await.is_some(),
        11 => polled(polls, cache.remove_matching(all.tag("tagged"))).await.is_some(),
        12 => polled(polls, cache.clear()).await.is_some(),
        13 => polled(polls, cache.purge()).await.is_some(),
        14 => polled(polls, cache.stats()).await.is_some(),
        15 => polled(polls, cache.sweep(day)).await.is_some(),
        16 => polled(polls, cache.drop_namespace("other")).await.is_some(),
        17 => polled(polls, cache.set_limits(Limits::unbounded().max_entries(2))).await.is_some(),
        18 => polled(polls, cache.total_stats()).await.is_some(),
        19 => polled(polls, cache.put_shared("blob", Arc::new(long), as_blob())).await.is_some(),
        20 => polled(polls, cache.count_matching(all)).await.is_some(),
        21 => polled(polls, cache.get_raw("blob")).await.is_some(),
        22 => {
            let raw = cache.get_raw("blob").await.unwrap().expect("it was prepared");
            polled(polls, cache.put_raw(raw)).await.is_some()
        }
        23 => polled(polls, cache.put_reader("blob", &huge[..], as_blob())).await.is_some(),
        24 => polled(polls, cache.put_serialize("more", &short, as_blob())).await.is_some(),
        25 => polled(polls, cache.get_with::<Vec<u8>, _>("blob", &ReadOptions::new())).await.is_some(),
        26 => polled(polls, cache.peek::<Vec<u8>, _>("blob")).await.is_some(),
        27 => polled(polls, cache.reader("blob")).await.is_some(),
        28 => {
            let mut reader = cache.reader("blob").await.unwrap().expect("it was prepared");
            let part = polled(polls, reader.read_at(100..300)).await;
            // A reader whose call was given up reads on as if there had been none.
            let again = reader.read_at(100..300).await.unwrap();
            assert!(part.as_ref().is_none_or(|part| *part == again));
            part.is_some()
        }
        29 => {
            let mut reader = cache.reader("blob").await.unwrap().expect("it was prepared");
            let mut read = Vec::new();
            let ended = match polled(polls, reader.next_piece()).await {
                Some(piece) => {
                    read.extend_from_slice(&piece.expect("it is not empty"));
                    true
                }
                None => false,
            };
            while let Some(piece) = reader.next_piece().await.unwrap() {
                read.extend_from_slice(&piece);
            }
            marked::marks(&read);
            ended
        }
        30 => polled(polls, cache.get_entry("blob")).await.is_some(),
        31 => polled(polls, cache.contains("blob")).await.is_some(),
        32 => polled(polls, cache.extend_ttl("brief", day)).await.is_some(),
        33 => polled(polls, cache.invalidate("blob")).await.is_some(),
        34 => polled(polls, cache.namespaces()).await.is_some(),
        35 => polled(polls, cache.reset_stats()).await.is_some(),
        36 => polled(polls, cache.limits()).await.is_some(),
        37 => polled(polls, cache.namespace_limits()).await.is_some(),
        38 => polled(polls, cache.set_namespace_limits(Limits::unbounded().max_entries(2))).await.is_some(),
        39 => polled(polls, cache.health()).await.is_some(),
        40 => {
            let report = polled(polls, cache.verify(VerifyOptions::new())).await;
            assert!(report.as_ref().is_none_or(|report| report.is_clean()), "{report:?}");
            report.is_some()
        }
        41 => polled(polls, cache.repair(VerifyOptions::new())).await.is_some(),
        42 => polled(polls, cache.remove_matching_everywhere(all.tag("tagged"))).await.is_some(),
        43 => {
            let each = [("blob", &long, as_blob()), ("more", &short, PutOptions::new())];
            polled(polls, cache.put_many_with(each)).await.is_some()
        }
        44 => {
            let options = ReadOptions::new();
            polled(polls, cache.get_many_with::<Vec<u8>, _>(&["inline", "blob"], &options)).await.is_some()
        }
        _ => polled(polls, cache.sweep_dry_run(day)).await.is_some(),
    }
}

async fn is_consistent(cache: &Cache, what: &str) {
    let page = cache.list(ListOptions::new()).await.unwrap();
    for entry in &page.entries {
        // What was given up may still be carried out, so an entry may go between the two.
        if let Some(value) = cache.get::<Vec<u8>, _>(&entry.key).await.unwrap() {
            marked::marks(&value);
        }
    }
    assert_eq!(cache.stats().await.unwrap().counters.errors, 0, "{what}");
}

fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(blobs(&path));
        } else if path.file_name().is_some_and(|name| name != "cacheness-blobs") {
            found.push(path);
        }
    }
    found
}

/// What the index says fits what is there, and days later nothing else is left.
async fn is_whole(metadata: &str, folder: &Path) {
    let clock = TestClock::new();
    clock.set(Env::new().now() + Duration::from_secs(2 * 24 * 60 * 60));
    let builder = CacheBuilder::new(Registry::builtin()).folder(folder).metadata(metadata).env(clock.env());
    let cache = builder.open().await.unwrap();
    cache.purge().await.unwrap();
    cache.sweep(Duration::from_secs(24 * 60 * 60)).await.unwrap();
    let mut named = 0;
    for namespace in cache.namespaces().await.unwrap() {
        let cache = cache.namespace(&namespace).unwrap();
        let page = cache.list(ListOptions::new()).await.unwrap();
        let bytes: u64 = page.entries.iter().map(|entry| entry.stored_size).sum();
        let stats = cache.stats().await.unwrap();
        assert_eq!(
            (stats.entries, stats.stored_bytes),
            (page.entries.len() as u64, bytes),
            "{metadata} {namespace}"
        );
        for entry in &page.entries {
            marked::marks(
                &cache.get::<Vec<u8>, _>(&entry.key).await.unwrap().expect("an entry has its value"),
            );
            named += usize::from(entry.blob_id().is_some());
        }
    }
    assert_eq!(cache.total_stats().await.unwrap().garbage_bytes, 0, "{metadata}");
    assert_eq!(blobs(&folder.join("blobs")).len(), named, "{metadata}: orphans");
}

async fn calls_may_be_dropped(metadata: &str, registry: Registry, at_least: usize) {
    let folder = TempDir::new().unwrap();
    let cache = open(registry, metadata, folder.path()).await;
    let (mut serial, mut dropped) = (0, 0);
    for which in 0..CALLS {
        for polls in 1.. {
            serial += 1;
            prepare(&cache, serial).await;
            let ended = call(&cache, which, serial, polls).await;
            is_consistent(&cache, &format!("{metadata}: call {which} after {polls} polls")).await;
            if which == 17 {
                cache.set_limits(Limits::unbounded()).await.unwrap();
            }
            if which == 38 {
                cache.set_namespace_limits(Limits::unbounded()).await.unwrap();
            }
            if ended {
                break;
            }
            dropped += 1;
            assert!(polls < 200, "call {which} does not end");
        }
    }
    assert!(dropped >= at_least, "{dropped} calls were dropped half-way");
    cache.close().await.unwrap();
    is_whole(metadata, folder.path()).await;
}

/// How many of the calls wait at all where the backends are quick depends on which thread comes first. With slow ones, all do.
const QUICK: usize = CALLS / 3;

#[tokio::test]
async fn calls_that_are_dropped_half_way_leave_a_whole_cache_on_sqlite() {
    calls_may_be_dropped("sqlite", Registry::builtin(), QUICK).await;
}

#[tokio::test]
async fn calls_that_are_dropped_half_way_leave_a_whole_cache_on_json() {
    calls_may_be_dropped("json", Registry::builtin(), QUICK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_slow_backends_that_are_dropped_half_way_leave_a_whole_cache() {
    calls_may_be_dropped("sqlite", slow("sqlite"), CALLS).await;
}

/// Opens, closes and rebuilds a cache, each given up after every number of polls there is.
async fn a_cache_may_be_given_up(metadata: &str, registry: impl Fn() -> Registry) {
    let folder = TempDir::new().unwrap();
    let builder = || builder(registry(), metadata, folder.path());
    let mut dropped = [0; 4];
    // Of a folder that is not there yet, and of one that is.
    for (call, new) in [(0, true), (1, false)] {
        for polls in 1.. {
            let fresh = TempDir::new().unwrap();
            let path = if new { fresh.path() } else { folder.path() };
            let ended = polled(polls, builder().folder(path).open()).await.is_some();
            let cache = builder().folder(path).open().await.unwrap();
            cache.put_with("k", &marked::value(1, 1, 5_000), as_blob()).await.unwrap();
            cache.close().await.unwrap();
            is_whole(metadata, path).await;
            if ended {
                break;
            }
            dropped[call] += 1;
        }
    }
    for polls in 1.. {
        let cache = builder().open().await.unwrap();
        prepare(&cache, polls as u64).await;
        let ended = polled(polls, cache.close()).await.is_some();
        drop(cache);
        let cache = builder().open().await.unwrap();
        let value: Vec<u8> = cache.get("blob").await.unwrap().expect("it was put");
        assert_eq!(marked::marks(&value).1, polls as u64, "{metadata}: closing after {polls} polls");
        cache.close().await.unwrap();
        if ended {
            break;
        }
        dropped[2] += 1;
    }
    let before = values(&builder().open().await.unwrap()).await;
    for polls in 1.. {
        let ended = polled(polls, builder().rebuild(RebuildOptions::new())).await.is_some();
        if !ended {
            // What was given up may have a step of it under way, which holds the index. Until it is called again and ends, the
            // cache opens as it was, or says that it was not finished.
            let begun = std::time::Instant::now();
            while let Err(error) = builder().rebuild(RebuildOptions::new()).await {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{metadata}: after {polls} polls: {error}");
                assert!(begun.elapsed() < Duration::from_secs(20), "{metadata}: {error}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            dropped[3] += 1;
        }
        let cache = builder().open().await.unwrap();
        assert_eq!(values(&cache).await, before, "{metadata}: rebuilding after {polls} polls");
        cache.close().await.unwrap();
        if ended {
            break;
        }
    }
    is_whole(metadata, folder.path()).await;
    assert!(dropped.iter().all(|dropped| *dropped > 0), "{metadata}: {dropped:?} were given up");
}

/// The keys of a namespace, each with the number of its value.
async fn values(cache: &Cache) -> Vec<(String, u64)> {
    let mut values = Vec::new();
    for entry in cache.list(ListOptions::new()).await.unwrap().entries {
        let value: Vec<u8> = cache.get(&entry.key).await.unwrap().expect("an entry has its value");
        values.push((entry.key.to_string(), marked::marks(&value).1));
    }
    values
}

#[tokio::test]
async fn opening_closing_and_rebuilding_that_are_given_up_lose_nothing_on_sqlite() {
    a_cache_may_be_given_up("sqlite", Registry::builtin).await;
}

#[tokio::test]
async fn opening_closing_and_rebuilding_that_are_given_up_lose_nothing_on_json() {
    a_cache_may_be_given_up("json", Registry::builtin).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_and_closing_of_slow_backends_that_are_given_up_lose_nothing() {
    a_cache_may_be_given_up("sqlite", || slow("sqlite")).await;
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_writes_loses_only_those() {
    let folder = TempDir::new().unwrap();
    let mut confirmed = std::collections::BTreeMap::new();
    for round in 0..12_u64 {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let path = folder.path().to_owned();
        runtime.spawn(async move {
            let cache = open(Registry::builtin(), "sqlite", &path).await;
            for writer in 0..4_u64 {
                let (cache, tell) = (cache.clone(), tell.clone());
                tokio::spawn(async move {
                    for serial in round * 1_000.. {
                        let value = marked::value(writer, serial, if serial % 3 == 0 { 50_000 } else { 200 });
                        let key = format!("k{writer}-{}", serial % 5);
                        // Of a runtime that has ended, work cannot be had any more.
                        if cache.put_with(&key, &value, as_blob()).await.is_err() {
                            break;
                        }
                        let _ = tell.send((key, serial));
                    }
                });
            }
            std::future::pending::<()>().await;
        });
        // Once there are some, at another moment each time.
        for _ in 0..20 {
            confirmed.extend(told.recv());
        }
        std::thread::sleep(Duration::from_micros(round * 700));
        runtime.shutdown_background();
        confirmed.extend(told.iter());
    }
    let cache = cacheness::blocking::Cache::open(folder.path()).unwrap();
    let errors = cache.stats().unwrap().counters.errors;
    for (key, serial) in confirmed {
        let value: Vec<u8> = cache.get(&key).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
        assert!(marked::marks(&value).1 >= serial, "{key} is older than what was confirmed");
    }
    assert_eq!(cache.stats().unwrap().counters.errors, errors, "nothing was damaged");
    cache.close().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(is_whole("sqlite", folder.path()));
}
