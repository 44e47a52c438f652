//! Limits: they hold when a put returns.

use std::time::Duration;

use cacheness_core::{ErrorKind, Limits};

use crate::cache::CacheSubject;

pub async fn a_limit_holds_after_every_put(subject: &CacheSubject) {
    let cache = subject.open_built(subject.builder().limits(Limits::unbounded().max_entries(20))).await;
    let mut evicted = 0;
    for i in 0..100_u32 {
        evicted += cache.put(&format!("k{i}"), &i).await.unwrap().evicted;
        assert!(cache.total_stats().await.unwrap().entries <= 20);
    }
    assert_eq!(evicted, 80);
    assert_eq!(cache.stats().await.unwrap().counters.evictions, 80);
    assert_eq!(cache.get::<u32, _>("k99").await.unwrap(), Some(99));
}

// shows: row 90
pub async fn the_least_recently_used_goes_first(subject: &CacheSubject) {
    let limits = Limits::unbounded().max_bytes(10_100_000).policy("lru");
    let cache = subject.open_built(subject.builder().limits(limits)).await;
    for i in 0..10_u8 {
        subject.clock.advance(Duration::from_millis(1));
        cache.put(&format!("k{i}"), &vec![i; 1_000_000]).await.unwrap();
    }
    for touched in ["k0", "k1", "k3", "k2"] {
        subject.clock.advance(Duration::from_millis(1));
        assert!(cache.get::<Vec<u8>, _>(touched).await.unwrap().is_some());
    }
    let stored = cache.put("one more", &vec![99_u8; 1_000_000]).await.unwrap();
    assert_eq!(stored.evicted, 1);
    assert!(!cache.contains("k4").await.unwrap(), "k4 was used longest ago");
    for kept in ["k0", "k1", "k2", "k3", "k5", "k9", "one more"] {
        assert!(cache.contains(kept).await.unwrap(), "{kept} should have been kept");
    }
}

pub async fn a_value_over_the_limit_is_refused_and_evicts_nothing(subject: &CacheSubject) {
    let cache = subject.open_built(subject.builder().limits(Limits::unbounded().max_bytes(100_000))).await;
    cache.put("k", &vec![0_u8; 90_000]).await.unwrap();
    let error = cache.put("big", &vec![0_u8; 100_001]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(cache.contains("k").await.unwrap());
    assert_eq!(cache.stats().await.unwrap().counters.evictions, 0);
}

pub async fn a_lower_limit_evicts_at_once(subject: &CacheSubject) {
    let cache = subject.open().await;
    for i in 0..30_u32 {
        subject.clock.advance(Duration::from_millis(1));
        cache.put(&format!("k{i:02}"), &i).await.unwrap();
    }
    let evicted = cache.set_limits(Limits::unbounded().max_entries(5).policy("fifo")).await.unwrap();
    assert_eq!(evicted, 25);
    assert_eq!(cache.stats().await.unwrap().entries, 5);
    for kept in 25..30 {
        assert!(cache.contains(&format!("k{kept}")).await.unwrap(), "the oldest go first");
    }
}
