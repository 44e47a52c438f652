//! Rebuilding a damaged index: whatever the damage, it opens or says what to do, it can always be rebuilt, and what comes back
//! is right.

mod damage;
mod random;
mod sample;

use cacheness::blocking::Cache;
use cacheness::{ErrorKind, Limits, ListOptions, RebuildOptions, VerifyOptions};
use fs_err as fs;

use sample::{Sample, builder, open};

#[test]
fn a_whole_index_is_rebuilt_as_it_was() {
    for metadata in ["sqlite", "json"] {
        let sample = Sample::make(metadata);
        let folder = sample.copy();
        let cache = open(folder.path(), metadata).unwrap();
        let (id, before) = (cache.id(), cache.total_stats().unwrap());
        let last = cache.put("last", "value").unwrap().version;
        cache.remove("last").unwrap();
        let listed = cache.list(ListOptions::new()).unwrap().entries;
        cache.close().unwrap();

        let report = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap();
        assert_eq!((report.cache, report.restored, report.lost), (id, before.entries, 0), "{metadata}");
        assert_eq!((report.unconfirmed, report.entries_before), (0, Some(before.entries)), "{metadata}");
        assert!(report.kept.exists(), "{metadata}: the old index is kept");

        let cache = open(folder.path(), metadata).unwrap();
        assert_eq!(cache.id(), id);
        for (was, is) in listed.iter().zip(cache.list(ListOptions::new()).unwrap().entries) {
            assert_eq!(
                (&was.key, was.hits, was.accessed_at),
                (&is.key, is.hits, is.accessed_at),
                "{metadata}"
            );
            assert_eq!((was.created_at, &was.tags, &was.validity), (is.created_at, &is.tags, &is.validity));
        }
        let after = cache.total_stats().unwrap();
        assert_eq!((after.entries, after.stored_bytes), (before.entries, before.stored_bytes), "{metadata}");
        assert_eq!(
            after.garbage_bytes, before.garbage_bytes,
            "{metadata}: what is to be deleted is still known"
        );
        assert_eq!(after.counters.puts, before.counters.puts + 1, "{metadata}");
        assert_eq!(cache.limits().unwrap().max_entries, Some(5_000), "{metadata}");
        let limits = cache.namespace("limited").unwrap().namespace_limits().unwrap();
        assert_eq!(limits, Limits::unbounded().max_entries(700), "{metadata}");
        assert!(cache.put("next", "value").unwrap().version > last, "{metadata}: versions only rise");
        cache.remove("next").unwrap();
        sample.check(&cache, true);
        // What a restart of the whole finds, too.
        drop(cache);
        sample.check(&open(folder.path(), metadata).unwrap(), true);
    }
}

#[test]
fn an_index_that_is_gone_is_rebuilt_from_blobs_that_are_trusted() {
    for metadata in ["sqlite", "json"] {
        let sample = Sample::make(metadata);
        let folder = sample.copy();
        let index = folder.path().join(sample.index());
        let len = fs::metadata(&index).unwrap().len() as usize;
        fs::write(&index, vec![0xA5; len]).unwrap();
        let _ = fs::remove_file(folder.path().join("index.json.journal"));
        let error = open(folder.path(), metadata).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{metadata}: {error}");
        for part in ["rebuild_blocking(RebuildOptions::new())", sample.index()] {
            assert!(error.to_string().contains(part), "{metadata}: {error}");
        }

        let error = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{metadata}: {error}");
        assert!(error.to_string().contains("RebuildOptions::cache_id"), "{metadata}: {error}");
        // It has been put aside, so nobody takes the folder for an empty cache.
        let error = open(folder.path(), metadata).unwrap_err();
        assert!(error.to_string().contains("was not finished"), "{metadata}: {error}");

        let id = sample.cache_id();
        let options = RebuildOptions::new().cache_id(id);
        let report = builder(folder.path(), metadata).rebuild_blocking(options.clone()).unwrap();
        assert_eq!((report.restored, report.cache), (0, id), "{metadata}");
        let blobs = sample.keys_with_blobs();
        assert_eq!(report.unconfirmed, blobs.len() as u64, "{metadata}: {:?}", report.unconfirmed_keys);
        let cache = open(folder.path(), metadata).unwrap();
        sample.check(&cache, false);
        drop(cache);

        let report = builder(folder.path(), metadata).rebuild_blocking(options.trust_blobs(true)).unwrap();
        assert_eq!(report.restored, blobs.len() as u64, "{metadata}");
        let cache = open(folder.path(), metadata).unwrap();
        for (namespace, key) in &blobs {
            let found: Option<String> = cache.namespace(namespace).unwrap().get(key).unwrap();
            let latest = sample.latest_blob(namespace, key);
            assert_eq!(found.as_deref(), Some(latest), "{metadata}: {key}: the newest blob of a key wins");
        }
        assert!(cache.verify(VerifyOptions::new()).unwrap().is_clean());
    }
}

#[test]
fn an_index_that_is_open_anywhere_is_not_rebuilt() {
    for metadata in ["sqlite", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path(), metadata).unwrap();
        cache.put("k", &1).unwrap();
        let error = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{metadata}: {error}");
        assert!(error.to_string().contains("close it everywhere"), "{metadata}: {error}");
        assert_eq!(cache.get::<i32, _>("k").unwrap(), Some(1), "{metadata}: nothing was changed");
        cache.close().unwrap();
        builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap();
    }
}

#[test]
fn a_rebuild_that_was_interrupted_is_repeated() {
    for metadata in ["sqlite", "json"] {
        let sample = Sample::make(metadata);
        let folder = sample.copy();
        // As if a process had died right after it wrote what it was about to do.
        let index = folder.path().join(sample.index());
        let marker = folder.path().join(format!("{}.rebuilding", sample.index()));
        fs::write(&marker, format!("{}.damaged-1", sample.index())).unwrap();
        let error = open(folder.path(), metadata).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{metadata}: {error}");
        assert!(error.to_string().contains("rebuild it again"), "{metadata}: {error}");
        // As if a process had died while it wrote the new one, or after that had got its name.
        for name in [format!("{}.new", sample.index()), sample.index().to_owned()] {
            fs::write(folder.path().join(name), "half of an index").unwrap();
            let report = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap();
            assert!(report.kept.to_string_lossy().ends_with("damaged-1"), "{metadata}: {:?}", report.kept);
            let cache = open(folder.path(), metadata).unwrap();
            sample.check(&cache, true);
            drop(cache);
            // Once more, with the marker of the rebuild still there.
            fs::write(&marker, format!("{}.damaged-1", sample.index())).unwrap();
        }
        builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap();
        assert!(index.exists());
        sample.check(&open(folder.path(), metadata).unwrap(), true);
    }
}

#[test]
fn what_has_no_index_to_be_rebuilt_or_no_blobs_says_so() {
    let error = Cache::builder().rebuild_blocking(RebuildOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    for metadata in ["sqlite", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let nothing = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::NotFound, "{metadata}: {nothing}");
        drop(open(folder.path(), metadata).unwrap());
        // A store that is not mounted must not cost any entries.
        fs::rename(folder.path().join("blobs"), folder.path().join("elsewhere")).unwrap();
        let error = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{metadata}: {error}");
        fs::rename(folder.path().join("elsewhere"), folder.path().join("blobs")).unwrap();
        drop(open(folder.path(), metadata).unwrap());
    }
}
