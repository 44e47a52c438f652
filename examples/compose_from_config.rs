//! One program, any cache: the parts and their options come from a file.
//!
//! `cargo run --example compose_from_config -- examples/compose_from_config/memory.toml`, or another file of that
//! folder. A variable such as `CACHENESS_TTL=90s` goes before what the file says.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

use cacheness::{CacheBuilder, Error};

fn main() -> Result<(), Error> {
    let Some(file) = std::env::args().nth(1) else {
        println!("usage: compose_from_config FILE");
        return Ok(());
    };
    let builder = CacheBuilder::from_file(&file)?;
    println!("{}", builder.to_toml()?);
    let cache = builder.open_blocking()?;

    let runs = cache.get("runs")?.unwrap_or(0) + 1;
    cache.put("runs", &runs)?;
    let large = vec![7_u8; 100_000];
    cache.put("large", &large)?;
    let same = cache.get("large")?.is_some_and(|value: Vec<u8>| value == large);

    println!("# run {runs} of this cache; 100 kB come back the same: {same}");
    let stats = cache.stats()?;
    println!("# {} entries, {} bytes", stats.entries, stats.stored_bytes);
    cache.close()
}
