//! A cache whose blobs lie on a network drive goes on while the drive is unmounted, and brings everything there after.
//!
//! `cargo run --example fallback [FOLDER]`
//!
//! It keeps the words of each page of a folder, this repository's `docs` unless another is named, and how often each
//! occurs. The drive is a folder here; to unmount it, the program moves it away.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{ConfigOptions, Fallback};

type Words = BTreeMap<String, u32>;

fn words(page: &Path) -> std::io::Result<Words> {
    let text = fs_err::read_to_string(page)?.to_lowercase();
    let mut words = Words::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *words.entry(word.to_owned()).or_default() += 1;
    }
    Ok(words)
}

/// The words of all pages, and how many pages had to be read for them.
fn index(cache: &Cache, pages: &[PathBuf]) -> Result<(Words, usize), Box<dyn std::error::Error>> {
    let (mut all, mut read) = (Words::new(), 0);
    for page in pages {
        let key = page.display().to_string();
        let found = match cache.get::<Words, _>(&key)? {
            Some(words) => words,
            None => {
                read += 1;
                let words = words(page)?;
                cache.put(&key, &words)?;
                words
            }
        };
        for (word, count) in found {
            *all.entry(word).or_default() += count;
        }
    }
    Ok((all, read))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let folder = std::env::args().nth(1).unwrap_or_else(|| docs.to_owned());
    let mut pages: Vec<PathBuf> = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    let (some, _) = pages.split_at(pages.len() / 2);

    let root = tempfile::tempdir()?;
    let (drive, unmounted) = (root.path().join("drive"), root.path().join("unmounted"));
    let builder = Cache::builder()
        .folder(root.path().join("cache"))
        .blobs_with("filesystem", ConfigOptions::new().with("path", drive.to_string_lossy().into_owned()))
        // Small values lie with their entries; here all are to be on the drive.
        .inline_limit(0);
    let cache = builder.clone().fallback(Fallback::new(root.path().join("spare"))).open_blocking()?;

    let (_, read) = index(&cache, some)?;
    println!("{} pages, {read} read", some.len());

    fs_err::rename(&drive, &unmounted)?;
    println!("the drive is unmounted");
    let (first, read) = index(&cache, &pages)?;
    println!("{} pages, {read} read", pages.len());
    let (again, read) = index(&cache, &pages)?;
    println!("{} pages, {read} read, the same words: {}", pages.len(), first == again);

    fs_err::rename(&unmounted, &drive)?;
    println!("the drive is back");
    // A program that has no fallback finds everything on the drive, as soon as it has been brought there.
    let other = builder.open_blocking()?;
    while other.stats()?.entries < pages.len() as u64 {
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(cache);
    println!("everything is on the drive");
    let (last, read) = index(&other, &pages)?;
    println!("{} pages, {read} read, the same words: {}", pages.len(), first == last);
    Ok(())
}
