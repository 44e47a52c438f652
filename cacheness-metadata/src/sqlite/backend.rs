//! The metadata backend: each method of the trait as one transaction, as several bounded ones, or as reads.

use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{
    AccessBatch, BlobId, CacheId, Change, Entry, Evicted, Limits, ListQuery, MetadataBackend,
    MetadataCapabilities, Namespace, Outcome, Page, Purged, Result, Stats, Timestamp,
};

use super::maintenance::ENTRIES_PER_STEP;
use super::store::{Store, closed};
use super::{garbage, reader, writer};

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
        match self.0.path {
            Some(_) => MetadataCapabilities::persistent(),
            None => MetadataCapabilities::volatile(),
        }
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
        let query = query.clone();
        self.blocking(move |store| store.read(|session| reader::list(session, &query))).await
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
            self.blocking(move |store| store.write(|transaction| transaction.clear(&namespace, now, false)));
        Ok(removed.await?.unwrap_or(0))
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        let (namespace, now) = (namespace.clone(), self.0.env.now());
        self.blocking(move |store| store.write(|transaction| transaction.clear(&namespace, now, true))).await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        self.blocking(move |store| {
            let (mut expired, mut reclaimed, mut left) = (0, 0, limit);
            loop {
                let step = left.min(ENTRIES_PER_STEP);
                let (gone, back, more) = store.write(|transaction| transaction.purge(now, step))?;
                expired += gone as u64;
                reclaimed += back as u64;
                left -= (gone + back).min(left);
                if left == 0 || !more || gone + back == 0 {
                    return Ok(Purged::new(expired, reclaimed, more));
                }
            }
        })
        .await
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        self.blocking(move |store| {
            let checkpoint = !store.commits_are_durable;
            store.read(|session| garbage::due(session, now, limit, checkpoint))
        })
        .await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        let (blobs, now) = (blobs.to_vec(), self.0.env.now());
        self.blocking(move |store| {
            if blobs.is_empty() {
                return store.lock_writer().map(|_| ());
            }
            for blobs in blobs.chunks(ENTRIES_PER_STEP) {
                store.write(|transaction| transaction.forget_garbage(blobs, now))?;
            }
            Ok(())
        })
        .await
    }

    async fn set_limits(&self, limits: Limits, now: Timestamp) -> Result<Vec<Evicted>> {
        self.blocking(move |store| set_limits(store, limits, now)).await
    }

    async fn close(&self) -> Result<()> {
        self.blocking(|store| {
            store.close();
            Ok(())
        })
        .await
    }
}

fn set_limits(store: &Store, limits: Limits, now: Timestamp) -> Result<Vec<Evicted>> {
    {
        let mut writer = store.lock_writer()?;
        let Some(writer) = writer.as_mut() else { return Err(closed()) };
        writer.limits = limits;
    }
    if !limits.is_limited() {
        store.write(|transaction| transaction.end_ranking())?;
        return Ok(Vec::new());
    }
    let mut more = store.write(|transaction| {
        transaction.begin_ranking(limits.order)?;
        Ok(transaction.is_to_be_ranked(0))
    })?;
    while more {
        more = store.write(|transaction| {
            transaction.rank_some(ENTRIES_PER_STEP)?;
            // Where another process has chosen another order meanwhile, that one goes on with it.
            Ok(transaction.is_to_be_ranked(0) && transaction.totals.head.order == Some(limits.order))
        })?;
    }
    let mut evicted = Vec::new();
    loop {
        let (some, over) = store.write(|transaction| {
            let some = transaction.evict(now, (0, 0), ENTRIES_PER_STEP)?;
            Ok((some, transaction.is_over(0, 0)))
        })?;
        let stuck = some.is_empty();
        evicted.extend(some);
        if !over || stuck {
            return Ok(evicted);
        }
    }
}
