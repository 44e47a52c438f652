//! The connections of one open backend, and who may use them when.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use cacheness_core::{AccessLog, CacheId, Env, Error, ErrorKind, Evicted, EvictionPolicies, Result};

use super::connection::{Database, Session};
use super::failure::{Failure, Tried};
use super::reserve::Reserve;
use super::totals::Totals;
use super::transaction::Transaction;
use super::writer::Queue;
use crate::users::Users;

/// How long others are waited for when the log is cut short.
const SHORT_WAIT: Duration = Duration::from_millis(100);

/// An open index.
pub(super) struct Store {
    /// The database's file; `None` for one in memory.
    pub(super) path: Option<PathBuf>,
    pub(super) cache: CacheId,
    /// True where a commit is on the disk when it returns.
    pub(super) commits_are_durable: bool,
    pub(super) env: Env,
    pub(super) accesses: Arc<AccessLog>,
    pub(super) policies: EvictionPolicies,
    pub(super) queue: Queue,
    writer: Mutex<Option<Writer>>,
    readers: Vec<Mutex<Option<Database>>>,
    /// Room for the day on which the disk is full.
    reserve: Option<Reserve>,
    /// How long other processes that write are waited for.
    busy_timeout: Duration,
    /// Says that this process has the index open.
    users: Mutex<Option<Users>>,
    /// How many transactions were begun.
    pub(super) transactions: AtomicU64,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The connection that this thread asks first.
    static PREFERRED: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// The connection that writes, and what it remembers.
pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) known: Option<Totals>,
    /// What was evicted before a put, for it to tell of.
    evicted_before: Vec<Evicted>,
}

/// What a store is made of.
pub(super) struct Parts {
    pub(super) path: Option<PathBuf>,
    pub(super) cache: CacheId,
    pub(super) commits_are_durable: bool,
    pub(super) env: Env,
    pub(super) accesses: Arc<AccessLog>,
    pub(super) policies: EvictionPolicies,
    pub(super) writer: Database,
    /// Without any, the writing connection reads as well.
    pub(super) readers: Vec<Database>,
    pub(super) reserve: Option<Reserve>,
    pub(super) busy_timeout: Duration,
    /// `None` for one in memory.
    pub(super) users: Option<Users>,
}

impl Store {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            path: parts.path,
            cache: parts.cache,
            commits_are_durable: parts.commits_are_durable,
            env: parts.env,
            accesses: parts.accesses,
            policies: parts.policies,
            queue: Queue::default(),
            writer: Mutex::new(Some(Writer {
                database: parts.writer,
                known: None,
                evicted_before: Vec::new(),
            })),
            readers: parts.readers.into_iter().map(|reader| Mutex::new(Some(reader))).collect(),
            reserve: parts.reserve,
            busy_timeout: parts.busy_timeout,
            users: Mutex::new(parts.users),
            transactions: AtomicU64::new(0),
        }
    }

    /// Reads on a connection that is free, or on the next one to become so.
    pub(super) fn read<T>(&self, work: impl FnOnce(&mut Session<'_, '_>) -> Tried<T>) -> Result<T> {
        let result = if self.readers.is_empty() {
            let mut writer = self.lock_writer()?;
            let Some(writer) = writer.as_mut() else { return Err(closed()) };
            writer.database.session(|mut session| work(&mut session))
        } else {
            let mut reader = self.reader();
            let Some(reader) = reader.as_mut() else { return Err(closed()) };
            reader.session(|mut session| work(&mut session))
        };
        result.map_err(|failure| self.told(failure))
    }

    fn reader(&self) -> MutexGuard<'_, Option<Database>> {
        let count = self.readers.len();
        // Each thread comes back to the same connection, whose pages are then in the processor's cache: taking them
        // in turn made a lookup half as slow again.
        let first = PREFERRED.with(|preferred| *preferred) % count;
        for turn in 0..count {
            match self.readers[(first + turn) % count].try_lock() {
                Ok(reader) => return reader,
                // A statement that a panic interrupted was reset when its rows were dropped.
                Err(TryLockError::Poisoned(reader)) => return reader.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.readers[first].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the connection that writes. An open transaction that a panic left is rolled back by the next one.
    pub(super) fn lock_writer(&self) -> Result<MutexGuard<'_, Option<Writer>>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() { Err(closed()) } else { Ok(writer) }
    }

    /// Takes the connection that writes if it is free.
    pub(super) fn try_lock_writer(&self) -> Option<MutexGuard<'_, Option<Writer>>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::Poisoned(writer)) => Some(writer.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Runs `work` in a transaction.
    pub(super) fn write<T>(&self, work: impl FnMut(&mut Transaction<'_, '_>) -> Tried<T>) -> Result<T> {
        let mut writer = self.lock_writer()?;
        let Some(writer) = writer.as_mut() else { return Err(closed()) };
        self.transact(writer, work)
    }

    /// Runs work in a transaction that leaves less than there was, so that it may take the reserve where the disk is full.
    pub(super) fn free<T>(&self, work: impl FnMut(&mut Transaction<'_, '_>) -> Tried<T>) -> Result<T> {
        let mut writer = self.lock_writer()?;
        let Some(writer) = writer.as_mut() else { return Err(closed()) };
        self.transact_freeing(writer, work)
    }

    /// Runs work that makes room for others, once more without the reserve where the disk is full.
    pub(super) fn with_reserve<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        let result = work();
        match (&self.reserve, &result) {
            (Some(reserve), Err(error)) if error.kind() == ErrorKind::StorageFull && reserve.release() => {
                let result = work();
                reserve.make();
                result
            }
            _ => result,
        }
    }

    /// As [`free`](Self::free), on the connection that the caller holds.
    pub(super) fn transact_freeing<T>(
        &self,
        writer: &mut Writer,
        mut work: impl FnMut(&mut Transaction<'_, '_>) -> Tried<T>,
    ) -> Result<T> {
        let result = self.transact(writer, &mut work);
        let is_full = |error: &Error| error.kind() == ErrorKind::StorageFull;
        let Some(reserve) = self.reserve.as_ref().filter(|_| result.as_ref().err().is_some_and(is_full))
        else {
            return result;
        };
        reserve.release();
        let result = self.transact(writer, &mut work);
        // What is in the log goes to where it belongs, and the log's own room back to the disk.
        writer.database.session(|session| {
            let connection = session.connection;
            let _ = connection.busy_timeout(SHORT_WAIT);
            let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
            let _ = connection.busy_timeout(self.busy_timeout);
        });
        reserve.make();
        result
    }

    /// Runs `work` in a transaction, on the connection that the caller holds. What an eviction in it needs done
    /// before is done in transactions of its own, each of which is short; then the work begins anew.
    pub(super) fn transact<T>(
        &self,
        writer: &mut Writer,
        mut work: impl FnMut(&mut Transaction<'_, '_>) -> Tried<T>,
    ) -> Result<T> {
        loop {
            match self.attempt(writer, &mut work) {
                Err(failure) => self.prepare(writer, failure).map_err(|failure| self.told(failure))?,
                Ok(done) => return Ok(done),
            }
        }
    }

    /// Does what a transaction failed for want of.
    ///
    /// # Errors
    /// The failure itself, where nothing can be done about it.
    fn prepare(&self, writer: &mut Writer, failure: Failure) -> Tried<()> {
        match failure {
            Failure::Unprepared => {
                while self.attempt(writer, |transaction| transaction.prepare())? {}
                Ok(())
            }
            Failure::Crowded(crowded) => loop {
                match self.attempt(writer, |transaction| transaction.make_room_before(&crowded)) {
                    Ok((evicted, more)) => {
                        writer.evicted_before.extend(evicted);
                        if !more {
                            return Ok(());
                        }
                    }
                    Err(Failure::Unprepared) => self.prepare(writer, Failure::Unprepared)?,
                    Err(failure) => return Err(failure),
                }
            },
            failure => Err(failure),
        }
    }

    fn attempt<T>(
        &self,
        writer: &mut Writer,
        work: impl FnOnce(&mut Transaction<'_, '_>) -> Tried<T>,
    ) -> Tried<T> {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        let Writer { database, known, evicted_before } = writer;
        let shared = (&*self.accesses, &self.policies);
        database.session(|session| Transaction::run(session, shared, (known, evicted_before), work))
    }

    pub(super) fn told(&self, failure: Failure) -> Error {
        failure.at(self.path.as_deref())
    }

    /// Closes the connections; the last one in any process writes the log into the database.
    pub(super) fn close(&self) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for reader in &self.readers {
            reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        if let Some(writer) = writer.as_mut()
            && writer.known.as_ref().is_some_and(Totals::is_behind)
        {
            // Where this fails, some versions are never issued, and the oldest entry is said to be older than it is.
            let _ = self.attempt(writer, |transaction| {
                transaction.settling = true;
                Ok(())
            });
        }
        if let Some(mut writer) = writer.take()
            && self.path.is_some()
        {
            // What stays in the log because another process reads it is not lost: whoever opens the file reads it.
            let _ = writer
                .database
                .session(|session| session.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)"));
        }
        // Not before the connections are gone.
        drop(writer);
        self.users.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the index has been closed")
}
