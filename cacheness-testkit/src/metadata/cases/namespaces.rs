//! Namespaces: when they exist, and what goes with them.

use cacheness_core::{AccessBatch, Condition, Counters, Namespace};

use crate::metadata::subject::namespace;
use crate::metadata::{MetadataSubject, Store};

async fn names(store: &Store) -> Vec<String> {
    let names = store.namespaces().await.expect("namespaces failed");
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

async fn drop_it(store: &Store, name: &Namespace) -> Option<u64> {
    store.drop_namespace(name).await.expect("drop_namespace failed")
}

pub async fn a_namespace_exists_from_its_first_write_until_dropped(subject: &MetadataSubject) {
    let store = subject.open().await;
    assert!(!store.has("reports", "k").await, "nothing was put");
    assert!(!names(&store).await.contains(&"reports".to_owned()), "a lookup makes no namespace");
    store.put(subject.entry("reports", "k")).await;
    assert!(names(&store).await.contains(&"reports".to_owned()), "the first write makes the namespace");
    store.remove_if("reports", "k", Condition::Always, subject.now()).await;
    assert!(names(&store).await.contains(&"reports".to_owned()), "a namespace without entries still exists");
    store.clear_all("reports").await;
    assert!(names(&store).await.contains(&"reports".to_owned()), "a cleared namespace still exists");
    assert_eq!(
        drop_it(&store, &namespace("reports")).await,
        Some(0),
        "dropping it says that it had no entries"
    );
    assert!(!names(&store).await.contains(&"reports".to_owned()), "a dropped namespace does not exist");
    assert_eq!(drop_it(&store, &namespace("reports")).await, None, "there was no such namespace any more");
}

pub async fn namespaces_are_listed_in_order(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut expected: Vec<String> =
        ["z", "a", "B", "ä", "a\0", "a:b", "\u{10FFFF}", "🎉", "10", "9"].map(str::to_owned).into();
    for name in &expected {
        store.put(subject.entry(name, "k")).await;
        store.put(subject.entry(name, "k2")).await;
    }
    expected.sort();
    assert_eq!(
        names(&store).await,
        expected,
        "namespaces are listed once each, sorted by the bytes of their names"
    );
}

pub async fn a_dropped_namespace_takes_its_entries_and_counters_along(subject: &MetadataSubject) {
    let store = subject.open().await;
    for key in ["a", "b", "c"] {
        store.put(subject.entry("gone", key)).await;
        store.put(subject.entry("stays", key)).await;
    }
    let mut counters = Counters::default();
    counters.hits = 5;
    let counters = vec![(namespace("gone"), counters), (namespace("stays"), counters)];
    store.record(AccessBatch { counters, accesses: Vec::new() }).await;
    let version = store.version("gone", "a").await;
    assert_eq!(
        drop_it(&store, &namespace("gone")).await,
        Some(3),
        "dropping says how many entries there were"
    );
    assert!(!store.has("gone", "a").await, "the entries of a dropped namespace are gone");
    assert!(store.keys("gone").await.is_empty(), "the entries of a dropped namespace are not listed");
    let stats = store.stats_of("gone").await;
    assert_eq!((stats.entries, stats.stored_bytes), (0, 0), "a dropped namespace holds nothing");
    assert!(stats.counters.is_zero(), "the counters of a dropped namespace are gone");
    assert_eq!(store.stats_of("stays").await.counters.hits, 5, "another namespace keeps its counters");
    assert_eq!(store.keys("stays").await, ["a", "b", "c"], "another namespace keeps its entries");
    assert_eq!(store.total().await.entries, 3, "the totals follow a drop");
    let again = store.put_if(subject.entry("gone", "a"), Condition::Absent).await;
    assert!(again.applied, "a dropped namespace can be written to again");
    assert!(again.version > Some(version), "and its versions go on rising");
    assert_eq!(store.keys("gone").await, ["a"], "only the new entry is there");
}

pub async fn namespaces_are_there_after_a_reopen(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    for name in ["kept", "emptied", "dropped"] {
        store.put(subject.entry(name, "k")).await;
    }
    store.remove_if("emptied", "k", Condition::Always, subject.now()).await;
    drop_it(&store, &namespace("dropped")).await;
    let store = subject.reopen(store).await;
    assert_eq!(names(&store).await, ["emptied", "kept"], "the same namespaces exist after a reopen");
}
