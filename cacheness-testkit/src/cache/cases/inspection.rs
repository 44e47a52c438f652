//! Looking at entries.

use std::time::Duration;

use cacheness_core::{EntryState, ErrorKind, ListOptions, PutOptions};

use crate::cache::{AnyCache, CacheSubject};

async fn keys(cache: &AnyCache, options: ListOptions) -> Vec<String> {
    let page = cache.list(options).await.unwrap();
    assert!(page.next.is_none(), "one page is enough for these tests");
    page.entries.iter().map(|entry| entry.key.as_str().to_owned()).collect()
}

// shows: rows 15, 16, U1
pub async fn a_listing_shows_every_entry_with_its_state(subject: &CacheSubject) {
    let cache = subject.open().await;
    let path = subject.folder().join("source.csv");
    fs_err::write(&path, "x").unwrap();
    cache.put("manual", "12345").await.unwrap();
    cache.put_with("file", &1, PutOptions::file(&path)).await.unwrap();
    cache.put_with("ttl", &1, PutOptions::ttl(Duration::from_secs(60))).await.unwrap();
    subject.clock.advance(Duration::from_secs(90));
    fs_err::write(&path, "changed").unwrap();
    let page = cache.list(ListOptions::new()).await.unwrap();
    let shown: Vec<_> =
        page.entries.iter().map(|e| (e.key.as_str(), e.is_valid(), e.age.as_secs())).collect();
    assert_eq!(shown, [("file", false, 90), ("manual", true, 90), ("ttl", false, 90)]);
    assert_eq!(page.entries[0].state, EntryState::SourceChanged(path.clone()));
    assert_eq!(page.entries[0].validity.sources[0].path(), path);
    assert_eq!(page.entries[1].size, 5);
    assert!(page.entries[1].validity.sources.is_empty());
    assert_eq!(page.entries[2].state, EntryState::Expired);
}

pub async fn a_listing_comes_in_pages(subject: &CacheSubject) {
    let cache = subject.open().await;
    let names: Vec<String> = (0..25).map(|i| format!("k{i:02}")).collect();
    for name in names.iter().rev() {
        cache.put(name, &1).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut options = ListOptions::new().limit(10);
    loop {
        let page = cache.list(options.clone()).await.unwrap();
        assert!(page.entries.len() <= 10);
        listed.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
        // Removing what was listed does not lose the place.
        cache.remove(listed.last().unwrap()).await.unwrap();
        let Some(next) = page.next else { break };
        options = options.after(next);
    }
    assert_eq!(listed, names);
    for limit in [0, 1001] {
        let error = cache.list(ListOptions::new().limit(limit)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

// shows: rows 48, 86
pub async fn a_listing_filters_by_prefix_and_validity(subject: &CacheSubject) {
    let cache = subject.open().await;
    let soon = || PutOptions::ttl(Duration::from_secs(1));
    for (key, options) in [
        ("api:a", PutOptions::new()),
        ("api:b", soon()),
        ("api%", PutOptions::new()),
        ("app", soon()),
        ("b", PutOptions::new()),
    ] {
        cache.put_with(key, &1, options).await.unwrap();
    }
    subject.clock.advance(Duration::from_secs(1));
    assert_eq!(keys(&cache, ListOptions::new().prefix("api:")).await, ["api:a", "api:b"]);
    assert_eq!(keys(&cache, ListOptions::new().prefix("api%")).await, ["api%"]);
    assert_eq!(keys(&cache, ListOptions::new().valid(true)).await, ["api%", "api:a", "b"]);
    assert_eq!(keys(&cache, ListOptions::new().valid(false)).await, ["api:b", "app"]);
    assert_eq!(keys(&cache, ListOptions::new().prefix("ap").valid(false).limit(5)).await, ["api:b", "app"]);
    assert_eq!(keys(&cache, ListOptions::new().prefix("zzz")).await, Vec::<String>::new());
}

pub async fn contains_and_peek_leave_no_trace(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("k", &1).await.unwrap();
    let before = cache.stats().await.unwrap();
    subject.clock.advance(Duration::from_secs(5));
    assert!(cache.contains("k").await.unwrap());
    assert!(!cache.contains("x").await.unwrap());
    assert_eq!(cache.peek::<i32, _>("k").await.unwrap(), Some(1));
    assert_eq!(cache.peek::<i32, _>("x").await.unwrap(), None);
    let entry = cache.get_entry("k").await.unwrap().unwrap();
    assert_eq!((entry.hits, entry.accessed_at), (0, entry.created_at));
    assert_eq!(cache.stats().await.unwrap(), before);
}

// shows: row 49
pub async fn an_entry_shows_its_uses(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("k", &1).await.unwrap();
    for _ in 0..3 {
        subject.clock.advance(Duration::from_secs(1));
        cache.get::<i32, _>("k").await.unwrap();
    }
    let entry = cache.get_entry("k").await.unwrap().unwrap();
    assert_eq!(entry.hits, 3);
    assert_eq!(entry.accessed_at.since(entry.created_at), Duration::from_secs(3));
    // Long after, the uses have been written down; nothing is counted twice.
    subject.clock.advance(Duration::from_secs(120));
    cache.get::<i32, _>("k").await.unwrap();
    cache.stats().await.unwrap();
    let entry = cache.get_entry("k").await.unwrap().unwrap();
    assert_eq!(entry.hits, 4);
    assert_eq!(entry.accessed_at.since(entry.created_at), Duration::from_secs(123));
}
