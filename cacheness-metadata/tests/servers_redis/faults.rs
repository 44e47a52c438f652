//! What becomes of entries when the server fails, runs out of memory, or no longer has the cache.

use super::*;

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

/// What the error of a refused put advises: limits. And whatever else makes room, or needs hardly any.
#[tokio::test]
async fn on_a_server_without_memory_all_works_but_puts() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    for i in 0..20 {
        store.put(subject.inline_entry("default", &format!("{i:02}"), &[7; 20_000])).await;
        store.put(subject.entry("other", &format!("{i:02}"))).await;
        subject.wait(Duration::from_secs(1));
    }
    let mut connection = client(&own.url()).await;
    run(&mut connection, "CONFIG SET maxmemory 1mb").await;
    let put = || vec![subject.putting(subject.inline_entry("default", "more", b"x"))];
    assert_eq!(store.apply(put()).await.unwrap_err().kind(), ErrorKind::StorageFull);

    let now = subject.now();
    let (namespace, condition) = (name("default"), Condition::Always);
    let touched = store.change(Change::Touch {
        namespace: namespace.clone(),
        key: "00".to_owned(),
        condition,
        expiry: Expiry::Set(Some(now + Duration::from_secs(600))),
        now,
    });
    assert!(touched.await.applied);
    let (leases, holder, minute) = (store.leases().unwrap(), LeaseHolder::random(), Duration::from_secs(60));
    assert!(leases.acquire(&namespace, "work", holder, minute).await.unwrap().is_some());
    assert!(leases.renew(&namespace, "work", holder, minute).await.unwrap());
    assert!(leases.release(&namespace, "work", holder).await.unwrap());
    let version = store.version("default", "01").await;
    store.used("default", "01", version, now, 3).await;
    assert_eq!(store.get("default", "01").await.unwrap().hits, 3);
    store.reset_stats(Some(&namespace)).await.unwrap();
    store.condemn(&[subject.entry("default", "gone").blob_id().unwrap()], now).await.unwrap();
    subject.open().await;
    store.limit_namespace("other", Limits::unbounded().max_entries(5), now).await;
    assert_eq!(store.keys("other").await.len(), 5);
    let evicted = store.limit(Limits::unbounded().max_entries(10).policy("fifo"), now).await;
    assert_eq!((evicted.len(), store.total().await.entries), (15, 10));
    store.clear_all("other").await;
    store.purge_all(now).await;
    assert_eq!(store.apply(put()).await.unwrap_err().kind(), ErrorKind::StorageFull, "it is full still");
    check_indexes(&own, "full").await;
    run(&mut connection, "CONFIG SET maxmemory 0").await;
    store.changes(put()).await;
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

#[tokio::test]
async fn connections_that_were_cut_are_made_anew_at_the_next_call() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    let mut connection = client(&own.url()).await;
    for i in 0..10 {
        let put = vec![subject.putting(subject.entry("default", &format!("{i}")))];
        if let Err(error) = store.apply(put.clone()).await {
            // It was not known yet that the connection was lost. The next call makes another.
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            store.changes(put).await;
        }
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
async fn with_snapshots_alone_garbage_waits_until_what_superseded_it_was_saved() {
    let own = OwnServer::start(&["--save", "3600 1000000", "--repl-diskless-sync-delay", "0"]);
    let subject = subject(own.options());
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    let mut connection = client(&own.url()).await;
    let due = async || store.due(subject.now() + GARBAGE_DELAY).await;
    assert!(due().await.is_empty());

    // A save that takes its time does not have what was replaced meanwhile, also where a later one, for a replica, took
    // none.
    run(&mut connection, "CONFIG SET rdb-key-save-delay 300000").await;
    run(&mut connection, "BGSAVE").await;
    wait(1000).await;
    store.put(subject.entry("default", "k")).await;
    until_saved(&mut connection).await;
    run(&mut connection, "CONFIG SET rdb-key-save-delay 0").await;
    assert!(due().await.is_empty(), "a crash would bring the old entry back");
    let replica = OwnServer::start(&["--replicaof", "127.0.0.1", &own.port().to_string()]);
    let mut at_replica = client(&replica.url()).await;
    while !info(&mut at_replica).await.contains("master_link_status:up") {
        wait(50).await;
    }
    until_saved(&mut connection).await;
    assert!(due().await.is_empty(), "a crash would bring the old entry back");

    wait(1100).await;
    run(&mut connection, "BGSAVE").await;
    until_saved(&mut connection).await;
    assert_eq!(due().await.len(), 1, "now the snapshot has it");
}

async fn info(connection: &mut MultiplexedConnection) -> String {
    redis::cmd("INFO").query_async(connection).await.unwrap()
}

async fn until_saved(connection: &mut MultiplexedConnection) {
    while !info(connection).await.contains("rdb_bgsave_in_progress:0") {
        wait(50).await;
    }
}

/// Two servers of which one follows the other, and then the other way round, as after a fail-over.
#[tokio::test]
async fn a_server_that_became_a_replica_is_left_and_nothing_outdated_is_read_from_it_for_good() {
    let (own, other) = (OwnServer::start(&[]), OwnServer::start(&[]));
    let subject = subject(own.options());
    let real = |mode| {
        let options = own.options();
        async move { Store::new(open(&options, mode).await.unwrap()) }
    };
    let (writer, reader) = (real(OpenMode::Create).await, real(OpenMode::Existing).await);
    writer.put(subject.entry("default", "k")).await;
    for _ in 0..4 {
        assert!(reader.has("default", "k").await, "each of its connections is made");
    }
    let (mut at_own, mut at_other) = (client(&own.url()).await, client(&other.url()).await);
    let replicate = async |connection: &mut MultiplexedConnection, port: u16| {
        run(connection, &format!("REPLICAOF 127.0.0.1 {port}")).await;
        while !info(connection).await.contains("master_link_status:up") {
            wait(50).await;
        }
    };
    replicate(&mut at_other, own.port()).await;
    let mut feed = subscribe(&*reader).await;
    run(&mut at_other, "REPLICAOF NO ONE").await;
    replicate(&mut at_own, other.port()).await;

    let put = || vec![subject.putting(subject.entry("default", "k"))];
    let error = writer.apply(put()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Unavailable, false), "{error}");
    let error = feed.next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let error = reader.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    for _ in 0..4 {
        let error = reader.get_entry(&name("default"), "k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }

    run(&mut at_own, "REPLICAOF NO ONE").await;
    writer.put(subject.entry("default", "after")).await;
    reader.ping().await.unwrap();
    assert!(reader.has("default", "after").await);
}

#[tokio::test]
async fn what_the_server_refused_or_never_got_was_certainly_not_done() {
    let mut own = OwnServer::start(&["--busy-reply-threshold", "10"]);
    let subject = subject(own.options());
    let store = Store::new(open(&own.options(), OpenMode::Create).await.unwrap());
    let put = || vec![subject.putting(subject.entry("default", "k"))];
    store.changes(put()).await;
    let url = own.url();
    let endless = tokio::spawn(async move {
        let mut connection = client(&url).await;
        redis::cmd("EVAL").arg("while true do end").arg(0).query_async::<()>(&mut connection).await
    });
    let mut connection = client(&own.url()).await;
    wait(200).await;
    let error = store.apply(put()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Unavailable, false), "{error}");
    run(&mut connection, "SCRIPT KILL").await;
    assert!(endless.await.unwrap().is_err());
    store.changes(put()).await;
    own.kill();
    // The first of these may have found out that its connection was lost.
    for _ in 0..4 {
        let _ = store.apply(put()).await;
    }
    let error = store.apply(put()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Unavailable, false), "{error}");
}
