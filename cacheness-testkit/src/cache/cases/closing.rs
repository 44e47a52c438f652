//! Closing and opening again.

use std::time::Duration;

use cacheness_core::{ErrorKind, ListOptions, PutOptions};

use crate::cache::CacheSubject;

// shows: row 65
pub async fn a_closed_cache_says_so(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("k", &1).await.unwrap();
    cache.close().await.unwrap();
    cache.close().await.unwrap();
    assert_eq!(cache.get::<i32, _>("k").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.put("k", &1).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.list(ListOptions::new()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.stats().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(cache.clone().clear().await.unwrap_err().kind(), ErrorKind::Closed);
}

// shows: rows 1, 2, 70
pub async fn entries_survive_a_reopening(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("probe", &vec![1_u8; 100_000]).await.unwrap();
    if subject.open().await.get::<Vec<u8>, _>("probe").await.unwrap().is_none() {
        return; // Not a persistent cache.
    }
    let large = vec![7_u8; 200_000];
    let options = PutOptions::ttl(Duration::from_secs(3600)).tag("t").custom("n", 1);
    cache.put_with("small", "text", options).await.unwrap();
    cache.put("large", &large).await.unwrap();
    let before = cache.get_entry("small").await.unwrap().unwrap();
    cache.close().await.unwrap();
    let cache = subject.open().await;
    assert_eq!(cache.get_entry("small").await.unwrap().unwrap(), before);
    assert_eq!(cache.get::<String, _>("small").await.unwrap().as_deref(), Some("text"));
    assert!(cache.get::<Vec<u8>, _>("large").await.unwrap().as_ref() == Some(&large));
}
