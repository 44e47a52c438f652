//! How get, put, stats, the first page of a list and reopening grow with the number of entries.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use cacheness::ListOptions;
use cacheness::blocking::Cache;

use super::{Workload, fill, open};
use crate::items::{Item, Random, key};
use crate::measure::{Scale, percentile};
use crate::report::Report;

pub(crate) const WORKLOAD: Workload = Workload {
    name: "million",
    about: "what grows with the number of entries, up to a million; medians in µs",
    run,
};

/// What is timed, in the order of the rows.
const ROWS: [&str; 8] = [
    "get",
    "put of a new key",
    "put over a known key",
    "stats of the namespace",
    "stats of all",
    "first page of 100",
    "reopen",
    "first get after reopening",
];

fn run(scale: Scale, report: &mut Report<'_>) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("cache");
    let sizes: [u64; 3] = scale.pick([10_000, 100_000, 1_000_000], [100, 1_000, 10_000]);
    let mut filled = 0;
    let mut columns = Vec::new();
    for size in sizes {
        let cache = open(&path)?;
        // The puts that were timed before have filled in some of the numbers already.
        fill(&cache, filled..size)?;
        let (figures, added) = measure(cache, &path, size, scale)?;
        filled = size + added;
        columns.push(figures);
    }
    let mut names = vec!["µs".to_owned()];
    names.extend(sizes.map(|size| format!("{size} entries")));
    names.push("growth for 100 times as many".into());
    let rows: Vec<Vec<String>> = ROWS
        .iter()
        .enumerate()
        .map(|(row, name)| {
            let figures = columns.iter().map(|column| column[row]);
            let (first, last) = (columns[0][row], columns[columns.len() - 1][row]);
            let cells = figures.map(|nanos| format!("{:.1}", nanos / 1e3));
            std::iter::once((*name).to_owned())
                .chain(cells)
                .chain([format!("{:.2}×", last / first)])
                .collect()
        })
        .collect();
    Ok(report.table(&names, &rows)?)
}

/// Times each operation, and says how many entries that has added.
fn measure(
    cache: Cache,
    path: &Path,
    size: u64,
    scale: Scale,
) -> Result<([f64; ROWS.len()], u64), Box<dyn Error>> {
    let (batches, times) = (scale.pick(100, 5), scale.pick(50, 5));
    let mut random = Random::new(size);
    let get = median(
        batches,
        || (0..200).map(|_| key(random.below(size))).collect(),
        |keys: &Vec<String>| {
            for key in keys {
                let value: Option<Vec<u8>> = cache.get(key)?;
                black_box(value.ok_or("an entry is missing")?);
            }
            Ok(())
        },
    )?;
    let put = |items: &Vec<Item>| -> Result<(), Box<dyn Error>> {
        for item in items {
            cache.put(&item.key, &item.value[..])?;
        }
        Ok(())
    };
    let mut next = size;
    let new = || {
        next += 20;
        (next - 20..next).map(Item::new).collect()
    };
    let put_new = median(batches, new, put)?;
    let over = || (0..20).map(|_| Item::rewritten(random.below(size), 1)).collect();
    let put_over = median(batches, over, put)?;
    let stats = median(
        times,
        || (),
        |()| {
            black_box(cache.stats()?);
            Ok(())
        },
    )?;
    let total = median(
        times,
        || (),
        |()| {
            black_box(cache.total_stats()?);
            Ok(())
        },
    )?;
    let page = || ListOptions::new().limit(100);
    let list = median(
        times,
        || (),
        |()| {
            black_box(cache.list(page())?);
            Ok(())
        },
    )?;
    if cache.stats()?.entries != next {
        return Err("the cache does not count its entries right".into());
    }
    cache.close()?;
    drop(cache);

    let (mut reopen, mut first_get) = (Vec::new(), Vec::new());
    for number in 0..scale.pick(20, 3) {
        let start = Instant::now();
        let cache = Cache::open_existing(path)?;
        reopen.push(start.elapsed().as_nanos() as f64);
        let start = Instant::now();
        let value: Option<Vec<u8>> = cache.get(key(number))?;
        first_get.push(start.elapsed().as_nanos() as f64);
        value.ok_or("an entry is missing after reopening")?;
        cache.close()?;
    }
    let (reopen, first_get) = (percentile(&reopen, 50), percentile(&first_get, 50));
    let per = |batch: f64, len: f64| batch / len;
    let figures =
        [per(get, 200.0), per(put_new, 20.0), per(put_over, 20.0), stats, total, list, reopen, first_get];
    Ok((figures, next - size))
}

/// The median of how long `work` takes, in nanoseconds. What `prepare` does is not timed.
fn median<T>(
    times: usize,
    mut prepare: impl FnMut() -> T,
    mut work: impl FnMut(&T) -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut nanos = Vec::with_capacity(times);
    for _ in 0..times {
        let prepared = prepare();
        let start = Instant::now();
        work(&prepared)?;
        nanos.push(start.elapsed().as_nanos() as f64);
    }
    Ok(percentile(&nanos, 50))
}
