//! What waits for what: long puts and those who subscribe, sweep or reset meanwhile; who evicts at once; what a slow
//! statement does to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cacheness_core::{BlobId, Change, Changed, Entry, Env, Limits, MetadataBackend};

use super::server::{client, fresh, lock_of, store, subject, url};

async fn sleep(milliseconds: u64) {
    Env::new().sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_subscribes_waits_for_puts_that_do_not_write_down_changes() {
    let options = fresh();
    let (putting, following, subject) = (store(&options).await, store(&options).await, subject(&options));
    let admin = client(&url()).await;
    let (schema, lock) = lock_of(&admin, &options).await;
    // A put that has found that nobody follows, and is not done: it waits for the lock of its key.
    for stripe in 1..=128 {
        admin.execute("SELECT pg_advisory_lock($1, $2)", &[&lock, &stripe]).await.unwrap();
    }
    let put = putting.apply(vec![subject.putting(subject.entry("default", "k"))]);
    let subscribed = AtomicBool::new(false);
    let subscribing = async {
        let waits = format!(
            "SELECT FROM pg_stat_activity WHERE wait_event = 'advisory' AND query LIKE '%{}%apply_v1%'",
            schema.trim_matches('"')
        );
        while admin.query(&waits, &[]).await.unwrap().is_empty() {
            sleep(5).await;
        }
        let feed = MetadataBackend::changes(&*following).unwrap().subscribe().await;
        subscribed.store(true, Ordering::SeqCst);
        feed.map(drop).unwrap();
        assert!(following.has("default", "k").await, "whoever fills a tier from here on gets the new value");
    };
    let freeing = async {
        sleep(500).await;
        assert!(!subscribed.load(Ordering::SeqCst), "the put is still under way");
        admin.execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    };
    let (put, ..) = tokio::join!(put, subscribing, freeing);
    assert!(put.unwrap()[0].applied);
}

#[tokio::test]
async fn counters_are_reset_while_a_long_put_is_under_way() {
    let options = fresh().with("timeout", "1s");
    let store = store(&options).await;
    let admin = client(&url()).await;
    let (_, lock) = lock_of(&admin, &options).await;
    admin.execute("SELECT pg_advisory_lock_shared($1, 0)", &[&lock]).await.unwrap();
    store.reset_stats(None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_put_and_a_sweep_of_its_blob_one_gives_way() {
    let options = fresh();
    let (putting, sweeping, subject) = (store(&options).await, store(&options).await, subject(&options));
    let mut refused = 0;
    for round in 0..60 {
        let entry = subject.entry("default", &format!("{}", round % 7));
        let blob: BlobId = entry.blob_id().unwrap();
        let put = putting.apply(vec![subject.putting(entry)]);
        let sweep = async {
            sleep(round % 4).await;
            sweeping.condemn(&[blob], subject.now()).await.unwrap();
            sweeping.unnamed(&[blob]).await.unwrap()
        };
        let (put, unnamed) = tokio::join!(put, sweep);
        assert_eq!(put.is_err(), unnamed.contains(&blob), "round {round}: {put:?} {unnamed:?}");
        refused += u32::from(put.is_err());
    }
    assert!(refused < 60, "some puts came first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_several_evict_at_once_is_no_more_than_is_too_much() {
    let options = fresh();
    let subject = subject(&options);
    let first = store(&options).await;
    first.limit(Limits::unbounded().max_entries(2_000), subject.now()).await;
    let entry = |at: usize| subject.entry("default", &format!("{at}"));
    let puts: Vec<Change> = (0..2_000).map(|at| subject.putting(entry(at))).collect();
    first.changes(puts).await;
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    let limit = format!("UPDATE {schema}.state SET max_entries = 1000, revision = revision + 1");
    admin.execute(&limit, &[]).await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (store, now) = (store(&options).await, subject.now());
        tasks.push(tokio::spawn(async move { while store.evict(None, now, 500).await.unwrap().more {} }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(first.total().await.entries, 1_000);
}

#[tokio::test]
async fn where_all_victims_are_locked_a_put_exceeds_the_limit_and_the_next_evicts() {
    let options = fresh();
    let (store, subject) = (store(&options).await, subject(&options));
    store.limit(Limits::unbounded().max_entries(5), subject.now()).await;
    for at in 0..5 {
        store.put(subject.entry("default", &format!("{at}"))).await;
    }
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    admin.batch_execute(&format!("BEGIN; SELECT FROM {schema}.entries FOR UPDATE")).await.unwrap();
    assert!(store.put(subject.entry("default", "over")).await.evicted.is_empty());
    assert_eq!(store.total().await.entries, 6);
    admin.batch_execute("ROLLBACK").await.unwrap();
    let outcome = store.put(subject.entry("default", "next")).await;
    assert_eq!((outcome.evicted.len(), store.total().await.entries), (2, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_put_beside_a_feed_keeps_its_connection() {
    let options = fresh().with("change_feed_bound", "2s").with("connections", 2);
    let (store, subject) = (store(&options).await, subject(&options));
    store.put(subject.entry("default", "k")).await;
    let admin = client(&url()).await;
    let (schema, lock) = lock_of(&admin, &options).await;
    let putters = format!(
        "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE query LIKE '%{}%apply_v1%' AND pid <> pg_backend_pid()",
        schema.trim_matches('"')
    );
    let before: Vec<i32> = admin.query_one(&putters, &[]).await.unwrap().get(0);
    assert_eq!(before.len(), 1);
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    admin.execute("SELECT pg_advisory_lock($1, 0)", &[&lock]).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let following = tokio::spawn(async move {
        let (mut errors, mut changes) = (0, Vec::<Changed>::new());
        while !stopped.load(Ordering::SeqCst) || changes.is_empty() {
            match feed.next().await {
                Ok(more) => changes.extend(more),
                Err(_) => errors += 1,
            }
        }
        (errors, changes.len())
    });
    let freeing = async {
        sleep(5_000).await;
        admin.execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
        stop.store(true, Ordering::SeqCst);
    };
    let (put, _) = tokio::join!(store.apply(vec![subject.putting(subject.entry("default", "k"))]), freeing);
    put.unwrap();
    assert_eq!(following.await.unwrap(), (0, 1), "errors of the feed, and the change");
    store.put(subject.entry("default", "k")).await;
    let after: Vec<i32> = admin.query_one(&putters, &[]).await.unwrap().get(0);
    assert_eq!(after, before, "the connection of puts");
}

#[tokio::test]
async fn a_feed_that_is_too_far_behind_says_that_it_missed_some() {
    let options = fresh();
    let (store, subject) = (store(&options).await, subject(&options));
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    let many = |count: u32| {
        format!(
            "INSERT INTO {schema}.changes (kind, namespace, key) SELECT 1, 'default', 'k' FROM generate_series(1, {count})"
        )
    };
    admin.execute(&many(2_500), &[]).await.unwrap();
    let mut arrived = 0;
    while arrived < 2_500 {
        let changes = feed.next().await.unwrap();
        assert!(!changes.contains(&Changed::Missed) && changes.len() <= 1_000);
        arrived += changes.len();
    }
    admin.execute(&many(50_001), &[]).await.unwrap();
    assert_eq!(feed.next().await.unwrap(), [Changed::Missed]);
    let entry: Entry = subject.entry("default", "k");
    let version = store.put(entry).await.version.unwrap();
    let changes = feed.next().await.unwrap();
    assert!(matches!(&changes[..], [Changed::Put { version: v, .. }] if *v == version), "{changes:?}");
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_any_more_is_asked_once() {
    let options = fresh().with("change_feed_bound", "4s");
    let (store, subject) = (store(&options).await, subject(&options));
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    store.put(subject.entry("default", "first")).await;
    feed.next().await.unwrap();
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    let counting = instead_of_poll(
        &schema,
        "SELECT nextval('{schema}.asked'); SELECT * FROM {schema}.poll_v1_kept(a, b, c, d, e)",
    );
    admin.batch_execute(&counting).await.unwrap();
    for _ in 0..200 {
        tokio::select! {
            changes = feed.next() => panic!("{changes:?}"),
            () = sleep(1) => {}
        }
    }
    let version = store.put(subject.entry("default", "second")).await.version.unwrap();
    let changes = feed.next().await.unwrap();
    assert!(matches!(&changes[..], [Changed::Put { version: v, .. }] if *v == version), "{changes:?}");
    let asked = format!("SELECT last_value FROM {schema}.asked");
    let asked: i64 = admin.query_one(&asked, &[]).await.unwrap().get(0);
    assert!(asked <= 3, "{asked} questions");
}

/// What puts another function in the place of the one that answers a feed. The right one is kept under another name.
fn instead_of_poll(schema: &str, body: &str) -> String {
    format!(
        "CREATE SEQUENCE {schema}.asked;
         ALTER FUNCTION {schema}.poll_v1 RENAME TO poll_v1_kept;
         CREATE FUNCTION {schema}.poll_v1(a integer, b text, c text, d bigint, e integer) RETURNS TABLE (
             o_kind smallint, o_id bigint, o_namespace bytea, o_key bytea, o_version bigint
         ) LANGUAGE sql AS $$ {} $$",
        body.replace("{schema}", schema)
    )
}

#[tokio::test]
async fn a_feed_on_another_timeline_of_the_server_says_that_it_missed_some() {
    let options = fresh();
    let (store, subject) = (store(&options).await, subject(&options));
    let mut feed = MetadataBackend::changes(&*store).unwrap().subscribe().await.unwrap();
    store.put(subject.entry("default", "before")).await;
    assert_eq!(feed.next().await.unwrap().len(), 1);
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    // As after a failover to a standby.
    let promoted =
        "SELECT o_kind, o_id, CASE o_kind WHEN 9 THEN 'promoted' ELSE o_namespace END, o_key, o_version
                    FROM {schema}.poll_v1_kept(a, b, c, d, e)";
    admin.batch_execute(&instead_of_poll(&schema, promoted)).await.unwrap();
    store.put(subject.entry("default", "lost")).await;
    assert_eq!(feed.next().await.unwrap(), [Changed::Missed]);
    store.put(subject.entry("default", "after")).await;
    let changes = feed.next().await.unwrap();
    assert!(matches!(&changes[..], [Changed::Put { key, .. }] if key == "after"), "{changes:?}");
}
