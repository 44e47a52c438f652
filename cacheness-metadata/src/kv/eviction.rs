//! What goes without being asked for by key: victims of the limits, expired entries, and what cleared generations
//! left behind.

use bytes::Bytes;
use cacheness_core::{
    Counters, Error, ErrorKind, Evicted, EvictionOrder, EvictionReason, Key, Limits, Namespace, Result,
    Timestamp, Version,
};

use super::changes::{Found, Own};
use super::layout;
use super::rows::{self, EntryRow};
use super::transaction::Transaction;

/// How many rows of an index are read at once where most of them will do.
const AT_ONCE: usize = 16;

/// An entry that a row of an index led to.
struct Candidate {
    namespace: Namespace,
    generation: u64,
    key: Key,
    row: EntryRow,
}

/// Which counter of its namespace an entry that goes belongs to.
type Count = fn(&mut Counters);

/// What a purge did, or one step of it.
#[derive(Default)]
pub(super) struct PurgeStep {
    pub(super) expired: Vec<(Namespace, Key)>,
    pub(super) reclaimed: u64,
    pub(super) more: bool,
}

impl Transaction<'_> {
    /// Evicts until the limits hold after a put of `own`.
    pub(super) async fn make_room(&mut self, now: Timestamp, own: &Own) -> Result<Vec<Evicted>> {
        if !self.is_over() {
            return Ok(Vec::new());
        }
        let bytes = own.values().fold(0_u64, |sum, size| sum.saturating_add(*size));
        if self.head.limits.exceeded_by(own.len() as u64, bytes) {
            let message = format!(
                "the {} values of one call have {bytes} bytes, which is over the limits of the cache; put them in \
                 several calls",
                own.len()
            );
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        self.evict(now, own, usize::MAX).await
    }

    pub(super) fn is_over(&self) -> bool {
        self.head.limits.exceeded_by(self.head.entries, self.head.bytes)
    }

    /// Evicts until the limits hold, `most` entries at most: first what has expired, then by the eviction order.
    pub(super) async fn evict(&mut self, now: Timestamp, own: &Own, most: usize) -> Result<Vec<Evicted>> {
        let mut evicted = Vec::new();
        for (range, reason) in [
            (layout::until(layout::EXPIRY, now), EvictionReason::Expired),
            (layout::all(layout::RANK), EvictionReason::Limit),
        ] {
            let mut range = range;
            while self.is_over() && evicted.len() < most {
                let rows = self.scan(range.clone(), AT_ONCE).await?;
                if rows.is_empty() {
                    break;
                }
                for (index, reference) in rows {
                    if !self.is_over() || evicted.len() == most {
                        break;
                    }
                    range.start = layout::after(&index);
                    let Some(candidate) = self.candidate(index, &reference).await? else { continue };
                    if own.contains_key(&(candidate.generation, candidate.key.as_str().to_owned())) {
                        continue;
                    }
                    if reason == EvictionReason::Limit && self.spare(&candidate) {
                        // It has a new row further on, perhaps among those that were read already.
                        break;
                    }
                    evicted.push(self.evict_one(candidate, reason, now).await?);
                }
            }
        }
        Ok(evicted)
    }

    /// Ranks a candidate anew where this process has used it since its rank was written.
    fn spare(&mut self, candidate: &Candidate) -> bool {
        let Candidate { namespace, generation, key, row } = candidate;
        let by_use = matches!(self.head.order, EvictionOrder::Lru | EvictionOrder::Lfu);
        if row.epoch != self.head.epoch || !by_use {
            return false;
        }
        let Some(uses) = self.take_uses(namespace, key, Version(row.version)) else { return false };
        let rank = self.head.order.rank_after_access(row.rank, uses.accessed_at, uses.hits);
        if rank <= row.rank {
            return false;
        }
        self.used(namespace, *generation, key.as_str(), row, row.clone(), uses.accessed_at, uses.hits);
        true
    }

    async fn evict_one(
        &mut self,
        candidate: Candidate,
        reason: EvictionReason,
        now: Timestamp,
    ) -> Result<Evicted> {
        let Candidate { namespace, key, row, .. } = candidate;
        if reason == EvictionReason::Limit && row.epoch == self.head.epoch {
            self.head.age = self.head.age.max(row.rank);
        }
        let count: Count = match reason {
            EvictionReason::Limit => |counters| counters.evictions += 1,
            _ => |counters| counters.expirations += 1,
        };
        self.take_out_of(&namespace, &key, row, now, count).await?;
        Ok(Evicted::new(namespace, key, reason))
    }

    async fn take_out_of(
        &mut self,
        name: &Namespace,
        key: &Key,
        row: EntryRow,
        now: Timestamp,
        count: Count,
    ) -> Result<()> {
        let Some(mut namespace) = self.namespace(name).await? else {
            return Err(rows::damage("a namespace with entries has no row"));
        };
        self.take_out(&mut namespace, key.as_str(), Found::Entry(row), now);
        count(&mut namespace.counters);
        self.set(layout::namespace(name.as_str()), namespace.encode());
        Ok(())
    }

    /// The entry that a row of an index is about. Where there is none any more, what is left of it goes.
    async fn candidate(&mut self, index: Bytes, reference: &Bytes) -> Result<Option<Candidate>> {
        let Ok((generation, key)) = rows::read_reference(reference) else {
            self.unset(index);
            return Ok(None);
        };
        let found = self.entry(generation, key.as_str()).await?;
        let row = match found {
            Found::Entry(row) if is_index_of(&index, &row) => row,
            _ => {
                self.unset(index);
                return Ok(None);
            }
        };
        if let Some(name) = self.get(&layout::live(generation)).await? {
            let namespace = rows::read_namespace(&name)?;
            return Ok(Some(Candidate { namespace, generation, key, row }));
        }
        let since = self.get(&layout::cleared(generation)).await?;
        let since = since.as_ref().map(rows::read_time).transpose()?.unwrap_or_default();
        self.reclaim_one(generation, key.as_str(), Some(row), since);
        Ok(None)
    }

    /// Removes up to `limit` entries that have expired, and rows of cleared generations.
    pub(super) async fn purge(&mut self, now: Timestamp, limit: usize) -> Result<PurgeStep> {
        let mut step = PurgeStep::default();
        let range = layout::until(layout::EXPIRY, now);
        let rows = self.scan(range.clone(), limit).await?;
        let looked_at = rows.len();
        for (index, reference) in rows {
            match self.candidate(index, &reference).await? {
                Some(Candidate { namespace, key, row, .. }) => {
                    self.take_out_of(&namespace, &key, row, now, |counters| counters.expirations += 1)
                        .await?;
                    step.expired.push((namespace, key));
                }
                None => step.reclaimed += 1,
            }
        }
        step.reclaimed += self.reclaim(limit - looked_at).await? as u64;
        step.more = self.head.cleared > 0 || !self.scan(range, 1).await?.is_empty();
        Ok(step)
    }

    /// Takes back up to `limit` entries of cleared generations.
    pub(super) async fn reclaim(&mut self, limit: usize) -> Result<usize> {
        let mut left = limit;
        while left > 0 && self.head.cleared > 0 {
            let Some((cleared, since)) = self.scan(layout::all(layout::CLEARED), 1).await?.pop() else {
                self.head.cleared = 0;
                break;
            };
            let (generation, since) = (rows::number(&cleared)?, rows::read_time(&since)?);
            let mut entries = self.scan(layout::entries(generation, ""), left.saturating_add(1)).await?;
            if entries.len() <= left {
                self.unset(cleared);
                self.head.cleared -= 1;
            }
            entries.truncate(left);
            left -= entries.len();
            for (key, value) in entries {
                let row = EntryRow::decode(&value).ok();
                self.reclaim_one(generation, rows::tail(&key, 9)?, row, since);
            }
        }
        Ok(limit - left)
    }

    /// Takes back the rows of one entry of a cleared generation. Its bytes were counted as garbage by the clearing.
    fn reclaim_one(&mut self, generation: u64, key: &str, row: Option<EntryRow>, since: Timestamp) {
        self.unset(layout::entry(generation, key));
        if let Some(row) = row {
            self.unindex(generation, &row);
            self.discard_blob(&row, since);
        }
    }

    /// Begins to rank all entries by the order of `limits`, or joins in where another process does the same.
    pub(super) fn begin_ranking(&mut self, limits: Limits) -> u32 {
        let joins = self.head.ranking && self.head.order == limits.order;
        if !joins {
            self.head.epoch = self.head.epoch.wrapping_add(1).max(1);
            self.head.order = limits.order;
            self.head.ranked = true;
            self.head.ranking = true;
            self.head.age = 0;
        }
        self.head.epoch
    }

    /// Ranks the next `limit` entries after `start`. Where to go on; `None` when all have been ranked.
    pub(super) async fn rank_some(&mut self, start: Bytes, limit: usize) -> Result<Option<Bytes>> {
        let mut range = layout::all(layout::ENTRY);
        range.start = start;
        let rows = self.scan(range, limit).await?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|(key, _)| layout::after(key));
        for (key, value) in rows {
            let (generation, text) = (rows::number(&key)?, rows::tail(&key, 9)?);
            let Ok(row) = EntryRow::decode(&value) else { continue };
            if row.epoch == self.head.epoch {
                continue;
            }
            let Some(name) = self.get(&layout::live(generation)).await? else { continue };
            let name = rows::read_namespace(&name)?;
            let rank = self.rank_of(&name, text, &row);
            let mut ranked = row.clone();
            (ranked.epoch, ranked.rank) = (self.head.epoch, rank);
            self.unindex(generation, &row);
            self.index(generation, text, &ranked);
            self.set(key.clone(), ranked.encode());
        }
        Ok(next)
    }
}

/// True where the row of the index is one that this entry has.
fn is_index_of(index: &Bytes, row: &EntryRow) -> bool {
    let expiry = row.expires_at.is_some_and(|at| *index == layout::expiry(at, row.version));
    expiry || (row.epoch != 0 && *index == layout::rank(row.epoch, row.priority, row.rank, row.version))
}
