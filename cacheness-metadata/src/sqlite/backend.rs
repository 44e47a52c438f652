//! The metadata backend: each method of the trait as one transaction, as several bounded ones, or as reads.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{
    AccessBatch, BlobId, CacheId, Change, Entry, Evictions, GARBAGE_DELAY, Limits, LimitsChange, ListQuery,
    MetadataBackend, MetadataCapabilities, Namespace, Outcome, Page, Purged, QuerySupport, Result, Stats,
    Timestamp,
};

use super::maintenance::ENTRIES_PER_STEP;
use super::store::Store;
use super::transaction::Transaction;
use super::{garbage, listing, reader, sweeping, writer};

/// Entries in an SQLite database.
pub(super) struct SqliteMetadata(Arc<Store>);

impl SqliteMetadata {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(store))
    }

    /// Runs work that may block where that is allowed. Each such work leaves the index consistent by itself, also
    /// when nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.0.clone();
        self.0.env.unblock(move || work(&store)).await
    }
}

#[async_trait]
impl MetadataBackend for SqliteMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        let capabilities = match self.0.path {
            Some(_) => MetadataCapabilities::persistent(),
            None => MetadataCapabilities::volatile(),
        };
        capabilities.with_queries(QuerySupport::all())
    }

    fn cache_id(&self) -> CacheId {
        self.0.cache
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        // At once, on this thread: a hop to another one takes many times as long as the lookup.
        self.0.read(|session| reader::entry(session, namespace, key))
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        self.0.read(|session| reader::entries(session, namespace, keys))
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        self.blocking(move |store| writer::apply(store, changes)).await
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        // There is an index by key alone: each further one would make every put slower. Between two pages the
        // connection is free for others.
        let by_key = |query: ListQuery| {
            self.blocking(move |store| store.read(|session| listing::list(session, &query)))
        };
        if query.is_in_key_order() { by_key(query.clone()).await } else { query.in_order(by_key).await }
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        self.blocking(move |store| {
            let (first, rest) = batch.accesses.split_at(batch.accesses.len().min(ENTRIES_PER_STEP));
            store.write(|transaction| {
                transaction.settling = true;
                transaction.count(&batch)?;
                transaction.record(first)
            })?;
            for accesses in rest.chunks(ENTRIES_PER_STEP) {
                store.write(|transaction| transaction.record(accesses))?;
            }
            Ok(())
        })
        .await
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        let namespace = namespace.cloned();
        self.blocking(move |store| store.read(|session| reader::stats(session, namespace.as_ref()))).await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        let namespace = namespace.cloned();
        self.blocking(move |store| store.write(|transaction| transaction.reset_counters(namespace.as_ref())))
            .await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.blocking(|store| store.read(reader::namespaces)).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let (namespace, now) = (namespace.clone(), self.0.env.now());
        let removed =
            self.blocking(move |store| store.free(|transaction| transaction.clear(&namespace, now, false)));
        Ok(removed.await?.unwrap_or(0))
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        let (namespace, now) = (namespace.clone(), self.0.env.now());
        self.blocking(move |store| store.free(|transaction| transaction.clear(&namespace, now, true))).await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        self.blocking(move |store| {
            let (mut expired, mut keys, mut reclaimed, mut left) = (0, Vec::new(), 0, limit);
            loop {
                let step = left.min(ENTRIES_PER_STEP);
                let (gone, back, more) = store.free(|transaction| transaction.purge(now, step))?;
                expired += gone.entries as u64;
                keys.extend(gone.keys);
                reclaimed += back as u64;
                left -= (gone.entries + back).min(left);
                if left == 0 || !more || gone.entries + back == 0 {
                    return Ok(Purged::new(expired, reclaimed, more).with_expired_keys(keys));
                }
            }
        })
        .await
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        self.blocking(move |store| {
            let checkpoint = !store.commits_are_durable;
            store.with_reserve(|| store.read(|session| garbage::due(session, now, limit, checkpoint)))
        })
        .await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        // On a full disk, and in memory, they are deleted before the delay is over.
        let (blobs, now) = (blobs.to_vec(), self.0.env.now() + GARBAGE_DELAY);
        self.blocking(move |store| {
            if blobs.is_empty() {
                return store.lock_writer().map(|_| ());
            }
            for blobs in blobs.chunks(ENTRIES_PER_STEP) {
                store.free(|transaction| transaction.forget_garbage(blobs, now))?;
            }
            Ok(())
        })
        .await
    }

    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let blobs = blobs.to_vec();
        self.blocking(move |store| sweeping::unnamed(store, &blobs)).await
    }

    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        let blobs = blobs.to_vec();
        self.blocking(move |store| store.write(|transaction| transaction.condemn(&blobs, now))).await
    }

    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits> {
        let (namespace, change) = (namespace.cloned(), change.clone());
        self.blocking(move |store| {
            let change = |transaction: &mut Transaction<'_, '_>| {
                let limits = match &namespace {
                    None => transaction.change_limits(&change)?,
                    Some(name) => transaction.change_limits_of(name, &change)?,
                };
                Ok((limits, transaction.is_to_be_ranked(0)))
            };
            let (limits, mut more) = store.write(change)?;
            while more {
                more = store.write(|transaction| {
                    transaction.rank_some(ENTRIES_PER_STEP)?;
                    Ok(transaction.is_to_be_ranked(0))
                })?;
            }
            Ok(limits)
        })
        .await
    }

    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions> {
        let namespace = namespace.cloned();
        let most = limit.min(ENTRIES_PER_STEP);
        self.blocking(move |store| {
            store.free(|transaction| transaction.evict_some(namespace.as_ref(), now, (0, 0), most))
        })
        .await
        .map(|(evicted, more)| Evictions::new(evicted, more))
    }

    async fn close(&self) -> Result<()> {
        self.blocking(|store| {
            store.close();
            Ok(())
        })
        .await
    }
}
