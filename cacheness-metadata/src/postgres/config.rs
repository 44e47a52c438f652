//! The factory of the backend `postgres`, and its options.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{
    ConfigOptions, Error, ErrorKind, MetadataBackend, MetadataFactory, OpenContext, OptionKind, OptionSpec,
    Result,
};
use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;

use super::backend::PostgresMetadata;
use super::feed::FeedSettings;
use super::url::{taken_out, with_host, with_port};
use super::{store, tls};

const NAME: &str = "postgres";
const OTHER_NAME: &str = "postgresql";

/// The longest that one call may take. Changes are kept much longer for those who follow them, so that none is deleted
/// before it was seen.
const LONGEST: Duration = Duration::from_secs(300);

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "url",
        OptionKind::Text,
        None,
        "Where the database is, as a PostgreSQL url or in the form `host=… user=…`; the options below come before it.",
    )
    .otherwise("the options `host` to `database`")
    .example("postgres://user:password@db.example.com:5432/cache")
    .secret(),
    OptionSpec::new("host", OptionKind::Text, None, "The server, or the folder of its socket.")
        .otherwise("that of the `url`, else localhost")
        .example("db.example.com"),
    OptionSpec::new("port", OptionKind::Int { min: 1, max: 65_535 }, None, "The server's port.")
        .otherwise("that of the `url`, else 5432"),
    OptionSpec::new("user", OptionKind::Text, None, "The user.")
        .otherwise("that of the `url`, else `postgres`")
        .example("cache"),
    OptionSpec::new("password", OptionKind::Text, None, "The user's password.")
        .otherwise("that of the `url`, else none")
        .secret(),
    OptionSpec::new("database", OptionKind::Text, None, "The database. It must be there.")
        .otherwise("that of the `url`, else the one with the user's name")
        .example("cache"),
    OptionSpec::new(
        "schema",
        OptionKind::Text,
        Some("cacheness"),
        "The schema of the tables, made where it is missing: letters, digits, `_` and `-`.",
    ),
    OptionSpec::new(
        "table_prefix",
        OptionKind::Text,
        Some(""),
        "What the names of tables and functions begin with, so that several caches share a schema.",
    )
    .example("api_"),
    OptionSpec::new(
        "connections",
        OptionKind::Int { min: 1, max: 64 },
        Some("4"),
        "How many connections are kept. Each serves many calls at once.",
    ),
    OptionSpec::new(
        "connect_timeout",
        OptionKind::Duration { min: Duration::from_millis(1), max: LONGEST },
        Some("5s"),
        "How long making a connection may take, for all hosts that are named and all addresses of theirs together.",
    ),
    OptionSpec::new(
        "timeout",
        OptionKind::Duration { min: Duration::from_millis(10), max: LONGEST },
        Some("10s"),
        "How long a statement may take. A change is not made later than this after its call began, nor later than `remote.timeout`.",
    ),
    OptionSpec::new(
        "tls",
        OptionKind::Choice(tls::MODES),
        None,
        "Whether connections are encrypted, and what of the server's certificate is checked, as `sslmode` says it.",
    )
    .otherwise("the url's `sslmode`; without one `verify-full` where `tls_ca` is given, else `prefer`"),
    OptionSpec::new(
        "tls_ca",
        OptionKind::Path,
        None,
        "A file with the certificates, in PEM, of those who are trusted to sign the server's.",
    )
    .otherwise("the url's `sslrootcert`, else those that the operating system trusts")
    .example("/etc/ssl/postgres-ca.pem"),
    OptionSpec::new(
        "change_feed",
        OptionKind::Bool,
        Some("true"),
        "Whether this process may follow the changes that others make. While nobody does, it costs nothing.",
    ),
    OptionSpec::new(
        "change_feed_bound",
        OptionKind::Duration { min: Duration::from_millis(100), max: LONGEST },
        Some("5s"),
        "How late a change may arrive, and after how long without an answer the feed counts as cut.",
    ),
];

/// What the options say.
pub(super) struct Settings {
    pub(super) server: Config,
    pub(super) tls: String,
    pub(super) ca: Option<PathBuf>,
    pub(super) schema: String,
    pub(super) prefix: String,
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
    pub(super) feed: FeedSettings,
}

impl Settings {
    fn new(options: &ConfigOptions) -> Result<Self> {
        let options = options.with_defaults(OPTIONS);
        let url = options.secret("url");
        let (url, words) = taken_out(url.as_ref().map_or("", |url| url.expose()));
        let mut server = url.parse::<Config>().map_err(|_| {
            // What the parser says might quote a part of the password.
            let message =
                "`url` is no PostgreSQL url; write it as postgres://user:password@host:5432/database";
            Error::new(ErrorKind::ConfigInvalid, message)
        })?;
        if !words.names_kind {
            // A standby answers whoever only reads, with what may be long outdated.
            server.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if let Some(host) = options.text("host") {
            server = with_host(&server, host);
        } else if server.get_hosts().is_empty() && server.get_hostaddrs().is_empty() {
            server.host("localhost");
        }
        if let Some(port) = options.int("port").and_then(|port| u16::try_from(port).ok()) {
            server = with_port(&server, port);
        }
        match options.text("user") {
            Some(user) => _ = server.user(user),
            None if server.get_user().is_none() => _ = server.user("postgres"),
            None => {}
        }
        if let Some(password) = options.secret("password") {
            server.password(password.expose());
        }
        if let Some(database) = options.text("database") {
            server.dbname(database);
        }
        let ca = options.path("tls_ca").or(words.sslrootcert.map(PathBuf::from));
        let mode = options.text("tls").map(str::to_owned).or(words.sslmode);
        let mode = mode.unwrap_or_else(|| if ca.is_some() { "verify-full" } else { "prefer" }.to_owned());
        let duration = |name, otherwise| options.duration(name).unwrap_or(Duration::from_secs(otherwise));
        let text = |name| options.text(name).unwrap_or_default().to_owned();
        let settings = Self {
            schema: text("schema"),
            prefix: text("table_prefix"),
            connections: options
                .int("connections")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(4)
                .clamp(1, 64),
            connect_timeout: duration("connect_timeout", 5),
            timeout: duration("timeout", 10),
            feed: FeedSettings {
                enabled: options.bool("change_feed").unwrap_or(true),
                bound: duration("change_feed_bound", 5),
            },
            tls: mode,
            ca,
            server,
        };
        settings.check()
    }

    fn check(mut self) -> Result<Self> {
        let invalid = |message: String| Err(Error::new(ErrorKind::ConfigInvalid, message));
        for (name, text, most, least) in
            [("schema", &self.schema, 63, 1), ("table_prefix", &self.prefix, 30, 0)]
        {
            let known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !text.chars().all(known) || !(least..=most).contains(&text.len()) {
                return invalid(format!(
                    "`{name}` takes {least} to {most} letters, digits, `_` and `-`; {text:?} was given"
                ));
            }
        }
        if !tls::MODES.contains(&self.tls.as_str()) {
            let modes = tls::MODES.join(", ");
            return invalid(format!("the url's `sslmode` is one of {modes}; {:?} was given", self.tls));
        }
        self.server
            .ssl_mode(tls::ssl_mode(&self.tls))
            .application_name("cacheness")
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(self.timeout.max(Duration::from_secs(1)));
        Ok(self)
    }
}

/// Makes metadata backends in PostgreSQL, from version 13 on. Many processes on many machines may have the same one open.
///
/// ```no_run
/// use cacheness_core::{ConfigOptions, Env, MetadataFactory, OpenContext};
/// use cacheness_metadata::postgres::PostgresMetadataFactory;
///
/// # async fn open() -> cacheness_core::Result<()> {
/// let options = ConfigOptions::new().with("url", "postgres://user:password@localhost/cache");
/// let entries = PostgresMetadataFactory::new().open(&options, &OpenContext::new(Env::new())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PostgresMetadataFactory {
    name: &'static str,
}

impl PostgresMetadataFactory {
    /// The factory `postgres`. What it makes is set by options.
    #[must_use]
    pub fn new() -> Self {
        Self { name: NAME }
    }

    /// The same under the name `postgresql`.
    #[must_use]
    pub fn postgresql() -> Self {
        Self { name: OTHER_NAME }
    }
}

impl Default for PostgresMetadataFactory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl MetadataFactory for PostgresMetadataFactory {
    fn name(&self) -> &str {
        self.name
    }

    fn description(&self) -> &str {
        "Entries in a PostgreSQL database that many machines share."
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn needs(&self) -> &[&'static str] {
        &["a PostgreSQL server from version 13 on, and a database on it"]
    }

    fn check(&self, options: &ConfigOptions) -> Result<()> {
        Settings::new(options).map(drop)
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let store = store::open(Settings::new(options)?, context).await?;
        Ok(Arc::new(PostgresMetadata::new(store)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: ConfigOptions) -> Settings {
        options.check(NAME, OPTIONS).unwrap();
        Settings::new(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn options_come_before_the_url() {
        let given = settings(
            ConfigOptions::new()
                .with(
                    "url",
                    "postgres://u:p%40ss@h:77/d?sslmode=verify-ca&sslrootcert=%2Fca.pem&options=-c%20a%3Db",
                )
                .with("port", 78)
                .with("user", "v")
                .with("schema", "s"),
        );
        assert_eq!(given.server.get_ports(), [78]);
        assert_eq!(given.server.get_user(), Some("v"));
        assert_eq!(given.server.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(given.server.get_dbname(), Some("d"));
        assert_eq!(given.server.get_options(), Some("-c a=b"));
        assert_eq!((given.tls.as_str(), given.ca), ("verify-ca", Some(PathBuf::from("/ca.pem"))));
        assert_eq!((given.schema.as_str(), given.connections), ("s", 4));
    }

    #[test]
    fn a_server_that_takes_writes_is_looked_for_unless_the_url_says_otherwise() {
        for (url, wanted) in [
            ("postgres://a,b/d", TargetSessionAttrs::ReadWrite),
            ("host=a user=u", TargetSessionAttrs::ReadWrite),
            ("postgres://a,b/d?target_session_attrs=any", TargetSessionAttrs::Any),
            ("host=a target_session_attrs='any'", TargetSessionAttrs::Any),
        ] {
            let given = settings(ConfigOptions::new().with("url", url).with("host", "c"));
            assert_eq!(given.server.get_target_session_attrs(), wanted, "{url}");
        }
    }

    #[test]
    fn without_any_option_the_server_is_this_machine() {
        let given = settings(ConfigOptions::new());
        assert_eq!(given.server.get_hosts().len(), 1);
        assert_eq!((given.tls.as_str(), given.schema.as_str()), ("prefer", "cacheness"));
        let given = settings(ConfigOptions::new().with("tls_ca", "/x").with("host", "h"));
        assert_eq!(given.tls, "verify-full");
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_shows_no_password() {
        for (name, value, said) in [
            ("url", "postgres://u:hunter2@h:x/d", "postgres://user"),
            ("url", "postgres://u:hunter2@h/d?sslmode=allow", "verify-full"),
            ("schema", "a\"b", "`schema`"),
            ("schema", "", "`schema`"),
            ("table_prefix", "x$y", "`table_prefix`"),
        ] {
            let error = Settings::new(&ConfigOptions::new().with(name, value)).err().expect(value);
            let text = format!("{error} {error:?}");
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{text}");
            assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
        }
    }
}
