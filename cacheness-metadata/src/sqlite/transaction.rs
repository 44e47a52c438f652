//! One writing transaction: the totals that it changes are read once, kept here, and written once at its end.

use cacheness_core::{
    AccessLog, EntryAccess, Error, ErrorKind, EvictionOrder, Limits, Namespace, PendingAccess, Result,
    Version,
};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::ages::Ages;
use super::connection::Session;
use super::failure::{Tried, damaged};
use super::schema::{MAX_GENERATION, MAX_VERSION};
use super::statements::Sql;

/// What stands for the whole cache.
#[derive(Clone, PartialEq)]
pub(super) struct Head {
    pub(super) generation: i64,
    pub(super) entries: i64,
    pub(super) bytes: i64,
    pub(super) garbage_bytes: i64,
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
    changed: bool,
}

impl Tenant {
    /// Takes note that its changes have been committed.
    fn settle(&mut self) {
        (self.evictions, self.expirations, self.changed) = (0, 0, false);
    }
}

impl Known {
    /// What `last` says, if it still holds, or else what stands in the database. To be called within a transaction.
    fn now(session: &mut Session<'_, '_>, last: Option<Self>) -> Tried<Self> {
        let data_version = session.statement(Sql::DataVersion)?.query_row((), |row| row.get(0))?;
        match last.filter(|last| last.data_version == data_version) {
            Some(last) => Ok(last),
            None => Ok(Self { data_version, head: Head::read(session)?, tenants: Vec::new() }),
        }
    }
}

/// An entry's row, as far as changes need it.
#[derive(Clone, Copy)]
pub(super) struct EntryRow {
    pub(super) id: i64,
    pub(super) size: i64,
    pub(super) blob: Option<[u8; 16]>,
    pub(super) place: i64,
    pub(super) accessed_at: i64,
    pub(super) hits: i64,
    pub(super) rank: i64,
    pub(super) priority: f64,
    pub(super) version: i64,
    pub(super) expires_at: Option<i64>,
}

impl EntryRow {
    /// Reads the columns of `row!`. What is damaged counts as nothing, so that it can be overwritten.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |index: usize| row.get_ref(index).map(lenient);
        let blob = row.get_ref(2)?;
        Ok(Self {
            id: row.get(0)?,
            size: number(1)?.max(0),
            blob: blob.as_blob().ok().and_then(|bytes| bytes.try_into().ok()),
            place: number(3)?,
            accessed_at: number(4)?,
            hits: number(5)?.max(0),
            rank: number(6)?,
            priority: row.get_ref(7)?.as_f64().unwrap_or(0.0),
            version: number(8)?.clamp(0, MAX_VERSION),
            // Damage is a time, so that it differs from having none and is overwritten.
            expires_at: match row.get_ref(9)? {
                ValueRef::Null => None,
                value => Some(value.as_i64().unwrap_or(i64::MIN)),
            },
        })
    }

    /// The length of its blob; 0 for an inline value.
    pub(super) fn blob_bytes(&self) -> i64 {
        if self.blob.is_some() { self.size } else { 0 }
    }
}

/// Reads a column `ages`.
pub(super) fn ages(row: &Row<'_>, index: usize) -> rusqlite::Result<Ages> {
    Ok(row.get_ref(index)?.as_blob().map(Ages::from_bytes).unwrap_or_default())
}

pub(super) fn lenient(value: ValueRef<'_>) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// What a connection knows of the totals from its last transaction. It holds as long as nobody else has committed.
pub(super) struct Known {
    data_version: i64,
    head: Head,
    tenants: Vec<Tenant>,
}

/// The most namespaces whose totals are kept between transactions.
const KNOWN_TENANTS: usize = 64;

/// A transaction that is under way.
pub(super) struct Transaction<'s, 'c> {
    pub(super) session: Session<'s, 'c>,
    pub(super) head: Head,
    before: Head,
    pub(super) limits: Limits,
    pub(super) accesses: &'s AccessLog,
    tenants: Vec<Tenant>,
    /// Uses taken from the log, to be given back if the transaction fails.
    taken: Vec<(Namespace, String, Version, PendingAccess)>,
    /// The first version that the present call issues: what it puts itself is no victim of it.
    pub(super) own_from: i64,
    pub(super) own_entries: i64,
    pub(super) own_bytes: i64,
}

impl<'s, 'c> Transaction<'s, 'c> {
    /// Runs `work` in a transaction of its own, and commits what it did.
    pub(super) fn run<T>(
        mut session: Session<'s, 'c>,
        limits: Limits,
        accesses: &'s AccessLog,
        known: &mut Option<Known>,
        work: impl FnOnce(&mut Self) -> Tried<T>,
    ) -> Tried<T> {
        // Where anything goes wrong on the way, nothing is known any more.
        let last = known.take();
        if !session.connection.is_autocommit() {
            // A panic left a transaction open.
            session.statement(Sql::Rollback)?.execute(())?;
        }
        session.statement(Sql::Begin)?.execute(())?;
        let (data_version, head, tenants) = match Known::now(&mut session, last) {
            Ok(Known { data_version, head, tenants }) => (data_version, head, tenants),
            Err(error) => {
                let _ = session.statement(Sql::Rollback).and_then(|rollback| rollback.execute(()));
                return Err(error);
            }
        };
        let own_from = head.sequence.saturating_add(1);
        let mut transaction = Self {
            session,
            before: head.clone(),
            head,
            limits,
            accesses,
            tenants,
            taken: Vec::new(),
            own_from,
            own_entries: 0,
            own_bytes: 0,
        };
        let result = work(&mut transaction).and_then(|done| {
            transaction.save()?;
            transaction.session.statement(Sql::Commit)?.execute(())?;
            Ok(done)
        });
        if result.is_err() {
            transaction.undo();
        } else {
            let Self { head, mut tenants, .. } = transaction;
            tenants.iter_mut().for_each(Tenant::settle);
            // Those that came in last stand at the end.
            tenants.drain(..tenants.len().saturating_sub(KNOWN_TENANTS));
            *known = Some(Known { data_version, head, tenants });
        }
        result
    }

    /// Begins a call of its own within the transaction.
    pub(super) fn begin_call(&mut self) {
        self.own_from = self.head.sequence.saturating_add(1);
        self.own_entries = 0;
        self.own_bytes = 0;
    }

    fn undo(&mut self) {
        if !self.session.connection.is_autocommit() {
            // The first error is the one to tell. If this fails, too, the next transaction tries again.
            let _ = self.session.statement(Sql::Rollback).and_then(|rollback| rollback.execute(()));
        }
        for (namespace, key, version, pending) in self.taken.drain(..) {
            let (accessed_at, hits) = (pending.accessed_at, pending.hits);
            self.accesses.put_back(EntryAccess::new(namespace, key, version, accessed_at, hits));
        }
    }

    fn save(&mut self) -> Tried<()> {
        let (now, before) = (&self.head, &self.before);
        let mut changed = self.tenants.iter().filter(|tenant| tenant.changed);
        if let (Some(tenant), None) = (changed.next(), changed.next()) {
            // So it is for nearly every put.
            self.session.statement(Sql::SaveBothTotals)?.execute((
                now.entries,
                now.bytes,
                now.garbage_bytes,
                now.sequence,
                now.age,
                tenant.generation,
                tenant.entries,
                tenant.bytes,
                tenant.blob_bytes,
                tenant.ages.to_bytes(),
            ))?;
        } else {
            for tenant in self.tenants.iter().filter(|tenant| tenant.changed) {
                let save = self.session.statement(Sql::SaveNamespace)?;
                let ages = tenant.ages.to_bytes();
                save.execute((tenant.generation, tenant.entries, tenant.bytes, tenant.blob_bytes, ages))?;
            }
            if now != before {
                let save = self.session.statement(Sql::SaveTotals)?;
                save.execute((now.entries, now.bytes, now.garbage_bytes, now.sequence, now.age))?;
            }
        }
        let of_victims = |tenant: &&Tenant| tenant.evictions > 0 || tenant.expirations > 0;
        for tenant in self.tenants.iter().filter(of_victims) {
            let count = self.session.statement(Sql::CountVictims)?;
            count.execute((tenant.name.as_str(), tenant.evictions, tenant.expirations))?;
        }
        let rest = |head: &Head| (head.generation, head.order, head.ranked_to, head.cleared);
        if rest(now) != rest(before) {
            let order = now.order.map(EvictionOrder::name);
            let save = self.session.statement(Sql::SaveState)?;
            save.execute((now.generation, order, now.ranked_to, now.cleared))?;
        }
        Ok(())
    }

    /// Issues a version.
    pub(super) fn next_version(&mut self) -> Result<i64> {
        if self.head.sequence >= MAX_VERSION {
            let message = "this index has issued all its versions; put the cache into another folder";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        self.head.sequence += 1;
        Ok(self.head.sequence)
    }

    /// Issues a generation that nothing has now.
    pub(super) fn next_generation(&mut self) -> Tried<i64> {
        for _ in 0..MAX_GENERATION {
            let next = self.head.generation.saturating_add(1);
            self.head.generation = if (1..=MAX_GENERATION).contains(&next) { next } else { 1 };
            let used = self.session.statement(Sql::GenerationInUse)?;
            if !used.query_row((self.head.generation,), |row| row.get::<_, bool>(0))? {
                return Ok(self.head.generation);
            }
        }
        let message = "the index has as many namespaces as it can hold; drop some";
        Err(Error::new(ErrorKind::LimitExceeded, message).into())
    }

    /// The place of a namespace's row in this transaction; `None` where there is no such namespace.
    pub(super) fn tenant(&mut self, name: &Namespace) -> Tried<Option<usize>> {
        if let Some(at) = self.tenants.iter().position(|tenant| tenant.name == *name) {
            return Ok(Some(at));
        }
        let mut rows = self.session.statement(Sql::Namespace)?.query((name.as_str(),))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let number = |index: usize| row.get_ref(index).map(lenient);
        let tenant = Tenant {
            name: name.clone(),
            generation: row.get(0)?,
            entries: number(1)?.max(0),
            bytes: number(2)?.max(0),
            blob_bytes: number(3)?.max(0),
            ages: ages(row, 4)?,
            evictions: 0,
            expirations: 0,
            changed: false,
        };
        if !(1..=MAX_GENERATION).contains(&tenant.generation) {
            return Err(damaged("a namespace has an impossible generation").into());
        }
        drop(rows);
        self.tenants.push(tenant);
        Ok(Some(self.tenants.len() - 1))
    }

    /// As [`tenant`](Self::tenant); makes the namespace where there is none.
    pub(super) fn tenant_or_new(&mut self, name: &Namespace) -> Tried<usize> {
        if let Some(at) = self.tenant(name)? {
            return Ok(at);
        }
        let generation = self.next_generation()?;
        self.session.statement(Sql::InsertNamespace)?.execute((name.as_str(), generation))?;
        self.tenants.push(Tenant {
            name: name.clone(),
            generation,
            entries: 0,
            bytes: 0,
            blob_bytes: 0,
            ages: Ages::default(),
            evictions: 0,
            expirations: 0,
            changed: false,
        });
        Ok(self.tenants.len() - 1)
    }

    pub(super) fn generation(&self, tenant: usize) -> i64 {
        self.tenants[tenant].generation
    }

    /// The row of a namespace, to be changed.
    pub(super) fn change(&mut self, tenant: usize) -> &mut Tenant {
        let tenant = &mut self.tenants[tenant];
        tenant.changed = true;
        tenant
    }

    /// Forgets what is kept of a namespace that was dropped.
    pub(super) fn forget(&mut self, tenant: usize) {
        self.tenants.remove(tenant);
    }

    /// Takes the uses of an entry that are not written down yet.
    pub(super) fn take_uses(
        &mut self,
        name: &Namespace,
        key: &str,
        version: Version,
    ) -> Option<PendingAccess> {
        let pending = self.accesses.take(name, key, version)?;
        self.taken.push((name.clone(), key.to_owned(), version, pending));
        Some(pending)
    }
}

impl Head {
    pub(super) fn read(session: &mut Session<'_, '_>) -> Tried<Self> {
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
