//! Round trips, counted by a proxy.

use std::time::Duration;

use cacheness_core::{AccessBatch, Condition, Counters, LeaseHolder, Limits, Namespace};

use super::proxy::Proxy;
use super::server::{at, subject, url};

#[tokio::test]
async fn every_call_that_is_made_often_is_one_round_trip() {
    let (proxy, through) = Proxy::to(&url());
    let options = at(&through).with("connections", 1);
    let subject = subject(&options);
    let store = subject.open().await;
    let name = Namespace::default();
    let mut before = proxy.trips();
    let mut check = |what: &str| {
        let trips = proxy.trips() - before;
        before = proxy.trips();
        assert_eq!(trips, 1, "{what}");
    };

    store.put(subject.inline_entry("default", "k", &[7; 1_000])).await;
    check("a first put, which makes the namespace");
    store.put(subject.inline_entry("default", "k", &[8; 2_000])).await;
    check("a put over it");
    store.put(subject.entry("default", "blob")).await;
    check("a put of a blob");
    store.put(subject.entry("default", "blob")).await;
    check("a put that makes garbage");
    assert!(store.has("default", "k").await);
    check("a get");
    assert!(!store.has("default", "nothing").await);
    check("a get that finds nothing");
    let puts =
        (0..100).map(|i| subject.putting(subject.inline_entry("default", &format!("{i}"), &[1; 1_000])));
    store.changes(puts.collect()).await;
    check("a batch of 100 puts");
    let keys: Vec<String> = (0..100).map(|i| format!("{i}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = store.get_entries(&name, &keys).await.unwrap();
    assert!(found.iter().all(Option::is_some));
    check("a batch of 100 gets");
    store.remove_if("default", "0", Condition::Always, subject.now()).await;
    check("a removal");
    store.stats_of("default").await;
    check("the statistics of a namespace");
    store.total().await;
    check("the statistics of all");
    let version = store.version("default", "k").await;
    check("a get");
    let mut counters = Counters::default();
    counters.hits = 2;
    let access = cacheness_core::EntryAccess::new(name.clone(), "k", version, subject.now(), 2);
    store.record(AccessBatch { counters: vec![(name.clone(), counters)], accesses: vec![access] }).await;
    check("uses and counters");
    store.ping().await.unwrap();
    check("a ping");
    store.clear_all("default").await;
    check("a clear");
    store.namespaces().await.unwrap();
    check("a list of namespaces");
    let leases = store.leases().unwrap();
    leases.acquire(&name, "work", LeaseHolder::random(), Duration::from_secs(60)).await.unwrap();
    check("a lease");
}

#[tokio::test]
async fn a_put_that_evicts_is_one_round_trip_by_every_policy() {
    let (proxy, through) = Proxy::to(&url());
    let options = at(&through).with("connections", 1);
    let subject = subject(&options);
    for policy in ["lru", "lfu", "fifo", "ttl", "size"] {
        let store = subject.open().await;
        store.limit(Limits::unbounded().max_entries(20).policy(policy), subject.now()).await;
        store.limit_namespace("small", Limits::unbounded().max_entries(5), subject.now()).await;
        for i in 0..60 {
            let before = proxy.trips();
            let name = if i % 3 == 0 { "small" } else { "default" };
            let outcome = store.put(subject.entry(name, &format!("{i}"))).await;
            assert_eq!(proxy.trips() - before, 1, "{policy}: put {i}");
            assert!(i < 30 || outcome.evicted.len() == 1, "{policy}: put {i}");
            // Uses that are only in the log go along with the next put.
            let entry = store.get(name, &format!("{i}")).await.unwrap();
            subject.wait(Duration::from_secs(1));
            subject.accesses().record(
                &entry.namespace,
                entry.key.as_str(),
                entry.version,
                entry.accessed_at,
                subject.now(),
            );
        }
        store.limit(Limits::unbounded(), subject.now()).await;
    }
}
