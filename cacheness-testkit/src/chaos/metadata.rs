//! A metadata backend to which things happen.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{
    AccessBatch, BlobId, CacheId, Change, ChangeFeeds, Entry, Env, Evictions, Leases, Limits, LimitsChange,
    ListQuery, Location, MetadataBackend, MetadataCapabilities, Namespace, Outcome, Page, Purged, Result,
    Stats, Timestamp,
};

use super::{Chaos, Delay};
use crate::calls::{Call, Operation};

/// Wraps a metadata backend; see [`Chaos`].
///
/// ```no_run
/// # fn backend() -> std::sync::Arc<dyn cacheness_core::MetadataBackend> { unreachable!() }
/// use cacheness_core::Env;
/// use cacheness_testkit::chaos::{Chaos, ChaosMetadata};
/// use std::time::Duration;
///
/// let slow = ChaosMetadata::new(backend(), Chaos::new().slow(Duration::from_millis(5)), Env::new());
/// ```
pub struct ChaosMetadata {
    inner: Arc<dyn MetadataBackend>,
    chaos: Chaos,
    env: Env,
}

impl ChaosMetadata {
    /// Wraps `inner`. The clock of `env` is the one that [`Chaos::slow_by_clock`] waits for.
    #[must_use]
    pub fn new(inner: Arc<dyn MetadataBackend>, chaos: Chaos, env: Env) -> Self {
        Self { inner, chaos, env }
    }

    /// The entry, with its inline bytes damaged as blobs are.
    fn damaged(&self, mut entry: Entry) -> Entry {
        if let Location::Inline(bytes) = &mut entry.location {
            *bytes = self.chaos.damaged(std::mem::take(bytes));
        }
        entry
    }
}

impl fmt::Debug for ChaosMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosMetadata").field("chaos", &self.chaos).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl MetadataBackend for ChaosMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.shared |= self.chaos.is_remote();
        capabilities.needs_runtime |= matches!(self.chaos.delay(), Some(Delay::Real(_)));
        capabilities
    }

    fn cache_id(&self) -> CacheId {
        self.inner.cache_id()
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        self.chaos.note([Call::lookup(namespace, key)]);
        let entry = self.chaos.call(&self.env, "get_entry", self.inner.get_entry(namespace, key)).await?;
        Ok(entry.map(|entry| self.damaged(entry)))
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        self.chaos.note(keys.iter().map(|key| Call::lookup(namespace, key)));
        let entries =
            self.chaos.call(&self.env, "get_entries", self.inner.get_entries(namespace, keys)).await?;
        Ok(entries.into_iter().map(|entry| entry.map(|entry| self.damaged(entry))).collect())
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        self.chaos.note(changes.iter().filter_map(Call::change));
        self.chaos.call(&self.env, "apply", self.inner.apply(changes)).await
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        self.chaos.note([Call::of_namespace(Operation::List, query.namespace.as_ref())]);
        self.chaos.call(&self.env, "list_entries", self.inner.list_entries(query)).await
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        self.chaos.call(&self.env, "record_accesses", self.inner.record_accesses(batch)).await
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        self.chaos.call(&self.env, "stats", self.inner.stats(namespace)).await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        self.chaos.call(&self.env, "reset_stats", self.inner.reset_stats(namespace)).await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.chaos.call(&self.env, "namespaces", self.inner.namespaces()).await
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        self.chaos.note([Call::of_namespace(Operation::Clear, Some(namespace))]);
        self.chaos.call(&self.env, "clear", self.inner.clear(namespace)).await
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        self.chaos.note([Call::of_namespace(Operation::DropNamespace, Some(namespace))]);
        self.chaos.call(&self.env, "drop_namespace", self.inner.drop_namespace(namespace)).await
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        self.chaos.call(&self.env, "purge", self.inner.purge(now, limit)).await
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        self.chaos.call(&self.env, "due_garbage", self.inner.due_garbage(now, limit)).await
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        self.chaos.call(&self.env, "forget_garbage", self.inner.forget_garbage(blobs)).await
    }

    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        self.chaos.call(&self.env, "unnamed", self.inner.unnamed(blobs)).await
    }

    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        self.chaos.call(&self.env, "condemn", self.inner.condemn(blobs, now)).await
    }

    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits> {
        self.chaos.call(&self.env, "change_limits", self.inner.change_limits(namespace, change)).await
    }

    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions> {
        self.chaos.call(&self.env, "evict", self.inner.evict(namespace, now, limit)).await
    }

    async fn ping(&self) -> Result<()> {
        self.chaos.call(&self.env, "ping", self.inner.ping()).await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases()
    }

    fn changes(&self) -> Option<&dyn ChangeFeeds> {
        self.inner.changes()
    }

    async fn close(&self) -> Result<()> {
        self.chaos.call(&self.env, "close", self.inner.close()).await
    }
}
