//! One writing transaction: the totals that it changes are read once, kept here, and written once at its end.

use cacheness_core::__private::blob_in_record;
use cacheness_core::{
    AccessLog, BlobId, EntryAccess, Error, ErrorKind, Evicted, EvictionPolicies, Namespace, PendingAccess,
    Result, Version,
};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::changes::IN_BLOB;
use super::connection::Session;
use super::failure::{Failure, Tried, damaged};
use super::maintenance::ENTRIES_PER_STEP;
use super::schema::{MAX_GENERATION, MAX_VERSION};
use super::statements::Sql;
use super::totals::{Own, Tenant, Totals};

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
        let blob: Option<[u8; 16]> = row.get_ref(2)?.as_blob().ok().and_then(|bytes| bytes.try_into().ok());
        // Where the two differ, one of them is damaged, and a blob that another entry may have is not to be deleted.
        // A sweep finds it when no entry names it any more.
        let blob = match (blob, row.get_ref(10)?.as_blob()) {
            (Some(blob), Ok(record)) if blob_in_record(record) == Some(BlobId::from_bytes(blob)) => {
                Some(blob)
            }
            _ => None,
        };
        Ok(Self {
            id: row.get(0)?,
            size: number(1)?.max(0),
            blob,
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
        if self.blob.is_some() || self.place == IN_BLOB { self.size } else { 0 }
    }
}

pub(super) fn lenient(value: ValueRef<'_>) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// A transaction that is under way.
pub(super) struct Transaction<'s, 'c> {
    pub(super) session: Session<'s, 'c>,
    pub(super) totals: Totals,
    pub(super) accesses: &'s AccessLog,
    /// Uses taken from the log, to be given back if the transaction fails.
    taken: Vec<(Namespace, String, Version, PendingAccess)>,
    /// The first version that the present call issues: what it puts itself is no victim of it.
    pub(super) own: Own,
    /// How many entries may still be evicted; what takes more is done in transactions of its own.
    pub(super) evictions_left: usize,
    /// What was evicted before, for the next put to tell of.
    evicted_before: &'s mut Vec<Evicted>,
    /// True where one of this transaction does.
    tells_of_evicted_before: bool,
    /// True where the totals are written down in full.
    pub(super) settling: bool,
}

impl<'s, 'c> Transaction<'s, 'c> {
    /// Runs `work` in a transaction of its own, and commits what it did.
    pub(super) fn run<T>(
        mut session: Session<'s, 'c>,
        (accesses, policies): (&'s AccessLog, &EvictionPolicies),
        (known, evicted_before): (&mut Option<Totals>, &'s mut Vec<Evicted>),
        work: impl FnOnce(&mut Self) -> Tried<T>,
    ) -> Tried<T> {
        // Where anything goes wrong on the way, nothing is known any more.
        let last = known.take();
        let totals = begin(&mut session, last, policies).map_err(Failure::before_commit)?;
        let own = Own { from: totals.head.sequence.saturating_add(1), ..Own::default() };
        let mut transaction = Self {
            session,
            totals,
            accesses,
            taken: Vec::new(),
            own,
            evictions_left: ENTRIES_PER_STEP,
            evicted_before,
            tells_of_evicted_before: false,
            settling: false,
        };
        let worked = work(&mut transaction).and_then(|done| {
            transaction.totals.save(&mut transaction.session, transaction.settling)?;
            Ok(done)
        });
        let result = worked.map_err(Failure::before_commit).and_then(|done| {
            transaction.session.statement(Sql::Commit)?.execute(())?;
            Ok(done)
        });
        if result.is_err() {
            transaction.undo();
        } else {
            if transaction.tells_of_evicted_before {
                transaction.evicted_before.clear();
            }
            transaction.totals.shrink();
            *known = Some(transaction.totals);
        }
        result
    }

    /// Begins a call of its own within the transaction.
    pub(super) fn begin_call(&mut self) {
        self.own = Own { from: self.totals.head.sequence.saturating_add(1), ..Own::default() };
    }

    /// What was evicted before, for one put to tell of.
    pub(super) fn take_evicted_before(&mut self) -> Vec<Evicted> {
        if std::mem::replace(&mut self.tells_of_evicted_before, true) {
            return Vec::new();
        }
        // Where this transaction is undone, another one tells of it.
        self.evicted_before.clone()
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

    /// Issues a version.
    pub(super) fn next_version(&mut self) -> Result<i64> {
        if self.totals.head.sequence >= MAX_VERSION {
            let message = "this index has issued all its versions; put the cache into another folder";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        self.totals.head.sequence += 1;
        Ok(self.totals.head.sequence)
    }

    /// Issues a generation that nothing has now.
    pub(super) fn next_generation(&mut self) -> Tried<i64> {
        for _ in 0..MAX_GENERATION {
            let next = self.totals.head.generation.saturating_add(1);
            self.totals.head.generation = if (1..=MAX_GENERATION).contains(&next) { next } else { 1 };
            let used = self.session.statement(Sql::GenerationInUse)?;
            if !used.query_row((self.totals.head.generation,), |row| row.get::<_, bool>(0))? {
                return Ok(self.totals.head.generation);
            }
        }
        let message = "the index has as many namespaces as it can hold; drop some";
        Err(Error::new(ErrorKind::LimitExceeded, message).into())
    }

    /// The place of a namespace's row in this transaction; `None` where there is no such namespace.
    pub(super) fn tenant(&mut self, name: &Namespace) -> Tried<Option<usize>> {
        if let Some(at) = self.totals.tenants.iter().position(|tenant| tenant.name == *name) {
            return Ok(Some(at));
        }
        let mut rows = self.session.statement(Sql::Namespace)?.query((name.as_str(),))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let tenant = Tenant::read(name, row)?;
        if !(1..=MAX_GENERATION).contains(&tenant.generation) {
            return Err(damaged("a namespace has an impossible generation").into());
        }
        drop(rows);
        self.totals.tenants.push(tenant);
        Ok(Some(self.totals.tenants.len() - 1))
    }

    /// As [`tenant`](Self::tenant); makes the namespace where there is none.
    pub(super) fn tenant_or_new(&mut self, name: &Namespace) -> Tried<usize> {
        if let Some(at) = self.tenant(name)? {
            return Ok(at);
        }
        let generation = self.next_generation()?;
        self.session.statement(Sql::InsertNamespace)?.execute((name.as_str(), generation))?;
        self.totals.tenants.push(Tenant::new(name.clone(), generation));
        Ok(self.totals.tenants.len() - 1)
    }

    pub(super) fn generation(&self, tenant: usize) -> i64 {
        self.totals.tenants[tenant].generation
    }

    /// The row of a namespace, to be changed.
    pub(super) fn change(&mut self, tenant: usize) -> &mut Tenant {
        let tenant = &mut self.totals.tenants[tenant];
        tenant.changed = true;
        tenant
    }

    /// Forgets what is kept of a namespace that was dropped.
    pub(super) fn forget(&mut self, tenant: usize) {
        self.totals.tenants.remove(tenant);
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

/// Begins a transaction, and reads the totals.
fn begin(session: &mut Session<'_, '_>, last: Option<Totals>, policies: &EvictionPolicies) -> Tried<Totals> {
    if !session.connection.is_autocommit() {
        // A panic left a transaction open.
        session.statement(Sql::Rollback)?.execute(())?;
    }
    session.statement(Sql::Begin)?.execute(())?;
    Totals::now(session, last, policies).inspect_err(|_| {
        let _ = session.statement(Sql::Rollback).and_then(|rollback| rollback.execute(()));
    })
}
