//! Redis servers for tests: the one that all share, and ones of a test's own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cacheness_core::ConfigOptions;
use redis::aio::MultiplexedConnection;

/// The server that all tests share.
pub(crate) fn server() -> String {
    std::env::var("TEST_REDIS").unwrap_or_else(|_| {
        panic!(
            "this test needs a Redis server, and TEST_REDIS does not say where it is: run scripts/test, which \
             starts one, or scripts/test --embedded-only, which leaves this test out"
        )
    })
}

/// A connection that is not the backend's.
pub(crate) async fn client(url: &str) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    redis::Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Runs a command whose answer is of no interest.
pub(crate) async fn run(connection: &mut MultiplexedConnection, command: &str) {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    let _: redis::Value = command.arg(words.collect::<Vec<_>>()).query_async(connection).await.unwrap();
}

/// A server of a test's own, which ends with the test.
pub(crate) struct OwnServer {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
    args: Vec<String>,
}

impl OwnServer {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut folder = tempfile::tempdir().unwrap();
        let mut args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let process = spawn(folder.path(), port, &args);
            let mut own = Self { process, folder, port, args };
            if own.answers() {
                return own;
            }
            // Another one has taken the port in between.
            own.kill();
            (folder, args) = (tempfile::tempdir().unwrap(), own.args.clone());
        }
    }

    /// Starts a server that speaks TLS alone.
    pub(crate) fn start_with_tls(certificate: &str, key: &str, authority: &str) -> Self {
        Self::start(&[
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            authority,
            "--tls-auth-clients",
            "no",
        ])
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> ConfigOptions {
        ConfigOptions::new().with("host", "127.0.0.1").with("port", i64::from(self.port))
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, on the same port and folder.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.folder.path(), self.port, &self.args);
        assert!(self.answers(), "the server does not start again");
    }

    /// Lets the server stand still, without closing its connections.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill").arg(signal).arg(self.process.id().to_string()).status().unwrap().success()
        );
    }

    /// How often these commands were run, as calls of their own.
    pub(crate) async fn commands(&self, names: &[&str]) -> u64 {
        let mut connection = client(&self.url()).await;
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
        let calls = names.iter().filter_map(|name| {
            let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")))?;
            line.split(',').next()?.parse::<u64>().ok()
        });
        calls.sum()
    }

    fn answers(&mut self) -> bool {
        for _ in 0..200 {
            if let Ok(Some(_)) = self.process.try_wait() {
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        false
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &std::path::Path, port: u16, args: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    let ports = (port.to_string(), "0".to_owned());
    let is_encrypted = args.first().is_some_and(|arg| arg.starts_with("--tls"));
    let (tls, plain) = if is_encrypted { ports } else { (ports.1, ports.0) };
    command.args([
        "--bind",
        "127.0.0.1",
        "--tls-port",
        &tls,
        "--port",
        &plain,
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command.arg("--dir").arg(folder).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command
        .spawn()
        .expect("redis-server cannot be started: install it, or run scripts/services up redis, which does")
}
