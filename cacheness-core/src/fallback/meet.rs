//! How the two stores meet again: what the second holds is brought to the first, piece by piece, until nothing is left.

use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use super::bring::{Failed, From2, Met};
use super::pair::Pair;
use super::rows::{cleared_namespace, is_hidden, is_note};
use crate::entry::Entry;
use crate::error::Result;
use crate::metadata::{AccessBatch, Change, Condition, GARBAGE_DELAY, ListQuery};
use crate::names::{BlobId, BlobKey, Namespace, Timestamp};
use crate::stats::Counters;

/// How many rows are looked at in one step.
const ROWS: usize = 64;

/// A blob this old whose entry was never put is one that nobody will put.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// How many entries of a cleared namespace are removed in one call.
const CLEARED: usize = 500;

impl Shared {
    /// Brings everything that the second store holds to the first. True where something is left to come back for.
    ///
    /// # Errors
    /// Why it came to a halt: the first store's error, or that of the second.
    pub(super) async fn meet(&self) -> Result<bool> {
        let garbage = self.collect_second().await;
        let met = self.meet_first().await;
        match met {
            Ok(left) => {
                let left = left | garbage?;
                if !left && !self.second_holds_any().await? {
                    self.sweep_second().await?;
                }
                Ok(left)
            }
            Err(Failed::Down(error)) => {
                self.note_down(&error);
                Err(error)
            }
            Err(Failed::Other(error)) => Err(error),
        }
    }

    async fn meet_first(&self) -> Met<bool> {
        let first = match self.first.get() {
            Some(first) => first,
            None => self.open_first().await.of_first()?,
        };
        self.check_answers(first).await?;
        if self.down.swap(false, Ordering::Relaxed) {
            tracing::info!("the first store answers again");
        }
        self.tell_limits(first).await?;
        if !self.second_holds_any().await.of_second()? && self.counted().await.of_second()?.is_empty() {
            return Ok(false);
        }
        // One process at a time, so that none undoes what another is at.
        let Some(turn) = self.take_turn().await.of_second()? else { return Ok(true) };
        let met = self.bring_all(first).await;
        // Where it has passed to another meanwhile, that one's note stays.
        if let Some(turn) = self.take_turn().await.of_second()? {
            self.remove_row(&turn).await.of_second()?;
        }
        drop(turn);
        met
    }

    /// An error where the first store does not answer. A ping is more than many backends know, so both parts are asked for
    /// something that is not there.
    async fn check_answers(&self, first: &Pair) -> Met<()> {
        let nothing = cleared_namespace().of_second()?;
        Self::probe(first.metadata.get_entry(&nothing, "probe").await)?;
        Self::probe(first.blobs.exists(&first.key(BlobId::new(self.env.now()))).await)
    }

    /// Takes any answer for one but that the store is down.
    fn probe<T>(answer: Result<T>) -> Met<()> {
        match answer {
            Err(error) if error.is_temporary() => Err(Failed::Down(error)),
            _ => Ok(()),
        }
    }

    async fn bring_all(&self, first: &Pair) -> Met<bool> {
        self.clear_first(first).await?;
        let left = self.bring_rows(first).await?;
        self.bring_counters(first).await?;
        Ok(left)
    }

    /// Deletes blobs that a crashed process put into the second store without an entry. To be called while there is
    /// neither a row nor garbage: any blob of some age is one.
    async fn sweep_second(&self) -> Result<()> {
        let (second, now) = (&self.second, self.env.now());
        let mut after: Option<String> = None;
        loop {
            let page = second.blobs.list_keys(second.id(), after.as_deref(), ListQuery::MAX_PAGE).await?;
            let old = |blob: &&BlobId| blob.created_at().is_some_and(|at| now.since(at) >= ABANDONED);
            let keys: Vec<BlobKey> = page.blobs.iter().filter(old).map(|&blob| second.key(blob)).collect();
            if !keys.is_empty() {
                second.blobs.delete_many(&keys).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Sets limits that were set while the first store was down.
    async fn tell_limits(&self, first: &Pair) -> Met<()> {
        loop {
            let Some((namespace, change)) = self.limits().first().cloned() else { return Ok(()) };
            let told = first.metadata.change_limits(namespace.as_ref(), &change).await;
            if let Err(error) = told {
                if error.is_temporary() {
                    return Err(Failed::Down(error));
                }
                tracing::warn!(%error, "limits that were set while the store was down cannot be set");
            }
            let mut limits = self.limits();
            if limits.first().is_some_and(|next| *next == (namespace, change)) {
                limits.remove(0);
            }
        }
    }

    /// Removes the entries of namespaces that were cleared while the first store was down, but for those put since.
    async fn clear_first(&self, first: &Pair) -> Met<()> {
        let mut query = ListQuery::new();
        query.namespace = Some(cleared_namespace().of_second()?);
        loop {
            let notes = self.second.metadata.list_entries(&query).await.of_second()?;
            for note in notes.entries.iter().filter(|entry| is_note(entry)) {
                self.clear_namespace(first, note).await?;
                self.remove_row(note).await.of_second()?;
            }
            query.after = notes.next;
            if query.after.is_none() {
                return Ok(());
            }
        }
    }

    async fn clear_namespace(&self, first: &Pair, note: &Entry) -> Met<()> {
        let mut query = ListQuery::new();
        query.namespace = Some(Namespace::new(note.key.as_str()).of_second()?);
        query.limit = CLEARED;
        if first.metadata.capabilities().queries.created {
            query.filter.created = (Bound::Unbounded, Bound::Included(note.created_at));
        }
        loop {
            self.check_not_closed()?;
            let page = first.metadata.list_entries(&query).await.of_first()?;
            let now = self.env.now();
            let gone = page.entries.iter().filter(|entry| entry.created_at <= note.created_at);
            let changes: Vec<Change> = gone
                .map(|entry| Change::Remove {
                    namespace: entry.namespace.clone(),
                    key: entry.key.as_str().to_owned(),
                    condition: Condition::Version(entry.version),
                    now,
                })
                .collect();
            if !changes.is_empty() {
                first.metadata.apply(changes).await.of_first()?;
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(());
            }
        }
    }

    /// Brings all rows. True where one could not be.
    async fn bring_rows(&self, first: &Pair) -> Met<bool> {
        let mut query = ListQuery::new();
        query.limit = ROWS;
        let mut left = false;
        loop {
            let page = self.second.metadata.list_entries(&query).await.of_second()?;
            for row in page.entries.iter().filter(|row| !is_hidden(&row.namespace)) {
                self.check_not_closed()?;
                if self.take_turn().await.of_second()?.is_none() {
                    return Ok(true);
                }
                let error = match self.bring_one(first, row).await {
                    Ok(()) => continue,
                    Err(Failed::Other(error)) => error,
                    // A value may be too large for the time that a call has, and the store answers all the same.
                    Err(Failed::Down(error)) => {
                        self.check_answers(first).await?;
                        error
                    }
                };
                // One that cannot be brought must not hold up the others.
                let error = error.without_key();
                tracing::warn!(%error, "a value of the fallback cannot be brought to the first store yet");
                left = true;
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(left);
            }
        }
    }

    async fn bring_one(&self, first: &Pair, listed: &Entry) -> Met<()> {
        // A listing may leave the value out.
        let row = self.second.metadata.get_entry(&listed.namespace, listed.key.as_str()).await.of_second()?;
        let Some(row) = &row else { return Ok(()) };
        // A blob may take long. Whoever writes a key that has a row does not wait for it.
        let brought = self.bring_ahead(first, row).await?;
        let _bringing = self.bringing.lock().await;
        let claimed = self.claim(row).await?;
        if brought {
            self.take_back(first, row, claimed.as_ref().map(|(_, row)| row)).await?;
        }
        match claimed {
            Some((_, row)) => self.bring(first, &row).await,
            None => Ok(()),
        }
    }

    /// What was counted meanwhile, by namespace.
    async fn counted(&self) -> Result<Vec<(Namespace, Counters)>> {
        let mut counted = Vec::new();
        for namespace in self.second.metadata.namespaces().await? {
            let mut counters = self.second.metadata.stats(Some(&namespace)).await?.counters;
            // Its own evictions and expirations are no events of the cache.
            (counters.evictions, counters.expirations) = (0, 0);
            if !counters.is_zero() && !is_hidden(&namespace) {
                counted.push((namespace, counters));
            }
        }
        Ok(counted)
    }

    /// Adds what was counted meanwhile to the first store's statistics. They are taken away here before: what is cut
    /// short, or may have been added, counts too little, and never twice.
    async fn bring_counters(&self, first: &Pair) -> Met<()> {
        for (namespace, counters) in self.counted().await.of_second()? {
            self.second.metadata.reset_stats(Some(&namespace)).await.of_second()?;
            let batch = AccessBatch { counters: vec![(namespace, counters)], accesses: Vec::new() };
            if let Err(error) = first.metadata.record_accesses(batch.clone()).await {
                if !error.is_outcome_unknown() {
                    self.second.metadata.record_accesses(batch).await.of_second()?;
                }
                return Err(error).of_first();
            }
        }
        Ok(())
    }

    /// Deletes blobs of the second store that no row names any more. True where some are not due yet.
    async fn collect_second(&self) -> Result<bool> {
        let second = &self.second;
        // Before all time, so that nothing has expired: only what clearing left behind is taken back.
        while second.metadata.purge(Timestamp::MIN, ListQuery::MAX_PAGE).await?.more {
            if self.closed.load(Ordering::Acquire) {
                return Ok(false);
            }
        }
        loop {
            let due = second.metadata.due_garbage(self.env.now(), ROWS).await?;
            if due.is_empty() {
                break;
            }
            let keys: Vec<BlobKey> = due.iter().map(|&blob| second.key(blob)).collect();
            second.blobs.delete_many(&keys).await?;
            second.metadata.forget_garbage(&due).await?;
        }
        let later = second.metadata.due_garbage(self.env.now() + GARBAGE_DELAY, 1).await?;
        Ok(!later.is_empty())
    }

    fn check_not_closed(&self) -> Met<()> {
        if self.closed.load(Ordering::Acquire) { Err(Failed::Other(Self::closed_error())) } else { Ok(()) }
    }
}
