//! Opening: many at once, nothing that may be created, users who may not, and servers that are not there.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cacheness_core::{
    CacheId, ConfigOptions, Env, ErrorKind, Limits, MetadataFactory, OpenContext, OpenMode, Registry,
};
use cacheness_metadata::postgres::PostgresMetadataFactory;

use super::server::{OwnServer, at, client, fresh, open, schema, store, subject, url};

async fn error_of(options: ConfigOptions) -> cacheness_core::Error {
    match open(&options).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[test]
fn twenty_processes_that_open_at_once_have_one_cache() {
    const SCHEMA: &str = "TEST_OPENING";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Ok(schema) = std::env::var(SCHEMA) {
        let options = ConfigOptions::new().with("url", url()).with("schema", schema).with("connections", 1);
        let id = runtime.block_on(async { store(&options).await.cache_id() });
        writeln!(std::io::stdout(), "@{id}").unwrap();
        return;
    }
    let schema = schema();
    let processes: Vec<Child> = (0..20)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "opening::twenty_processes_that_open_at_once_have_one_cache",
                    "--nocapture",
                ])
                .env(SCHEMA, &schema)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut ids: Vec<CacheId> = processes.into_iter().map(id_of).collect();
    ids.dedup();
    let options = ConfigOptions::new().with("url", url()).with("schema", schema);
    assert_eq!(ids, [runtime.block_on(async { store(&options).await.cache_id() })]);
}

/// The cache that a process has opened, by what it printed.
fn id_of(process: Child) -> CacheId {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let id = text.lines().find_map(|line| CacheId::parse(line.split_once('@')?.1));
    id.unwrap_or_else(|| panic!("no id: {text}"))
}

#[tokio::test]
async fn what_may_not_be_created_is_not() {
    let options = fresh();
    let context = OpenContext::new(Env::new()).with_mode(OpenMode::Existing);
    let Err(error) = PostgresMetadataFactory::new().open(&options, &context).await else {
        panic!("it was opened")
    };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let there = "SELECT count(*) FROM pg_namespace WHERE nspname = $1";
    let schema = options.text("schema").unwrap().to_owned();
    let count: i64 = client(&url()).await.query_one(there, &[&schema]).await.unwrap().get(0);
    assert_eq!(count, 0, "nothing was made");
    let id = store(&options).await.cache_id();
    let existing = PostgresMetadataFactory::postgresql().open(&options, &context).await.unwrap();
    assert_eq!(existing.cache_id(), id);
}

#[tokio::test]
async fn prefixes_keep_caches_in_one_schema_apart() {
    let (schema, subject) = (schema(), subject(&fresh()));
    let options = |prefix: &str| {
        ConfigOptions::new().with("url", url()).with("schema", schema.as_str()).with("table_prefix", prefix)
    };
    let (one, other) = (store(&options("one_")).await, store(&options("An-other")).await);
    assert_ne!(one.cache_id(), other.cache_id());
    one.put(subject.entry("default", "k")).await;
    assert!(one.has("default", "k").await && !other.has("default", "k").await);
    assert_eq!(store(&options("An-other")).await.cache_id(), other.cache_id());
}

#[test]
fn caches_with_other_prefixes_can_be_opened_at_once_in_a_schema_that_is_missing() {
    for _ in 0..4 {
        let schema = schema();
        let threads: Vec<_> = (0..6)
            .map(|at| {
                let options = ConfigOptions::new().with("url", url()).with("connections", 1);
                let prefix = format!("p{at}_");
                let options = options.with("schema", schema.as_str()).with("table_prefix", prefix.as_str());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async { store(&options).await.cache_id() })
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let options = fresh();
    store(&options).await;
    let schema = options.text("schema").unwrap().to_owned();
    let client = client(&url()).await;
    client.execute(&format!("UPDATE \"{schema}\".state SET format = 99"), &[]).await.unwrap();
    let error = error_of(options).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn functions_that_are_missing_are_made() {
    let options = fresh();
    let id = store(&options).await.cache_id();
    let schema = options.text("schema").unwrap().to_owned();
    let client = client(&url()).await;
    client
        .batch_execute(&format!("DROP FUNCTION \"{schema}\".poll_v1; DROP FUNCTION \"{schema}\".clear_v1"))
        .await
        .unwrap();
    assert_eq!(store(&options).await.cache_id(), id, "as after a release that did not have them");
}

#[tokio::test]
async fn functions_that_have_an_older_text_are_replaced_and_newer_ones_stay() {
    let options = fresh();
    store(&options).await;
    let schema = options.text("schema").unwrap().to_owned();
    let client = client(&url()).await;
    let other = format!(
        "CREATE OR REPLACE FUNCTION \"{schema}\".mine_v1(a_lock integer) RETURNS boolean LANGUAGE sql AS 'SELECT true';
         UPDATE \"{schema}\".state SET functions = "
    );
    let text = format!("SELECT prosrc FROM pg_proc WHERE oid = '\"{schema}\".mine_v1'::regproc");
    for (number, stays) in [(0, false), (1_000, true)] {
        client.batch_execute(&format!("{other}{number}")).await.unwrap();
        store(&options).await.put(subject(&options).entry("default", "k")).await;
        let text: String = client.query_one(&text, &[]).await.unwrap().get(0);
        assert_eq!(text == "SELECT true", stays, "{number}: {text}");
    }
}

#[tokio::test]
async fn the_second_host_is_tried_where_the_first_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let both = url().replacen('@', &format!("@{},", silent.local_addr().unwrap()), 1);
    let options = at(&both).with("connect_timeout", "2s");
    let begun = std::time::Instant::now();
    let (store, subject) = (store(&options).await, subject(&options));
    store.put(subject.entry("default", "k")).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "the first one had its share of the time");
    assert!(store.has("default", "k").await);
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_passed_over_and_one_that_takes_none_any_more_is_left() {
    let own = OwnServer::start();
    let options = at(&own.url);
    let (alone, subject) = (store(&options).await, subject(&options));
    alone.put(subject.entry("default", "k")).await;
    assert!(alone.has("default", "k").await);
    alone.ping().await.unwrap();
    let admin = client(&own.url).await;
    let set = async |value: &str| {
        let alter = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        admin.batch_execute(&alter).await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        for _ in 0..200 {
            let now: String =
                client(&own.url).await.query_one("SHOW transaction_read_only", &[]).await.unwrap().get(0);
            if now == value {
                return;
            }
            Env::new().sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not change its setting");
    };
    set("on").await;
    let error = alone.ping().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("no writes"), "{error}");
    // Reads look for a server that takes writes, too, from then on.
    let error = alone.get_entry(&cacheness_core::Namespace::default(), "k").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("no writes"), "{error}");
    let error = error_of(at(&own.url)).await;
    assert!(error.to_string().contains("no writes") && error.is_temporary(), "{error}");

    let first = own.url.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let both = url().replacen('@', &format!("@{first},"), 1);
    let store = store(&at(&both)).await;
    store.put(subject.entry("default", "k")).await;
    assert!(store.has("default", "k").await, "the second host takes writes");

    set("off").await;
    alone.ping().await.unwrap();
    assert!(alone.has("default", "k").await, "it is used again when it takes writes again");
}

#[tokio::test]
async fn what_is_not_there_is_an_error_that_says_what_to_do() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("postgres://u@{}/d", silent.local_addr().unwrap());
    let missing = format!("{}_is_not_there", url());
    for (options, kind, said) in [
        (at(&missing), ErrorKind::NotFound, "createdb"),
        (at("postgres://u:hunter2@127.0.0.1:1/d"), ErrorKind::Unavailable, "`host`"),
        (at("postgres://u:hunter2@name.invalid/d"), ErrorKind::Unavailable, "`host`"),
        (at(&silent).with("connect_timeout", "200ms"), ErrorKind::Timeout, "`connect_timeout`"),
        (fresh().with("tls", "require"), ErrorKind::Unavailable, "`tls`"),
        (fresh().with("tls", "verify-full").with("tls_ca", "/not/there"), ErrorKind::NotFound, "`tls_ca`"),
    ] {
        let error = error_of(options).await;
        let text = format!("{error} {error:?}");
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn users_need_what_the_page_says_and_no_more() {
    let server = OwnServer::start();
    let admin = client(&server.url).await;
    let setup = "CREATE ROLE plain LOGIN PASSWORD 'hunter2'; REVOKE ALL ON SCHEMA public FROM PUBLIC";
    admin.batch_execute(setup).await.unwrap();
    server.let_in("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    let options = at(&server.url);
    let as_plain = |password: &str| options.clone().with("user", "plain").with("password", password);
    // The server reads the file a moment after it is told to.
    Env::new().sleep(Duration::from_millis(200)).await;

    for (password, said) in [("hunter3", "`password`"), ("", "`password`")] {
        let error = error_of(as_plain(password)).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(said) && !text.contains("hunter"), "{text}");
    }
    let error = error_of(as_plain("hunter2")).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("docs/backends/postgres.md"), "{error}");

    // Somebody who may makes the tables; the statements are those of the page.
    store(&options).await;
    let page = fs_err::read_to_string(format!("{}/../docs/backends/postgres.md", env!("CARGO_MANIFEST_DIR")))
        .unwrap();
    let begin = page.find("```sql\n-- For the user").expect("the page has the grants") + "```sql\n".len();
    let grants = page[begin..].split("```").next().unwrap();
    let schema = options.text("schema").unwrap();
    admin.batch_execute(&grants.replace("cacheness", schema).replace("cache_user", "plain")).await.unwrap();
    let subject = subject(&as_plain("hunter2"));
    let plain = subject.open().await;
    plain.limit(Limits::unbounded().max_entries(3), subject.now()).await;
    for i in 0..5 {
        plain.put(subject.entry("default", &format!("{i}"))).await;
    }
    assert_eq!(plain.total().await.entries, 3);
    let brief = subject.expiring_entry("default", "brief", Duration::from_secs(1));
    plain.put(brief).await;
    subject.wait(Duration::from_secs(2));
    assert_eq!(plain.purge_once(subject.now(), 100).await.expired, 1);
    assert_eq!(plain.list(&cacheness_core::ListQuery::new()).await.len(), 2);
    let live = plain.list(&cacheness_core::ListQuery::new()).await[0].blob_id().unwrap();
    let stray = cacheness_core::BlobId::new(subject.now());
    assert_eq!(plain.unnamed(&[live, stray]).await.unwrap(), [stray]);
    plain.condemn(&[stray], subject.now()).await.unwrap();
    plain.reset_stats(None).await.unwrap();
    plain.namespaces().await.unwrap();
    plain.evict(None, subject.now(), 10).await.unwrap();
    plain.clear_all("default").await;
    plain.purge_all(subject.now()).await;
    let due = plain.due(subject.now() + cacheness_core::GARBAGE_DELAY + cacheness_core::GARBAGE_DELAY).await;
    plain.forget_garbage(&due).await.unwrap();
    let name = cacheness_core::Namespace::default();
    let leases = plain.leases().unwrap();
    let holder = cacheness_core::LeaseHolder::random();
    leases.acquire(&name, "work", holder, Duration::from_secs(9)).await.unwrap().unwrap();
    cacheness_core::MetadataBackend::changes(&*plain).unwrap().subscribe().await.unwrap();
    plain.drop_namespace(&name).await.unwrap();
}

#[tokio::test]
async fn no_password_is_shown_by_a_registry_or_its_errors() {
    let registry = Registry::empty().with_metadata_backend(PostgresMetadataFactory::new()).unwrap();
    let factory = registry.metadata_backend("postgres").unwrap();
    let secret: Vec<&str> =
        factory.options().iter().filter(|spec| spec.secret).map(|spec| spec.name).collect();
    assert_eq!(secret, ["url", "password"]);
    let options = ConfigOptions::new().with("password", "hunter2");
    assert!(!format!("{options:?}").contains("hunter2"));
}
