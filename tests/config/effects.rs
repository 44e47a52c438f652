//! Options of the cache do what they say.

use std::time::Duration;

use cacheness::*;
use cacheness_testkit::TestClock;

use super::toml;

fn open(text: &str) -> blocking::Cache {
    toml(text).unwrap().open_blocking().unwrap()
}

/// Opens a cache in a folder with these options, and puts them in force.
fn open_in(folder: &std::path::Path, text: &str) -> Result<blocking::Cache> {
    toml(&format!("folder = {folder:?}\n{text}"))?.open_blocking()
}

#[test]
fn an_existing_cache_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    assert_eq!(open_in(&path, "mode = 'existing'").unwrap_err().kind(), ErrorKind::NotFound);
    open_in(&path, "mode = 'create'").unwrap();
    open_in(&path, "mode = 'existing'").unwrap();
}

// shows: row 79
#[test]
fn the_ttls_of_the_cache_and_of_namespaces_hold() {
    let clock = TestClock::new();
    let text = "ttl = '10s'\n[namespaces.short]\nttl = '1s'\n[namespaces.long]\nttl = 'never'\n";
    let cache = toml(text).unwrap().env(clock.env()).open_blocking().unwrap();
    let caches = [cache.namespace("short").unwrap(), cache.clone(), cache.namespace("long").unwrap()];
    for cache in &caches {
        cache.put("k", &1).unwrap();
    }
    let valid = || caches.each_ref().map(|cache| cache.contains("k").unwrap());
    assert_eq!(valid(), [true, true, true]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(valid(), [false, true, true]);
    clock.advance(Duration::from_secs(9));
    assert_eq!(valid(), [false, false, true]);
}

#[test]
fn compression_and_its_level_make_values_smaller() {
    let text: String = (0..20_000).map(|n| format!("line {}\n", n * n)).collect();
    let size = |options: &str| {
        let cache = open(options);
        cache.put("k", text.as_str()).unwrap();
        cache.get_entry("k").unwrap().unwrap().stored_size
    };
    let (none, fast) = (size("compression = 'none'"), size("compression = 'lz4'"));
    let (zstd, best) = (size("compression = 'zstd'"), size("compression = 'zstd'\ncompression_level = 19"));
    assert!(fast < none && zstd < fast && best < zstd, "{none} {fast} {zstd} {best}");
}

#[test]
fn values_over_the_inline_limit_become_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open_in(folder.path(), "inline_limit = '1 KiB'").unwrap();
    cache.put("small", &vec![1_u8; 900]).unwrap();
    cache.put("large", &vec![1_u8; 1100]).unwrap();
    let is_blob =
        |key: &str| matches!(cache.get_entry(key).unwrap().unwrap().location, Location::Blob { .. });
    assert!(!is_blob("small") && is_blob("large"));
}

#[test]
fn a_value_of_another_type_is_an_error_where_that_is_asked_for() {
    let get = |text: &str| {
        let cache = open(text);
        cache.put("k", &vec!["a text".to_owned()]).unwrap();
        cache.get::<Vec<u64>, _>("k")
    };
    assert_eq!(get("on_decode_error = 'miss'").unwrap(), None);
    assert_eq!(get("on_decode_error = 'error'").unwrap_err().kind(), ErrorKind::Decode);
}

#[test]
fn limits_hold() {
    let cache = open("[limits]\nmax_entries = 2\npolicy = 'fifo'\n");
    for key in ["a", "b", "c"] {
        cache.put(key, &1).unwrap();
        cache.get::<i32, _>("a").unwrap();
    }
    assert!(!cache.contains("a").unwrap() && cache.contains("b").unwrap());
    let cache = open("[limits]\nmax_bytes = '1 KiB'\n");
    let error = cache.put("k", &vec![1_u8; 2000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn limits_of_namespaces_hold() {
    let cache = open("[namespaces.few]\nmax_entries = 2\n[namespaces.small]\nmax_bytes = '1 KiB'\n");
    let few = cache.namespace("few").unwrap();
    for key in ["a", "b", "c"] {
        cache.put(key, &1).unwrap();
        few.put(key, &1).unwrap();
    }
    assert_eq!((cache.stats().unwrap().entries, few.stats().unwrap().entries), (3, 2));
    let error = cache.namespace("small").unwrap().put("k", &vec![1_u8; 2000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    cache.put("k", &vec![1_u8; 2000]).unwrap();
}

#[test]
fn a_source_file_is_looked_at_again_after_the_interval() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs_err::write(&source, "one").unwrap();
    let clock = TestClock::new();
    let builder = toml("file_check_interval = '5s'").unwrap().env(clock.env());
    let cache = builder.open_blocking().unwrap();
    cache.put_with("k", &1, PutOptions::file(&source)).unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(1));
    fs_err::write(&source, "another").unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(1));
    clock.advance(Duration::from_secs(5));
    assert_eq!(cache.get::<i32, _>("k").unwrap(), None);
}
