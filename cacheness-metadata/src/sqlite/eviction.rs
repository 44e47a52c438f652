//! What goes without being asked for by key: victims of the limits, expired entries, and what cleared generations
//! left behind.

use cacheness_core::{Error, ErrorKind, Evicted, EvictionReason, Key, Namespace, Timestamp, Version};
use rusqlite::Row;

use super::failure::{Crowded, Failure, Tried, damaged};
use super::maintenance::ENTRIES_PER_STEP;
use super::schema::generation_of;
use super::statements::Sql;
use super::totals::Own;
use super::transaction::{EntryRow, Transaction, lenient};

/// The most candidates that are read at once.
const AT_ONCE: usize = 64;

/// An entry that an index led to. Without a namespace it belongs to a cleared generation.
pub(super) struct Candidate {
    row: EntryRow,
    key: String,
    namespace: Option<Namespace>,
}

/// Expired entries that were removed, and the keys of those that have one.
#[derive(Default)]
pub(super) struct Expired {
    pub(super) entries: usize,
    pub(super) keys: Vec<(Namespace, Key)>,
}

impl Candidate {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let name = row.get_ref(12)?.as_str().ok();
        Ok(Self {
            row: EntryRow::read(row)?,
            key: row.get_ref(11)?.as_str().map(str::to_owned).unwrap_or_default(),
            namespace: name.and_then(|name| Namespace::new(name).ok()),
        })
    }
}

impl Transaction<'_, '_> {
    /// Evicts until one more entry, of this size, fits into a namespace and into the cache.
    pub(super) fn make_room(&mut self, now: Timestamp, tenant: usize, size: i64) -> Tried<Vec<Evicted>> {
        let mut evicted = Vec::new();
        for scope in [Some(tenant), None] {
            if !self.is_over(scope, (1, size)) {
                continue;
            }
            self.check_own(scope, size)?;
            let more = self.evict(scope, now, (1, size), self.evictions_left)?;
            self.evictions_left = self.evictions_left.saturating_sub(more.len());
            evicted.extend(more);
            if self.is_over(scope, (1, size)) {
                if self.evictions_left == 0 {
                    let (entries, bytes) = self.totals.added(scope);
                    let namespace = scope.map(|at| self.totals.tenants[at].name.clone());
                    let room = (entries.saturating_add(1), bytes.saturating_add(size));
                    return Err(Failure::Crowded(Crowded { namespace, room, now }));
                }
                if self.totals.rules.ranking()?.refuses() {
                    return Err(self.refusal(scope).into());
                }
            }
        }
        Ok(evicted)
    }

    /// Checks that what one call puts is not over the limits by itself.
    fn check_own(&self, scope: Option<usize>, size: i64) -> Result<(), Error> {
        let tenant = scope.map(|at| &self.totals.tenants[at]);
        let own = match tenant {
            Some(tenant) if tenant.own.from != self.own.from => Own::default(),
            Some(tenant) => tenant.own,
            None => self.own,
        };
        let (entries, bytes) = (own.entries.saturating_add(1), own.bytes.saturating_add(size));
        if !self.exceeds(scope, entries, bytes) {
            return Ok(());
        }
        let whose =
            tenant.map_or("the cache".to_owned(), |tenant| format!("the namespace `{}`", tenant.name));
        let message = format!(
            "the {entries} values of one call have {bytes} bytes, which is over the limits of {whose}; put them in \
             several calls"
        );
        Err(Error::new(ErrorKind::LimitExceeded, message))
    }

    fn refusal(&self, scope: Option<usize>) -> Error {
        match scope.map(|at| &self.totals.tenants[at]) {
            Some(tenant) => tenant.limits.refusal().with_context("namespace", tenant.name.as_str()),
            None => self.totals.rules.limits.clone().unwrap_or_default().refusal(),
        }
    }

    /// True where the cache, or a namespace, would be over its limits with this much more in it.
    pub(super) fn is_over(&self, scope: Option<usize>, room: (i64, i64)) -> bool {
        let has = match scope.map(|at| &self.totals.tenants[at]) {
            Some(tenant) => (tenant.entries, tenant.bytes),
            None => (self.totals.head.entries, self.totals.head.bytes),
        };
        self.exceeds(scope, has.0.saturating_add(room.0), has.1.saturating_add(room.1))
    }

    fn exceeds(&self, scope: Option<usize>, entries: i64, bytes: i64) -> bool {
        let limits = match scope {
            Some(at) => Some(&self.totals.tenants[at].limits),
            None => self.totals.rules.limits.as_ref(),
        };
        let amount = |number: i64| number.max(0).unsigned_abs();
        limits.is_some_and(|limits| limits.exceeded_by(amount(entries), amount(bytes)))
    }

    /// Does a part of what a put needs evicted before it. Returns what was evicted, and whether there is more.
    pub(super) fn make_room_before(&mut self, crowded: &Crowded) -> Tried<(Vec<Evicted>, bool)> {
        self.evict_some(crowded.namespace.as_ref(), crowded.now, crowded.room, ENTRIES_PER_STEP)
    }

    /// Evicts `most` entries at most, until so much more fits into the cache or a namespace. Returns what was evicted, and
    /// whether there is more.
    pub(super) fn evict_some(
        &mut self,
        name: Option<&Namespace>,
        now: Timestamp,
        room: (i64, i64),
        most: usize,
    ) -> Tried<(Vec<Evicted>, bool)> {
        let scope = match name {
            None => None,
            Some(name) => match self.tenant(name)? {
                None => return Ok((Vec::new(), false)),
                known => known,
            },
        };
        if !self.is_over(scope, room) {
            return Ok((Vec::new(), false));
        }
        let evicted = self.evict(scope, now, room, most)?;
        let more = evicted.len() >= most && self.is_over(scope, room);
        Ok((evicted, more))
    }

    /// Evicts `most` entries at most, until `room` more entries and bytes fit into the cache or a namespace: first what
    /// has expired, then by priority and rank.
    fn evict(
        &mut self,
        scope: Option<usize>,
        now: Timestamp,
        room: (i64, i64),
        most: usize,
    ) -> Tried<Vec<Evicted>> {
        let (mut evicted, mut reclaimed) = (Vec::new(), 0);
        let refuses = self.totals.rules.ranking()?.refuses();
        for reason in [EvictionReason::Expired, EvictionReason::Limit] {
            if reason == EvictionReason::Limit && refuses || !self.is_over(scope, room) {
                break;
            }
            if reason == EvictionReason::Limit || scope.is_some() {
                self.rank_all()?;
            }
            let mut count = 1;
            while self.is_over(scope, room) && evicted.len() < most {
                let candidates = self.candidates(scope, reason, now, count)?;
                if candidates.is_empty() {
                    break;
                }
                for candidate in candidates {
                    if !self.is_over(scope, room) || evicted.len() >= most {
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

    fn candidates(
        &mut self,
        scope: Option<usize>,
        reason: EvictionReason,
        now: Timestamp,
        count: usize,
    ) -> Tried<Vec<Candidate>> {
        let (now, count) = (now.as_nanos(), count as i64);
        let list = scope.map_or(0, |at| self.generation(at));
        let own = if self.own.entries > 0 { self.own.from } else { i64::MAX };
        let candidates = match (reason, scope) {
            (EvictionReason::Expired, None) => {
                let expired = self.session.statement(Sql::Expired)?;
                expired.query_map((now, count, own), Candidate::read)?.collect::<rusqlite::Result<_>>()?
            }
            (EvictionReason::Expired, Some(_)) => {
                let expired = self.session.statement(Sql::ExpiredIn)?;
                expired
                    .query_map((now, count, own, -list), Candidate::read)?
                    .collect::<rusqlite::Result<_>>()?
            }
            _ => {
                let lowest = self.session.statement(Sql::Lowest)?;
                lowest.query_map((list, count, own), Candidate::read)?.collect::<rusqlite::Result<_>>()?
            }
        };
        Ok(candidates)
    }

    /// Ranks a candidate anew where this process has used it since its rank was written.
    fn spare(&mut self, name: &Namespace, candidate: &Candidate) -> Tried<bool> {
        let row = &candidate.row;
        let version = Version(row.version.unsigned_abs());
        let Some(uses) = self.accesses.pending(name, &candidate.key, version) else { return Ok(false) };
        if self.rank_after(row, uses.accessed_at, uses.hits).is_none_or(|rank| rank <= row.rank) {
            return Ok(false);
        }
        let Some(uses) = self.take_uses(name, &candidate.key, version) else { return Ok(false) };
        // Whether it is in lists of its own is known by its namespace.
        self.tenant(name)?;
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
        tenant.victim_bytes = tenant.victim_bytes.saturating_add(candidate.row.size);
        if reason == EvictionReason::Expired {
            tenant.expirations += 1;
        } else {
            tenant.evictions += 1;
            self.totals.head.age = self.totals.head.age.max(candidate.row.rank);
        }
        // A key that is none is the key of a damaged row, which is gone now and has nothing to be told.
        Ok(Key::new(&candidate.key).ok().map(|key| Evicted::new(name, key, reason)))
    }

    /// Removes up to `limit` entries that have expired, then takes back rows of cleared generations. Returns how
    /// many of both, and whether there is more.
    pub(super) fn purge(&mut self, now: Timestamp, limit: usize) -> Tried<(Expired, usize, bool)> {
        let (mut expired, mut reclaimed) = (Expired::default(), 0);
        for candidate in self.candidates(None, EvictionReason::Expired, now, limit)? {
            match candidate.namespace.clone() {
                Some(name) => {
                    let evicted = self.evict_one(name, candidate, EvictionReason::Expired, now)?;
                    expired.entries += 1;
                    expired.keys.extend(evicted.map(|evicted| (evicted.namespace, evicted.key)));
                }
                None => {
                    self.reclaim_one(&candidate.row)?;
                    reclaimed += 1;
                }
            }
        }
        reclaimed += self.reclaim(limit.saturating_sub(expired.entries + reclaimed))?;
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
