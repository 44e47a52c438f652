//! Limits of namespaces, and limits as they are stored.

use std::time::Duration;

use cacheness_core::{ErrorKind, EvictionReason, Limits, LimitsChange};

use super::POLICIES;
use crate::metadata::{MetadataSubject, Store};

async fn puts(
    subject: &MetadataSubject,
    store: &Store,
    name: &str,
    keys: std::ops::Range<u64>,
) -> Vec<String> {
    let mut evicted = Vec::new();
    for key in keys {
        subject.wait(Duration::from_secs(1));
        let outcome = store.put(subject.entry(name, &format!("{key:03}"))).await;
        evicted.extend(outcome.evicted.iter().map(|one| format!("{}/{}", one.namespace, one.key.as_str())));
    }
    evicted
}

// shows: row 105
pub async fn a_namespaces_limit_takes_only_its_own(subject: &MetadataSubject) {
    for policy in POLICIES {
        let store = subject.open().await;
        store.limit(Limits::unbounded().policy(policy), subject.now()).await;
        puts(subject, &store, "other", 0..10).await;
        store.limit_namespace("small", Limits::unbounded().max_entries(3), subject.now()).await;
        let gone = puts(subject, &store, "small", 0..20).await;
        assert_eq!(gone.len(), 17, "{policy}: one goes for each that comes");
        assert!(gone.iter().all(|name| name.starts_with("small/")), "{policy}: {gone:?}");
        assert_eq!(store.stats_of("small").await.entries, 3, "{policy}: the limit holds");
        assert_eq!(store.stats_of("other").await.entries, 10, "{policy}: others keep what they have");
        for name in ["small", "other"] {
            store.limit_namespace(name, Limits::unbounded(), subject.now()).await;
            store.clear_all(name).await;
        }
    }
}

pub async fn a_namespaces_limit_that_is_set_later_finds_what_is_there(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(1000).policy("fifo"), subject.now()).await;
    puts(subject, &store, "small", 0..30).await;
    puts(subject, &store, "other", 0..5).await;
    let evicted = store.limit_namespace("small", Limits::unbounded().max_entries(20), subject.now()).await;
    let keys: Vec<&str> = evicted.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["000", "001", "002", "003", "004", "005", "006", "007", "008", "009"]);
    let gone = puts(subject, &store, "small", 30..32).await;
    assert_eq!(gone, ["small/010", "small/011"], "and later puts go on with it");
    store.limit_namespace("small", Limits::unbounded().max_bytes(50), subject.now()).await;
    assert_eq!(store.keys("small").await, ["027", "028", "029", "030", "031"]);
    assert_eq!(store.stats_of("other").await.entries, 5, "others keep what they have");
    store.limit_namespace("small", Limits::unbounded(), subject.now()).await;
    assert!(puts(subject, &store, "small", 40..50).await.is_empty(), "a limit that is lifted evicts nothing");
}

pub async fn in_a_namespace_what_has_expired_goes_first(subject: &MetadataSubject) {
    let store = subject.open().await;
    let second = Duration::from_secs(1);
    for i in 0..30 {
        store.put(subject.expiring_entry("other", &format!("{i}"), second)).await;
    }
    store.limit_namespace("small", Limits::unbounded().max_entries(3), subject.now()).await;
    store.put(subject.entry_of_priority("small", "a", 0.0)).await;
    store.put(subject.expiring_entry("small", "b", second)).await;
    store.put(subject.entry("small", "c")).await;
    subject.wait(second);
    let evicted = store.put(subject.entry("small", "d")).await.evicted;
    assert_eq!(evicted.len(), 1, "one entry too many, one eviction");
    assert_eq!((evicted[0].key.as_str(), evicted[0].reason), ("b", EvictionReason::Expired));
    let evicted = store.put(subject.entry("small", "e")).await.evicted;
    assert_eq!((evicted[0].key.as_str(), evicted[0].reason), ("a", EvictionReason::Limit));
    assert_eq!(store.stats_of("other").await.entries, 30, "others keep even what has expired");
}

pub async fn a_value_over_a_namespaces_limit_is_refused(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_bytes(1000), subject.now()).await;
    store.limit_namespace("small", Limits::unbounded().max_bytes(100), subject.now()).await;
    store.put(subject.entry_of_size("small", "a", 90)).await;
    let large = subject.putting(subject.entry_of_size("small", "large", 101));
    let error = store.apply(vec![large]).await.expect_err("a value over the whole limit");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    let both = ["b", "c"].map(|key| subject.putting(subject.entry_of_size("small", key, 60)));
    let error = store.apply(both.to_vec()).await.expect_err("values over the whole limit");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert_eq!(store.keys("small").await, ["a"], "nothing is evicted for what is refused");
    let outcome = store.put(subject.entry_of_size("other", "large", 101)).await;
    assert!(outcome.evicted.is_empty(), "another namespace has another limit");
}

pub async fn the_limits_of_a_namespace_and_of_the_cache_hold_together(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(10), subject.now()).await;
    store.limit_namespace("small", Limits::unbounded().max_entries(4), subject.now()).await;
    puts(subject, &store, "small", 0..4).await;
    puts(subject, &store, "other", 0..6).await;
    for i in 0..20 {
        let name = if i % 3 == 0 { "small" } else { "other" };
        let gone = puts(subject, &store, name, 100 + i..101 + i).await;
        assert_eq!(gone.len(), 1, "one goes for one that comes");
        let small = store.stats_of("small").await.entries;
        assert!(small <= 4 && store.total().await.entries <= 10, "both limits hold after each put");
    }
}

pub async fn a_namespaces_limit_outlives_clear_and_not_drop(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit_namespace("small", Limits::unbounded().max_entries(2), subject.now()).await;
    puts(subject, &store, "small", 0..5).await;
    store.clear_all("small").await;
    assert!(puts(subject, &store, "small", 0..2).await.is_empty(), "what was cleared takes no room");
    assert_eq!(puts(subject, &store, "small", 2..4).await, ["small/000", "small/001"], "the limit stays");
    let name = cacheness_core::Namespace::new("small").expect("a name");
    store.drop_namespace(&name).await.expect("drop_namespace");
    assert!(puts(subject, &store, "small", 0..5).await.is_empty(), "its limit goes with a namespace");
    let limits = store.change_limits(Some(&name), &LimitsChange::new()).await.expect("change_limits");
    assert_eq!(limits, Limits::unbounded());
}

pub async fn limits_are_stored_and_what_is_not_given_stays(subject: &MetadataSubject) {
    let store = subject.open().await;
    let new = Limits::unbounded().max_bytes(1000).policy("lru");
    let change = LimitsChange::new().otherwise(new.clone());
    assert_eq!(store.change_limits(None, &change).await.expect("change_limits"), new, "those of a new cache");
    let other = LimitsChange::new().otherwise(Limits::unbounded().max_entries(1));
    assert_eq!(store.change_limits(None, &other).await.expect("change_limits"), new, "it is none any more");
    let mut change = LimitsChange::new();
    change.max_entries = Some(Some(3));
    let limits = store.change_limits(None, &change).await.expect("change_limits");
    assert_eq!(limits, new.clone().max_entries(3));
    let name = cacheness_core::Namespace::new("small").expect("a name");
    store.limit_namespace("small", Limits::unbounded().max_entries(2), subject.now()).await;
    assert_eq!(store.limits().await, limits);
    if !store.capabilities().persistent {
        return;
    }
    let store = subject.reopen(store).await;
    assert_eq!(store.limits().await, limits, "limits are there after a reopen");
    let of_namespace = store.change_limits(Some(&name), &LimitsChange::new()).await.expect("change_limits");
    assert_eq!(of_namespace, Limits::unbounded().max_entries(2));
    assert_eq!(puts(subject, &store, "small", 0..4).await.len(), 2, "and they hold");
    let other = subject.open().await;
    other.limit(Limits::unbounded().max_entries(1), subject.now()).await;
    assert_eq!(
        puts(subject, &store, "other", 0..3).await.len(),
        3,
        "what another sets holds at the next put"
    );
}
