//! Clearing a namespace: at once, exact, and without traces.

use std::time::Duration;

use cacheness_core::{AccessBatch, BlobId, Condition, Counters, GARBAGE_DELAY, ListQuery};

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

pub async fn clear_removes_all_entries_of_one_namespace_and_counts_them(subject: &MetadataSubject) {
    let store = subject.open().await;
    assert_eq!(
        store.clear_all("never written").await,
        0,
        "a namespace that does not exist has nothing to clear"
    );
    for i in 0..30 {
        store.put(subject.entry("cleared", &format!("{i}"))).await;
        store.put(subject.entry("other", &format!("{i}"))).await;
    }
    store.put(subject.entry("cleared", "7")).await;
    store.remove_if("cleared", "8", Condition::Always, subject.now()).await;
    store.put(subject.expiring_entry("cleared", "expired", Duration::ZERO)).await;
    assert_eq!(store.clear_all("cleared").await, 30, "clear returns exactly how many entries there were");
    assert_eq!(store.clear_all("cleared").await, 0, "a second clear finds nothing");
    for i in 0..30 {
        assert!(!store.has("cleared", &format!("{i}")).await, "a cleared entry is not found, at once");
    }
    let got = store.get_entries(&namespace("cleared"), &["1", "2"]).await.expect("get_entries failed");
    assert_eq!(got, [None, None], "get_entries finds no cleared entry");
    assert!(store.keys("cleared").await.is_empty(), "a cleared entry is not listed");
    assert_eq!(store.list(&ListQuery::new()).await.len(), 30, "a listing of all has no cleared entry");
    let stats = store.stats_of("cleared").await;
    assert_eq!((stats.entries, stats.stored_bytes), (0, 0), "a cleared namespace holds nothing, at once");
    assert_eq!(stats.oldest_entry, None, "a cleared namespace has no oldest entry");
    let total = store.total().await;
    assert_eq!((total.entries, total.stored_bytes), (30, 300), "the totals have the other namespace only");
    let removed = store.remove_if("cleared", "1", Condition::Always, subject.now()).await;
    assert!(!removed.applied, "a cleared entry cannot be removed again");
    store.purge_all(subject.now()).await;
    assert_eq!(store.keys("other").await.len(), 30, "taking back the room leaves other namespaces intact");
    assert_eq!(store.total().await.entries, 30, "taking back the room leaves the totals right");
}

pub async fn clear_keeps_the_counters(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    let mut counters = Counters::default();
    counters.hits = 3;
    counters.bytes_in = 10;
    store
        .record(AccessBatch { counters: vec![(namespace("default"), counters)], accesses: Vec::new() })
        .await;
    let before = store.stats_of("default").await.counters;
    store.clear_all("default").await;
    let after = store.stats_of("default").await.counters;
    assert_eq!(after.hits, before.hits, "clear keeps the counter of hits");
    assert_eq!(after.bytes_in, before.bytes_in, "clear keeps the counter of bytes");
}

pub async fn a_put_after_clear_works(subject: &MetadataSubject) {
    let store = subject.open().await;
    for round in 0..5 {
        for key in ["a", "b", "c"] {
            let outcome = store.put(subject.entry("default", key)).await;
            assert_eq!(outcome.previous, None, "a cleared entry is no previous one");
        }
        if round == 3 {
            store.purge_all(subject.now()).await;
        }
        let stats = store.stats_of("default").await;
        assert_eq!(
            (stats.entries, stats.stored_bytes),
            (3, 30),
            "totals after a clear count only what is new"
        );
        assert_eq!(store.keys("default").await, ["a", "b", "c"], "what was put after the clear is listed");
        assert_eq!(
            store.clear_all("default").await,
            3,
            "each clear counts what was put since the one before"
        );
    }
}

pub async fn an_old_entry_does_not_come_back_after_clear(subject: &MetadataSubject) {
    let store = subject.open().await;
    let version = store.put(subject.entry("default", "old")).await.version.expect("a put's version");
    store.clear_all("default").await;
    store.put(subject.entry("default", "new")).await;
    store.used("default", "old", version, subject.now(), 3).await;
    let late = store.put_if(subject.entry("default", "old"), Condition::Version(version)).await;
    assert!(!late.applied, "a condition on a cleared version does not hold");
    assert_eq!(store.keys("default").await, ["new"], "a cleared entry does not come back");
    store.purge_all(subject.now()).await;
    assert_eq!(store.keys("default").await, ["new"], "taking back the room leaves the new entry alone");
    assert!(store.has("default", "new").await, "taking back the room leaves the new entry alone");
}

pub async fn cleared_blobs_become_garbage(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut blobs: Vec<BlobId> = Vec::new();
    for (name, count) in [("cleared", 25), ("dropped", 15)] {
        for i in 0..count {
            let entry = subject.entry(name, &format!("{i}"));
            blobs.extend(entry.blob_id());
            store.put(entry).await;
        }
    }
    store.put(subject.entry("other", "kept")).await;
    store.clear_all("cleared").await;
    store.drop_namespace(&namespace("dropped")).await.expect("drop_namespace failed");
    let cleared_at = subject.now();
    store.purge_all(cleared_at).await;
    let early = store.due(cleared_at + GARBAGE_DELAY - Duration::from_nanos(1)).await;
    assert!(early.is_empty(), "a cleared blob is not due before the garbage delay is over");
    subject.wait(GARBAGE_DELAY);
    subject.wait(GARBAGE_DELAY);
    store.purge_all(subject.now()).await;
    blobs.sort();
    assert_eq!(
        store.due(subject.now()).await,
        blobs,
        "each blob of a cleared or dropped namespace becomes garbage"
    );
}

pub async fn a_clear_holds_after_a_reopen(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    for key in ["a", "b"] {
        store.put(subject.entry("default", key)).await;
    }
    store.clear_all("default").await;
    let store = subject.reopen(store).await;
    assert!(store.keys("default").await.is_empty(), "cleared entries are not there after a reopen");
    assert_eq!(store.stats_of("default").await.entries, 0, "the totals of a cleared namespace stay at zero");
    store.put(subject.entry("default", "c")).await;
    let store = subject.reopen(store).await;
    assert_eq!(store.keys("default").await, ["c"], "what was put after the clear is there after a reopen");
}
