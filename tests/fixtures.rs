//! Caches as every format wrote them, kept in `tests/fixtures`: this version reads all of them. Format 1 is the only one so far.
//!
//! When a format is about to be released, `BLESS=1 cargo test --all-features --test fixtures` writes its fixture.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::{Compression, ErrorKind, Limits, ListOptions, Permissions, PutOptions};
use cacheness_testkit::TestClock;
use fs_err as fs;
use ndarray::{Array2, Ix2};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Reading {
    sensor: String,
    values: Vec<f64>,
}

fn reading() -> Reading {
    Reading { sensor: "north".into(), values: (0..300).map(f64::from).collect() }
}

fn table() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
    let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..50).map(|i| format!("word {i}"))));
    RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap()
}

fn array() -> Npy<f32, Ix2> {
    Npy(Array2::from_shape_fn((4, 5), |(i, j)| (i * 10 + j) as f32))
}

/// What every format is to keep: each handler, inline and as a blob, compressed or not, and all that a put can say.
fn fill(cache: &Cache) {
    for (place, inline) in [("inline", true), ("blob", false)] {
        let named = |handler: &str| PutOptions::new().handler(handler).inline(inline).tag(place).tag(handler);
        for handler in ["msgpack", "json", "bincode", "postcard"] {
            cache.put_with(format!("{place}-{handler}"), &reading(), named(handler)).unwrap();
        }
        for handler in ["arrow_ipc", "parquet"] {
            cache.put_with(format!("{place}-{handler}"), &table(), named(handler)).unwrap();
        }
        cache.put_with(format!("{place}-npy"), &array(), named("npy")).unwrap();
        cache.put_with(format!("{place}-text"), "text", named("text")).unwrap();
        cache.put_with(format!("{place}-bytes"), &b"bytes"[..], named("bytes")).unwrap();
        for (name, compression) in [("lz4", Compression::Lz4), ("zstd", Compression::Zstd(3))] {
            let text = "text ".repeat(500);
            let options = named("text").compression(compression);
            cache.put_with(format!("{place}-{name}"), text.as_str(), options).unwrap();
        }
    }
    let all =
        PutOptions::ttl(Duration::from_secs(1_000)).description("a value with everything").priority(0.75);
    let all = all.type_tag("reading").type_version(3).custom("project", "north");
    cache.put_with("everything", &reading(), all).unwrap();
    let other = cache.namespace("other").unwrap();
    other.put("key", &1).unwrap();
    other.set_namespace_limits(Limits::unbounded().max_entries(7)).unwrap();
    cache.set_limits(Limits::unbounded().max_entries(1_000).policy("lfu")).unwrap();
    // So that there are versions, garbage and counters.
    cache
        .put_with("inline-text", "text", PutOptions::new().handler("text").tag("inline").tag("text"))
        .unwrap();
    assert!(cache.get::<String, _>("blob-text").unwrap().is_some());
    assert!(cache.get::<String, _>("absent").unwrap().is_none());
}

fn is_all_there(cache: &Cache) {
    for place in ["inline", "blob"] {
        for handler in ["msgpack", "json", "bincode", "postcard"] {
            assert_eq!(
                cache.get::<Reading, _>(format!("{place}-{handler}")).unwrap(),
                Some(reading()),
                "{handler}"
            );
        }
        for handler in ["arrow_ipc", "parquet"] {
            assert_eq!(
                cache.get::<RecordBatch, _>(format!("{place}-{handler}")).unwrap(),
                Some(table()),
                "{handler}"
            );
        }
        assert_eq!(cache.get::<Npy<f32, Ix2>, _>(format!("{place}-npy")).unwrap(), Some(array()));
        assert_eq!(cache.get::<String, _>(format!("{place}-text")).unwrap().as_deref(), Some("text"));
        assert_eq!(
            cache.get::<Vec<u8>, _>(format!("{place}-bytes")).unwrap().as_deref(),
            Some(&b"bytes"[..])
        );
        for name in ["lz4", "zstd"] {
            assert_eq!(
                cache.get::<String, _>(format!("{place}-{name}")).unwrap(),
                Some("text ".repeat(500)),
                "{name}"
            );
        }
        assert_eq!(cache.count_matching(ListOptions::new().tag(place)).unwrap(), 11);
    }
    let entry = cache.get_entry("everything").unwrap().unwrap().entry;
    assert_eq!(entry.description.as_deref(), Some("a value with everything"));
    assert_eq!((entry.priority, entry.format.type_tag.as_deref()), (0.75, Some("reading")));
    assert_eq!((entry.format.type_version, &entry.custom["project"]), (Some(3), &"north".into()));
    assert_eq!(entry.validity.expires_at.unwrap().since(entry.created_at), Duration::from_secs(1_000));
    let other = cache.namespace("other").unwrap();
    assert_eq!(other.get::<i32, _>("key").unwrap(), Some(1));
    assert_eq!(other.namespace_limits().unwrap().max_entries, Some(7));
    let limits = cache.limits().unwrap();
    assert_eq!((limits.max_entries, limits.policy.as_deref()), (Some(1_000), Some("lfu")));
    assert_eq!(cache.stats().unwrap().entries, 23);
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn open(metadata: &str, folder: &Path, clock: &Arc<TestClock>) -> Result<Cache, cacheness::Error> {
    Cache::builder()
        .folder(folder)
        .metadata(metadata)
        .permissions(Permissions::Umask)
        .env(clock.env())
        .open_blocking()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Writes the fixture of the format that this version writes.
fn write_the_fixture_of_this_format() {
    for metadata in ["sqlite", "json"] {
        let folder = fixtures().join("format-1").join(metadata);
        let _ = fs::remove_dir_all(&folder);
        let cache = open(metadata, &folder, &TestClock::new()).unwrap();
        fill(&cache);
        cache.close().unwrap();
        // What no reader needs.
        for name in ["index.sqlite-reserve", "index.sqlite.users", "index.json.users"] {
            let _ = fs::remove_file(folder.join(name));
        }
    }
}

// Format 1 is the first, so what is shown is that caches which an earlier state of the code wrote are read and written. That a
// newer format is refused is shown below for folders of blobs, beside the trailer for blobs, and beside each index for its own number.
// shows: row 102
#[test]
fn caches_of_every_format_are_read_and_written() {
    if std::env::var_os("BLESS").is_some() {
        write_the_fixture_of_this_format();
    }
    let formats: Vec<PathBuf> =
        fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!formats.is_empty());
    for format in formats {
        for metadata in ["sqlite", "json"] {
            let folder = TempDir::new().unwrap();
            copy(&format.join(metadata), folder.path());
            let clock = TestClock::new();
            let cache = open(metadata, folder.path(), &clock).unwrap();
            is_all_there(&cache);
            cache.put("new", &reading()).unwrap();
            assert_eq!(cache.get("new").unwrap(), Some(reading()));
            cache.remove("new").unwrap();
            cache.close().unwrap();
            is_all_there(&open(metadata, folder.path(), &clock).unwrap());
        }
    }
}

#[test]
fn a_folder_of_blobs_of_a_newer_layout_is_refused_and_stays() {
    let folder = TempDir::new().unwrap();
    let marker = folder.path().join("blobs/cacheness-blobs");
    let cache = Cache::open(folder.path()).unwrap();
    cache.put_with("key", "value", PutOptions::new().inline(false)).unwrap();
    cache.close().unwrap();
    fs::write(&marker, "2\n").unwrap();
    let error = Cache::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains('2') && error.to_string().contains('1'), "{error}");
    fs::write(&marker, "1\n").unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!(cache.get::<String, _>("key").unwrap().as_deref(), Some("value"));
}
