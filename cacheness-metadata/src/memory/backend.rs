//! The store behind the backend `memory`: a sorted map under a lock. Everything else comes from `kv`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{MetadataCapabilities, Result};

use crate::kv::{KvStore, WriteBatch};

/// Rows in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(RwLock<BTreeMap<Bytes, Bytes>>);

impl MemoryStore {
    /// No call panics while it holds the lock, so a map behind a poisoned lock is whole.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Bytes, Bytes>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KvStore for MemoryStore {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::volatile()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.read().get(key).cloned())
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        let rows = self.read();
        // A range that begins after its end would panic; callers give none.
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        Ok(rows.range(range).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn write(&self, batch: WriteBatch) -> Result<bool> {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
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
