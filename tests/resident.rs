//! What a process occupies stays flat however many values are put under a limit. Linux tells how much that is.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "the figures are what a person runs it for")]

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::*;

/// Which cache this process is to measure, and how many puts, if it is one that a test has started.
const TASK: &str = "TEST_RESIDENT";

const MOST: u64 = 10_000;

/// How much more than after the first 27,000 puts may be resident later.
const GROWTH_KIB: u64 = 8 * 1024;

/// How many entries there are where few are compared with many.
const FEW: u64 = 5_000;
const MANY: u64 = 50_000;

/// By how much two such measurements may differ for other reasons.
const SLACK_KIB: u64 = 3 * 1024;

/// The resident size of this process, in KiB.
fn resident() -> u64 {
    let statm = fs_err::read_to_string("/proc/self/statm").unwrap();
    // A page has 4 KiB, unless the system was built otherwise; then the numbers are off by one factor for all.
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

fn open(metadata: &str, folder: &Path) -> blocking::Cache {
    let builder = match metadata {
        "memory" => Cache::builder(),
        metadata => Cache::builder().folder(folder).metadata(metadata),
    };
    builder.limits(Limits::unbounded().max_entries(MOST)).open_blocking().unwrap()
}

fn put_and_measure(metadata: &str, puts: u64) {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(metadata, folder.path());
    let warm = puts.min(3 * MOST) * 9 / 10;
    let (mut start, mut highest) = (0, 0);
    for i in 0..puts {
        cache.put(format!("key-{i:08}"), &vec![i as u8; 100 + (i % 200) as usize]).unwrap();
        if i + 1 == warm {
            start = resident();
        } else if i > warm && i % 1000 == 0 {
            highest = highest.max(resident());
        }
    }
    assert_eq!(cache.stats().unwrap().entries, MOST);
    println!("{metadata}: {start} KiB after {warm} puts, {highest} KiB at the most until {puts}");
    assert!(highest <= start + GROWTH_KIB, "{metadata}: {start} KiB after {warm} puts, then {highest} KiB");
}

/// Holds so many entries at once, opens the cache anew, and says what that takes.
fn hold_and_measure(entries: u64) {
    let folder = tempfile::tempdir().unwrap();
    let open = || Cache::builder().folder(folder.path()).limits(Limits::unbounded()).open_blocking().unwrap();
    let cache = open();
    let (before, begun) = (resident(), Instant::now());
    for from in (0..entries).step_by(1_000) {
        let values = (from..entries.min(from + 1_000)).map(|i| (format!("key-{i:08}"), vec![i as u8; 100]));
        let values: Vec<(String, Vec<u8>)> = values.collect();
        cache.put_many(values.iter().map(|(key, value)| (key, value)), PutOptions::new()).unwrap();
    }
    let loaded = begun.elapsed();
    cache.close().unwrap();
    let begun = Instant::now();
    let cache = open();
    let reopened = begun.elapsed();
    let begun = Instant::now();
    let gets = 20_000;
    for i in 0..gets {
        let i = i * 7_919 % entries;
        assert_eq!(cache.get::<Vec<u8>, _>(format!("key-{i:08}")).unwrap(), Some(vec![i as u8; 100]));
    }
    let each = begun.elapsed() / gets as u32;
    let begun = Instant::now();
    assert_eq!(cache.stats().unwrap().entries, entries);
    let counted = begun.elapsed();
    let grown = resident().saturating_sub(before);
    println!(
        "{entries} entries: loaded in {loaded:.1?}, opened again in {reopened:.1?}, {each:.1?} a get, statistics in \
         {counted:.1?}, {grown} KiB more resident"
    );
    assert!(grown < 128 * 1024, "{grown} KiB for {entries} entries");
}

/// The most that was resident since the last call of this, in KiB.
fn peak() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    fs_err::write("/proc/self/clear_refs", "5").unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A cache whose SQLite keeps little of its file in memory, so that this does not hide what else grows.
fn small(folder: &Path) -> CacheBuilder {
    let options = ConfigOptions::new().with("cache_size", "256 KiB");
    Cache::builder().folder(folder).metadata_with("sqlite", options).limits(Limits::unbounded())
}

/// How much more was resident at the most, in KiB, while this process did something.
fn most_during(work: impl FnOnce()) -> u64 {
    peak();
    let before = peak();
    work();
    peak().saturating_sub(before)
}

/// A store that lists so many blobs, which no entry names, and has none: so they take no memory in this process, and are there
/// at once.
struct Orphans(u64);

#[async_trait]
impl BlobFactory for Orphans {
    fn name(&self) -> &str {
        "orphans"
    }

    fn description(&self) -> &str {
        "Lists blobs that no entry names."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, _: &ConfigOptions, _: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        Ok(Arc::new(Self(self.0)))
    }
}

#[async_trait]
impl BlobBackend for Orphans {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities::files()
    }

    async fn put(&self, _: &BlobKey, _: BlobSource) -> Result<()> {
        Ok(())
    }

    async fn get(&self, _: &BlobKey) -> Result<Option<Blob>> {
        Ok(None)
    }

    async fn get_range(&self, _: &BlobKey, _: Range<u64>) -> Result<Option<Bytes>> {
        Ok(None)
    }

    async fn delete(&self, _: &BlobKey) -> Result<bool> {
        Ok(true)
    }

    async fn exists(&self, _: &BlobKey) -> Result<bool> {
        Ok(false)
    }

    async fn list_keys(&self, _: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        let listed: u64 = after.map_or(0, |after| after.parse().unwrap());
        let end = self.0.min(listed + limit as u64);
        let blobs = (listed..end).map(|_| BlobId::new(Timestamp::from_nanos(0))).collect();
        Ok(BlobPage::new(blobs, (end < self.0).then(|| end.to_string())))
    }

    fn staging_dir(&self) -> Option<&Path> {
        None
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Does something with a cache of a few entries and with one of many, one of a hundred of them in a blob, each in a process that
/// did nothing else before, and compares what it takes. `most` is how many bytes each further entry may cost.
fn compare(name: &str, most: u64, work: impl FnOnce(u64, &Path)) {
    if let Ok(task) = std::env::var(TASK) {
        let (entries, folder) = task.split_once(' ').unwrap();
        let entries = entries.parse().unwrap();
        println!("it takes {} KiB more", most_during(|| work(entries, Path::new(folder))));
        return;
    }
    let [few, many] = [FEW, MANY].map(|entries| {
        let folder = tempfile::tempdir().unwrap();
        let cache = small(folder.path()).open_blocking().unwrap();
        let (in_blobs, inline): (Vec<u64>, Vec<u64>) = (0..entries).partition(|i| i % 100 == 0);
        for (which, inline) in [(in_blobs, false), (inline, true)] {
            for some in which.chunks(1_000) {
                let values = some.iter().map(|i| (format!("key-{i:08}"), vec![*i as u8; 100]));
                let values: Vec<(String, Vec<u8>)> = values.collect();
                let options = PutOptions::new().inline(inline);
                cache.put_many(values.iter().map(|(key, value)| (key, value)), options).unwrap();
            }
        }
        // A value that was held whole would show, too.
        cache.put("large", &vec![7_u8; 400 * entries as usize]).unwrap();
        cache.close().unwrap();
        let said = run(name, &format!("{entries} {}", folder.path().display()));
        let (_, after) = said.split_once("it takes ").unwrap();
        after.split_once(" KiB").unwrap().0.parse::<u64>().unwrap()
    });
    let allowed = SLACK_KIB + (MANY - FEW) * most / 1024;
    println!(
        "{name}: {few} KiB for {FEW} entries, {many} KiB for {MANY}, and {allowed} KiB more are allowed"
    );
    assert!(many <= few + allowed, "{few} KiB for {FEW} entries, {many} KiB for {MANY}");
}

/// Runs this test once more, in a process of its own that is told what to do, so that nothing else is measured.
fn run(name: &str, task: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--include-ignored", "--nocapture"]);
    let output = command.env(TASK, task).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}");
    said
}

fn measure(name: &str, metadata: &str, puts: u64) {
    let Ok(task) = std::env::var(TASK) else {
        run(name, &format!("{metadata} {puts}"));
        return;
    };
    let (metadata, puts) = task.split_once(' ').unwrap();
    let number = puts.parse().unwrap();
    match metadata {
        "hold" => hold_and_measure(number),
        metadata => put_and_measure(metadata, number),
    }
}

#[test]
fn a_cache_in_memory_stays_flat() {
    measure("a_cache_in_memory_stays_flat", "memory", 100_000);
}

#[cfg(all(feature = "sqlite", feature = "filesystem"))]
#[test]
fn a_cache_in_a_folder_stays_flat() {
    measure("a_cache_in_a_folder_stays_flat", "sqlite", 40_000);
}

#[test]
#[ignore = "takes minutes"]
fn a_cache_in_memory_stays_flat_over_a_million_puts() {
    measure("a_cache_in_memory_stays_flat_over_a_million_puts", "memory", 1_000_000);
}

#[cfg(all(feature = "sqlite", feature = "filesystem"))]
#[test]
#[ignore = "takes minutes"]
fn a_cache_in_a_folder_stays_flat_over_a_million_puts() {
    measure("a_cache_in_a_folder_stays_flat_over_a_million_puts", "sqlite", 1_000_000);
}

// shows: row 104
#[cfg(all(feature = "sqlite", feature = "filesystem"))]
#[test]
fn a_million_entries_are_held_and_opened_again() {
    measure("a_million_entries_are_held_and_opened_again", "hold", 1_000_000);
}

#[cfg(all(feature = "sqlite", feature = "filesystem"))]
#[test]
fn verifying_takes_no_more_memory_for_many_entries_than_for_few() {
    let name = "verifying_takes_no_more_memory_for_many_entries_than_for_few";
    compare(name, 0, |entries, folder| {
        let cache = small(folder).open_blocking().unwrap();
        let report = cache.verify(VerifyOptions::new()).unwrap();
        assert!(report.is_clean() && report.entries == entries + 1, "{report:?}");
        assert!(cache.repair(VerifyOptions::new()).unwrap().is_clean());
    });
}

#[cfg(all(feature = "sqlite", feature = "filesystem"))]
#[test]
fn sweeping_takes_little_more_memory_for_many_entries_and_blobs_than_for_few() {
    let name = "sweeping_takes_little_more_memory_for_many_entries_and_blobs_than_for_few";
    compare(name, 4, |entries, folder| {
        let registry = Registry::builtin().with_blob_backend(Orphans(entries)).unwrap();
        let options = ConfigOptions::new().with("cache_size", "256 KiB");
        let cache =
            CacheBuilder::new(registry).folder(folder).metadata_with("sqlite", options).blobs("orphans");
        let report = cache.open_blocking().unwrap().sweep(Duration::ZERO).unwrap();
        assert_eq!((report.blobs, report.orphans, report.deleted), (entries, entries, entries));
    });
}

#[cfg(all(feature = "sqlite", feature = "filesystem"))]
#[test]
fn rebuilding_takes_about_40_bytes_of_memory_for_each_entry() {
    compare("rebuilding_takes_about_40_bytes_of_memory_for_each_entry", 40, |entries, folder| {
        let report = small(folder).rebuild_blocking(RebuildOptions::new()).unwrap();
        assert_eq!((report.restored, report.lost), (entries + 1, 0));
    });
}
