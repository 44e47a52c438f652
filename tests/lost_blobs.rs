//! A store of blobs that is not the cache's own, or was emptied, costs no entries: when a cache is opened over it, and while
//! one is in use.

use std::path::{Path, PathBuf};

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, ConfigOptions, ErrorKind, OnReadError, VerifyOptions};
use fs_err as fs;

struct Place {
    folder: tempfile::TempDir,
    metadata: &'static str,
}

impl Place {
    fn new(metadata: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), metadata }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn over(&self, blobs: &Path) -> CacheBuilder {
        let path = ConfigOptions::new().with("path", blobs.to_str().unwrap());
        let builder = Cache::builder().folder(self.path("cache")).metadata(self.metadata);
        builder.blobs_with("filesystem", path).on_read_error(OnReadError::Error)
    }

    /// A cache with a value in a blob and one that lies with its entry.
    fn filled(&self) -> Cache {
        let cache = self.over(&self.path("blobs")).open_blocking().unwrap();
        cache.put("large", &vec![7_u8; 100_000]).unwrap();
        cache.put("small", &1).unwrap();
        cache
    }
}

fn holds_all(cache: &Cache) {
    assert_eq!(cache.get("small").unwrap(), Some(1));
    assert_eq!(cache.get("large").unwrap(), Some(vec![7_u8; 100_000]));
}

#[test]
fn a_cache_with_entries_is_not_opened_over_a_store_that_never_held_its_blobs() {
    for metadata in ["sqlite", "json"] {
        let place = Place::new(metadata);
        drop(place.filled());
        let (mistyped, emptied, others) = (place.path("blos"), place.path("emptied"), place.path("others"));
        fs::create_dir(&emptied).unwrap();
        let other = Place::new(metadata);
        other.over(&others).open_blocking().unwrap().put("large", &vec![1_u8; 100_000]).unwrap();
        for blobs in [&mistyped, &emptied, &others] {
            for _ in 0..2 {
                let error = place.over(blobs).open_blocking().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                assert!(error.to_string().contains("allow_new_blobs = true"), "{error}");
            }
        }
        assert!(!mistyped.exists(), "something was begun in the wrong place");
        assert_eq!(fs::read_dir(&emptied).unwrap().count(), 0, "something was begun in the wrong place");
        holds_all(&place.over(&place.path("blobs")).open_blocking().unwrap());
    }
}

#[test]
fn where_the_blobs_are_lost_for_good_the_cache_goes_on_when_it_is_told_to() {
    let place = Place::new("sqlite");
    drop(place.filled());
    let blobs = place.path("blobs");
    fs::remove_dir_all(&blobs).unwrap();
    let cache = place.over(&blobs).allow_new_blobs(true).on_read_error(OnReadError::Miss);
    let cache = cache.open_blocking().unwrap();
    assert_eq!(cache.get::<Vec<u8>, _>("large").unwrap(), None);
    assert!(cache.get_entry("large").unwrap().is_none());
    cache.put("large", &vec![7_u8; 100_000]).unwrap();
    drop(cache);
    // From then on it is a store like any other.
    holds_all(&place.over(&blobs).open_blocking().unwrap());
}

#[test]
fn a_store_that_is_exchanged_while_it_is_in_use_costs_no_entries() {
    let place = Place::new("sqlite");
    let cache = place.filled();
    let (blobs, aside, others) = (place.path("blobs"), place.path("aside"), place.path("others"));
    // One of Cacheness's, with a marker and all, but another cache's.
    Place::new("sqlite").over(&others).open_blocking().unwrap().put("large", &vec![1_u8; 100_000]).unwrap();
    fs::rename(&blobs, &aside).unwrap();
    fs::rename(&others, &blobs).unwrap();
    // What is put there meanwhile does not make it the cache's own, either.
    cache.put("new", &vec![2_u8; 100_000]).unwrap();
    let error = cache.get::<Vec<u8>, _>("large").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!error.is_temporary());
    assert_eq!(cache.repair(VerifyOptions::new()).unwrap_err().kind(), ErrorKind::Unavailable);
    fs::remove_dir_all(&blobs).unwrap();
    fs::rename(&aside, &blobs).unwrap();
    holds_all(&cache);
    // In the right store, what is missing is lost.
    assert_eq!(cache.get::<Vec<u8>, _>("new").unwrap(), None);
    assert!(cache.get_entry("new").unwrap().is_none());
}

#[test]
fn a_cache_that_holds_nothing_begins_a_store_anywhere() {
    let place = Place::new("sqlite");
    let cache = place.filled();
    cache.clear().unwrap();
    drop(cache);
    let cache = place.over(&place.path("elsewhere")).open_blocking().unwrap();
    cache.put("large", &vec![7_u8; 100_000]).unwrap();
    cache.put("small", &1).unwrap();
    drop(cache);
    holds_all(&place.over(&place.path("elsewhere")).open_blocking().unwrap());
}
