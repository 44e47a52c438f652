//! Who may read what a cache writes, whose folders it takes, and where links in them lead.
#![cfg(unix)]

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, Error, ErrorKind, Fallback, LocalTier, Permissions, PutOptions, Registry};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};
use fs_err as fs;
use tempfile::TempDir;

/// Values that lie in the index, in a blob that was written at once, and in one that was staged.
fn fill(cache: &Cache) {
    cache.put("inline", "value").unwrap();
    cache.put_with("blob", "value", PutOptions::new().inline(false)).unwrap();
    cache.put("staged", &vec![7_u8; 12 << 20]).unwrap();
}

/// Everything in a folder, itself included, with its mode.
fn modes(folder: &Path) -> Vec<(PathBuf, bool, u32)> {
    let metadata = fs::symlink_metadata(folder).unwrap();
    let mut found = vec![(folder.to_owned(), metadata.is_dir(), metadata.permissions().mode() & 0o777)];
    if metadata.is_dir() {
        for entry in fs::read_dir(folder).unwrap() {
            found.extend(modes(&entry.unwrap().path()));
        }
    }
    found
}

fn open(metadata: &str, folder: &Path, permissions: Permissions) -> Cache {
    Cache::builder().folder(folder).metadata(metadata).permissions(permissions).open_blocking().unwrap()
}

#[test]
fn what_a_cache_makes_is_for_its_user_alone() {
    for metadata in ["sqlite", "json"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a").join("cache");
        let cache = open(metadata, &path, Permissions::Private);
        fill(&cache);
        // The parent was missing, too. While it is open, the log of the index is there.
        let found = modes(&folder.path().join("a"));
        assert!(found.len() > 12, "{found:?}");
        for (path, is_folder, mode) in found {
            assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{}", path.display());
        }
    }
}

#[test]
fn a_shared_cache_is_for_whom_the_umask_lets() {
    // The umask belongs to the process, and each test has one of its own.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o007));
    for metadata in ["sqlite", "json"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("cache");
        let cache = open(metadata, &path, Permissions::Umask);
        fill(&cache);
        for (path, is_folder, mode) in modes(&path) {
            assert_eq!(mode, if is_folder { 0o770 } else { 0o660 }, "{}", path.display());
        }
    }
}

#[test]
fn a_folder_of_another_user_is_refused_unless_that_is_allowed() {
    let folder = TempDir::new().unwrap();
    // Only root can give a folder away, and to everybody else the root folder is another user's.
    let root = rustix::process::geteuid().is_root();
    let path = if root { folder.path() } else { Path::new("/") };
    if root {
        chown(path, Some(65_534), None).unwrap();
    }
    let error = Cache::open(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let said = error.to_string();
    assert!(said.contains("allow_other_owner = true") && said.contains("belongs to user"), "{said}");
    if root {
        assert_eq!(fs::read_dir(path).unwrap().count(), 0, "nothing was written");
        let cache = Cache::builder().folder(path).allow_other_owner(true).open_blocking().unwrap();
        cache.put("key", "value").unwrap();
        assert_eq!(cache.get::<String, _>("key").unwrap().as_deref(), Some("value"));
    }
}

/// The folders between a cache's blobs and one blob of it, from the outermost on, and the blob.
fn way(folder: &Path) -> Vec<PathBuf> {
    let mut way = vec![folder.join("blobs")];
    loop {
        let inside = fs::read_dir(&way[way.len() - 1]).unwrap().map(|entry| entry.unwrap().path());
        let next =
            inside.filter(|path| !path.ends_with("staging") && !path.ends_with("cacheness-blobs")).min();
        let Some(next) = next else { panic!("no blob in {}", folder.display()) };
        let is_blob = next.is_file();
        way.push(next);
        if is_blob {
            return way.split_off(1);
        }
    }
}

#[test]
fn no_link_leads_out_of_the_folder_of_blobs() {
    // The cache's own folder, the two below it, and the blob, each moved away with a link left in its place.
    for step in 0..4 {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("cache");
        let cache = Cache::open(&path).unwrap();
        cache.put_with("key", "value", PutOptions::new().inline(false)).unwrap();
        let moved = &way(&path)[step];
        let outside = folder.path().join("outside");
        fs::rename(moved, &outside).unwrap();
        symlink(&outside, moved).unwrap();

        let before = modes(&outside).len();
        assert_eq!(cache.get::<String, _>("key").unwrap(), None, "step {step}");
        assert_eq!(cache.stats().unwrap().counters.errors, 1, "step {step}");
        cache.remove("key").unwrap();
        cache.close().unwrap();
        assert_eq!(modes(&outside).len(), before, "step {step}: nothing outside was deleted");
    }
}

#[test]
fn what_is_due_is_not_deleted_behind_a_link() {
    // The step after the last one moves nothing: there, what is due is deleted.
    for (step, swept) in (0..5).flat_map(|step| [(step, true), (step, false)]) {
        let folder = TempDir::new().unwrap();
        let (path, clock) = (folder.path().join("cache"), TestClock::new());
        let cache = Cache::builder().folder(&path).env(clock.env()).open_blocking().unwrap();
        cache.put_with("key", "value", PutOptions::new().inline(false)).unwrap();
        let way = way(&path);
        let blob = way[3].file_name().unwrap().to_owned();
        // What no entry names is due for a sweep, and what is superseded for a purge.
        cache.remove("key").unwrap();
        if swept {
            clock.advance(Duration::from_secs(61));
            assert_eq!(cache.purge().unwrap().expired, 0);
            assert!(!way[3].exists(), "it was due");
            fs::create_dir_all(&way[2]).unwrap();
            fs::write(&way[3], "an orphan").unwrap();
        }
        let outside = folder.path().join("outside");
        if let Some(moved) = way.get(step) {
            fs::rename(moved, &outside).unwrap();
            symlink(&outside, moved).unwrap();
        } else {
            fs::hard_link(&way[3], &outside).unwrap();
        }
        let before = modes(&outside);
        clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
        // Where the first folder is a link, neither can go on.
        let gone = if swept {
            cache.sweep(Duration::ZERO).map_or(0, |report| report.deleted)
        } else {
            let purged = cache.purge();
            assert!(purged.is_ok() || step < 3, "step {step}: {purged:?}");
            u64::from(fs::symlink_metadata(&way[3]).is_err())
        };
        assert_eq!(modes(&outside), before, "step {step}, swept: {swept}");
        // A link in place of the blob itself is no blob to a sweep, and goes by a purge.
        let goes = step == 4 || (step == 3 && !swept);
        assert_eq!(gone, u64::from(goes), "step {step}, swept: {swept}, {blob:?}");
    }
}

#[test]
fn copies_and_the_store_of_a_fallback_are_for_their_user_alone() {
    let folder = TempDir::new().unwrap();
    let (chaos, entries) = (Chaos::new().slow(Duration::from_micros(1)), Chaos::new());
    let mut registry = Registry::builtin();
    let (blobs, metadata) = (
        registry.blob_backend("filesystem").unwrap().clone(),
        registry.metadata_backend("sqlite").unwrap().clone(),
    );
    registry = registry
        .with_blob_backend(ChaosBlobFactory::wrap_shared(blobs, chaos.clone()).named("remote"))
        .unwrap()
        .with_metadata_backend(ChaosMetadataFactory::wrap_shared(metadata, entries.clone()).named("first"))
        .unwrap();
    let (tier, spare) = (folder.path().join("tier"), folder.path().join("spare"));
    let cache = CacheBuilder::new(registry)
        .folder(folder.path().join("cache"))
        .metadata("first")
        .blobs("remote")
        .inline_limit(0)
        .local_tier(LocalTier::new(&tier))
        .fallback(Fallback::new(&spare))
        .open_blocking()
        .unwrap();
    fill(&cache);
    assert_eq!(cache.get::<String, _>("blob").unwrap().as_deref(), Some("value"));
    for chaos in [&chaos, &entries] {
        chaos.fail_all(Some(Error::new(ErrorKind::Unavailable, "the server is down")));
    }
    cache.put("meanwhile", &vec![7_u8; 100_000]).unwrap();
    for (root, least) in [(&tier, 2), (&spare, 6)] {
        let found = modes(root);
        assert!(found.len() >= least, "{found:?}");
        for (path, is_folder, mode) in found {
            assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{}", path.display());
        }
    }
}

#[test]
fn a_staging_folder_that_is_a_link_is_not_written_to() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache");
    let cache = Cache::open(&path).unwrap();
    let (staging, outside) = (path.join("blobs/staging"), folder.path().join("outside"));
    fs::rename(&staging, &outside).unwrap();
    symlink(&outside, &staging).unwrap();
    let error = cache.put_with("key", "value", PutOptions::new().inline(false)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert!(error.to_string().contains("staging"), "{error}");
}

#[test]
fn the_folder_of_a_cache_may_itself_be_a_link() {
    let folder = TempDir::new().unwrap();
    let (disk, link) = (folder.path().join("disk"), folder.path().join("link"));
    fs::create_dir(&disk).unwrap();
    symlink(&disk, &link).unwrap();
    let cache = Cache::open(&link).unwrap();
    fill(&cache);
    assert_eq!(cache.get::<String, _>("blob").unwrap().as_deref(), Some("value"));
    assert_eq!(cache.get::<Vec<u8>, _>("staged").unwrap().map(|value| value.len()), Some(12 << 20));
}
