//! The blob backend under test, with what it needs to be opened, and samples of blobs.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cacheness_core::{
    Blob, BlobBackend, BlobFactory, BlobId, BlobKey, BlobSource, CacheId, ConfigOptions, Env, OpenContext,
    StagedFile,
};

use crate::clock::TestClock;

/// A blob backend that can be opened again and again on the same folder.
///
/// ```no_run
/// # fn factory() -> std::sync::Arc<dyn cacheness_core::BlobFactory> { unreachable!() }
/// # async fn case() {
/// use cacheness_core::ConfigOptions;
/// use cacheness_testkit::blob::BlobSubject;
///
/// let subject = BlobSubject::shared(factory(), ConfigOptions::new());
/// let store = subject.open().await;
/// let key = subject.key();
/// store.put_bytes(&key, b"value").await;
/// assert_eq!(store.bytes(&key).await.as_deref(), Some(&b"value"[..]));
/// # }
/// ```
pub struct BlobSubject {
    factory: Arc<dyn BlobFactory>,
    options: ConfigOptions,
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    env: Env,
    cache: CacheId,
}

impl BlobSubject {
    /// A subject that is opened by `factory` with `options`.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    #[must_use]
    pub fn new(factory: impl BlobFactory, options: ConfigOptions) -> Self {
        Self::shared(Arc::new(factory), options)
    }

    /// As [`new`](Self::new), for a factory that is shared.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    #[must_use]
    pub fn shared(factory: Arc<dyn BlobFactory>, options: ConfigOptions) -> Self {
        let clock = TestClock::new();
        Self {
            factory,
            options,
            folder: tempfile::tempdir().expect("a temporary folder for the test cannot be made"),
            env: clock.env(),
            clock,
            cache: CacheId::random(),
        }
    }

    /// Opens the backend, on the same folder each time.
    ///
    /// # Panics
    /// Where the factory returns an error.
    pub async fn open(&self) -> BlobStore {
        self.options.check(self.factory.name(), self.factory.options()).unwrap_or_else(|error| {
            panic!("the factory does not take the options that the suite was given: {error}")
        });
        let context = OpenContext::new(self.env.clone()).with_folder(self.folder.path());
        let backend = self.factory.open(&self.options, &context).await;
        BlobStore(backend.unwrap_or_else(|error| panic!("opening `{}` failed: {error}", self.factory.name())))
    }

    /// Closes the store, and opens the backend anew.
    ///
    /// # Panics
    /// Where one of them fails.
    pub async fn reopen(&self, store: BlobStore) -> BlobStore {
        store.close().await.unwrap_or_else(|error| panic!("close failed: {error}"));
        drop(store);
        self.open().await
    }

    /// The clock by which the backend tells the time.
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// The folder that the backend keeps its files in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The cache that the sample blobs belong to.
    #[must_use]
    pub fn cache(&self) -> CacheId {
        self.cache
    }

    /// A fresh key of this subject's cache.
    #[must_use]
    pub fn key(&self) -> BlobKey {
        self.key_of(self.cache)
    }

    /// A fresh key of another cache.
    #[must_use]
    pub fn key_of(&self, cache: CacheId) -> BlobKey {
        BlobKey { cache, blob: BlobId::new(self.env.now()) }
    }

    /// Bytes in which every offset differs from its neighbours, the same for the same `seed`.
    #[must_use]
    pub fn bytes(&self, len: usize, seed: u64) -> Bytes {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(len);
        bytes.into()
    }

    /// Bytes in a file, staged where the backend wants it.
    ///
    /// # Panics
    /// Where the file cannot be written.
    #[must_use]
    pub fn staged(&self, store: &BlobStore, bytes: &[u8]) -> StagedFile {
        let made = match store.staging_dir() {
            Some(folder) => tempfile::NamedTempFile::new_in(folder),
            None => tempfile::NamedTempFile::new(),
        };
        let mut file =
            made.unwrap_or_else(|error| panic!("staging_dir must be a folder to write in: {error}"));
        file.write_all(bytes).unwrap_or_else(|error| panic!("a staged file cannot be written: {error}"));
        StagedFile::new(file, bytes.len() as u64)
    }
}

/// A blob backend that was opened. All methods of [`BlobBackend`] are there; those added here panic with the error
/// where a call fails.
#[derive(Clone)]
pub struct BlobStore(Arc<dyn BlobBackend>);

impl Deref for BlobStore {
    type Target = dyn BlobBackend;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl BlobStore {
    /// Takes a backend.
    #[must_use]
    pub fn new(backend: Arc<dyn BlobBackend>) -> Self {
        Self(backend)
    }

    /// Puts bytes from memory.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn put_bytes(&self, key: &BlobKey, bytes: &[u8]) {
        self.store(key, BlobSource::Bytes(Bytes::copy_from_slice(bytes))).await;
    }

    /// Puts a blob.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn store(&self, key: &BlobKey, source: BlobSource) {
        self.put(key, source).await.unwrap_or_else(|error| panic!("put failed: {error}"));
    }

    /// Opens a blob.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn open_blob(&self, key: &BlobKey) -> Option<Blob> {
        self.get(key).await.unwrap_or_else(|error| panic!("get failed: {error}"))
    }

    /// All bytes of a blob.
    ///
    /// # Panics
    /// Where the call fails, or the blob's file cannot be read or has another length than it states.
    pub async fn bytes(&self, key: &BlobKey) -> Option<Vec<u8>> {
        self.open_blob(key).await.map(read)
    }

    /// The bytes in a range of a blob.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn range(&self, key: &BlobKey, range: Range<u64>) -> Option<Bytes> {
        self.get_range(key, range).await.unwrap_or_else(|error| panic!("get_range failed: {error}"))
    }

    /// Deletes a blob.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn remove(&self, key: &BlobKey) -> bool {
        self.delete(key).await.unwrap_or_else(|error| panic!("delete failed: {error}"))
    }

    /// True where a blob is there.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn has(&self, key: &BlobKey) -> bool {
        self.exists(key).await.unwrap_or_else(|error| panic!("exists failed: {error}"))
    }

    /// All blobs of a cache, from pages of this length.
    ///
    /// # Panics
    /// Where a call fails, a page is over its limit, a blob is listed twice, or the pages do not end.
    pub async fn list(&self, cache: CacheId, limit: usize) -> BTreeSet<BlobId> {
        let mut blobs = BTreeSet::new();
        let mut after: Option<String> = None;
        for _ in 0..100_000 {
            let page = self
                .list_keys(cache, after.as_deref(), limit)
                .await
                .unwrap_or_else(|error| panic!("list_keys failed: {error}"));
            assert!(page.blobs.len() <= limit, "a page has at most as many blobs as its limit");
            for blob in page.blobs {
                assert!(blobs.insert(blob), "list_keys lists each blob once; {blob} came twice");
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return blobs,
            }
        }
        panic!("list_keys went on for 100,000 pages: the last page's `next` must be None");
    }
}

/// All bytes of an open blob.
///
/// # Panics
/// Where its file cannot be read or has another length than it states.
#[must_use]
pub fn read(blob: Blob) -> Vec<u8> {
    match blob {
        Blob::Bytes(bytes) => bytes.to_vec(),
        Blob::File(mut file, len) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)
                .unwrap_or_else(|error| panic!("a blob's open file cannot be read: {error}"));
            assert_eq!(bytes.len() as u64, len, "Blob::File states the length of its file");
            bytes
        }
        blob => panic!("the suite cannot read {blob:?}"),
    }
}
