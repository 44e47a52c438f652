//! The connections of one open backend, and who is served by which.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cacheness_core::{Env, Error, ErrorKind, Result};
use tokio::sync::Mutex;
use tokio_postgres::Row;

use super::connection::{self, Connection, Param, Server, within};
use super::failure::Failure;
use super::statements::Sql;

/// How often a transaction is made again that the server undid because of others.
const ATTEMPTS: u32 = 8;

/// A few connections. A broken one is replaced by the next call that would use it.
pub(super) struct Pool {
    server: Arc<Server>,
    texts: Vec<String>,
    slots: Vec<Slot>,
    env: Env,
    connect_timeout: Duration,
    closed: AtomicBool,
    /// Said once on the first connection, when it is made anew: that this process wants to be notified.
    listen: std::sync::Mutex<Option<String>>,
}

#[derive(Default)]
struct Slot {
    connection: std::sync::Mutex<Option<Arc<Connection>>>,
    /// Held while a connection is made.
    making: Mutex<()>,
}

impl Slot {
    fn usable(&self) -> Option<Arc<Connection>> {
        let connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        connection.as_ref().filter(|connection| connection.is_usable()).cloned()
    }

    fn set(&self, connection: Option<Arc<Connection>>) {
        *self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = connection;
    }
}

impl Pool {
    pub(super) fn new(
        server: Arc<Server>,
        texts: Vec<String>,
        count: usize,
        connect_timeout: Duration,
        env: Env,
    ) -> Self {
        let slots = (0..count).map(|_| Slot::default()).collect();
        let (closed, listen) = (AtomicBool::new(false), std::sync::Mutex::default());
        Self { server, texts, slots, env, connect_timeout, closed, listen }
    }

    /// Puts in a connection that was made before.
    pub(super) fn put_in(&self, connection: Connection) {
        if let Some(slot) = self.slots.first() {
            slot.set(Some(Arc::new(connection)));
        }
    }

    /// Runs a statement within the time that a call has, and again where the server undid it because of others, or where
    /// the connection was lost and once more does no harm.
    pub(super) async fn query(&self, sql: Sql, params: &[Param]) -> Result<Vec<Row>, Failure> {
        self.query_within(sql, params, self.server.timeout).await
    }

    /// As [`query`](Self::query), but at most for so long.
    pub(super) async fn query_within(
        &self,
        sql: Sql,
        params: &[Param],
        limit: Duration,
    ) -> Result<Vec<Row>, Failure> {
        let limit = limit.min(self.server.timeout);
        let on = std::sync::Mutex::new(None);
        let work = async {
            let mut lost = false;
            let mut attempt = 1;
            loop {
                let connection = self.connection(sql).await?;
                *on.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(connection.clone());
                match connection.query(sql, params).await {
                    Err(Failure::Undone(_)) if attempt < ATTEMPTS => attempt += 1,
                    Err(Failure::Lost(_)) if sql.may_be_repeated() && !lost => {
                        connection.retire();
                        lost = true;
                    }
                    Err(Failure::Lost(error)) => {
                        connection.retire();
                        return Err(Failure::Lost(error));
                    }
                    result => return result,
                }
            }
        };
        match within(&self.env, limit, work).await {
            Some(result) => result,
            None => {
                // Perhaps nothing comes on that connection any more. Whoever else waits on it goes on waiting; the next call
                // makes a new one.
                let on = on.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                if let Some(connection) = on {
                    connection.retire();
                }
                let message = format!(
                    "the server did not answer within {limit:?}; see whether it can be reached, or raise `timeout`"
                );
                Err(Failure::Lost(Error::new(ErrorKind::Timeout, message)))
            }
        }
    }

    /// Lets this process be notified on a channel, now and on each connection that is made later.
    pub(super) async fn listen(&self, channel: &str) -> Result<(), Failure> {
        let listen = format!("LISTEN \"{channel}\"");
        let before = {
            let mut known = self.listen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            known.replace(listen.clone())
        };
        if before.is_none()
            && let Some(first) = self.slots.first().and_then(Slot::usable)
        {
            first.client.batch_execute(&listen).await?;
        }
        Ok(())
    }

    /// Where notifications of this process are counted.
    pub(super) fn notified(&self) -> tokio::sync::watch::Receiver<u64> {
        self.server.notified.subscribe()
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
    /// process each sees what the one before it has left of the limits; and questions for changes, because that is the one
    /// on which this process is notified. All else goes where the fewest calls are.
    async fn connection(&self, sql: Sql) -> Result<Arc<Connection>, Failure> {
        if self.is_closed() {
            return Err(
                Error::new(ErrorKind::Closed, "the metadata backend `postgres` has been closed").into()
            );
        }
        let at = match sql {
            Sql::Apply | Sql::Evict | Sql::Poll => 0,
            _ => {
                let calls = |slot: &Slot| slot.usable().map_or(1, |connection| connection.calls());
                (0..self.slots.len()).min_by_key(|&at| calls(&self.slots[at])).unwrap_or(0)
            }
        };
        let Some(slot) = self.slots.get(at) else {
            return Err(Error::new(ErrorKind::Unexpected, "there are no connections").into());
        };
        if let Some(connection) = slot.usable() {
            return Ok(connection);
        }
        let _making = slot.making.lock().await;
        if let Some(connection) = slot.usable() {
            return Ok(connection);
        }
        let connection = match self.make(at == 0).await {
            Ok(connection) => Arc::new(connection),
            // A server that takes no more connections may still serve those that there are.
            Err(failure) => return self.slots.iter().find_map(Slot::usable).ok_or(failure),
        };
        if !self.is_closed() {
            slot.set(Some(connection.clone()));
        }
        Ok(connection)
    }

    async fn make(&self, first: bool) -> Result<Connection, Failure> {
        let connecting = async {
            let connection = connection::prepare(self.server.connect().await?, &self.texts).await?;
            let listen = self.listen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
            if let Some(listen) = listen.filter(|_| first) {
                connection.client.batch_execute(&listen).await?;
                // Something may have happened while nobody listened.
                self.server.notified.send_modify(|count| *count += 1);
            }
            Ok(connection)
        };
        match within(&self.env, self.connect_timeout, connecting).await {
            Some(made) => made,
            None => Err(Failure::Told(not_connected(self.connect_timeout))),
        }
    }
}

/// The error where making a connection takes too long.
pub(super) fn not_connected(limit: Duration) -> Error {
    let message = format!(
        "no connection to the server could be made within {limit:?}; see whether it runs and can be reached, or raise \
         `connect_timeout`"
    );
    Error::new(ErrorKind::Timeout, message)
}
