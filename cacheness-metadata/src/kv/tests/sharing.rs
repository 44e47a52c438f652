//! Several backends on one store, as several processes have them.

use std::collections::BTreeSet;

use cacheness_core::{AccessBatch, Condition, Counters, EntryAccess, Limits, MetadataBackend, OpenMode};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_backends_on_one_store_lose_no_write() {
    const EACH: usize = 300;
    let (one, rows) = open().await;
    let two = KvMetadata::open(rows.clone(), &context()).await.unwrap();
    assert_eq!(one.cache_id(), two.cache_id());
    let write = async |store: &KvMetadata, who: &str| {
        let mut versions = Vec::new();
        for i in 0..EACH {
            versions.extend(put(store, entry(&format!("{who}{i}"), at(1))).await.version);
            put(store, entry("both", at(1))).await;
            let mut counters = Counters::default();
            counters.hits = 1;
            let batch = AccessBatch { counters: vec![(Namespace::default(), counters)], accesses: vec![] };
            store.record_accesses(batch).await.unwrap();
        }
        versions
    };
    let (a, b) = std::thread::scope(|scope| {
        let run = |store, who| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(write(store, who))
        };
        let (one, two) = (&one, &two);
        let a = scope.spawn(move || run(one, "a"));
        let b = scope.spawn(move || run(two, "b"));
        (a.join().unwrap(), b.join().unwrap())
    });
    let issued: BTreeSet<_> = a.iter().chain(&b).collect();
    assert_eq!(issued.len(), 2 * EACH);
    assert!(a.is_sorted() && b.is_sorted());
    let stats = one.stats(None).await.unwrap();
    assert_eq!(stats.entries, 2 * EACH as u64 + 1);
    assert_eq!(stats.stored_bytes, 10 * stats.entries);
    assert_eq!(stats.counters.hits, 2 * EACH as u64);
    // All but the last put of the shared key left their blob behind.
    assert_eq!(stats.garbage_bytes, 10 * (2 * EACH as u64 - 1));
    assert_eq!(one.due_garbage(at(1000), 10_000).await.unwrap().len(), 2 * EACH - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_hold_while_two_backends_write_and_one_changes_the_order() {
    let (one, rows) = open().await;
    let two = KvMetadata::open(rows.clone(), &context()).await.unwrap();
    let limits = Limits::unbounded().max_entries(50);
    one.change_limits(None, &limits.clone().into()).await.unwrap();
    std::thread::scope(|scope| {
        let run = |future: std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>| {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
        };
        let (one, two) = (&one, &two);
        scope.spawn(move || {
            run(Box::pin(async move {
                for i in 0..400 {
                    put(one, entry(&format!("k{i}"), at(i))).await;
                }
            }));
        });
        scope.spawn(move || {
            run(Box::pin(async move {
                for policy in ["lru", "lfu", "fifo", "ttl", "size"].into_iter().cycle().take(20) {
                    two.change_limits(None, &limits.clone().policy(policy).into()).await.unwrap();
                    assert!(two.stats(None).await.unwrap().entries <= 50);
                }
            }));
        });
    });
    assert_eq!(one.stats(None).await.unwrap().entries, 50);
    assert_eq!(rows_of(&rows, b'r').await.len(), 50);
    assert_eq!(rows_of(&rows, b'e').await.len(), 50);
    assert_eq!(rows_of(&rows, b'c').await.len(), 50);
}

#[tokio::test]
async fn a_store_that_must_exist_is_not_begun() {
    let rows = Arc::new(MemoryStore::default());
    let existing = context().with_mode(OpenMode::Existing);
    let error = KvMetadata::open(rows.clone(), &existing).await.err().unwrap();
    assert_eq!(error.kind(), cacheness_core::ErrorKind::NotFound);
    let first = KvMetadata::open(rows.clone(), &context()).await.unwrap().cache_id();
    assert_eq!(KvMetadata::open(rows, &existing).await.unwrap().cache_id(), first);
}

#[tokio::test]
async fn a_use_is_recorded_only_for_the_version_that_was_read() {
    let (store, _) = open().await;
    let version = put(&store, entry("k", at(1))).await.version.unwrap();
    let used = |version| AccessBatch {
        counters: vec![],
        accesses: vec![EntryAccess::new(Namespace::default(), "k", version, at(9), 3)],
    };
    store.record_accesses(used(version)).await.unwrap();
    let entry = store.get_entry(&Namespace::default(), "k").await.unwrap().unwrap();
    assert_eq!((entry.hits, entry.accessed_at), (3, at(9)));
    put(&store, super::entry("k", at(2))).await;
    store.record_accesses(used(version)).await.unwrap();
    let entry = store.get_entry(&Namespace::default(), "k").await.unwrap().unwrap();
    assert_eq!((entry.hits, entry.accessed_at), (0, at(2)));
    let remove = Change::Remove {
        namespace: Namespace::default(),
        key: "k".into(),
        condition: Condition::Version(version),
        now: at(3),
    };
    assert!(!store.apply(vec![remove]).await.unwrap()[0].applied);
}
