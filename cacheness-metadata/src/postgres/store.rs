//! An open cache in a database: its connections, what is known of its rules, and how calls are made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cacheness_core::{
    AccessLog, CacheId, Env, Error, ErrorKind, EvictionPolicies, LeaseHolder, OpenContext, OpenMode, Result,
};
use tokio::sync::watch;
use tokio_postgres::Row;

use super::config::Settings;
use super::connection::{self, Fresh, Param, Server, within};
use super::deadline::Deadline;
use super::failure::Failure;
use super::feed::{FeedSettings, Notifier};
use super::pool::{Pool, not_connected};
use super::rules::Rules;
use super::schema::{self, Names};
use super::statements::{self, Sql};
use super::tls;
use super::uses::Hint;

/// An open cache.
pub(super) struct Store {
    pub(super) env: Env,
    pub(super) pool: Pool,
    pub(super) cache: CacheId,
    /// How long whoever calls waits.
    wait: Duration,
    /// Held while this process ranks entries anew, or waits until another has.
    pub(super) ranking: tokio::sync::Mutex<()>,
    /// By which others know that it is this process that does.
    pub(super) ranker: LeaseHolder,
    pub(super) accesses: Arc<AccessLog>,
    pub(super) policies: EvictionPolicies,
    /// The rules as they were last seen. Calls say which they go by, and are told where those are old.
    rules: Mutex<Rules>,
    /// The entries that were next to be evicted when somebody last asked.
    pub(super) hints: Mutex<Vec<Hint>>,
    pub(super) feed: FeedSettings,
    pub(super) notifier: Notifier,
}

/// Makes a list of parameters.
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$(Box::new($value) as $crate::postgres::connection::Param),*] };
}
pub(super) use params;

/// Opens the cache in a schema, and makes it where that is allowed.
pub(super) async fn open(settings: Settings, context: &OpenContext) -> Result<Arc<Store>> {
    let tls = tls::connector(&settings.tls, settings.ca.as_deref())?;
    let (env, mode) = (context.env.clone(), context.mode);
    let (accesses, policies) = (context.accesses.clone(), context.policies.clone());
    let place = place(&settings);
    let wait = settings.timeout.min(context.call_timeout.unwrap_or(Duration::MAX));
    let opening = async move {
        let names = Names::new(settings.schema, settings.prefix);
        let texts = statements::texts(&names);
        let (notified, _) = watch::channel(0);
        let Settings { server: config, timeout, connect_timeout, .. } = settings;
        let server = Arc::new(Server { config, tls, timeout, connect_timeout, notified });
        let first = within(&env, connect_timeout, server.connect(&env)).await;
        let first = first.ok_or_else(|| Failure::Told(not_connected(connect_timeout)))??;
        // Whoever comes while the tables are being made waits for them.
        let limit = connect_timeout + timeout;
        let beginning = begin(first, &names, &texts, mode, limit);
        let Some(begun) = within(&env, limit, beginning).await else {
            let message = "opening the cache took longer than `connect_timeout` and `timeout`; see whether the server is busy";
            return Err(Failure::Told(Error::new(ErrorKind::Timeout, message)));
        };
        let (found, rules, connection) = begun?;
        let pool = Pool::new(server, texts, found.lock, settings.connections, wait, env.clone());
        pool.put_in(connection);
        let rules = Mutex::new(Rules::read(&rules, &policies)?);
        let (hints, notifier, feed) = (Mutex::default(), Notifier::default(), settings.feed);
        let (cache, ranking, ranker) = (found.cache, tokio::sync::Mutex::default(), LeaseHolder::random());
        Ok(Arc::new(Store {
            env,
            pool,
            cache,
            wait,
            ranking,
            ranker,
            accesses,
            policies,
            rules,
            hints,
            feed,
            notifier,
        }))
    };
    let told = |failure: Failure| {
        let error = failure.told().with_context("backend", "postgres");
        error.with_context("server", place)
    };
    context.env.on_io(async move { opening.await.map_err(told) }).await
}

/// Makes the tables if need be, and prepares the first connection.
async fn begin(
    first: Fresh,
    names: &Names,
    texts: &[String],
    mode: OpenMode,
    limit: Duration,
) -> Result<(schema::Found, Row, connection::Connection), Failure> {
    let found = match schema::prepare(&first.client, names, mode, limit).await {
        Ok(found) => found,
        Err(failure) => {
            first.driver.abort();
            return Err(failure);
        }
    };
    let connection = connection::prepare(first, texts, found.lock).await?;
    let mut rules = connection.query(Sql::Rules, &[], Deadline::NONE).await?;
    let rules = rules.pop().ok_or_else(|| {
        Failure::Told(Error::new(ErrorKind::Corrupted, "the cache's table `state` is empty"))
    })?;
    Ok((found, rules, connection))
}

/// The server and the database, for messages.
fn place(settings: &Settings) -> String {
    let hosts = settings.server.get_hosts().iter().map(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        tokio_postgres::config::Host::Unix(path) => path.to_string_lossy().into_owned(),
    });
    let hosts: Vec<String> = hosts.collect();
    let ports: Vec<String> = settings.server.get_ports().iter().map(u16::to_string).collect();
    let port = if ports.is_empty() { "5432".to_owned() } else { ports.join(",") };
    let database = settings.server.get_dbname().or(settings.server.get_user()).unwrap_or_default();
    format!("{}:{port}/{database}", hosts.join(","))
}

impl Store {
    /// Runs a statement. To be called on the cache's own runtime.
    pub(super) async fn query(&self, sql: Sql, params: &[Param]) -> Result<Vec<Row>, Failure> {
        self.pool.query(sql, params).await
    }

    /// Runs a statement that is part of a change with a deadline, after which it is not made.
    pub(super) async fn query_until(
        &self,
        sql: Sql,
        params: &[Param],
        deadline: Deadline,
    ) -> Result<Vec<Row>, Failure> {
        self.pool.query_within(sql, params, Duration::MAX, deadline).await
    }

    /// The deadline of a change whose call begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.wait)
    }

    /// The rules as they were last seen.
    pub(super) fn rules(&self) -> Rules {
        self.lock_rules().clone()
    }

    fn lock_rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the rules.
    pub(super) async fn read_rules(&self) -> Result<Rules, Failure> {
        let rows = self.query(Sql::Rules, &[]).await?;
        let Some(row) = rows.first() else {
            return Err(Error::new(ErrorKind::Corrupted, "the cache's table `state` is empty").into());
        };
        let rules = Rules::read(row, &self.policies)?;
        let mut known = self.lock_rules();
        if known.epoch != rules.epoch {
            self.hints.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        *known = rules.clone();
        Ok(rules)
    }
}
