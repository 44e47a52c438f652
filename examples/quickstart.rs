//! Indexes a folder: lines, words and a BLAKE3 hash of every file, each computed once and again only when the file
//! changes, and a table of totals per file extension, kept as Parquet.
//!
//! `cargo run --features arrow --example quickstart -- [FOLDER] [--cache FOLDER]`

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

// shows: rows 2, 3, 19, 22

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use cacheness::blocking::Cache;
use cacheness::{FileSource, KeyBuilder, PutOptions};
use serde::{Deserialize, Serialize};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What is worth knowing about a file and takes time to find out.
#[derive(Serialize, Deserialize)]
struct FileIndex {
    lines: u64,
    words: u64,
    blake3: String,
}

fn main() -> Result<()> {
    let (folder, cache_folder) = arguments()?;
    let cache = match cache_folder {
        Some(path) => Cache::open(path)?,
        None => Cache::open_default("cacheness-quickstart")?,
    };
    let mut files = Vec::new();
    find_files(&folder, &mut files)?;
    files.sort();

    println!("{} files in {}", files.len(), folder.display());
    for pass in ["first pass", "second pass"] {
        let before = cache.stats()?.counters;
        let started = Instant::now();
        let (computed, lines) = run(&cache, &folder, &files)?;
        let took = started.elapsed();
        let now = cache.stats()?.counters;
        println!(
            "{pass}: {:8.2} ms, {lines} lines, {computed} files computed, {} hits, {} misses",
            took.as_secs_f64() * 1e3,
            now.hits - before.hits,
            now.misses - before.misses,
        );
    }
    let stats = cache.stats()?;
    println!("the cache holds {} entries, {} bytes", stats.entries, stats.stored_bytes);
    if let Some(path) = cache.folder() {
        println!("the cache lies in {}", path.display());
    }
    cache.close()?;
    Ok(())
}

/// Indexes every file and totals them. Returns how many files had to be read, and their lines.
fn run(cache: &Cache, folder: &Path, files: &[PathBuf]) -> Result<(usize, u64)> {
    let mut computed = 0;
    let mut totals: BTreeMap<String, (u64, FileIndex)> = BTreeMap::new();
    let mut inputs = KeyBuilder::with_prefix("totals")?;
    for path in files {
        let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        let key = format!("file:{}", path.display());
        // Get, compute, put: these lines are all that caching needs.
        let index: FileIndex = match cache.get(&key)? {
            Some(index) => index,
            None => {
                let source = FileSource::capture(path)?;
                let index = index_file(path)?;
                cache.put_with(&key, &index, PutOptions::new().with_source(source))?;
                computed += 1;
                index
            }
        };
        inputs = inputs.param(name, &index.blake3)?;
        let extension = path.extension().map_or("none".into(), |e| e.to_string_lossy().into_owned());
        let empty = FileIndex { lines: 0, words: 0, blake3: String::new() };
        let (count, sum) = totals.entry(extension).or_insert((0, empty));
        *count += 1;
        sum.lines += index.lines;
        sum.words += index.words;
    }
    // The key holds the hashes of all inputs, so the table is found again exactly when none has changed.
    let key = inputs.build();
    let table: RecordBatch = match cache.get(&key)? {
        Some(table) => table,
        None => {
            let table = totals_table(&totals)?;
            cache.put_with(&key, &table, PutOptions::new().handler("parquet"))?;
            table
        }
    };
    let lines = table.column_by_name("lines").and_then(|c| c.as_any().downcast_ref::<UInt64Array>());
    Ok((computed, lines.map_or(0, |lines| lines.values().iter().sum())))
}

fn index_file(path: &Path) -> Result<FileIndex> {
    let bytes = fs_err::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(FileIndex {
        lines: text.lines().count() as u64,
        words: text.split_whitespace().count() as u64,
        blake3: blake3::hash(&bytes).to_hex().to_string(),
    })
}

fn totals_table(totals: &BTreeMap<String, (u64, FileIndex)>) -> Result<RecordBatch> {
    let number = |name| Field::new(name, DataType::UInt64, false);
    let extension = Field::new("extension", DataType::Utf8, false);
    let schema = Schema::new(vec![extension, number("files"), number("lines"), number("words")]);
    let column =
        |f: fn(&(u64, FileIndex)) -> u64| Arc::new(UInt64Array::from_iter_values(totals.values().map(f)));
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(StringArray::from_iter_values(totals.keys())),
            column(|t| t.0),
            column(|t| t.1.lines),
            column(|t| t.1.words),
        ],
    )?)
}

/// All files below a folder, without hidden ones and build output.
fn find_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') || name == "target" {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            find_files(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// The folder to index, by default this project's sources, and where the cache is to lie.
fn arguments() -> Result<(PathBuf, Option<PathBuf>)> {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut cache = None;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--cache" {
            cache = Some(PathBuf::from(arguments.next().ok_or("--cache needs a folder")?));
        } else {
            folder = fs_err::canonicalize(PathBuf::from(argument))?;
        }
    }
    Ok((folder, cache))
}
