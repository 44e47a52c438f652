//! A cache with entries of every kind and a past: values that were replaced, removed and cleared, inline and in blobs.

use std::collections::BTreeMap;
use std::path::Path;

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, CacheId, Limits, ListOptions, PutOptions, Registry, Result, VerifyOptions};
use fs_err as fs;

/// The cache, closed, and what it should hold.
pub(super) struct Sample {
    folder: tempfile::TempDir,
    metadata: &'static str,
    /// What is there; `None` for what was removed or cleared.
    values: BTreeMap<(String, String), Option<String>>,
    /// Every value that was ever put.
    ever: BTreeMap<(String, String), Vec<String>>,
    /// The last value of each key that was stored as a blob.
    blobs: BTreeMap<(String, String), String>,
    id: CacheId,
}

pub(super) fn builder(folder: &Path, metadata: &str) -> CacheBuilder {
    CacheBuilder::new(Registry::builtin()).folder(folder).metadata(metadata).blobs("filesystem")
}

pub(super) fn open(folder: &Path, metadata: &str) -> Result<Cache> {
    builder(folder, metadata).open_blocking()
}

/// In which way a value is stored, by its length.
const LENGTHS: [usize; 3] = [40, 5_000, 9_000];

impl Sample {
    pub(super) fn make(metadata: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits::unbounded().max_entries(5_000);
        let cache = builder(folder.path(), metadata).limits(limits).open_blocking().unwrap();
        let id = cache.id();
        let mut sample = Self {
            folder,
            metadata,
            values: BTreeMap::new(),
            ever: BTreeMap::new(),
            blobs: BTreeMap::new(),
            id,
        };
        for namespace in ["default", "limited", "cleared"] {
            let cache = cache.namespace(namespace).unwrap();
            for i in 0..60 {
                sample.put(&cache, namespace, i, "first");
            }
        }
        let limited = Limits::unbounded().max_entries(700);
        cache.namespace("limited").unwrap().set_namespace_limits(limited).unwrap();
        cache.namespace("cleared").unwrap().clear().unwrap();
        sample
            .values
            .iter_mut()
            .filter(|((namespace, _), _)| namespace == "cleared")
            .for_each(|(_, value)| *value = None);
        for namespace in ["default", "cleared"] {
            let cache = cache.namespace(namespace).unwrap();
            for i in (0..60).filter(|i| i % 7 < 2) {
                sample.put(&cache, namespace, i, "second");
            }
            for i in (0..60).filter(|i| i % 11 == 3) {
                cache.remove(key(i)).unwrap();
                sample.values.insert((namespace.to_owned(), key(i)), None);
            }
            let _: Option<String> = cache.get(key(7)).unwrap();
        }
        cache.close().unwrap();
        sample
    }

    fn put(&mut self, cache: &Cache, namespace: &str, i: usize, what: &str) {
        let value = format!("{namespace} {what} {i} ").repeat(LENGTHS[i % 3] / 20);
        // The index in JSON takes no values of more than 2 KiB.
        let in_blob = i % 3 == 2 || (i % 3 == 1 && self.metadata == "json");
        let options = PutOptions::new().inline(!in_blob).tag(format!("tag{}", i % 5));
        cache.put_with(key(i), &value, options).unwrap();
        let place = (namespace.to_owned(), key(i));
        self.ever.entry(place.clone()).or_default().push(value.clone());
        if in_blob {
            self.blobs.insert(place.clone(), value.clone());
        }
        self.values.insert(place, Some(value));
    }

    /// The index's file.
    pub(super) fn index(&self) -> &'static str {
        if self.metadata == "sqlite" { "index.sqlite" } else { "index.json" }
    }

    pub(super) fn cache_id(&self) -> CacheId {
        self.id
    }

    /// The keys under which there ever was a blob, which may all still be there.
    pub(super) fn keys_with_blobs(&self) -> Vec<(String, String)> {
        self.blobs.keys().cloned().collect()
    }

    pub(super) fn latest_blob(&self, namespace: &str, key: &str) -> &str {
        &self.blobs[&(namespace.to_owned(), key.to_owned())]
    }

    /// A copy of the cache's folder.
    pub(super) fn copy(&self) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        copy(self.folder.path(), to.path());
        to
    }

    /// Checks that a cache over a damaged index serves nothing that was never put, and returns how many values it serves. One
    /// that was replaced may come out: a page of a database that was free can be taken for one that is not.
    pub(super) fn check_damaged(&self, cache: &Cache) -> u64 {
        let mut served = 0;
        for ((namespace, key), put) in &self.ever {
            // A damaged page is an error, and a damaged record a miss.
            if let Ok(Some(found)) = cache.namespace(namespace).unwrap().get::<String, _>(key) {
                assert!(put.contains(&found), "{namespace} {key}: {}", &found[..found.len().min(60)]);
                served += 1;
            }
        }
        served
    }

    /// Checks that what the cache serves is right, that it is `all` where it is to be, and that everything adds up.
    pub(super) fn check(&self, cache: &Cache, all: bool) {
        let mut served = 0;
        for ((namespace, key), expected) in &self.values {
            let found: Option<String> = cache.namespace(namespace).unwrap().get(key).unwrap();
            match (&found, expected) {
                (Some(found), Some(expected)) => {
                    assert!(found == expected, "{namespace} {key}: {}", &found[..found.len().min(60)]);
                    served += 1;
                }
                (Some(found), None) => panic!("{namespace} {key} was removed and is there: {}", &found[..20]),
                (None, expected) => assert!(!all || expected.is_none(), "{namespace} {key} is missing"),
            }
        }
        let report = cache.verify(VerifyOptions::new()).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        let (mut entries, mut bytes, mut options) = (0, 0, ListOptions::new().all_namespaces());
        loop {
            let page = cache.list(options).unwrap();
            entries += page.entries.len() as u64;
            bytes += page.entries.iter().map(|entry| entry.stored_size).sum::<u64>();
            let Some(next) = page.next else { break };
            options = ListOptions::new().all_namespaces().after(next);
        }
        assert_eq!(entries, served, "nothing else is there");
        let stats = cache.total_stats().unwrap();
        assert_eq!((stats.entries, stats.stored_bytes), (entries, bytes), "totals are exact");
    }
}

fn key(i: usize) -> String {
    format!("a key that is not short, number {i:03}")
}

pub(super) fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&file.path(), &to);
        } else if file.file_name() != "index.sqlite-reserve" {
            fs::copy(file.path(), to).unwrap();
        }
    }
}
