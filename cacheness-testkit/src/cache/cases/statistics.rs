//! Statistics.

use std::time::Duration;

use cacheness_core::PutOptions;

use crate::cache::CacheSubject;

// shows: rows 7, 17, U2
pub async fn every_event_is_counted(subject: &CacheSubject) {
    let cache = subject.open().await;
    assert_eq!(cache.stats().await.unwrap().oldest_entry, None);
    let first = subject.clock.env().now();
    cache.put("a", "12345").await.unwrap();
    subject.clock.advance(Duration::from_secs(10));
    cache.put("b", &vec![0_u8; 50_000]).await.unwrap();
    cache.get::<String, _>("a").await.unwrap();
    cache.get::<Vec<u8>, _>("b").await.unwrap();
    cache.get::<String, _>("c").await.unwrap();
    let stats = cache.stats().await.unwrap();
    let counters = stats.counters;
    assert_eq!((counters.puts, counters.hits, counters.misses), (2, 2, 1));
    assert_eq!((counters.bytes_in, counters.bytes_out), (50_005, 50_005));
    assert_eq!((stats.entries, stats.stored_bytes, stats.oldest_entry), (2, 50_005, Some(first)));
    assert_eq!(stats.hit_rate(), Some(2.0 / 3.0));
    cache.remove("a").await.unwrap();
    let stats = cache.stats().await.unwrap();
    assert_eq!((stats.entries, stats.stored_bytes, stats.counters.removals), (1, 50_000, 1));
    assert_eq!(stats.oldest_entry, Some(first + Duration::from_secs(10)));
    cache.put("b", "short").await.unwrap();
    let total = cache.total_stats().await.unwrap();
    assert_eq!((total.entries, total.stored_bytes), (1, 5));
    // Where all lies in memory, the replaced blob is deleted at once.
    assert!(
        total.garbage_bytes >= 50_000 || total.garbage_bytes == 0,
        "the replaced blob is garbage, apart from what is stored; {} bytes are",
        total.garbage_bytes
    );
    subject.clock.advance(Duration::from_secs(61));
    cache.purge().await.unwrap();
    assert_eq!(cache.total_stats().await.unwrap().garbage_bytes, 0);
}

pub async fn totals_add_up_over_namespaces(subject: &CacheSubject) {
    let cache = subject.open().await;
    let other = cache.namespace("other").unwrap();
    cache.put("k", &1).await.unwrap();
    other.put("k", &1).await.unwrap();
    other.get::<i32, _>("k").await.unwrap();
    other.get::<i32, _>("x").await.unwrap();
    cache.get::<i32, _>("x").await.unwrap();
    let total = cache.total_stats().await.unwrap();
    assert_eq!(
        (total.entries, total.counters.puts, total.counters.hits, total.counters.misses),
        (2, 2, 1, 2)
    );
}

pub async fn a_reset_starts_counting_anew(subject: &CacheSubject) {
    let cache = subject.open().await;
    let other = cache.namespace("other").unwrap();
    cache.put("k", &1).await.unwrap();
    cache.get::<i32, _>("k").await.unwrap();
    other.get::<i32, _>("k").await.unwrap();
    cache.reset_stats().await.unwrap();
    let stats = cache.stats().await.unwrap();
    assert!(stats.counters.is_zero());
    assert_eq!(stats.hit_rate(), None);
    assert_eq!(stats.entries, 1);
    assert_eq!(other.stats().await.unwrap().counters.misses, 1);
}

// shows: row 18
pub async fn statistics_survive_a_reopening(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_with("k", &1, PutOptions::new()).await.unwrap();
    let persistent = {
        let second = subject.open().await;
        second.get::<i32, _>("k").await.unwrap().is_some()
    };
    if !persistent {
        return;
    }
    cache.get::<i32, _>("k").await.unwrap();
    cache.get::<i32, _>("missing").await.unwrap();
    drop(cache);
    let cache = subject.open().await;
    let counters = cache.stats().await.unwrap().counters;
    assert_eq!(
        (counters.puts, counters.hits, counters.misses),
        (1, 2, 1),
        "two caches have counted together"
    );
}

// shows: row U9
pub async fn a_clear_keeps_the_counters(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("k", &1).await.unwrap();
    cache.get::<i32, _>("k").await.unwrap();
    cache.clear().await.unwrap();
    cache.get::<i32, _>("k").await.unwrap();
    let counters = cache.stats().await.unwrap().counters;
    assert_eq!((counters.puts, counters.hits, counters.misses), (1, 1, 1));
}
