//! Several machines, one list of work: each item is done once, by whichever worker gets its lease, and what a worker leaves
//! half done when it dies, another takes over.
//!
//! The work is to count the words of documents. Workers are processes that know nothing of each other; all that they share is
//! the cache: PostgreSQL for entries and leases, S3 for the values.
//!
//! `eval "$(scripts/services up postgres s3)" && cargo run --example distributed --features postgres,s3 -- docs/*.md`
//!
//! The file `examples/compose_from_config/postgres-s3.toml` says where the servers are, by variables.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{Changed, Error, PutOptions};
use serde::{Deserialize, Serialize};

/// How long a worker may be silent before its item is taken over.
const LEASE: Duration = Duration::from_secs(2);

/// What is known of a document.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    worker: String,
    words: BTreeMap<String, u64>,
}

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(word) if word == "--worker" => {
            let name = arguments.next().ok_or("a worker needs a name")?;
            let list = arguments.next().ok_or("a worker needs a list")?;
            worker(&name, &list, &arguments.collect::<Vec<_>>())
        }
        Some(first) => {
            let documents: Vec<String> = std::iter::once(first).chain(arguments).collect();
            all(&documents)
        }
        None => {
            println!("usage: distributed DOCUMENT...");
            Ok(())
        }
    }
}

/// One cache for all; `list` is a namespace, so that a second run begins anew.
fn open(list: &str) -> Result<Cache, Error> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/compose_from_config/postgres-s3.toml");
    Cache::from_config(config)?.namespace(list)
}

fn worker(name: &str, list: &str, documents: &[String]) -> Fallible<()> {
    let cache = open(list)?;
    loop {
        let mut left = false;
        for document in documents {
            if cache.contains(document)? {
                continue;
            }
            left = true;
            // Whoever has the lease works on it. Whoever comes later sees that it is done, or takes over what a worker left
            // that did not come back in time.
            let Some(lease) = cache.lease(document, LEASE)? else { continue };
            if !cache.contains(document)? {
                println!("{name} begins {document}");
                count(&cache, lease, name, document)?;
            }
        }
        if !left {
            return cache.close().map_err(Into::into);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn count(cache: &Cache, mut lease: cacheness::blocking::Lease, name: &str, document: &str) -> Fallible<()> {
    let text = fs_err::read_to_string(document)?;
    let mut words = BTreeMap::new();
    for line in text.lines() {
        for word in line.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()) {
            *words.entry(word.to_lowercase()).or_default() += 1;
        }
        // As if it were hard work: a few milliseconds for a line, and a sign of life in time.
        std::thread::sleep(Duration::from_millis(2));
        if lease.left() < LEASE / 2 && !lease.renew(LEASE)? {
            println!("{name} was too slow with {document}");
            return Ok(());
        }
    }
    // By now another may have taken it over, if this process was stopped for long.
    if lease.is_held() {
        let counted = Counted { worker: name.to_owned(), words };
        // Out of line, so that the values lie in S3.
        cache.put_with(document, &counted, PutOptions::new().inline(false))?;
        println!("{name} finishes {document}");
    }
    lease.release()?;
    Ok(())
}

/// Starts three workers, kills one in the middle of an item, and waits until everything is done.
fn all(documents: &[String]) -> Fallible<()> {
    let list = format!("words-{}", std::process::id());
    let cache = open(&list)?;
    let changes = cache.changes()?;
    let start = Instant::now();
    let mut first = spawn("worker-1", &list, documents, Stdio::piped())?;
    let mut others = Vec::new();
    for name in ["worker-2", "worker-3"] {
        others.push(spawn(name, &list, documents, Stdio::inherit())?);
    }

    // Its first item is left half done.
    let mut line = String::new();
    let said = first.stdout.take().ok_or("a worker says nothing")?;
    BufReader::new(said).read_line(&mut line)?;
    let abandoned = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    first.kill()?;
    first.wait()?;
    println!("worker-1 was killed while it worked on {abandoned}");

    // The feed says when an item is done, whoever has done it.
    let mut done = BTreeMap::<String, u64>::new();
    for changed in changes {
        for changed in changed? {
            match changed {
                Changed::Put { key, .. } => *done.entry(key).or_default() += 1,
                Changed::Missed => {
                    for document in documents {
                        if cache.contains(document)? {
                            done.entry(document.clone()).or_insert(1);
                        }
                    }
                }
                _ => {}
            }
        }
        if done.len() == documents.len() {
            break;
        }
    }
    for mut other in others {
        other.wait()?;
    }

    let mut by_worker = BTreeMap::<String, u64>::new();
    let mut words = BTreeMap::<String, u64>::new();
    for document in documents {
        let counted: Counted = cache.get(document)?.ok_or("an item was not done")?;
        println!("{document}: {} different words, counted by {}", counted.words.len(), counted.worker);
        *by_worker.entry(counted.worker).or_default() += 1;
        for (word, count) in counted.words {
            *words.entry(word).or_default() += count;
        }
    }
    let twice = done.values().filter(|&&times| times > 1).count();
    println!(
        "{} items in {:.1} s, {twice} done twice, by {by_worker:?}",
        documents.len(),
        start.elapsed().as_secs_f64()
    );
    let taken_over: Counted = cache.get(&abandoned)?.ok_or("the abandoned item was not done")?;
    println!("{abandoned} was taken over by {}", taken_over.worker);
    let most = words.iter().max_by_key(|&(_, count)| count);
    println!("the most frequent word: {most:?}");
    cache.drop_namespace(&list)?;
    cache.close()?;
    Ok(())
}

fn spawn(name: &str, list: &str, documents: &[String], output: Stdio) -> Fallible<Child> {
    let mut worker = Command::new(std::env::current_exe()?);
    Ok(worker.args(["--worker", name, list]).args(documents).stdout(output).spawn()?)
}
