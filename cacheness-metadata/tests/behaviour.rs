//! The behaviour suite of the test kit, on each metadata backend, and on a key-value store as a stranger writes one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{
    ConfigOptions, MetadataBackend, MetadataCapabilities, MetadataFactory, OpenContext, OptionSpec, Result,
};
use cacheness_metadata::kv::{KvMetadata, KvStore, WriteBatch};
use cacheness_metadata::memory::MemoryMetadataFactory;

// shows: rows 47, 51, 68
cacheness_testkit::metadata_suite!(memory, MemoryMetadataFactory::new(), ConfigOptions::new());
cacheness_testkit::metadata_suite!(kv, SharedRowsFactory::default(), ConfigOptions::new());

/// Rows that outlive the backends that are opened on them, as a file's do.
#[derive(Clone, Default)]
struct SharedRows(Arc<Mutex<BTreeMap<Bytes, Bytes>>>);

impl SharedRows {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Bytes, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KvStore for SharedRows {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::persistent().with_shared()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.lock().get(key).cloned())
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        Ok(self.lock().range(range).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn write(&self, batch: WriteBatch) -> Result<bool> {
        assert!(batch.changes.is_sorted_by(|a, b| a.0 < b.0), "each key once, in order");
        assert!(batch.changes.iter().all(|(key, _)| (1..=66_000).contains(&key.len())));
        let mut rows = self.lock();
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

#[derive(Default)]
struct SharedRowsFactory(SharedRows);

#[async_trait]
impl MetadataFactory for SharedRowsFactory {
    fn name(&self) -> &str {
        "rows"
    }

    fn description(&self) -> &str {
        "Rows that are kept as long as the factory."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, _: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        Ok(Arc::new(KvMetadata::open(self.0.clone(), context).await?))
    }
}
