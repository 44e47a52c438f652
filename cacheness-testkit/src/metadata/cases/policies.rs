//! Policies: one that refuses, those of others, and what a cache does with one that it does not know.

use std::time::Duration;

use cacheness_core::{
    Entry, EntryUse, ErrorKind, EvictionPolicy, EvictionReason, Limits, LimitsChange, Lru, Register, Registry,
};

use crate::metadata::{MetadataSubject, Store};

/// Evicts the longest key first, and what was used least of those.
struct LongestKey;

impl EvictionPolicy for LongestKey {
    fn name(&self) -> &str {
        "longest_key"
    }

    fn rank(&self, entry: &Entry, _: i64) -> i64 {
        entry.key.as_str().len() as i64 * -1000 + entry.hits as i64
    }

    fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
        rank + used.hits as i64
    }
}

struct Panics;

impl EvictionPolicy for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn rank(&self, _: &Entry, _: i64) -> i64 {
        panic!("a policy that panics, for a test")
    }

    fn rank_after_use(&self, _: i64, _: &EntryUse) -> i64 {
        panic!("a policy that panics, for a test")
    }
}

fn registry() -> Registry {
    let mut registry = Registry::empty();
    registry.register_eviction_policy(Lru, Register::new()).expect("a fresh name");
    registry.register_eviction_policy(LongestKey, Register::new()).expect("a fresh name");
    registry.register_eviction_policy(Panics, Register::new()).expect("a fresh name");
    registry
}

async fn total(store: &Store) -> (u64, u64) {
    let stats = store.total().await;
    (stats.entries, stats.stored_bytes)
}

pub async fn none_refuses_a_put_past_the_limit_and_changes_nothing(subject: &MetadataSubject) {
    let store = subject.open().await;
    let limits = Limits::unbounded().max_entries(3).max_bytes(100).policy("none");
    store.limit(limits.clone(), subject.now()).await;
    for key in ["a", "b"] {
        store.put(subject.entry_of_size("default", key, 30)).await;
    }
    for (key, size) in [("too large", 41), ("larger than all", 101), ("b", 71)] {
        let change = subject.putting(subject.entry_of_size("default", key, size));
        let error = store.apply(vec![change]).await.expect_err("a put past the limit is an error");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        assert_eq!(total(&store).await, (2, 60), "a refused put changes nothing");
    }
    store.put(subject.entry_of_size("default", "c", 40)).await;
    let fourth = vec![subject.putting(subject.entry_of_size("default", "d", 0))];
    let error = store.apply(fourth).await.expect_err("a put past the limit is an error");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    store.put(subject.entry_of_size("default", "b", 20)).await;
    assert_eq!(store.keys("default").await, ["a", "b", "c"], "a put over a known key adds none");
    let evicted = store.limit(limits.max_entries(1), subject.now()).await;
    assert!(evicted.is_empty(), "not even a lower limit evicts");
    assert_eq!(total(&store).await, (3, 90), "not even a lower limit evicts");
}

pub async fn under_none_what_has_expired_makes_room(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(2).policy("none"), subject.now()).await;
    store.limit_namespace("small", Limits::unbounded().max_entries(1), subject.now()).await;
    let second = Duration::from_secs(1);
    store.put(subject.expiring_entry("default", "a", second)).await;
    store.put(subject.expiring_entry("small", "b", second)).await;
    let refused = store.apply(vec![subject.putting(subject.entry("small", "c"))]).await;
    assert_eq!(refused.expect_err("the namespace is full").kind(), ErrorKind::LimitExceeded);
    subject.wait(second);
    let outcome = store.put(subject.entry("small", "c")).await;
    assert_eq!(outcome.evicted.len(), 1, "what has expired makes room");
    assert_eq!(outcome.evicted[0].key.as_str(), "b", "a namespace takes only its own");
    let outcome = store.put(subject.entry("default", "d")).await;
    assert_eq!(outcome.evicted.len(), 1, "what has expired makes room");
    assert_eq!(outcome.evicted[0].reason, EvictionReason::Expired, "and the reason says so");
}

pub async fn a_policy_of_others_decides_who_goes(subject: &MetadataSubject) {
    let store = subject.open_knowing(&registry()).await;
    store.limit(Limits::unbounded().max_entries(3).policy("longest_key"), subject.now()).await;
    for key in ["aaa", "bb", "ccc"] {
        store.put(subject.entry("default", key)).await;
    }
    let version = store.version("default", "aaa").await;
    store.used("default", "aaa", version, subject.now(), 1).await;
    let mut victims = Vec::new();
    for key in ["dddd", "e", "f", "g"] {
        let outcome = store.put(subject.entry("default", key)).await;
        victims.extend(outcome.evicted.into_iter().map(|one| one.key.as_str().to_owned()));
    }
    assert_eq!(victims, ["ccc", "dddd", "aaa", "bb"], "the ranks of the policy decide");
    store.limit(Limits::unbounded().max_entries(3).policy("lru"), subject.now()).await;
    subject.wait(Duration::from_secs(1));
    store.put(subject.entry("default", "e")).await;
    subject.wait(Duration::from_secs(1));
    let outcome = store.put(subject.entry("default", "gggggg")).await;
    assert_ne!(outcome.evicted[0].key.as_str(), "e", "and then those of the policy that took its place");
}

pub async fn a_policy_that_panics_does_no_harm(subject: &MetadataSubject) {
    let store = subject.open_knowing(&registry()).await;
    for key in ["a", "b", "c", "d"] {
        store.put(subject.entry("default", key)).await;
        subject.wait(Duration::from_secs(1));
    }
    store.limit(Limits::unbounded().max_entries(3).policy("panics"), subject.now()).await;
    for i in 0..20 {
        let key = format!("{i:02}");
        let version = store.put(subject.entry("default", &key)).await.version.expect("a put's version");
        store.used("default", &key, version, subject.now(), 1).await;
        assert_eq!(store.total().await.entries, 3, "the limit holds all the same");
        assert!(store.has("default", &key).await, "what was just put is there");
    }
    store.limit(Limits::unbounded().max_entries(2).policy("lru"), subject.now()).await;
    assert_eq!(store.keys("default").await.len(), 2, "and another policy goes on where it stopped");
}

pub async fn a_policy_that_is_not_known_is_an_error_until_another_is_named(subject: &MetadataSubject) {
    let store = subject.open_knowing(&registry()).await;
    if !store.capabilities().persistent {
        return;
    }
    store.limit(Limits::unbounded().max_entries(3).policy("longest_key"), subject.now()).await;
    store.put(subject.entry("default", "a")).await;
    let store = subject.reopen(store).await;
    let error = store.change_limits(None, &LimitsChange::new()).await.expect_err("the policy is not known");
    assert_eq!(error.kind(), ErrorKind::NotRegistered, "{error}");
    assert!(error.to_string().contains("longest_key"), "the message names it: {error}");
    let put = store.apply(vec![subject.putting(subject.entry("default", "b"))]).await;
    assert_eq!(put.expect_err("the policy is not known").kind(), ErrorKind::NotRegistered);
    assert!(store.has("default", "a").await, "what is there can be read");
    let mut change = LimitsChange::new();
    change.policy = Some("lru".to_owned());
    let limits = store.change_limits(None, &change).await.expect("a policy that is known");
    assert_eq!(limits, Limits::unbounded().max_entries(3).policy("lru"), "the limit stays");
    for key in ["b", "c", "d"] {
        subject.wait(Duration::from_secs(1));
        store.put(subject.entry("default", key)).await;
    }
    assert_eq!(store.keys("default").await, ["b", "c", "d"], "nothing was lost that had room");
}
