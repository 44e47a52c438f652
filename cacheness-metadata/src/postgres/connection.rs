//! One connection: how it is made, and the statements that it has prepared.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cacheness_core::{Env, Error, ErrorKind, Result};
use futures_util::future::{Either, join, select, try_join_all};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Row, SimpleQueryMessage, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::deadline::{Deadline, ServerClock};
use super::failure::Failure;
use super::hosts;
use super::statements::{CLOCK, Sql};

/// A value that goes with a statement.
pub(super) type Param = Box<dyn ToSql + Send + Sync>;

/// What is needed to make connections.
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// How long a statement may take.
    pub(super) timeout: Duration,
    /// How long making a connection may take.
    pub(super) connect_timeout: Duration,
    /// Told when the server notifies this process.
    pub(super) notified: watch::Sender<u64>,
}

/// A connection that has nothing prepared yet.
pub(super) struct Fresh {
    pub(super) client: Client,
    pub(super) driver: AbortHandle,
    clock: Option<ServerClock>,
}

/// A connection. Calls on it do not wait for each other's answers; the server works on them one after the other.
pub(super) struct Connection {
    pub(super) client: Client,
    /// The number of the cache's locks.
    lock: i32,
    clock: Mutex<Option<ServerClock>>,
    statements: Vec<Statement>,
    driver: AbortHandle,
    retired: AtomicBool,
    calls: AtomicUsize,
    /// For how many milliseconds calls that got no answer have waited since the last answer.
    silent: AtomicU64,
}

impl Server {
    /// Connects to one of the hosts. It is not ready for calls before [`prepare`] was called.
    pub(super) async fn connect(self: &Arc<Self>, env: &Env) -> Result<Fresh, Failure> {
        let (client, mut connection) =
            hosts::connect(&self.config, &self.tls, self.connect_timeout, env).await?;
        let server = self.clone();
        let driver = tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(_)) => server.notified.send_modify(|count| *count += 1),
                    Ok(_) => {}
                    // Whoever waits for an answer is told by the client.
                    Err(error) => {
                        tracing::debug!(%error, "a connection to PostgreSQL ended");
                        break;
                    }
                }
            }
        });
        let mut fresh = Fresh { client, driver: driver.abort_handle(), clock: None };
        // Statements are planned once: which index serves which does not depend on what is in the tables. What is
        // confirmed is on the server's disk, whatever it is set to otherwise. A single statement is given up by the server
        // before it is by the client.
        let limit = self.timeout.as_millis() * 9 / 10;
        let set_up = format!(
            "SET statement_timeout = {limit}; SET lock_timeout = 0; SET jit = off; SET plan_cache_mode = force_generic_plan; \
             SET enable_seqscan = off; SET client_min_messages = warning; \
             SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'; \
             {CLOCK}"
        );
        let answers = match fresh.client.simple_query(&set_up).await {
            Ok(answers) => answers,
            Err(error) => {
                fresh.driver.abort();
                return Err(error.into());
            }
        };
        let said = answers.iter().rev().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten()?.parse().ok(),
            _ => None,
        });
        fresh.clock = said.map(ServerClock::said);
        Ok(fresh)
    }
}

/// Prepares all statements, which takes one exchange for all of them.
pub(super) async fn prepare(fresh: Fresh, texts: &[String], lock: i32) -> Result<Connection, Failure> {
    let Fresh { client, driver, clock } = fresh;
    let statements = try_join_all(texts.iter().map(|text| client.prepare(text))).await;
    match statements {
        Ok(statements) => {
            let (retired, calls, silent) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicU64::new(0));
            let clock = Mutex::new(clock);
            Ok(Connection { client, lock, clock, statements, driver, retired, calls, silent })
        }
        Err(error) => {
            driver.abort();
            Err(error.into())
        }
    }
}

impl Connection {
    /// True where it takes calls.
    pub(super) fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Acquire) && !self.client.is_closed()
    }

    /// Lets it take no more calls; those under way go on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Takes note that a call has waited for so long without an answer. Says how long all have together that waited since
    /// the last answer.
    pub(super) fn was_silent_for(&self, waited: Duration) -> Duration {
        let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.silent.fetch_add(waited, Ordering::Relaxed).saturating_add(waited))
    }

    /// How many calls are under way.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Runs a statement. A change that has a deadline is not made after it.
    pub(super) async fn query(
        &self,
        sql: Sql,
        params: &[Param],
        deadline: Deadline,
    ) -> Result<Vec<Row>, Failure> {
        let _counted = Counted::new(&self.calls);
        if !sql.has_a_deadline() {
            return self.send(sql, params, None).await;
        }
        let known = self.clock().filter(ServerClock::is_known);
        let clock = match known {
            Some(clock) => clock,
            None => self.ask_clock().await?,
        };
        let until = clock.of(deadline);
        let sent = if clock.is_fresh() {
            self.send(sql, params, Some(&until)).await
        } else {
            // Both go in one exchange, and what the second says is for the next call.
            join(self.send(sql, params, Some(&until)), self.ask_clock()).await.0
        };
        if let Err(Failure::Late(_)) = sent {
            // Perhaps the server's clock was set.
            self.set_clock(None);
        }
        sent
    }

    async fn send(
        &self,
        sql: Sql,
        params: &[Param],
        until: Option<&Option<i64>>,
    ) -> Result<Vec<Row>, Failure> {
        let Some(statement) = self.statements.get(sql as usize) else {
            let message = "a statement was not prepared";
            return Err(Error::new(ErrorKind::Unexpected, message).into());
        };
        let lock = sql.concerns_a_cache().then_some(&self.lock as &(dyn ToSql + Sync));
        let params = params.iter().map(|param| &**param as &(dyn ToSql + Sync));
        let until = until.map(|until| until as &(dyn ToSql + Sync));
        let params: Vec<_> = lock.into_iter().chain(params).chain(until).collect();
        let answer = self.client.query(statement, &params).await;
        self.silent.store(0, Ordering::Relaxed);
        Ok(answer?)
    }

    async fn ask_clock(&self) -> Result<ServerClock, Failure> {
        let rows = self.send(Sql::Clock, &[], None).await?;
        let Some(row) = rows.first() else {
            return Err(Error::new(ErrorKind::Unexpected, "the server does not say what time it is").into());
        };
        let clock = ServerClock::said(row.try_get(0)?);
        self.set_clock(Some(clock));
        Ok(clock)
    }

    fn clock(&self) -> Option<ServerClock> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_clock(&self, clock: Option<ServerClock>) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // On a retired connection nothing may ever come again, so that its task would wait for ever. Any other one says
        // goodbye to the server and ends by itself.
        if self.retired.load(Ordering::Acquire) {
            self.driver.abort();
        }
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bounds work by the clock of the cache; `None` where it took longer.
pub(super) async fn within<T>(env: &Env, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), pin!(env.sleep(limit))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
