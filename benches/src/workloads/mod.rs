//! The workloads. A new one is a file here and a line in [`ALL`].

mod formats;
mod get_small;
mod million;
mod put_small;

use std::error::Error;
use std::path::Path;

use cacheness::PutOptions;
use cacheness::blocking::Cache;

use crate::items::Item;
use crate::measure::Scale;
use crate::report::Report;

/// Measures at a scale, and reports.
type Run = fn(Scale, &mut Report<'_>) -> Result<(), Box<dyn Error>>;

/// Something that is measured.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: Run,
}

/// All workloads, in the order in which they run.
pub(crate) const ALL: &[Workload] =
    &[get_small::WORKLOAD, put_small::WORKLOAD, million::WORKLOAD, formats::WORKLOAD];

/// Opens a cache as a user would who sets nothing: SQLite and files, 10 GiB at most, the least recently used go.
fn open(path: &Path) -> cacheness::Result<Cache> {
    Cache::open(path)
}

/// Puts the items with these numbers, many at a time.
fn fill(cache: &Cache, numbers: std::ops::Range<u64>) -> cacheness::Result<()> {
    let mut next = numbers.start;
    while next < numbers.end {
        let items: Vec<Item> = (next..numbers.end.min(next + 1_000)).map(Item::new).collect();
        next += items.len() as u64;
        cache.put_many(items.iter().map(|item| (&item.key, &item.value[..])), PutOptions::new())?;
    }
    Ok(())
}
