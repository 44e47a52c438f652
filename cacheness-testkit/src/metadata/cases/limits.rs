//! Limits: they hold whenever a put returns.

use std::collections::BTreeMap;
use std::time::Duration;

use cacheness_core::{AccessBatch, Change, Condition, EntryAccess, ErrorKind, EvictionReason, Limits};

use super::POLICIES;
use crate::metadata::subject::namespace;
use crate::metadata::{MetadataSubject, Store};

pub async fn the_limit_of_entries_holds_after_every_put(subject: &MetadataSubject) {
    for order in POLICIES {
        let store = subject.open().await;
        store.limit(Limits::unbounded().max_entries(20).policy(order), subject.now()).await;
        let mut gone = 0;
        for i in 0..300_u64 {
            let key = format!("{i}");
            let outcome = store.put(subject.entry_of_size("default", &key, 1 + i * 7919 % 1000)).await;
            gone += outcome.evicted.len() as u64;
            let stats = store.total().await;
            assert!(
                stats.entries <= 20,
                "{order}: {} entries after put {i} are over the limit of 20",
                stats.entries
            );
            assert_eq!(stats.entries, i + 1 - gone, "{order}: a put evicts just what it reports");
            assert!(store.has("default", &key).await, "{order}: what was just put is there");
            subject.wait(Duration::from_millis(1));
        }
        assert_eq!(store.total().await.entries, 20, "{order}: no more is evicted than the limit requires");
        assert_eq!(store.keys("default").await.len(), 20, "{order}: the totals are those of the entries");
        store.limit(Limits::unbounded(), subject.now()).await;
        store.clear_all("default").await;
    }
}

pub async fn the_limit_of_bytes_holds_after_every_put(subject: &MetadataSubject) {
    for order in POLICIES {
        let store = subject.open().await;
        store.limit(Limits::unbounded().max_bytes(10_000).policy(order), subject.now()).await;
        for i in 0..300_u64 {
            let (size, key) = (1 + i * 7919 % 3000, format!("{}", i % 170));
            store.put(subject.entry_of_size("default", &key, size)).await;
            let held = store.total().await.stored_bytes;
            assert!(held <= 10_000, "{order}: {held} bytes after put {i} are over the limit of 10,000");
            let got = store.get("default", &key).await.expect("what was just put is there");
            assert_eq!(got.stored_size, size, "{order}: what was just put is what is there");
            subject.wait(Duration::from_millis(1));
        }
        let entries = store.list(&cacheness_core::ListQuery::new()).await;
        let sum: u64 = entries.iter().map(|entry| entry.stored_size).sum();
        assert_eq!(store.total().await.stored_bytes, sum, "{order}: the totals are those of the entries");
        store.limit(Limits::unbounded(), subject.now()).await;
        store.clear_all("default").await;
    }
}

pub async fn an_overwrite_needs_room_only_for_the_difference(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(2).max_bytes(100), subject.now()).await;
    store.put(subject.entry_of_size("default", "a", 50)).await;
    subject.wait(Duration::from_secs(1));
    store.put(subject.entry_of_size("default", "b", 50)).await;
    for size in [50, 10, 50] {
        subject.wait(Duration::from_secs(1));
        let outcome = store.put(subject.entry_of_size("default", "b", size)).await;
        assert!(
            outcome.evicted.is_empty(),
            "an overwrite that fits evicts nothing: what it replaces makes room"
        );
    }
    assert_eq!(store.keys("default").await, ["a", "b"], "both entries are there");
}

pub async fn a_batch_that_replaces_in_a_full_cache_loses_nothing(subject: &MetadataSubject) {
    for order in POLICIES {
        let store = subject.open().await;
        store.limit(Limits::unbounded().max_bytes(300).policy(order), subject.now()).await;
        for key in ["a", "b", "c"] {
            store.put(subject.entry_of_size("default", key, 100)).await;
            subject.wait(Duration::from_secs(1));
        }
        let sizes = [("d", 100), ("b", 150)];
        let puts = sizes.map(|(key, size)| subject.putting(subject.entry_of_size("default", key, size)));
        store.changes(puts.into()).await;
        assert_batch(&store, 300, &sizes, order).await;
        // Sizes and keys of all kinds, by numbers that are the same each time.
        let mut random = 1_u64;
        let mut below = |end: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % end
        };
        store.limit(Limits::unbounded().max_bytes(1_000).policy(order), subject.now()).await;
        for round in 0..12 {
            subject.wait(Duration::from_secs(1));
            let count = 2 + below(4);
            let sizes: Vec<(String, u64)> =
                (0..count).map(|_| (format!("{}", below(12)), 1 + below(190))).collect();
            let put =
                |(key, size): &(String, u64)| subject.putting(subject.entry_of_size("default", key, *size));
            store.changes(sizes.iter().map(put).collect()).await;
            let sizes: Vec<(&str, u64)> = sizes.iter().map(|(key, size)| (key.as_str(), *size)).collect();
            assert_batch(&store, 1_000, &sizes, &format!("{order}, round {round}")).await;
        }
        store.limit(Limits::unbounded(), subject.now()).await;
        store.clear_all("default").await;
    }
}

/// All that a batch has put is there, its last put of each key, and the totals are those of the entries.
async fn assert_batch(store: &Store, limit: u64, sizes: &[(&str, u64)], context: &str) {
    let last: BTreeMap<&str, u64> = sizes.iter().copied().collect();
    let entries = store.list(&cacheness_core::ListQuery::new()).await;
    let held: BTreeMap<&str, u64> =
        entries.iter().map(|entry| (entry.key.as_str(), entry.stored_size)).collect();
    for (key, size) in last {
        assert_eq!(
            held.get(key),
            Some(&size),
            "{context}: what a batch has put is there: {key} of {sizes:?}"
        );
    }
    let (count, bytes) = (entries.len() as u64, held.values().sum::<u64>());
    let total = store.total().await;
    assert_eq!((total.entries, total.stored_bytes), (count, bytes), "{context}: the totals are the entries'");
    assert!(bytes <= limit, "{context}: {bytes} bytes are over the limit of {limit}");
}

pub async fn one_large_value_may_evict_many(subject: &MetadataSubject) {
    let store = subject.open().await;
    for part in 0..10 {
        let changes = (0..50).map(|i| subject.putting(subject.entry("default", &format!("{part}-{i:02}"))));
        store.changes(changes.collect()).await;
    }
    store.limit(Limits::unbounded().max_bytes(5_000), subject.now()).await;
    assert_eq!(store.total().await.entries, 500, "a limit that holds evicts nothing");
    let outcome = store.put(subject.entry_of_size("default", "large", 4_995)).await;
    assert_eq!(outcome.evicted.len(), 500, "a value that needs all the room evicts all others");
    assert_eq!(store.keys("default").await, ["large"], "and is there itself");
    assert_eq!(store.total().await.stored_bytes, 4_995, "and the totals follow");
}

pub async fn one_large_value_may_evict_very_many_and_no_more_than_it_must(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_bytes(20_000).policy("fifo"), subject.now()).await;
    for part in 0..4 {
        let changes = (0..500).map(|i| subject.putting(subject.entry("default", &format!("{part}-{i:03}"))));
        store.changes(changes.collect()).await;
    }
    store.put(subject.entry_of_size("default", "large", 300)).await;
    // What it replaces makes room, too.
    let outcome = store.put(subject.entry_of_size("default", "large", 18_000)).await;
    let keys: Vec<&str> = outcome.evicted.iter().map(|evicted| evicted.key.as_str()).collect();
    let all = (0..4).flat_map(|part| (0..500).map(move |i| format!("{part}-{i:03}")));
    let expected: Vec<String> = all.skip(30).take(1_770).collect();
    assert_eq!(keys, expected, "all that must go and no more, in order, and each is reported once");
    let total = store.total().await;
    assert_eq!((total.entries, total.stored_bytes), (201, 20_000), "what is left is what fits");
}

pub async fn a_value_over_the_whole_limit_is_refused_and_evicts_nothing(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_bytes(100), subject.now()).await;
    store.put(subject.entry_of_size("default", "a", 60)).await;
    store.put(subject.entry_of_size("default", "b", 40)).await;
    for key in ["new", "a"] {
        let refused = store.apply(vec![subject.putting(subject.entry_of_size("default", key, 101))]).await;
        let error = refused.expect_err("a value that is larger than the whole limit is refused");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "the error names the limit: {error}");
        assert_eq!(
            store.keys("default").await,
            ["a", "b"],
            "a value that was refused evicts and replaces nothing"
        );
    }
    let exact = store.put(subject.entry_of_size("default", "exact", 100)).await;
    assert_eq!(exact.evicted.len(), 2, "a value of just the limit's size fits");
    let skipped = subject.entry_of_size("default", "exact", 100);
    let outcome = store.put_if(skipped, Condition::Absent).await;
    assert!(!outcome.applied && outcome.evicted.is_empty(), "a put that is skipped evicts nothing");
}

pub async fn what_is_being_put_is_never_the_victim(subject: &MetadataSubject) {
    let store = subject.open().await;
    for order in POLICIES {
        store.limit(Limits::unbounded().max_entries(1).policy(order), subject.now()).await;
        for i in 0..10_u64 {
            // By every order this would be the first to go: the lowest priority, expired, and the largest.
            let key = format!("{order}-{i}");
            let mut entry = subject.entry_of_size("default", &key, 1000 + i);
            entry.priority = 0.0;
            entry.validity.expires_at = Some(subject.now());
            store.put(entry).await;
            assert_eq!(
                store.keys("default").await,
                [key],
                "{order}: the entry being put is never its own victim"
            );
        }
    }
}

pub async fn evictions_are_reported_with_their_reason(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(2), subject.now()).await;
    store.put(subject.expiring_entry("a", "short", Duration::from_secs(1))).await;
    subject.wait(Duration::from_secs(2));
    store.put(subject.entry("b", "kept")).await;
    let first = store.put(subject.entry("b", "x")).await.evicted;
    assert_eq!(first.len(), 1, "one entry too many, one eviction");
    assert_eq!(
        (first[0].namespace.as_str(), first[0].key.as_str()),
        ("a", "short"),
        "the report names the entry"
    );
    assert_eq!(first[0].reason, EvictionReason::Expired, "the entry had expired");
    subject.wait(Duration::from_secs(2));
    let second = store.put(subject.entry("c", "y")).await.evicted;
    assert_eq!(second.len(), 1, "one entry too many, one eviction");
    assert_eq!(second[0].reason, EvictionReason::Limit, "the entry had not expired");
    assert!(
        !store.has(second[0].namespace.as_str(), second[0].key.as_str()).await,
        "a reported victim is gone"
    );
}

pub async fn a_lower_limit_evicts_before_it_returns(subject: &MetadataSubject) {
    let store = subject.open().await;
    for i in 0..40 {
        store.put(subject.entry(["a", "b"][i % 2], &format!("{i:02}"))).await;
        subject.wait(Duration::from_secs(1));
    }
    let evicted = store.limit(Limits::unbounded().max_entries(10), subject.now()).await;
    assert_eq!(evicted.len(), 30, "set_limits reports what it evicted");
    assert_eq!(store.total().await.entries, 10, "a lower limit of entries holds when set_limits returns");
    let expected: Vec<String> = (30..40).step_by(2).map(|i| format!("{i:02}")).collect();
    assert_eq!(store.keys("a").await, expected, "the entries unused for longest were evicted");
    let evicted = store.limit(Limits::unbounded().max_bytes(35), subject.now()).await;
    assert_eq!(evicted.len(), 7, "just as many are evicted as the limit of bytes requires");
    assert_eq!(store.total().await.stored_bytes, 30, "a lower limit of bytes holds when set_limits returns");
    let evicted = store.limit(Limits::unbounded().max_entries(0), subject.now()).await;
    assert_eq!(evicted.len(), 3, "a limit of 0 evicts all");
    let refused = store.apply(vec![subject.putting(subject.entry("a", "k"))]).await;
    let error = refused.expect_err("with a limit of 0 entries nothing can be put");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "the error names the limit: {error}");
}

pub async fn limits_span_namespaces(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(4), subject.now()).await;
    for (name, key) in [("a", "1"), ("b", "1"), ("c", "1"), ("a", "2"), ("b", "2"), ("d", "1")] {
        store.put(subject.entry(name, key)).await;
        subject.wait(Duration::from_secs(1));
    }
    assert_eq!(store.total().await.entries, 4, "a limit is one for all namespaces together");
    assert_eq!(store.keys("a").await, ["2"], "the victims are found across namespaces");
    assert_eq!(store.keys("b").await, ["2"], "the victims are found across namespaces");
    assert_eq!(store.stats_of("a").await.entries, 1, "the statistics of the victim's namespace follow");
}

pub async fn without_limits_nothing_is_evicted(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(3), subject.now()).await;
    let evicted = store.limit(Limits::unbounded(), subject.now()).await;
    assert!(evicted.is_empty(), "lifting a limit evicts nothing");
    for i in 0..20 {
        let outcome = store.put(subject.entry_of_size("default", &format!("{i}"), 1 << 40)).await;
        assert!(outcome.evicted.is_empty(), "without limits a put evicts nothing");
    }
    assert_eq!(store.total().await.entries, 20, "all entries are there");
}

pub async fn cleared_entries_take_no_room(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(5), subject.now()).await;
    for i in 0..5 {
        store.put(subject.entry("cleared", &format!("{i}"))).await;
    }
    store.clear_all("cleared").await;
    for i in 0..5 {
        let outcome = store.put(subject.entry("new", &format!("{i}"))).await;
        assert!(outcome.evicted.is_empty(), "what was cleared takes no room, and is no victim");
    }
    let outcome = store.put(subject.entry("new", "5")).await;
    assert_eq!(outcome.evicted.len(), 1, "one entry too many, one eviction");
    assert_eq!(outcome.evicted[0].namespace.as_str(), "new", "what was cleared is no victim");
    assert_eq!(store.total().await.entries, 5, "the limit holds");
}

/// What is put together is never the victim, also where all of it ranks before everything that was there: it is larger, it
/// expires sooner, it was never used, or it has a lower priority.
pub async fn a_batch_into_a_full_cache_evicts_what_was_there_and_none_of_itself(subject: &MetadataSubject) {
    const OLD: usize = 300;
    const NEW: usize = 200;
    for order in POLICIES {
        for priority in [0.0, -1.0] {
            let store = subject.open().await;
            let limits = Limits::unbounded().max_entries(OLD as u64 + 40).policy(order);
            store.limit(limits, subject.now()).await;
            let put = |what: &str, count: usize, size, ttl, priority| -> Vec<Change> {
                let entry = |i| {
                    let mut entry = subject.entry_of_size("default", &format!("{what} {i}"), size);
                    entry.validity.start_ttl(Some(Duration::from_secs(ttl)), subject.now());
                    entry.priority = priority;
                    subject.putting(entry)
                };
                (0..count).map(entry).collect()
            };
            let outcomes = store.changes(put("old", OLD, 10, 7200, 0.0)).await;
            subject.wait(Duration::from_secs(1));
            let used = outcomes.iter().enumerate().map(|(i, outcome)| {
                let version = outcome.version.expect("it was put");
                EntryAccess::new(namespace("default"), format!("old {i}"), version, subject.now(), 5)
            });
            store.record(AccessBatch { counters: Vec::new(), accesses: used.collect() }).await;
            let outcomes = store.changes(put("new", NEW, 20, 3600, priority)).await;
            let evicted: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.evicted).collect();
            assert_eq!(evicted.len(), NEW - 40, "{order}, {priority}: no more and no less than it must");
            assert!(evicted.iter().all(|gone| gone.key.as_str().starts_with("old")), "{order}, {priority}");
            let stats = store.total().await;
            assert_eq!(stats.entries as usize, OLD + 40, "{order}, {priority}");
            for i in 0..NEW {
                assert!(store.has("default", &format!("new {i}")).await, "{order}, {priority}: new {i}");
            }
            store.limit(Limits::unbounded(), subject.now()).await;
            store.clear_all("default").await;
            store.purge_all(subject.now()).await;
        }
    }
}
