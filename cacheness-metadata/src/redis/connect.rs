//! One connection: how it is made, and what is asked of a server before it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cacheness_core::{Error, ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::failure::told;

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
    pub(super) snapshots: bool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects, logs in, and checks that this server can be used.
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let address = (target.host.as_str(), target.port);
        let unreachable = |error: std::io::Error| {
            let message =
                "the server cannot be reached; see whether it runs, and check the host and the port";
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        };
        let made = async {
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            match &target.tls {
                None => Self::over(target, stream).await,
                Some((connector, name)) => {
                    let stream = connector.connect(name.clone(), stream).await.map_err(|error| {
                        let message = "TLS with the server failed; where its certificate is not from a public authority, \
                                       name that authority's file in `ca_file`";
                        Error::new(ErrorKind::Unavailable, message).with_temporary(false).with_source(error)
                    })?;
                    Self::over(target, stream).await
                }
            }
        };
        let server = format!("{}:{}", target.host, target.port);
        made.await.map_err(|error: Error| error.with_context("server", server))
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
        let mut link = Self { connection, alive, driver, run: String::new(), snapshots: false };
        let info = link.info().await?;
        check(&info)?;
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

    async fn info(&self) -> Result<String> {
        match self.send(redis::cmd("INFO")).await? {
            Value::BulkString(info) => Ok(String::from_utf8_lossy(&info).into_owned()),
            _ => Err(super::failure::unexpected()),
        }
    }

    /// The second, by the server's clock, before which what was written has been saved; `None` where each write is
    /// logged, or nothing is ever saved.
    pub(super) async fn saved_before(&self) -> Result<Option<i64>> {
        if !self.snapshots {
            return Ok(None);
        }
        let info = self.info().await?;
        let number = |name| field(&info, name).parse::<i64>().unwrap_or(0);
        // A snapshot has what there was when its making began.
        Ok(Some(number("rdb_last_save_time") - number("rdb_last_bgsave_time_sec").max(0) - 1))
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn send(&self, command: Cmd) -> Result<Value> {
        match self.connection.clone().send_packed_command(&command).await {
            Ok(Value::ServerError(error)) => Err(told(error.into())),
            Ok(value) => Ok(value),
            Err(error) => {
                if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
                    self.give_up();
                }
                Err(told(error))
            }
        }
    }

    /// Sends a script's call. `None` where the server does not have the script.
    pub(super) async fn run(&self, command: &Cmd) -> Result<Option<Value>> {
        let answer = self.connection.clone().send_packed_command(command).await;
        let error = match answer {
            Ok(Value::ServerError(error)) => error.into(),
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        if error.code() == Some("NOSCRIPT") {
            return Ok(None);
        }
        if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
            self.give_up();
        }
        Err(told(error))
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Lets no further call use the connection.
    pub(super) fn give_up(&self) {
        self.alive.store(false, Ordering::Release);
    }
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
        return Err(Error::new(ErrorKind::Unavailable, message));
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
}
