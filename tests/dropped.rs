//! Calls that are given up half-way: those of the async face that read, write or clean up, polled once, twice and so on before it is dropped, leaves a cache in which
//! each value is whole, the counts fit, and nothing is left behind for good. And a runtime that ends in the middle of writes.

mod marked;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use cacheness::{Cache, CacheBuilder, Env, Limits, ListOptions, PutOptions, Register, Registry};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};
use tempfile::TempDir;

/// A future that is polled so many times at the most. `None` where it had not ended by then.
struct UpTo<F> {
    inner: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for UpTo<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.left -= 1;
        match self.inner.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A registry in which every call of a backend waits a moment, so that there are many places to stop at.
fn slow(metadata: &str) -> Registry {
    let mut registry = Registry::builtin();
    let chaos = || Chaos::new().slow(Duration::from_micros(200));
    let inner = registry.metadata_backend(metadata).unwrap().clone();
    let inner = ChaosMetadataFactory::wrap_shared(inner, chaos());
    registry.register_metadata_backend(inner, Register::new().named(metadata).replace()).unwrap();
    let inner = registry.blob_backend("filesystem").unwrap().clone();
    let inner = ChaosBlobFactory::wrap_shared(inner, chaos());
    registry.register_blob_backend(inner, Register::new().named("filesystem").replace()).unwrap();
    registry
}

async fn open(registry: Registry, metadata: &str, folder: &Path) -> Cache {
    CacheBuilder::new(registry).folder(folder).metadata(metadata).open().await.unwrap()
}

fn as_blob() -> PutOptions {
    PutOptions::new().inline(false).tag("tagged")
}

/// What is there before each call: a value in the index, one in a blob, and another namespace.
async fn prepare(cache: &Cache, serial: u64) {
    cache.put("inline", &marked::value(1, serial, 100)).await.unwrap();
    cache.put_with("blob", &marked::value(1, serial, 5_000), as_blob()).await.unwrap();
    let other = cache.namespace("other").unwrap();
    other.put_with("theirs", &marked::value(2, serial, 5_000), as_blob()).await.unwrap();
}

const CALLS: usize = 22;

/// Begins one of the calls, and drops it after so many polls. True where it ended before.
async fn call(cache: &Cache, which: usize, serial: u64, polls: usize) -> bool {
    async fn polled<F: Future>(polls: usize, call: F) -> bool
    where
        F::Output: Fine,
    {
        let done = UpTo { inner: Box::pin(call), left: polls }.await;
        done.as_ref().inspect(|done| done.is_fine()).is_some()
    }
    let (short, long) = (marked::value(3, serial, 200), marked::value(3, serial, 6_000));
    let huge = marked::value(3, serial, 1_200_000);
    let several = [("blob", &long), ("more", &short)];
    let all = ListOptions::new();
    match which {
        0 => polled(polls, cache.put("inline", &short)).await,
        1 => polled(polls, cache.put_with("blob", &long, as_blob())).await,
        2 => polled(polls, cache.put_with("blob", &huge, as_blob())).await,
        3 => polled(polls, cache.put_many(several, as_blob())).await,
        4 => polled(polls, cache.get::<Vec<u8>, _>("inline")).await,
        5 => polled(polls, cache.get::<Vec<u8>, _>("blob")).await,
        6 => polled(polls, cache.get_many::<Vec<u8>, _>(&["inline", "blob"])).await,
        7 => polled(polls, cache.remove("blob")).await,
        8 => polled(polls, cache.remove_many(&["inline", "blob"])).await,
        9 => polled(polls, cache.touch("blob")).await,
        10 => polled(polls, cache.list(all)).await,
        11 => polled(polls, cache.remove_matching(all.tag("tagged"))).await,
        12 => polled(polls, cache.clear()).await,
        13 => polled(polls, cache.purge()).await,
        14 => polled(polls, cache.stats()).await,
        15 => polled(polls, cache.sweep(Duration::from_secs(24 * 60 * 60))).await,
        16 => polled(polls, cache.drop_namespace("other")).await,
        17 => polled(polls, cache.set_limits(Limits::unbounded().max_entries(2))).await,
        18 => polled(polls, cache.total_stats()).await,
        19 => polled(polls, cache.put_shared("blob", std::sync::Arc::new(long), as_blob())).await,
        20 => polled(polls, cache.count_matching(all)).await,
        _ => polled(polls, cache.get_raw("blob")).await,
    }
}

/// An outcome that is no error.
trait Fine {
    fn is_fine(&self);
}

impl<T> Fine for cacheness::Result<T> {
    fn is_fine(&self) {
        if let Err(error) = self {
            panic!("{error}");
        }
    }
}

async fn is_consistent(cache: &Cache, what: &str) {
    let page = cache.list(ListOptions::new()).await.unwrap();
    for entry in &page.entries {
        // What was given up may still be carried out, so an entry may go between the two.
        if let Some(value) = cache.get::<Vec<u8>, _>(&entry.key).await.unwrap() {
            marked::marks(&value);
        }
    }
    assert_eq!(cache.stats().await.unwrap().counters.errors, 0, "{what}");
}

fn blobs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(blobs(&path));
        } else if path.file_name().is_some_and(|name| name != "cacheness-blobs") {
            found.push(path);
        }
    }
    found
}

/// What the index says fits what is there, and days later nothing else is left.
async fn is_whole(metadata: &str, folder: &Path) {
    let clock = TestClock::new();
    clock.set(Env::new().now() + Duration::from_secs(2 * 24 * 60 * 60));
    let builder = CacheBuilder::new(Registry::builtin()).folder(folder).metadata(metadata).env(clock.env());
    let cache = builder.open().await.unwrap();
    cache.purge().await.unwrap();
    cache.sweep(Duration::from_secs(24 * 60 * 60)).await.unwrap();
    let mut named = 0;
    for namespace in cache.namespaces().await.unwrap() {
        let cache = cache.namespace(&namespace).unwrap();
        let page = cache.list(ListOptions::new()).await.unwrap();
        let bytes: u64 = page.entries.iter().map(|entry| entry.stored_size).sum();
        let stats = cache.stats().await.unwrap();
        assert_eq!(
            (stats.entries, stats.stored_bytes),
            (page.entries.len() as u64, bytes),
            "{metadata} {namespace}"
        );
        for entry in &page.entries {
            marked::marks(
                &cache.get::<Vec<u8>, _>(&entry.key).await.unwrap().expect("an entry has its value"),
            );
            named += usize::from(entry.blob_id().is_some());
        }
    }
    assert_eq!(cache.total_stats().await.unwrap().garbage_bytes, 0, "{metadata}");
    assert_eq!(blobs(&folder.join("blobs")).len(), named, "{metadata}: orphans");
}

async fn calls_may_be_dropped(metadata: &str, registry: Registry, at_least: usize) {
    let folder = TempDir::new().unwrap();
    let cache = open(registry, metadata, folder.path()).await;
    let (mut serial, mut dropped) = (0, 0);
    for which in 0..CALLS {
        for polls in 1.. {
            serial += 1;
            prepare(&cache, serial).await;
            let ended = call(&cache, which, serial, polls).await;
            is_consistent(&cache, &format!("{metadata}: call {which} after {polls} polls")).await;
            if which == 17 {
                cache.set_limits(Limits::unbounded()).await.unwrap();
            }
            if ended {
                break;
            }
            dropped += 1;
            assert!(polls < 200, "call {which} does not end");
        }
    }
    assert!(dropped >= at_least, "{dropped} calls were dropped half-way");
    cache.close().await.unwrap();
    is_whole(metadata, folder.path()).await;
}

#[tokio::test]
async fn calls_that_are_dropped_half_way_leave_a_whole_cache_on_sqlite() {
    calls_may_be_dropped("sqlite", Registry::builtin(), CALLS / 2).await;
}

#[tokio::test]
async fn calls_that_are_dropped_half_way_leave_a_whole_cache_on_json() {
    calls_may_be_dropped("json", Registry::builtin(), CALLS / 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_slow_backends_that_are_dropped_half_way_leave_a_whole_cache() {
    calls_may_be_dropped("sqlite", slow("sqlite"), CALLS).await;
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_writes_loses_only_those() {
    let folder = TempDir::new().unwrap();
    let mut confirmed = std::collections::BTreeMap::new();
    for round in 0..12_u64 {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let path = folder.path().to_owned();
        runtime.spawn(async move {
            let cache = open(Registry::builtin(), "sqlite", &path).await;
            for writer in 0..4_u64 {
                let (cache, tell) = (cache.clone(), tell.clone());
                tokio::spawn(async move {
                    for serial in round * 1_000.. {
                        let value = marked::value(writer, serial, if serial % 3 == 0 { 50_000 } else { 200 });
                        let key = format!("k{writer}-{}", serial % 5);
                        // Of a runtime that has ended, work cannot be had any more.
                        if cache.put_with(&key, &value, as_blob()).await.is_err() {
                            break;
                        }
                        let _ = tell.send((key, serial));
                    }
                });
            }
            std::future::pending::<()>().await;
        });
        // Once there are some, at another moment each time.
        for _ in 0..20 {
            confirmed.extend(told.recv());
        }
        std::thread::sleep(Duration::from_micros(round * 700));
        runtime.shutdown_background();
        confirmed.extend(told.iter());
    }
    let cache = cacheness::blocking::Cache::open(folder.path()).unwrap();
    let errors = cache.stats().unwrap().counters.errors;
    for (key, serial) in confirmed {
        let value: Vec<u8> = cache.get(&key).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
        assert!(marked::marks(&value).1 >= serial, "{key} is older than what was confirmed");
    }
    assert_eq!(cache.stats().unwrap().counters.errors, errors, "nothing was damaged");
    cache.close().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(is_whole("sqlite", folder.path()));
}
