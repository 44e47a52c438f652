//! One connection: how it is made, and what is asked of a server before it is used.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cacheness_core::{Env, Error, ErrorKind, Result};
use futures_util::future::{Either, select};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, RedisResult, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::deadline::ServerClock;
use super::failure::{is_unusable, told, unexpected};

/// Where the server is, and how one comes in.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: RedisConnectionInfo,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A connection over which calls go, many at once.
pub(super) struct Link {
    connection: MultiplexedConnection,
    alive: Arc<AtomicBool>,
    driver: JoinHandle<()>,
    /// The id of the server's process.
    pub(super) run: String,
    /// True where the server saves what it has now and then, and does not log each write.
    snapshots: bool,
    pub(super) clock: ServerClock,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects to one of the addresses that the server's name has.
    pub(super) async fn connect(target: &Target, limit: Duration, env: &Env) -> Result<Self> {
        let begun = Instant::now();
        let made = async {
            let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
            let addresses = found.map_err(unreachable)?.collect();
            Self::connect_to_one_of(addresses, target, limit.saturating_sub(begun.elapsed()), env).await
        };
        let server = format!("{}:{}", target.host, target.port);
        made.await.map_err(|error: Error| error.with_context("server", server))
    }

    /// Tries them in their order. Each gets an even share of the time, so that one that says nothing leaves some to the next.
    async fn connect_to_one_of(
        addresses: Vec<SocketAddr>,
        target: &Target,
        limit: Duration,
        env: &Env,
    ) -> Result<Self> {
        let begun = Instant::now();
        let (count, mut failure) = (addresses.len(), None);
        for (at, address) in addresses.into_iter().enumerate() {
            let left = limit.saturating_sub(begun.elapsed());
            let share = left / u32::try_from(count - at).unwrap_or(u32::MAX);
            let error = match select(pin!(Self::connect_to(target, address)), pin!(env.sleep(share))).await {
                Either::Left((Err(error), _)) if error.is_temporary() => error,
                Either::Left((made, _)) => return made,
                Either::Right(_) => {
                    let message = format!(
                        "no connection to the server could be made within {share:?}; see whether it runs and can be reached, \
                         or raise `connect_timeout`"
                    );
                    Error::new(ErrorKind::Timeout, message)
                }
            };
            failure.get_or_insert(error);
        }
        Err(failure.unwrap_or_else(|| unreachable(std::io::Error::other("the server's name has no address"))))
    }

    /// Connects, logs in, and checks that this server can be used.
    async fn connect_to(target: &Target, address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some((connector, name)) = &target.tls else { return Self::over(target, stream).await };
        let stream = connector.connect(name.clone(), stream).await.map_err(|error| {
            let message = "TLS with the server failed; where its certificate is not from a public authority, \
                           name that authority's file in `tls_ca`";
            Error::new(ErrorKind::Unavailable, message).with_temporary(false).with_source(error)
        })?;
        Self::over(target, stream).await
    }

    async fn over(
        target: &Target,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self> {
        // Calls have a time limit of their own.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let made = MultiplexedConnection::new_with_config(&target.login, stream, config).await;
        let (connection, driver) = made.map_err(told)?;
        let alive = Arc::new(AtomicBool::new(true));
        let lost = alive.clone();
        let driver = tokio::spawn(async move {
            driver.await;
            lost.store(false, Ordering::Release);
        });
        let clock = ServerClock::default();
        let mut link = Self { connection, alive, driver, run: String::new(), snapshots: false, clock };
        let info = link.info(None).await?;
        check(&info)?;
        // Where this is not told, the first change finds it out.
        if let Ok(micros) = field(&info, "server_time_usec").parse() {
            link.clock.learn(micros);
        }
        link.run = field(&info, "run_id").to_owned();
        if field(&info, "aof_enabled") != "1" {
            let mut get = redis::cmd("CONFIG");
            get.arg("GET").arg("save");
            // Where this is forbidden, whoever runs the server sees to it that what it has survives.
            let answer = link.send(get).await;
            link.snapshots = matches!(&answer, Ok(Value::Array(pair)) if matches!(
                pair.get(1), Some(Value::BulkString(save)) if !save.is_empty()
            ));
        }
        Ok(link)
    }

    async fn info(&self, section: Option<&str>) -> Result<String> {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        match self.send(command).await? {
            Value::BulkString(info) => Ok(String::from_utf8_lossy(&info).into_owned()),
            _ => Err(unexpected()),
        }
    }

    /// Sees whether the server takes writes. One that has become a replica answers whoever only reads as before, with
    /// what may be long outdated.
    pub(super) async fn ping(&self) -> Result<()> {
        let checked = check(&self.info(Some("replication")).await?);
        if checked.is_err() {
            self.give_up();
        }
        checked
    }

    /// When the server last saved what it has, in seconds by its clock; `None` where each write is logged, or nothing is
    /// ever saved.
    pub(super) async fn last_save(&self) -> Result<Option<i64>> {
        if !self.snapshots {
            return Ok(None);
        }
        let info = self.info(Some("persistence")).await?;
        Ok(Some(field(&info, "rdb_last_save_time").parse().unwrap_or(0)))
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn send(&self, command: Cmd) -> Result<Value> {
        self.answer(&command).await.map_err(|error| self.failed(error))
    }

    /// Sends a script's call. `None` where the server does not have the script.
    pub(super) async fn run(&self, command: &Cmd) -> Result<Option<Value>> {
        match self.answer(command).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code() == Some("NOSCRIPT") => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn answer(&self, command: &Cmd) -> RedisResult<Value> {
        match self.connection.clone().send_packed_command(command).await? {
            Value::ServerError(error) => Err(error.into()),
            answer => Ok(answer),
        }
    }

    fn failed(&self, error: RedisError) -> Error {
        let is_lost = error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error();
        if is_lost || is_unusable(&error) {
            self.give_up();
        }
        told(error)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Lets no further call use the connection.
    pub(super) fn give_up(&self) {
        self.alive.store(false, Ordering::Release);
    }
}

fn unreachable(error: std::io::Error) -> Error {
    let message = "the server cannot be reached; see whether it runs, and check the host and the port";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

fn field<'i>(info: &'i str, name: &str) -> &'i str {
    let value = |line: &'i str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).unwrap_or_default().trim()
}

/// Refuses a server that would drop entries by itself, or that takes no writes.
fn check(info: &str) -> Result<()> {
    let role = field(info, "role");
    if role == "slave" || role == "replica" {
        let message =
            "the server is a replica, which takes no writes and may lag behind; connect to its master";
        return Err(Error::new(ErrorKind::Unavailable, message).with_outcome_unknown(false));
    }
    let policy = field(info, "maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        let message = format!(
            "the server's `maxmemory-policy` is `{policy}`, by which it would drop parts of the cache behind its back; \
             set it with `CONFIG SET maxmemory-policy noeviction` and in its configuration, and give the cache limits"
        );
        return Err(Error::new(ErrorKind::ConfigInvalid, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_and_a_server_that_evicts_are_refused() {
        assert!(check("# Replication\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n").is_ok());
        assert!(check("").is_ok(), "what the server does not tell is not held against it");
        assert_eq!(check("role:slave\r\n").unwrap_err().kind(), ErrorKind::Unavailable);
        let error = check("role:master\r\nmaxmemory_policy:allkeys-lru\r\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.to_string().contains("allkeys-lru"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_leaves_time_for_the_next() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let next = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![silent.local_addr().unwrap(), next.local_addr().unwrap()];
        let login = RedisConnectionInfo::default();
        let target = Target { host: "name.example".to_owned(), port: 6379, login, tls: None };
        let env = Env::new();
        let connecting = Link::connect_to_one_of(addresses, &target, Duration::from_secs(1), &env);
        let (made, taken) = tokio::join!(connecting, next.accept());
        assert_eq!(made.err().unwrap().kind(), ErrorKind::Timeout, "this one says nothing, either");
        assert!(taken.is_ok());
    }
}
