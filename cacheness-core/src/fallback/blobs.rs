//! Both stores as one blob backend.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::Shared;
use crate::blob::{Blob, BlobBackend, BlobCapabilities, BlobPage, BlobSource};
use crate::error::Result;
use crate::names::{BlobId, BlobKey, CacheId};

/// The blobs of both pairs.
pub(super) struct FallbackBlobs(pub(super) Arc<Shared>);

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl BlobBackend for FallbackBlobs {
    fn capabilities(&self) -> BlobCapabilities {
        let second = self.0.second.blobs.capabilities();
        let mut capabilities =
            self.0.first.get().map_or_else(BlobCapabilities::remote, |first| first.blobs.capabilities());
        capabilities.local &= second.local;
        capabilities.needs_runtime |= second.needs_runtime || self.0.opener.needs_runtime();
        capabilities
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let Some(first) = self.0.first_for_writes() else {
            return self.0.put_to_second(key.blob, source).await;
        };
        // The first store keeps or loses what it is given.
        let spare = source.share()?;
        if self.0.answered(first.blobs.put(&first.key(key.blob), source).await)?.is_some() {
            return Ok(());
        }
        self.0.put_to_second(key.blob, spare).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        let here = self.0.second.blobs.get(&self.0.second.key(key.blob)).await;
        if let Ok(Some(_)) = here {
            return here;
        }
        let first = self.0.needed()?;
        first_or(first.blobs.get(&first.key(key.blob)).await, here)
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let here = self.0.second.blobs.get_range(&self.0.second.key(key.blob), range.clone()).await;
        if let Ok(Some(_)) = here {
            return here;
        }
        let first = self.0.needed()?;
        first_or(first.blobs.get_range(&first.key(key.blob), range).await, here)
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        if self.0.fresh().remove(&key.blob) {
            return self.0.second.blobs.delete(&self.0.second.key(key.blob)).await;
        }
        let first = self.0.needed()?;
        first.blobs.delete(&first.key(key.blob)).await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<()> {
        let (here, there): (Vec<BlobId>, Vec<BlobId>) = {
            let mut fresh = self.0.fresh();
            keys.iter().map(|key| key.blob).partition(|blob| fresh.remove(blob))
        };
        if !here.is_empty() {
            let second = &self.0.second;
            let keys: Vec<BlobKey> = here.into_iter().map(|blob| second.key(blob)).collect();
            second.blobs.delete_many(&keys).await?;
        }
        if there.is_empty() {
            return Ok(());
        }
        let first = self.0.needed()?;
        let keys: Vec<BlobKey> = there.into_iter().map(|blob| first.key(blob)).collect();
        first.blobs.delete_many(&keys).await
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        if self.0.second.blobs.exists(&self.0.second.key(key.blob)).await? {
            return Ok(true);
        }
        let first = self.0.needed()?;
        first.blobs.exists(&first.key(key.blob)).await
    }

    async fn list_keys(&self, _: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        // Those of the second store are on their way to the first, or to be deleted: nobody but the fallback looks
        // after them.
        let first = self.0.needed()?;
        first.blobs.list_keys(first.id(), after, limit).await
    }

    async fn knows(&self, _: CacheId) -> Result<bool> {
        let first = self.0.needed()?;
        first.blobs.knows(first.id()).await
    }

    async fn introduce(&self, _: CacheId) -> Result<()> {
        // Each pair was, when it was opened.
        Ok(())
    }

    fn staging_dir(&self) -> Option<&Path> {
        self.0.first.get().unwrap_or(&self.0.second).blobs.staging_dir()
    }

    async fn ping(&self) -> Result<()> {
        self.0.needed()?.blobs.ping().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close_driver();
        let first = match self.0.first.get() {
            Some(first) => first.blobs.close().await,
            None => Ok(()),
        };
        first.and(self.0.second.blobs.close().await)
    }
}

/// What the first store has, where the second has not: nothing is missing before both have said so.
fn first_or<T>(there: Result<Option<T>>, here: Result<Option<T>>) -> Result<Option<T>> {
    match there? {
        Some(found) => Ok(Some(found)),
        None => here,
    }
}

impl Shared {
    async fn put_to_second(&self, blob: BlobId, source: BlobSource) -> Result<()> {
        self.second.blobs.put(&self.second.key(blob), source).await?;
        self.fresh().insert(blob);
        Ok(())
    }
}
