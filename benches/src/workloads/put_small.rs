//! Puts of 1 KiB with durability `process`, beside one raw upsert in a transaction of its own.

use std::error::Error;

use super::{Workload, fill, open};
use crate::items::{Item, Random, VALUE_LEN};
use crate::measure::{Plan, Scale, Side, in_turns};
use crate::report::Report;
use crate::yardsticks::{Map, RawSqlite};

pub(crate) const WORKLOAD: Workload = Workload {
    name: "put_small",
    about: "blocking put of 1 KiB into SQLite, durability `process`, against a raw upsert in its own transaction",
    run,
};

/// How many times as long as the yardstick a put may take.
const BOUND: f64 = 1.6;

fn run(scale: Scale, report: &mut Report<'_>) -> Result<(), Box<dyn Error>> {
    let entries = scale.pick(100_000, 1_000);
    let folder = tempfile::tempdir()?;
    let cache = open(&folder.path().join("cache"))?;
    fill(&cache, 0..entries)?;
    let raw = RawSqlite::open(&folder.path().join("raw.sqlite"), Map::No)?;
    raw.fill((0..entries).map(Item::new))?;
    report.comparisons()?;

    let mut next = entries;
    let new = |size: usize| -> Vec<Item> {
        let numbers = next..next + size as u64;
        next = numbers.end;
        numbers.map(Item::new).collect()
    };
    let times = in_turns(Plan::new(scale), new, sides(&cache, &raw)?)?;
    report.compare(&format!("put of new keys, from {entries} entries on"), &times, Some(BOUND))?;

    let (mut random, mut time) = (Random::new(entries), 0);
    let known = |size: usize| -> Vec<Item> {
        time += 1;
        (0..size).map(|_| Item::rewritten(random.below(entries), time)).collect()
    };
    let times = in_turns(Plan::new(scale), known, sides(&cache, &raw)?)?;
    report.compare(&format!("put over known keys, {entries} of them"), &times, Some(BOUND))?;

    // Values of another length change the totals, which is a page more.
    let (mut random, mut time) = (Random::new(!entries), 0);
    let other = |size: usize| -> Vec<Item> {
        time += 1;
        let item = |random: &mut Random| {
            let mut item = Item::rewritten(random.below(entries), !time);
            item.value.truncate(VALUE_LEN - random.below(64) as usize);
            item
        };
        (0..size).map(|_| item(&mut random)).collect()
    };
    let times = in_turns(Plan::new(scale), other, sides(&cache, &raw)?)?;
    Ok(report.compare("put over known keys, of 961 to 1,024 bytes", &times, None)?)
}

fn sides<'a>(
    cache: &'a cacheness::blocking::Cache,
    raw: &'a RawSqlite,
) -> Result<Vec<Side<'a>>, Box<dyn Error>> {
    let mut puts = raw.puts()?;
    let ours = Side::new("Cacheness", |items| {
        for item in items {
            cache.put(&item.key, &item.value[..])?;
        }
        Ok(())
    });
    let yardstick = Side::new("same settings", move |items| {
        for item in items {
            puts.put(item)?;
        }
        Ok(())
    });
    Ok(vec![ours, yardstick])
}
