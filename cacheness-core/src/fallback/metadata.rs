//! Both stores as one metadata backend.

use std::sync::Arc;

use async_trait::async_trait;

use super::Shared;
use super::bring::{Failed, From2, Met};
use super::pair::{NO_VERSION, Pair, of_second, shown};
use super::rows::{is_hidden, is_note, live};
use super::translate::{blob_of, place_of};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{Limits, LimitsChange};
use crate::metadata::{
    AccessBatch, Change, ChangeFeeds, Condition, Evictions, Leases, ListQuery, MetadataBackend,
    MetadataCapabilities, Outcome, Page, Purged, QuerySupport,
};
use crate::names::{BlobId, CacheId, Namespace, Timestamp};
use crate::stats::Stats;

/// The entries of both pairs.
pub(super) struct FallbackMetadata(pub(super) Arc<Shared>);

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl MetadataBackend for FallbackMetadata {
    fn capabilities(&self) -> MetadataCapabilities {
        let second = self.0.second.metadata.capabilities();
        let Some(first) = self.0.first.get().map(|first| first.metadata.capabilities()) else {
            // What is put with its entry meanwhile has to fit there whatever the first store takes.
            let capabilities = MetadataCapabilities::persistent().with_shared().with_inline_limit(0);
            return MetadataCapabilities {
                needs_runtime: self.0.opener.needs_runtime(),
                queries: second.queries,
                ..capabilities
            };
        };
        let (a, b) = (first.queries, second.queries);
        MetadataCapabilities {
            inline_limit: first.inline_limit.min(second.inline_limit),
            needs_runtime: first.needs_runtime || second.needs_runtime || self.0.opener.needs_runtime(),
            queries: QuerySupport {
                glob: a.glob && b.glob,
                tags: a.tags && b.tags,
                fields: a.fields && b.fields,
                size: a.size && b.size,
                created: a.created && b.created,
                order: a.order && b.order,
            },
            ..first
        }
    }

    fn cache_id(&self) -> CacheId {
        self.0.first.get().unwrap_or(&self.0.second).id()
    }

    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        if let Some(row) = self.0.second.metadata.get_entry(namespace, key).await? {
            return Ok(live(row));
        }
        let Some(first) = self.0.first.get() else { return Ok(None) };
        let answer = self.0.answered(first.metadata.get_entry(namespace, key).await)?;
        match answer.flatten() {
            Some(entry) if self.0.is_cleared(&entry).await? => Ok(None),
            found => Ok(found),
        }
    }

    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>> {
        let rows = self.0.second.metadata.get_entries(namespace, keys).await?;
        let mut found: Vec<Option<Entry>> = vec![None; keys.len()];
        let mut others = Vec::new();
        for (at, row) in rows.into_iter().enumerate().take(keys.len()) {
            match row {
                Some(row) => found[at] = live(row),
                None => others.push(at),
            }
        }
        let Some(first) = self.0.first.get().filter(|_| !others.is_empty()) else { return Ok(found) };
        let keys: Vec<&str> = others.iter().map(|&at| keys[at]).collect();
        let answer = self.0.answered(first.metadata.get_entries(namespace, &keys).await)?;
        let cleared = self.0.cleared(namespace).await?.map(|note| note.created_at);
        for (at, entry) in others.into_iter().zip(answer.unwrap_or_default()) {
            found[at] = entry.filter(|entry| cleared.is_none_or(|at| entry.created_at > at));
        }
        Ok(found)
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        let rows = self.0.rows_of(&changes).await?;
        if rows.iter().all(Option::is_none) {
            return self.0.apply_over(changes, rows).await;
        }
        // Rows are replaced under a lock. Others wait for it, so this must go on whatever its caller does.
        let shared = self.0.clone();
        self.0.env.apart(async move { shared.apply_over(changes, rows).await }).await
    }

    async fn list_entries(&self, query: &ListQuery) -> Result<Page> {
        self.0.list(query).await
    }

    async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        let (mut here, there): (Vec<_>, Vec<_>) =
            batch.accesses.into_iter().partition(|access| of_second(access.version).is_some());
        for access in &mut here {
            access.version = of_second(access.version).unwrap_or(access.version);
        }
        let to_first = AccessBatch { counters: batch.counters.clone(), accesses: there };
        let recorded = match self.0.first_for_writes() {
            Some(first) => match first.metadata.record_accesses(to_first).await {
                // What may have been counted there would be counted twice.
                Err(error) if error.is_temporary() && error.is_outcome_unknown() => {
                    self.0.note_down(&error);
                    true
                }
                answer => self.0.answered(answer)?.is_some(),
            },
            None => false,
        };
        let counters = if recorded { Vec::new() } else { batch.counters };
        if here.is_empty() && counters.is_empty() {
            return Ok(());
        }
        if !counters.is_empty() {
            self.0.signal.wake();
        }
        self.0.second.metadata.record_accesses(AccessBatch { counters, accesses: here }).await
    }

    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        if let Some(first) = self.0.first.get()
            && let Some(stats) = self.0.answered(first.metadata.stats(namespace).await)?
        {
            return Ok(stats);
        }
        self.0.second.metadata.stats(namespace).await
    }

    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        self.0.needed()?.metadata.reset_stats(namespace).await?;
        self.0.second.metadata.reset_stats(namespace).await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let mut found = match self.0.first.get() {
            Some(first) => self.0.answered(first.metadata.namespaces().await)?.unwrap_or_default(),
            None => Vec::new(),
        };
        for namespace in self.0.second.metadata.namespaces().await? {
            if !is_hidden(&namespace)
                && !found.contains(&namespace)
                && self.0.second.metadata.stats(Some(&namespace)).await?.entries > 0
            {
                found.push(namespace);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let there = match self.0.first.get() {
            Some(first) => self.0.answered(first.metadata.clear(namespace).await)?,
            None => None,
        };
        if there.is_none() {
            self.0.note_cleared(namespace).await?;
        }
        let here = self.0.second.metadata.clear(namespace).await?;
        if there.is_some()
            && let Some(note) = self.0.cleared(namespace).await?
        {
            self.0.remove_row(&note).await?;
        }
        self.0.signal.wake();
        Ok(there.unwrap_or(0).saturating_add(here))
    }

    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>> {
        let dropped = self.0.needed()?.metadata.drop_namespace(namespace).await?;
        let here = self.0.second.metadata.clear(namespace).await?;
        self.0.second.metadata.reset_stats(Some(namespace)).await?;
        if let Some(note) = self.0.cleared(namespace).await? {
            self.0.remove_row(&note).await?;
        }
        self.0.signal.wake();
        Ok(match (dropped, here) {
            (None, 0) => None,
            (dropped, here) => Some(dropped.unwrap_or(0).saturating_add(here)),
        })
    }

    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
        // What has expired in the second store still has to replace what the first one has.
        let Some(first) = self.0.first.get() else { return Ok(Purged::default()) };
        Ok(self.0.answered(first.metadata.purge(now, limit).await)?.unwrap_or_default())
    }

    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        // That of the second store is collected where rows are brought.
        let Some(first) = self.0.first.get() else { return Ok(Vec::new()) };
        Ok(self.0.answered(first.metadata.due_garbage(now, limit).await)?.unwrap_or_default())
    }

    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        self.0.needed()?.metadata.forget_garbage(blobs).await
    }

    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        // A row may name a blob of the first store, where just the entries could not be put.
        let here = self.0.second.metadata.unnamed(blobs).await?;
        self.0.needed()?.metadata.unnamed(&here).await
    }

    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        self.0.needed()?.metadata.condemn(blobs, now).await
    }

    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits> {
        if let Some(first) = self.0.first.get()
            && let Some(limits) = self.0.answered(first.metadata.change_limits(namespace, change).await)?
        {
            return Ok(limits);
        }
        Ok(self.0.remember_limits(namespace, change))
    }

    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions> {
        let Some(first) = self.0.first.get() else { return Ok(Evictions::default()) };
        Ok(self.0.answered(first.metadata.evict(namespace, now, limit).await)?.unwrap_or_default())
    }

    async fn ping(&self) -> Result<()> {
        self.0.needed()?.metadata.ping().await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.0.first.get()?.metadata.leases()
    }

    fn changes(&self) -> Option<&dyn ChangeFeeds> {
        self.0.first.get()?.metadata.changes()
    }

    async fn close(&self) -> Result<()> {
        self.0.close_driver();
        let first = match self.0.first.get() {
            Some(first) => first.metadata.close().await,
            None => Ok(()),
        };
        first.and(self.0.second.metadata.close().await)
    }
}

impl Shared {
    /// Makes changes in the store that they belong to. `rows` are those of their keys in the second store.
    async fn apply_over(&self, mut changes: Vec<Change>, rows: Vec<Option<Entry>>) -> Result<Vec<Outcome>> {
        // A condition on an entry of the first store only that store can check, whatever is known of it.
        let asks_first =
            changes.iter().zip(&rows).any(|(change, row)| row.is_none() && is_about_first(change));
        if asks_first && rows.iter().any(Option::is_some) {
            return self.apply_to_both(changes, rows).await;
        }
        let cleared = self.cleared_at(&changes).await?;
        let first = match (asks_first, self.belong_to_second(&changes, &cleared)) {
            (true, true) => return Err(cannot_be_checked()),
            (true, false) => Some(self.needed()?),
            (false, true) => None,
            (false, false) => self.first_for_writes(),
        };
        if let Some(first) = first {
            match self.apply_to_first(first, &mut changes, rows, &cleared).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Failed::Down(error)) => {
                    self.note_down(&error);
                    if asks_first {
                        return Err(error);
                    }
                }
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        self.apply_to_second(changes).await
    }

    /// Makes changes of which some are about entries that only the first store has, and others about rows. Those are made apart
    /// from each other: a row may have to wait for blobs.
    async fn apply_to_both(&self, changes: Vec<Change>, rows: Vec<Option<Entry>>) -> Result<Vec<Outcome>> {
        let has_row: Vec<bool> = rows.iter().map(Option::is_some).collect();
        let (with_rows, without): (Vec<_>, Vec<_>) =
            changes.into_iter().zip(rows).partition(|(_, row)| row.is_some());
        let mut outcomes = Vec::new();
        for part in [without, with_rows] {
            let (changes, rows) = part.into_iter().unzip();
            let made = Box::pin(self.apply_over(changes, rows)).await;
            // The first part may have been made.
            let is_second = !outcomes.is_empty();
            let made =
                made.map_err(|error| if is_second { error.with_outcome_unknown(true) } else { error })?;
            outcomes.push(made.into_iter());
        }
        let next = |has_row: bool| outcomes.get_mut(usize::from(has_row)).and_then(Iterator::next);
        has_row.into_iter().map(next).collect::<Option<_>>().ok_or_else(|| {
            Error::new(
                ErrorKind::Unexpected,
                "a metadata backend gave fewer outcomes than it was given changes",
            )
        })
    }

    /// True for changes that go to the second store although the first may answer.
    fn belong_to_second(&self, changes: &[Change], cleared: &[Option<Timestamp>]) -> bool {
        let fresh = self.fresh();
        changes.iter().zip(cleared).any(|(change, cleared)| {
            // An entry goes where its blob went: others could not read it, and would take it for lost.
            let has_blob_here = blob_of(change).is_some_and(|blob| fresh.contains(&blob));
            // One that seems older than a clear that is still to be brought would be removed by it. As a row it is brought
            // after that.
            let seems_cleared = match change {
                Change::Put { entry, .. } => cleared.is_some_and(|at| entry.created_at <= at),
                Change::Remove { .. } | Change::Touch { .. } => false,
            };
            has_blob_here || seems_cleared
        })
    }

    /// When the namespace of each change was cleared, where that is still to be brought to the first store.
    async fn cleared_at(&self, changes: &[Change]) -> Result<Vec<Option<Timestamp>>> {
        let mut asked: Vec<(&Namespace, Option<Timestamp>)> = Vec::new();
        let mut cleared = Vec::with_capacity(changes.len());
        for (namespace, _) in changes.iter().map(place_of) {
            let known = asked.iter().find(|(of, _)| *of == namespace).map(|(_, at)| *at);
            let at = match known {
                Some(at) => at,
                None => {
                    let at = self.cleared(namespace).await?.map(|note| note.created_at);
                    asked.push((namespace, at));
                    at
                }
            };
            cleared.push(at);
        }
        Ok(cleared)
    }

    /// Makes changes in the first store, and removes the rows that they are newer than. Where that fails, conditions on
    /// rows are still good: they name the version that a claim has given.
    async fn apply_to_first(
        &self,
        first: &Pair,
        changes: &mut [Change],
        rows: Vec<Option<Entry>>,
        cleared: &[Option<Timestamp>],
    ) -> Met<Vec<Outcome>> {
        // A blob may take long. Nobody waits for the lock meanwhile.
        let mut brought = vec![false; rows.len()];
        for ((change, row), brought) in changes.iter().zip(&rows).zip(&mut brought) {
            if let Some(row) = row.as_ref().filter(|_| !is_unconditional(change)) {
                *brought = self.bring_ahead(first, row).await?;
            }
        }
        let mut replaced = Vec::new();
        let has_rows = rows.iter().any(Option::is_some);
        let _bringing = if has_rows { Some(self.bringing.lock().await) } else { None };
        for (at, seen) in rows.into_iter().enumerate() {
            let Some(seen) = seen else { continue };
            let unconditional = is_unconditional(&changes[at]);
            let claimed = self.claim(&seen).await?;
            if brought.get(at).is_some_and(|&brought| brought) {
                self.take_back(first, &seen, claimed.as_ref().map(|(_, row)| row)).await?;
            }
            let Some((before, row)) = claimed else { continue };
            for change in changes.iter_mut() {
                if place_of(change) == (&row.namespace, row.key.as_str())
                    && let Condition::Version(version) = condition_of(change)
                    && *version == shown(before)
                {
                    *version = shown(row.version);
                }
            }
            if unconditional {
                replaced.push((at, row));
            } else {
                // A condition is about the newest there is.
                self.bring(first, &row).await?;
            }
        }
        self.clear_keys(first, changes, cleared).await?;
        let own = changes.iter().cloned().map(for_first).collect();
        let mut outcomes = first.metadata.apply(own).await.of_first()?;
        for (at, row) in replaced {
            self.remove_row(&row).await.of_second()?;
            if let Some(outcome) = outcomes.get_mut(at)
                && !is_note(&row)
            {
                // A removal has removed something, also where only the second store had it.
                outcome.applied = true;
                outcome.previous.get_or_insert(shown(row.version));
            }
        }
        Ok(outcomes)
    }

    /// Removes entries of the first store that are gone because their namespace was cleared, where a change is about
    /// to ask whether they are there.
    async fn clear_keys(&self, first: &Pair, changes: &[Change], cleared: &[Option<Timestamp>]) -> Met<()> {
        for (change, cleared) in changes.iter().zip(cleared) {
            let (namespace, key) = place_of(change);
            let Some(cleared) = *cleared else { continue };
            let there = first.metadata.get_entry(namespace, key).await.of_first()?;
            if let Some(there) = there.filter(|there| there.created_at <= cleared) {
                let (namespace, key) = (namespace.clone(), key.to_owned());
                let (condition, now) = (Condition::Version(there.version), self.env.now());
                let change = Change::Remove { namespace, key, condition, now };
                first.metadata.apply(vec![change]).await.of_first()?;
            }
        }
        Ok(())
    }

    /// Keeps a change of limits until the first store answers, and says what the limits will be as far as is known.
    fn remember_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Limits {
        let mut limits = self.limits();
        if !(change.is_empty() && limits.iter().any(|(of, _)| of.as_ref() == namespace)) {
            limits.push((namespace.cloned(), change.clone()));
        }
        let of_this = limits.iter().filter(|(of, _)| of.as_ref() == namespace);
        let after = of_this.fold(None, |before, (_, change)| Some(change.apply(before.as_ref())));
        drop(limits);
        self.signal.wake();
        after.unwrap_or_default()
    }

    pub(super) fn closed_error() -> Error {
        Error::new(ErrorKind::Closed, "the cache has been closed")
    }
}

fn is_unconditional(change: &Change) -> bool {
    matches!(
        change,
        Change::Put { condition: Condition::Always, .. }
            | Change::Remove { condition: Condition::Always, .. }
    )
}

fn condition_of(change: &mut Change) -> &mut Condition {
    match change {
        Change::Put { condition, .. }
        | Change::Remove { condition, .. }
        | Change::Touch { condition, .. } => condition,
    }
}

/// True for a change whose condition names a version of the first store.
fn is_about_first(change: &Change) -> bool {
    let (Change::Put { condition, .. } | Change::Remove { condition, .. } | Change::Touch { condition, .. }) =
        change;
    matches!(condition, Condition::Version(version) if of_second(*version).is_none())
}

fn cannot_be_checked() -> Error {
    let message = "the value was taken by the fallback, and whether the entry that it is to replace is still the same only the \
                   first store can say, which does not answer; try again when it does";
    Error::new(ErrorKind::Unavailable, message).with_outcome_unknown(false)
}

/// The change with a condition that cannot hold there where it names a version of the second store.
fn for_first(mut change: Change) -> Change {
    let condition = condition_of(&mut change);
    if matches!(condition, Condition::Version(version) if of_second(*version).is_some()) {
        *condition = Condition::Version(NO_VERSION);
    }
    change
}
