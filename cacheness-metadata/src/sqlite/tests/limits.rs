//! Limits where several processes or pending uses are involved.

use std::sync::atomic::Ordering;

use cacheness_core::{Limits, Namespace};

use super::{open_store, stranger, subject};
use crate::sqlite::writer;

#[tokio::test]
async fn limits_that_another_process_sets_hold_at_the_next_put() {
    let subject = subject();
    let (one, other) = (subject.open().await, subject.open().await);
    one.put(subject.entry("default", "a")).await;
    other.limit(Limits::unbounded().max_entries(2), subject.now()).await;
    for key in ["b", "c", "d"] {
        subject.wait(std::time::Duration::from_secs(1));
        one.put(subject.entry("default", key)).await;
    }
    assert_eq!(one.keys("default").await, ["c", "d"]);
    one.limit(Limits::unbounded(), subject.now()).await;
    other.put(subject.entry("default", "e")).await;
    assert_eq!(other.keys("default").await, ["c", "d", "e"]);
}

#[tokio::test]
async fn ranks_are_kept_only_while_there_is_a_limit() {
    let subject = subject();
    let store = subject.open().await;
    let count = || {
        let sql = "SELECT count(*) FROM ranks";
        stranger(subject.folder()).query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap()
    };
    for key in ["a", "b", "c"] {
        store.put(subject.entry("default", key)).await;
    }
    assert_eq!(count(), 0);
    store.limit(Limits::unbounded().max_entries(3), subject.now()).await;
    assert_eq!(count(), 3);
    store.limit(Limits::unbounded(), subject.now()).await;
    assert_eq!(count(), 0);
}

#[tokio::test]
async fn uses_that_a_failed_call_had_written_down_are_not_lost() {
    let subject = subject();
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(2).max_bytes(100), subject.now()).await;
    for key in ["a", "b"] {
        store.put(subject.entry("default", key)).await;
        subject.wait(std::time::Duration::from_secs(1));
    }
    let entry = store.get("default", "a").await.unwrap();
    subject.accesses().record(&entry.namespace, "a", entry.version, entry.accessed_at, subject.now());
    let too_large = subject.putting(subject.entry_of_size("default", "too large", 101));
    let changes = vec![subject.putting(subject.entry("default", "c")), too_large];
    store.apply(changes).await.unwrap_err();
    let evicted = store.put(subject.entry("default", "d")).await.evicted;
    assert_eq!(evicted[0].key.as_str(), "b", "the use of `a` still counts");
}

#[tokio::test]
async fn more_entries_than_one_transaction_ranks_are_ranked_and_evicted_in_order() {
    let subject = subject();
    let store = subject.open().await;
    for part in 0..3 {
        let entry = |i: u64| subject.entry_of_size("default", &format!("{i:04}"), 10_000 - i);
        let changes = (part * 500..(part + 1) * 500).map(|i| subject.putting(entry(i)));
        store.changes(changes.collect()).await;
    }
    let limits = Limits::unbounded().max_entries(100).policy("size");
    let evicted = store.limit(limits, subject.now()).await;
    let keys: Vec<&str> = evicted.iter().map(|evicted| evicted.key.as_str()).collect();
    let expected: Vec<String> = (0..1400).map(|i| format!("{i:04}")).collect();
    assert_eq!(keys, expected, "the largest go first");
    let counters = store.stats_of("default").await.counters;
    assert_eq!((counters.evictions, counters.expirations), (1400, 0), "the victims are counted");
}

#[tokio::test]
async fn what_an_eviction_or_a_purge_removes_as_expired_is_counted_so() {
    let subject = subject();
    let store = subject.open().await;
    let second = std::time::Duration::from_secs(1);
    for key in ["a", "b", "c"] {
        store.put(subject.expiring_entry("default", key, second)).await;
    }
    subject.wait(second);
    store.limit(Limits::unbounded().max_entries(2), subject.now()).await;
    store.purge_all(subject.now()).await;
    let counters = store.stats_of("default").await.counters;
    assert_eq!((counters.evictions, counters.expirations), (0, 3));
}

#[test]
fn a_put_that_finds_many_entries_unranked_has_them_ranked_in_short_transactions() {
    let subject = subject();
    let store = open_store(subject.folder()).unwrap();
    let limits = Limits::unbounded().max_bytes(1_000_000).into();
    store.write(|transaction| transaction.change_limits(&limits)).unwrap();
    let put = |key: &str, size| {
        let changes = vec![subject.putting(subject.entry_of_size("default", key, size))];
        let before = store.transactions.load(Ordering::Relaxed);
        let evicted = writer::apply(&store, changes).unwrap().remove(0).evicted;
        let keys = evicted.into_iter().map(|one| one.key.as_str().to_owned()).collect::<Vec<_>>();
        (keys, store.transactions.load(Ordering::Relaxed) - before)
    };
    for i in 0..2_000 {
        subject.wait(std::time::Duration::from_millis(1));
        assert_eq!(put(&format!("{i:04}"), 10), (Vec::new(), 1));
    }
    assert_eq!(put("large", 980_000), (Vec::new(), 1));
    let (evicted, transactions) = put("one more", 10);
    assert_eq!(evicted, ["0000"], "the least recently used goes");
    assert!((4..8).contains(&transactions), "{transactions} transactions for 2,000 entries");
    assert_eq!(put("another", 10), (vec!["0001".to_owned()], 1), "once is enough");
}

#[test]
fn a_put_that_finds_much_left_of_a_cleared_namespace_has_it_taken_back_in_short_transactions() {
    let subject = subject();
    let store = open_store(subject.folder()).unwrap();
    let limits = Limits::unbounded().max_entries(2_000).into();
    store.write(|transaction| transaction.change_limits(&limits)).unwrap();
    let put = |namespace: &str, count: u64| {
        let entry = |i| subject.putting(subject.entry(namespace, &format!("{i}")));
        let outcomes = writer::apply(&store, (0..count).map(entry).collect()).unwrap();
        outcomes.into_iter().flat_map(|outcome| outcome.evicted).count()
    };
    (0..2).for_each(|_| assert_eq!(put("cleared", 2_000), 0));
    let (name, now) = (Namespace::new("cleared").unwrap(), subject.now());
    assert_eq!(put("default", 1), 1);
    store.write(|transaction| transaction.clear(&name, now, false)).unwrap();
    assert_eq!(put("default", 2_000), 0);
    let before = store.transactions.load(Ordering::Relaxed);
    assert_eq!(put("other", 1), 1, "one goes for one that comes");
    let transactions = store.transactions.load(Ordering::Relaxed) - before;
    assert!((4..9).contains(&transactions), "{transactions} transactions for 2,000 rows");
}

#[test]
fn one_large_value_that_evicts_very_many_does_so_in_short_transactions() {
    let subject = subject();
    let store = open_store(subject.folder()).unwrap();
    for limits in [Limits::unbounded().max_bytes(1_000_000), Limits::unbounded().max_bytes(30_000)] {
        store.write(|transaction| transaction.change_limits(&limits.clone().into())).unwrap();
        let put = |key: &str, size| {
            let changes = vec![subject.putting(subject.entry_of_size("default", key, size))];
            let before = store.transactions.load(Ordering::Relaxed);
            let evicted = writer::apply(&store, changes).unwrap().remove(0).evicted;
            let keys = evicted.into_iter().map(|one| one.key.as_str().to_owned()).collect::<Vec<_>>();
            (keys, store.transactions.load(Ordering::Relaxed) - before)
        };
        for i in 0..2_900 {
            subject.wait(std::time::Duration::from_millis(1));
            put(&format!("{i:04}"), 10);
        }
        if limits.max_bytes == Some(30_000) {
            let (evicted, transactions) = put("large", 30_000 - 1_000);
            let expected: Vec<String> = (0..2_800).map(|i| format!("{i:04}")).collect();
            assert_eq!(evicted, expected, "all that must go and no more, in order");
            assert!((6..16).contains(&transactions), "{transactions} transactions for 2,800 victims");
        }
    }
}

#[tokio::test]
async fn all_that_is_evicted_for_a_batch_is_told() {
    let subject = subject();
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_bytes(2_000), subject.now()).await;
    for part in 0..4 {
        let entry = |i: u64| subject.entry_of_size("default", &format!("{i:04}"), 1);
        let changes = (part * 500..(part + 1) * 500).map(|i| subject.putting(entry(i)));
        store.changes(changes.collect()).await;
    }
    // For each more goes than one transaction evicts, and the attempt that evicts for the second is not the first's.
    let large = ["a", "b"].map(|key| subject.putting(subject.entry_of_size("default", key, 900)));
    let outcomes = store.apply(large.into()).await.unwrap();
    let told: usize = outcomes.iter().map(|outcome| outcome.evicted.len()).sum();
    assert_eq!((told, store.keys("default").await.len()), (1_800, 202));
}
