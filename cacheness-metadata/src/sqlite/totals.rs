//! The totals of the cache and of its namespaces: what a writer remembers of them between transactions, and when they
//! are written.

use cacheness_core::{EvictionOrder, Namespace};
use rusqlite::Row;

use super::ages::{Ages, SLOTS};
use super::connection::Session;
use super::failure::{Tried, damaged};
use super::schema::MAX_VERSION;
use super::statements::Sql;
use super::transaction::lenient;

/// What stands for the whole cache.
#[derive(Clone, PartialEq)]
pub(super) struct Head {
    pub(super) generation: i64,
    pub(super) entries: i64,
    pub(super) bytes: i64,
    pub(super) garbage_bytes: i64,
    /// The last version that was issued. Where it is stored, the last one that may have been.
    pub(super) sequence: i64,
    /// The rank of the last victim.
    pub(super) age: i64,
    /// By which order the ranks of entries are; `None` while there is no limit.
    pub(super) order: Option<EvictionOrder>,
    /// Entries with ids below this have a row in `ranks`, all others have none; `None` where nothing is ranked.
    pub(super) ranked_to: Option<i64>,
    /// How many cleared generations are still to be taken back.
    pub(super) cleared: i64,
}

/// A namespace and its totals.
pub(super) struct Tenant {
    pub(super) name: Namespace,
    pub(super) generation: i64,
    pub(super) entries: i64,
    pub(super) bytes: i64,
    pub(super) blob_bytes: i64,
    pub(super) ages: Ages,
    pub(super) evictions: i64,
    pub(super) expirations: i64,
    /// Generation, entries, bytes and bytes of blobs as they are stored.
    stored: [i64; 4],
    /// True where something is not stored yet.
    pub(super) changed: bool,
}

/// The totals as one connection knows them. Between transactions they hold as long as nobody else has committed.
///
/// A put over a known key, by a value of the same length, changes no total but the [`Ages`] and the last version
/// issued, and most often neither is written: versions are reserved ahead, as many as the last such puts have needed,
/// and the ages wait until something else is written, which is within [`AHEAD`] puts. So such a put changes one page
/// less. What a killed process, or one that another got in between of, has not written is lost: some versions, which
/// nobody then has, and the ages of the last puts, which then count as those of what they replaced; so the oldest
/// entry is still never said to be younger than it is.
pub(super) struct Totals {
    data_version: i64,
    pub(super) head: Head,
    /// The head as it is stored.
    stored: Head,
    pub(super) tenants: Vec<Tenant>,
    /// How many versions are reserved when the totals are written.
    ahead: i64,
}

/// The most versions that are reserved beyond the last one that was issued.
const AHEAD: i64 = 64;

/// The most namespaces whose totals are kept between transactions.
const KNOWN_TENANTS: usize = 64;

impl Totals {
    /// What `last` says, if it still holds, or else what stands in the database. To be called within a transaction.
    pub(super) fn now(session: &mut Session<'_, '_>, last: Option<Self>) -> Tried<Self> {
        let data_version = session.statement(Sql::DataVersion)?.query_row((), |row| row.get(0))?;
        if let Some(last) = last.filter(|last| last.data_version == data_version) {
            return Ok(last);
        }
        let head = Head::read(session)?;
        Ok(Self { data_version, stored: head.clone(), head, tenants: Vec::new(), ahead: 0 })
    }

    /// Writes what has to be, or all that has changed.
    pub(super) fn save(&mut self, session: &mut Session<'_, '_>, everything: bool) -> Tried<()> {
        let of_victims = |tenant: &&mut Tenant| tenant.evictions > 0 || tenant.expirations > 0;
        for tenant in self.tenants.iter_mut().filter(of_victims) {
            let count = session.statement(Sql::CountVictims)?;
            count.execute((tenant.name.as_str(), tenant.evictions, tenant.expirations))?;
            (tenant.evictions, tenant.expirations) = (0, 0);
        }
        let rest = |head: &Head| (head.generation, head.order, head.ranked_to, head.cleared);
        if rest(&self.head) != rest(&self.stored) {
            let (generation, order, ranked_to, cleared) = rest(&self.head);
            let save = session.statement(Sql::SaveState)?;
            save.execute((generation, order.map(EvictionOrder::name), ranked_to, cleared))?;
        }
        let sums = |head: &Head| (head.entries, head.bytes, head.garbage_bytes, head.age);
        let may_wait = sums(&self.head) == sums(&self.stored)
            && self.tenants.iter().all(Tenant::may_wait)
            && !everything;
        let reserved = self.stored.sequence;
        if !(may_wait && self.head.sequence <= reserved) {
            self.ahead = match (everything, may_wait) {
                (true, _) => 0,
                (false, true) => (self.ahead * 2).clamp(1, AHEAD),
                (false, false) => self.ahead,
            };
            // What was reserved and is not used is given back.
            let sequence = (self.head.sequence + self.ahead).min(MAX_VERSION);
            self.write(session, sequence)?;
            self.stored = Head { sequence, ..self.head.clone() };
        } else {
            self.stored = Head { sequence: reserved, ..self.head.clone() };
        }
        Ok(())
    }

    /// Writes the rows of all totals that have changed; those of the whole cache with this sequence.
    fn write(&mut self, session: &mut Session<'_, '_>, sequence: i64) -> Tried<()> {
        let now = &self.head;
        let mut changed = self.tenants.iter().filter(|tenant| tenant.changed);
        if let (Some(tenant), None) = (changed.next(), changed.next()) {
            // So it is for nearly every put.
            session.statement(Sql::SaveBothTotals)?.execute((
                now.entries,
                now.bytes,
                now.garbage_bytes,
                sequence,
                now.age,
                tenant.generation,
                tenant.entries,
                tenant.bytes,
                tenant.blob_bytes,
                tenant.ages.to_bytes(),
            ))?;
        } else {
            for tenant in self.tenants.iter().filter(|tenant| tenant.changed) {
                let save = session.statement(Sql::SaveNamespace)?;
                let ages = tenant.ages.to_bytes();
                save.execute((tenant.generation, tenant.entries, tenant.bytes, tenant.blob_bytes, ages))?;
            }
            if (Head { sequence, ..now.clone() }) != self.stored {
                let save = session.statement(Sql::SaveTotals)?;
                save.execute((now.entries, now.bytes, now.garbage_bytes, sequence, now.age))?;
            }
        }
        self.tenants.iter_mut().for_each(Tenant::settle);
        Ok(())
    }

    /// Keeps no more than is worth keeping between transactions.
    pub(super) fn shrink(&mut self) {
        // Those that came in last stand at the end.
        self.tenants.drain(..self.tenants.len().saturating_sub(KNOWN_TENANTS));
    }

    /// True where something is not stored yet.
    pub(super) fn is_behind(&self) -> bool {
        self.stored.sequence != self.head.sequence || self.tenants.iter().any(|tenant| tenant.changed)
    }
}

impl Tenant {
    /// A namespace of which nothing is stored but its generation.
    pub(super) fn new(name: Namespace, generation: i64) -> Self {
        Self {
            name,
            generation,
            entries: 0,
            bytes: 0,
            blob_bytes: 0,
            ages: Ages::default(),
            evictions: 0,
            expirations: 0,
            stored: [generation, 0, 0, 0],
            changed: false,
        }
    }

    /// Reads what the statement `Namespace` found.
    pub(super) fn read(name: &Namespace, row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |index: usize| row.get_ref(index).map(lenient);
        let mut tenant = Self {
            entries: number(1)?.max(0),
            bytes: number(2)?.max(0),
            blob_bytes: number(3)?.max(0),
            ages: ages(row, 4)?,
            ..Self::new(name.clone(), row.get(0)?)
        };
        tenant.settle();
        Ok(tenant)
    }

    fn sums(&self) -> [i64; 4] {
        [self.generation, self.entries, self.bytes, self.blob_bytes]
    }

    /// True where all that has changed is when entries were put, and there are so many that the oldest is no longer
    /// known exactly.
    fn may_wait(&self) -> bool {
        !self.changed
            || (self.sums() == self.stored && self.entries > SLOTS as i64 && self.ages.are_in_order())
    }

    /// Takes note that all is stored.
    fn settle(&mut self) {
        (self.stored, self.changed) = (self.sums(), false);
    }
}

impl Head {
    fn read(session: &mut Session<'_, '_>) -> Tried<Self> {
        let head = session.statement(Sql::Head)?.query_row((), |row| {
            let number = |index: usize| row.get_ref(index).map(lenient);
            Ok(Self {
                generation: number(0)?.max(0),
                entries: number(1)?.max(0),
                bytes: number(2)?.max(0),
                garbage_bytes: number(3)?.max(0),
                sequence: row.get(4)?,
                age: number(5)?,
                order: row.get_ref(6)?.as_str().ok().and_then(EvictionOrder::from_name),
                ranked_to: row.get_ref(7)?.as_i64().ok(),
                cleared: number(8)?.max(0),
            })
        })?;
        if !(0..=MAX_VERSION).contains(&head.sequence) {
            return Err(damaged("its sequence is out of range").into());
        }
        Ok(head)
    }
}

/// Reads a column `ages`.
pub(super) fn ages(row: &Row<'_>, index: usize) -> rusqlite::Result<Ages> {
    Ok(row.get_ref(index)?.as_blob().map(Ages::from_bytes).unwrap_or_default())
}
