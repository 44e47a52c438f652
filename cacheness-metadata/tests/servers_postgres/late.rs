//! Changes that come late, after their callers gave up: the server does not make them, and says what is known.

use std::time::{Duration, Instant};

use cacheness_core::{Env, ErrorKind, LeaseHolder, Namespace, Result};
use cacheness_testkit::metadata::Store;

use super::proxy::{Mode, Proxy};
use super::server::{at, client, fresh, lock_of, store, subject, url, waiting};

/// Long enough for a call that nothing holds up, on a machine that is busy with other tests.
const WAIT: Duration = Duration::from_secs(1);

async fn sleep(wait: Duration) {
    Env::new().sleep(wait).await;
}

fn gave_up<T>(result: Result<T>) {
    let error = result.err().expect("nothing came through");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.is_outcome_unknown(), "what was sent may have been done: {error}");
}

#[tokio::test]
async fn what_was_held_up_on_its_way_is_not_made_after_what_came_later() {
    for by_option in [true, false] {
        let (proxy, through) = Proxy::to(&url());
        let options = at(&through).with("connections", 1);
        let held = if by_option {
            store(&options.clone().with("timeout", "1s")).await
        } else {
            waiting(&options, WAIT).await
        };
        let direct = store(&options.clone().with("url", url())).await;
        let subject = subject(&options);
        let (name, holder) = (Namespace::default(), LeaseHolder::random());
        held.put(subject.entry("default", "put")).await;
        let leases = held.leases().unwrap();
        leases.acquire(&name, "lease", holder, Duration::from_secs(60)).await.unwrap().unwrap();

        proxy.set(Mode::Stall);
        let begun = Instant::now();
        let put = held.apply(vec![subject.putting(subject.entry("default", "put"))]);
        let renewed = leases.renew(&name, "lease", holder, Duration::from_secs(60));
        let cleared = Namespace::new("cleared").unwrap();
        let (put, renewed, cleared) = tokio::join!(put, renewed, held.clear(&cleared));
        assert!(begun.elapsed() < WAIT * 4, "{:?}", begun.elapsed());
        gave_up(put);
        gave_up(renewed);
        gave_up(cleared);

        let later = direct.put(subject.entry("default", "put")).await.version.unwrap();
        direct.put(subject.entry("cleared", "k")).await;
        let mine = direct.leases().unwrap();
        assert!(mine.renew(&name, "lease", holder, Duration::from_millis(800)).await.unwrap());
        proxy.set(Mode::Pass);
        sleep(Duration::from_millis(900)).await;
        assert_eq!(direct.version("default", "put").await, later, "the later put was confirmed");
        assert!(direct.has("cleared", "k").await, "what was put after the clear");
        let next = mine.acquire(&name, "lease", LeaseHolder::random(), Duration::from_secs(60)).await;
        assert!(next.unwrap().is_some(), "the later renewal was the shorter one");
    }
}

#[tokio::test]
async fn what_waits_for_a_lock_too_long_is_not_made_and_is_known_not_to_be() {
    let options = fresh();
    let (store, subject) = (waiting(&options, WAIT).await, subject(&options));
    let admin = client(&url()).await;
    let (_, lock) = lock_of(&admin, &options).await;
    let put = |key: &str| store.apply(vec![subject.putting(subject.entry("default", key))]);
    put("first").await.unwrap();
    admin.execute("SELECT pg_advisory_lock($1, 0)", &[&lock]).await.unwrap();
    let begun = Instant::now();
    let free = async {
        sleep(WAIT / 2).await;
        admin.execute("SELECT pg_advisory_unlock($1, 0)", &[&lock]).await.unwrap();
    };
    let (in_time, _) = tokio::join!(put("second"), free);
    in_time.unwrap_or_else(|error| panic!("after {:?}: {error}", begun.elapsed()));

    // Two are in the pipeline of one connection, and the lock comes free when nobody waits any more.
    admin.execute("SELECT pg_advisory_lock($1, 0)", &[&lock]).await.unwrap();
    let (third, fourth) = tokio::join!(put("third"), put("fourth"));
    gave_up(third);
    gave_up(fourth);
    admin.execute("SELECT pg_advisory_unlock($1, 0)", &[&lock]).await.unwrap();
    store.put(subject.entry("default", "fifth")).await;
    sleep(Duration::from_millis(200)).await;
    assert!(!store.has("default", "third").await && !store.has("default", "fourth").await);
}

#[tokio::test]
async fn what_the_server_says_no_to_is_known_and_what_it_ends_is_not() {
    let options = fresh().with("connections", 1);
    let (store, subject) = (store(&options).await, subject(&options));
    let admin = client(&url()).await;
    let (schema, lock) = lock_of(&admin, &options).await;
    for (function, kind, unknown) in [
        ("pg_cancel_backend", ErrorKind::Timeout, false),
        ("pg_terminate_backend", ErrorKind::Unavailable, true),
    ] {
        admin.execute("SELECT pg_advisory_lock($1, 0)", &[&lock]).await.unwrap();
        let stop = async {
            let stop = format!(
                "SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event = 'advisory' AND query LIKE '%{}%'",
                schema.trim_matches('"')
            );
            while admin.query(&stop, &[]).await.unwrap().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let put = store.apply(vec![subject.putting(subject.entry("default", "k"))]);
        let (put, _) = tokio::join!(put, stop);
        let error = put.unwrap_err();
        assert_eq!((error.kind(), error.is_outcome_unknown()), (kind, unknown), "{function}: {error}");
        admin.execute("SELECT pg_advisory_unlock($1, 0)", &[&lock]).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_whose_clock_was_set_is_asked_again() {
    let options = fresh();
    let (store, subject) = (waiting(&options, Duration::from_secs(2)).await, subject(&options));
    store.put(subject.entry("default", "k")).await;
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    // The server's clock cannot be set here. This function says what the right one says where the clock is 3 s ahead of what
    // the connection remembers, the first time.
    let ahead = format!(
        "CREATE SEQUENCE {schema}.asked;
         ALTER FUNCTION {schema}.late_v1(bigint) RENAME TO late_v1_kept;
         CREATE FUNCTION {schema}.late_v1(a_until bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('{schema}.asked') = 1 THEN a_until := a_until - 3000000; END IF;
             PERFORM {schema}.late_v1_kept(a_until);
         END $$"
    );
    admin.batch_execute(&ahead).await.unwrap();
    store.put(subject.entry("default", "k")).await;
    let asked = format!("SELECT last_value FROM {schema}.asked");
    let asked: i64 = admin.query_one(&asked, &[]).await.unwrap().get(0);
    assert_eq!(asked, 3, "once in vain, and then at the begin and at the end");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_any_more_loses_its_connection() {
    let options = fresh().with("connections", 1);
    let (store, subject) = (store(&options).await, subject(&options));
    store.put(subject.entry("default", "k")).await;
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    // As one does that has become a standby, the first time.
    let demoted = format!(
        "CREATE SEQUENCE {schema}.asked;
         CREATE OR REPLACE FUNCTION {schema}.late_v1(a_until bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('{schema}.asked') = 1 THEN RAISE read_only_sql_transaction; END IF;
         END $$"
    );
    admin.batch_execute(&demoted).await.unwrap();
    let error = store.apply(vec![subject.putting(subject.entry("default", "k"))]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Unavailable, false), "{error}");
    let begun: std::time::SystemTime = admin.query_one("SELECT now()", &[]).await.unwrap().get(0);
    store.put(subject.entry("default", "k")).await;
    let started = format!(
        "SELECT max(backend_start) FROM pg_stat_activity WHERE query LIKE '%{}%' AND pid <> pg_backend_pid()",
        schema.trim_matches('"')
    );
    let started: std::time::SystemTime = admin.query_one(&started, &[]).await.unwrap().get(0);
    assert!(started > begun, "the next put has another connection");
}

/// A cache with three entries and room for three, all of which are to be ranked anew.
async fn unranked(options: &cacheness_core::ConfigOptions, store: &Store) -> tokio_postgres::Client {
    let subject = subject(options);
    store.limit(cacheness_core::Limits::unbounded().max_entries(3), subject.now()).await;
    for key in ["a", "b", "c"] {
        store.put(subject.entry("default", key)).await;
    }
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, options).await;
    let anew = format!("UPDATE {schema}.state SET epoch = epoch + 1, revision = revision + 1");
    admin.execute(&anew, &[]).await.unwrap();
    admin
}

#[tokio::test]
async fn while_another_process_ranks_anew_a_put_waits_and_gives_up_in_time() {
    let options = fresh();
    let (store, subject) = (waiting(&options, Duration::from_secs(1)).await, subject(&options));
    let admin = unranked(&options, &store).await;
    let (schema, _) = lock_of(&admin, &options).await;
    let ranks = format!(
        "INSERT INTO {schema}.leases VALUES (decode(repeat('00', 16), 'hex'), '', '', 'somebody', 1, now() + interval '9 s')"
    );
    admin.execute(&ranks, &[]).await.unwrap();
    let put = || store.apply(vec![subject.putting(subject.entry("default", "d"))]);
    let error = put().await.unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Timeout, false), "{error}");
    let left =
        format!("SELECT count(*) FROM {schema}.entries e, {schema}.state s WHERE e.rank_epoch < s.epoch");
    assert_eq!(admin.query_one(&left, &[]).await.unwrap().get::<_, i64>(0), 3, "the other one does it");
    assert!(!store.has("default", "d").await);

    // The other one has ended.
    let ends = format!("UPDATE {schema}.leases SET until = now() + interval '300 ms'");
    admin.execute(&ends, &[]).await.unwrap();
    let outcome = put().await.unwrap().remove(0);
    assert_eq!(outcome.evicted.len(), 1);
    assert_eq!(admin.query_one(&left, &[]).await.unwrap().get::<_, i64>(0), 0);
    let leases = format!("SELECT count(*) FROM {schema}.leases");
    assert_eq!(admin.query_one(&leases, &[]).await.unwrap().get::<_, i64>(0), 0, "it was given back");
}
