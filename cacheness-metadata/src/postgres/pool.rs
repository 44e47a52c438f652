//! The connections of one open backend, and who is served by which.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cacheness_core::{Env, Error, ErrorKind, Result};
use tokio_postgres::Row;

use super::connection::{self, Connection, Param, Server, within};
use super::deadline::Deadline;
use super::failure::Failure;
use super::statements::Sql;

/// How often a transaction is made again that the server undid because of others.
const ATTEMPTS: u32 = 8;

/// For so long after a connection could not be made, calls make do with the others.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// A few connections. A broken one is replaced by the next call that would use it.
pub(super) struct Pool {
    server: Arc<Server>,
    texts: Vec<String>,
    /// The number of the cache's locks.
    lock: i32,
    slots: Vec<Slot>,
    env: Env,
    /// How long a call waits at the most.
    wait: Duration,
    closed: AtomicBool,
    /// Said once on the first connection, when it is made anew: that this process wants to be notified.
    listen: Mutex<Option<String>>,
}

#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Arc<Connection>>>,
    /// Held while a connection is made. It is when the last attempt failed.
    making: tokio::sync::Mutex<Option<Instant>>,
}

impl Slot {
    fn usable(&self) -> Option<Arc<Connection>> {
        lock(&self.connection).as_ref().filter(|connection| connection.is_usable()).cloned()
    }

    fn set(&self, connection: Option<Arc<Connection>>) {
        *lock(&self.connection) = connection;
    }
}

impl Pool {
    /// `wait` is how long a call waits at the most.
    pub(super) fn new(
        server: Arc<Server>,
        texts: Vec<String>,
        lock: i32,
        count: usize,
        wait: Duration,
        env: Env,
    ) -> Self {
        let slots = (0..count).map(|_| Slot::default()).collect();
        let (closed, listen) = (AtomicBool::new(false), Mutex::default());
        Self { server, texts, lock, slots, env, wait, closed, listen }
    }

    /// Puts in a connection that was made before.
    pub(super) fn put_in(&self, connection: Connection) {
        if let Some(slot) = self.slots.first() {
            slot.set(Some(Arc::new(connection)));
        }
    }

    /// Runs a statement within the time that one has, and again where the server undid it because of others, or where the
    /// connection was lost and once more does no harm.
    pub(super) async fn query(&self, sql: Sql, params: &[Param]) -> Result<Vec<Row>, Failure> {
        self.query_within(sql, params, self.wait, Deadline::NONE).await
    }

    /// As [`query`](Self::query), but not longer than the limit, nor than until the deadline. A change that has one is not
    /// made after it.
    pub(super) async fn query_within(
        &self,
        sql: Sql,
        params: &[Param],
        limit: Duration,
        deadline: Deadline,
    ) -> Result<Vec<Row>, Failure> {
        deadline.check()?;
        let limit = limit.min(self.server.timeout).min(deadline.left());
        let on = Mutex::new(None);
        let work = async {
            let mut lost = false;
            let mut attempt = 1;
            loop {
                let done = match self.connection(sql).await {
                    Ok(connection) => {
                        *lock(&on) = Some((connection.clone(), Instant::now()));
                        let done = connection.query(sql, params, deadline).await;
                        match done {
                            Err(Failure::Demoted(_)) => self.retire_all(),
                            Err(Failure::Lost(_)) => connection.retire(),
                            _ => {}
                        }
                        done
                    }
                    Err(failure) => Err(failure),
                };
                match done {
                    Err(Failure::Undone(_)) if attempt < ATTEMPTS => attempt += 1,
                    // Where there is time left, the server's clock was not what it was believed to be.
                    Err(Failure::Late(_)) if attempt < ATTEMPTS && !deadline.left().is_zero() => attempt += 1,
                    Err(Failure::Lost(_) | Failure::Demoted(_)) if sql.may_be_repeated() && !lost => {
                        lost = true
                    }
                    // Of the first attempt nobody knows what became of it, whatever the second came to.
                    Err(failure) if lost => return Err(failure.with_outcome_unknown(true)),
                    done => return done,
                }
            }
        };
        if let Some(result) = within(&self.env, limit, work).await {
            return result;
        }
        let on = lock(&on).take();
        if let Some((connection, since)) = &on
            && connection.was_silent_for(since.elapsed()) >= self.wait / 2
        {
            // Perhaps nothing comes on that connection any more. Whoever else waits on it goes on waiting; the next call makes
            // a new one. Whoever has waited for a moment only, such as the feed, cannot tell that from a long batch, but can
            // where it was so time and again.
            connection.retire();
        }
        // Without a connection nothing was sent.
        Err(Failure::Lost(not_answered(limit).with_outcome_unknown(on.is_some())))
    }

    /// Lets this process be notified on a channel, now and on each connection that is made later.
    pub(super) async fn listen(&self, channel: &str) -> Result<(), Failure> {
        let listen = format!("LISTEN \"{channel}\"");
        let before = { lock(&self.listen).replace(listen.clone()) };
        let Some(slot) = self.slots.first().filter(|_| before.is_none()) else { return Ok(()) };
        // One that is being made just now may have been asked before.
        let _making = slot.making.lock().await;
        if let Some(first) = slot.usable() {
            match within(&self.env, self.server.timeout, first.client.batch_execute(&listen)).await {
                Some(listening) => listening?,
                None => {
                    first.retire();
                    return Err(Failure::Told(not_answered(self.server.timeout)));
                }
            }
        }
        Ok(())
    }

    /// Where notifications of this process are counted.
    pub(super) fn notified(&self) -> tokio::sync::watch::Receiver<u64> {
        self.server.notified.subscribe()
    }

    /// Lets no connection take further calls: the server that they lead to is not the one to ask any more.
    pub(super) fn retire_all(&self) {
        self.slots.iter().filter_map(Slot::usable).for_each(|connection| connection.retire());
    }

    /// Closes all connections. Calls that are under way finish.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.slots.iter().for_each(|slot| slot.set(None));
    }

    /// True once it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The connection for a statement: changes go over the first one, where they follow each other, so that within a
    /// process each sees what the one before it has left of the limits. All else goes where the fewest calls are.
    async fn connection(&self, sql: Sql) -> Result<Arc<Connection>, Failure> {
        if self.is_closed() {
            return Err(
                Error::new(ErrorKind::Closed, "the metadata backend `postgres` has been closed").into()
            );
        }
        let is_notified = || self.slots.first().is_some_and(|first| first.usable().is_some());
        let at = match sql {
            Sql::Apply | Sql::Evict => 0,
            // The first one is notified. Where nobody puts, nobody else would make it anew.
            Sql::Poll if !is_notified() => 0,
            _ => {
                let calls = |slot: &Slot| slot.usable().map_or(1, |connection| connection.calls());
                // The first one last, where a put may take long.
                (0..self.slots.len()).rev().min_by_key(|&at| calls(&self.slots[at])).unwrap_or(0)
            }
        };
        let Some(slot) = self.slots.get(at) else {
            return Err(Error::new(ErrorKind::Unexpected, "there are no connections").into());
        };
        if let Some(connection) = slot.usable() {
            return Ok(connection);
        }
        // A server that takes no more connections may still serve those that there are.
        let other = || self.slots.iter().find_map(Slot::usable);
        let mut making = slot.making.lock().await;
        if let Some(connection) = slot.usable() {
            return Ok(connection);
        }
        if making.is_some_and(|failed| failed.elapsed() < FAILED_FOR)
            && let Some(connection) = other()
        {
            return Ok(connection);
        }
        let connection = match self.make(at == 0).await {
            Ok(connection) => Arc::new(connection),
            Err(failure) => {
                *making = Some(Instant::now());
                return other().ok_or(failure.with_outcome_unknown(false));
            }
        };
        *making = None;
        slot.set(Some(connection.clone()));
        if self.is_closed() {
            slot.set(None);
        }
        Ok(connection)
    }

    async fn make(&self, first: bool) -> Result<Connection, Failure> {
        let connecting = async {
            let fresh = self.server.connect(&self.env).await?;
            let connection = connection::prepare(fresh, &self.texts, self.lock).await?;
            let listen = lock(&self.listen).clone();
            if let Some(listen) = listen.filter(|_| first) {
                connection.client.batch_execute(&listen).await?;
                // Something may have happened while nobody listened.
                self.server.notified.send_modify(|count| *count += 1);
            }
            Ok(connection)
        };
        match within(&self.env, self.server.connect_timeout, connecting).await {
            Some(made) => made,
            None => Err(Failure::Told(not_connected(self.server.connect_timeout))),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_answered(limit: Duration) -> Error {
    let message = format!(
        "the server did not answer within {limit:?}; see whether it can be reached, or raise `timeout`"
    );
    Error::new(ErrorKind::Timeout, message)
}

/// The error where making a connection takes too long.
pub(super) fn not_connected(limit: Duration) -> Error {
    let message = format!(
        "no connection to the server could be made within {limit:?}; see whether it runs and can be reached, or raise \
         `connect_timeout`"
    );
    Error::new(ErrorKind::Timeout, message).with_outcome_unknown(false)
}
