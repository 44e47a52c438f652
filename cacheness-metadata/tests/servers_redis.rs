//! The behaviour suite on Redis, random changes, and what becomes of entries when the server fails.
//!
//! `scripts/test` starts the servers. By hand: `eval "$(scripts/services up redis)"` before, `scripts/services down`
//! after. Where a test stops its server, or sets it up otherwise, it starts one of its own.
#![cfg(feature = "redis")]

mod random_changes;
mod redis_server;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cacheness_core::{
    CacheId, Change, ChangeFeed, Changed, Condition, ConfigOptions, Env, ErrorKind, Expiry, GARBAGE_DELAY,
    LeaseHolder, Limits, ListQuery, MetadataBackend, MetadataFactory, Namespace, OpenContext, OpenMode,
    Result, Stats, Version,
};
use cacheness_metadata::redis::RedisMetadataFactory;
use cacheness_testkit::metadata::{MetadataSubject, Store};
use redis_server::{OwnServer, client, server};

// shows: rows 47, 51, 68
cacheness_testkit::metadata_suite!(on_redis, RedisMetadataFactory::new(), fresh());

/// Options for a cache of its own on the server that all tests share.
fn fresh() -> ConfigOptions {
    ConfigOptions::new().with("url", server()).with("prefix", format!("test-{}", CacheId::random()))
}

fn subject(options: ConfigOptions) -> MetadataSubject {
    MetadataSubject::new(RedisMetadataFactory::new(), options)
}

async fn open(options: &ConfigOptions, mode: OpenMode) -> Result<Arc<dyn MetadataBackend>> {
    let context = OpenContext::new(Env::new()).with_mode(mode);
    RedisMetadataFactory::new().open(options, &context).await
}

async fn refused(options: &ConfigOptions) -> cacheness_core::Error {
    let Err(error) = open(options, OpenMode::Create).await else { panic!("it was opened") };
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    error
}

fn name(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

/// Compares the indexes of a cache with its entries, and the totals with both.
async fn check_indexes(own: &OwnServer, context: &str) {
    const CHECK: &str = include_str!("redis_server/check.lua");
    let mut connection = client(&own.url()).await;
    let head = "{cacheness}:h";
    let wrong: Vec<String> =
        redis::cmd("EVAL").arg(CHECK).arg(1).arg(head).query_async(&mut connection).await.unwrap();
    assert!(wrong.is_empty(), "{context}: {wrong:?}");
}

#[tokio::test]
async fn random_changes_keep_the_limits_the_totals_and_the_indexes() {
    for seed in 1..4 {
        let own = OwnServer::start(&[]);
        let check = async |_: &MetadataSubject, context: &str| check_indexes(&own, context).await;
        random_changes::run(&subject(own.options()), true, seed, check).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_opens_at_once_agree_on_one_cache() {
    let options = fresh();
    let opens = (0..20).map(|_| {
        let options = options.clone();
        tokio::spawn(async move { open(&options, OpenMode::Create).await.unwrap().cache_id() })
    });
    let mut caches = HashSet::new();
    for open in opens.collect::<Vec<_>>() {
        caches.insert(open.await.unwrap());
    }
    assert_eq!(caches.len(), 1);
}

#[tokio::test]
async fn opening_what_must_be_there_creates_nothing() {
    let options = fresh();
    let Err(error) = open(&options, OpenMode::Existing).await else { panic!("it was opened") };
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let created = open(&options, OpenMode::Create).await.unwrap();
    let found = open(&options, OpenMode::Existing).await.unwrap();
    assert_eq!(found.cache_id(), created.cache_id());
}

#[tokio::test]
async fn a_newer_format_and_keys_of_another_program_are_refused() {
    let prefix = format!("test-{}", CacheId::random());
    let options = fresh().with("prefix", prefix.as_str());
    open(&options, OpenMode::Create).await.unwrap();
    let mut connection = client(&server()).await;
    let head = format!("{{{prefix}}}:h");
    let _: () =
        redis::cmd("HSET").arg(&head).arg("format").arg(2).query_async(&mut connection).await.unwrap();
    let error = refused(&options).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let _: () =
        redis::cmd("SET").arg(&head).arg("something else").query_async(&mut connection).await.unwrap();
    assert_eq!(refused(&options).await.kind(), ErrorKind::ConfigInvalid);
}

#[tokio::test]
async fn hostile_prefixes_and_names_stay_apart() {
    let texts = [
        "*",
        "?",
        "[a-z]*",
        "'\"`",
        "%",
        "_",
        "\0",
        "a\0b",
        "]] return redis.call('FLUSHALL') --[[",
        "\r\n",
        "ü",
    ];
    let mut stores = Vec::new();
    let base = CacheId::random();
    for text in texts {
        let subject = subject(fresh().with("prefix", format!("{base}{text}")));
        let store = subject.open().await;
        for one in texts {
            for other in texts {
                store.put(subject.entry(one, other)).await;
            }
        }
        stores.push((subject, store));
    }
    for (subject, store) in &stores {
        let mut query = ListQuery::new();
        query.limit = 10;
        assert_eq!(store.list(&query).await.len(), texts.len() * texts.len());
        for text in texts {
            query.prefix = text.to_owned();
            query.namespace = Some(name(text));
            let keys: Vec<_> =
                store.list(&query).await.iter().map(|entry| entry.key.as_str().to_owned()).collect();
            let mut expected: Vec<_> = texts.iter().filter(|key| key.starts_with(text)).copied().collect();
            expected.sort_unstable();
            assert_eq!(keys, expected);
        }
        store.clear_all("*").await;
        store.drop_namespace(&name("\0")).await.unwrap();
        assert_eq!(store.purge_all(subject.now()).await, (0, 2 * texts.len() as u64));
        assert_eq!(store.total().await.entries as usize, (texts.len() - 2) * texts.len());
    }
}

#[tokio::test]
async fn a_wrong_password_a_missing_permission_and_a_server_that_evicts_say_what_to_do() {
    let own = OwnServer::start(&["--requirepass", "geheim-1"]);
    let error = refused(&own.options()).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("password"), "{error}");
    let error = refused(&own.options().with("password", "geheim-2")).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let with_password = own.options().with("password", "geheim-1");
    open(&with_password, OpenMode::Create).await.unwrap();

    let mut connection = client(&format!("redis://:geheim-1@127.0.0.1:{}", own.port())).await;
    for (rule, is_enough) in [("~other:* +@all", false), ("~{cacheness}:* +@read +info", false), (ACL, true)]
    {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg("app").arg("reset").arg("on").arg(">geheim-3");
        for part in rule.split_whitespace() {
            command.arg(part);
        }
        let _: () = command.query_async(&mut connection).await.unwrap();
        let as_app = own.options().with("username", "app").with("password", "geheim-3");
        if !is_enough {
            let error = refused(&as_app).await;
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.to_string().contains("ACL"), "{error}");
            continue;
        }
        let subject = subject(as_app);
        random_changes::run(&subject, true, 1, async |_, _| {}).await;
        let store = subject.open().await;
        let holder = LeaseHolder::random();
        let leases = store.leases().unwrap();
        assert!(leases.acquire(&name("a"), "b", holder, Duration::from_secs(9)).await.unwrap().is_some());
        assert!(leases.renew(&name("a"), "b", holder, Duration::from_secs(9)).await.unwrap());
        assert!(leases.release(&name("a"), "b", holder).await.unwrap());
        let mut feed = subscribe(&*store).await;
        store.put(subject.entry("default", "k")).await;
        assert_eq!(feed.next().await.unwrap().len(), 1);
        let blob = subject.entry("default", "k").blob_id().unwrap();
        assert_eq!(store.unnamed(&[blob]).await.unwrap(), [blob]);
        store.condemn(&[blob], subject.now()).await.unwrap();
        store.ping().await.unwrap();
        store.reset_stats(None).await.unwrap();
    }

    let evicting = OwnServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refused(&evicting.options()).await;
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    assert!(error.to_string().contains("allkeys-lru") && error.to_string().contains("noeviction"), "{error}");
    let replica = OwnServer::start(&["--replicaof", "127.0.0.1", &own.port().to_string()]);
    let error = refused(&replica.options()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let gone = evicting.options();
    drop(evicting);
    assert_eq!(refused(&gone).await.kind(), ErrorKind::Unavailable);
}

/// What docs/backends/redis.md asks for.
const ACL: &str = "~{cacheness}:* +ping +info +config|get +eval +evalsha +type +exists +unlink +rename +pexpire +time \
                   +get +set +getrange +setrange +hget +hgetall +hmget +hset +hdel +hexists +hkeys +zadd +zrem +zrange +zrangebylex \
                   +sadd +srem +sismember +smembers +xadd +xread";

#[tokio::test]
async fn a_server_without_memory_refuses_puts_and_lets_things_be_removed() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    store.put(subject.inline_entry("default", "first", &[7; 20_000])).await;
    let mut connection = client(&own.url()).await;
    let mut set = redis::cmd("CONFIG");
    let _: () = set.arg("SET").arg("maxmemory").arg("1mb").query_async(&mut connection).await.unwrap();
    let before = store.total().await;
    let put = vec![subject.putting(subject.inline_entry("default", "second", b"x"))];
    let error = store.apply(put.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!(store.total().await, before, "a refused put changes nothing");
    assert!(store.has("default", "first").await);
    let removed = store.remove_if("default", "first", Condition::Always, subject.now()).await;
    assert!(removed.applied, "there is always room to remove something");
    assert_eq!(store.total().await.entries, 0);
    store.clear_all("default").await;
    let mut set = redis::cmd("CONFIG");
    let _: () = set.arg("SET").arg("maxmemory").arg("0").query_async(&mut connection).await.unwrap();
    store.changes(put).await;
}

#[tokio::test]
async fn every_call_is_one_round_trip_also_at_the_limit() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options().with("connections", 1));
    let store = subject.open().await;
    let limits = Limits::unbounded().max_entries(20).policy("lru");
    store.limit(limits, subject.now()).await;
    store.limit_namespace("default", Limits::unbounded().max_bytes(100_000), subject.now()).await;
    for i in 0..60 {
        subject.wait(Duration::from_secs(1));
        store.put(subject.entry("default", &format!("{i}"))).await;
    }
    let trips = async || own.commands(&["evalsha", "eval"]).await;
    // The server has each script from its first call on.
    store.get("default", "0").await;
    store.total().await;
    let before = trips().await;
    for i in 0..20 {
        store.get("default", &format!("{i}")).await;
    }
    assert_eq!(trips().await - before, 20, "get");
    let keys: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    store.get_entries(&name("default"), &keys).await.unwrap();
    assert_eq!(trips().await - before, 21, "get_entries");
    for i in 0..20 {
        subject.wait(Duration::from_secs(1));
        let outcome = store.put(subject.inline_entry("default", &format!("new {i}"), b"small")).await;
        assert_eq!(outcome.evicted.len(), 1);
    }
    assert_eq!(trips().await - before, 41, "puts that evict");
    store.total().await;
    assert_eq!(trips().await - before, 42, "stats");
    let version = store.version("default", "new 19").await;
    store.used("default", "new 19", version, subject.now(), 3).await;
    assert_eq!(trips().await - before, 44, "record_accesses");
}

/// Puts until it is told to stop, and says which keys were confirmed, with the numbers that were put.
async fn put_on(
    subject: &MetadataSubject,
    store: &Store,
    task: u64,
    stop: &AtomicBool,
) -> Vec<(String, Version)> {
    let mut confirmed = Vec::new();
    let mut i = 0;
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        let key = format!("{task}-{i}");
        match store.apply(vec![subject.putting(subject.entry("default", &key))]).await {
            Ok(outcomes) => confirmed.push((key, outcomes[0].version.unwrap())),
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                tokio::task::yield_now().await;
            }
        }
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_nothing_that_was_confirmed_and_issues_no_version_twice() {
    let mut own = OwnServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let subject = subject(own.options());
    let store = subject.open().await;
    let stop = AtomicBool::new(false);
    let kill = async {
        for _ in 0..4 {
            wait(300).await;
            own.kill();
            wait(100).await;
            own.start_again();
        }
        wait(300).await;
        stop.store(true, Ordering::Relaxed);
    };
    let put = |task| put_on(&subject, &store, task, &stop);
    let (a, b, c, ()) = futures_util::future::join4(put(1), put(2), put(3), kill).await;
    let mut versions = HashSet::new();
    for (key, version) in a.iter().chain(&b).chain(&c) {
        assert_eq!(
            store.get("default", key).await.map(|entry| entry.version),
            Some(*version),
            "{key} was confirmed"
        );
        assert!(versions.insert(*version), "no version is issued twice");
    }
    assert!(versions.len() > 100, "{} puts", versions.len());
    let entries = store.list(&ListQuery::new()).await;
    assert_eq!(store.total().await.entries as usize, entries.len());
}

async fn wait(millis: u64) {
    Env::new().sleep(Duration::from_millis(millis)).await;
}

#[tokio::test]
async fn connections_that_were_cut_are_made_anew_at_the_next_call() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    let mut connection = client(&own.url()).await;
    for i in 0..10 {
        store.put(subject.entry("default", &format!("{i}"))).await;
        let mut cut = redis::cmd("CLIENT");
        let _: i64 = cut.arg("KILL").arg("SKIPME").arg("yes").query_async(&mut connection).await.unwrap();
        wait(50).await;
    }
    assert_eq!(store.total().await.entries, 10);
}

#[tokio::test]
async fn a_flushed_cache_is_empty_and_takes_no_writes_until_it_is_opened_again() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    let mut feed = subscribe(&*store).await;
    let mut connection = client(&own.url()).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    assert!(!store.has("default", "k").await, "everything is a miss");
    assert_eq!(store.list(&ListQuery::new()).await.len(), 0);
    assert_eq!(store.total().await, Stats::default());
    assert_eq!(store.namespaces().await.unwrap(), []);
    assert_eq!(store.due(subject.now()).await, []);
    let put = vec![subject.putting(subject.entry("default", "k"))];
    let error = store.apply(put).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("open the cache again"), "{error}");
    assert_eq!(feed.next().await.unwrap(), [Changed::Missed]);
    assert_eq!(feed.next().await.unwrap_err().kind(), ErrorKind::Unavailable);

    let again = subject.open().await;
    assert_ne!(again.cache_id(), store.cache_id());
    again.put(subject.entry("default", "k")).await;
    assert!(!store.has("default", "k").await, "what another cache has is not this one's");
    assert_eq!(store.clear(&name("default")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.namespaces().await.unwrap(), []);
    assert!(again.has("default", "k").await);
}

#[tokio::test]
async fn a_repeated_put_leaves_its_blob_alone_and_garbage_that_is_named_again_is_none() {
    let subject = subject(fresh());
    let store = subject.open().await;
    let (first, second) = (subject.entry("default", "k"), subject.entry("default", "k"));
    for entry in [&first, &first, &second, &second, &first] {
        store.put(entry.clone()).await;
    }
    subject.wait(GARBAGE_DELAY);
    assert_eq!(store.due(subject.now()).await, [second.blob_id().unwrap()]);
    assert_eq!(store.total().await.garbage_bytes, second.stored_size);
}

#[tokio::test]
async fn with_snapshots_alone_garbage_waits_until_one_was_made() {
    let own = OwnServer::start(&["--save", "3600 1"]);
    let subject = subject(own.options());
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    store.put(subject.entry("default", "k")).await;
    subject.wait(GARBAGE_DELAY);
    assert!(store.due(subject.now()).await.is_empty(), "a crash would bring the old entry back");
    let mut connection = client(&own.url()).await;
    for _ in 0..100 {
        wait(1100).await;
        let _: () = redis::cmd("SAVE").query_async(&mut connection).await.unwrap();
        if !store.due(subject.now()).await.is_empty() {
            return;
        }
    }
    panic!("what was saved is not due");
}

async fn subscribe(backend: &dyn MetadataBackend) -> Box<dyn ChangeFeed> {
    backend.changes().unwrap().subscribe().await.unwrap()
}

async fn until(feed: &mut Box<dyn ChangeFeed>, wanted: &Changed) -> Vec<Changed> {
    let mut seen = Vec::new();
    while !seen.contains(wanted) {
        seen.extend(feed.next().await.unwrap());
    }
    seen
}

fn put_of(key: &str, version: Version) -> Changed {
    Changed::Put { namespace: name("default"), key: key.to_owned(), version }
}

#[tokio::test]
async fn a_feed_tells_of_every_kind_of_change_in_order() {
    let subject = subject(fresh());
    let (one, other) = (subject.open().await, subject.open().await);
    let mut feed = subscribe(&*one).await;
    let now = subject.now();
    let version = other.put(subject.entry("default", "k")).await.version.unwrap();
    other.remove_if("default", "k", Condition::Always, now).await;
    other.put(subject.expiring_entry("default", "short", Duration::from_secs(1))).await;
    let touch = Change::Touch {
        namespace: name("default"),
        key: "short".to_owned(),
        condition: Condition::Always,
        expiry: Expiry::Extend(Duration::from_secs(1)),
        now,
    };
    other.change(touch).await;
    other.purge_all(now + Duration::from_secs(9)).await;
    other.put_if(subject.entry("default", "k"), Condition::Version(version)).await;
    other.clear_all("default").await;
    other.drop_namespace(&name("default")).await.unwrap();
    let last = other.put(subject.entry("default", "last")).await.version.unwrap();
    let seen = until(&mut feed, &put_of("last", last)).await;
    let gone = |key: &str| Changed::Invalidated { namespace: name("default"), key: key.to_owned() };
    let cleared = Changed::Cleared { namespace: name("default") };
    let mut expected = vec![put_of("k", version), gone("k")];
    expected.push(seen[2].clone());
    assert!(matches!(&seen[2], Changed::Put { key, .. } if key == "short"));
    expected.extend([gone("short"), gone("short"), cleared.clone(), put_of("last", last)]);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_feed_that_is_cut_goes_on_and_one_that_was_left_behind_says_so() {
    let own = OwnServer::start(&["--appendonly", "yes"]);
    let mut own = own;
    let env = Env::new();
    let context = OpenContext::new(env);
    let backend = RedisMetadataFactory::new().open(&own.options(), &context).await.unwrap();
    let subject = subject(own.options());
    let store = subject.open().await;
    let mut feed = subscribe(&*backend).await;
    let mut connection = client(&own.url()).await;
    let mut last = None;
    for i in 0..20 {
        let mut cut = redis::cmd("CLIENT");
        let _: i64 = cut.arg("KILL").arg("SKIPME").arg("yes").query_async(&mut connection).await.unwrap();
        wait(20).await;
        let version = store.put(subject.entry("default", &format!("{i}"))).await.version.unwrap();
        last = Some(put_of(&format!("{i}"), version));
    }
    let seen = until(&mut feed, &last.clone().unwrap()).await;
    assert_eq!(seen.len(), 20, "{seen:?}");

    own.kill();
    own.start_again();
    assert_eq!(feed.next().await.unwrap()[0], Changed::Missed, "the server may have lost what it did last");
    let version = store.put(subject.entry("default", "after")).await.version.unwrap();
    assert_eq!(until(&mut feed, &put_of("after", version)).await.len(), 1);

    // Nobody reads for so long that the stream no longer goes back to where the feed is.
    let put = |i| subject.putting(subject.entry("default", &format!("{i}")));
    for part in 0..60 {
        store.changes((part * 500..(part + 1) * 500).map(put).collect()).await;
    }
    let version = store.put(subject.entry("default", "end")).await.version.unwrap();
    let seen = until(&mut feed, &put_of("end", version)).await;
    assert!(seen.contains(&Changed::Missed), "{} changes of 30,001 came", seen.len());
    assert!(seen.len() < 30_000);
    backend.close().await.unwrap();
    loop {
        if let Err(error) = feed.next().await {
            assert_eq!(error.kind(), ErrorKind::Closed);
            return;
        }
    }
}

#[tokio::test]
async fn a_feed_whose_server_is_silent_says_so_within_its_bound() {
    let own = OwnServer::start(&[]);
    let backend = open(&own.options(), OpenMode::Create).await.unwrap();
    let mut feed = subscribe(&*backend).await;
    wait(200).await;
    own.stop();
    let began = Env::new().now();
    let error = feed.next().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
    let took = Env::new().now().since(began);
    let bound = backend.changes().unwrap().bound();
    assert!(took <= bound + Duration::from_secs(1), "{took:?}");
    assert_eq!(backend.get_entry(&name("default"), "k").await.unwrap_err().kind(), ErrorKind::Timeout);
    own.go_on();
    let subject = subject(own.options());
    let store = subject.open().await;
    let version = store.put(subject.entry("default", "k")).await.version.unwrap();
    loop {
        if let Ok(changes) = feed.next().await {
            assert!(changes.contains(&put_of("k", version)) || changes == [Changed::Missed], "{changes:?}");
            break;
        }
    }
}

#[tokio::test]
async fn a_lease_has_one_holder_and_ends_by_itself() {
    let subject = subject(fresh());
    let (one, other) = (subject.open().await, subject.open().await);
    let (ours, theirs) = (LeaseHolder::random(), LeaseHolder::random());
    let (work, long) = (name("work"), Duration::from_secs(60));
    let lease = |store: &Store, holder, ttl| {
        let (store, work) = (store.clone(), work.clone());
        async move { store.leases().unwrap().acquire(&work, "a\0b", holder, ttl).await.unwrap() }
    };
    let token = lease(&one, ours, long).await.unwrap();
    assert_eq!(lease(&other, theirs, long).await, None);
    assert_eq!(
        lease(&one, ours, Duration::from_millis(300)).await,
        Some(token),
        "asking again keeps the token"
    );
    assert!(!other.leases().unwrap().renew(&work, "a\0b", theirs, long).await.unwrap());
    assert!(!other.leases().unwrap().release(&work, "a\0b", theirs).await.unwrap());
    one.drop_namespace(&work).await.unwrap();
    assert_eq!(lease(&other, theirs, long).await, None, "leases are apart from entries");
    wait(400).await;
    assert!(!one.leases().unwrap().renew(&work, "a\0b", ours, long).await.unwrap(), "it has ended");
    let next = lease(&other, theirs, long).await.unwrap();
    assert!(next > token);
    assert!(other.leases().unwrap().release(&work, "a\0b", theirs).await.unwrap());
    assert!(lease(&one, ours, long).await.unwrap() > next);
}

#[tokio::test]
async fn with_tls_the_server_must_be_vouched_for() {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis_server/tls");
    let file = |name: &str| format!("{files}/{name}");
    let plain = OwnServer::start(&[]);
    let encrypted = OwnServer::start_with_tls(&file("server.pem"), &file("server.key"), &file("ca.pem"));
    let url = format!("rediss://localhost:{}", encrypted.port());
    let trusting = ConfigOptions::new().with("url", url.as_str()).with("ca_file", file("ca.pem"));
    let subject = subject(trusting.clone());
    let store = subject.open().await;
    store.put(subject.inline_entry("default", "k", &[7; 100_000])).await;
    assert!(store.has("default", "k").await);

    let error = refused(&ConfigOptions::new().with("url", url.as_str())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("ca_file") && !error.is_temporary(), "{error}");
    let other_name = trusting.clone().with("url", format!("rediss://127.0.0.2:{}", encrypted.port()));
    refused(&other_name).await;
    // A server without TLS gets nothing to read, and neither does one with it that is spoken to without.
    refused(&trusting.with("url", format!("rediss://localhost:{}", plain.port()))).await;
    let error = refused(&encrypted.options()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let nothing = plain.options().with("ca_file", file("server.key"));
    assert_eq!(refused(&nothing).await.kind(), ErrorKind::ConfigInvalid);
}

#[tokio::test]
async fn in_a_cluster_a_cache_lies_on_one_node_and_another_node_says_which() {
    let nodes =
        [OwnServer::start(&["--cluster-enabled", "yes"]), OwnServer::start(&["--cluster-enabled", "yes"])];
    let mut connections = Vec::new();
    for (node, slots) in nodes.iter().zip([[0, 8_191], [8_192, 16_383]]) {
        let mut connection = client(&node.url()).await;
        let mut add = redis::cmd("CLUSTER");
        let _: () = add.arg("ADDSLOTSRANGE").arg(&slots).query_async(&mut connection).await.unwrap();
        connections.push(connection);
    }
    let mut meet = redis::cmd("CLUSTER");
    let port = nodes[1].port();
    let _: () = meet.arg("MEET").arg("127.0.0.1").arg(port).query_async(&mut connections[0]).await.unwrap();
    for connection in &mut connections {
        let mut info = redis::cmd("CLUSTER");
        let info = info.arg("INFO");
        while !info.query_async::<String>(connection).await.unwrap().contains("cluster_state:ok") {
            wait(50).await;
        }
    }
    let mut slot = redis::cmd("CLUSTER");
    let slot: u16 = slot.arg("KEYSLOT").arg("{cacheness}:h").query_async(&mut connections[0]).await.unwrap();
    let (owner, other) = if slot < 8_192 { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
    random_changes::run(&subject(owner.options()), true, 1, async |_, _| {}).await;
    let error = refused(&other.options()).await;
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    assert!(error.to_string().contains(&owner.port().to_string()), "{error}");
}
