//! What goes without being asked for by key: victims of the limits, expired entries, and what cleared generations
//! left behind.

use cacheness_core::{
    Error, ErrorKind, Evicted, EvictionOrder, EvictionReason, Key, Namespace, Timestamp, Version,
};
use rusqlite::Row;

use super::failure::{Failure, Tried, damaged};
use super::maintenance::ENTRIES_PER_STEP;
use super::schema::generation_of;
use super::statements::Sql;
use super::transaction::{EntryRow, Transaction, lenient};

/// The most candidates that are read at once.
const AT_ONCE: usize = 64;

/// An entry that an index led to. Without a namespace it belongs to a cleared generation.
pub(super) struct Candidate {
    row: EntryRow,
    key: String,
    namespace: Option<Namespace>,
}

impl Candidate {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let name = row.get_ref(11)?.as_str().ok();
        Ok(Self {
            row: EntryRow::read(row)?,
            key: row.get_ref(10)?.as_str().map(str::to_owned).unwrap_or_default(),
            namespace: name.and_then(|name| Namespace::new(name).ok()),
        })
    }
}

impl Transaction<'_, '_> {
    /// Evicts until one more entry, of this size, fits.
    pub(super) fn make_room(&mut self, now: Timestamp, size: i64) -> Tried<Vec<Evicted>> {
        if !self.is_over(1, size) {
            return Ok(Vec::new());
        }
        let (entries, bytes) = (self.own_entries + 1, self.own_bytes.saturating_add(size));
        if self.limits.exceeded_by(entries.unsigned_abs(), bytes.unsigned_abs()) {
            let message = format!(
                "the {entries} values of one call have {bytes} bytes, which is over the limits of the cache; put \
                 them in several calls"
            );
            return Err(Error::new(ErrorKind::LimitExceeded, message).into());
        }
        self.evict(now, (1, size), usize::MAX)
    }

    /// True where the cache would be over its limits with this much more in it.
    pub(super) fn is_over(&self, entries: i64, bytes: i64) -> bool {
        let entries = self.totals.head.entries.saturating_add(entries).unsigned_abs();
        self.limits.exceeded_by(entries, self.totals.head.bytes.saturating_add(bytes).unsigned_abs())
    }

    /// Evicts `most` entries at most, until `room` more entries and bytes fit: first what has expired, then by the
    /// eviction order.
    pub(super) fn evict(&mut self, now: Timestamp, room: (i64, i64), most: usize) -> Tried<Vec<Evicted>> {
        let (mut evicted, mut reclaimed) = (Vec::new(), 0);
        for reason in [EvictionReason::Expired, EvictionReason::Limit] {
            if reason == EvictionReason::Limit && self.is_over(room.0, room.1) {
                self.rank_all()?;
            }
            let mut count = 1;
            while self.is_over(room.0, room.1) && evicted.len() < most {
                let candidates = self.candidates(reason, now, count)?;
                if candidates.is_empty() {
                    break;
                }
                for candidate in candidates {
                    if !self.is_over(room.0, room.1) || evicted.len() >= most {
                        break;
                    }
                    let Some(name) = candidate.namespace.clone() else {
                        self.reclaim_one(&candidate.row)?;
                        reclaimed += 1;
                        // Rows that no clearing left are damage, and no preparation would find them.
                        if reclaimed > ENTRIES_PER_STEP && self.totals.head.cleared > 0 {
                            return Err(Failure::Unprepared);
                        }
                        continue;
                    };
                    if reason == EvictionReason::Limit && self.spare(&name, &candidate)? {
                        // It has a new rank, which may still be the lowest.
                        break;
                    }
                    evicted.extend(self.evict_one(name, candidate, reason, now)?);
                }
                count = (count * 2).min(AT_ONCE);
            }
        }
        Ok(evicted)
    }

    fn candidates(&mut self, reason: EvictionReason, now: Timestamp, count: usize) -> Tried<Vec<Candidate>> {
        let (now, count, own) = (now.as_nanos(), count as i64, self.own_from);
        let has_own = self.own_entries > 0;
        let candidates = match (reason, has_own) {
            (EvictionReason::Expired, false) => {
                let expired = self.session.statement(Sql::Expired)?;
                expired.query_map((now, count), Candidate::read)?.collect::<rusqlite::Result<_>>()?
            }
            (EvictionReason::Expired, true) => {
                let expired = self.session.statement(Sql::ExpiredNotOwn)?;
                expired.query_map((now, count, own), Candidate::read)?.collect::<rusqlite::Result<_>>()?
            }
            (_, false) => {
                let lowest = self.session.statement(Sql::Lowest)?;
                lowest.query_map((count,), Candidate::read)?.collect::<rusqlite::Result<_>>()?
            }
            (_, true) => {
                let lowest = self.session.statement(Sql::LowestNotOwn)?;
                lowest.query_map((count, own), Candidate::read)?.collect::<rusqlite::Result<_>>()?
            }
        };
        Ok(candidates)
    }

    /// Ranks a candidate anew where this process has used it since its rank was written.
    fn spare(&mut self, name: &Namespace, candidate: &Candidate) -> Tried<bool> {
        let Some(order) = self.totals.head.order else { return Ok(false) };
        if !matches!(order, EvictionOrder::Lru | EvictionOrder::Lfu) {
            return Ok(false);
        }
        let row = &candidate.row;
        let version = Version(row.version.unsigned_abs());
        let Some(uses) = self.take_uses(name, &candidate.key, version) else { return Ok(false) };
        if order.rank_after_access(row.rank, uses.accessed_at, uses.hits) <= row.rank {
            return Ok(false);
        }
        self.write_use(row, uses.accessed_at, uses.hits)?;
        Ok(true)
    }

    fn evict_one(
        &mut self,
        name: Namespace,
        candidate: Candidate,
        reason: EvictionReason,
        now: Timestamp,
    ) -> Tried<Option<Evicted>> {
        let Some(tenant) = self.tenant(&name)? else {
            return Err(damaged("a namespace with entries has no row").into());
        };
        self.take_out(tenant, &candidate.row)?;
        self.discard_blob(&candidate.row, now)?;
        let tenant = self.change(tenant);
        if reason == EvictionReason::Expired {
            tenant.expirations += 1;
        } else {
            tenant.evictions += 1;
            self.totals.head.age = self.totals.head.age.max(candidate.row.rank);
        }
        // A key that is none is the key of a damaged row, which is gone now and has nothing to be told.
        Ok(Key::new(&candidate.key).ok().map(|key| Evicted { namespace: name, key, reason }))
    }

    /// Removes up to `limit` entries that have expired, then takes back rows of cleared generations. Returns how
    /// many of both, and whether there is more.
    pub(super) fn purge(&mut self, now: Timestamp, limit: usize) -> Tried<(usize, usize, bool)> {
        let (mut expired, mut reclaimed) = (0, 0);
        for candidate in self.candidates(EvictionReason::Expired, now, limit)? {
            match candidate.namespace.clone() {
                Some(name) => {
                    self.evict_one(name, candidate, EvictionReason::Expired, now)?;
                    expired += 1;
                }
                None => {
                    self.reclaim_one(&candidate.row)?;
                    reclaimed += 1;
                }
            }
        }
        reclaimed += self.reclaim(limit.saturating_sub(expired + reclaimed))?;
        let left = self.session.statement(Sql::AnyExpired)?;
        let more = self.totals.head.cleared > 0 || left.query_row((now.as_nanos(),), |row| row.get(0))?;
        Ok((expired, reclaimed, more))
    }

    /// Takes back up to `limit` entries of cleared generations.
    pub(super) fn reclaim(&mut self, limit: usize) -> Tried<usize> {
        let mut left = limit;
        while left > 0 && self.totals.head.cleared > 0 {
            let mut rows = self.session.statement(Sql::FirstCleared)?.query(())?;
            let first = rows
                .next()?
                .map(|row| Ok::<_, rusqlite::Error>((row.get::<_, i64>(0)?, lenient(row.get_ref(1)?))));
            let first = first.transpose()?;
            drop(rows);
            let Some((generation, cleared_at)) = first else {
                self.totals.head.cleared = 0;
                break;
            };
            let of = self.session.statement(Sql::OfGeneration)?;
            let found: Vec<EntryRow> = of
                .query_map((generation, left as i64 + 1), EntryRow::read)?
                .collect::<rusqlite::Result<_>>()?;
            if found.len() <= left {
                self.session.statement(Sql::DeleteCleared)?.execute((generation,))?;
                self.totals.head.cleared -= 1;
            }
            for row in found.iter().take(left) {
                self.delete_row(row)?;
                self.list_garbage(row, Timestamp::from_nanos(cleared_at))?;
            }
            left -= found.len().min(left);
        }
        Ok(limit - left)
    }

    /// Takes back one entry of a cleared generation. Its blob was counted as garbage by the clearing.
    fn reclaim_one(&mut self, row: &EntryRow) -> Tried<()> {
        let mut rows = self.session.statement(Sql::ClearedAt)?.query((generation_of(row.id),))?;
        let cleared_at = rows.next()?.map(|row| row.get_ref(0).map(lenient)).transpose()?.unwrap_or(0);
        drop(rows);
        self.delete_row(row)?;
        self.list_garbage(row, Timestamp::from_nanos(cleared_at))
    }
}
