//! Several tasks on one backend, and several backends on one folder.

use std::collections::HashSet;

use cacheness_core::{Condition, Limits, ListQuery, Version};

use crate::metadata::{MetadataSubject, Store};

/// Runs eight tasks at once, on several threads, and gathers what they return.
async fn eight<T, F>(task: impl Fn(u64) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..8).map(|number| tokio::spawn(task(number))).collect();
    let mut results = Vec::new();
    for task in tasks {
        match task.await {
            Ok(result) => results.push(result),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
    results
}

pub async fn concurrent_puts_of_different_keys_are_all_there(subject: &MetadataSubject) {
    let store = subject.open().await;
    let versions: Vec<Vec<Version>> = eight(|task| {
        let store = store.clone();
        let entries: Vec<_> = (0..50).map(|i| subject.entry("default", &format!("{task}-{i:02}"))).collect();
        async move {
            let mut versions = Vec::new();
            for entry in entries {
                versions.extend(store.put(entry).await.version);
            }
            versions
        }
    })
    .await;
    for of_task in &versions {
        assert!(of_task.is_sorted(), "the versions that one task gets only rise");
    }
    let distinct: HashSet<&Version> = versions.iter().flatten().collect();
    assert_eq!(distinct.len(), 400, "each of 400 concurrent puts gets a version of its own");
    let stats = store.total().await;
    assert_eq!(
        (stats.entries, stats.stored_bytes),
        (400, 4000),
        "the totals are exact after concurrent puts"
    );
    assert_eq!(store.list(&ListQuery::new()).await.len(), 400, "all entries are there after concurrent puts");
}

pub async fn concurrent_puts_of_one_key_leave_exact_totals(subject: &MetadataSubject) {
    let store = subject.open().await;
    eight(|task| {
        let store = store.clone();
        let sizes = (0..40).map(|i| 1 + task * 13 + i);
        let entries: Vec<_> = sizes.map(|size| subject.entry_of_size("default", "k", size)).collect();
        let now = subject.now();
        async move {
            for (i, entry) in entries.into_iter().enumerate() {
                store.put(entry).await;
                if i % 10 == 9 {
                    store.remove_if("default", "k", Condition::Always, now).await;
                }
            }
        }
    })
    .await;
    let entry = store.get("default", "k").await;
    let stats = store.total().await;
    let expected = entry.map_or((0, 0), |entry| (1, entry.stored_size));
    assert_eq!(
        (stats.entries, stats.stored_bytes),
        expected,
        "the totals are exact after puts and removals of one key"
    );
}

pub async fn of_concurrent_conditional_puts_one_wins(subject: &MetadataSubject) {
    let store = subject.open().await;
    for round in 0..20 {
        let key = format!("{round}");
        let first = store.put(subject.entry("default", &key)).await.version.expect("a put's version");
        for condition in [Condition::Version(first), Condition::Absent] {
            if condition == Condition::Absent {
                store.remove_if("default", &key, Condition::Always, subject.now()).await;
            }
            let outcomes = eight(|_| {
                let (store, entry) = (store.clone(), subject.entry("default", &key));
                async move { store.put_if(entry, condition).await }
            })
            .await;
            let winners: Vec<_> = outcomes.iter().filter(|outcome| outcome.applied).collect();
            assert_eq!(winners.len(), 1, "of eight concurrent puts with one condition exactly one is made");
            assert_eq!(
                Some(store.version("default", &key).await),
                winners[0].version,
                "and it is the one that is there"
            );
        }
    }
}

pub async fn limits_hold_under_concurrent_puts(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(25).max_bytes(1000), subject.now()).await;
    eight(|task| {
        let store = store.clone();
        let entries: Vec<_> = (0..50)
            .map(|i| subject.entry_of_size("default", &format!("{task}-{i}"), 1 + (task * 50 + i) * 37 % 100))
            .collect();
        async move {
            for entry in entries {
                store.put(entry).await;
                let stats = store.total().await;
                assert!(
                    stats.entries <= 25,
                    "the limit of entries holds whenever a put returns: {}",
                    stats.entries
                );
                assert!(stats.stored_bytes <= 1000, "the limit of bytes holds: {}", stats.stored_bytes);
            }
        }
    })
    .await;
    let entries = store.list(&ListQuery::new()).await;
    let stats = store.total().await;
    let sum = entries.iter().map(|entry| entry.stored_size).sum();
    assert_eq!(
        (stats.entries, stats.stored_bytes),
        (entries.len() as u64, sum),
        "the totals are exact after evictions"
    );
}

/// Opens a second backend on the folder of the first, where backends can share one.
async fn second(subject: &MetadataSubject, first: &Store) -> Option<Store> {
    if !first.capabilities().persistent {
        return None;
    }
    let second = subject.open().await;
    assert_eq!(second.cache_id(), first.cache_id(), "whoever opens the same folder opens the same cache");
    Some(second)
}

pub async fn two_that_are_open_see_each_others_writes(subject: &MetadataSubject) {
    let one = subject.open().await;
    let Some(two) = second(subject, &one).await else { return };
    for (writer, reader) in [(&one, &two), (&two, &one)] {
        let put = writer.put(subject.entry("default", "k")).await;
        assert_eq!(
            Some(reader.version("default", "k").await),
            put.version,
            "a put is seen at once by the other"
        );
        assert_eq!(reader.keys("default").await, ["k"], "a put is listed at once by the other");
        assert_eq!(reader.total().await.entries, 1, "the statistics of the other follow");
        let over = reader.put(subject.entry("default", "k")).await;
        assert_eq!(over.previous, put.version, "an overwrite by the other sees the version it replaces");
        writer.remove_if("default", "k", Condition::Always, subject.now()).await;
        assert!(!reader.has("default", "k").await, "a removal is seen at once by the other");
        writer.put(subject.entry("default", "k")).await;
        assert_eq!(reader.clear_all("default").await, 1, "a clear by the other counts what was put");
        assert!(!writer.has("default", "k").await, "a clear is seen at once by the other");
    }
}

pub async fn two_that_are_open_issue_no_version_twice(subject: &MetadataSubject) {
    let one = subject.open().await;
    let Some(two) = second(subject, &one).await else { return };
    let versions: Vec<Vec<Version>> = eight(|task| {
        let store = if task % 2 == 0 { one.clone() } else { two.clone() };
        let entries: Vec<_> =
            (0..25).map(|i| subject.entry("default", &format!("{}", (task * 25 + i) % 60))).collect();
        async move {
            let mut versions = Vec::new();
            for entry in entries {
                versions.extend(store.put(entry).await.version);
            }
            versions
        }
    })
    .await;
    let distinct: HashSet<&Version> = versions.iter().flatten().collect();
    assert_eq!(distinct.len(), 200, "no version is used twice, whoever issues it");
    for store in [&one, &two] {
        let stats = store.total().await;
        assert_eq!((stats.entries, stats.stored_bytes), (60, 600), "the totals are exact, whoever is asked");
    }
    one.close().await.expect("close failed");
    assert_eq!(two.total().await.entries, 60, "closing one leaves the other working");
    two.put(subject.entry("default", "after")).await;
}
