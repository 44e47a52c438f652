//! Looking at entries without their values, and keeping house: touch, remove, purge, statistics.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::Engine;
use super::counting::{Tenant, add};
use super::degraded::earlier_write_waits;
use super::queued::Turn;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::events::ExpireReason;
use crate::metadata::{Change, Condition, Expiry, ListQuery};
use crate::metric;
use crate::names::{Namespace, Timestamp};
use crate::stats::Stats;

/// An entry, and whether it may be served.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct EntryInfo {
    /// The entry. Inline bytes may be left out.
    pub entry: Entry,
    /// Whether it may be served, and if not, why.
    pub state: EntryState,
    /// The time since the value was put.
    pub age: Duration,
}

impl EntryInfo {
    /// True where a get would be served.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.state == EntryState::Valid
    }

    /// How long the entry will be valid yet, as far as its TTL decides.
    #[must_use]
    pub fn ttl_left(&self) -> Option<Duration> {
        let now = self.entry.created_at + self.age;
        self.entry.validity.expires_at.map(|at| at.since(now))
    }
}

impl Deref for EntryInfo {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

/// Whether an entry may be served.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EntryState {
    /// It may.
    Valid,
    /// Its TTL has run out.
    Expired,
    /// This source file is no longer as it was.
    SourceChanged(PathBuf),
    /// This source file is not there, or cannot be read.
    SourceMissing(PathBuf),
}

/// What a purge has removed.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PurgeReport {
    /// Entries whose TTL had run out.
    pub expired: u64,
    /// Entries whose source files had changed or were missing.
    pub stale: u64,
    /// Entries of cleared namespaces whose room was taken back.
    pub reclaimed: u64,
}

/// How often a touch looks for an entry that others replace each time.
const TOUCHES: usize = 100;

impl Engine {
    pub(crate) async fn entry(&self, tenant: &Tenant, key: &str) -> Result<Option<EntryInfo>> {
        self.check_open()?;
        let key = &*self.stored_key(tenant, key)?;
        let entry = self.look_up(&tenant.namespace, key).await;
        match self.or_none(tenant, key, "get_entry", entry)? {
            Some(entry) => Ok(Some(self.inspect(entry).await)),
            None => Ok(None),
        }
    }

    /// Adds what is known only here: pending uses and the state of source files.
    pub(super) async fn inspect(&self, entry: Entry) -> EntryInfo {
        let entry = self.with_pending_uses(entry);
        let now = self.env.now();
        EntryInfo {
            state: self.file_checks.state(&self.env, &entry, now).await,
            age: now.since(entry.created_at),
            entry,
        }
    }

    pub(super) fn with_pending_uses(&self, mut entry: Entry) -> Entry {
        if let Some(pending) = self.accesses.pending(&entry.namespace, entry.key.as_str(), entry.version) {
            entry.hits = entry.hits.saturating_add(pending.hits);
            entry.accessed_at = entry.accessed_at.max(pending.accessed_at);
        }
        entry
    }

    pub(crate) async fn contains(&self, tenant: &Tenant, key: &str) -> Result<bool> {
        Ok(self.entry(tenant, key).await?.is_some_and(|info| info.is_valid()))
    }

    pub(crate) async fn remove(&self, tenant: &Tenant, key: &str) -> Result<bool> {
        self.check_open()?;
        let key = &*self.stored_key(tenant, key)?;
        Ok(self.remove_keys(tenant, std::iter::once(key)).await? > 0)
    }

    pub(super) async fn remove_keys<'a>(
        &self,
        tenant: &Tenant,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<u64> {
        let now = self.env.now();
        let change = |key: &str| Change::Remove {
            namespace: tenant.namespace.clone(),
            key: key.to_owned(),
            condition: Condition::Always,
            now,
        };
        let keys: Vec<&str> = keys.collect();
        let changes = keys.iter().copied().map(change).collect();
        let mut waited = Vec::new();
        let applied = match self.turn_of(tenant, keys.iter().copied()) {
            Turn::Free => self.metadata.apply(changes).await,
            Turn::Next => {
                let waits = |key: &&str| matches!(self.queued_entry(&tenant.namespace, key), Some(Some(_)));
                waited = keys.iter().copied().filter(waits).collect();
                self.apply_in_turn(tenant, &keys, changes).await
            }
            Turn::Waits => return self.queue_removals(tenant, &keys, &earlier_write_waits()),
        };
        let outcomes = match self.count_failure(tenant, keys.first().copied(), "remove", applied) {
            Ok(outcomes) => outcomes,
            Err(error) => return self.settle_removals(tenant, &keys, error),
        };
        let mut removed = 0;
        for (key, outcome) in keys.iter().zip(&outcomes) {
            // A value that waited was there for this process.
            if outcome.applied || waited.contains(key) {
                removed += 1;
                self.removed(tenant, key);
            }
        }
        self.flusher.mark();
        self.collect_fresh_garbage().await;
        Ok(removed)
    }

    /// Gives a valid entry a new expiry time. False where there is no valid entry.
    pub(crate) async fn touch(
        &self,
        tenant: &Tenant,
        key: &str,
        expiry: impl Fn(&Entry, Timestamp) -> Expiry,
    ) -> Result<bool> {
        self.check_open()?;
        let key = &*self.stored_key(tenant, key)?;
        let mut tried = None;
        for _ in 0..TOUCHES {
            let found = self.look_up(&tenant.namespace, key).await;
            let found = match self.or_none(tenant, key, "touch", found) {
                Ok(found) => found,
                Err(error) => return self.settle_touch(tenant, key, error),
            };
            let Some(entry) = found else { return Ok(false) };
            if self.state(&entry).await != EntryState::Valid {
                return Ok(false);
            }
            // Where it is the same as before, no other write came in between, and it will be refused for ever.
            if tried.replace(entry.version) == Some(entry.version) {
                break;
            }
            let now = self.env.now();
            let expiry = expiry(&entry, now);
            let prolong = |queued: &mut Entry| {
                queued.validity.expires_at = expiry.after(queued.validity.expires_at);
            };
            if self.has_queued_writes() && self.queue.change(&tenant.namespace, key, prolong) {
                return Ok(true);
            }
            let applied = self.metadata.apply(vec![self.touch_of(entry, expiry, now)?]).await;
            let outcomes = match self.count_failure(tenant, Some(key), "touch", applied) {
                Ok(outcomes) => outcomes,
                Err(error) => return self.settle_touch(tenant, key, error),
            };
            outcomes.iter().for_each(|outcome| self.evicted(&outcome.evicted));
            // Another write came in between: its entry is the one to touch.
            if outcomes.iter().any(|outcome| outcome.applied) {
                return Ok(true);
            }
        }
        let message = "the entry is found, and is said to be another when it is to be touched; try again, and see whether the \
                       metadata backend keeps to its conditions";
        let error = Error::new(ErrorKind::Conflict, message);
        Err(error.with_operation("touch").with_context("key", key))
    }

    pub(crate) async fn purge(&self) -> Result<PurgeReport> {
        self.check_open()?;
        let mut report = PurgeReport::default();
        loop {
            let purged = self.metadata.purge(self.env.now(), ListQuery::MAX_PAGE).await?;
            for (namespace, key) in &purged.expired_keys {
                self.expired(namespace, key.as_str(), ExpireReason::Ttl);
            }
            report.expired += purged.expired;
            report.reclaimed += purged.reclaimed;
            if !purged.more {
                break;
            }
        }
        report.stale = self.purge_stale().await?;
        while self.collect_garbage(ListQuery::MAX_PAGE).await? {}
        self.collect_fresh_garbage().await;
        let PurgeReport { expired, stale, reclaimed } = report;
        tracing::info!(target: super::observe::TARGET, expired, stale, reclaimed, "purged");
        Ok(report)
    }

    /// Removes entries whose source files have changed.
    async fn purge_stale(&self) -> Result<u64> {
        let mut query = ListQuery::new();
        let mut removed = 0;
        loop {
            let page = self.list_page(&query).await?;
            self.found_damaged(&page.damaged, "purge");
            let now = self.env.now();
            let mut changes = Vec::new();
            for entry in page.entries.iter().filter(|entry| !entry.validity.sources.is_empty()) {
                if self.file_checks.state(&self.env, entry, now).await != EntryState::Valid {
                    changes.push(Change::Remove {
                        namespace: entry.namespace.clone(),
                        key: entry.key.as_str().to_owned(),
                        condition: Condition::Version(entry.version),
                        now,
                    });
                }
            }
            if !changes.is_empty() {
                let places: Vec<(Namespace, String)> = changes.iter().filter_map(place_of).collect();
                for ((namespace, key), outcome) in places.iter().zip(self.metadata.apply(changes).await?) {
                    if outcome.applied {
                        removed += 1;
                        self.expired(namespace, key, ExpireReason::SourceChanged);
                        let tenant = self.tenants.get(namespace);
                        let expirations: &AtomicU64 = &tenant.counts.expirations;
                        add(expirations, 1);
                    }
                }
                self.flusher.mark();
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(removed);
            }
        }
    }

    pub(crate) async fn clear(&self, tenant: &Tenant) -> Result<u64> {
        self.check_open()?;
        let namespace = tenant.namespace.clone();
        let clear = |engine: Arc<Self>| async move { engine.metadata.clear(&namespace).await };
        let cleared = self.emptying(&tenant.namespace, clear).await;
        let cleared = self.count_failure(tenant, None, "clear", cleared)?;
        self.cleared(&tenant.namespace, cleared);
        Ok(cleared)
    }

    /// The statistics of one namespace, or of all, with everything that is pending in this process.
    pub(crate) async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        self.check_open()?;
        let stats = if self.metadata.capabilities().shared {
            // One round trip: what is not written down yet is added here. Meanwhile nobody writes it down.
            let asked = namespace.cloned();
            let stats = |engine: Arc<Self>| async move {
                let _guard = engine.taking(&engine.flushing).await?;
                let mut stats = engine.metadata.stats(asked.as_ref()).await?;
                engine.tenants.add_pending(asked.as_ref(), &mut stats.counters);
                Ok(stats)
            };
            self.apart(stats).await?
        } else {
            self.flush(false).await?;
            self.metadata.stats(namespace).await?
        };
        if let Some(namespace) = namespace {
            metric::totals(namespace, &stats);
        }
        Ok(stats)
    }

    pub(crate) async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        self.check_open()?;
        let namespace = namespace.cloned();
        self.apart(|engine| async move {
            // Nothing that was counted before may be written down after it.
            let guard = engine.taking(&engine.flushing).await?;
            engine.flush_guarded(false, &guard).await?;
            engine.metadata.reset_stats(namespace.as_ref()).await
        })
        .await
    }

    pub(crate) async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.check_open()?;
        // A namespace that was only read exists by its statistics.
        self.flush(false).await?;
        self.metadata.namespaces().await
    }

    pub(crate) async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        self.check_open()?;
        let name = namespace.clone();
        let drop = |engine: Arc<Self>| async move {
            let guard = engine.taking(&engine.flushing).await?;
            engine.flush_guarded(true, &guard).await?;
            engine.metadata.drop_namespace(&name).await
        };
        let dropped = self.emptying(namespace, drop).await?;
        if let Some(entries) = dropped {
            self.cleared(namespace, entries);
        }
        Ok(dropped)
    }
}

fn place_of(change: &Change) -> Option<(Namespace, String)> {
    match change {
        Change::Remove { namespace, key, .. } => Some((namespace.clone(), key.clone())),
        _ => None,
    }
}
