//! The key-value store over the files; `kv` makes the metadata backend of it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{Env, MetadataCapabilities, Result};

use super::snapshot::Rows;
use super::store::Store;
use crate::kv::{KvStore, WriteBatch};

/// The longest value, in bytes, that is stored with its entry. Every process keeps all of them in memory, and bytes
/// that are not text take up to three times as much in the file.
const INLINE_LIMIT: u64 = 2 << 10;

/// Rows in JSON files.
pub(super) struct JsonStore {
    store: Arc<Store>,
    env: Env,
}

impl JsonStore {
    pub(super) fn new(store: Store, env: Env) -> Self {
        Self { store: Arc::new(store), env }
    }

    /// Runs work that may wait for the disk or for other processes.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        self.env.unblock(move || work(&store)).await
    }
}

#[async_trait]
impl KvStore for JsonStore {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::persistent().with_inline_limit(INLINE_LIMIT)
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        // At once, on this thread, unless others have written.
        if let Some(found) = self.store.read_current(|rows| rows.get(key).cloned())? {
            return Ok(found);
        }
        self.blocking(Store::catch_up).await?;
        self.store.read_known(|rows| rows.get(key).cloned())
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        // Blobs are deleted because of what a scan returned, so what it returns may have to be on the disk.
        if !self.store.owes_sync()?
            && let Some(found) = self.store.read_current(|rows| scan(rows, &range, limit))?
        {
            return Ok(found);
        }
        self.blocking(Store::catch_up).await?;
        self.store.read_known(|rows| scan(rows, &range, limit))
    }

    async fn write(&self, batch: WriteBatch) -> Result<bool> {
        self.blocking(move |store| store.write(batch)).await
    }

    async fn close(&self) -> Result<()> {
        self.blocking(|store| {
            store.close();
            Ok(())
        })
        .await
    }
}

fn scan(rows: &Rows, range: &Range<Bytes>, limit: usize) -> Vec<(Bytes, Bytes)> {
    // A range that begins after its end would panic; callers give none.
    if range.start >= range.end {
        return Vec::new();
    }
    rows.range(range.clone()).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}
