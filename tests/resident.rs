//! What a process occupies stays flat however many values are put under a limit. Linux tells how much that is.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "the figures are what a person runs it for")]

use std::process::Command;

use cacheness::*;

/// Which cache this process is to measure, and how many puts, if it is one that a test has started.
const TASK: &str = "TEST_RESIDENT";

const MOST: u64 = 10_000;

/// How much more than after the first 27,000 puts may be resident later.
const GROWTH_KIB: u64 = 8 * 1024;

/// How much more may be resident while entries are verified: a page of them, and what SQLite keeps of its file.
const VERIFYING_KIB: u64 = 24 * 1024;

/// The resident size of this process, in KiB.
fn resident() -> u64 {
    let statm = fs_err::read_to_string("/proc/self/statm").unwrap();
    // A page has 4 KiB, unless the system was built otherwise; then the numbers are off by one factor for all.
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

fn open(metadata: &str, folder: &std::path::Path) -> blocking::Cache {
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
    use std::time::Instant;
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

/// Holds so many entries, a tenth of them in blobs, and says what it takes to verify and to repair them.
fn verify_and_measure(entries: u64) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::builder().folder(folder.path()).limits(Limits::unbounded()).open_blocking().unwrap();
    for from in (0..entries).step_by(1_000) {
        let values = (from..entries.min(from + 1_000)).map(|i| (format!("key-{i:08}"), vec![i as u8; 100]));
        let values: Vec<(String, Vec<u8>)> = values.collect();
        let options = PutOptions::new().inline(from % 10_000 != 0);
        cache.put_many(values.iter().map(|(key, value)| (key, value)), options).unwrap();
    }
    let large = vec![7_u8; 8 << 20];
    cache.put("large", &large).unwrap();
    drop(large);
    peak();
    let before = peak();
    let report = cache.verify(VerifyOptions::new()).unwrap();
    assert!(report.is_clean() && report.entries == entries + 1, "{report:?}");
    assert!(cache.repair(VerifyOptions::new()).unwrap().is_clean());
    let grown = peak().saturating_sub(before);
    println!("verifying {entries} entries: {grown} KiB more resident at the most, over {before} KiB");
    assert!(grown < VERIFYING_KIB, "{grown} KiB to verify {entries} entries");
}

/// Runs in a process of its own, so that nothing else that this one does is measured.
fn measure(name: &str, metadata: &str, puts: u64) {
    if let Ok(task) = std::env::var(TASK) {
        let (metadata, puts) = task.split_once(' ').unwrap();
        let number = puts.parse().unwrap();
        return match metadata {
            "hold" => hold_and_measure(number),
            "verify" => verify_and_measure(number),
            metadata => put_and_measure(metadata, number),
        };
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--include-ignored", "--nocapture"]);
    let output = command.env(TASK, format!("{metadata} {puts}")).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}");
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
fn many_entries_are_verified_in_bounded_memory() {
    measure("many_entries_are_verified_in_bounded_memory", "verify", 50_000);
}
