//! Looking at entries without their values, and keeping house: list, touch, remove, purge, statistics.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::Engine;
use super::counting::{Tenant, add};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::metadata::{Change, Condition, Cursor, Expiry, ListQuery};
use crate::names::{Namespace, Timestamp};
use crate::stats::Stats;

/// An entry, and whether it may be served.
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

/// Which entries to list. By default all of the namespace, 1,000 a page.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    prefix: String,
    valid: Option<bool>,
    limit: Option<usize>,
    after: Option<Cursor>,
    all_namespaces: bool,
}

impl ListOptions {
    /// All entries of the namespace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only keys that begin with this.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only entries that may be served (`true`) or may not (`false`).
    #[must_use]
    pub fn valid(mut self, valid: bool) -> Self {
        self.valid = Some(valid);
        self
    }

    /// At most so many entries on the page, from 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Goes on where the page before ended.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// The entries of all namespaces, in the order of namespace and key.
    #[must_use]
    pub fn all_namespaces(mut self) -> Self {
        self.all_namespaces = true;
        self
    }
}

/// A part of a listing.
#[derive(Clone, Debug, Default)]
pub struct EntryPage {
    /// The entries, in the order of namespace and key.
    pub entries: Vec<EntryInfo>,
    /// Where the next page begins, for [`ListOptions::after`]; `None` at the end.
    pub next: Option<Cursor>,
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

impl Engine {
    pub(crate) async fn entry(&self, tenant: &Tenant, key: &str) -> Result<Option<EntryInfo>> {
        self.check_open()?;
        Key::check(key)?;
        let entry = self.metadata.get_entry(&tenant.namespace, key).await;
        Ok(self.count_error(tenant, entry)?.map(|entry| self.inspect(entry)))
    }

    /// Adds what is known only here: pending uses and the state of source files.
    fn inspect(&self, mut entry: Entry) -> EntryInfo {
        if let Some(pending) = self.accesses.pending(&entry.namespace, entry.key.as_str(), entry.version) {
            entry.hits = entry.hits.saturating_add(pending.hits);
            entry.accessed_at = entry.accessed_at.max(pending.accessed_at);
        }
        let now = self.env.now();
        EntryInfo { state: self.file_checks.state(&entry, now), age: now.since(entry.created_at), entry }
    }

    pub(crate) async fn contains(&self, tenant: &Tenant, key: &str) -> Result<bool> {
        Ok(self.entry(tenant, key).await?.is_some_and(|info| info.is_valid()))
    }

    pub(crate) async fn remove(&self, tenant: &Tenant, key: &str) -> Result<bool> {
        self.check_open()?;
        Key::check(key)?;
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
        let outcomes = self.count_error(tenant, self.metadata.apply(keys.map(change).collect()).await)?;
        let removed = outcomes.iter().filter(|outcome| outcome.applied).count() as u64;
        add(&tenant.counts.removals, removed);
        self.flusher.mark();
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
        Key::check(key)?;
        loop {
            let found = self.count_error(tenant, self.metadata.get_entry(&tenant.namespace, key).await)?;
            let Some(entry) = found.filter(|entry| self.state(entry) == EntryState::Valid) else {
                return Ok(false);
            };
            let now = self.env.now();
            let change = Change::Touch {
                namespace: tenant.namespace.clone(),
                key: key.to_owned(),
                condition: Condition::Version(entry.version),
                expiry: expiry(&entry, now),
                now,
            };
            let outcomes = self.count_error(tenant, self.metadata.apply(vec![change]).await)?;
            // Another write came in between: its entry is the one to touch.
            if outcomes.iter().any(|outcome| outcome.applied) {
                return Ok(true);
            }
        }
    }

    pub(crate) async fn list(&self, tenant: &Tenant, options: ListOptions) -> Result<EntryPage> {
        self.check_open()?;
        let limit = options.limit.unwrap_or(ListQuery::MAX_PAGE);
        if !(1..=ListQuery::MAX_PAGE).contains(&limit) {
            let message = format!("a page has 1 to {} entries; {limit} were asked for", ListQuery::MAX_PAGE);
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut query = ListQuery::new();
        query.namespace = (!options.all_namespaces).then(|| tenant.namespace.clone());
        query.prefix = options.prefix;
        // What has expired is not valid, but what has not may be invalid for another reason.
        query.expired = options.valid.filter(|&valid| valid).map(|_| (false, self.env.now()));
        query.after = options.after;
        // What is filtered here is asked for by whole pages.
        query.limit = if options.valid.is_some() { ListQuery::MAX_PAGE } else { limit };
        let mut page = EntryPage::default();
        loop {
            let part = self.count_error(tenant, self.metadata.list_entries(&query).await)?;
            let mut entries = part.entries.into_iter();
            for entry in entries.by_ref() {
                let info = self.inspect(entry);
                if options.valid.is_some_and(|valid| info.is_valid() != valid) {
                    continue;
                }
                page.entries.push(info);
                if page.entries.len() == limit {
                    break;
                }
            }
            if page.entries.len() == limit && (entries.len() > 0 || part.next.is_some()) {
                page.next = page.entries.last().map(|info| Cursor {
                    namespace: info.namespace.clone(),
                    key: info.key.as_str().to_owned(),
                });
                return Ok(page);
            }
            if part.next.is_none() {
                return Ok(page);
            }
            query.after = part.next;
        }
    }

    pub(crate) async fn purge(&self) -> Result<PurgeReport> {
        self.check_open()?;
        let mut report = PurgeReport::default();
        loop {
            let purged = self.metadata.purge(self.env.now(), ListQuery::MAX_PAGE).await?;
            report.expired += purged.expired;
            report.reclaimed += purged.reclaimed;
            if !purged.more {
                break;
            }
        }
        report.stale = self.purge_stale().await?;
        while self.collect_garbage(ListQuery::MAX_PAGE).await? {}
        Ok(report)
    }

    /// Removes entries whose source files have changed.
    async fn purge_stale(&self) -> Result<u64> {
        let mut query = ListQuery::new();
        let mut removed = 0;
        loop {
            let page = self.metadata.list_entries(&query).await?;
            let now = self.env.now();
            let stale = page.entries.iter().filter(|entry| {
                !entry.validity.sources.is_empty() && self.file_checks.state(entry, now) != EntryState::Valid
            });
            let changes = stale.map(|entry| Change::Remove {
                namespace: entry.namespace.clone(),
                key: entry.key.as_str().to_owned(),
                condition: Condition::Version(entry.version),
                now,
            });
            let changes: Vec<Change> = changes.collect();
            if !changes.is_empty() {
                let namespaces: Vec<Namespace> = changes.iter().filter_map(namespace_of).collect();
                for (namespace, outcome) in namespaces.iter().zip(self.metadata.apply(changes).await?) {
                    if outcome.applied {
                        removed += 1;
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
        self.count_error(tenant, self.metadata.clear(&tenant.namespace).await)
    }

    /// The statistics of one namespace, or of all, with everything that is pending in this process.
    pub(crate) async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        self.check_open()?;
        self.flush(false).await?;
        self.metadata.stats(namespace).await
    }

    pub(crate) async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        self.check_open()?;
        // Nothing that was counted before may be written down after it.
        let guard = self.flushing.lock().await;
        self.flush_guarded(false, &guard).await?;
        self.metadata.reset_stats(namespace).await
    }

    pub(crate) async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.check_open()?;
        // A namespace that was only read exists by its statistics.
        self.flush(false).await?;
        self.metadata.namespaces().await
    }

    pub(crate) async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        self.check_open()?;
        let guard = self.flushing.lock().await;
        self.flush_guarded(true, &guard).await?;
        self.metadata.drop_namespace(namespace).await
    }
}

fn namespace_of(change: &Change) -> Option<Namespace> {
    match change {
        Change::Remove { namespace, .. } => Some(namespace.clone()),
        _ => None,
    }
}
