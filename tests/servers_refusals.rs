//! What is wrong with a server or its credentials is an error that says what to do, and shows no secret.

mod network;

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use cacheness::blocking::Cache;
use cacheness::{ConfigOptions, Error, ErrorKind, RemoteCalls};
use network::{place, postgres, redis, s3, s3_at, server};

const SECRET: &str = "geheimnis-4711";

/// All that is logged, by whatever crate and on whatever thread, in the whole of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Begins to log, if that was not done yet.
    fn begin() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// That a cache of these parts is refused as it should be, and nothing that anybody sees of it shows the secret.
fn refused(
    what: &str,
    (metadata, metadata_options): (&str, ConfigOptions),
    (blobs, blob_options): (&str, ConfigOptions),
    kind: ErrorKind,
    said: &[&str],
) {
    let builder = Cache::builder()
        .metadata_with(metadata, metadata_options)
        .blobs_with(blobs, blob_options)
        .remote(RemoteCalls::new().attempts(1).deadline(std::time::Duration::from_secs(10)));
    let shown = format!("{builder:?}");
    assert!(!shown.contains(SECRET), "{what}: {shown}");
    let error: Error = builder.open_blocking().map(drop).expect_err(what);
    let mut text = format!("{error}\n{error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!("\n{cause}\n{cause:?}"));
        source = cause.source();
    }
    assert_eq!(error.kind(), kind, "{what}: {text}");
    assert!(!text.contains(SECRET), "{what}: {text}");
    for words in said {
        assert!(error.to_string().contains(words), "{what}: {words:?} is missing in: {error}");
    }
}

#[test]
fn wrong_credentials_and_missing_places_are_errors_that_say_what_to_do_and_show_no_secret() {
    let log = Log::begin();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let memory = || ("memory", ConfigOptions::new());
    let place = place(folder);
    refused(
        "a wrong key of S3",
        memory(),
        ("s3", s3(folder).with("secret_access_key", SECRET)),
        ErrorKind::PermissionDenied,
        &["credentials"],
    );
    refused(
        "a missing bucket",
        memory(),
        ("s3", s3(folder).with("bucket", "cacheness-is-not-there")),
        ErrorKind::NotFound,
        &["cacheness-is-not-there", "make it"],
    );
    refused(
        "no server of S3",
        memory(),
        ("s3", s3_at("http://127.0.0.1:1", &place).with("secret_access_key", SECRET)),
        ErrorKind::Unavailable,
        &["endpoint"],
    );
    let options = format!(
        "aws_endpoint = {}\naws_allow_http = true\naws_access_key_id = x\naws_secret_access_key = {SECRET}",
        server("TEST_S3")
    );
    refused(
        "a wrong key of object_store",
        memory(),
        ("object_store", ConfigOptions::new().with("url", "s3://cacheness-test/x").with("options", options)),
        ErrorKind::PermissionDenied,
        &["credentials"],
    );
    let url = server("TEST_POSTGRES");
    let (_, at) = url.split_once('@').unwrap();
    refused(
        "a missing database",
        ("postgres", postgres(folder).with("url", format!("{}/nowhere", url.rsplit_once('/').unwrap().0))),
        memory(),
        ErrorKind::NotFound,
        &["nowhere"],
    );
    refused(
        "a missing user",
        ("postgres", postgres(folder).with("url", format!("postgres://nobody:{SECRET}@{at}"))),
        memory(),
        ErrorKind::PermissionDenied,
        &[],
    );
    refused(
        "no server of PostgreSQL",
        ("postgres", postgres(folder).with("url", format!("postgres://u:{SECRET}@127.0.0.1:1/d"))),
        memory(),
        ErrorKind::Unavailable,
        &["127.0.0.1"],
    );
    refused(
        "a password that Redis does not want",
        (
            "redis",
            redis(folder)
                .with("url", server("TEST_REDIS").replace("redis://", &format!("redis://u:{SECRET}@"))),
        ),
        memory(),
        ErrorKind::PermissionDenied,
        &[],
    );
    refused(
        "no server of Redis",
        ("redis", redis(folder).with("url", format!("redis://:{SECRET}@127.0.0.1:1"))),
        memory(),
        ErrorKind::Unavailable,
        &["127.0.0.1"],
    );
    let logged = log.text();
    assert!(logged.contains("metadata"), "nothing was logged: {logged}");
    assert!(!logged.contains(SECRET), "a secret was logged: {}", line_of(&logged, SECRET));
}

/// The servers' own secrets, while all is well.
#[test]
fn a_cache_that_is_open_shows_no_secret_in_its_log_its_errors_or_its_debug_output() {
    let log = Log::begin();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let secret = server("TEST_S3_SECRET_KEY");
    // A user that comes in by any password, and one with a password of its own.
    let of_postgres = server("TEST_POSTGRES").replacen('@', &format!(":{SECRET}@"), 1);
    let user = place(folder);
    let mut redis_cli = std::process::Command::new("redis-cli");
    let port = server("TEST_REDIS").rsplit_once(':').unwrap().1.to_owned();
    redis_cli.args(["-p", &port, "ACL", "SETUSER", &user, "on", &format!(">{SECRET}"), "~*", "&*", "+@all"]);
    assert!(redis_cli.output().unwrap().status.success());
    let of_redis = server("TEST_REDIS").replace("redis://", &format!("redis://{user}:{SECRET}@"));
    for (metadata, options) in [
        ("postgres", postgres(folder).with("url", of_postgres.as_str())),
        ("redis", redis(folder).with("url", of_redis.as_str())),
    ] {
        let builder = Cache::builder().metadata_with(metadata, options).blobs_with("s3", s3(folder));
        let shown = format!("{builder:?}");
        let cache = builder.open_blocking().unwrap();
        cache.put_with("k", "value", cacheness::PutOptions::new().inline(false)).unwrap();
        assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("value"));
        let shown = format!("{shown} {cache:?} {cache:#?} {:?} {:?}", cache.health(), cache.stats());
        cache.close().unwrap();
        for secret in [SECRET, &secret] {
            assert!(!shown.contains(secret), "{metadata}: {shown}");
        }
    }
    let mut redis_cli = std::process::Command::new("redis-cli");
    assert!(redis_cli.args(["-p", &port, "ACL", "DELUSER", &user]).output().unwrap().status.success());
    let logged = log.text();
    assert!(logged.contains("put"), "nothing was logged: {logged}");
    for secret in [SECRET, &secret] {
        assert!(!logged.contains(secret), "a secret was logged: {}", line_of(&logged, secret));
    }
}

fn line_of<'l>(text: &'l str, words: &str) -> &'l str {
    text.lines().find(|line| line.contains(words)).unwrap_or_default()
}

#[test]
fn a_worker_with_a_wrong_prefix_or_an_unmounted_folder_is_refused_and_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let files = |name: &str| ConfigOptions::new().with("path", at.join(name).to_str().unwrap());
    let other = place(at) + "other";
    for (metadata, entries) in [("postgres", postgres(at)), ("redis", redis(at))] {
        for (blobs, right, wrong, others) in [
            (
                "s3",
                s3(at),
                s3(at).with("prefix", place(at) + metadata),
                s3(at).with("prefix", other.as_str()),
            ),
            ("filesystem", files("blobs"), files("unmounted"), files("others")),
        ] {
            let open = |place: &ConfigOptions| {
                let builder = Cache::builder().metadata_with(metadata, entries.clone());
                builder.blobs_with(blobs, place.clone()).open_blocking()
            };
            // What another cache has begun is a store like any other.
            let elsewhere = Cache::builder().folder(at.join(format!("{metadata}-{blobs}")));
            elsewhere.blobs_with(blobs, others.clone()).open_blocking().unwrap();
            let first = open(&right);
            let healthy = match first {
                Ok(cache) => cache,
                // The entries are those of the round before, whose blobs lie elsewhere.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                    let builder = Cache::builder().metadata_with(metadata, entries.clone());
                    builder.blobs_with(blobs, right.clone()).allow_new_blobs(true).open_blocking().unwrap()
                }
            };
            healthy.put("large", &vec![7_u8; 100_000]).unwrap();
            for place in [&wrong, &others] {
                for _ in 0..2 {
                    let error = open(place).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{metadata}, {blobs}: {error}");
                    assert!(error.to_string().contains("allow_new_blobs = true"), "{error}");
                }
            }
            assert_eq!(healthy.get("large").unwrap(), Some(vec![7_u8; 100_000]), "{metadata}, {blobs}");
            assert_eq!(open(&right).unwrap().get("large").unwrap(), Some(vec![7_u8; 100_000]));
        }
    }
}
