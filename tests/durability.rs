//! What a put promises when the operating system fails: calls of the process are made to fail by a filter of the kernel's, after which
//! there is no way back, so each test has a process of its own.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod marked;

use std::path::{Path, PathBuf};
use std::process::Command;

use cacheness::blocking::Cache;
use cacheness::{Durability, ErrorKind, PutOptions};
use fs_err as fs;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

const FOLDER: &str = "TEST_DURABILITY";

/// Runs a part of a test in a process of its own; there, this runs it, and elsewhere it waits for it.
fn apart(test: &str, work: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        return work(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path());
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    after(folder.path());
}

/// A process whose calls work reads what is there: the old value, the one that was confirmed, and nothing half done.
fn after(folder: &Path) {
    let cache = Cache::open(folder.join("cache")).unwrap();
    let errors = cache.stats().unwrap().counters.errors;
    assert!(cache.get::<Vec<u8>, _>("old").unwrap() == Some(marked::value(1, 1, 50_000)));
    for key in ["new", "inline"] {
        let confirmed = folder.join(format!("{key}-is-confirmed")).exists();
        let found = cache.get::<Vec<u8>, _>(key).unwrap();
        assert!(found.is_some() || !confirmed, "{key} was confirmed and is lost");
        assert!(found.is_none_or(|value| marked::marks(&value) == (2, 2)));
    }
    assert_eq!(cache.stats().unwrap().counters.errors, errors, "nothing was damaged");
    cache.put_with("new", &marked::value(3, 3, 50_000), as_blob()).unwrap();
    let staged: Vec<_> =
        fs::read_dir(folder.join("cache/blobs/staging")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(staged.is_empty(), "{staged:?}");
}

fn as_blob() -> PutOptions {
    PutOptions::new().inline(false)
}

fn open(folder: &Path, durability: Durability) -> Cache {
    let cache = Cache::builder().folder(folder.join("cache")).durability(durability).open_blocking().unwrap();
    cache.put_with("old", &marked::value(1, 1, 50_000), as_blob()).unwrap();
    cache
}

/// Makes calls fail with EIO, in all threads that are started from here on and in this one.
fn fail(calls: &[i64]) {
    let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(5), arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

#[cfg(target_arch = "x86_64")]
mod call {
    pub(super) const FSYNC: i64 = 74;
    pub(super) const FDATASYNC: i64 = 75;
    pub(super) const RENAMES: &[i64] = &[82, 86, 264, 265, 316];
}

#[cfg(target_arch = "aarch64")]
mod call {
    pub(super) const FSYNC: i64 = 82;
    pub(super) const FDATASYNC: i64 = 83;
    pub(super) const RENAMES: &[i64] = &[37, 38, 276];
}

fn put(cache: &Cache, folder: &Path, key: &str, options: PutOptions) -> Result<(), cacheness::Error> {
    cache.put_with(key, &marked::value(2, 2, 20_000), options)?;
    fs::write(folder.join(format!("{key}-is-confirmed")), "").unwrap();
    Ok(())
}

#[test]
fn a_put_that_cannot_be_synced_is_an_error_where_it_must_survive_a_loss_of_power() {
    apart("a_put_that_cannot_be_synced_is_an_error_where_it_must_survive_a_loss_of_power", |folder| {
        let cache = open(folder, Durability::Power);
        fail(&[call::FSYNC, call::FDATASYNC]);
        for (key, options) in [("new", as_blob()), ("inline", PutOptions::new().inline(true))] {
            let error = put(&cache, folder, key, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{key}: {error}");
            assert!(error.to_string().contains(&*folder.to_string_lossy()), "{error}");
        }
    });
}

#[test]
fn each_blob_is_synced_where_it_must_survive_a_loss_of_power() {
    apart("each_blob_is_synced_where_it_must_survive_a_loss_of_power", |folder| {
        let cache = open(folder, Durability::Power);
        fail(&[call::FSYNC]);
        // SQLite syncs its log by another call, so that this is the blob's.
        let error = put(&cache, folder, "new", as_blob()).unwrap_err();
        assert!(error.to_string().contains("blobs"), "{error}");
    });
}

#[test]
fn a_put_waits_for_no_disk_where_it_must_survive_only_the_process() {
    apart("a_put_waits_for_no_disk_where_it_must_survive_only_the_process", |folder| {
        let cache = open(folder, Durability::Process);
        fail(&[call::FSYNC, call::FDATASYNC]);
        put(&cache, folder, "new", as_blob()).unwrap();
        put(&cache, folder, "inline", PutOptions::new().inline(true)).unwrap();
        // As after kill -9: nothing is closed.
        std::mem::forget(cache);
    });
}

#[test]
fn a_blob_that_cannot_be_renamed_is_an_error_and_leaves_nothing() {
    apart("a_blob_that_cannot_be_renamed_is_an_error_and_leaves_nothing", |folder| {
        let cache = open(folder, Durability::Process);
        fail(call::RENAMES);
        let error = put(&cache, folder, "new", as_blob()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(cache.get::<Vec<u8>, _>("old").unwrap() == Some(marked::value(1, 1, 50_000)));
        put(&cache, folder, "inline", PutOptions::new().inline(true)).unwrap();
    });
}
