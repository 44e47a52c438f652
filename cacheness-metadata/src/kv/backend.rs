//! The metadata backend over a key-value store: each method as one transaction, or as reads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{
    AccessBatch, AccessLog, BlobId, CacheId, Change, Counters, Entry, Env, Error, ErrorKind, Evicted, Limits,
    ListQuery, MetadataBackend, MetadataCapabilities, Namespace, OpenContext, OpenMode, Outcome, Page,
    Purged, QuerySupport, Result, Stats, Timestamp,
};
use tokio::sync::Mutex;

use super::rows::{self, Head};
use super::transaction::{Attempts, Transaction};
use super::{KvStore, WriteBatch, layout, reading};

/// How many entries a transaction of a long work changes: ranking anew, evicting for a lower limit, purging.
const ENTRIES_PER_STEP: usize = 500;

/// A metadata backend over any [`KvStore`].
pub struct KvMetadata {
    store: Box<dyn KvStore>,
    cache: CacheId,
    accesses: Arc<AccessLog>,
    env: Env,
    /// Writers of this process take turns, so that only those of other processes make a write begin anew.
    turn: Mutex<()>,
    closed: AtomicBool,
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
        Ok(Self {
            store: Box::new(store),
            cache,
            accesses: context.accesses.clone(),
            env: context.env.clone(),
            turn: Mutex::new(()),
            closed: AtomicBool::new(false),
        })
    }

    fn open_store(&self) -> Result<&dyn KvStore> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the entries have been closed"));
        }
        Ok(&*self.store)
    }

    async fn attempts(&self) -> Result<Attempts<'_>> {
        let turn = self.turn.lock().await;
        Ok(Attempts::new(self.open_store()?, &self.accesses, turn))
    }

    /// Clears or drops a namespace.
    async fn clear_or_drop(&self, namespace: &Namespace, drop: bool) -> Result<Option<u64>> {
        let now = self.env.now();
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = transaction.clear(namespace, now, drop).await;
            if let Some(removed) = attempts.finish(transaction, result).await? {
                return Ok(removed);
            }
        }
    }

    /// Ranks all entries by the order of `limits`, step by step. False where another process has chosen another
    /// order meanwhile; that one then holds.
    async fn rank_anew(&self, limits: Limits) -> Result<bool> {
        let mut epoch = None;
        let mut start = Some(layout::all(layout::ENTRY).start);
        while let Some(from) = start {
            let mut attempts = self.attempts().await?;
            start = loop {
                let mut transaction = attempts.begin().await?;
                let result = rank_step(&mut transaction, limits, epoch, from.clone()).await;
                match attempts.finish(transaction, result).await? {
                    Some(Some((ranked, next))) => {
                        epoch = Some(ranked);
                        break next;
                    }
                    Some(None) => return Ok(false),
                    None => {}
                }
            };
        }
        Ok(true)
    }
}

/// One step of ranking anew; `None` where the epoch is no longer the one that this process began.
async fn rank_step(
    transaction: &mut Transaction<'_>,
    limits: Limits,
    epoch: Option<u32>,
    from: Bytes,
) -> Result<Option<(u32, Option<Bytes>)>> {
    let epoch = match epoch {
        None => transaction.begin_ranking(limits),
        Some(epoch) if epoch == transaction.head.epoch => epoch,
        Some(_) => return Ok(None),
    };
    let next = transaction.rank_some(from, ENTRIES_PER_STEP).await?;
    if next.is_none() {
        transaction.head.ranking = false;
    }
    Ok(Some((epoch, next)))
}

#[async_trait]
impl MetadataBackend for KvMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        self.store.capabilities().with_queries(QuerySupport::all())
    }

    fn cache_id(&self) -> CacheId {
        self.cache
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        reading::entry(self.open_store()?, namespace, key).await
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let store = self.open_store()?;
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            entries.push(reading::entry(store, namespace, key).await?);
        }
        Ok(entries)
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = transaction.apply(&changes).await;
            if let Some(outcomes) = attempts.finish(transaction, result).await? {
                return Ok(outcomes);
            }
        }
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        reading::list(self.open_store()?, query).await
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = transaction.record(&batch).await;
            if attempts.finish(transaction, result).await?.is_some() {
                return Ok(());
            }
        }
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        reading::stats(self.open_store()?, namespace).await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = reset(&mut transaction, namespace).await;
            if attempts.finish(transaction, result).await?.is_some() {
                return Ok(());
            }
        }
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        reading::namespaces(self.open_store()?).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        Ok(self.clear_or_drop(namespace, false).await?.unwrap_or(0))
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        self.clear_or_drop(namespace, true).await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        let (mut expired, mut keys, mut reclaimed, mut left) = (0, Vec::new(), 0, limit);
        loop {
            let mut attempts = self.attempts().await?;
            let step = loop {
                let mut transaction = attempts.begin().await?;
                let result = transaction.purge(now, left.min(ENTRIES_PER_STEP)).await;
                if let Some(step) = attempts.finish(transaction, result).await? {
                    break step;
                }
            };
            expired += step.expired.len() as u64;
            reclaimed += step.reclaimed;
            left = left.saturating_sub(usize::try_from(step.reclaimed).unwrap_or(usize::MAX));
            left = left.saturating_sub(step.expired.len());
            keys.extend(step.expired);
            if left == 0 || !step.more {
                return Ok(Purged::new(expired, reclaimed, step.more).with_expired_keys(keys));
            }
        }
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        reading::due_garbage(self.open_store()?, now, limit).await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = forget(&mut transaction, blobs).await;
            if attempts.finish(transaction, result).await?.is_some() {
                return Ok(());
            }
        }
    }

    async fn set_limits(&self, limits: Limits, now: Timestamp) -> Result<Vec<Evicted>> {
        let store = self.open_store()?;
        let head =
            reading::head(store).await?.ok_or_else(|| rows::damage("the head of the entries is gone"))?;
        let ranked = head.ranked && !head.ranking && head.order == limits.order;
        if limits.is_limited() && !ranked && !self.rank_anew(limits).await? {
            return Ok(Vec::new());
        }
        let mut evicted = Vec::new();
        loop {
            let mut attempts = self.attempts().await?;
            let (more, over) = loop {
                let mut transaction = attempts.begin().await?;
                transaction.head.limits = limits;
                if !limits.is_limited() {
                    transaction.head.ranked = false;
                    transaction.head.ranking = false;
                }
                let result = transaction.evict(now, &HashMap::new(), ENTRIES_PER_STEP).await;
                let over = transaction.is_over();
                if let Some(more) = attempts.finish(transaction, result).await? {
                    break (more, over);
                }
            };
            let stuck = more.is_empty();
            evicted.extend(more);
            if !over || stuck {
                return Ok(evicted);
            }
        }
    }

    async fn close(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.store.close().await
    }
}

async fn reset(transaction: &mut Transaction<'_>, namespace: Option<&Namespace>) -> Result<()> {
    let names = match namespace {
        Some(name) => vec![name.clone()],
        None => transaction
            .scan(layout::all(layout::NAMESPACE), usize::MAX)
            .await?
            .iter()
            .map(|(key, _)| rows::read_namespace(key.get(1..).unwrap_or_default()))
            .collect::<Result<_>>()?,
    };
    for name in names {
        if let Some(mut row) = transaction.namespace(&name).await? {
            row.counters = Counters::default();
            transaction.set(layout::namespace(name.as_str()), row.encode());
        }
    }
    Ok(())
}

async fn forget(transaction: &mut Transaction<'_>, blobs: &[BlobId]) -> Result<()> {
    for &blob in blobs {
        let Some(row) = transaction.get(&layout::blob(blob)).await? else { continue };
        let (due, bytes) = rows::read_garbage(&row)?;
        transaction.unset(layout::garbage(due, blob));
        transaction.unset(layout::blob(blob));
        transaction.head.garbage_bytes = transaction.head.garbage_bytes.saturating_sub(bytes);
    }
    Ok(())
}
