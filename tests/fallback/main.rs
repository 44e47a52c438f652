//! Reads and writes go on while the backends are down, and what was done meanwhile is brought to them.

mod coming_back;
mod conditions;
mod meeting;
mod outage;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cacheness::blocking::Cache;
use cacheness::{
    CacheBuilder, ConfigOptions, Env, Error, ErrorKind, Fallback, ListOptions, MetadataBackend,
    MetadataFactory, OpenContext, OptionSpec, Registry, Result,
};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};

/// A cache whose backends can go down, and its fallback.
struct Two {
    registry: Registry,
    /// What happens to the first store.
    entries: Chaos,
    blobs: Chaos,
    /// True while the first store cannot be opened.
    away: Arc<AtomicBool>,
    /// The names of the second store's backends.
    second: [&'static str; 2],
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
}

const FILES: [&str; 2] = ["sqlite", "filesystem"];
const MEMORY: [&str; 2] = ["memory", "memory"];

impl Two {
    fn new() -> Self {
        Self::of(FILES, FILES)
    }

    fn of(first: [&str; 2], second: [&'static str; 2]) -> Self {
        let (entries, blobs) = (Chaos::new(), Chaos::new());
        let builtin = Registry::builtin();
        let metadata = builtin.metadata_backend(first[0]).unwrap().clone();
        let files = builtin.blob_backend(first[1]).unwrap().clone();
        let away = Arc::new(AtomicBool::new(false));
        let server = Server {
            inner: ChaosMetadataFactory::wrap_shared(metadata, entries.clone()),
            away: away.clone(),
        };
        let registry = builtin
            .with_metadata_backend(server)
            .unwrap()
            .with_blob_backend(ChaosBlobFactory::wrap_shared(files, blobs.clone()).named("first"))
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { registry, entries, blobs, away, second, folder, clock: TestClock::new() }
    }

    fn first(&self) -> PathBuf {
        self.folder.path().join("first")
    }

    fn spare(&self) -> PathBuf {
        self.folder.path().join("spare")
    }

    fn env(&self) -> Env {
        self.clock.env()
    }

    fn builder(&self) -> CacheBuilder {
        let fallback = Fallback::new(self.spare())
            .metadata_with(self.second[0], ConfigOptions::new())
            .blobs_with(self.second[1], ConfigOptions::new());
        CacheBuilder::new(self.registry.clone())
            .folder(self.first())
            .metadata("first")
            .blobs("first")
            .fallback(fallback)
            .env(self.env())
    }

    fn open(&self) -> Cache {
        self.builder().open_blocking().unwrap()
    }

    /// The first store as another machine has it.
    fn elsewhere(&self) -> Cache {
        Cache::builder().folder(self.first()).env(self.env()).open_blocking().unwrap()
    }

    fn down(&self) {
        let error = Error::new(ErrorKind::Unavailable, "the server is down");
        self.away.store(true, Ordering::SeqCst);
        self.entries.fail_all(Some(error.clone()));
        self.blobs.fail_all(Some(error));
        self.later();
    }

    fn up(&self) {
        self.later();
        self.away.store(false, Ordering::SeqCst);
        self.entries.fail_all(None);
        self.blobs.fail_all(None);
    }

    fn later(&self) {
        self.clock.advance(Duration::from_secs(1));
    }

    /// What the second store holds: its rows and notes, and its blobs.
    fn held(&self) -> (Vec<String>, usize) {
        let spare = Cache::builder().folder(self.spare()).env(self.env()).open_blocking().unwrap();
        let mut rows = Vec::new();
        for namespace in spare.namespaces().unwrap() {
            let listed = spare.namespace(namespace.as_str()).unwrap().list(ListOptions::new()).unwrap();
            rows.extend(listed.entries.iter().map(|entry| format!("{namespace}/{}", entry.entry.key)));
        }
        (rows, files(&self.spare().join("blobs")).len())
    }

    /// Waits until both have met: nothing is left in the second store.
    fn meet(&self) {
        until(|| self.held().0.is_empty());
        // Readers may be at the blobs for a while.
        self.clock.advance(Duration::from_secs(61));
        until(|| self.held() == (Vec::new(), 0));
    }

    /// Every entry of the first store has its blob, and every blob its entry.
    fn is_whole(&self) {
        self.clock.advance(Duration::from_secs(120));
        let cache = self.elsewhere();
        cache.purge().unwrap();
        self.clock.advance(Duration::from_secs(120));
        cache.purge().unwrap();
        let mut blobs = 0;
        for namespace in cache.namespaces().unwrap() {
            let cache = cache.namespace(namespace.as_str()).unwrap();
            for entry in cache.list(ListOptions::new()).unwrap().entries {
                blobs += usize::from(entry.entry.blob_id().is_some());
                let found = cache.get_raw(entry.entry.key.as_str()).unwrap();
                assert!(found.is_some(), "`{}` has lost its value", entry.entry.key);
            }
        }
        assert_eq!(files(&self.first().join("blobs")).len(), blobs, "blobs without an entry");
    }
}

/// Entries that cannot be opened while their server is away.
struct Server {
    inner: ChaosMetadataFactory,
    away: Arc<AtomicBool>,
}

#[async_trait]
impl MetadataFactory for Server {
    fn name(&self) -> &str {
        "first"
    }

    fn description(&self) -> &str {
        self.inner.description()
    }

    fn options(&self) -> &[OptionSpec] {
        self.inner.options()
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the server is down"));
        }
        self.inner.open(options, context).await
    }

    fn needs_runtime(&self) -> bool {
        self.inner.needs_runtime()
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The blobs in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs_err::read_dir(&at).into_iter().flatten().flatten() {
            let is_blob = entry.file_name().to_str().is_some_and(|name| name.len() == 32);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) if is_blob => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

fn large(seed: u8) -> Vec<u8> {
    (0..100_000).map(|i| (i / 11) as u8 ^ seed).collect()
}

fn get(cache: &Cache, key: &str) -> Option<Vec<u8>> {
    cache.get(key).unwrap()
}
