//! A data analysis plugin with all three modes: its configuration until removed, a file's analysis while the file
//! is unchanged, and answers of a service for five minutes. Every step runs in a process of its own.
//!
//! `cargo run --example sales_analyzer` runs all steps in a temporary folder;
//! `sales_analyzer STEP FOLDER` runs one, 1 to 7.

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

// shows: rows 1-9, 11-22, U3, U6

use std::path::Path;
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{EntryState, ListOptions, PutOptions, ValidityMode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SALES: &str = "date,product,quantity,revenue,region
2025-01-15,Laptop,5,6499.95,Northeast
2025-01-15,Mouse,23,574.77,West
2025-01-16,Keyboard,12,1079.88,South
2025-01-17,Monitor,8,2799.92,Midwest
2025-01-18,Laptop,3,3899.97,West
";

#[derive(Serialize, Deserialize)]
struct CsvSchema {
    columns: Vec<String>,
    row_count: usize,
    date_range: String,
    products: Vec<String>,
    regions: Vec<String>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => run_all_steps(),
        [step, folder] => run_step(step.parse()?, Path::new(folder)),
        _ => Err("usage: sales_analyzer [STEP FOLDER]".into()),
    }
}

fn run_all_steps() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs_err::write(folder.path().join("sales_data.csv"), SALES)?;
    for step in 1..=7 {
        println!("--- step {step}");
        let status = std::process::Command::new(std::env::current_exe()?)
            .arg(step.to_string())
            .arg(folder.path())
            .status()?;
        if !status.success() {
            return Err(format!("step {step} failed").into());
        }
    }
    Ok(())
}

fn run_step(step: u32, folder: &Path) -> Result<()> {
    // No setup call: the namespace exists from the first put on.
    let cache = Cache::open(folder.join("cache"))?.namespace("sales-analyzer-pro")?;
    let csv = folder.join("sales_data.csv");
    match step {
        1 => configure(&cache),
        2 => analyze(&cache, &csv),
        3 => reuse_analysis(&cache),
        4 => ["Northeast", "West", "Midwest"].into_iter().try_for_each(|region| market_data(&cache, region)),
        5 => ["Northeast", "West"].into_iter().try_for_each(|region| market_data(&cache, region)),
        6 => change_the_file(&cache, &csv),
        7 => report(&cache),
        _ => Err("there are seven steps".into()),
    }
}

/// Step 1, manual mode: a configuration that stays.
fn configure(cache: &Cache) -> Result<()> {
    let config: Option<Value> = cache.get("config:plugin")?;
    if config.is_none() {
        let config = json!({
            "version": "1.0.0",
            "analysis_modes": ["summary", "trends", "forecasts"],
            "output_format": "markdown",
            "cache_ttl_seconds": 300,
        });
        let stored = cache.put("config:plugin", &config)?;
        println!("first run: configured as {}", stored.key);
    }
    Ok(())
}

/// Step 2, file mode: an analysis that holds while the file is unchanged.
fn analyze(cache: &Cache, csv: &Path) -> Result<()> {
    if cache.get::<CsvSchema, _>("schema:sales_data.csv")?.is_some() {
        println!("analysis found");
        return Ok(());
    }
    let started = Instant::now();
    let schema = read_schema(csv)?;
    cache.put_with("schema:sales_data.csv", &schema, PutOptions::file(csv))?;
    println!(
        "analysed in {:.1?}: {} columns, {} rows",
        started.elapsed(),
        schema.columns.len(),
        schema.row_count
    );
    println!("data from {}; products: {}", schema.date_range, schema.products.join(", "));
    Ok(())
}

/// Step 3: another process gets the analysis without repeating it.
fn reuse_analysis(cache: &Cache) -> Result<()> {
    let started = Instant::now();
    let schema: CsvSchema = cache.get("schema:sales_data.csv")?.ok_or("the analysis should be there")?;
    println!("found in {:.1?}; regions: {}", started.elapsed(), schema.regions.join(", "));
    Ok(())
}

/// Steps 4 and 5, TTL mode: answers of a service, for as long as the configuration says.
fn market_data(cache: &Cache, region: &str) -> Result<()> {
    let key = format!("api:market-data:{region}");
    if let Some(data) = cache.get::<Value, _>(&key)? {
        println!("{region}: no call needed, market of {}M", data["market_size_millions"]);
        return Ok(());
    }
    let data = call_service(region);
    let config: Option<Value> = cache.get("config:plugin")?;
    let seconds = config.and_then(|config| config["cache_ttl_seconds"].as_u64()).unwrap_or(300);
    cache.put_with(&key, &data, PutOptions::ttl(Duration::from_secs(seconds)))?;
    println!("{region}: called the service, kept for {seconds} s");
    Ok(())
}

/// Step 6: the file changes, and its analysis is no longer served.
fn change_the_file(cache: &Cache, csv: &Path) -> Result<()> {
    let mut text = fs_err::read_to_string(csv)?;
    text.push_str("2025-01-19,Keyboard,7,629.93,Northeast\n");
    fs_err::write(csv, text)?;
    if cache.get::<CsvSchema, _>("schema:sales_data.csv")?.is_some() {
        return Err("a stale analysis was served".into());
    }
    let schema = read_schema(csv)?;
    cache.put_with("schema:sales_data.csv", &schema, PutOptions::file(csv))?;
    println!("the file has changed; analysed again: {} rows", schema.row_count);
    Ok(())
}

/// Step 7: what the cache holds, by mode, and how well it served.
fn report(cache: &Cache) -> Result<()> {
    let page = cache.list(ListOptions::new())?;
    for (title, mode) in [
        ("Configuration (manual mode)", ValidityMode::Manual),
        ("File analysis (file mode)", ValidityMode::File),
        ("API responses (TTL mode)", ValidityMode::Ttl),
    ] {
        let entries: Vec<_> = page.entries.iter().filter(|entry| entry.validity.mode() == mode).collect();
        println!("{title}: {} entries", entries.len());
        for entry in entries {
            let state = match &entry.state {
                EntryState::Valid => "valid".to_owned(),
                EntryState::Expired => "expired".to_owned(),
                other => format!("stale: {other:?}"),
            };
            let source = entry.validity.sources.first().map(|source| source.path().display().to_string());
            println!(
                "  {} {state}, {} bytes, {} s old, source {}",
                entry.key,
                entry.size,
                entry.age.as_secs(),
                source.unwrap_or_else(|| "none".to_owned())
            );
        }
    }
    let stats = cache.stats()?;
    println!("hits: {}", stats.counters.hits);
    println!("misses: {}", stats.counters.misses);
    println!("hit rate: {:.1}%", stats.hit_rate().unwrap_or_default() * 100.0);
    println!("entries: {}", stats.entries);
    println!("stored: {} bytes", stats.stored_bytes);
    Ok(())
}

fn read_schema(csv: &Path) -> Result<CsvSchema> {
    let text = fs_err::read_to_string(csv)?;
    let mut lines = text.lines();
    let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let columns = split(lines.next().ok_or("the file is empty")?);
    let rows: Vec<Vec<String>> = lines.map(split).filter(|row| row.len() == columns.len()).collect();
    let (first, last) = (rows.first().ok_or("no rows")?, rows.last().ok_or("no rows")?);
    let distinct = |column: usize| {
        let mut values: Vec<String> = rows.iter().map(|row| row[column].clone()).collect();
        values.sort();
        values.dedup();
        values
    };
    Ok(CsvSchema {
        date_range: format!("{} to {}", first[0], last[0]),
        products: distinct(1),
        regions: distinct(4),
        row_count: rows.len(),
        columns,
    })
}

fn call_service(region: &str) -> Value {
    json!({
        "region": region,
        "market_size_millions": 450,
        "growth_rate": 0.12,
        "competition_index": 0.67,
        "seasonality": "Q4-heavy",
    })
}
