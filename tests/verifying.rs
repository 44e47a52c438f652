//! What `verify` finds and `repair` removes: damage of every kind, and nothing else, also while others write.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{
    CacheBuilder, Damage, Error, ErrorKind, Finding, ListOptions, Namespace, PutOptions, Registry,
    VerifyOptions, VerifyReport,
};
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};
use cacheness_testkit::metadata::of_a_newer_version;
use fs_err as fs;

fn open(folder: &Path, metadata: &str) -> Cache {
    CacheBuilder::new(Registry::builtin())
        .folder(folder)
        .metadata(metadata)
        .blobs("filesystem")
        .open_blocking()
        .unwrap()
}

fn value(key: &str) -> String {
    key.repeat(200_000)
}

/// Puts a value of more than one chunk as a blob, and says where it lies.
fn put_blob(cache: &Cache, folder: &Path, key: &str) -> PathBuf {
    cache.put_with(key, &value(key), PutOptions::new().inline(false)).unwrap();
    let blob = cache.get_entry(key).unwrap().unwrap().blob_id().unwrap().to_string();
    folder.join("blobs").join(cache.id().to_string()).join(&blob[28..30]).join(&blob[30..]).join(&blob)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The findings as key and kind, sorted.
fn found(report: &VerifyReport) -> Vec<(&str, Damage)> {
    let mut found: Vec<_> = report.findings.iter().map(|found| (found.key.as_str(), found.damage)).collect();
    found.sort_by_key(|found| found.0);
    assert_eq!(found.len() as u64, report.found());
    found
}

#[test]
fn every_kind_of_damage_to_blobs_is_found_and_repaired_and_the_rest_is_served() {
    for metadata in ["sqlite", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(folder.path(), metadata);
        let at = ["cut", "flipped", "gone", "short", "swapped1", "swapped2", "tail", "whole"]
            .map(|key| put_blob(&cache, folder.path(), key));
        cache.put("inline", "a short value").unwrap();
        assert!(cache.verify(VerifyOptions::new()).unwrap().is_clean());

        let len = value("cut").len();
        change(&at[0], |bytes| bytes.truncate(len));
        change(&at[1], |bytes| bytes[len / 2] ^= 1);
        fs::remove_file(&at[2]).unwrap();
        change(&at[3], |bytes| bytes.truncate(1000));
        let (one, other) = (fs::read(&at[4]).unwrap(), fs::read(&at[5]).unwrap());
        fs::write(&at[4], other).unwrap();
        fs::write(&at[5], one).unwrap();
        change(&at[6], |bytes| *bytes.last_mut().unwrap() ^= 1);

        let lost = [
            ("flipped", Damage::DamagedBlob),
            ("gone", Damage::MissingBlob),
            ("short", Damage::TruncatedBlob),
            ("swapped1", Damage::DamagedBlob),
            ("swapped2", Damage::DamagedBlob),
        ];
        let all =
            [&[("cut", Damage::DamagedTrailer)][..], &lost[..], &[("tail", Damage::DamagedTrailer)]].concat();
        let report = cache.verify(VerifyOptions::new()).unwrap();
        assert_eq!(found(&report), all, "{metadata}");
        assert_eq!((report.entries, report.removed), (9, 0));
        assert!(report.bytes > 2 * len as u64);
        // Without reading every byte, a flipped one is not seen.
        let quick = cache.verify(VerifyOptions::new().quick()).unwrap();
        let seen: Vec<_> = all.iter().filter(|(key, _)| *key != "flipped").copied().collect();
        assert_eq!(found(&quick), seen, "{metadata}");

        let repaired = cache.repair(VerifyOptions::new()).unwrap();
        assert_eq!((repaired.found(), repaired.removed), (7, 5), "{metadata}");
        for (key, _) in lost {
            assert!(!cache.contains(key).unwrap(), "{metadata}: {key}");
        }
        for key in ["cut", "tail", "whole"] {
            assert_eq!(cache.get::<String, _>(key).unwrap(), Some(value(key)), "{metadata}: {key}");
        }
        let again = cache.verify(VerifyOptions::new()).unwrap();
        assert_eq!((again.found(), again.count(Damage::DamagedTrailer)), (2, 2), "{metadata}");
        assert_eq!(cache.stats().unwrap().entries, 4);
    }
}

/// Changes the index of a closed cache as another program would.
fn in_sqlite(folder: &Path, statement: &str) {
    let index = rusqlite::Connection::open(folder.join("index.sqlite")).unwrap();
    assert_eq!(index.execute(statement, ()).unwrap(), 1, "{statement}");
}

#[test]
fn damage_within_the_index_is_found_and_hides_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), "sqlite");
    for i in 0..40 {
        cache.put(format!("k{i:02}"), &format!("value {i}")).unwrap();
    }
    cache.namespace("other").unwrap().put("k07", "of another namespace").unwrap();
    cache.close().unwrap();
    in_sqlite(folder.path(), "UPDATE entries SET inline = x'00ff' WHERE key = 'k03'");
    in_sqlite(folder.path(), "UPDATE entries SET record = x'ffff' WHERE key = 'k07' AND generation = 1");
    in_sqlite(
        folder.path(),
        "UPDATE entries SET record = substr(record, 1, length(record) - 1) WHERE key = 'k11'",
    );
    in_sqlite(folder.path(), "UPDATE entries SET key = x'6b3135ff' WHERE key = 'k15'");

    let cache = open(folder.path(), "sqlite");
    let listed = cache.list(ListOptions::new()).unwrap();
    assert_eq!((listed.entries.len(), listed.damaged), (37, 3));
    assert_eq!(cache.stats().unwrap().counters.errors, 3, "what a listing left out is counted");
    assert_eq!(cache.count_matching(ListOptions::new().prefix("k0")).unwrap(), 9);
    assert_eq!(cache.purge().unwrap().expired, 0, "damage is no error of a purge");

    let report = cache.verify(VerifyOptions::new()).unwrap();
    let expected =
        [("k03", Damage::DamagedValue), ("k07", Damage::DamagedRecord), ("k11", Damage::DamagedRecord)];
    assert_eq!(found(&report)[..3], expected);
    assert_eq!(found(&report)[3].1, Damage::DamagedRecord, "the one whose key is none");
    let only = VerifyOptions::new().namespace(Namespace::new("other").unwrap());
    assert!(cache.verify(only).unwrap().is_clean());

    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let options = VerifyOptions::new().max_findings(1).on_finding(move |finding: &Finding| {
        heard.lock().unwrap().push((finding.key.clone(), finding.removed))
    });
    let repaired = cache.repair(options).unwrap();
    assert_eq!((repaired.found(), repaired.removed, repaired.findings.len()), (4, 3, 1));
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(told.iter().filter(|(_, removed)| *removed).count(), 3, "{told:?}");
    assert_eq!(cache.remove_matching(ListOptions::new().prefix("k1")).unwrap(), 8);
    assert_eq!(cache.get::<String, _>("k04").unwrap().as_deref(), Some("value 4"));
}

/// The record of an entry in a closed cache.
fn record_of(folder: &Path, key: &str) -> Vec<u8> {
    let index = rusqlite::Connection::open(folder.join("index.sqlite")).unwrap();
    index.query_row("SELECT record FROM entries WHERE key = ?1", (key,), |row| row.get(0)).unwrap()
}

#[test]
fn what_a_newer_version_wrote_is_told_apart_from_damage_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), "sqlite");
    let blob = put_blob(&cache, folder.path(), "newer");
    for key in ["inline", "known"] {
        cache.put(key, "value").unwrap();
    }
    cache.close().unwrap();
    for key in ["newer", "inline"] {
        let record = of_a_newer_version(&record_of(folder.path(), key), "default", key);
        let index = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
        index.execute("UPDATE entries SET record = ?2 WHERE key = ?1", (key, record)).unwrap();
    }

    let cache = open(folder.path(), "sqlite");
    let expected = [("inline", Damage::NewerRecord), ("newer", Damage::NewerRecord)];
    assert_eq!(found(&cache.verify(VerifyOptions::new()).unwrap()), expected);
    let repaired = cache.repair(VerifyOptions::new()).unwrap();
    assert_eq!((found(&repaired).len(), repaired.removed, repaired.entries), (2, 0, 3));
    assert_eq!(cache.list(ListOptions::new()).unwrap().damaged, 2, "a listing goes on");
    assert_eq!(cache.get::<String, _>("newer").unwrap(), None, "it is a miss, as what does not decode is");
    assert_eq!(cache.get::<String, _>("known").unwrap().as_deref(), Some("value"));
    let several = cache.get_many::<String, _>(&["newer", "known"]).unwrap();
    assert_eq!(several, [None, Some("value".to_owned())]);
    assert_eq!(cache.sweep(Duration::ZERO).unwrap().deleted, 0);
    assert!(blob.exists(), "the newer version still finds its value");
    cache.put("newer", "older").unwrap();
    assert_eq!(cache.get::<String, _>("newer").unwrap().as_deref(), Some("older"), "it can be replaced");
}

#[test]
fn a_damaged_column_that_names_a_blob_costs_no_blob_and_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), "sqlite");
    let keys = ["flipped", "none", "number", "other", "whole"];
    let blobs = keys.map(|key| put_blob(&cache, folder.path(), key));
    cache.close().unwrap();
    let set = |value: &str, key: &str| {
        in_sqlite(folder.path(), &format!("UPDATE entries SET blob_id = {value} WHERE key = '{key}'"));
    };
    set("CAST(substr(blob_id, 1, 15) || x'5a' AS BLOB)", "flipped");
    set("NULL", "none");
    set("7", "number");
    set("(SELECT blob_id FROM entries WHERE key = 'whole')", "other");

    let clock = cacheness_testkit::TestClock::new();
    clock.set(cacheness::Env::new().now() + Duration::from_secs(60));
    let opened = CacheBuilder::new(Registry::builtin()).folder(folder.path()).env(clock.env());
    let cache = opened.open_blocking().unwrap();
    assert_eq!(cache.sweep(Duration::ZERO).unwrap().deleted, 0, "each is named by a record");
    for key in keys {
        assert_eq!(cache.get::<String, _>(key).unwrap(), Some(value(key)), "{key}");
    }
    // What is replaced is not deleted where the two do not agree, until no entry has it.
    cache.put("other", "replaced").unwrap();
    assert!(cache.remove("flipped").unwrap());
    clock.advance(Duration::from_secs(120));
    cache.purge().unwrap();
    assert_eq!(cache.get::<String, _>("whole").unwrap(), Some(value("whole")), "its blob was another's");
    assert!(cache.verify(VerifyOptions::new()).unwrap().is_clean());
    assert_eq!(cache.sweep(Duration::ZERO).unwrap().deleted, 2, "those that nobody has");
    assert_eq!(blobs.iter().filter(|blob| blob.exists()).count(), 3);
}

#[test]
fn while_others_overwrite_and_remove_nothing_is_found_and_nothing_newer_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = cacheness_testkit::TestClock::new();
    let cache = CacheBuilder::new(Registry::builtin())
        .folder(folder.path())
        .env(clock.env())
        .open_blocking()
        .unwrap();
    let (stop, puts) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (cache, stop, puts, clock) = (&cache, &stop, &puts, &clock);
            scope.spawn(move || {
                let mut i = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("k{writer}-{}", i % 20);
                    let in_blob = PutOptions::new().inline(i.is_multiple_of(3));
                    cache.put_with(&key, &format!("{key} {i}"), in_blob).unwrap();
                    if i.is_multiple_of(7) {
                        cache.remove(&key).unwrap();
                    }
                    // So that blobs that were superseded are deleted under the reader's hands.
                    clock.advance(Duration::from_secs(5));
                    puts.fetch_add(1, Ordering::Relaxed);
                    i += 1;
                }
            });
        }
        let mut rounds = 0;
        while rounds < 30 || puts.load(Ordering::Relaxed) < 2_000 {
            let options = VerifyOptions::new();
            let options = if rounds % 2 == 0 { options.quick() } else { options };
            let report = cache.repair(options).unwrap();
            assert!(report.is_clean(), "{:?}", report.findings);
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(cache.stats().unwrap().entries > 20);
}

#[test]
fn a_store_of_blobs_that_is_gone_is_an_error_and_costs_no_entries() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path(), "sqlite");
    put_blob(&cache, folder.path(), "k");
    fs::rename(folder.path().join("blobs"), folder.path().join("elsewhere")).unwrap();
    assert!(cache.repair(VerifyOptions::new()).is_err());
    fs::rename(folder.path().join("elsewhere"), folder.path().join("blobs")).unwrap();
    assert!(cache.repair(VerifyOptions::new()).unwrap().is_clean());
    assert!(cache.get::<String, _>("k").unwrap().is_some());
}

#[test]
fn a_blob_that_cannot_be_read_is_told_apart_from_damage_and_left() {
    let (folder, chaos) = (tempfile::tempdir().unwrap(), Chaos::new());
    let files = Registry::builtin().blob_backend("filesystem").unwrap().clone();
    let faulty = ChaosBlobFactory::wrap_shared(files, chaos.clone()).named("faulty");
    let registry = Registry::builtin().with_blob_backend(faulty).unwrap();
    let builder = CacheBuilder::new(registry).folder(folder.path()).metadata("sqlite").blobs("faulty");
    let cache = builder.open_blocking().unwrap();
    for key in ["a", "b"] {
        cache.put_with(key, &value(key), PutOptions::new().inline(false)).unwrap();
    }
    // The one reads what follows the value, the other all of it.
    for method in ["get_range", "get"] {
        let fails = |kind| chaos.fail_next(method, Error::new(kind, "this blob cannot be read"));
        for kind in [ErrorKind::PermissionDenied, ErrorKind::Io] {
            for repair in [false, true] {
                let verify = || match repair {
                    false => cache.verify(VerifyOptions::new()),
                    true => cache.repair(VerifyOptions::new()),
                };
                fails(kind);
                let report = verify().unwrap();
                assert_eq!((report.entries, report.removed), (2, 0), "{method}, {kind:?}");
                assert_eq!(report.found(), 1, "{method}, {kind:?}");
                let finding = &report.findings[0];
                let told = (finding.damage, finding.error.kind(), finding.removed);
                assert_eq!(told, (Damage::UnreadableBlob, kind, false), "{method}, {kind:?}");
                assert!(verify().unwrap().is_clean(), "{method}, {kind:?}: it can be read now");
            }
        }
        // That a store is away says nothing of a blob.
        fails(ErrorKind::Unavailable);
        assert_eq!(
            cache.repair(VerifyOptions::new()).unwrap_err().kind(),
            ErrorKind::Unavailable,
            "{method}"
        );
    }
    for key in ["a", "b"] {
        assert_eq!(cache.get::<String, _>(key).unwrap(), Some(value(key)), "{key}");
    }
}
