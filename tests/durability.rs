//! What a put promises when the operating system fails: calls of the process are made to fail by a filter of the kernel's, after which
//! there is no way back, so each test has a process of its own.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod marked;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cacheness::blocking::Cache;
use cacheness::{
    BlobId, BlobKey, BlobSource, ConfigOptions, Durability, Env, ErrorKind, OpenContext, PutOptions, Registry,
};
use fs_err as fs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

const FOLDER: &str = "TEST_DURABILITY";

/// Runs a part of a test in a process of its own; there, this runs it, and elsewhere it waits for it.
fn apart(test: &str, metadata: &str, work: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) {
        return work(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path());
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    after(folder.path(), metadata);
}

/// A process whose calls work reads what is there: the old value, the one that was confirmed, and nothing half done.
fn after(folder: &Path, metadata: &str) {
    let cache = Cache::builder().folder(folder.join("cache")).metadata(metadata).open_blocking().unwrap();
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

fn open(folder: &Path, metadata: &str, durability: Durability) -> Cache {
    let builder = Cache::builder().folder(folder.join("cache")).metadata(metadata);
    let cache = builder.durability(durability).open_blocking().unwrap();
    cache.put_with("old", &marked::value(1, 1, 50_000), as_blob()).unwrap();
    cache
}

/// Makes calls fail with EIO, in all threads that are started from here on and in this one.
fn fail(calls: &[i64]) {
    fail_where(calls.iter().map(|&call| (call, Vec::new())).collect());
}

/// Makes every call fail that opens a file or a folder to read it and does nothing else, as a folder is opened to be synced.
fn fail_to_open_for_reading() {
    let flags = u64::from(rustix::fs::OFlags::CLOEXEC.bits());
    let reading = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, flags).unwrap();
    fail_where([(call::OPENAT, vec![SeccompRule::new(vec![reading]).unwrap()])].into());
}

fn fail_where(rules: BTreeMap<i64, Vec<SeccompRule>>) {
    let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(5), arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

#[cfg(target_arch = "x86_64")]
mod call {
    pub(super) const FSYNC: i64 = 74;
    pub(super) const FDATASYNC: i64 = 75;
    pub(super) const OPENAT: i64 = 257;
    pub(super) const RENAMES: &[i64] = &[82, 86, 264, 265, 316];
}

#[cfg(target_arch = "aarch64")]
mod call {
    pub(super) const FSYNC: i64 = 82;
    pub(super) const FDATASYNC: i64 = 83;
    pub(super) const OPENAT: i64 = 56;
    pub(super) const RENAMES: &[i64] = &[37, 38, 276];
}

fn put(cache: &Cache, folder: &Path, key: &str, options: PutOptions) -> Result<(), cacheness::Error> {
    put_of_len(cache, folder, key, 20_000, options)
}

fn put_of_len(
    cache: &Cache,
    folder: &Path,
    key: &str,
    len: usize,
    options: PutOptions,
) -> Result<(), cacheness::Error> {
    cache.put_with(key, &marked::value(2, 2, len), options)?;
    fs::write(folder.join(format!("{key}-is-confirmed")), "").unwrap();
    Ok(())
}

/// Up to this long a value is inline in the index `json`, too.
const SHORT: usize = 1_000;

fn a_put_that_cannot_be_synced_is_an_error(test: &str, metadata: &'static str) {
    apart(test, metadata, |folder| {
        let cache = open(folder, metadata, Durability::Power);
        fail(&[call::FSYNC, call::FDATASYNC]);
        // Inline, in a blob written at once, and in one that is staged. Each says what could not be synced.
        let index = if metadata == "json" { "journal" } else { "index.sqlite" };
        let long = 3 << 20;
        for (key, len, options, said) in [
            ("inline", SHORT, PutOptions::new().inline(true), index),
            ("new", 20_000, as_blob(), "a blob cannot be written"),
            ("new", long, as_blob(), "syncing a staged value"),
        ] {
            let error = put_of_len(&cache, folder, key, len, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{key}: {error}");
            let text = error.to_string();
            assert!(text.contains(&*folder.to_string_lossy()) && text.contains(said), "{len}: {text}");
        }
    });
}

#[test]
fn a_put_that_cannot_be_synced_is_an_error_on_sqlite() {
    a_put_that_cannot_be_synced_is_an_error("a_put_that_cannot_be_synced_is_an_error_on_sqlite", "sqlite");
}

#[test]
fn a_put_that_cannot_be_synced_is_an_error_on_json() {
    a_put_that_cannot_be_synced_is_an_error("a_put_that_cannot_be_synced_is_an_error_on_json", "json");
}

#[test]
fn the_folders_of_a_blob_are_synced_where_it_must_survive_a_loss_of_power() {
    apart("the_folders_of_a_blob_are_synced_where_it_must_survive_a_loss_of_power", "sqlite", |folder| {
        let cache = open(folder, "sqlite", Durability::Power);
        let files = Registry::builtin().blob_backend("filesystem").unwrap().clone();
        let path = ConfigOptions::new().with("path", folder.join("cache/blobs").to_str().unwrap());
        let mut context = OpenContext::new(Env::new());
        context.durability = Durability::Power;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let blobs = files.open(&path, &context).await.unwrap();
            let first = BlobKey { cache: cache.id(), blob: BlobId::new(context.env.now()) };
            blobs.put(&first, BlobSource::Bytes("value".into())).await.unwrap();
            // One of another time whose last digits are the same lies in the same folder, so that none is made for it.
            let beside = format!("f{}", &first.blob.to_string()[1..]);
            let beside = BlobKey { blob: BlobId::parse(&beside).unwrap(), ..first };
            fail_to_open_for_reading();
            let error = blobs.put(&beside, BlobSource::Bytes("value".into())).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("a folder of the blobs cannot be synced"), "{text}");
        });
    });
}

#[test]
fn a_put_waits_for_no_disk_where_it_must_survive_only_the_process() {
    apart("a_put_waits_for_no_disk_where_it_must_survive_only_the_process", "sqlite", |folder| {
        let cache = open(folder, "sqlite", Durability::Process);
        fail(&[call::FSYNC, call::FDATASYNC]);
        put(&cache, folder, "new", as_blob()).unwrap();
        put(&cache, folder, "inline", PutOptions::new().inline(true)).unwrap();
        // As after kill -9: nothing is closed.
        std::mem::forget(cache);
    });
}

#[test]
fn a_blob_that_cannot_be_renamed_is_an_error_and_leaves_nothing() {
    apart("a_blob_that_cannot_be_renamed_is_an_error_and_leaves_nothing", "sqlite", |folder| {
        let cache = open(folder, "sqlite", Durability::Process);
        fail(call::RENAMES);
        let error = put(&cache, folder, "new", as_blob()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(cache.get::<Vec<u8>, _>("old").unwrap() == Some(marked::value(1, 1, 50_000)));
        put(&cache, folder, "inline", PutOptions::new().inline(true)).unwrap();
    });
}
