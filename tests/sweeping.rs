//! Blobs that no entry names: what a writer leaves that dies half-way, and that a sweep finds these and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, ConfigOptions, Error, ErrorKind, PutOptions, Register, Registry};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosMetadataFactory};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A registry whose backend of this name does what `chaos` says.
fn faulty(name: &str, chaos: &Chaos) -> Registry {
    let mut registry = Registry::builtin();
    let inner = registry.metadata_backend(name).unwrap().clone();
    let wrapped = ChaosMetadataFactory::wrap_shared(inner, chaos.clone());
    registry.register_metadata_backend(wrapped, Register::new().named(name).replace()).unwrap();
    registry
}

fn open(name: &str, folder: &Path, clock: &Arc<TestClock>, chaos: &Chaos) -> Cache {
    let blobs = ConfigOptions::new().with("path", folder.join("blobs").to_str().unwrap());
    CacheBuilder::new(faulty(name, chaos))
        .folder(folder.join(name))
        .metadata(name)
        .blobs_with("filesystem", blobs)
        .env(clock.env())
        .open_blocking()
        .unwrap()
}

fn put(cache: &Cache, key: &str) -> Result<(), Error> {
    cache.put_with(key, &[key; 100].concat(), PutOptions::new().inline(false)).map(drop)
}

/// As many blobs as there are orphans, of writers that got no answer: they cannot know whether the entry was put.
fn orphan(cache: &Cache, chaos: &Chaos, key: &str) {
    chaos.fail_next("apply", Error::new(ErrorKind::Timeout, "no answer"));
    assert_eq!(put(cache, key).unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn a_sweep_deletes_old_orphans_and_nothing_else_in_every_backend() {
    for name in ["sqlite", "json", "memory"] {
        let (folder, clock, chaos) = (tempfile::tempdir().unwrap(), TestClock::new(), Chaos::new());
        // Both lie in one folder of blobs.
        let cache = open(name, folder.path(), &clock, &chaos);
        let neighbour = open("sqlite_memory", folder.path(), &clock, &Chaos::new());
        put(&neighbour, "theirs").unwrap();
        for key in ["a", "b", "c"] {
            put(&cache, key).unwrap();
        }
        orphan(&cache, &chaos, "lost");
        put(&cache, "b").unwrap();
        clock.advance(DAY * 2);
        orphan(&cache, &chaos, "young");

        let counted = cache.sweep_dry_run(DAY).unwrap();
        assert_eq!((counted.orphans, counted.deleted), (1, 0), "{name}");
        let swept = cache.sweep(DAY).unwrap();
        // The superseded blob of `b`, which was due, went first.
        assert_eq!((swept.blobs, swept.orphans, swept.deleted), (counted.blobs - 1, 1, 1), "{name}");
        let again = cache.sweep(Duration::ZERO).unwrap();
        assert_eq!(
            (again.blobs, again.orphans, again.deleted),
            (swept.blobs - 1, 1, 1),
            "{name}: the young one"
        );
        assert_eq!(cache.sweep(Duration::ZERO).unwrap().orphans, 0, "{name}");
        for key in ["a", "b", "c"] {
            assert_eq!(cache.get::<String, _>(key).unwrap(), Some([key; 100].concat()), "{name}");
        }
        assert!(neighbour.get::<String, _>("theirs").unwrap().is_some(), "{name}: another cache's blob");
        assert!(cache.get::<String, _>("lost").unwrap().is_none());
    }
}

#[test]
fn a_writer_that_slept_through_a_sweep_puts_no_entry_without_its_blob() {
    let (folder, clock, chaos) = (tempfile::tempdir().unwrap(), TestClock::new(), Chaos::new());
    let slowly = Chaos::new();
    let slow = open("sqlite", folder.path(), &clock, &slowly);
    let slowly = slowly.slow_by_clock(Duration::from_secs(60));
    let cache = open("sqlite", folder.path(), &clock, &chaos);
    std::thread::scope(|scope| {
        // Its blob is there, and its entry is on the way.
        let writer = scope.spawn(|| put(&slow, "late"));
        while cache.sweep_dry_run(Duration::ZERO).unwrap().orphans == 0 {
            std::thread::yield_now();
        }
        assert_eq!(cache.sweep(Duration::ZERO).unwrap().deleted, 1);
        while !writer.is_finished() {
            clock.advance(Duration::from_secs(60));
            std::thread::yield_now();
        }
        let error = writer.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("put the value again"), "{error}");
    });
    slowly.calm(true);
    assert!(!cache.contains("late").unwrap());
    put(&cache, "late").unwrap();
    assert_eq!(cache.get::<String, _>("late").unwrap(), Some(["late"; 100].concat()));
}

#[test]
fn a_sweep_of_many_blobs_reads_the_entries_once() {
    let (clock, chaos) = (TestClock::new(), Chaos::new());
    let cache = CacheBuilder::new(faulty("memory", &chaos))
        .metadata("memory")
        .blobs("memory")
        .env(clock.env())
        .open_blocking()
        .unwrap();
    let many = || (0..40_000).map(|number| format!("k{number}"));
    for keys in many().collect::<Vec<_>>().chunks(10_000) {
        let values: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), key.as_str())).collect();
        cache.put_many(values, PutOptions::new().inline(false)).unwrap();
    }
    for key in ["k7", "k20000", "lost"] {
        orphan(&cache, &chaos, key);
    }
    clock.advance(DAY * 2);
    let calls = |name| chaos.calls_of(name);
    let pages = calls("list_entries");
    let swept = cache.sweep(DAY).unwrap();
    assert_eq!((swept.blobs, swept.orphans, swept.deleted), (40_003, 3, 3));
    assert_eq!(calls("list_entries") - pages, 40);
    assert_eq!(calls("unnamed"), 2, "once for what no entry seemed to name, and once when it was condemned");
    for key in many().step_by(1_000) {
        assert_eq!(cache.get::<String, _>(&key).unwrap(), Some(key));
    }
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_superseded_blobs() {
    let (folder, clock, chaos) = (tempfile::tempdir().unwrap(), TestClock::new(), Chaos::new());
    let right = clock.env().now();
    clock.advance(30 * DAY);
    let cache = open("sqlite", folder.path(), &clock, &chaos);
    put(&cache, "early").unwrap();
    clock.set(right);
    put(&cache, "key").unwrap();
    put(&cache, "key").unwrap();
    assert_eq!(cache.sweep_dry_run(DAY).unwrap().blobs, 3);
    for later in ["one", "two"] {
        clock.advance(Duration::from_secs(61));
        put(&cache, later).unwrap();
    }
    assert_eq!(cache.sweep_dry_run(DAY).unwrap().blobs, 4, "the superseded one is gone");
}

#[test]
fn a_put_that_never_got_the_lock_is_known_to_have_changed_nothing_and_leaves_no_blob() {
    for name in ["sqlite", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let brief = ConfigOptions::new().with("busy_timeout", "20ms");
        let builder = Cache::builder().folder(folder.path()).metadata_with(name, brief);
        let cache = builder.open_blocking().unwrap();
        put(&cache, "key").unwrap();
        let database = rusqlite::Connection::open(folder.path().join("index.sqlite")).unwrap();
        let lock = fs_err::File::options().write(true).open(folder.path().join("index.json.lock"));
        match &lock {
            Ok(lock) => lock.file().lock().unwrap(),
            Err(_) => database.execute_batch("BEGIN IMMEDIATE").unwrap(),
        }
        let error = put(&cache, "key").unwrap_err();
        assert_eq!(
            (error.kind(), error.is_outcome_unknown()),
            (ErrorKind::Timeout, false),
            "{name}: {error}"
        );
        drop((database, lock));
        assert_eq!(cache.sweep_dry_run(Duration::ZERO).unwrap().blobs, 1, "{name}");
        put(&cache, "key").unwrap();
    }
}

#[test]
fn an_empty_folder_for_staged_files_that_was_deleted_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let staging = folder.path().join("blobs/staging");
    fs_err::remove_dir(&staging).unwrap();
    let large = vec![7_u8; 3 << 20];
    cache.put("large", &large).unwrap();
    assert!(staging.is_dir());
    assert!(cache.get::<Vec<u8>, _>("large").unwrap() == Some(large));
}
