//! Rebuilding a damaged index: whatever the damage, it opens or says what to do, it can always be rebuilt, and what comes back
//! is right.

mod blobs;
mod damage;
mod random;
mod sample;

use cacheness::blocking::Cache;
use cacheness::{
    Encryption, EncryptionKey, ErrorKind, Limits, ListOptions, Namespace, PutOptions, RebuildOptions, Secret,
    Signing, VerifyOptions,
};
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

#[test]
fn values_that_lay_in_a_page_that_was_overwritten_are_reported_lost() {
    let sample = Sample::make("sqlite");
    let folder = sample.copy();
    let index = folder.path().join("index.sqlite");
    let mut bytes = fs::read(&index).unwrap();
    let of_page = |page: &[u8]| page.windows(14).filter(|window| *window == b"default first ").count();
    let page = bytes.chunks_mut(4096).max_by_key(|page| of_page(page)).unwrap();
    assert!(of_page(page) > 0, "it holds values");
    page.fill(0xA5);
    fs::write(&index, bytes).unwrap();

    let report = builder(folder.path(), "sqlite").rebuild_blocking(RebuildOptions::new()).unwrap();
    assert!(report.lost > 0 && report.restored > 0, "{report:?}");
    assert_eq!(report.lost_keys.len() as u64, report.lost, "{report:?}");
    assert!(report.restored < report.entries_before.unwrap(), "{report:?}");
    sample.check(&open(folder.path(), "sqlite").unwrap(), false);
}

#[test]
fn what_a_damaged_log_hides_makes_what_is_older_unconfirmed() {
    let whole = tempfile::tempdir().unwrap();
    let cache = open(whole.path(), "sqlite").unwrap();
    let key = |i: usize| format!("key {i:02}");
    for i in 0..40 {
        cache.put_with(key(i), &format!("first {i}"), PutOptions::new().inline(i % 4 != 0)).unwrap();
    }
    for i in 0..40 {
        match i % 3 {
            0 => drop(cache.remove(key(i)).unwrap()),
            1 => drop(
                cache.put_with(key(i), &format!("second {i}"), PutOptions::new().inline(i % 2 == 0)).unwrap(),
            ),
            _ => {}
        }
    }
    // What is on the disk is what a process leaves there that is killed now.
    let killed = || {
        let folder = tempfile::tempdir().unwrap();
        sample::copy(whole.path(), folder.path());
        folder
    };
    let log = |folder: &std::path::Path| folder.join("index.sqlite-wal");
    let frame = 24 + 4096;
    let frames = (fs::metadata(log(whole.path())).unwrap().len() as usize - 32) / frame;
    assert!(frames > 60, "{frames} frames");

    // A whole log is read to its end.
    let folder = killed();
    let report = builder(folder.path(), "sqlite").rebuild_blocking(RebuildOptions::new()).unwrap();
    assert_eq!((report.restored, report.lost, report.unconfirmed), (26, 0, 0), "{report:?}");
    let served = open(folder.path(), "sqlite").unwrap();
    assert_eq!(served.get::<String, _>(key(0)).unwrap(), None);
    assert_eq!(served.get::<String, _>(key(1)).unwrap().as_deref(), Some("second 1"));
    drop(served);

    for at in [frames / 2, frames - 20, frames - 3] {
        let folder = killed();
        let mut bytes = fs::read(log(folder.path())).unwrap();
        bytes[32 + at * frame + 24 + 3000] ^= 1;
        fs::write(log(folder.path()), bytes).unwrap();
        let report = builder(folder.path(), "sqlite").rebuild_blocking(RebuildOptions::new()).unwrap();
        assert_eq!(report.restored, 0, "frame {at} of {frames}: {report:?}");
        assert!(report.unconfirmed > 20, "frame {at} of {frames}: {report:?}");
        let served = open(folder.path(), "sqlite").unwrap();
        assert_eq!(served.get::<String, _>(key(0)).unwrap(), None, "it was removed");
        drop(served);

        let options = RebuildOptions::new().trust_blobs(true);
        let folder = killed();
        let mut bytes = fs::read(log(folder.path())).unwrap();
        bytes[32 + at * frame + 24 + 3000] ^= 1;
        fs::write(log(folder.path()), bytes).unwrap();
        let report = builder(folder.path(), "sqlite").rebuild_blocking(options).unwrap();
        assert_eq!(report.restored, report.unconfirmed, "each key is counted once: {report:?}");
        let served = open(folder.path(), "sqlite").unwrap();
        let latest = served.get::<String, _>(key(37)).unwrap();
        assert_eq!(latest.as_deref(), Some("second 37"), "the newest blob of a key wins");
        assert!(
            served.put("next", "value").unwrap().version > Some(highest_version(&cache)),
            "versions only rise"
        );
        assert!(served.verify(VerifyOptions::new()).unwrap().is_clean());
    }
}

/// The highest version that a cache has issued.
fn highest_version(cache: &Cache) -> cacheness::Version {
    cache.list(ListOptions::new()).unwrap().entries.iter().map(|entry| entry.version).max().unwrap()
}

#[test]
fn damaged_limits_cost_no_entries_and_those_of_the_builder_hold() {
    for policy in ["lrv", "lru"] {
        let sample = Sample::make("sqlite");
        let folder = sample.copy();
        let index = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
        index.execute("UPDATE state SET policy = ?1, max_entries = 1", (policy,)).unwrap();
        index.execute("UPDATE namespaces SET max_entries = 2 WHERE name = 'limited'", ()).unwrap();
        let entries: i64 =
            index.query_row("SELECT entries FROM totals WHERE generation = 0", (), |row| row.get(0)).unwrap();
        drop(index);
        let limits = Limits::unbounded().max_entries(4_000);
        let right = || {
            let builder = builder(folder.path(), "sqlite").limits(limits.clone());
            builder.namespace_limits(Namespace::new("limited").unwrap(), Limits::unbounded().max_entries(600))
        };
        let report = right().rebuild_blocking(RebuildOptions::new()).unwrap();
        assert_eq!((report.restored, report.lost), (entries.unsigned_abs(), 0), "{policy}");
        let cache = open(folder.path(), "sqlite").unwrap();
        assert_eq!(cache.limits().unwrap().max_entries, Some(4_000), "{policy}");
        assert_eq!(cache.limits().unwrap().policy.as_deref(), Some("lru"), "{policy}");
        sample.check(&cache, true);
    }
}

#[test]
fn a_rebuild_with_a_damaged_marker_goes_on_with_what_was_moved_aside() {
    for metadata in ["sqlite", "json"] {
        for damage in [&b"\xff\x00"[..], b"", b"index.sqlite.damaged-7", b"index.json.damaged-7"] {
            let sample = Sample::make(metadata);
            let folder = sample.copy();
            let at = |name: &str| folder.path().join(format!("{}{name}", sample.index()));
            // As if a process had died when it had moved the index aside.
            fs::write(at(".damaged-1"), "of an earlier rebuild").unwrap();
            for suffix in ["", "-wal", ".journal"].iter().filter(|suffix| at(suffix).exists()) {
                fs::rename(at(suffix), at(&format!(".damaged-2{suffix}"))).unwrap();
            }
            fs::write(at(".rebuilding"), damage).unwrap();
            let report = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap();
            assert!(report.kept.to_string_lossy().ends_with("damaged-2"), "{metadata}: {:?}", report.kept);
            sample.check(&open(folder.path(), metadata).unwrap(), true);
        }
    }
}

#[cfg(unix)]
#[test]
fn an_index_in_a_folder_that_everybody_may_write_to_is_not_rebuilt() {
    use std::os::unix::fs::PermissionsExt;
    for metadata in ["sqlite", "json"] {
        let sample = Sample::make(metadata);
        let folder = sample.copy();
        let mode = |mode| fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        let error = builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{metadata}: {error}");
        assert!(folder.path().join(sample.index()).exists(), "nothing was moved");
        mode(0o700);
        builder(folder.path(), metadata).rebuild_blocking(RebuildOptions::new()).unwrap();
    }
}

#[test]
fn a_signed_and_encrypted_cache_is_rebuilt_and_takes_no_forged_blob() {
    for metadata in ["sqlite", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let with_keys = |signing: &str| {
            let key = EncryptionKey::given(Secret::new("e".repeat(32)));
            builder(folder.path(), metadata)
                .signing(Signing::new().key(Secret::new(signing.repeat(32))))
                .encryption(Encryption::new("key", key))
        };
        let cache = with_keys("s").open_blocking().unwrap();
        let id = cache.id();
        let in_blob = || PutOptions::new().inline(false);
        for i in 0..10 {
            cache.put_with(format!("k{i}"), &format!("value {i}"), in_blob()).unwrap();
        }
        cache.put("inline", "value").unwrap();
        cache.close().unwrap();
        let report = with_keys("s").rebuild_blocking(RebuildOptions::new()).unwrap();
        assert_eq!((report.restored, report.lost, report.unconfirmed), (11, 0, 0), "{metadata}");

        // Somebody who knows the cache's id puts blobs beside its own, one under a key that it has.
        let forger = tempfile::tempdir().unwrap();
        drop(open(forger.path(), metadata).unwrap());
        builder(forger.path(), metadata).rebuild_blocking(RebuildOptions::new().cache_id(id)).unwrap();
        let forged = open(forger.path(), metadata).unwrap();
        forged.put_with("k3", "forged", in_blob()).unwrap();
        forged.put_with("other", "forged", in_blob()).unwrap();
        forged.close().unwrap();
        sample::copy(&forger.path().join("blobs"), &folder.path().join("blobs"));
        // Nothing of the index is left.
        let index = if metadata == "sqlite" { "index.sqlite" } else { "index.json" };
        let len = fs::metadata(folder.path().join(index)).unwrap().len() as usize;
        fs::write(folder.path().join(index), vec![0xA5; len]).unwrap();
        let options = || RebuildOptions::new().cache_id(id).trust_blobs(true);
        let report = with_keys("s").rebuild_blocking(options()).unwrap();
        assert_eq!((report.restored, report.unconfirmed), (10, 10), "{metadata}: {report:?}");
        let cache = with_keys("s").open_blocking().unwrap();
        for i in 0..10 {
            let found = cache.get::<String, _>(format!("k{i}")).unwrap();
            assert_eq!(found, Some(format!("value {i}")), "{metadata}");
        }
        assert_eq!(cache.get::<String, _>("other").unwrap(), None, "{metadata}");
        assert!(cache.verify(VerifyOptions::new()).unwrap().is_clean());
    }
}
