//! An eviction policy of a program's own: what is cheap to compute goes before what is dear, in a cache that two
//! tenants share.
//!
//! ```text
//! cargo run --example custom_policy
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{
    CacheBuilder, Entry, EntryUse, ErrorKind, EvictionPolicy, Limits, PutOptions, Registry, Result,
};

/// An entry is worth the milliseconds that it took to compute, for each KiB that it occupies.
struct Worth;

impl EvictionPolicy for Worth {
    fn name(&self) -> &str {
        "worth"
    }

    fn description(&self) -> &str {
        "The one that took the least time to compute for its size."
    }

    fn rank(&self, entry: &Entry, age: i64) -> i64 {
        let ms = entry.custom.get("ms").and_then(|ms| ms.as_i64()).unwrap_or(0);
        let kib = i64::try_from(entry.stored_size / 1024 + 1).unwrap_or(i64::MAX);
        age.saturating_add(ms.saturating_mul(1000) / kib)
    }

    fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
        rank.saturating_add(i64::try_from(used.hits).unwrap_or(i64::MAX).saturating_mul(1000))
    }
}

fn put(cache: &Cache, key: &str, took: Duration) -> Result<()> {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let stored = cache.put_with(key, "a report", PutOptions::new().custom("ms", ms))?;
    println!("{key}: took {ms} ms, {} evicted for it", stored.evicted);
    Ok(())
}

fn keys(cache: &Cache) -> Result<String> {
    let entries = cache.list(Default::default())?.entries;
    Ok(entries.iter().map(|entry| entry.key.as_str().to_owned()).collect::<Vec<_>>().join(", "))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let registry = Registry::builtin().with_eviction_policy(Worth)?;
    for part in registry.list_eviction_policies() {
        println!("{}{}: {}", part.name, if part.builtin { "" } else { " (ours)" }, part.description);
    }

    let limits = Limits::unbounded().max_entries(3).policy("worth");
    let cache = CacheBuilder::new(registry.clone()).folder(folder.path()).limits(limits).open_blocking()?;
    for (key, ms) in [("yearly", 900), ("hourly", 3), ("weekly", 90), ("daily", 40), ("monthly", 200)] {
        put(&cache, key, Duration::from_millis(ms))?;
    }
    println!("by worth, there are left: {}", keys(&cache)?);

    // The policy of an open cache can be changed, and nothing is lost.
    cache.set_limits(Limits::unbounded().max_entries(3).policy("fifo"))?;
    put(&cache, "extra", Duration::from_millis(1))?;
    println!("first in, first out, there are left: {}", keys(&cache)?);
    cache.set_limits(Limits::unbounded().max_entries(3).policy("worth"))?;
    cache.close()?;

    // The name is stored with the cache: a program that does not know the policy is told so.
    match Cache::open(folder.path()) {
        Err(error) if error.kind() == ErrorKind::NotRegistered => println!("another program: {error}"),
        other => drop(other?),
    }
    let cache = CacheBuilder::new(registry).folder(folder.path()).open_blocking()?;
    println!("opened again by {}", cache.limits()?.policy.unwrap_or_default());
    cache.close()?;
    Ok(())
}
