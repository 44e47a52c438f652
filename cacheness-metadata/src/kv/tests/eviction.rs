//! Who goes first, by each order.

use cacheness_core::{ErrorKind, Evicted, EvictionReason, Limits, MetadataBackend, Version};

use super::super::layout;
use super::*;

fn limit(entries: u64, order: &str) -> Limits {
    Limits::unbounded().max_entries(entries).policy(order)
}

/// Sets the limits of the cache, and evicts until they hold.
async fn set_limits(store: &KvMetadata, limits: Limits, now: Timestamp) -> Vec<Evicted> {
    store.change_limits(None, &limits.into()).await.unwrap();
    let mut evicted = Vec::new();
    loop {
        let step = store.evict(None, now, 100).await.unwrap();
        evicted.extend(step.evicted);
        if !step.more {
            return evicted;
        }
    }
}

/// Evicts everything, one at a time, and returns the keys in that order.
async fn victims(store: &KvMetadata, limits: Limits) -> Vec<String> {
    let mut victims = Vec::new();
    let mut left = store.stats(None).await.unwrap().entries;
    while left > 0 {
        left -= 1;
        let evicted = set_limits(store, limits.clone().max_entries(left), at(50)).await;
        victims.extend(evicted.into_iter().map(|evicted| evicted.key.as_str().to_owned()));
    }
    victims
}

fn sample() -> Vec<Entry> {
    let mut entries: Vec<Entry> = ["a", "b", "c", "d"].iter().map(|key| entry(key, at(10))).collect();
    let [a, b, c, d] = &mut entries[..] else { unreachable!() };
    (a.accessed_at, b.accessed_at, c.accessed_at, d.accessed_at) = (at(14), at(13), at(12), at(11));
    (a.hits, b.hits, c.hits, d.hits) = (5, 0, 9, 1);
    (a.stored_size, b.stored_size, c.stored_size, d.stored_size) = (1, 5, 3, 4);
    a.validity.expires_at = Some(at(100));
    b.validity.expires_at = Some(at(99));
    d.validity.expires_at = Some(at(101));
    entries
}

#[tokio::test]
async fn each_order_has_its_victims() {
    for (order, expected) in
        [("lru", "dcba"), ("lfu", "bdac"), ("fifo", "abcd"), ("ttl", "badc"), ("size", "bdca")]
    {
        // Once the entries come while the order holds, once it is set when they are there, once it changes.
        for before in [Some(limit(9, order)), None, Some(limit(9, "size")), Some(limit(9, "fifo"))] {
            let (store, rows) = open().await;
            if let Some(limits) = before.clone() {
                set_limits(&store, limits, at(1)).await;
            }
            store.apply(sample().into_iter().map(putting).collect()).await.unwrap();
            assert_eq!(victims(&store, limit(9, order)).await.concat(), expected, "{order} after {before:?}");
            for kind in [b'e', b'r', b'x', b'c'] {
                assert_eq!(rows_of(&rows, kind).await.len(), 0);
            }
            assert_eq!(store.stats(None).await.unwrap().stored_bytes, 0);
            assert_eq!(store.stats(None).await.unwrap().garbage_bytes, 13);
        }
    }
}

#[tokio::test]
async fn priority_comes_before_rank_and_expiry_before_both() {
    let (store, _) = open().await;
    let mut entries = sample();
    entries[3].priority = 0.9;
    entries[0].priority = 0.1;
    entries[2].priority = 1.0;
    entries[2].validity.expires_at = Some(at(20));
    set_limits(&store, limit(9, "lru"), at(1)).await;
    store.apply(entries.into_iter().map(putting).collect()).await.unwrap();
    let evicted = set_limits(&store, limit(3, "lru"), at(50)).await;
    assert_eq!((evicted[0].key.as_str(), evicted[0].reason), ("c", EvictionReason::Expired));
    assert_eq!(victims(&store, limit(9, "lru")).await.concat(), "abd");
}

#[tokio::test]
async fn a_victim_that_was_just_used_is_spared_and_its_uses_are_written_down() {
    for order in ["lru", "lfu"] {
        let context = context();
        let store = KvMetadata::open(MemoryStore::default(), &context).await.unwrap();
        set_limits(&store, limit(3, order), at(1)).await;
        for (i, key) in ["a", "b", "c"].into_iter().enumerate() {
            let version = put(&store, entry(key, at(10 + i as i64))).await.version.unwrap();
            if key != "b" {
                context.accesses.record(&Namespace::default(), key, version, at(10), at(30));
                context.accesses.record(&Namespace::default(), key, version, at(10), at(31));
            }
        }
        let outcome = put(&store, entry("d", at(40))).await;
        assert_eq!(outcome.evicted[0].key.as_str(), "b", "{order}");
        let spared = store.get_entry(&Namespace::default(), "a").await.unwrap().unwrap();
        assert_eq!((spared.hits, spared.accessed_at), (2, at(31)));
        assert_eq!(context.accesses.pending(&Namespace::default(), "a", spared.version), None);
    }
}

#[tokio::test]
async fn least_frequently_used_ages() {
    let (store, _) = open().await;
    set_limits(&store, limit(2, "lfu"), at(1)).await;
    let mut popular = entry("popular", at(1));
    popular.hits = 3;
    put(&store, popular).await;
    let mut rounds = 0;
    while has(&store, "popular").await {
        rounds += 1;
        assert!(rounds < 10, "what was popular long ago must go");
        let version = put(&store, entry(&format!("k{rounds}"), at(rounds))).await.version.unwrap();
        // Each newcomer is used once.
        let (name, key) = (Namespace::default(), format!("k{rounds}"));
        let access = cacheness_core::EntryAccess::new(name, key, version, at(rounds), 1);
        let batch = cacheness_core::AccessBatch { counters: vec![], accesses: vec![access] };
        store.record_accesses(batch).await.unwrap();
    }
    assert!(rounds > 2);
}

#[tokio::test]
async fn what_a_call_puts_is_not_its_victim() {
    let (store, _) = open().await;
    set_limits(&store, limit(3, "size"), at(1)).await;
    store.apply(["a", "b", "c"].map(|key| putting(entry(key, at(1)))).to_vec()).await.unwrap();
    let mut large = entry("large", at(2));
    large.stored_size = 1_000_000;
    let mut expired = entry("expired", at(2));
    expired.validity.expires_at = Some(at(1));
    store.apply(vec![putting(large), putting(expired)]).await.unwrap();
    assert!(has(&store, "large").await && has(&store, "expired").await);
    assert_eq!(store.stats(None).await.unwrap().entries, 3);

    let four = ["w", "x", "y", "z"].map(|key| putting(entry(key, at(3)))).to_vec();
    assert_eq!(store.apply(four).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert!(has(&store, "large").await && !has(&store, "w").await);
}

#[tokio::test]
async fn a_touch_moves_an_entry_in_the_order_by_expiry() {
    let (store, rows) = open().await;
    set_limits(&store, limit(9, "ttl"), at(1)).await;
    store.apply(sample().into_iter().map(putting).collect()).await.unwrap();
    let touch = Change::Touch {
        namespace: Namespace::default(),
        key: "b".into(),
        condition: Condition::Always,
        expiry: cacheness_core::Expiry::Set(None),
        now: at(20),
    };
    assert_eq!(store.apply(vec![touch]).await.unwrap()[0].version, None::<Version>);
    assert_eq!(rows_of(&rows, b'x').await.len(), 2);
    assert_eq!(victims(&store, limit(9, "ttl")).await.concat(), "adbc");
}

#[tokio::test]
async fn what_was_cleared_is_no_victim_and_makes_no_trouble() {
    let (store, rows) = open().await;
    set_limits(&store, limit(300, "lru"), at(1)).await;
    let old =
        (0..250).map(|i| putting(entry_in("old", &i.to_string(), at(i), Location::Inline(Bytes::new()))));
    store.apply(old.collect()).await.unwrap();
    let kept = (0..50).map(|i| putting(entry(&format!("kept{i}"), at(1000 + i))));
    store.apply(kept.collect()).await.unwrap();
    assert_eq!(store.clear(&Namespace::new("old").unwrap()).await.unwrap(), 250);
    let evicted = set_limits(&store, limit(49, "lru"), at(2000)).await;
    assert_eq!(evicted.len(), 1);
    assert_eq!(evicted[0].key.as_str(), "kept0");
    while store.purge(at(0), 100).await.unwrap().more {}
    for kind in [b'e', b'r', b'c'] {
        assert_eq!(rows_of(&rows, kind).await.len(), 49);
    }
    assert_eq!(rows_of(&rows, b'd').await.len(), 0);
}

#[tokio::test]
async fn ranking_that_a_process_left_unfinished_is_finished_by_the_next() {
    let (store, rows) = open().await;
    set_limits(&store, limit(2000, "lru"), at(1)).await;
    for part in 0..3 {
        let changes = (0..500).map(|i| putting(entry(&format!("{part}-{i}"), at(part))));
        store.apply(changes.collect()).await.unwrap();
    }
    let mut attempts = store.writer.attempts().await.unwrap();
    let mut transaction = attempts.begin().await.unwrap();
    let epoch = transaction.begin_ranking(false);
    let result = transaction.rank_some(layout::all(layout::ENTRY).start, 500).await;
    attempts.finish(transaction, result).await.unwrap().unwrap();
    drop(attempts);
    let of_epoch = |rows: Vec<(Bytes, Bytes)>| {
        rows.into_iter().filter(|(key, _)| key[1..5] == epoch.to_be_bytes()).count()
    };
    assert_eq!(of_epoch(rows_of(&rows, b'r').await), 500);
    KvMetadata::open(rows.clone(), &context()).await.unwrap();
    assert_eq!(of_epoch(rows_of(&rows, b'r').await), 1500);
    assert_eq!(rows_of(&rows, b'r').await.len(), 1500);
}
