//! Random damage to every file of an index.

use std::path::Path;

use cacheness::{ErrorKind, RebuildOptions};
use fs_err as fs;

use crate::random::Random;
use crate::sample::{Sample, builder, copy, open};

const PAGE: usize = 4096;

/// Damages bytes in one of many ways, and says in which.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let len = bytes.len();
    let pages = len.div_ceil(PAGE);
    let page = |at: usize| at * PAGE..len.min((at + 1) * PAGE);
    match random.below(8) {
        0 => {
            let at = random.below(len);
            bytes[at] ^= 1 << random.below(8);
            format!("a bit turned at {at}")
        }
        1 => {
            let count = 2 + random.below(30);
            (0..count).for_each(|_| bytes[random.below(len)] = random.next() as u8);
            format!("{count} bytes changed")
        }
        2 => {
            let at = random.below(len);
            bytes.truncate(at);
            format!("cut at {at}")
        }
        3 => {
            let at = random.below(pages);
            bytes[page(at)].fill_with(|| random.next() as u8);
            format!("garbage in page {at}")
        }
        4 => {
            let at = random.below(pages);
            bytes[page(at)].fill(0);
            format!("zeros in page {at}")
        }
        5 => {
            let count = 2 + random.below(pages);
            (0..count).for_each(|_| bytes[page(random.below(pages))].fill(0xA5));
            format!("up to {count} pages overwritten")
        }
        6 => {
            let (one, other) = (random.below(len / PAGE).max(1), random.below(len / PAGE).max(1));
            (0..PAGE)
                .for_each(|i| bytes.swap(one.min(pages - 2) * PAGE + i, other.min(pages - 2) * PAGE + i));
            format!("pages {one} and {other} swapped")
        }
        _ => {
            let (at, more) = (random.below(len), random.below(200));
            bytes.splice(at..at, (0..more).map(|_| random.next() as u8));
            format!("{more} bytes put in at {at}")
        }
    }
}

/// Changes some bytes of lines, but not where they end: a last line without its end is a write that was never finished.
#[expect(clippy::ptr_arg, reason = "it is chosen in place of `damage`, which changes the length")]
fn scratch(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let count = 1 + random.below(5);
    for _ in 0..count {
        let at = random.below(bytes.len());
        if bytes[at] != b'\n' {
            bytes[at] ^= 1 << random.below(8);
        }
    }
    format!("up to {count} bits turned")
}

fn rounds(metadata: &'static str, files: &[&str], seeds: std::ops::Range<u64>) {
    let sample = Sample::make(metadata);
    let (mut served, mut restored) = (0, 0);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let mut random = Random::new(seed);
        let folder = sample.copy();
        let file = files[random.below(files.len())];
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let damage = if file.ends_with("journal") { scratch } else { damage };
        let what = format!("round {seed}: {file}: {}", damage(&mut bytes, &mut random));
        fs::write(&path, bytes).unwrap();
        let (before, after) = restore(&sample, folder.path(), metadata, &what);
        (served, restored) = (served + before, restored + after);
    }
    // Most damage is small, and most of what is there survives it; but not of what is older than a lost part of a journal.
    assert!(
        restored > count * if files[0].ends_with("journal") { 5 } else { 50 },
        "{restored} entries in {count} rounds"
    );
    // A snapshot or journal with a line that is damaged does not open at all.
    assert!(served > count * 20 || metadata == "json", "{served} values served in {count} rounds");
}

/// Opens what is damaged, rebuilds it, and checks what came of it. Returns how many values were served before, and how many
/// entries are back.
fn restore(sample: &Sample, folder: &Path, metadata: &str, what: &str) -> (u64, u64) {
    let mut served = 0;
    match open(folder, metadata) {
        // An empty file is a cache that is to be made, with an id of its own.
        Ok(cache) if cache.id() != sample.cache_id() => return (0, 0),
        Ok(cache) => {
            drop(cache);
            // In a copy, because reading takes out what it finds damaged.
            let copied = tempfile::tempdir().unwrap();
            copy(folder, copied.path());
            let cache = open(copied.path(), metadata).unwrap_or_else(|error| panic!("{what}: {error}"));
            let checked = std::panic::AssertUnwindSafe(|| sample.check_damaged(&cache));
            served = std::panic::catch_unwind(checked).unwrap_or_else(|_| panic!("{what}"));
        }
        Err(error) => {
            // The numbers by which a file is known can be damaged, too.
            let other = matches!(error.kind(), ErrorKind::ConfigInvalid | ErrorKind::Unsupported);
            assert!(other || error.kind() == ErrorKind::Corrupted, "{what}: {error}");
            assert!(other || error.to_string().contains("rebuild"), "{what}: {error}");
        }
    }
    let options = RebuildOptions::new().cache_id(sample.cache_id());
    let report = builder(folder, metadata).rebuild_blocking(options);
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    let cache = open(folder, metadata).unwrap_or_else(|error| panic!("{what}: {error}"));
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sample.check(&cache, false)));
    if checked.is_err() {
        panic!("{what}: {report:?}");
    }
    (served, report.restored)
}

#[test]
fn however_an_sqlite_index_is_damaged_it_is_rebuilt_and_what_comes_back_is_right() {
    rounds("sqlite", &["index.sqlite"], 0..200);
}

/// A page in the place of another one is whole by itself, and leads to rows of other keys.
#[test]
fn pages_in_each_others_places_bring_out_no_other_keys_value() {
    let sample = Sample::make("sqlite");
    let folder = sample.copy();
    let index = folder.path().join("index.sqlite");
    let whole = fs::read(&index).unwrap();
    let pages = whole.len() / PAGE;
    let mut served = 0;
    for (one, other) in
        (1..pages).flat_map(|one| (one + 1..pages.min(one + 2)).map(move |other| (one, other)))
    {
        let mut bytes = whole.clone();
        (0..PAGE).for_each(|i| bytes.swap(one * PAGE + i, other * PAGE + i));
        let copied = tempfile::tempdir().unwrap();
        copy(folder.path(), copied.path());
        fs::write(copied.path().join("index.sqlite"), bytes).unwrap();
        if let Ok(cache) = open(copied.path(), "sqlite") {
            let checked = std::panic::AssertUnwindSafe(|| sample.check_damaged(&cache));
            served += std::panic::catch_unwind(checked).unwrap_or_else(|_| panic!("pages {one} and {other}"));
        }
    }
    assert!(served > 20 * pages as u64, "{served} values served of {pages} pages");
}

#[test]
fn however_a_json_index_is_damaged_it_is_rebuilt_and_what_comes_back_is_right() {
    rounds("json", &["index.json"], 0..100);
}

#[test]
fn however_the_journal_of_a_json_index_is_damaged_nothing_that_is_out_of_date_comes_back() {
    rounds("json", &["index.json.journal"], 0..30);
}

#[test]
#[ignore = "thousands of rounds"]
fn however_an_index_is_damaged_it_is_rebuilt_and_what_comes_back_is_right_over_thousands_of_rounds() {
    rounds("sqlite", &["index.sqlite"], 1_000..4_000);
    rounds("json", &["index.json"], 1_000..2_000);
    rounds("json", &["index.json.journal"], 1_000..1_300);
}
