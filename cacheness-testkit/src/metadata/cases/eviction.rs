//! Who goes first: expired entries, then those of the lowest priority, then by the order that was set.

use std::time::Duration;

use cacheness_core::{Entry, EvictionReason, Limits};

use super::POLICIES;
use crate::metadata::{MetadataSubject, Store};

/// Puts an entry, a second after the one before, and returns the key of the one entry that it evicted.
async fn victim(subject: &MetadataSubject, store: &Store, entry: Entry) -> String {
    let outcome = store.put(entry).await;
    subject.wait(Duration::from_secs(1));
    assert_eq!(outcome.evicted.len(), 1, "a put into a full cache of equal entries evicts one");
    let evicted = &outcome.evicted[0];
    let key = evicted.key.as_str().to_owned();
    assert!(!store.has(evicted.namespace.as_str(), &key).await, "a reported victim is gone");
    key
}

async fn fill(subject: &MetadataSubject, order: &str, keys: &[&str]) -> Store {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(keys.len() as u64).policy(order), subject.now()).await;
    for key in keys {
        store.put(subject.entry("default", key)).await;
        subject.wait(Duration::from_secs(1));
    }
    store
}

pub async fn what_has_expired_is_evicted_first(subject: &MetadataSubject) {
    for order in POLICIES {
        let store = subject.open().await;
        store.limit(Limits::unbounded().max_entries(3).policy(order), subject.now()).await;
        store.put(subject.entry_of_priority("default", "low", 0.0)).await;
        store.put(subject.entry_of_priority("default", "live", 0.5)).await;
        let mut entry = subject.expiring_entry("default", "expired", Duration::from_secs(5));
        entry.priority = 1.0;
        entry.stored_size = 1;
        let version = store.put(entry).await.version.expect("a put's version");
        store.used("default", "expired", version, subject.now() + Duration::from_secs(4), 100).await;
        subject.wait(Duration::from_secs(5));
        let evicted = store.put(subject.entry("default", "new")).await.evicted;
        assert_eq!(evicted.len(), 1, "{order}: one entry too many, one eviction");
        assert_eq!(
            evicted[0].key.as_str(),
            "expired",
            "{order}: what has expired goes first, whatever its priority"
        );
        assert_eq!(evicted[0].reason, EvictionReason::Expired, "{order}: and the reason says so");
        store.limit(Limits::unbounded(), subject.now()).await;
        store.clear_all("default").await;
    }
}

pub async fn a_lower_priority_is_evicted_first(subject: &MetadataSubject) {
    for order in POLICIES {
        let store = subject.open().await;
        store.limit(Limits::unbounded().max_entries(5).policy(order), subject.now()).await;
        for (key, priority) in [("high", 1.0), ("above", 0.51), ("usual", 0.5), ("below", 0.49), ("low", 0.0)]
        {
            store.put(subject.entry_of_priority("default", key, priority)).await;
            subject.wait(Duration::from_secs(1));
        }
        let mut victims = Vec::new();
        for i in 0..4 {
            victims.push(
                victim(subject, &store, subject.entry_of_priority("default", &format!("{i}"), 1.0)).await,
            );
        }
        assert_eq!(
            victims,
            ["low", "below", "usual", "above"],
            "{order}: the priority counts before the rank"
        );
        store.limit(Limits::unbounded(), subject.now()).await;
        store.clear_all("default").await;
    }
}

pub async fn lru_evicts_the_one_unused_for_longest(subject: &MetadataSubject) {
    let store = fill(subject, "lru", &["a", "b", "c"]).await;
    // An overwrite is a use.
    store.put(subject.entry("default", "a")).await;
    subject.wait(Duration::from_secs(1));
    let mut victims = Vec::new();
    for key in ["d", "e", "f"] {
        victims.push(victim(subject, &store, subject.entry("default", key)).await);
    }
    assert_eq!(victims, ["b", "c", "a"], "lru evicts in the order of the last use");
}

pub async fn lru_knows_recorded_uses(subject: &MetadataSubject) {
    let store = fill(subject, "lru", &["a", "b", "c", "d"]).await;
    for key in ["b", "a"] {
        let version = store.version("default", key).await;
        store.used("default", key, version, subject.now(), 1).await;
        subject.wait(Duration::from_secs(1));
    }
    let mut victims = Vec::new();
    for key in ["e", "f", "g", "h"] {
        victims.push(victim(subject, &store, subject.entry("default", key)).await);
    }
    assert_eq!(victims, ["c", "d", "b", "a"], "lru evicts by the uses that were recorded");
}

pub async fn lru_knows_uses_that_are_only_in_the_access_log(subject: &MetadataSubject) {
    let keys: Vec<String> = (0..20).map(|i| format!("{i:02}")).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let store = fill(subject, "lru", &names).await;
    // All but every fourth are used once more, in an order of their own, and nothing of it is recorded.
    let mut used: Vec<&str> =
        names.iter().enumerate().filter(|(i, _)| i % 4 != 3).map(|(_, key)| *key).collect();
    used.sort_by_key(|key| key.parse::<usize>().unwrap_or(0) * 7 % 20);
    for key in &used {
        let entry = store.get("default", key).await.expect("the entry is there");
        subject.accesses().record(&entry.namespace, key, entry.version, entry.accessed_at, subject.now());
        subject.wait(Duration::from_secs(1));
    }
    let unused = names.iter().filter(|key| !used.contains(key)).copied();
    let expected: Vec<&str> = unused.chain(used.iter().copied()).collect();
    let mut victims = Vec::new();
    for i in 0..20 {
        victims.push(victim(subject, &store, subject.entry("default", &format!("new {i:02}"))).await);
    }
    assert_eq!(
        victims, expected,
        "lru is exact within the process: it consults the access log before it evicts"
    );
}

pub async fn lfu_evicts_the_one_used_least(subject: &MetadataSubject) {
    let store = fill(subject, "lfu", &["a", "b", "c", "d"]).await;
    for (key, hits) in [("a", 3), ("b", 1), ("c", 40), ("d", 20)] {
        let version = store.version("default", key).await;
        store.used("default", key, version, subject.now(), hits).await;
    }
    let mut victims = Vec::new();
    for key in ["e", "f"] {
        victims.push(victim(subject, &store, subject.entry("default", key)).await);
        let version = store.version("default", key).await;
        store.used("default", key, version, subject.now(), 1000).await;
    }
    assert_eq!(victims, ["b", "a"], "lfu evicts the one used least");
    let mut rest = Vec::new();
    for key in ["g", "h"] {
        rest.push(victim(subject, &store, subject.entry("default", key)).await);
        let version = store.version("default", key).await;
        store.used("default", key, version, subject.now(), 1000).await;
    }
    assert_eq!(rest, ["d", "c"], "lfu evicts the one used least");
}

pub async fn lfu_ages_so_that_old_popularity_passes(subject: &MetadataSubject) {
    let store = fill(subject, "lfu", &["old", "x1"]).await;
    for (key, hits) in [("old", 10), ("x1", 4)] {
        let version = store.version("default", key).await;
        store.used("default", key, version, subject.now(), hits).await;
    }
    let mut victims = Vec::new();
    for i in 2..10 {
        let key = format!("x{i}");
        victims.push(victim(subject, &store, subject.entry("default", &key)).await);
        let version = store.version("default", &key).await;
        store.used("default", &key, version, subject.now(), 4).await;
    }
    assert_eq!(victims[..2], ["x1", "x2"], "what was used more often stays at first");
    // Each new one is used less often than old was, but starts higher than the one before it.
    assert!(
        victims.contains(&"old".to_owned()),
        "a new entry starts where the last victim stood, so old hits pass"
    );
}

pub async fn fifo_evicts_in_the_order_of_puts(subject: &MetadataSubject) {
    let store = fill(subject, "fifo", &["c", "a", "b"]).await;
    let version = store.version("default", "c").await;
    store.used("default", "c", version, subject.now(), 100).await;
    let mut victims = Vec::new();
    for key in ["d", "e", "f"] {
        victims.push(victim(subject, &store, subject.entry("default", key)).await);
    }
    assert_eq!(victims, ["c", "a", "b"], "fifo evicts in the order of puts, whatever was used");
}

pub async fn ttl_evicts_the_one_that_expires_next(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(4).policy("ttl"), subject.now()).await;
    store.put(subject.entry("default", "never")).await;
    for (key, hours) in [("3h", 3), ("1h", 1), ("2h", 2)] {
        store.put(subject.expiring_entry("default", key, Duration::from_secs(3600 * hours))).await;
    }
    let mut victims = Vec::new();
    for (i, hours) in [9, 8, 7].into_iter().enumerate() {
        let entry = subject.expiring_entry("default", &format!("new {i}"), Duration::from_secs(3600 * hours));
        victims.push(victim(subject, &store, entry).await);
    }
    assert_eq!(victims, ["1h", "2h", "3h"], "ttl evicts the one that expires next");
    for _ in 0..3 {
        victims.push(
            victim(subject, &store, subject.entry("default", &format!("plain {}", victims.len()))).await,
        );
    }
    assert_eq!(victims[3..], ["new 2", "new 1", "new 0"], "those that never expire go last");
}

pub async fn size_evicts_the_largest(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_bytes(1000).policy("size"), subject.now()).await;
    for (key, size) in [("a", 300), ("b", 100), ("c", 400), ("d", 200)] {
        store.put(subject.entry_of_size("default", key, size)).await;
    }
    assert_eq!(
        victim(subject, &store, subject.entry_of_size("default", "e", 50)).await,
        "c",
        "the largest goes first"
    );
    let outcome = store.put(subject.entry_of_size("default", "f", 700)).await;
    let keys: Vec<&str> = outcome.evicted.iter().map(|evicted| evicted.key.as_str()).collect();
    assert_eq!(keys, ["a", "d"], "the largest go first, and no more of them than make room");
    assert_eq!(store.total().await.stored_bytes, 850, "what is left is what fits");
}

pub async fn a_changed_order_ranks_anew_and_loses_nothing(subject: &MetadataSubject) {
    // By each order another entry is the first to go.
    let expected = [
        ("fifo", "put first"),
        ("size", "largest"),
        ("ttl", "expires next"),
        ("lfu", "used least"),
        ("lru", "unused for longest"),
    ];
    for first in POLICIES {
        let store = subject.open().await;
        store.limit(Limits::unbounded().max_entries(5).policy(first), subject.now()).await;
        for (key, size, ttl, uses) in [
            ("put first", 10, 9000, 5),
            ("largest", 99, 9000, 5),
            ("expires next", 10, 3600, 5),
            ("used least", 10, 9000, 1),
            ("unused for longest", 10, 9000, 5),
        ] {
            let mut entry = subject.entry_of_size("default", key, size);
            entry.validity.start_ttl(Some(Duration::from_secs(ttl)), subject.now());
            let version = store.put(entry).await.version.expect("a put's version");
            let later = if key == "unused for longest" { 1 } else { 100 };
            store.used("default", key, version, subject.now() + Duration::from_secs(later), uses).await;
        }
        subject.wait(Duration::from_secs(200));
        for (order, key) in expected {
            let evicted = store.limit(Limits::unbounded().max_entries(5).policy(order), subject.now()).await;
            assert!(evicted.is_empty(), "{first} to {order}: changing the order evicts nothing");
            assert_eq!(
                store.total().await.entries,
                5,
                "{first} to {order}: changing the order loses nothing"
            );
            assert!(store.has("default", key).await, "{first} to {order}: changing the order loses nothing");
        }
        for (order, key) in expected {
            store.limit(Limits::unbounded().max_entries(5).policy(order), subject.now()).await;
            // What takes the victim's place comes last by every order.
            let mut entry = subject.entry_of_size("default", &format!("new {key}"), 1);
            entry.priority = 1.0;
            let gone = victim(subject, &store, entry).await;
            assert_eq!(gone, key, "{first} to {order}: the entries are ranked anew by {order}");
        }
        store.limit(Limits::unbounded(), subject.now()).await;
        store.clear_all("default").await;
    }
}
