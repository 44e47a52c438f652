//! What changes entries: put, remove and touch, as one call of a function in the database; and uses.

use std::collections::BTreeMap;

use cacheness_core::{
    AccessBatch, Change, Counters, EntryAccess, EntryUse, Evicted, EvictionReason, Key, Namespace, Outcome,
    Timestamp, Version,
};
use tokio_postgres::Row;

use super::batch::Batch;
use super::connection::Param;
use super::deadline::Deadline;
use super::eviction::{BUSY, busy};
use super::failure::{Asked, Failure};
use super::reading::{hash, namespace};
use super::rules::{Rules, Way};
use super::statements::Sql;
use super::store::{Store, params};
use super::uses::{Hint, Taken};

/// The kinds of rows that the function answers with.
const OUTCOME: i16 = 0;
const EVICTED: i16 = 1;
const HINT: i16 = 2;
pub(super) const OLD_RULES: i16 = 3;
const FOLLOWED: i16 = 6;

impl Store {
    /// Makes the changes of one call. Says also whether somebody follows the changes.
    pub(super) async fn apply(
        &self,
        mut changes: Vec<Change>,
        deadline: Deadline,
    ) -> Result<(Vec<Outcome>, bool), Failure> {
        if changes.is_empty() {
            // Only a backend that was closed has anything to say to that.
            let closed = self.pool.is_closed();
            return if closed {
                self.query(Sql::Ping, &[]).await.map(|_| Default::default())
            } else {
                Ok(Default::default())
            };
        }
        let mut batch = Batch::new(&changes)?;
        let mut evicted_before = Vec::new();
        let mut rules = self.rules();
        loop {
            // What was ranked, evicted or taken back for it stays so, and the next attempt finds it done.
            deadline.check()?;
            if rules.are_unknown() {
                rules = self.read_rules().await?;
                if rules.are_unknown() {
                    rules.ranking()?;
                }
            }
            batch.rank(&rules, &mut changes);
            let (ranking, hints) = (rules.known_ranking(), self.hints());
            let uses = Taken::of(&self.accesses, ranking.filter(|_| batch.puts()), &hints);
            let mut params = batch.params(&rules);
            params.extend(uses.params());
            match self.query_until(Sql::Apply, &params, deadline).await {
                Ok(rows) => {
                    if rows.first().map(|row| row.try_get::<_, i16>(0)).transpose()? == Some(OLD_RULES) {
                        drop(uses);
                        rules = self.read_rules().await?;
                        continue;
                    }
                    uses.written();
                    let (outcomes, followed) = self.outcomes(&rows, changes.len(), evicted_before)?;
                    if rules.way == Way::Unknown {
                        // The changes are made; a rank that is late is mended by the next use.
                        let _ = self.rank_touched(&rules, &changes, &outcomes).await;
                    }
                    return Ok((outcomes, followed));
                }
                Err(Failure::Asked(Asked::Unprepared, _)) => {
                    drop(uses);
                    rules = self.read_rules().await?;
                    self.prepare_eviction(&rules, deadline).await?;
                }
                Err(Failure::Asked(Asked::Crowded, detail)) => {
                    drop(uses);
                    let crowded = batch.crowded(&detail);
                    self.make_room_before(&mut rules, &crowded, &mut evicted_before, deadline).await?;
                }
                Err(Failure::Asked(asked, detail)) => return Err(batch.refusal(asked, &detail).into()),
                Err(failure) => return Err(failure),
            }
        }
    }

    fn outcomes(
        &self,
        rows: &[Row],
        count: usize,
        mut evicted_before: Vec<Evicted>,
    ) -> Result<(Vec<Outcome>, bool), Failure> {
        let mut outcomes = vec![Outcome::default(); count];
        let (mut hints, mut followed) = (Vec::new(), false);
        let version = |number: Option<i64>| number.map(|number| Version(number.max(0).unsigned_abs()));
        for row in rows {
            let kind: i16 = row.try_get(0)?;
            if kind == HINT {
                hints.extend(Hint::read(row, 6, 3, 10)?);
                continue;
            }
            if kind == FOLLOWED {
                followed = true;
                continue;
            }
            let at = row.try_get::<_, i32>(1)?.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            let Some(outcome) = at.and_then(|at| outcomes.get_mut(at)) else { continue };
            if kind == EVICTED {
                outcome.evicted.extend(evicted(row, 5, 7)?);
            } else if kind == OUTCOME {
                outcome.applied = row.try_get(2)?;
                outcome.previous = version(row.try_get(3)?);
                outcome.version = version(row.try_get(4)?);
                if outcome.version.is_some() && !evicted_before.is_empty() {
                    outcome.evicted.splice(0..0, std::mem::take(&mut evicted_before));
                }
            }
        }
        self.set_hints(hints);
        Ok((outcomes, followed))
    }

    /// Ranks entries that were touched, by a policy that only this process can ask.
    async fn rank_touched(
        &self,
        rules: &Rules,
        changes: &[Change],
        outcomes: &[Outcome],
    ) -> Result<(), Failure> {
        let touched = changes.iter().zip(outcomes).filter(|(_, outcome)| outcome.applied);
        let uses: Vec<EntryAccess> = touched
            .filter_map(|(change, outcome)| match change {
                Change::Touch { namespace, key, now, .. } => {
                    Some(EntryAccess::new(namespace.clone(), key.as_str(), outcome.previous?, *now, 0))
                }
                _ => None,
            })
            .collect();
        if uses.is_empty() {
            return Ok(());
        }
        let rows = self.query(Sql::Record, &record_params(rules, &BTreeMap::new(), &uses)).await?;
        self.rank_used(rules, &rows, 1).await
    }

    /// Adds to the statistics and to the uses of entries.
    pub(super) async fn record(&self, batch: AccessBatch) -> Result<(), Failure> {
        let mut counted: BTreeMap<Namespace, Counters> = BTreeMap::new();
        for (name, counters) in batch.counters.iter().filter(|(_, counters)| !counters.is_zero()) {
            counted.entry(name.clone()).or_default().add(counters);
        }
        let mut rules = self.rules();
        for _ in 0..BUSY {
            let rows = self.query(Sql::Record, &record_params(&rules, &counted, &batch.accesses)).await?;
            if rows.first().map(|row| row.try_get::<_, i16>(0)).transpose()? == Some(OLD_RULES) {
                rules = self.read_rules().await?;
                continue;
            }
            if rules.way == Way::Unknown {
                // What was counted is written down; a rank that is late is mended by the next use.
                let _ = self.rank_used(&rules, &rows, 0).await;
            }
            return Ok(());
        }
        Err(busy())
    }

    /// Gives entries that were used the ranks of a policy that only this process can ask. `more` is added to the uses that
    /// the rows tell of.
    async fn rank_used(&self, rules: &Rules, rows: &[Row], more: u64) -> Result<(), Failure> {
        let Some(ranking) = rules.known_ranking() else { return Ok(()) };
        let (mut generations, mut hashes, mut versions) = (Vec::new(), Vec::<Vec<u8>>::new(), Vec::new());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for row in rows {
            let mut used = EntryUse::new(
                Timestamp::from_nanos(row.try_get(5)?),
                row.try_get::<_, i64>(6)?.max(0).unsigned_abs().saturating_add(more),
            );
            used.total_hits = row.try_get::<_, i64>(7)?.max(0).unsigned_abs();
            used.stored_size = row.try_get::<_, i64>(8)?.max(0).unsigned_abs();
            used.expires_at = row.try_get::<_, Option<i64>>(9)?.map(Timestamp::from_nanos);
            used.age = row.try_get::<_, Option<i64>>(10)?.unwrap_or(0);
            let rank: i64 = row.try_get(4)?;
            generations.push(row.try_get::<_, i64>(1)?);
            hashes.push(row.try_get(2)?);
            versions.push(row.try_get::<_, i64>(3)?);
            before.push(rank);
            after.push(ranking.rank_after_use(rank, &used));
        }
        if hashes.is_empty() {
            return Ok(());
        }
        self.query(Sql::SetUsedRanks, &params![generations, hashes, versions, before, after]).await.map(drop)
    }
}

/// Reads an entry that was evicted: the reason, and from `name` on namespace and key. A key that is none is the key of a
/// damaged row, which is gone now and has nothing to be told.
pub(super) fn evicted(row: &Row, reason: usize, name: usize) -> Result<Option<Evicted>, Failure> {
    let expired = row.try_get::<_, Option<i16>>(reason)? == Some(0);
    let reason = if expired { EvictionReason::Expired } else { EvictionReason::Limit };
    let key: Option<&[u8]> = row.try_get(name + 1)?;
    let key = key.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| Key::new(key).ok());
    let Some(key) = key else { return Ok(None) };
    Ok(Some(Evicted::new(namespace(row.try_get(name)?)?, key, reason)))
}

fn record_params(rules: &Rules, counted: &BTreeMap<Namespace, Counters>, uses: &[EntryAccess]) -> Vec<Param> {
    let each = |value: fn(&Counters) -> u64| {
        counted.values().map(|counters| value(counters).min(1 << 56).cast_signed()).collect::<Vec<i64>>()
    };
    let names: Vec<Vec<u8>> = counted.keys().map(|name| name.as_str().as_bytes().to_vec()).collect();
    Vec::from(params![
        rules.epoch,
        rules.way as i16,
        names,
        each(|counters| counters.hits),
        each(|counters| counters.misses),
        each(|counters| counters.puts),
        each(|counters| counters.removals),
        each(|counters| counters.evictions),
        each(|counters| counters.expirations),
        each(|counters| counters.errors),
        each(|counters| counters.bytes_out),
        each(|counters| counters.bytes_in),
        uses.iter().map(|one| one.namespace.as_str().as_bytes().to_vec()).collect::<Vec<_>>(),
        uses.iter().map(|one| hash(&one.key)).collect::<Vec<_>>(),
        uses.iter().map(|one| one.version.0.cast_signed()).collect::<Vec<_>>(),
        uses.iter().map(|one| one.accessed_at.as_nanos()).collect::<Vec<_>>(),
        uses.iter().map(|one| i64::try_from(one.hits).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
    ])
}
