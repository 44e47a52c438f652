//! A metadata backend whose calls are bounded, repeated where that is harmless, limited, and refused while it is down.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::call::Call;
use super::guard::Guard;
use crate::entry::{Entry, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{Limits, LimitsChange};
use crate::metadata::{
    AccessBatch, Change, ChangeFeed, ChangeFeeds, Condition, Evictions, Expiry, Leases, ListQuery,
    MetadataBackend, MetadataCapabilities, Outcome, Page, Purged,
};
use crate::names::{BlobId, CacheId, LeaseHolder, Namespace, Timestamp, Version};
use crate::stats::Stats;

/// How many times the time of one call a change of limits may take: entries may have to be ranked anew for it.
const RANKING_ANEW: u32 = 10;

/// How many times the time of one call a look through all entries may take.
const ALL_ENTRIES: u32 = 32;

/// A metadata backend behind a [`Guard`].
pub(super) struct GuardedMetadata {
    inner: Arc<dyn MetadataBackend>,
    guard: Arc<Guard>,
}

impl GuardedMetadata {
    pub(super) fn new(inner: Arc<dyn MetadataBackend>, guard: Arc<Guard>) -> Self {
        let pinged = inner.clone();
        guard.set_ping(move || {
            let inner = pinged.clone();
            Box::pin(async move { inner.ping().await })
        });
        Self { inner, guard }
    }

    async fn call<A, T, M, F>(&self, call: Call, arguments: A, make: M) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        M: Fn(Arc<dyn MetadataBackend>, Arc<A>) -> F + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (inner, arguments) = (self.inner.clone(), Arc::new(arguments));
        self.guard.call(call, move || make(inner.clone(), arguments.clone())).await
    }
}

/// Whether changes may be made again, and the time that they get.
fn call_of(changes: &[Change]) -> Call {
    let twice_is_once = |change: &Change| match change {
        Change::Put { condition, .. } | Change::Remove { condition, .. } => *condition == Condition::Always,
        Change::Touch { condition, expiry, .. } => {
            *condition == Condition::Always && matches!(expiry, Expiry::Set(_))
        }
    };
    let call = if changes.iter().all(twice_is_once) { Call::harmless("apply") } else { Call::once("apply") };
    let inline = changes.iter().map(|change| match change {
        Change::Put { entry, .. } => match &entry.location {
            Location::Inline(bytes) => bytes.len() as u64,
            _ => 0,
        },
        _ => 0,
    });
    call.of_bytes(inline.sum())
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl MetadataBackend for GuardedMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        self.inner.capabilities()
    }

    fn cache_id(&self) -> CacheId {
        self.inner.cache_id()
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        let place = (namespace.clone(), key.to_owned());
        self.call(Call::read("get_entry"), place, |inner, place| async move {
            inner.get_entry(&place.0, &place.1).await
        })
        .await
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        self.call(Call::read("get_entries"), (namespace.clone(), keys), |inner, places| async move {
            let keys: Vec<&str> = places.1.iter().map(String::as_str).collect();
            inner.get_entries(&places.0, &keys).await
        })
        .await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        self.call(call_of(&changes), changes, |inner, changes| async move {
            inner.apply(changes.as_ref().clone()).await
        })
        .await
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        self.call(Call::read("list_entries"), query.clone(), |inner, query| async move {
            inner.list_entries(&query).await
        })
        .await
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        self.call(Call::once("record_accesses"), batch, |inner, batch| async move {
            inner.record_accesses(batch.as_ref().clone()).await
        })
        .await
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        self.call(Call::read("stats"), namespace.cloned(), |inner, namespace| async move {
            inner.stats(namespace.as_ref().as_ref()).await
        })
        .await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        self.call(Call::harmless("reset_stats"), namespace.cloned(), |inner, namespace| async move {
            inner.reset_stats(namespace.as_ref().as_ref()).await
        })
        .await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.call(Call::read("namespaces"), (), |inner, _| async move { inner.namespaces().await }).await
    }

    // The answers to these two are numbers of entries, which a second call would not find any more.
    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        self.call(Call::once("clear"), namespace.clone(), |inner, namespace| async move {
            inner.clear(&namespace).await
        })
        .await
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        self.call(Call::once("drop_namespace"), namespace.clone(), |inner, namespace| async move {
            inner.drop_namespace(&namespace).await
        })
        .await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        self.call(Call::harmless("purge"), (), move |inner, _| async move { inner.purge(now, limit).await })
            .await
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        let call = Call::read("due_garbage");
        self.call(call, (), move |inner, _| async move { inner.due_garbage(now, limit).await }).await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        self.call(Call::harmless("forget_garbage"), blobs.to_vec(), |inner, blobs| async move {
            inner.forget_garbage(&blobs).await
        })
        .await
    }

    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let call = Call::composed("unnamed").of_units(ALL_ENTRIES);
        self.call(call, blobs.to_vec(), |inner, blobs| async move { inner.unnamed(&blobs).await }).await
    }

    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        self.call(Call::harmless("condemn"), blobs.to_vec(), move |inner, blobs| async move {
            inner.condemn(&blobs, now).await
        })
        .await
    }

    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits> {
        // Where nothing is given, they are only read.
        let units = if change.is_empty() { 1 } else { RANKING_ANEW };
        let call = Call::harmless("change_limits").of_units(units);
        self.call(call, (namespace.cloned(), change.clone()), |inner, given| async move {
            inner.change_limits(given.0.as_ref(), &given.1).await
        })
        .await
    }

    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions> {
        let call = Call::harmless("evict");
        self.call(call, namespace.cloned(), move |inner, namespace| async move {
            inner.evict(namespace.as_ref().as_ref(), now, limit).await
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.call(Call::read("ping"), (), |inner, _| async move { inner.ping().await }).await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases().map(|_| self as &dyn Leases)
    }

    fn changes(&self) -> Option<&dyn ChangeFeeds> {
        self.inner.changes().map(|_| self as &dyn ChangeFeeds)
    }

    async fn close(&self) -> Result<()> {
        let inner = self.inner.clone();
        self.guard.close(async move { inner.close().await }).await
    }
}

/// A lease's name, and who takes it.
type LeaseOf = (Namespace, String, LeaseHolder);

fn lease_of(namespace: &Namespace, name: &str, holder: LeaseHolder) -> LeaseOf {
    (namespace.clone(), name.to_owned(), holder)
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Leases for GuardedMetadata {
    // A holder that has the lease already keeps it.
    async fn acquire(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<Option<Version>> {
        let lease = lease_of(namespace, name, holder);
        self.call(Call::harmless("acquire"), lease, move |inner, lease| async move {
            leases(&inner)?.acquire(&lease.0, &lease.1, lease.2, ttl).await
        })
        .await
    }

    async fn renew(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<bool> {
        let lease = lease_of(namespace, name, holder);
        self.call(Call::harmless("renew"), lease, move |inner, lease| async move {
            leases(&inner)?.renew(&lease.0, &lease.1, lease.2, ttl).await
        })
        .await
    }

    async fn release(&self, namespace: &Namespace, name: &str, holder: LeaseHolder) -> Result<bool> {
        let lease = lease_of(namespace, name, holder);
        self.call(Call::once("release"), lease, |inner, lease| async move {
            leases(&inner)?.release(&lease.0, &lease.1, lease.2).await
        })
        .await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ChangeFeeds for GuardedMetadata {
    fn bound(&self) -> Duration {
        self.inner.changes().map_or(Duration::ZERO, ChangeFeeds::bound)
    }

    // The feed itself is not guarded: it waits for as long as nothing happens, and says by itself when it is cut.
    async fn subscribe(&self) -> Result<Box<dyn ChangeFeed>> {
        self.call(Call::read("subscribe"), (), |inner, _| async move {
            inner.changes().ok_or_else(facet_is_gone)?.subscribe().await
        })
        .await
    }
}

fn leases(inner: &Arc<dyn MetadataBackend>) -> Result<&dyn Leases> {
    inner.leases().ok_or_else(facet_is_gone)
}

fn facet_is_gone() -> Error {
    let message = "the metadata backend offered leases or changes when it was opened, and does no more";
    Error::new(ErrorKind::Unexpected, message)
}
