//! What changes entries: put, remove, touch and uses, each with its share of the totals and its garbage.

use cacheness_core::{
    AccessBatch, Change, Condition, Entry, EntryUse, Error, ErrorKind, Expiry, GARBAGE_DELAY, Location,
    Namespace, Outcome, Timestamp, Version,
};
use rusqlite::params;

use super::failure::Tried;
use super::ranks::RANKED_PER_PUT;
use super::schema::{entry_id, generation_of};
use super::statements::Sql;
use super::totals::Own;
use super::transaction::{EntryRow, Transaction};

/// The longest value that stands in the row of its entry. A longer one has a row of its own, so that writing an
/// access time down does not write the value again.
const IN_ROW: usize = 2 * 1024;

/// The places of a value, as the column `place` has them.
pub(super) const IN_BLOB: i64 = 0;
pub(super) const IN_ENTRIES: i64 = 1;
pub(super) const IN_INLINE_VALUES: i64 = 2;

/// How many rows of cleared generations each call takes back: more than most add, so that the room does come back.
pub(super) const RECLAIMED_PER_CALL: usize = 16;

impl Transaction<'_, '_> {
    /// Makes the changes of one call.
    pub(super) fn apply(&mut self, changes: &mut [Change]) -> Tried<Vec<Outcome>> {
        self.begin_call();
        self.evictions_left = self.evictions_left.saturating_add(changes.len());
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            outcomes.push(match change {
                Change::Put { entry, condition, now } => self.put(entry, *condition, *now)?,
                Change::Remove { namespace, key, condition, now } => {
                    self.remove(namespace, key, *condition, *now)?
                }
                Change::Touch { namespace, key, condition, expiry, now } => {
                    self.touch(namespace, key, *condition, *expiry, *now)?
                }
                _ => {
                    let message = "this backend does not know a change that was asked for";
                    return Err(Error::new(ErrorKind::Unsupported, message).into());
                }
            });
        }
        if self.totals.head.cleared > 0 {
            self.reclaim(RECLAIMED_PER_CALL)?;
        }
        Ok(outcomes)
    }

    fn put(&mut self, entry: &mut Entry, condition: Condition, now: Timestamp) -> Tried<Outcome> {
        let known = self.tenant(&entry.namespace)?;
        let old = match known {
            Some(tenant) => self.find(self.generation(tenant), entry.key.as_str())?,
            None => None,
        };
        let previous = old.map(|old| version(&old));
        if !condition.holds(previous) {
            return Ok(Outcome::skipped(previous));
        }
        let place = place_of(&entry.location)?;
        if let Some(limits) = &self.totals.rules.limits {
            limits.check_fits(entry.stored_size)?;
        }
        if let Some(tenant) = known.map(|at| &self.totals.tenants[at]) {
            let fits = tenant.limits.check_fits(entry.stored_size);
            fits.map_err(|error| error.with_context("namespace", entry.namespace.as_str()))?;
        }
        self.totals.rules.check()?;
        let tenant = match known {
            Some(tenant) => tenant,
            None => self.tenant_or_new(&entry.namespace)?,
        };
        let blob = entry.blob_id().map(|id| *id.as_bytes());
        // What stands here already was not swept away: a sweep condemns blobs before it looks whether they are named.
        if let Some(new) = &blob
            && old.is_none_or(|old| old.blob != blob)
        {
            self.check_blob(new)?;
        }
        let mut old = old;
        if let Some(row) = &old {
            self.count_out(tenant, row);
            if row.blob != blob {
                self.discard_blob(row, now)?;
            }
        }
        let size = i64::try_from(entry.stored_size).unwrap_or(i64::MAX);
        let mut evicted = Vec::new();
        if self.is_over(None, (1, size)) || self.is_over(Some(tenant), (1, size)) {
            // What is replaced is no victim.
            if let Some(row) = old.take() {
                self.delete_row(&row)?;
            }
            evicted = self.make_room(now, tenant, size)?;
        }
        evicted.splice(0..0, self.take_evicted_before());

        let version = self.next_version()?;
        entry.version = Version(version.unsigned_abs());
        self.count_in(tenant, version, size, entry);
        let id = old.map_or_else(|| entry_id(self.generation(tenant), version), |old| old.id);
        let row = EntryRow {
            id,
            size,
            blob,
            place,
            accessed_at: entry.accessed_at.as_nanos(),
            hits: i64::try_from(entry.hits).unwrap_or(i64::MAX),
            rank: self.totals.rules.known_ranking().map_or(0, |by| by.rank(entry, self.totals.head.age)),
            priority: f64::from(entry.priority),
            version,
            expires_at: entry.validity.expires_at.map(Timestamp::as_nanos),
        };
        self.write(&row, old.as_ref(), entry)?;
        match &old {
            Some(old) => self.move_rank(old, row.priority, row.rank)?,
            None => self.insert_rank(&row)?,
        }
        if self.is_to_be_ranked(size) {
            self.rank_some(RANKED_PER_PUT)?;
        }
        Ok(Outcome::applied(previous, Some(entry.version)).with_evicted(evicted))
    }

    /// Writes the row of an entry in place of `old`, or a new one.
    fn write(&mut self, row: &EntryRow, old: Option<&EntryRow>, entry: &Entry) -> Tried<()> {
        let inline: &[u8] = match &entry.location {
            Location::Inline(bytes) => bytes,
            _ => &[],
        };
        if let Some(old) = old.filter(|old| old.place == IN_INLINE_VALUES) {
            self.session.statement(Sql::DeleteInline)?.execute((old.version,))?;
        }
        if row.place == IN_INLINE_VALUES {
            self.session.statement(Sql::InsertInline)?.execute((row.version, inline))?;
        }
        let write = if old.is_some() { Sql::ReplaceEntry } else { Sql::InsertEntry };
        let write = self.session.statement(write)?;
        let columns = params![
            row.id,
            row.version,
            row.accessed_at,
            row.hits,
            row.size,
            row.priority,
            row.rank,
            row.place,
            row.blob.as_ref().map(|id| &id[..]),
            entry.to_stored(),
            (row.place == IN_ENTRIES).then_some(inline),
            row.expires_at,
            generation_of(row.id),
            entry.key.as_str(),
        ];
        // What is replaced keeps its generation and key, the last two. The expiry time, before them, is written by
        // itself, since most often it stays, and its index would be looked at.
        write.execute(if old.is_some() { &columns[..11] } else { columns })?;
        if let Some(old) = old
            && old.expires_at != row.expires_at
        {
            self.session.statement(Sql::Expire)?.execute((row.id, row.expires_at))?;
            self.move_expiry(old, row.expires_at)?;
        }
        Ok(())
    }

    /// Adds an entry to the totals.
    fn count_in(&mut self, tenant: usize, version: i64, size: i64, entry: &Entry) {
        let blob_bytes = if entry.blob_id().is_some() { size } else { 0 };
        let from = self.own.from;
        let tenant = self.change(tenant);
        tenant.entries = tenant.entries.saturating_add(1);
        tenant.bytes = tenant.bytes.saturating_add(size);
        tenant.blob_bytes = tenant.blob_bytes.saturating_add(blob_bytes);
        tenant.ages.add(version, entry.created_at.as_nanos());
        if tenant.own.from != from {
            tenant.own = Own { from, ..Own::default() };
        }
        add_own(&mut tenant.own, 1, size);
        self.totals.head.entries = self.totals.head.entries.saturating_add(1);
        self.totals.head.bytes = self.totals.head.bytes.saturating_add(size);
        add_own(&mut self.own, 1, size);
    }

    /// Takes an entry out of the totals.
    fn count_out(&mut self, tenant: usize, row: &EntryRow) {
        let is_own = (self.own.from..=self.totals.head.sequence).contains(&row.version);
        let tenant = self.change(tenant);
        if is_own {
            add_own(&mut tenant.own, -1, -row.size);
        }
        tenant.entries = (tenant.entries - 1).max(0);
        tenant.bytes = (tenant.bytes - row.size).max(0);
        tenant.blob_bytes = (tenant.blob_bytes - row.blob_bytes()).max(0);
        tenant.ages.remove(row.version);
        self.totals.head.entries = (self.totals.head.entries - 1).max(0);
        self.totals.head.bytes = (self.totals.head.bytes - row.size).max(0);
        if is_own {
            add_own(&mut self.own, -1, -row.size);
        }
    }

    fn remove(
        &mut self,
        name: &Namespace,
        key: &str,
        condition: Condition,
        now: Timestamp,
    ) -> Tried<Outcome> {
        let Some(tenant) = self.tenant(name)? else { return Ok(Outcome::skipped(None)) };
        let Some(old) = self.find(self.generation(tenant), key)? else { return Ok(Outcome::skipped(None)) };
        let previous = Some(version(&old));
        if !condition.holds(previous) {
            return Ok(Outcome::skipped(previous));
        }
        self.take_out(tenant, &old)?;
        self.discard_blob(&old, now)?;
        Ok(Outcome::applied(previous, None))
    }

    fn touch(
        &mut self,
        name: &Namespace,
        key: &str,
        condition: Condition,
        expiry: Expiry,
        now: Timestamp,
    ) -> Tried<Outcome> {
        let Some(tenant) = self.tenant(name)? else { return Ok(Outcome::skipped(None)) };
        let Some(row) = self.find(self.generation(tenant), key)? else { return Ok(Outcome::skipped(None)) };
        let previous = Some(version(&row));
        if !condition.holds(previous) {
            return Ok(Outcome::skipped(previous));
        }
        let expires_at = expiry.after(row.expires_at.map(Timestamp::from_nanos)).map(Timestamp::as_nanos);
        self.session.statement(Sql::Expire)?.execute((row.id, expires_at))?;
        self.move_expiry(&row, expires_at)?;
        self.write_use(&EntryRow { expires_at, ..row }, now, 1)?;
        Ok(Outcome::applied(previous, None))
    }

    /// Adds to the counters of namespaces.
    pub(super) fn count(&mut self, batch: &AccessBatch) -> Tried<()> {
        for (name, counters) in batch.counters.iter().filter(|(_, counters)| !counters.is_zero()) {
            self.tenant_or_new(name)?;
            let read = self.session.statement(Sql::Counters)?;
            let mut sum = read.query_row((name.as_str(),), |row| super::reader::counters(row, 0))?;
            sum.add(counters);
            self.set_counters(name, &sum)?;
        }
        Ok(())
    }

    /// Writes down uses of entries that still have the version they were read at.
    pub(super) fn record(&mut self, accesses: &[cacheness_core::EntryAccess]) -> Tried<()> {
        for access in accesses {
            let Some(tenant) = self.tenant(&access.namespace)? else { continue };
            let found = self.find(self.generation(tenant), access.key.as_str())?;
            if let Some(row) = found.filter(|row| version(row) == access.version) {
                self.write_use(&row, access.accessed_at, access.hits)?;
            }
        }
        Ok(())
    }

    /// Writes uses of an entry down, and ranks it by them.
    pub(super) fn write_use(&mut self, row: &EntryRow, at: Timestamp, hits: u64) -> Tried<()> {
        let accessed_at = row.accessed_at.max(at.as_nanos());
        let sum = row.hits.saturating_add(i64::try_from(hits).unwrap_or(i64::MAX));
        // Where the policy is not known here, the rank stays until a process comes that knows it.
        let rank = self.rank_after(row, at, hits).unwrap_or(row.rank);
        self.session.statement(Sql::Use)?.execute((row.id, accessed_at, sum, rank))?;
        self.move_rank(row, row.priority, rank)
    }

    /// The rank of an entry after so many more uses; `None` where entries are not ranked.
    pub(super) fn rank_after(&self, row: &EntryRow, at: Timestamp, hits: u64) -> Option<i64> {
        let mut used = EntryUse::new(at, hits);
        used.total_hits = row.hits.unsigned_abs().saturating_add(hits);
        used.stored_size = row.size.unsigned_abs();
        used.expires_at = row.expires_at.map(Timestamp::from_nanos);
        used.age = self.totals.head.age;
        Some(self.totals.rules.known_ranking()?.rank_after_use(row.rank, &used))
    }

    pub(super) fn find(&mut self, generation: i64, key: &str) -> Tried<Option<EntryRow>> {
        let mut rows = self.session.statement(Sql::Find)?.query((generation, key))?;
        Ok(rows.next()?.map(EntryRow::read).transpose()?)
    }

    /// Deletes an entry of a namespace and takes it out of the totals. What becomes of its blob is said apart.
    pub(super) fn take_out(&mut self, tenant: usize, row: &EntryRow) -> Tried<()> {
        self.delete_row(row)?;
        self.count_out(tenant, row);
        Ok(())
    }

    pub(super) fn delete_row(&mut self, row: &EntryRow) -> Tried<()> {
        self.session.statement(Sql::DeleteEntry)?.execute((row.id,))?;
        self.delete_rank(row)?;
        if row.place == IN_INLINE_VALUES {
            self.session.statement(Sql::DeleteInline)?.execute((row.version,))?;
        }
        Ok(())
    }

    /// Makes the blob of an entry garbage, and counts it as such.
    pub(super) fn discard_blob(&mut self, row: &EntryRow, since: Timestamp) -> Tried<()> {
        if row.blob.is_some() {
            self.totals.head.garbage_bytes = self.totals.head.garbage_bytes.saturating_add(row.size);
        }
        self.list_garbage(row, since)
    }

    /// Makes the blob of an entry garbage that was counted before.
    pub(super) fn list_garbage(&mut self, row: &EntryRow, since: Timestamp) -> Tried<()> {
        if let Some(blob) = &row.blob {
            let due = (since + GARBAGE_DELAY).as_nanos();
            self.session.statement(Sql::InsertGarbage)?.execute((due, &blob[..], row.size))?;
        }
        Ok(())
    }
}

fn add_own(own: &mut Own, entries: i64, bytes: i64) {
    own.entries = own.entries.saturating_add(entries).max(0);
    own.bytes = own.bytes.saturating_add(bytes).max(0);
}

fn place_of(location: &Location) -> Tried<i64> {
    match location {
        Location::Inline(bytes) if bytes.len() <= IN_ROW => Ok(IN_ENTRIES),
        Location::Inline(_) => Ok(IN_INLINE_VALUES),
        Location::Blob(_) => Ok(IN_BLOB),
        Location::InlineOmitted => {
            let message = "an entry whose inline bytes were left out by a listing cannot be put";
            Err(Error::new(ErrorKind::InvalidInput, message).into())
        }
        location => {
            let message = format!("`sqlite` cannot store an entry whose value lies in {location:?}");
            Err(Error::new(ErrorKind::Unsupported, message).into())
        }
    }
}

fn version(row: &EntryRow) -> Version {
    Version(row.version.unsigned_abs())
}
