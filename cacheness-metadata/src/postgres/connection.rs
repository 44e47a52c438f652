//! One connection: how it is made, and the statements that it has prepared.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cacheness_core::{Error, Result};
use futures_util::future::{Either, select, try_join_all};
use std::pin::pin;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::Failure;
use super::statements::Sql;

/// A value that goes with a statement.
pub(super) type Param = Box<dyn tokio_postgres::types::ToSql + Send + Sync>;

/// What is needed to make connections.
pub(super) struct Server {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// How long a call may take.
    pub(super) timeout: Duration,
    /// Told when the server notifies this process.
    pub(super) notified: watch::Sender<u64>,
}

/// A connection. Calls on it do not wait for each other's answers; the server works on them one after the other.
pub(super) struct Connection {
    pub(super) client: Client,
    statements: Vec<Statement>,
    driver: AbortHandle,
    retired: AtomicBool,
    calls: AtomicUsize,
}

impl Server {
    /// Connects. It is not ready for calls before [`prepare`] was called.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(Client, AbortHandle), Failure> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
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
        let driver = driver.abort_handle();
        // Statements are planned once: which index serves which does not depend on what is in the tables. What is
        // confirmed is on the server's disk, whatever it is set to otherwise. The server gives up before the client does.
        let limit = self.timeout.as_millis() * 9 / 10;
        let set_up = format!(
            "SET statement_timeout = {limit}; SET lock_timeout = 0; SET jit = off; SET plan_cache_mode = force_generic_plan; \
             SET enable_seqscan = off; SET client_min_messages = warning; \
             SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SELECT set_config('synchronous_commit', 'local', false) WHERE current_setting('synchronous_commit') = 'off'"
        );
        if let Err(error) = client.batch_execute(&set_up).await {
            driver.abort();
            return Err(error.into());
        }
        Ok((client, driver))
    }
}

/// Prepares all statements, which takes one exchange for all of them.
pub(super) async fn prepare(
    (client, driver): (Client, AbortHandle),
    texts: &[String],
) -> Result<Connection, Failure> {
    let statements = try_join_all(texts.iter().map(|text| client.prepare(text))).await;
    match statements {
        Ok(statements) => {
            let (retired, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
            Ok(Connection { client, statements, driver, retired, calls })
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

    /// How many calls are under way.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Runs a statement.
    pub(super) async fn query(&self, sql: Sql, params: &[Param]) -> Result<Vec<Row>, Failure> {
        let _counted = Counted::new(&self.calls);
        let Some(statement) = self.statements.get(sql as usize) else {
            let message = "a statement was not prepared";
            return Err(Error::new(cacheness_core::ErrorKind::Unexpected, message).into());
        };
        let params: Vec<_> =
            params.iter().map(|param| &**param as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        Ok(self.client.query(statement, &params).await?)
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
pub(super) async fn within<T>(
    env: &cacheness_core::Env,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(work), pin!(env.sleep(limit))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
