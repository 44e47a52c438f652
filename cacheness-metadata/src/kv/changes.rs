//! What changes entries: put, remove, touch, uses and clearing, each with its indexes, totals and garbage.

use std::collections::HashMap;

use cacheness_core::{
    AccessBatch, BlobId, Change, Condition, Entry, EntryUse, Expiry, GARBAGE_DELAY, Namespace, Outcome,
    Ranking, Result, Timestamp, Version,
};

use cacheness_core::__private::condemned;

use super::layout;
use super::rows::{self, EntryRow, NamespaceRow};
use super::transaction::Transaction;

/// How many rows of cleared generations each call of `apply` takes back. More than a put adds, so that what was
/// cleared goes faster than new entries come.
const RECLAIMED_PER_CALL: usize = 16;

/// How many cleared generations are read at once.
const GENERATIONS: usize = 1_000;

/// The entries that one call of `apply` has put, with their sizes: they are not evicted by it.
pub(super) type Own = HashMap<(u64, String), u64>;

/// What stands under a key.
pub(super) enum Found {
    Nothing,
    /// Bytes that are no entry. They may be overwritten and removed, but say nothing.
    Damaged,
    Entry(EntryRow),
}

impl Found {
    fn version(&self) -> Option<Version> {
        match self {
            Self::Entry(row) => Some(Version(row.version)),
            Self::Nothing | Self::Damaged => None,
        }
    }
}

impl Transaction<'_> {
    pub(super) async fn apply(&mut self, changes: &[Change]) -> Result<Vec<Outcome>> {
        let mut own = Own::new();
        self.evictions_left = changes.len().saturating_add(super::writing::ENTRIES_PER_STEP);
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            outcomes.push(match change {
                Change::Put { entry, condition, now } => self.put(entry, *condition, *now, &mut own).await?,
                Change::Remove { namespace, key, condition, now } => {
                    self.remove(namespace, key, *condition, *now, &mut own).await?
                }
                Change::Touch { namespace, key, condition, expiry, now } => {
                    self.touch(namespace, key, *condition, *expiry, *now).await?
                }
                other => {
                    let message = format!("this backend does not know the change {other:?}");
                    return Err(cacheness_core::Error::new(cacheness_core::ErrorKind::Unsupported, message));
                }
            });
        }
        self.reclaim(RECLAIMED_PER_CALL).await?;
        Ok(outcomes)
    }

    async fn put(
        &mut self,
        entry: &Entry,
        condition: Condition,
        now: Timestamp,
        own: &mut Own,
    ) -> Result<Outcome> {
        let (name, key) = (&entry.namespace, entry.key.as_str());
        let known = self.namespace(name).await?;
        let found = match &known {
            Some(namespace) => self.entry(namespace.generation, key).await?,
            None => Found::Nothing,
        };
        let previous = found.version();
        // What stands here already was not swept away: a sweep condemns blobs before it looks whether they are named.
        let is_same = matches!(&found, Found::Entry(row) if row.blob == entry.blob_id());
        if !is_same && self.is_condemned(entry).await? {
            return Err(condemned());
        }
        if !condition.holds(previous) {
            return Ok(Outcome::skipped(previous));
        }
        if let Some(limits) = &self.head.limits {
            limits.check_fits(entry.stored_size)?;
        }
        if let Some(namespace) = &known {
            let fits = namespace.limits.check_fits(entry.stored_size);
            fits.map_err(|error| error.with_context("namespace", name.as_str()))?;
        }
        let mut namespace = match known {
            Some(namespace) => namespace,
            None => self.new_namespace(name)?,
        };
        self.take_out(&mut namespace, key, found, now);
        if let Some(blob) = entry.blob_id() {
            // A put that is repeated names the blob of its first attempt, whatever was done in between.
            self.take_back(key, blob).await?;
            self.forget(blob).await?;
        }

        let mut entry = entry.clone();
        entry.version = Version(self.next_number()?);
        let mut row = EntryRow::new(&entry)?;
        self.head.entries = self.head.entries.saturating_add(1);
        self.head.bytes = self.head.bytes.saturating_add(row.stored_size);
        namespace.entries = namespace.entries.saturating_add(1);
        namespace.bytes = namespace.bytes.saturating_add(row.stored_size);
        namespace.blob_bytes = namespace.blob_bytes.saturating_add(row.blob_bytes());
        self.set(layout::namespace(name.as_str()), namespace.encode());
        own.insert((namespace.generation, key.to_owned()), row.stored_size);
        let evicted = self.make_room(name, namespace.generation, now, own).await?;

        // Ranked last, because a new entry starts where the last victim stood.
        if self.head.ranked {
            row.rank = self.ranking()?.rank(&entry, self.head.age);
            row.epoch = self.head.epoch;
            row.scoped = namespace.indexed;
        }
        self.index(namespace.generation, key, &row);
        self.set(layout::entry(namespace.generation, key), row.encode());
        Ok(Outcome::applied(previous, Some(entry.version)).with_evicted(evicted))
    }

    /// Takes back what a cleared generation has under this key, where it names this blob.
    async fn take_back(&mut self, key: &str, blob: BlobId) -> Result<()> {
        let mut range = layout::all(layout::CLEARED);
        while self.head.cleared > 0 {
            let generations = self.scan(range.clone(), GENERATIONS).await?;
            let Some((last, _)) = generations.last() else { break };
            range.start = layout::after(last);
            for (cleared, since) in &generations {
                let (generation, since) = (rows::number(cleared)?, rows::read_time(since)?);
                let found = self.entry(generation, key).await?;
                if let Found::Entry(row) = found
                    && row.blob == Some(blob)
                {
                    self.reclaim_one(generation, key, Some(row), since);
                }
            }
        }
        Ok(())
    }

    /// Takes a blob out of the garbage.
    pub(super) async fn forget(&mut self, blob: BlobId) -> Result<()> {
        let Some(row) = self.get(&layout::blob(blob)).await? else { return Ok(()) };
        let (due, bytes) = rows::read_garbage(&row)?;
        self.unset(layout::garbage(due, blob));
        self.unset(layout::blob(blob));
        self.head.garbage_bytes = self.head.garbage_bytes.saturating_sub(bytes);
        Ok(())
    }

    async fn remove(
        &mut self,
        name: &Namespace,
        key: &str,
        condition: Condition,
        now: Timestamp,
        own: &mut Own,
    ) -> Result<Outcome> {
        let Some(mut namespace) = self.namespace(name).await? else { return Ok(Outcome::skipped(None)) };
        let found = self.entry(namespace.generation, key).await?;
        let previous = found.version();
        // What cannot be decoded has the version that no put is given.
        let holds = match found {
            Found::Nothing => false,
            Found::Damaged => {
                condition.holds(previous) || condition == Condition::Version(Version::default())
            }
            Found::Entry(_) => condition.holds(previous),
        };
        if !holds {
            return Ok(Outcome::skipped(previous));
        }
        self.take_out(&mut namespace, key, found, now);
        own.remove(&(namespace.generation, key.to_owned()));
        self.set(layout::namespace(name.as_str()), namespace.encode());
        Ok(Outcome::applied(previous, None))
    }

    async fn touch(
        &mut self,
        name: &Namespace,
        key: &str,
        condition: Condition,
        expiry: Expiry,
        now: Timestamp,
    ) -> Result<Outcome> {
        let Some(namespace) = self.namespace(name).await? else { return Ok(Outcome::skipped(None)) };
        let found = self.entry(namespace.generation, key).await?;
        let previous = found.version();
        let row = match found {
            Found::Entry(row) if condition.holds(previous) => row,
            _ => return Ok(Outcome::skipped(previous)),
        };
        let mut touched = row.clone();
        let current = row.expires_at.map(Timestamp::from_nanos);
        touched.expires_at = expiry.after(current).map(Timestamp::as_nanos);
        self.used(name, &namespace, key, &row, touched, now, 1);
        Ok(Outcome::applied(previous, None))
    }

    pub(super) async fn record(&mut self, batch: &AccessBatch) -> Result<()> {
        for (name, counters) in batch.counters.iter().filter(|(_, counters)| !counters.is_zero()) {
            let mut namespace = match self.namespace(name).await? {
                Some(namespace) => namespace,
                None => self.new_namespace(name)?,
            };
            namespace.counters.add(counters);
            self.set(layout::namespace(name.as_str()), namespace.encode());
        }
        for access in &batch.accesses {
            let Some(namespace) = self.namespace(&access.namespace).await? else { continue };
            let Found::Entry(row) = self.entry(namespace.generation, &access.key).await? else { continue };
            if row.version == access.version.0 {
                let (at, hits) = (access.accessed_at, access.hits);
                self.used(&access.namespace, &namespace, &access.key, &row, row.clone(), at, hits);
            }
        }
        Ok(())
    }

    /// Writes down that an entry was used, and whatever else `changed` has that `row` had not.
    #[expect(clippy::too_many_arguments, reason = "an entry's place, its old and its new row, and the use")]
    pub(super) fn used(
        &mut self,
        name: &Namespace,
        namespace: &NamespaceRow,
        key: &str,
        row: &EntryRow,
        mut changed: EntryRow,
        at: Timestamp,
        hits: u64,
    ) {
        changed.accessed_at = changed.accessed_at.max(at.as_nanos());
        changed.hits = changed.hits.saturating_add(hits);
        // Where the policy is not known here, the rank stays until a process comes that knows it.
        if let Ok(ranking) = self.ranking()
            && self.head.ranked
        {
            if row.epoch == self.head.epoch {
                changed.rank = ranking.rank_after_use(row.rank, &self.use_of(&changed, at, hits));
            } else {
                changed.rank = self.rank_of(&ranking, name, key, &changed);
                changed.epoch = self.head.epoch;
                changed.scoped = namespace.indexed;
            }
        }
        self.unindex(namespace.generation, row);
        self.index(namespace.generation, key, &changed);
        self.set(layout::entry(namespace.generation, key), changed.encode());
    }

    /// What a policy is told of so many uses of an entry. The row's own hits are those after them.
    pub(super) fn use_of(&self, row: &EntryRow, at: Timestamp, hits: u64) -> EntryUse {
        let mut used = EntryUse::new(at, hits);
        used.total_hits = row.hits;
        used.stored_size = row.stored_size;
        used.expires_at = row.expires_at.map(Timestamp::from_nanos);
        used.age = self.head.age;
        used
    }

    /// The rank of an entry from the entry as a whole. A damaged one goes first.
    pub(super) fn rank_of(&self, ranking: &Ranking, name: &Namespace, key: &str, row: &EntryRow) -> i64 {
        match row.to_entry(name, key, true) {
            Ok(entry) => ranking.rank(&entry, self.head.age),
            Err(_) => i64::MIN,
        }
    }

    /// Gives a namespace a generation without entries, and leaves the old one to be taken back.
    pub(super) async fn clear(
        &mut self,
        name: &Namespace,
        now: Timestamp,
        drop: bool,
    ) -> Result<Option<u64>> {
        let Some(mut namespace) = self.namespace(name).await? else { return Ok(None) };
        let removed = namespace.entries;
        if removed > 0 || drop {
            self.unset(layout::live(namespace.generation));
            self.set(layout::cleared(namespace.generation), rows::time(now));
            self.head.cleared = self.head.cleared.saturating_add(1);
            self.head.entries = self.head.entries.saturating_sub(namespace.entries);
            self.head.bytes = self.head.bytes.saturating_sub(namespace.bytes);
            self.head.garbage_bytes = self.head.garbage_bytes.saturating_add(namespace.blob_bytes);
        }
        if drop {
            self.unset(layout::namespace(name.as_str()));
            if namespace.limits.is_limited() {
                self.head.limited = self.head.limited.saturating_sub(1);
            }
        } else if removed > 0 {
            namespace = namespace.cleared(self.new_namespace(name)?.generation);
            self.set(layout::namespace(name.as_str()), namespace.encode());
        }
        Ok(Some(removed))
    }

    pub(super) async fn namespace(&self, name: &Namespace) -> Result<Option<NamespaceRow>> {
        let row = self.get(&layout::namespace(name.as_str())).await?;
        row.as_ref().map(NamespaceRow::decode).transpose()
    }

    pub(super) fn new_namespace(&mut self, name: &Namespace) -> Result<NamespaceRow> {
        let generation = self.next_number()?;
        self.set(layout::live(generation), name.as_str().to_owned().into());
        Ok(NamespaceRow::new(generation))
    }

    pub(super) async fn entry(&self, generation: u64, key: &str) -> Result<Found> {
        Ok(match self.get(&layout::entry(generation, key)).await? {
            None => Found::Nothing,
            Some(row) => EntryRow::decode(&row).map_or(Found::Damaged, Found::Entry),
        })
    }

    /// Removes what was found under a key: the row, its indexes, its share of the totals; its blob becomes garbage.
    pub(super) fn take_out(&mut self, namespace: &mut NamespaceRow, key: &str, found: Found, now: Timestamp) {
        let (size, blob_bytes) = match &found {
            Found::Nothing => return,
            Found::Damaged => (0, 0),
            Found::Entry(row) => (row.stored_size, row.blob_bytes()),
        };
        self.unset(layout::entry(namespace.generation, key));
        self.head.entries = self.head.entries.saturating_sub(1);
        self.head.bytes = self.head.bytes.saturating_sub(size);
        namespace.entries = namespace.entries.saturating_sub(1);
        namespace.bytes = namespace.bytes.saturating_sub(size);
        namespace.blob_bytes = namespace.blob_bytes.saturating_sub(blob_bytes);
        if let Found::Entry(row) = found {
            self.unindex(namespace.generation, &row);
            self.head.garbage_bytes = self.head.garbage_bytes.saturating_add(blob_bytes);
            self.discard_blob(&row, now);
        }
    }

    /// Lists the blob of an entry as garbage. Its bytes must have been counted.
    pub(super) fn discard_blob(&mut self, row: &EntryRow, since: Timestamp) {
        if let Some(blob) = row.blob {
            let due = (since + GARBAGE_DELAY).as_nanos();
            self.set(layout::garbage(due, blob), bytes::Bytes::new());
            self.set(layout::blob(blob), rows::garbage(due, row.blob_bytes()));
        }
    }

    pub(super) fn index(&mut self, generation: u64, key: &str, row: &EntryRow) {
        let reference = layout::reference(generation, key);
        if let Some(at) = row.expires_at {
            self.set(layout::expiry(at, row.version), reference.clone());
            if row.scoped {
                self.set(layout::expiry_in(generation, at, row.version), reference.clone());
            }
        }
        let EntryRow { epoch, priority, rank, version, .. } = *row;
        if epoch != 0 {
            if row.scoped {
                self.set(layout::rank_in(generation, epoch, priority, rank, version), reference.clone());
            }
            self.set(layout::rank(epoch, priority, rank, version), reference);
        }
        self.set(layout::created(generation, row.created_at, row.version), bytes::Bytes::new());
    }

    pub(super) fn unindex(&mut self, generation: u64, row: &EntryRow) {
        if let Some(at) = row.expires_at {
            self.unset(layout::expiry(at, row.version));
            if row.scoped {
                self.unset(layout::expiry_in(generation, at, row.version));
            }
        }
        let EntryRow { epoch, priority, rank, version, .. } = *row;
        if epoch != 0 {
            self.unset(layout::rank(epoch, priority, rank, version));
            if row.scoped {
                self.unset(layout::rank_in(generation, epoch, priority, rank, version));
            }
        }
        self.unset(layout::created(generation, row.created_at, row.version));
    }
}
