//! The backend `memory`: a sorted map under a lock.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{
    Blob, BlobBackend, BlobCapabilities, BlobId, BlobKey, BlobPage, BlobSource, CacheId, Env, Error,
    ErrorKind, Result,
};

/// Blobs in the memory of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryBlobs {
    blobs: Arc<RwLock<BTreeMap<BlobKey, Bytes>>>,
    closed: Arc<AtomicBool>,
    env: Env,
}

impl MemoryBlobs {
    /// An empty store. Staged files are read through `env`.
    #[must_use]
    pub fn new(env: Env) -> Self {
        Self { blobs: Arc::default(), closed: Arc::default(), env }
    }

    /// No call panics while it holds the lock, so a map behind a poisoned lock is whole.
    fn read(&self) -> Result<RwLockReadGuard<'_, BTreeMap<BlobKey, Bytes>>> {
        self.check_open()?;
        Ok(self.blobs.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, BTreeMap<BlobKey, Bytes>>> {
        self.check_open()?;
        Ok(self.blobs.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Closed, "the blob backend `memory` has been closed")),
        }
    }
}

#[async_trait]
impl BlobBackend for MemoryBlobs {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities::memory()
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let bytes = match source {
            BlobSource::Bytes(bytes) => bytes,
            source => self.env.unblock(move || source.into_bytes()).await?,
        };
        self.write()?.insert(*key, bytes);
        Ok(())
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        Ok(self.read()?.get(key).cloned().map(Blob::Bytes))
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let Some(blob) = self.read()?.get(key).cloned() else { return Ok(None) };
        let within = |at: u64| usize::try_from(at).map_or(blob.len(), |at| at.min(blob.len()));
        let (start, end) = (within(range.start), within(range.end));
        Ok(Some(blob.slice(start..end.max(start))))
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        let removed = self.write()?.remove(key);
        Ok(removed.is_some())
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        Ok(self.read()?.contains_key(key))
    }

    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        let first = BlobKey { cache, blob: BlobId::from_bytes([0; 16]) };
        let last = BlobKey { cache, blob: BlobId::from_bytes([0xff; 16]) };
        let start =
            match after.map(|after| BlobId::parse(after).ok_or_else(|| bad_cursor(after))).transpose()? {
                Some(blob) => Bound::Excluded(BlobKey { cache, blob }),
                None => Bound::Included(first),
            };
        // A range that begins after its end would panic, and this one does where the cursor is the last id.
        if start == Bound::Excluded(last) {
            return Ok(BlobPage::default());
        }
        let limit = limit.max(1);
        let blobs = self.read()?;
        let mut ids = blobs.range((start, Bound::Included(last))).map(|(key, _)| key.blob);
        let page: Vec<BlobId> = ids.by_ref().take(limit).collect();
        let next = if ids.next().is_some() { page.last().map(ToString::to_string) } else { None };
        Ok(BlobPage::new(page, next))
    }

    fn staging_dir(&self) -> Option<&Path> {
        None
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

fn bad_cursor(after: &str) -> Error {
    let message = format!("`{after}` is no place in a listing of blobs; pass the `next` of the page before");
    Error::new(ErrorKind::InvalidInput, message)
}
