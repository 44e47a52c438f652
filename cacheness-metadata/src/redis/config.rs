//! The factory of the backend `redis`, and its options.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{
    ConfigOptions, Durability, Error, ErrorKind, MetadataBackend, MetadataFactory, OpenContext, OptionKind,
    OptionSpec, Result,
};
use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::backend::RedisMetadata;
use super::connect::Target;
use super::failure::NAME;
use super::server::Settings;
use crate::trust::roots;

const TIMES: OptionKind =
    OptionKind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(3600) };

const OPTIONS: [OptionSpec; 15] = [
    OptionSpec::new(
        "url",
        OptionKind::Text,
        None,
        "Where the server is, with user, password and database; the options below come before it.",
    )
    .otherwise("the options `host` to `database`")
    .example("rediss://app:secret@redis.example.com:6380/0")
    .secret(),
    OptionSpec::new("host", OptionKind::Text, None, "The server's name or address.")
        .otherwise("that of the `url`, else localhost"),
    OptionSpec::new("port", OptionKind::Int { min: 1, max: 65_535 }, None, "The server's port.")
        .otherwise("that of the `url`, else 6379"),
    OptionSpec::new("user", OptionKind::Text, None, "The user to log in as.")
        .otherwise("that of the `url`, else the server's default user"),
    OptionSpec::new("password", OptionKind::Text, None, "The password to log in with.")
        .otherwise("that of the `url`, else none")
        .secret(),
    OptionSpec::new("database", OptionKind::Int { min: 0, max: 65_535 }, None, "The number of the database.")
        .otherwise("that of the `url`, else 0"),
    OptionSpec::new("tls", OptionKind::Bool, None, "Whether the connection is encrypted.")
        .otherwise("true where `url` begins with rediss://, or `tls_ca` is given"),
    OptionSpec::new(
        "tls_ca",
        OptionKind::Path,
        None,
        "Certificates, in PEM, of those who vouch for the server.",
    )
    .otherwise("those that the operating system trusts")
    .example("/etc/ssl/redis-ca.pem"),
    OptionSpec::new(
        "prefix",
        OptionKind::Text,
        Some("cacheness"),
        "What the names of all keys begin with, in braces, so that a cluster keeps them on one node. One prefix is one cache.",
    ),
    OptionSpec::new(
        "connections",
        OptionKind::Int { min: 1, max: 64 },
        Some("2"),
        "Connections; many calls share each.",
    ),
    OptionSpec::new(
        "connect_timeout",
        TIMES,
        Some("5s"),
        "How long making a connection may take, for all addresses of the server's name together.",
    ),
    OptionSpec::new(
        "timeout",
        TIMES,
        Some("5s"),
        "How long the server may take to answer, and after how long a change is not made any more.",
    ),
    OptionSpec::new(
        "change_feed",
        OptionKind::Bool,
        Some("true"),
        "Whether changes are kept in a stream that other processes can follow. Once one process keeps it, all write to it.",
    ),
    OptionSpec::new(
        "change_feed_bound",
        OptionKind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(300) },
        Some("5s"),
        "How late a change may arrive, and after how long without an answer the feed counts as cut.",
    ),
    OptionSpec::new(
        "change_feed_length",
        OptionKind::Int { min: 100, max: 10_000_000 },
        Some("10000"),
        "About how many changes the stream goes back; whoever is further behind is told that it missed some.",
    ),
];

/// Makes a metadata backend in Redis, version 7 or later, or Valkey.
///
/// ```no_run
/// use cacheness_core::{ConfigOptions, Env, MetadataFactory, OpenContext};
/// use cacheness_metadata::redis::RedisMetadataFactory;
///
/// # async fn open() -> cacheness_core::Result<()> {
/// let options = ConfigOptions::new().with("url", "redis://localhost:6379").with("prefix", "shop");
/// let entries = RedisMetadataFactory::new().open(&options, &OpenContext::new(Env::new())).await?;
/// entries.ping().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisMetadataFactory;

impl RedisMetadataFactory {
    /// The factory. What it makes is set by options.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl MetadataFactory for RedisMetadataFactory {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "Entries in Redis or Valkey, shared by many machines."
    }

    fn options(&self) -> &[OptionSpec] {
        &OPTIONS
    }

    fn needs(&self) -> &[&'static str] {
        &["a Redis server of version 7 or later, with `maxmemory-policy noeviction`"]
    }

    fn check(&self, options: &ConfigOptions) -> Result<()> {
        let prefix = options.text("prefix").unwrap_or("cacheness");
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return Err(invalid("`prefix` is a text that is not empty and has no braces"));
        }
        let (_, _, login, encrypted) = address(options)?;
        if login.username().is_some() && login.password().is_none() {
            return Err(invalid("a user goes with a password; give `password`, or one in the `url`"));
        }
        if encrypted && options.bool("tls") == Some(false) {
            return Err(invalid(
                "`url` asks for encryption and `tls` for none, by which the password would be readable on the way; leave out \
                 `tls`, or write the `url` with redis://",
            ));
        }
        Ok(())
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let options = options.with_defaults(&OPTIONS);
        self.check(&options)?;
        if context.durability != Durability::Process {
            let message = "what a put survives is what the Redis server's persistence gives, which `redis` cannot see to; \
                           set it there (`appendonly yes`, `appendfsync always`), and leave `durability` at `process`";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let number =
            |name: &str, default| options.int(name).and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
        let time = |name: &str| options.duration(name).unwrap_or(Duration::from_secs(5));
        let settings = Settings {
            target: target(&options)?,
            prefix: format!("{{{}}}:", options.text("prefix").unwrap_or_default()),
            connections: number("connections", 2),
            connect_timeout: time("connect_timeout"),
            timeout: time("timeout"),
            change_feed: options.bool("change_feed").unwrap_or(true),
            change_feed_bound: time("change_feed_bound"),
            feed_length: options
                .int("change_feed_length")
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(10_000),
        };
        Ok(Arc::new(RedisMetadata::open(settings, context).await?))
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::ConfigInvalid, message)
}

/// The address, the login, and whether the scheme of the url asks for encryption.
fn address(options: &ConfigOptions) -> Result<(String, u16, redis::RedisConnectionInfo, bool)> {
    let mut login = redis::RedisConnectionInfo::default();
    let (mut host, mut port, mut encrypted) = ("localhost".to_owned(), 6379, false);
    if let Some(url) = options.secret("url") {
        // What is wrong is not said in the parser's words, which may quote the password.
        let malformed =
            || invalid("`url` is written redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// with TLS");
        let mut url = url::Url::parse(url.expose()).map_err(|_| malformed())?;
        encrypted = match url.scheme() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(malformed()),
        };
        url.set_scheme("redis").map_err(|()| malformed())?;
        url.set_query(None);
        url.set_fragment(None);
        let info = url.into_connection_info().map_err(|_| malformed())?;
        match info.addr() {
            ConnectionAddr::Tcp(name, number) => (host, port) = (name.clone(), *number),
            _ => return Err(malformed()),
        }
        login = info.redis_settings().clone();
    }
    if let Some(name) = options.text("host") {
        name.clone_into(&mut host);
    }
    if let Some(number) = options.int("port").and_then(|port| u16::try_from(port).ok()) {
        port = number;
    }
    if let Some(name) = options.text("user") {
        login = login.set_username(name);
    }
    if let Some(password) = options.secret("password") {
        login = login.set_password(password.expose());
    }
    if let Some(number) = options.int("database") {
        login = login.set_db(number);
    }
    // Servers before version 7.2 answer the naming of the library with an error.
    let login = login.set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    Ok((host, port, login, encrypted))
}

fn target(options: &ConfigOptions) -> Result<Target> {
    let (host, port, login, by_scheme) = address(options)?;
    let tls_ca = options.path("tls_ca");
    let tls = if options.bool("tls").unwrap_or(by_scheme || tls_ca.is_some()) {
        let name = ServerName::try_from(host.clone())
            .map_err(|_| invalid("the server's name is none that a certificate can have"))?;
        Some((connector(tls_ca.as_deref())?, name))
    } else {
        None
    };
    Ok(Target { host, port, login, tls })
}

fn connector(tls_ca: Option<&Path>) -> Result<TlsConnector> {
    let roots = roots(tls_ca)?;
    // Named, because the process may have several or none as its default.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Unexpected, "TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_and_single_options_say_the_same() {
        let by_url =
            ConfigOptions::new().with("url", "rediss://app:p%40ss@host.example:7000/3?protocol=resp3");
        let (host, port, login, encrypted) = address(&by_url).unwrap();
        assert_eq!((host.as_str(), port, encrypted), ("host.example", 7000, true));
        assert_eq!((login.username(), login.password(), login.db()), (Some("app"), Some("p@ss"), 3));
        let single = ConfigOptions::new()
            .with("host", "host.example")
            .with("port", 7000)
            .with("user", "app")
            .with("password", "p@ss")
            .with("database", 3);
        let (_, _, other, _) = address(&single).unwrap();
        assert_eq!((other.username(), other.password(), other.db()), (login.username(), login.password(), 3));
        let (host, port, ..) = address(&ConfigOptions::new()).unwrap();
        assert_eq!((host.as_str(), port), ("localhost", 6379));
    }

    #[test]
    fn options_come_before_the_url() {
        let url = "redis://app:p%40ss@host.example:7000/3";
        let both = ConfigOptions::new().with("url", url).with("port", 7).with("password", "other");
        RedisMetadataFactory::new().check(&both).unwrap();
        let (host, port, login, _) = address(&both).unwrap();
        assert_eq!((host.as_str(), port), ("host.example", 7));
        assert_eq!((login.username(), login.password(), login.db()), (Some("app"), Some("other"), 3));
    }

    #[test]
    fn options_that_contradict_each_other_are_refused_without_showing_the_password() {
        let factory = RedisMetadataFactory::new();
        for options in [
            ConfigOptions::new().with("url", "http://user:geheim@host"),
            ConfigOptions::new().with("url", "redis+unix:///geheim"),
            ConfigOptions::new().with("url", "redis://host:geheim"),
            ConfigOptions::new().with("url", "rediss://:geheim@host").with("tls", false),
            ConfigOptions::new().with("user", "app"),
            ConfigOptions::new().with("prefix", ""),
            ConfigOptions::new().with("prefix", "a}b"),
        ] {
            let error = factory.check(&options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
            assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
        }
    }
}
