//! Blocking gets of 1 KiB, beside the same point lookup on raw SQLite with one checksum pass.

use std::error::Error;
use std::hint::black_box;

use super::{Workload, fill, open};
use crate::items::{Item, Random, key};
use crate::measure::{Plan, Scale, Side, in_turns};
use crate::report::Report;
use crate::yardsticks::{Map, RawSqlite};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "get_small",
    about: "blocking get of 1 KiB from SQLite, random keys, against a raw point lookup and one checksum pass",
    run,
};

/// How many times as long as the yardstick a get may take.
const BOUND: f64 = 1.4;

fn run(scale: Scale, report: &mut Report<'_>) -> Result<(), Box<dyn Error>> {
    report.comparisons()?;
    for entries in scale.pick([100_000, 1_000_000], [1_000, 10_000]) {
        measure(entries, scale, report)?;
    }
    Ok(())
}

fn measure(entries: u64, scale: Scale, report: &mut Report<'_>) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let cache = open(&folder.path().join("cache"))?;
    // Each side has a file of its own, or one would find in the processor's cache what another has just read. They
    // are filled in turns and then read once, or the operating system would have more of one file in memory.
    let raw = RawSqlite::open(&folder.path().join("raw.sqlite"), Map::No)?;
    let mapped = RawSqlite::open(&folder.path().join("mapped.sqlite"), Map::Yes)?;
    for from in (0..entries).step_by(10_000) {
        let numbers = from..entries.min(from + 10_000);
        fill(&cache, numbers.clone())?;
        raw.fill(numbers.clone().map(Item::new))?;
        mapped.fill(numbers.map(Item::new))?;
    }

    // Each key is asked for once by both sides, and again only where chance has it so.
    let mut random = Random::new(entries);
    let items = |size: usize| -> Vec<Item> {
        (0..size).map(|_| Item { key: key(random.below(entries)), value: Vec::new() }).collect()
    };
    let (mut raw, mut mapped) = (raw.gets()?, mapped.gets()?);
    for number in 0..entries {
        let key = key(number);
        let value: Option<Vec<u8>> = cache.peek(&key)?;
        black_box((value, raw.get(&key)?, mapped.get(&key)?));
    }
    let ours = Side::new("Cacheness", |items| {
        for item in items {
            let value: Option<Vec<u8>> = cache.get(&item.key)?;
            black_box(value.ok_or("an entry is missing")?);
        }
        Ok(())
    });
    let yardstick = Side::new("same settings", |items| {
        for item in items {
            black_box(raw.get(&item.key)?.ok_or("a row is missing")?);
        }
        Ok(())
    });
    let fastest = Side::new("with a memory map", |items| {
        for item in items {
            black_box(mapped.get(&item.key)?.ok_or("a row is missing")?);
        }
        Ok(())
    });
    let times = in_turns(Plan::new(scale), items, vec![ours, yardstick, fastest])?;
    Ok(report.compare(&format!("get, {entries} entries"), &times, Some(BOUND))?)
}
