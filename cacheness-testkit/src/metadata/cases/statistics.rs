//! Statistics: what is held, what was counted, and the uses of entries.

use std::time::Duration;

use cacheness_core::{AccessBatch, Condition, Counters, EntryAccess, Version};

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

fn counters(from: u64) -> Counters {
    let mut counters = Counters::default();
    counters.hits = from;
    counters.misses = from + 1;
    counters.puts = from + 2;
    counters.removals = from + 3;
    counters.evictions = from + 4;
    counters.expirations = from + 5;
    counters.errors = from + 6;
    counters.bytes_out = from + 7;
    counters.bytes_in = from + 8;
    counters
}

fn counted(name: &str, counters: Counters) -> AccessBatch {
    AccessBatch { counters: vec![(namespace(name), counters)], accesses: Vec::new() }
}

pub async fn totals_follow_puts_overwrites_and_removes(subject: &MetadataSubject) {
    let store = subject.open().await;
    let held = async |what: &str, entries, bytes| {
        let stats = store.stats_of("default").await;
        assert_eq!(
            (stats.entries, stats.stored_bytes),
            (entries, bytes),
            "entries and bytes are right after {what}"
        );
        let total = store.total().await;
        assert_eq!(
            (total.entries, total.stored_bytes),
            (entries, bytes),
            "the totals are right after {what}"
        );
    };
    held("nothing", 0, 0).await;
    store.put(subject.entry_of_size("default", "a", 100)).await;
    held("a put", 1, 100).await;
    store.put(subject.entry_of_size("default", "b", 0)).await;
    held("a put of an empty value", 2, 100).await;
    store.put(subject.entry_of_size("default", "a", 250)).await;
    held("an overwrite by a larger value", 2, 250).await;
    store.put(subject.entry_of_size("default", "a", 30)).await;
    held("an overwrite by a smaller value", 2, 30).await;
    store.put(subject.entry_of_size("default", "huge", 1 << 45)).await;
    held("a put of 32 TiB", 3, 30 + (1 << 45)).await;
    store.remove_if("default", "huge", Condition::Always, subject.now()).await;
    held("a removal", 2, 30).await;
    store.remove_if("default", "huge", Condition::Always, subject.now()).await;
    held("a removal of nothing", 2, 30).await;
    store.put_if(subject.entry_of_size("default", "a", 9), Condition::Absent).await;
    held("a put that was skipped", 2, 30).await;
    if store.capabilities().inline_limit >= 5 {
        store.put(subject.inline_entry("default", "a", b"hello")).await;
        held("an overwrite by an inline value", 2, 5).await;
    }
    store.clear_all("default").await;
    held("a clear", 0, 0).await;
}

pub async fn totals_add_up_over_namespaces(subject: &MetadataSubject) {
    let store = subject.open().await;
    for (name, size) in [("a", 1), ("b", 10), ("c", 100)] {
        for key in ["x", "y"] {
            store.put(subject.entry_of_size(name, key, size)).await;
        }
        store.record(counted(name, counters(size))).await;
    }
    let total = store.total().await;
    assert_eq!(
        (total.entries, total.stored_bytes),
        (6, 222),
        "the statistics of all are the sum of the namespaces'"
    );
    assert_eq!(total.counters.hits, 111, "the counters of all are the sum of the namespaces'");
    let b = store.stats_of("b").await;
    assert_eq!(
        (b.entries, b.stored_bytes, b.counters.hits),
        (2, 20, 10),
        "a namespace has its own statistics"
    );
}

pub async fn totals_are_there_after_a_reopen(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    store.put(subject.entry("default", "a")).await;
    store.put(subject.entry("other", "a")).await;
    store.record(counted("default", counters(40))).await;
    let version = store.version("default", "a").await;
    store.used("default", "a", version, subject.now() + Duration::from_secs(9), 4).await;
    let (before, total) = (store.stats_of("default").await, store.total().await);
    let entry = store.get("default", "a").await;
    let store = subject.reopen(store).await;
    assert_eq!(store.stats_of("default").await, before, "the statistics of a namespace survive a reopen");
    assert_eq!(store.total().await, total, "the statistics of all survive a reopen");
    assert_eq!(store.get("default", "a").await, entry, "recorded uses survive a reopen");
}

pub async fn counters_add_up_over_batches(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    let before = store.stats_of("default").await.counters;
    for from in [1, 10, 100] {
        let twice = vec![(namespace("default"), counters(from)), (namespace("default"), counters(0))];
        store.record(AccessBatch { counters: twice, accesses: Vec::new() }).await;
    }
    let mut expected = before;
    for from in [1, 10, 100, 0, 0, 0] {
        expected.add(&counters(from));
    }
    assert_eq!(store.stats_of("default").await.counters, expected, "every counter adds up over batches");
    assert!(store.stats_of("other").await.counters.is_zero(), "another namespace has counted nothing");
}

pub async fn counters_of_a_namespace_without_entries_are_kept(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut misses = Counters::default();
    misses.misses = 7;
    store.record(counted("only misses", misses)).await;
    assert_eq!(
        store.stats_of("only misses").await.counters.misses,
        7,
        "a miss counts where nothing was ever put"
    );
    assert_eq!(store.total().await.counters.misses, 7, "and in the statistics of all");
}

pub async fn reset_sets_counters_to_zero(subject: &MetadataSubject) {
    let store = subject.open().await;
    for name in ["a", "b"] {
        store.put(subject.entry(name, "k")).await;
        store.record(counted(name, counters(5))).await;
    }
    store.reset_stats(Some(&namespace("a"))).await.expect("reset_stats failed");
    let a = store.stats_of("a").await;
    assert!(a.counters.is_zero(), "the counters of the namespace are zero after a reset");
    assert_eq!((a.entries, a.stored_bytes), (1, 10), "a reset leaves what is held alone");
    assert_eq!(store.stats_of("b").await.counters.hits, 5, "a reset of one namespace leaves others alone");
    store.reset_stats(None).await.expect("reset_stats failed");
    assert!(store.stats_of("b").await.counters.is_zero(), "a reset of all reaches every namespace");
    assert!(store.total().await.counters.is_zero(), "a reset of all reaches the total");
    store
        .reset_stats(Some(&namespace("never written")))
        .await
        .expect("reset_stats of an unknown namespace failed");
}

pub async fn the_oldest_entry_is_known(subject: &MetadataSubject) {
    let store = subject.open().await;
    assert_eq!(store.total().await.oldest_entry, None, "without entries there is no oldest");
    let first = subject.now();
    store.put(subject.entry("a", "1")).await;
    subject.wait(Duration::from_secs(10));
    let second = subject.now();
    store.put(subject.entry("a", "2")).await;
    store.put(subject.entry("b", "1")).await;
    subject.wait(Duration::from_secs(10));
    store.put(subject.entry("b", "2")).await;
    assert_eq!(
        store.stats_of("a").await.oldest_entry,
        Some(first),
        "the oldest entry of a namespace is known"
    );
    assert_eq!(store.stats_of("b").await.oldest_entry, Some(second), "each namespace has its own oldest");
    assert_eq!(store.total().await.oldest_entry, Some(first), "the oldest of all is the oldest of any");
    store.remove_if("a", "1", Condition::Always, subject.now()).await;
    assert_eq!(store.stats_of("a").await.oldest_entry, Some(second), "when the oldest goes the next one is");
}

pub async fn uses_are_recorded_for_the_version_that_was_read(subject: &MetadataSubject) {
    let store = subject.open().await;
    let old = store.put(subject.entry("default", "k")).await.version.expect("a put's version");
    subject.wait(Duration::from_secs(5));
    store.used("default", "k", old, subject.now(), 2).await;
    let got = store.get("default", "k").await.expect("the entry is there");
    assert_eq!((got.hits, got.accessed_at), (2, subject.now()), "recorded uses show in the entry");
    assert_eq!(got.version, old, "recording a use is no new write");
    subject.wait(Duration::from_secs(5));
    store.used("default", "k", old, subject.now(), 3).await;
    let got = store.get("default", "k").await.expect("the entry is there");
    assert_eq!((got.hits, got.accessed_at), (5, subject.now()), "hits add up and the access time moves on");
    let late = subject.now() - Duration::from_secs(9);
    store.used("default", "k", old, late, 1).await;
    let got = store.get("default", "k").await.expect("the entry is there");
    assert_eq!((got.hits, got.accessed_at), (6, subject.now()), "an access time never goes back");
    let new = store.put(subject.entry("default", "k")).await.version.expect("a put's version");
    subject.wait(Duration::from_secs(5));
    let before = store.get("default", "k").await;
    store.used("default", "k", old, subject.now(), 4).await;
    store.used("default", "k", Version(new.0 + 1), subject.now(), 4).await;
    assert_eq!(store.get("default", "k").await, before, "uses of another version do not count for this one");
    let access = |key: &str, version| EntryAccess::new(namespace("default"), key, version, subject.now(), 1);
    let accesses = vec![access("missing", old), access("k", new), access("k", old)];
    store.record(AccessBatch { counters: Vec::new(), accesses }).await;
    let got = store.get("default", "k").await.expect("the entry is there");
    assert_eq!(got.hits, 1, "a use of what is gone is left out, and the rest of the batch counts");
    assert!(!store.has("default", "missing").await, "recording a use makes no entry");
}

pub async fn an_overwrite_starts_the_hits_anew(subject: &MetadataSubject) {
    let store = subject.open().await;
    let version = store.put(subject.entry("default", "k")).await.version.expect("a put's version");
    store.used("default", "k", version, subject.now(), 9).await;
    store.put(subject.entry("default", "k")).await;
    let got = store.get("default", "k").await.expect("the entry is there");
    assert_eq!(got.hits, 0, "hits count reads since the value was put");
}
