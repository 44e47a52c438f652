//! The metadata backend: each method of the trait as one statement, or as several that are each short.

use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{
    AccessBatch, BlobId, CacheId, Change, ChangeFeeds, Entry, Evictions, GARBAGE_DELAY, Leases, Limits,
    LimitsChange, ListQuery, MetadataBackend, MetadataCapabilities, Namespace, Outcome, Page, Purged,
    QuerySupport, Result, Stats, Timestamp,
};

use super::deadline::Deadline;
use super::eviction::Crowded;
use super::failure::{Failure, takes_no_writes};
use super::statements::Sql;
use super::store::{Store, params};

/// Entries in a PostgreSQL database.
pub(super) struct PostgresMetadata {
    pub(super) store: Arc<Store>,
}

impl PostgresMetadata {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Makes one call on the cache's own runtime, to its end.
    pub(super) async fn call<T, F>(&self, work: impl FnOnce(Arc<Store>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        T: Send + 'static,
    {
        let work = work(self.store.clone());
        let done = self.store.env.on_io(async move { work.await.map_err(Failure::told) }).await;
        done.map_err(|error| error.with_context("backend", "postgres"))
    }
}

#[async_trait]
impl MetadataBackend for PostgresMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::persistent().with_queries(QuerySupport::all()).with_shared()
    }

    fn cache_id(&self) -> CacheId {
        self.store.cache
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        let (namespace, keys) = (namespace.clone(), vec![key.to_owned()]);
        let found = self.call(|store| async move { store.entries(namespace, keys).await }).await?;
        Ok(found.into_iter().next().flatten())
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let (namespace, keys) = (namespace.clone(), keys.iter().map(|&key| key.to_owned()).collect());
        self.call(|store| async move { store.entries(namespace, keys).await }).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        let deadline = self.store.deadline();
        self.call(|store| async move {
            let (outcomes, followed) = store.apply(changes, deadline).await?;
            store.changed(followed);
            Ok(outcomes)
        })
        .await
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        // There is an index by key alone: each further one would make every put slower.
        let by_key = |query: ListQuery| self.call(|store| async move { store.list_by_key(&query).await });
        if query.is_in_key_order() { by_key(query.clone()).await } else { query.in_order(by_key).await }
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        self.call(|store| async move { store.record(batch).await }).await
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        let namespace = namespace.cloned();
        self.call(|store| async move { store.stats(namespace).await }).await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        let name = namespace.map(|name| name.as_str().as_bytes().to_vec());
        let deadline = self.store.deadline();
        self.call(
            |store| async move { store.query_until(Sql::Reset, &params![name], deadline).await.map(drop) },
        )
        .await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.call(|store| async move { store.namespaces().await }).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        Ok(self.clear_or_drop(namespace, false).await?.unwrap_or(0))
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        self.clear_or_drop(namespace, true).await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        self.call(|store| async move {
            let purged = store.purge(now, limit).await;
            store.notify();
            purged
        })
        .await
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        // What is seen here was committed, and is on the server's disk.
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.call(|store| async move {
            let rows = store.query(Sql::DueGarbage, &params![now.as_nanos(), limit]).await?;
            let blobs = rows.iter().map(|row| Ok(BlobId::from_slice(row.try_get(0)?)));
            Ok(blobs.collect::<Result<Vec<_>, Failure>>()?.into_iter().flatten().collect())
        })
        .await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        let blobs: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.as_bytes().to_vec()).collect();
        let now = self.store.env.now().as_nanos();
        self.call(|store| async move { store.query(Sql::Forget, &params![now, blobs]).await.map(drop) }).await
    }

    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let blobs = blobs.to_vec();
        self.call(|store| async move { store.unnamed(blobs).await }).await
    }

    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        let blobs = blobs.to_vec();
        self.call(|store| async move { store.condemn(blobs, now).await }).await
    }

    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits> {
        let (namespace, change) = (namespace.cloned(), change.clone());
        let deadline = self.store.deadline();
        self.call(|store| async move { store.change_limits(namespace, &change, deadline).await }).await
    }

    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions> {
        let crowded = Crowded { namespace: namespace.cloned(), room: (0, 0), now };
        self.call(|store| async move {
            let evictions = store.evict(&crowded, limit, Deadline::NONE).await;
            store.notify();
            evictions
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.call(|store| async move {
            let rows = store.query(Sql::Ping, &[]).await?;
            if rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
                // Reads would go on there, and see nothing of what is put on the one that has taken its place.
                store.pool.retire_all();
                return Err(Failure::Demoted(takes_no_writes()));
            }
            Ok(())
        })
        .await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    fn changes(&self) -> Option<&dyn ChangeFeeds> {
        if self.store.feed.enabled { Some(self) } else { None }
    }

    async fn close(&self) -> Result<()> {
        // Within the runtime, where connections say goodbye.
        let store = self.store.clone();
        self.store
            .env
            .on_io(async move {
                store.pool.close();
                Ok(())
            })
            .await
    }
}

impl PostgresMetadata {
    async fn clear_or_drop(&self, namespace: &Namespace, drop: bool) -> Result<Option<u64>> {
        let name = namespace.as_str().as_bytes().to_vec();
        let due = (self.store.env.now() + GARBAGE_DELAY).as_nanos();
        let deadline = self.store.deadline();
        self.call(|store| async move {
            let rows = store.query_until(Sql::Clear, &params![name, due, drop], deadline).await?;
            store.notify();
            let removed = rows.first().map(|row| row.try_get::<_, Option<i64>>(0)).transpose()?.flatten();
            Ok(removed.map(|removed| removed.max(0).unsigned_abs()))
        })
        .await
    }
}
