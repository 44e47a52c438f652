//! Many processes on one folder: nothing fails, nothing is lost, the counts are exact, and a reader always finds a value that is there.
#![allow(clippy::print_stdout, reason = "processes of these tests talk to each other")]

mod marked;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{ListOptions, PutOptions};
use tempfile::TempDir;

const WRITERS: u64 = 8;
const SHARED: u64 = 50;

fn open(metadata: &str, folder: &Path) -> Cache {
    Cache::builder().folder(folder).metadata(metadata).open_blocking().unwrap()
}

/// Runs [`work`] in a process of its own, in which this program is run as this test.
fn spawn(task: &str, metadata: &str, folder: &Path, number: u64, puts: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "eight_processes_lose_nothing_on_sqlite", "--nocapture", "--quiet"])
        .env("TEST_WORKER", format!("{task} {metadata} {number} {puts}"))
        .env("TEST_FOLDER", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a process, and returns what it said.
fn said(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "a process failed:\n{text}");
    text.lines().filter_map(|line| line.split_once('@')).map(|(_, said)| said.to_owned()).collect()
}

/// What a process does that a test here starts.
fn work(given: &str) {
    let given: Vec<&str> = given.split(' ').collect();
    let (number, puts): (u64, u64) = (given[2].parse().unwrap(), given[3].parse().unwrap());
    let folder = std::env::var_os("TEST_FOLDER").unwrap();
    let cache = open(given[1], Path::new(&folder));
    match given[0] {
        "open" => println!("@{}", cache.id()),
        "write" => write(&cache, number, puts),
        "overwrite" => overwrite(&cache, puts),
        other => panic!("no task {other}"),
    }
    cache.close().unwrap();
}

/// A third of them short enough for the index's row, one in twenty a blob.
fn length(serial: u64) -> usize {
    match serial % 20 {
        0 => 40_000,
        at if at % 3 == 0 => 5_000,
        _ => 100,
    }
}

/// Puts, half of them under keys that all processes use, with lookups and removals between.
fn write(cache: &Cache, number: u64, puts: u64) {
    let (mut last, mut kept) = (BTreeMap::new(), Vec::new());
    let (mut hits, mut misses, mut removals) = (0_u64, 0_u64, 0_u64);
    for serial in 0..puts {
        let shared = serial % 2 == 0;
        let key = if shared {
            format!("shared-{}", serial / 2 * 7 % SHARED)
        } else {
            format!("own-{number}-{serial}")
        };
        cache.put(&key, &marked::value(number, serial, length(serial))).unwrap();
        if shared {
            last.insert(key, serial);
        } else {
            kept.push((key, serial));
        }
        if serial % 5 == 0 {
            let key = format!("shared-{}", serial % SHARED);
            match cache.get::<Vec<u8>, _>(&key).unwrap() {
                Some(value) => {
                    marked::marks(&value);
                    hits += 1;
                }
                None => misses += 1,
            }
        }
        if serial % 20 == 19 {
            let (key, _) = kept.remove(kept.len() / 2);
            assert!(cache.remove(&key).unwrap(), "{key} was put and nobody else knows it");
            removals += 1;
        }
    }
    println!("@counts {hits} {misses} {removals}");
    for (key, serial) in last.into_iter().chain(kept) {
        println!("@last {key} {serial}");
    }
}

fn eight_processes_lose_nothing(metadata: &str, puts: u64) {
    let folder = TempDir::new().unwrap();
    let workers: Vec<Child> =
        (0..WRITERS).map(|number| spawn("write", metadata, folder.path(), number, puts)).collect();
    let (mut hits, mut misses, mut removals) = (0, 0, 0);
    // Of each key, who may have put it last: everybody's own last put of it.
    let mut last: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    for (number, worker) in (0..).zip(workers) {
        for line in said(worker) {
            let words: Vec<&str> = line.split(' ').collect();
            let of = |at: usize| words[at].parse::<u64>().unwrap();
            if words[0] == "counts" {
                (hits, misses, removals) = (hits + of(1), misses + of(2), removals + of(3));
            } else {
                last.entry(words[1].to_owned()).or_default().push((number, of(2)));
            }
        }
    }
    let cache = open(metadata, folder.path());
    let stats = cache.stats().unwrap();
    assert_eq!(stats.entries, last.len() as u64);
    let counted = stats.counters;
    assert_eq!((counted.puts, counted.removals, counted.errors), (WRITERS * puts, removals, 0));
    assert_eq!((counted.hits, counted.misses), (hits, misses));
    let mut bytes = 0;
    for (key, candidates) in &last {
        let value: Vec<u8> = cache.get(key).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
        assert!(candidates.contains(&marked::marks(&value)), "{key} is not what anybody put last");
        bytes += cache.get_entry(key).unwrap().unwrap().stored_size;
    }
    assert_eq!(stats.stored_bytes, bytes);
    assert_eq!(cache.count_matching(ListOptions::new()).unwrap(), last.len() as u64);
}

// shows: rows 23, 100, U13
#[test]
fn eight_processes_lose_nothing_on_sqlite() {
    if let Ok(task) = std::env::var("TEST_WORKER") {
        return work(&task);
    }
    eight_processes_lose_nothing("sqlite", 400);
}

#[test]
fn eight_processes_lose_nothing_on_json() {
    eight_processes_lose_nothing("json", 100);
}

#[test]
#[ignore = "16,000 puts; about half a minute"]
fn eight_processes_with_two_thousand_puts_each_lose_nothing() {
    eight_processes_lose_nothing("sqlite", 2_000);
}

#[test]
fn sixteen_processes_that_open_a_new_folder_at_once_open_one_cache() {
    for metadata in ["sqlite", "json"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("cache");
        let openers: Vec<Child> = (0..16).map(|number| spawn("open", metadata, &path, number, 0)).collect();
        let mut ids: Vec<String> = openers.into_iter().flat_map(said).collect();
        assert_eq!(ids.len(), 16, "{metadata}");
        ids.dedup();
        assert_eq!(ids, [open(metadata, &path).id().to_string()], "{metadata}");
    }
}

/// Puts one key again and again, each time as a new blob.
fn overwrite(cache: &Cache, puts: u64) {
    for serial in 0..puts {
        let value = marked::value(0, serial, 200_000);
        cache.put_with("key", &value, PutOptions::new().inline(false)).unwrap();
        if serial == 0 {
            println!("@begun");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_key_that_is_overwritten_is_always_there(puts: u64) {
    for metadata in ["sqlite", "json"] {
        let folder = TempDir::new().unwrap();
        let cache = open(metadata, folder.path());
        let mut writer = spawn("overwrite", metadata, folder.path(), 0, puts);
        let mut lines = BufReader::new(writer.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("@begun")));
        let (mut gets, mut newest, begun) = (0_u64, 0, Instant::now());
        while writer.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(240), "the writer does not end");
            let value: Option<Vec<u8>> = cache.get("key").unwrap();
            let value =
                value.unwrap_or_else(|| panic!("{metadata}: get {gets} missed a key that was always there"));
            let (_, serial) = marked::marks(&value);
            assert!(serial >= newest, "{metadata}: {serial} after {newest}");
            newest = serial;
            gets += 1;
        }
        assert!(writer.wait().unwrap().success());
        assert!(gets > puts, "{metadata}: {gets} gets beside {puts} puts");
    }
}

#[test]
fn a_key_that_another_process_overwrites_every_20_ms_is_always_there() {
    a_key_that_is_overwritten_is_always_there(50);
}

#[test]
#[ignore = "a minute and a half of overwriting"]
fn a_key_that_another_process_overwrites_for_long_is_always_there() {
    a_key_that_is_overwritten_is_always_there(2_000);
}
