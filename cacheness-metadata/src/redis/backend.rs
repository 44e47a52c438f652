//! The metadata backend: each method of the trait as one call of a script, or as several bounded ones.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use cacheness_core::{
    AccessBatch, BlobId, CacheId, Change, ChangeFeeds, Entry, Evictions, Leases, Limits, LimitsChange,
    ListQuery, MetadataBackend, MetadataCapabilities, Namespace, OpenContext, Outcome, Page, Purged,
    QuerySupport, Result, Stats, Timestamp,
};

use super::changes::Feeds;
use super::leases::RedisLeases;
use super::ops::Op;
use super::server::Settings;
use super::store::Store;
use super::writing::ENTRIES_PER_STEP;

/// The longest value that may lie with its entry, where the cache's `inline_limit` says so: scripts copy it, and nobody
/// else is served meanwhile.
const INLINE_LIMIT: u64 = 1 << 20;

/// Entries in Redis.
pub(super) struct RedisMetadata {
    store: Arc<Store>,
    leases: RedisLeases,
    feeds: Option<Feeds>,
}

impl RedisMetadata {
    pub(super) async fn open(settings: Settings, context: &OpenContext) -> Result<Self> {
        let (env, context, has_feed) = (context.env.clone(), context.clone(), settings.change_feed);
        let store = env.on_io(async move { Store::open(settings, context).await }).await?;
        let store = Arc::new(store);
        let feeds = has_feed.then(|| Feeds::new(store.clone()));
        Ok(Self { leases: RedisLeases::new(store.clone()), feeds, store })
    }

    /// Makes changes on the cache's runtime: whoever called waits from now on.
    async fn change<T, F>(&self, work: impl FnOnce(Arc<Store>, Instant) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let until = self.store.until();
        self.on_io(|store| work(store, until)).await
    }

    /// Makes calls on the cache's runtime, to their end.
    async fn on_io<T, F>(&self, work: impl FnOnce(Arc<Store>) -> F + Send) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.store.server.env.on_io(work(self.store.clone())).await
    }
}

#[async_trait]
impl MetadataBackend for RedisMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::persistent()
            .with_shared()
            .with_inline_limit(INLINE_LIMIT)
            .with_queries(QuerySupport::all())
    }

    fn cache_id(&self) -> CacheId {
        self.store.cache
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        let (namespace, keys) = (namespace.clone(), [key.to_owned()]);
        self.on_io(|store| async move { Ok(store.get(&namespace, &keys).await?.pop().flatten()) }).await
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let namespace = namespace.clone();
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.on_io(|store| async move { store.get(&namespace, &keys).await }).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        self.change(|store, until| async move {
            let ops = changes.into_iter().map(Op::Change).collect();
            Ok(store.write(until, ops, Vec::new()).await?.outcomes)
        })
        .await
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        // There is an index by key alone: each further one would take memory of the server.
        let by_key = |query: ListQuery| self.on_io(|store| async move { store.list_by_key(&query).await });
        if query.is_in_key_order() { by_key(query.clone()).await } else { query.in_order(by_key).await }
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        self.change(|store, until| async move {
            let counters = batch.counters.into_iter().filter(|(_, counters)| !counters.is_zero());
            let ops = counters.map(|(name, counters)| Op::Count(name, counters)).collect();
            store.write(until, ops, batch.accesses).await.map(drop)
        })
        .await
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        let namespace = namespace.cloned();
        self.on_io(|store| async move { store.stats(namespace.as_ref()).await }).await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        let only = namespace.cloned();
        self.change(|store, until| async move {
            let names = match only {
                Some(name) => vec![name],
                None => store.namespaces().await?,
            };
            let mut resets = names.into_iter().map(Op::Reset);
            loop {
                let step: Vec<_> = resets.by_ref().take(ENTRIES_PER_STEP).collect();
                let is_last = step.len() < ENTRIES_PER_STEP;
                // Also where there is nothing to reset, it is an error that the cache is gone.
                store.write(until, step, Vec::new()).await?;
                if is_last {
                    return Ok(());
                }
            }
        })
        .await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.on_io(|store| async move { store.namespaces().await }).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let (namespace, now) = (namespace.clone(), self.store.server.env.now());
        self.change(|store, until| async move {
            let clear = Op::Clear { namespace, now, drop: false };
            Ok(store.write(until, vec![clear], Vec::new()).await?.cleared.unwrap_or(0))
        })
        .await
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        let (namespace, now) = (namespace.clone(), self.store.server.env.now());
        self.change(|store, until| async move {
            let clear = Op::Clear { namespace, now, drop: true };
            Ok(store.write(until, vec![clear], Vec::new()).await?.cleared)
        })
        .await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        self.change(|store, until| async move {
            let (mut expired, mut keys, mut reclaimed, mut left) = (0, Vec::new(), 0, limit);
            loop {
                let purge = Op::Purge { now, limit: left.min(ENTRIES_PER_STEP) };
                let step = store.write(until, vec![purge], Vec::new()).await?.purged;
                let gone = usize::try_from(step.expired + step.reclaimed).unwrap_or(usize::MAX);
                expired += step.expired;
                reclaimed += step.reclaimed;
                keys.extend(step.expired_keys);
                left = left.saturating_sub(gone);
                // What has been done is told; whoever asked asks again.
                if left == 0 || !step.more || gone == 0 || Instant::now() >= until {
                    return Ok(Purged::new(expired, reclaimed, step.more).with_expired_keys(keys));
                }
            }
        })
        .await
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        self.on_io(|store| async move { store.due_garbage(now, limit).await }).await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        let blobs = blobs.to_vec();
        self.change(|store, until| async move {
            for blobs in blobs.chunks(ENTRIES_PER_STEP) {
                store.write(until, vec![Op::Forget(blobs.to_vec())], Vec::new()).await?;
            }
            Ok(())
        })
        .await
    }

    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let blobs = blobs.to_vec();
        self.on_io(|store| async move { store.unnamed(&blobs).await }).await
    }

    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        let blobs = blobs.to_vec();
        self.change(|store, until| async move { store.condemn(until, &blobs, now).await }).await
    }

    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits> {
        let (namespace, change) = (namespace.cloned(), change.clone());
        self.change(|store, until| async move {
            match &namespace {
                Some(name) if change.is_empty() => store.limits_of(name).await,
                namespace => store.change_limits(until, namespace.as_ref(), &change).await,
            }
        })
        .await
    }

    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions> {
        let evict =
            Op::Evict { namespace: namespace.cloned(), now, room: (0, 0), most: limit.min(ENTRIES_PER_STEP) };
        self.change(|store, until| async move {
            let done = store.write(until, vec![evict], Vec::new()).await?;
            Ok(Evictions::new(done.evicted, done.more))
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.on_io(|store| async move { store.server.ping().await }).await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(&self.leases)
    }

    fn changes(&self) -> Option<&dyn ChangeFeeds> {
        self.feeds.as_ref().map(|feeds| feeds as &dyn ChangeFeeds)
    }

    async fn close(&self) -> Result<()> {
        self.on_io(|store| async move {
            store.server.close().await;
            Ok(())
        })
        .await
    }
}
