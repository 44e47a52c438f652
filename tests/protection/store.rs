//! A cache whose rows and files a test can change as it likes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::metadata::kv::{KvMetadata, KvStore, WriteBatch};
use cacheness::*;
use cacheness_testkit::TestClock;

/// Rows, sorted.
pub(crate) type Rows = BTreeMap<Bytes, Bytes>;

/// Where the cache lies.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) rows: Arc<Mutex<Rows>>,
    opened: Arc<Mutex<Option<Arc<dyn MetadataBackend>>>>,
    pub(crate) folder: Arc<tempfile::TempDir>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) heard: Arc<Mutex<Vec<Event>>>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            rows: Arc::default(),
            opened: Arc::default(),
            folder: Arc::new(tempfile::tempdir().unwrap()),
            clock: TestClock::new(),
            heard: Arc::default(),
        }
    }

    /// A cache over the store, with blobs in files.
    pub(crate) fn builder(&self) -> CacheBuilder {
        self.builder_with(Registry::builtin())
    }

    /// The same with another registry.
    pub(crate) fn builder_with(&self, registry: Registry) -> CacheBuilder {
        let heard = self.heard.clone();
        CacheBuilder::new(registry.with_metadata_backend(self.clone()).unwrap())
            .folder(self.folder.path())
            .metadata("rows")
            .blobs("filesystem")
            .env(self.clock.env())
            .listener(move |event| heard.lock().unwrap().push(event.clone()))
    }

    /// The metadata backend of the cache that was opened last.
    fn metadata(&self) -> Arc<dyn MetadataBackend> {
        self.opened.lock().unwrap().clone().unwrap()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// What is stored under a key, as anybody reads it.
    pub(crate) fn entry(&self, namespace: &str, key: &str) -> Option<Entry> {
        let namespace = Namespace::new(namespace).unwrap();
        Self::run(self.metadata().get_entry(&namespace, key)).unwrap()
    }

    /// Stores an entry past the cache.
    pub(crate) fn forge(&self, entry: Entry) {
        let now = entry.created_at;
        let change = Change::Put { entry: Box::new(entry), condition: Condition::Always, now };
        Self::run(self.metadata().apply(vec![change])).unwrap();
    }

    /// Touches an entry past the cache.
    pub(crate) fn touch(&self, key: &str, expires_at: Option<Timestamp>) {
        let change = Change::Touch {
            namespace: Namespace::default(),
            key: key.to_owned(),
            condition: Condition::Always,
            expiry: Expiry::Set(expires_at),
            now: Timestamp::from_nanos(0),
        };
        Self::run(self.metadata().apply(vec![change])).unwrap();
    }

    /// The files of all blobs.
    pub(crate) fn blobs(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join("blobs")];
        while let Some(folder) = folders.pop() {
            for item in fs_err::read_dir(folder).unwrap() {
                let path = item.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name.len() == 32) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// Copies a blob, whole with its trailer, to where one with a fresh id lies.
    pub(crate) fn copy_blob(&self, blob: BlobId) -> BlobId {
        let from = self.blobs().into_iter().find(|path| path.ends_with(blob.to_string())).unwrap();
        let copy = BlobId::new(self.clock.env().now());
        let name = copy.to_string();
        let of_cache = from.ancestors().nth(3).unwrap();
        let to = of_cache.join(&name[28..30]).join(&name[30..]).join(&name);
        fs_err::create_dir_all(to.parent().unwrap()).unwrap();
        fs_err::copy(from, to).unwrap();
        copy
    }

    /// Everything that is stored, in rows and files.
    pub(crate) fn everything(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> =
            self.rows.lock().unwrap().iter().map(|(key, row)| [&key[..], &row[..]].concat()).collect();
        all.extend(self.blobs().iter().map(|path| fs_err::read(path).unwrap()));
        all
    }
}

/// True where `text` stands in any of these.
pub(crate) fn shows(everything: &[Vec<u8>], text: &str) -> bool {
    everything.iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[async_trait]
impl MetadataFactory for Store {
    fn name(&self) -> &str {
        "rows"
    }

    fn description(&self) -> &str {
        "Rows that a test has its hands on."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, _: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let opened: Arc<dyn MetadataBackend> =
            Arc::new(KvMetadata::open(Shared(self.rows.clone()), context).await?);
        *self.opened.lock().unwrap() = Some(opened.clone());
        Ok(opened)
    }
}

struct Shared(Arc<Mutex<Rows>>);

#[async_trait]
impl KvStore for Shared {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::persistent()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let rows = self.0.lock().unwrap();
        Ok(rows.range(range).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn write(&self, batch: WriteBatch) -> Result<bool> {
        let mut rows = self.0.lock().unwrap();
        if batch.conditions.iter().any(|(key, value)| rows.get(key) != value.as_ref()) {
            return Ok(false);
        }
        for (key, value) in batch.changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(true)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
