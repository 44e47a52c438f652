//! Servers: the one that all tests share, and those that a test starts for itself, to stop them or to change how they let
//! users in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cacheness_core::{CacheId, ConfigOptions, Env, MetadataBackend, MetadataFactory, OpenContext, Result};
use cacheness_metadata::postgres::PostgresMetadataFactory;
use cacheness_testkit::metadata::{MetadataSubject, Store};
use tokio_postgres::{Client, NoTls};

/// The url of the server that all tests share.
pub(crate) fn url() -> String {
    const NAME: &str = "TEST_POSTGRES";
    std::env::var(NAME).unwrap_or_else(|_| {
        panic!(
            "this test needs a server, and {NAME} does not say where it is: run scripts/test, which starts one, or \
             scripts/test --embedded-only, which leaves this test out"
        )
    })
}

/// The name of a schema that no other test has.
pub(crate) fn schema() -> String {
    format!("test_{}", CacheId::random())
}

/// The options of a cache that no other test has.
pub(crate) fn fresh() -> ConfigOptions {
    at(&url())
}

/// The options of a cache that no other test has, on another server.
pub(crate) fn at(url: &str) -> ConfigOptions {
    ConfigOptions::new().with("url", url).with("schema", schema())
}

/// Opens a backend by the operating system's clock.
pub(crate) async fn open(options: &ConfigOptions) -> Result<Arc<dyn MetadataBackend>> {
    PostgresMetadataFactory::new().open(options, &OpenContext::new(Env::new())).await
}

/// As [`store`], by a cache that waits for one call so long only.
pub(crate) async fn waiting(options: &ConfigOptions, wait: Duration) -> Store {
    let context = OpenContext::new(Env::new()).with_call_timeout(wait);
    let opened = PostgresMetadataFactory::new().open(options, &context).await;
    Store::new(opened.unwrap_or_else(|error| panic!("{error}")))
}

/// The schema of a cache, quoted, and the number of its locks.
pub(crate) async fn lock_of(client: &Client, options: &ConfigOptions) -> (String, i32) {
    let schema = format!("\"{}\"", options.text("schema").unwrap());
    let row = client.query_one(&format!("SELECT lock FROM {schema}.state"), &[]).await.unwrap();
    (schema, row.get(0))
}

/// As [`open`], with the words of the test kit.
pub(crate) async fn store(options: &ConfigOptions) -> Store {
    Store::new(open(options).await.unwrap_or_else(|error| panic!("{error}")))
}

/// Samples of entries, and the same words.
pub(crate) fn subject(options: &ConfigOptions) -> MetadataSubject {
    MetadataSubject::new(PostgresMetadataFactory::new(), options.clone())
}

/// A connection that goes past the backend.
pub(crate) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A server of a test's own, gone when it is dropped.
pub(crate) struct OwnServer {
    folder: PathBuf,
    pub(crate) url: String,
}

impl OwnServer {
    pub(crate) fn start() -> Self {
        let output = Command::new(services()).args(["up", "postgres"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let exports = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| {
            let line = exports.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.unwrap_or_else(|| panic!("no {name} in {exports}")).to_owned()
        };
        Self { folder: value("TEST_SERVICES").into(), url: value("TEST_POSTGRES") }
    }

    /// Who may come in, and how: the lines of `pg_hba.conf`.
    pub(crate) fn let_in(&self, lines: &str) {
        fs_err::write(self.folder.join("postgres/data/pg_hba.conf"), lines).unwrap();
        self.control(&["reload"]);
    }

    /// Lets the server encrypt connections, by a certificate and a key that lie in a folder.
    pub(crate) fn encrypt(&self, folder: &Path) {
        let data = self.folder.join("postgres/data");
        for name in ["server.crt", "server.key"] {
            fs_err::copy(folder.join(name), data.join(name)).unwrap();
            if is_root() {
                assert!(
                    Command::new("chown").arg("postgres").arg(data.join(name)).status().unwrap().success()
                );
            }
            assert!(Command::new("chmod").arg("600").arg(data.join(name)).status().unwrap().success());
        }
        let mut file = fs_err::OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        std::io::Write::write_all(&mut file, b"ssl = on\n").unwrap();
        self.restart();
    }

    /// Stops the server at once, as a crash would, and starts it again on the same port.
    pub(crate) fn restart(&self) {
        self.control(&["restart", "-m", "immediate"]);
    }

    fn control(&self, words: &[&str]) {
        let data = self.folder.join("postgres/data");
        let log = self.folder.join("postgres/log");
        let program = newest_pg_ctl();
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .current_dir("/")
            .arg("-D")
            .arg(data)
            .args(["-w", "-t", "30", "-s", "-l"])
            .arg(log)
            .args(words);
        let status = command.stdin(std::process::Stdio::null()).status().unwrap();
        assert!(status.success(), "pg_ctl {words:?} failed");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = Command::new(services()).arg("down").arg(&self.folder).output();
    }
}

fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

fn newest_pg_ctl() -> PathBuf {
    let versions = fs_err::read_dir("/usr/lib/postgresql").unwrap();
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(number);
    newest.expect("PostgreSQL is installed").join("bin/pg_ctl")
}
