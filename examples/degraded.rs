//! A program that goes on while its server is gone: lookups become misses, writes wait, and both are back to normal when
//! the server is.
//!
//! `cargo run --example degraded`. It counts the words of the guide's pages and keeps the counts in a cache on a server,
//! which here is one of the test kit's: it lies in memory, says that it is on another machine, and can be switched off.
//! `docs/failures.md` explains what is seen.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{
    CacheBuilder, Error, ErrorKind, Event, OnWriteError, PutOptions, Registry, RemoteCalls, StoredState,
};
use cacheness_testkit::chaos::{Chaos, ChaosMetadataFactory};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Chaos::new().remote();
    let cache = open(&server)?;
    let pages = pages()?;

    println!("-- the server answers");
    count_all(&cache, &pages)?;
    count_all(&cache, &pages)?;

    println!("-- the server is gone");
    server.fail_all(Some(Error::new(ErrorKind::Unavailable, "the connection was refused")));
    // What the program writes now waits, and is served from where it waits.
    count_all(&cache, &pages)?;
    count_all(&cache, &pages)?;
    let health = cache.health()?;
    println!("health: {}, {} writes wait", health.state, health.writes.queued);

    println!("-- the server is back");
    server.fail_all(None);
    while cache.health()?.writes.queued > 0 {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("health: {}", cache.health()?.state);
    count_all(&cache, &pages)?;
    cache.close()?;
    Ok(())
}

fn open(server: &Chaos) -> cacheness::Result<Cache> {
    let builtin = Registry::builtin();
    let memory = builtin.metadata_backend("memory")?.clone();
    let far = ChaosMetadataFactory::wrap_shared(memory, server.clone()).named("far");
    let calls = RemoteCalls::new()
        .attempts(2)
        .backoff(Duration::from_millis(20))
        .breaker_failures(3)
        .breaker_pause(Duration::from_millis(500));
    CacheBuilder::new(builtin.with_metadata_backend(far)?)
        .metadata("far")
        .remote(calls)
        .on_write_error(OnWriteError::Queue)
        .listener(|event| {
            if let Event::BackendState { backend, state, .. } = event {
                println!("event: {backend} is {state}");
            }
        })
        .open_blocking()
}

/// Counts the words of all pages, and says how.
fn count_all(cache: &Cache, pages: &[PathBuf]) -> Result<(), Box<dyn std::error::Error>> {
    let (mut words, mut hits, mut computed, mut queued) = (0, 0, 0, 0);
    for page in pages {
        let key = page.display().to_string();
        let counted = match cache.get(&key)? {
            Some(counted) => {
                hits += 1;
                counted
            }
            None => {
                computed += 1;
                let counted = count(page)?;
                let stored = cache.put_with(&key, &counted, PutOptions::file(page))?;
                queued += usize::from(stored.state == StoredState::Queued);
                counted
            }
        };
        words += counted;
    }
    println!("{words} words: {hits} hits, {computed} computed, {queued} queued");
    Ok(())
}

fn count(page: &Path) -> std::io::Result<u64> {
    Ok(fs_err::read_to_string(page)?.split_whitespace().count() as u64)
}

/// The pages of the guide.
fn pages() -> std::io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(pages)
}
