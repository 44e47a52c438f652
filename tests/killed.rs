//! Writers that are killed at any moment while others read: what was confirmed is there, what is read is whole, and what a dead writer leaves
//! behind a sweep finds.
#![cfg(unix)]

mod marked;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, Env, Limits, ListOptions, PutOptions, Registry, VerifyOptions};
use cacheness_testkit::TestClock;
use tempfile::TempDir;

const KEYS: u64 = 24;

/// The namespace whose puts evict one another.
const BOUNDED: &str = "bounded";

fn open(metadata: &str, folder: &Path) -> Cache {
    Cache::builder().folder(folder).metadata(metadata).open_blocking().unwrap()
}

/// Opens the cache as if it were so much later.
fn open_later(metadata: &str, folder: &Path, later: Duration) -> (Cache, Arc<TestClock>) {
    let clock = TestClock::new();
    clock.set(Env::new().now() + later);
    let builder = CacheBuilder::new(Registry::builtin()).folder(folder).metadata(metadata).env(clock.env());
    (builder.open_blocking().unwrap(), clock)
}

/// What the writing process does, until it is killed. Each put and each removal is told once it has returned.
fn write(given: &str) {
    let (metadata, first) = given.split_once(' ').unwrap();
    let folder = std::env::var_os("TEST_FOLDER").unwrap();
    let (cache, clock) = open_later(metadata, Path::new(&folder), Duration::ZERO);
    let bounded = cache.namespace(BOUNDED).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "@ready").unwrap();
    for serial in first.parse::<u64>().unwrap().. {
        // Time passes quickly, so that superseded blobs become due and are deleted in between.
        clock.advance(Duration::from_secs(5));
        if serial % 5 == 4 {
            let options = PutOptions::new().inline(false);
            bounded.put_with(format!("b{serial}"), &marked::value(1, serial, 3_000), options).unwrap();
        }
        let key = serial % KEYS;
        if serial % 31 == 30 {
            writeln!(out, "@removing {key} {serial}").unwrap();
            cache.remove(format!("k{key}")).unwrap();
            writeln!(out, "@removed {key} {serial}").unwrap();
            continue;
        }
        // In the index, a blob written at once, and one that is staged.
        let (len, options) = match serial % 7 {
            0 => (1_500_000, PutOptions::new()),
            1 | 2 => (50_000, PutOptions::new().inline(false)),
            _ => (300, PutOptions::new()),
        };
        writeln!(out, "@putting {key} {serial}").unwrap();
        cache.put_with(format!("k{key}"), &marked::value(1, serial, len), options).unwrap();
        writeln!(out, "@put {key} {serial}").unwrap();
    }
}

fn spawn(metadata: &str, folder: &Path, first: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_writer_killed_at_any_moment_loses_nothing_on_sqlite", "--nocapture", "--quiet"])
        .env("TEST_WRITER", format!("{metadata} {first}"))
        .env("TEST_FOLDER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What is known of a key.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The last change that returned: its serial, and whether it put or removed.
    confirmed: Option<(u64, bool)>,
    /// The one that was begun after it.
    begun: Option<(u64, bool)>,
}

/// A file's path, for each blob in a folder.
fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("staging") {
            found.extend(blobs(&path));
        } else if path.file_name().is_some_and(|name| name.len() == 32) {
            found.push(path);
        }
    }
    found
}

fn a_killed_writer_loses_nothing_that_it_confirmed(metadata: &str, rounds: u64) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache");
    let cache = open(metadata, &path);
    let limits = Limits::unbounded().max_entries(4);
    cache.namespace(BOUNDED).unwrap().set_namespace_limits(limits).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let read = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let (cache, stop, read) = (cache.clone(), stop.clone(), read.clone());
            std::thread::spawn(move || {
                let mut at = reader;
                while !stop.load(Ordering::Relaxed) {
                    at = (at * 5 + 3) % KEYS;
                    if let Some(value) = cache.get::<Vec<u8>, _>(format!("k{at}")).unwrap() {
                        marked::marks(&value);
                        read.fetch_add(1, Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        })
        .collect();

    let mut known: HashMap<u64, Known> = HashMap::new();
    let (mut serial, mut changes, mut orphans) = (0, 0, 0);
    for round in 0..rounds {
        let mut writer = spawn(metadata, &path, serial);
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        // At another moment each time, within the first 40 ms of its work; every fourth one while it opens the cache.
        let while_it_opens = round % 4 == 3;
        assert!(
            while_it_opens || lines.any(|line| line.unwrap().contains("@ready")),
            "the writer did not come up"
        );
        std::thread::sleep(Duration::from_micros(round * 7_919 % 40_000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.trim_start_matches('@').split(' ').collect();
            // Of the last line a part may be missing.
            let [what, key, at] = words[..] else { continue };
            let (Ok(key), Ok(at)) = (key.parse::<u64>(), at.parse::<u64>()) else { continue };
            let known = known.entry(key).or_default();
            match what {
                "put" | "removed" => {
                    *known = Known { confirmed: Some((at, what == "put")), begun: None };
                    changes += 1;
                }
                "putting" | "removing" => known.begun = Some((at, what == "putting")),
                _ => continue,
            }
            serial = serial.max(at + 1);
        }
        // A serial that was cut off was not used for another value.
        serial += 1_000 * KEYS;

        // Later than all that the writer took for its present.
        let (opened, _) = open_later(metadata, &path, Duration::from_secs(12 * 60 * 60));
        for (key, known) in &mut known {
            let found =
                opened.get::<Vec<u8>, _>(format!("k{key}")).unwrap().map(|value| marked::marks(&value).1);
            let agrees = |change: Option<(u64, bool)>| match change {
                Some((at, true)) => found == Some(at),
                Some((_, false)) | None => found.is_none(),
            };
            assert!(
                agrees(known.confirmed) || (known.begun.is_some() && agrees(known.begun)),
                "{metadata}, round {round}: k{key} is {found:?}; confirmed {:?}, begun {:?}",
                known.confirmed,
                known.begun
            );
            // What was begun is there now, or never will be.
            *known = Known { confirmed: found.map(|at| (at, true)), begun: None };
        }
        for namespace in opened.namespaces().unwrap() {
            let opened = opened.namespace(&namespace).unwrap();
            let page = opened.list(ListOptions::new()).unwrap();
            let values = page.entries.iter().filter(|entry| {
                let value = opened.get::<Vec<u8>, _>(&entry.key).unwrap();
                value.is_some_and(|value| marked::marks(&value).0 == 1)
            });
            let (values, entries) = (values.count(), page.entries.len());
            assert_eq!(values, entries, "{metadata}, round {round}: an entry without its value");
            assert!(namespace.as_str() != BOUNDED || entries <= 4, "{metadata}, round {round}: {entries}");
        }
        assert_eq!(opened.total_stats().unwrap().counters.errors, 0, "{metadata}, round {round}");
        let verified = opened.verify(VerifyOptions::new()).unwrap();
        assert!(verified.is_clean(), "{metadata}, round {round}: {:?}", verified.findings);
        // Nobody else writes now, so nothing is spared for being new. A writer that dies leaves one blob at the most.
        let swept = opened.sweep(Duration::ZERO).unwrap();
        assert!(swept.orphans <= 1 && swept.deleted == swept.orphans, "{metadata}, round {round}: {swept:?}");
        orphans += swept.orphans;
        // While others read, a log cannot always be written into its database, and blobs wait for that.
        let named = named_blobs(&opened);
        let begun = std::time::Instant::now();
        let left = loop {
            opened.purge().unwrap();
            let left = opened.sweep_dry_run(Duration::ZERO).unwrap();
            if left.blobs == named || begun.elapsed() > Duration::from_secs(20) {
                break left;
            }
        };
        assert_eq!((left.blobs, left.orphans), (named, 0), "{metadata}, round {round}: {named} are named");
        opened.close().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
    assert!(changes > rounds && read.load(Ordering::Relaxed) > rounds, "{changes} changes, {read:?} reads");
    cache.close().unwrap();

    // Two days later nothing is left but what entries name.
    let staged = || fs_err::read_dir(path.join("blobs/staging")).unwrap().count();
    let half_written = staged();
    let (cache, _) = open_later(metadata, &path, Duration::from_secs(2 * 24 * 60 * 60));
    let named = named_blobs(&cache);
    assert_eq!(blobs(&path.join("blobs")).len() as u64, named, "{metadata}: orphans");
    assert_eq!(staged(), 0, "{metadata}: staged files");
    assert!(orphans + half_written as u64 > 0, "{metadata}: no writer was hit while it wrote a blob");
}

/// How many blobs entries name, over all namespaces.
fn named_blobs(cache: &Cache) -> u64 {
    let page = cache.list(ListOptions::new().all_namespaces()).unwrap();
    page.entries.iter().filter(|entry| entry.blob_id().is_some()).count() as u64
}

/// What a process does that puts batches of ten until it is killed.
fn write_batches(given: &str) {
    let (metadata, first) = given.split_once(' ').unwrap();
    let cache = open(metadata, Path::new(&std::env::var_os("TEST_FOLDER").unwrap()));
    writeln!(std::io::stdout().lock(), "@ready").unwrap();
    for serial in first.parse::<u64>().unwrap().. {
        let values: Vec<(String, Vec<u8>)> = (0..10_u64)
            .map(|at| (format!("k{at}"), marked::value(1, serial, if at % 3 == 0 { 40_000 } else { 100 })))
            .collect();
        cache.put_many(values.iter().map(|(key, value)| (key, value)), PutOptions::new()).unwrap();
        writeln!(std::io::stdout().lock(), "@put {serial}").unwrap();
    }
}

// shows: row 85
#[test]
fn batches_are_all_or_nothing() {
    if let Ok(task) = std::env::var("TEST_BATCHES") {
        return write_batches(&task);
    }
    for metadata in ["sqlite", "json"] {
        let folder = TempDir::new().unwrap();
        let mut first = 0;
        for round in 0..12_u64 {
            let mut writer = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "batches_are_all_or_nothing", "--nocapture", "--quiet"])
                .env("TEST_BATCHES", format!("{metadata} {first}"))
                .env("TEST_FOLDER", folder.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().contains("@put")), "the writer did not come up");
            std::thread::sleep(Duration::from_micros(round * 6_131 % 20_000));
            writer.kill().unwrap();
            writer.wait().unwrap();
            let confirmed =
                lines.map_while(Result::ok).filter_map(|line| line.split_once("@put ")?.1.parse().ok());
            first = confirmed.max().unwrap_or(first);
            let cache = open(metadata, folder.path());
            let found: Vec<u64> = (0..10)
                .map(|at| marked::marks(&cache.get::<Vec<u8>, _>(format!("k{at}")).unwrap().unwrap()).1)
                .collect();
            assert!(
                found.iter().all(|&serial| serial == found[0] && serial >= first),
                "{metadata}: {found:?}, {first}"
            );
            first = found[0] + 1;
        }
    }
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_on_sqlite() {
    if let Ok(task) = std::env::var("TEST_WRITER") {
        return write(&task);
    }
    a_killed_writer_loses_nothing_that_it_confirmed("sqlite", 30);
}

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_on_json() {
    a_killed_writer_loses_nothing_that_it_confirmed("json", 20);
}

#[test]
#[ignore = "200 killed writers on each index; a minute or two"]
fn two_hundred_writers_killed_lose_nothing() {
    for metadata in ["sqlite", "json"] {
        a_killed_writer_loses_nothing_that_it_confirmed(metadata, 200);
    }
}
