//! Random damage to all the files of a cache: no panic, no wrong value; what was hit is a counted miss, and the rest is served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::{Compression, ErrorKind, Event, PutOptions};
use fs_err as fs;
use ndarray::{Array2, Ix2};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Reading {
    sensor: String,
    values: Vec<f64>,
    note: Option<String>,
}

const HANDLERS: [&str; 9] =
    ["msgpack", "json", "bincode", "postcard", "bytes", "text", "npy", "arrow_ipc", "parquet"];

/// Entries of each handler.
const EACH: usize = 50;

/// A value's length: a third lies in the index's row, a third in a table beside it, the rest in blobs.
fn length(at: usize) -> usize {
    [20, 400, 5_000][at % 3] + at
}

fn reading(at: usize) -> Reading {
    let values = (0..length(at)).map(|i| (i * 31 + at) as f64 / 7.0).collect();
    Reading { sensor: format!("sensor {at}"), values, note: at.is_multiple_of(2).then(|| "even".to_owned()) }
}

fn bytes(at: usize) -> Vec<u8> {
    (0..length(at) * 8).map(|i| (i * 31 + at * 7) as u8).collect()
}

fn text(at: usize) -> String {
    (0..length(at)).map(|i| format!("{i} and {at}, ")).collect()
}

fn array(at: usize) -> Npy<f32, Ix2> {
    Npy(Array2::from_shape_fn((length(at), 2), |(i, j)| (i * 10 + j + at) as f32))
}

fn table(at: usize) -> RecordBatch {
    let rows = length(at) as i64;
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|i| i * 3 + at as i64)));
    let floats: ArrayRef = Arc::new(Float64Array::from_iter_values((0..rows).map(|i| i as f64 / 3.0)));
    let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|i| format!("row {i}"))));
    RecordBatch::try_from_iter([("id", ids), ("x", floats), ("word", words)]).unwrap()
}

fn key(handler: &str, at: usize) -> String {
    format!("{handler}-{at}")
}

fn put(cache: &Cache, handler: &str, at: usize) {
    let compression = if at.is_multiple_of(5) { Compression::Lz4 } else { Compression::None };
    let options = PutOptions::new().handler(handler).compression(compression).tag("all");
    let key = key(handler, at);
    match handler {
        "bytes" => cache.put_with(&key, &bytes(at)[..], options),
        "text" => cache.put_with(&key, text(at).as_str(), options),
        "npy" => cache.put_with(&key, &array(at), options),
        "arrow_ipc" | "parquet" => cache.put_with(&key, &table(at), options),
        _ => cache.put_with(&key, &reading(at), options),
    }
    .unwrap();
}

/// Whether the value is there.
///
/// # Panics
/// Where it is another one than was put.
fn look(cache: &Cache, handler: &str, at: usize) -> Result<bool, cacheness::Error> {
    let key = key(handler, at);
    let (found, right) = match handler {
        "bytes" => cache.get::<Vec<u8>, _>(&key)?.map(|value| value == bytes(at)),
        "text" => cache.get::<String, _>(&key)?.map(|value| value == text(at)),
        "npy" => cache.get::<Npy<f32, Ix2>, _>(&key)?.map(|value| value == array(at)),
        "arrow_ipc" | "parquet" => cache.get::<RecordBatch, _>(&key)?.map(|value| value == table(at)),
        _ => cache.get::<Reading, _>(&key)?.map(|value| value == reading(at)),
    }
    .map_or((false, true), |right| (true, right));
    assert!(right, "{key} is another value than was put");
    Ok(found)
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn is_blob(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.len() == 32)
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
}

/// Damages a file, and says which were hit and how.
fn damage(random: &mut Random, file: &Path, others: &[PathBuf]) -> (String, Vec<PathBuf>) {
    let mut bytes = fs::read(file).unwrap_or_default();
    let mut hit = vec![file.to_owned()];
    let how = match random.below(if is_blob(file) { 7 } else { 6 }) {
        0 | 1 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            fs::write(file, &bytes).unwrap();
            format!("a bit of byte {at} flipped")
        }
        2 => {
            bytes.truncate(random.below(bytes.len()));
            fs::write(file, &bytes).unwrap();
            format!("cut to {} bytes", bytes.len())
        }
        3 => {
            fs::write(file, "").unwrap();
            "emptied".to_owned()
        }
        4 => {
            let _ = fs::remove_file(file);
            "deleted".to_owned()
        }
        6 => {
            let other = &others[random.below(others.len())];
            let theirs = fs::read(other).unwrap_or_default();
            fs::write(other, &bytes).unwrap();
            fs::write(file, theirs).unwrap();
            hit.push(other.clone());
            format!("swapped with {}", other.display())
        }
        _ => {
            let (at, len) = (random.below(bytes.len()), random.below(300) + 1);
            bytes.resize(bytes.len().max(at + len), 0);
            for byte in &mut bytes[at..at + len] {
                *byte = random.below(256) as u8;
            }
            fs::write(file, &bytes).unwrap();
            format!("{len} bytes of garbage from {at}")
        }
    };
    (format!("{}: {how}", file.display()), hit)
}

fn damage_is_survived(metadata: &str, rounds: usize, changes: usize) {
    let folder = TempDir::new().unwrap();
    let (whole, worked) = (folder.path().join("whole"), folder.path().join("damaged"));
    let open = |path: &Path| Cache::builder().folder(path).metadata(metadata).open_blocking();
    let cache = open(&whole).unwrap();
    let mut of_blob = std::collections::HashMap::new();
    for handler in HANDLERS {
        for at in 0..EACH {
            put(&cache, handler, at);
            let entry = cache.get_entry(key(handler, at)).unwrap().unwrap();
            if let Some(blob) = entry.blob_id() {
                of_blob.insert(blob.to_string(), (handler, at));
            }
        }
    }
    cache.close().unwrap();
    assert!(of_blob.len() > 50 && of_blob.len() < HANDLERS.len() * EACH - 50, "{} blobs", of_blob.len());

    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let (mut missed, mut refused, mut read) = (0, 0, 0);
    for round in 0..rounds {
        let _ = fs::remove_dir_all(&worked);
        copy(&whole, &worked);
        let all = files(&worked);
        let (blobs, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| is_blob(path));
        // Every third round the index is hit, too.
        let index_is_hit = round % 3 == 2;
        let (mut told, mut hit) = (Vec::new(), Vec::new());
        for change in 0..changes {
            let among = if index_is_hit && change % 2 == 0 { &rest } else { &blobs };
            let file = &among[random.below(among.len())];
            let (how, files) = damage(&mut random, file, &blobs);
            told.push(how);
            hit.extend(files);
        }
        let hit: Vec<_> =
            hit.iter().filter_map(|path| of_blob.get(path.file_name().unwrap().to_str().unwrap())).collect();
        let done = catch_unwind(AssertUnwindSafe(|| {
            let cache = match open(&worked) {
                Ok(cache) => cache,
                Err(error) => {
                    assert!(index_is_hit, "{error}");
                    let says_so = match error.kind() {
                        // Without its markers, the store of blobs is not taken for the cache's own.
                        ErrorKind::NotFound => error.to_string().contains("allow_new_blobs"),
                        ErrorKind::Corrupted => {
                            ["rebuild", "marker"].iter().any(|what| error.to_string().contains(what))
                        }
                        // A number by which a file is known can be damaged, too.
                        kind => kind == ErrorKind::Unsupported,
                    };
                    assert!(says_so, "{}: {error}", error.kind());
                    return None;
                }
            };
            let (mut misses, mut found_here) = (0, 0);
            for handler in HANDLERS {
                for at in 0..EACH {
                    let found =
                        look(&cache, handler, at).unwrap_or_else(|error| panic!("{handler} {at}: {error}"));
                    let may_miss = index_is_hit || hit.contains(&&(handler, at));
                    assert!(found || may_miss, "{handler} {at} was not hit, and is a miss");
                    misses += u64::from(!found);
                    found_here += u64::from(found);
                }
            }
            if !index_is_hit {
                let counted = cache.stats().unwrap().counters;
                assert_eq!(counted.misses, misses, "each is counted");
                assert!(counted.errors >= misses, "{} errors, {misses} misses", counted.errors);
                // What was hit has been removed, so that it is put anew.
                for (handler, at) in &hit {
                    put(&cache, handler, *at);
                    assert!(look(&cache, handler, *at).unwrap(), "{handler} {at} after a put");
                }
            }
            cache.close().unwrap();
            Some((misses, if index_is_hit { found_here } else { 0 }))
        }));
        match done {
            Ok(Some((misses, found))) => (missed, read) = (missed + misses, read + found),
            Ok(None) => refused += 1,
            Err(_) => panic!("round {round}: {told:#?}"),
        }
    }
    // A cache whose index was hit opens as well, and serves what it can.
    let told =
        format!("{missed} misses, {refused} caches that did not open, {read} values over a damaged index");
    assert!(missed > 0 && refused < rounds / 3 && read > 0, "{told}");
}

// shows: row 63
#[test]
fn damaged_files_are_misses_and_the_rest_is_served() {
    damage_is_survived("sqlite", 24, 5);
}

/// Entries of which the records, inline values and blobs of some are damaged.
#[test]
fn damage_in_the_index_takes_nothing_else_with_it_also_where_several_are_asked_for_at_once() {
    let folder = TempDir::new().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let open = || {
        let told = told.clone();
        let listener = move |event: &Event| {
            if let Event::Corrupt { key, .. } = event {
                told.lock().unwrap().push(key.as_str().to_owned());
            }
        };
        Cache::builder().folder(folder.path()).listener(listener).open_blocking().unwrap()
    };
    let keys: Vec<String> = (0..60).map(|i| format!("k{i:02}")).collect();
    let cache = open();
    for (i, key) in keys.iter().enumerate() {
        cache.put_with(key, key.as_str(), PutOptions::new().inline(i % 2 == 0)).unwrap();
    }
    let lost = cache.get_entry("k05").unwrap().unwrap().blob_id().unwrap().to_string();
    cache.close().unwrap();
    let index = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
    let change = |sql: &str| assert_eq!(index.execute(sql, ()).unwrap(), 1, "{sql}");
    change("UPDATE entries SET record = x'ffff' WHERE key = 'k03'");
    change("UPDATE entries SET record = substr(record, 2) WHERE key = 'k10'");
    change("UPDATE entries SET inline = x'00' WHERE key = 'k20'");
    drop(index);
    let blobs = files(&folder.path().join("blobs"));
    fs::remove_file(blobs.iter().find(|path| path.ends_with(&lost)).unwrap()).unwrap();

    let cache = open();
    let found: Vec<Option<String>> = cache.get_many(&keys).unwrap();
    let missed: Vec<&str> =
        keys.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(key, _)| key.as_str()).collect();
    assert_eq!(missed, ["k03", "k05", "k10", "k20"]);
    for (key, found) in keys.iter().zip(&found) {
        assert!(found.as_ref().is_none_or(|found| found == key));
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(cache.get::<String, _>(key).unwrap(), found[at], "{key} by itself");
    }
    let counted = cache.stats().unwrap().counters;
    assert_eq!((counted.misses, counted.hits), (8, 112), "each is counted");
    assert!(counted.errors >= 4, "{}", counted.errors);
    cache.close().unwrap();
    let told = told.lock().unwrap();
    assert!(["k03", "k10", "k20"].iter().all(|key| told.iter().any(|told| told == key)), "{told:?}");
}

#[test]
fn damaged_files_are_misses_and_the_rest_is_served_on_json() {
    damage_is_survived("json", 9, 5);
}

#[test]
#[ignore = "2,000 changes; some minutes"]
fn two_thousand_changes_are_survived() {
    damage_is_survived("sqlite", 400, 5);
}

#[test]
#[ignore = "2,000 changes; some minutes"]
fn two_thousand_changes_are_survived_on_json() {
    damage_is_survived("json", 400, 5);
}
