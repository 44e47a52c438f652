//! What a network and a server can do to calls: cut connections, say nothing, end, and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cacheness_core::{
    ChangeFeed, Changed, Condition, Env, ErrorKind, GARBAGE_DELAY, MetadataBackend, Version,
};
use cacheness_testkit::metadata::{MetadataSubject, Store};

use super::proxy::{Mode, Proxy};
use super::server::{OwnServer, at, client, fresh, store, subject, url, waiting};

/// Puts from several tasks until it is told to stop, and returns what was confirmed, by key. Each call ends in time, and
/// what fails, fails because of the connection.
async fn load(
    store: &Store,
    subject: &MetadataSubject,
    tasks: usize,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<BTreeMap<String, Version>>> {
    let mut running = Vec::new();
    for task in 0..tasks {
        let (store, stop) = (store.clone(), stop.clone());
        let entries: Vec<_> = (0..20_000)
            .map(|i| subject.putting(subject.entry("default", &format!("{task}-{}", i % 50))))
            .collect();
        running.push(tokio::spawn(async move {
            let mut confirmed = BTreeMap::new();
            for change in entries {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let key = match &change {
                    cacheness_core::Change::Put { entry, .. } => entry.key.as_str().to_owned(),
                    _ => continue,
                };
                let begun = Instant::now();
                match store.apply(vec![change]).await {
                    Ok(outcomes) => _ = confirmed.insert(key, outcomes[0].version.unwrap()),
                    Err(error) => {
                        assert!(
                            matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
                            "{error}"
                        );
                        Env::new().sleep(Duration::from_millis(5)).await;
                    }
                }
                assert!(begun.elapsed() < Duration::from_secs(15), "a call took {:?}", begun.elapsed());
            }
            confirmed
        }));
    }
    running
}

/// Checks that nothing that was confirmed is lost, and that the totals are those of the entries.
async fn check(store: &Store, running: Vec<tokio::task::JoinHandle<BTreeMap<String, Version>>>) {
    let mut count = 0;
    for task in running {
        for (key, version) in task.await.unwrap() {
            let there = store.get("default", &key).await.unwrap_or_else(|| panic!("{key} is lost"));
            assert!(
                there.version >= version,
                "{key}: {:?} was confirmed, {:?} is there",
                version,
                there.version
            );
            count += 1;
        }
    }
    assert!(count > 0, "something was confirmed");
    let entries = store.list(&cacheness_core::ListQuery::new()).await;
    let stats = store.total().await;
    let sum: u64 = entries.iter().map(|entry| entry.stored_size).sum();
    assert_eq!((stats.entries, stats.stored_bytes), (entries.len() as u64, sum), "totals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_killed_under_load_lose_nothing() {
    let options = fresh();
    let subject = subject(&options);
    let (store, stop) = (store(&options).await, Arc::new(AtomicBool::new(false)));
    let running = load(&store, &subject, 8, &stop).await;
    let admin = client(&url()).await;
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%{}%' AND pid <> pg_backend_pid()",
        options.text("schema").unwrap()
    );
    let mut killed = 0;
    for _ in 0..15 {
        Env::new().sleep(Duration::from_millis(100)).await;
        killed += admin.query_one(&kill, &[]).await.unwrap().get::<_, i64>(0);
    }
    assert!(killed > 10, "{killed} connections were killed");
    stop.store(true, Ordering::SeqCst);
    check(&store, running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_under_load_loses_nothing() {
    let server = OwnServer::start();
    let options = at(&server.url).with("change_feed_bound", "2s");
    let subject = subject(&options);
    let (store, stop) = (store(&options).await, Arc::new(AtomicBool::new(false)));
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    let running = load(&store, &subject, 4, &stop).await;
    for _ in 0..3 {
        Env::new().sleep(Duration::from_millis(500)).await;
        server.restart();
    }
    Env::new().sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::SeqCst);
    check(&store, running).await;
    let put = || store.apply(vec![subject.putting(subject.entry("default", "last"))]);
    let last = match put().await {
        Ok(outcomes) => outcomes,
        // A connection whose end nobody has noticed yet.
        Err(error) if error.kind() == ErrorKind::Unavailable => put().await.unwrap(),
        Err(error) => panic!("{error}"),
    };
    let last = last[0].version.unwrap();
    let (mut seen, mut missed) = (BTreeMap::<String, Version>::new(), false);
    while seen.get("last") != Some(&last) {
        for changed in next(&mut *feed).await {
            match changed {
                Changed::Put { key, version, .. } => {
                    let before = seen.insert(key.clone(), version);
                    assert!(before <= Some(version), "{key}: {version:?} after {before:?}");
                }
                // A server that crashed may give out numbers of transactions again that it had not written down.
                Changed::Missed => missed = true,
                other => panic!("{other:?}"),
            }
        }
    }
    for entry in store.list(&cacheness_core::ListQuery::new()).await {
        assert!(missed || seen.get(entry.key.as_str()) == Some(&entry.version), "its last change arrived");
    }
}

/// The next changes, after as many errors as may come before them.
async fn next(feed: &mut dyn ChangeFeed) -> Vec<Changed> {
    for _ in 0..20 {
        match feed.next().await {
            Ok(changes) => return changes,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}")
            }
        }
    }
    panic!("no change arrived")
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout_and_then_works_again() {
    let (proxy, through) = Proxy::to(&url());
    let options =
        at(&through).with("timeout", "500ms").with("connect_timeout", "300ms").with("connections", 2);
    let (store, subject) = (store(&options).await, subject(&options));
    store.put(subject.entry("default", "k")).await;
    proxy.set(Mode::Swallow);
    for _ in 0..3 {
        let begun = Instant::now();
        let name = cacheness_core::Namespace::default();
        let (get, put) = tokio::join!(
            store.get_entry(&name, "k"),
            store.apply(vec![subject.putting(subject.entry("default", "l"))])
        );
        assert_eq!(get.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    proxy.set(Mode::Pass);
    assert!(store.has("default", "k").await, "the next call has a connection that works");
    store.put(subject.entry("default", "l")).await;
}

#[tokio::test]
async fn a_put_that_is_repeated_after_its_answer_was_lost_keeps_its_blob() {
    let (proxy, through) = Proxy::to(&url());
    let options = at(&through);
    let (store, subject) = (store(&options).await, subject(&options));
    let direct = super::server::store(&options.clone().with("url", url())).await;
    let entry = subject.entry("default", "k");
    let put = || vec![subject.putting(entry.clone())];
    proxy.set(Mode::CutAnswers);
    assert_eq!(store.apply(put()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    proxy.set(Mode::Pass);
    for _ in 0..100 {
        if direct.has("default", "k").await {
            break;
        }
        Env::new().sleep(Duration::from_millis(20)).await;
    }
    assert!(direct.has("default", "k").await, "it was made all the same");
    let outcome = store.apply(put()).await.unwrap().remove(0);
    assert!(outcome.applied && outcome.previous.is_some());
    let later = subject.now() + GARBAGE_DELAY + GARBAGE_DELAY;
    assert!(direct.due(later).await.is_empty(), "the blob that the entry names is no garbage");
    // Somebody else's put comes in between.
    direct.put(subject.entry("default", "k")).await;
    assert_eq!(direct.due(later).await, [entry.blob_id().unwrap()]);
    let other = direct.get("default", "k").await.unwrap().blob_id().unwrap();
    store.apply(put()).await.unwrap();
    assert_eq!(direct.due(later).await, [other], "what is live again is no garbage, and what it replaced is");
    let refused = store.put_if(entry.clone(), Condition::Absent).await;
    assert!(!refused.applied, "a condition is asked again");
    let held = direct.total().await;
    assert_eq!((held.entries, held.garbage_bytes), (1, 10));
}

#[tokio::test]
async fn a_feed_that_is_cut_goes_on_and_one_that_hears_nothing_says_so() {
    let (proxy, through) = Proxy::to(&url());
    let options = at(&through).with("change_feed_bound", "1s").with("timeout", "2s");
    let (store, subject) = (store(&options).await, subject(&options));
    let direct = super::server::store(&options.clone().with("url", url())).await;
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    for round in 0..5 {
        proxy.cut();
        let key = format!("{round}");
        let version = direct.put(subject.entry("default", &key)).await.version;
        let changes = next(&mut *feed).await;
        assert!(
            changes.iter().any(|one| matches!(one, Changed::Put { version: v, .. } if Some(*v) == version)),
            "{changes:?}"
        );
    }
    proxy.set(Mode::Swallow);
    for _ in 0..2 {
        let begun = Instant::now();
        let error = feed.next().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(4), "it was said after {took:?}");
    }
    let version = direct.put(subject.entry("default", "late")).await.version;
    proxy.set(Mode::Pass);
    proxy.cut();
    let changes = next(&mut *feed).await;
    assert!(changes.iter().any(|one| matches!(one, Changed::Put { version: v, .. } if Some(*v) == version)));
}

#[tokio::test]
async fn changes_are_deleted_when_they_are_old() {
    let options = fresh();
    let (store, subject) = (store(&options).await, subject(&options));
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    store.put(subject.entry("default", "old")).await;
    assert_eq!(next(&mut *feed).await.len(), 1);
    let schema = options.text("schema").unwrap();
    let client = client(&url()).await;
    let age = format!("UPDATE \"{schema}\".changes SET at = at - interval '1 hour'");
    client.execute(&age, &[]).await.unwrap();
    store.put(subject.entry("default", "new")).await;
    assert_eq!(next(&mut *feed).await.len(), 1);
    let kept = format!("SELECT count(*) FROM \"{schema}\".changes WHERE key = 'old'");
    assert_eq!(client.query_one(&kept, &[]).await.unwrap().get::<_, i64>(0), 0);
    // Where nobody asks for changes any more, purging deletes them.
    drop(feed);
    client.execute(&age, &[]).await.unwrap();
    store.purge_once(subject.now(), 1).await;
    let kept = format!("SELECT count(*) FROM \"{schema}\".changes");
    assert_eq!(client.query_one(&kept, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_read_is_not_waited_for_longer_than_the_cache_waits_for_a_call() {
    let (proxy, through) = Proxy::to(&url());
    let options = at(&through);
    let store = waiting(&options, Duration::from_millis(500)).await;
    proxy.set(Mode::Swallow);
    let begun = Instant::now();
    let error = store.get_entry(&cacheness_core::Namespace::default(), "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_on_which_a_feed_hears_nothing_is_given_up_in_time() {
    let options = fresh().with("change_feed_bound", "6s").with("timeout", "8s").with("connections", 2);
    let store = store(&options).await;
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    let admin = client(&url()).await;
    let schema = options.text("schema").unwrap();
    admin.batch_execute(&format!("BEGIN; LOCK TABLE \"{schema}\".changes")).await.unwrap();
    let asking = tokio::spawn(async move {
        loop {
            let _ = feed.next().await;
        }
    });
    // No question takes longer than a third of the bound, and the connection is given up after half of `timeout`.
    let waiting = format!(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%poll_v1%'"
    );
    // Within the transaction of the lock it would always be told the same.
    let watching = client(&url()).await;
    let (mut asked, begun) = (BTreeSet::<i32>::new(), Instant::now());
    while asked.len() < 2 && begun.elapsed() < Duration::from_secs(20) {
        Env::new().sleep(Duration::from_millis(100)).await;
        asked.extend(watching.query(&waiting, &[]).await.unwrap().iter().map(|row| row.get::<_, i32>(0)));
    }
    asking.abort();
    admin.batch_execute("ROLLBACK").await.unwrap();
    assert!(asked.len() >= 2, "it was asked on {asked:?} alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_only_reads_is_notified_again_after_its_connections_were_lost() {
    let options = fresh().with("change_feed_bound", "8s").with("connections", 2);
    let subject = subject(&options);
    let (reads, puts) = (store(&options).await, store(&options).await);
    let mut feed = MetadataBackend::changes(&*reads).unwrap().subscribe().await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let following = tokio::spawn(async move {
        loop {
            if let Ok(changes) = feed.next().await {
                changes.into_iter().for_each(|change| drop(tell.send(change)));
            }
        }
    });
    puts.put(subject.entry("default", "before")).await;
    told.recv().await.unwrap();
    let admin = client(&url()).await;
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%{}%' AND pid <> pg_backend_pid()",
        options.text("schema").unwrap()
    );
    admin.query_one(&kill, &[]).await.unwrap();
    // It asks by itself every two seconds.
    Env::new().sleep(Duration::from_secs(3)).await;
    let mut took = Duration::ZERO;
    for key in ["a", "b", "c", "d"] {
        let version = loop {
            // A connection whose end nobody has noticed yet.
            match puts.apply(vec![subject.putting(subject.entry("default", key))]).await {
                Ok(outcomes) => break outcomes[0].version.unwrap(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        };
        let begun = Instant::now();
        while !matches!(told.recv().await.unwrap(), Changed::Put { version: v, .. } if v == version) {}
        took += begun.elapsed();
        Env::new().sleep(Duration::from_millis(700)).await;
    }
    following.abort();
    assert!(took < Duration::from_secs(2), "four changes took {took:?} to arrive");
}
