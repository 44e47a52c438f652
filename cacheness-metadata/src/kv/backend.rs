//! The metadata backend over a key-value store: each method as one transaction, or as reads.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use cacheness_core::{
    AccessBatch, BlobId, CacheId, Change, Entry, Error, ErrorKind, Evictions, Limits, LimitsChange,
    ListQuery, MetadataBackend, MetadataCapabilities, Namespace, OpenContext, OpenMode, Outcome, Page,
    Purged, QuerySupport, Result, Stats, Timestamp,
};
use tokio::sync::Mutex;

use super::rows::{self, Head};
use super::writing::Writer;
use super::{KvStore, WriteBatch, layout, reading, sweeping};

/// A metadata backend over any [`KvStore`].
pub struct KvMetadata {
    cache: CacheId,
    pub(super) writer: Arc<Writer>,
}

impl KvMetadata {
    /// Opens the entries in a store, and begins with none where the store is empty. The [module](super) has an
    /// example.
    ///
    /// Several processes, and several backends of one process, may have one store open at once.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where the store is empty and nothing may be created;
    /// [`Unsupported`](ErrorKind::Unsupported) where a newer version wrote it; [`Corrupted`](ErrorKind::Corrupted)
    /// where it holds something else; the store's own error.
    pub async fn open(store: impl KvStore, context: &OpenContext) -> Result<Self> {
        let cache = match reading::head(&store).await? {
            Some(head) => head.cache,
            None if context.mode == OpenMode::Existing => {
                let message = "the store holds no cache, and it was opened in a way that creates none";
                return Err(Error::new(ErrorKind::NotFound, message));
            }
            None => {
                let cache = CacheId::random();
                let row = (layout::HEAD, Some(Head::new(cache).encode()));
                let batch = WriteBatch { conditions: vec![(layout::HEAD, None)], changes: vec![row] };
                if store.write(batch).await? {
                    cache
                } else {
                    // Another process has just opened it for the first time, too.
                    let head = reading::head(&store).await?;
                    head.ok_or_else(|| rows::damage("the head of the entries is gone"))?.cache
                }
            }
        };
        let writer = Writer {
            store: Box::new(store),
            accesses: context.accesses.clone(),
            policies: context.policies.clone(),
            env: context.env.clone(),
            turn: Mutex::new(()),
            closed: AtomicBool::new(false),
        };
        // Where a process died while it ranked entries anew. One that does not know the policy leaves it.
        let head = reading::head(writer.open_store()?).await?;
        if let Some(head) = head.filter(|head| head.ranking && writer.policies.get(head.policy()).is_ok()) {
            writer.rank_all(head.epoch).await?;
        }
        Ok(Self { cache, writer: Arc::new(writer) })
    }

    /// Makes a write, to its end also where the caller is not polled or gives it up.
    async fn write<T, F>(&self, work: impl FnOnce(Arc<Writer>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.writer.env.carry_out(work(self.writer.clone())).await
    }
}

#[async_trait]
impl MetadataBackend for KvMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        self.writer.store.capabilities().with_queries(QuerySupport::all())
    }

    fn cache_id(&self) -> CacheId {
        self.cache
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        reading::entry(self.writer.open_store()?, namespace, key).await
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let store = self.writer.open_store()?;
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            entries.push(reading::entry(store, namespace, key).await?);
        }
        Ok(entries)
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        self.write(|writer| async move { writer.apply(changes).await }).await
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        reading::list(self.writer.open_store()?, query).await
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        self.write(|writer| async move { writer.record_accesses(batch).await }).await
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        reading::stats(self.writer.open_store()?, namespace).await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        let namespace = namespace.cloned();
        self.write(|writer| async move { writer.reset_stats(namespace.as_ref()).await }).await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        reading::namespaces(self.writer.open_store()?).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let namespace = namespace.clone();
        self.write(|writer| async move { Ok(writer.clear_or_drop(&namespace, false).await?.unwrap_or(0)) })
            .await
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        let namespace = namespace.clone();
        self.write(|writer| async move { writer.clear_or_drop(&namespace, true).await }).await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        self.write(|writer| async move { writer.purge(now, limit).await }).await
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        reading::due_garbage(self.writer.open_store()?, now, limit).await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        let blobs = blobs.to_vec();
        self.write(|writer| async move { writer.forget_garbage(&blobs).await }).await
    }

    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        sweeping::unnamed(self.writer.open_store()?, blobs).await
    }

    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        let blobs = blobs.to_vec();
        self.write(|writer| async move { writer.condemn(&blobs, now).await }).await
    }

    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits> {
        let (namespace, change) = (namespace.cloned(), change.clone());
        self.write(|writer| async move { writer.change_limits(namespace.as_ref(), &change).await }).await
    }

    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions> {
        let namespace = namespace.cloned();
        self.write(|writer| async move { writer.evict(namespace.as_ref(), now, limit).await }).await
    }

    async fn close(&self) -> Result<()> {
        self.write(|writer| async move { writer.close().await }).await
    }
}
