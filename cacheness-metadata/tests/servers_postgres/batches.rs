//! Batches that are put into full caches.

use std::time::{Duration, Instant};

use cacheness_core::{Change, Limits, ListQuery};

use super::server::{fresh, subject};

#[tokio::test]
async fn a_batch_that_is_put_into_a_full_cache_evicts_others_by_every_policy() {
    let options = fresh();
    let subject = subject(&options);
    let store = subject.open().await;
    for (round, policy) in ["lru", "lfu", "fifo", "ttl", "size"].into_iter().enumerate() {
        for priority in [-1.0, 1.0] {
            store.limit(Limits::unbounded().max_entries(240).policy(policy), subject.now()).await;
            store.limit_namespace("small", Limits::unbounded().max_entries(120), subject.now()).await;
            let puts = |tag: &str, count: usize, priority: f32| -> Vec<Change> {
                let name = |at: usize| if at.is_multiple_of(2) { "default" } else { "small" };
                let key = |at: usize| format!("{round}{priority}{tag}{at}");
                let entry = |at| subject.entry_of_priority(name(at), &key(at), priority);
                (0..count).map(|at| subject.putting(entry(at))).collect()
            };
            store.changes(puts("before", 240, 0.0)).await;
            subject.wait(Duration::from_secs(1));
            let outcomes = store.changes(puts("batch", 200, priority)).await;
            assert!(outcomes.iter().all(|outcome| outcome.applied));
            let evicted: usize = outcomes.iter().map(|outcome| outcome.evicted.len()).sum();
            assert_eq!(evicted, 200, "{policy} {priority}");
            let entries = store.list(&ListQuery::new()).await;
            let own = entries.iter().filter(|entry| entry.key.as_str().contains("batch")).count();
            assert!(entries.len() == 240 && own >= 200, "{policy} {priority}: {own} of {}", entries.len());
            assert_eq!(store.total().await.entries, 240, "{policy} {priority}");
        }
    }
}

#[tokio::test]
async fn the_time_of_a_batch_grows_with_its_length_only() {
    // On a busy machine a large batch may take longer than one usually may.
    let options = fresh().with("timeout", "60s");
    let subject = subject(&options);
    let store = subject.open_in_real_time().await;
    store.limit(Limits::unbounded().max_entries(8_000).policy("lfu"), subject.now()).await;
    let mut took = Vec::new();
    for (round, count) in [(0, 8_000), (1, 1_000), (2, 8_000)] {
        // What the batch itself puts comes first in the order of eviction, and is not evicted.
        let priority = -(round as f32);
        let entry = |at: usize| subject.entry_of_priority("default", &format!("{round}-{at}"), priority);
        let puts: Vec<Change> = (0..count).map(|at| subject.putting(entry(at))).collect();
        let begun = Instant::now();
        let outcomes = store.changes(puts).await;
        took.push(begun.elapsed());
        assert!(outcomes.iter().all(|outcome| outcome.applied));
    }
    // Eight times as many take eight times as long. With all that was put before looked at for each it is thirty times.
    assert!(took[2] < took[1] * 18, "{took:?}");
}
