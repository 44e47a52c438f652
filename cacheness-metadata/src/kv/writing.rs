//! What writes: each method as one transaction, or as several that are each short.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cacheness_core::{
    AccessBatch, AccessLog, BlobId, Change, Counters, Env, Error, ErrorKind, Evicted, EvictionPolicies,
    Evictions, Limits, LimitsChange, Namespace, Outcome, Purged, Result, Timestamp,
};
use tokio::sync::Mutex;

use super::eviction::{Crowded, Room, Scope};
use super::limits::LimitsStep;
use super::rows;
use super::transaction::{Attempts, Transaction};
use super::{KvStore, layout};

/// How many entries a transaction of a long work changes: ranking anew, evicting for a lower limit, purging.
pub(super) const ENTRIES_PER_STEP: usize = 500;

/// A store whose writers take turns.
pub(super) struct Writer {
    pub(super) store: Box<dyn KvStore>,
    pub(super) accesses: Arc<AccessLog>,
    pub(super) policies: EvictionPolicies,
    pub(super) env: Env,
    /// Writers of this process take turns, so that only those of other processes make a write begin anew. What holds it is
    /// done by [`Env::carry_out`], so that it ends whatever its caller does.
    pub(super) turn: Mutex<()>,
    pub(super) closed: AtomicBool,
}

impl Writer {
    pub(super) fn open_store(&self) -> Result<&dyn KvStore> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the entries have been closed"));
        }
        Ok(&*self.store)
    }

    pub(super) async fn attempts(&self) -> Result<Attempts<'_>> {
        let turn = self.turn.lock().await;
        Ok(Attempts::new(self.open_store()?, (&self.accesses, &self.policies), turn))
    }

    /// Clears or drops a namespace.
    pub(super) async fn clear_or_drop(&self, namespace: &Namespace, drop: bool) -> Result<Option<u64>> {
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

    /// Ranks the entries of this epoch that are not yet ranked, step by step. It ends early where another process has
    /// begun a new epoch meanwhile.
    pub(super) async fn rank_all(&self, epoch: u32) -> Result<()> {
        let mut start = Some(layout::all(layout::ENTRY).start);
        while let Some(from) = start {
            let mut attempts = self.attempts().await?;
            start = loop {
                let mut transaction = attempts.begin().await?;
                let result = rank_step(&mut transaction, epoch, from.clone()).await;
                if let Some(next) = attempts.finish(transaction, result).await? {
                    break next;
                }
            };
        }
        Ok(())
    }

    /// Evicts what a call needs evicted before it, in transactions that are each short.
    async fn make_room_before(
        attempts: &mut Attempts<'_>,
        now: Timestamp,
        crowded: &Crowded,
    ) -> Result<Vec<Evicted>> {
        let mut evicted = Vec::new();
        loop {
            let mut transaction = attempts.begin().await?;
            let most = (ENTRIES_PER_STEP, crowded.room);
            let result = transaction.evict(&crowded.scope, now, &HashMap::new(), most).await;
            let Some(more) = attempts.finish(transaction, result).await? else { continue };
            let done = more.len() < ENTRIES_PER_STEP;
            evicted.extend(more);
            if done {
                return Ok(evicted);
            }
        }
    }

    pub(super) async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        let mut attempts = self.attempts().await?;
        let mut before = Vec::new();
        loop {
            let mut transaction = attempts.begin().await?;
            let result = transaction.apply(&changes).await;
            if let Some(crowded) = transaction.crowded.take() {
                transaction.discard();
                if attempts.finish(transaction, Ok(())).await?.is_some() {
                    let now = time_of(&changes);
                    before.extend(Self::make_room_before(&mut attempts, now, &crowded).await?);
                }
                continue;
            }
            if transaction.unranked {
                // Where a process died while it ranked, or does so now.
                let epoch = transaction.head.epoch;
                transaction.discard();
                // The uses that it took go back to the log with the attempts.
                attempts.finish(transaction, Ok(())).await?;
                drop(attempts);
                self.rank_all(epoch).await?;
                attempts = self.attempts().await?;
                continue;
            }
            if let Some(mut outcomes) = attempts.finish(transaction, result).await? {
                // They were evicted for whichever change; the first that was made tells of them.
                if let Some(outcome) = outcomes.iter_mut().find(|outcome| outcome.version.is_some()) {
                    outcome.evicted.splice(0..0, before);
                }
                return Ok(outcomes);
            }
        }
    }

    pub(super) async fn record_accesses(&self, batch: AccessBatch) -> Result<()> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = transaction.record(&batch).await;
            if attempts.finish(transaction, result).await?.is_some() {
                return Ok(());
            }
        }
    }

    pub(super) async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = reset(&mut transaction, namespace).await;
            if attempts.finish(transaction, result).await?.is_some() {
                return Ok(());
            }
        }
    }

    pub(super) async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged> {
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

    pub(super) async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let mut result = Ok(());
            for &blob in blobs {
                result = transaction.forget(blob).await;
                if result.is_err() {
                    break;
                }
            }
            if attempts.finish(transaction, result).await?.is_some() {
                return Ok(());
            }
        }
    }

    pub(super) async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = transaction.condemn(blobs, now).await;
            if attempts.finish(transaction, result).await?.is_some() {
                return Ok(());
            }
        }
    }

    pub(super) async fn change_limits(
        &self,
        namespace: Option<&Namespace>,
        change: &LimitsChange,
    ) -> Result<Limits> {
        let mut change = change.clone();
        loop {
            let mut attempts = self.attempts().await?;
            let step = loop {
                let mut transaction = attempts.begin().await?;
                let result = transaction.change_limits(namespace, &change).await;
                if let Some(step) = attempts.finish(transaction, result).await? {
                    break step;
                }
            };
            drop(attempts);
            match step {
                LimitsStep::Done(limits) => return Ok(limits),
                LimitsStep::Rank(epoch, first) => {
                    self.rank_all(epoch).await?;
                    change = first.map_or(change, LimitsChange::from);
                    // It is stored by now. Where another process has named another one meanwhile, that one holds.
                    change.policy = None;
                }
            }
        }
    }

    pub(super) async fn evict(
        &self,
        namespace: Option<&Namespace>,
        now: Timestamp,
        limit: usize,
    ) -> Result<Evictions> {
        let mut attempts = self.attempts().await?;
        loop {
            let mut transaction = attempts.begin().await?;
            let result = evict_step(&mut transaction, namespace, now, limit.min(ENTRIES_PER_STEP)).await;
            if let Some(evictions) = attempts.finish(transaction, result).await? {
                return Ok(evictions);
            }
        }
    }

    pub(super) async fn close(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.store.close().await
    }
}

async fn rank_step(transaction: &mut Transaction<'_>, epoch: u32, from: Bytes) -> Result<Option<Bytes>> {
    if !transaction.head.ranking || transaction.head.epoch != epoch {
        return Ok(None);
    }
    let next = transaction.rank_some(from, ENTRIES_PER_STEP).await?;
    if next.is_none() {
        transaction.head.ranking = false;
    }
    Ok(next)
}

/// When the first put of a call is made.
fn time_of(changes: &[Change]) -> Timestamp {
    let puts = changes.iter().filter_map(|change| match change {
        Change::Put { now, .. } => Some(*now),
        _ => None,
    });
    puts.min().unwrap_or_default()
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

async fn evict_step(
    transaction: &mut Transaction<'_>,
    namespace: Option<&Namespace>,
    now: Timestamp,
    limit: usize,
) -> Result<Evictions> {
    let scope = match namespace {
        None => Scope::Cache,
        Some(name) => match transaction.namespace(name).await? {
            Some(row) => Scope::Namespace(name.clone(), row.generation),
            None => return Ok(Evictions::default()),
        },
    };
    if !transaction.is_over(&scope, Room::default()).await? {
        return Ok(Evictions::default());
    }
    let evicted = transaction.evict(&scope, now, &HashMap::new(), (limit, Room::default())).await?;
    let more = evicted.len() == limit && transaction.is_over(&scope, Room::default()).await?;
    Ok(Evictions::new(evicted, more))
}
