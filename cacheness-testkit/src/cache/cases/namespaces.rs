//! Namespaces: nothing crosses them.

use cacheness_core::{ErrorKind, ListOptions};

use crate::cache::CacheSubject;

// shows: rows 8, 24-26, 72, 88, U50, U57
pub async fn namespaces_do_not_see_each_other(subject: &CacheSubject) {
    let cache = subject.open().await;
    let (a, b) = (cache.namespace("a").unwrap(), cache.namespace("b").unwrap());
    a.put("k", "of a").await.unwrap();
    b.put("k", "of b").await.unwrap();
    b.put("only b", &1).await.unwrap();
    assert_eq!(a.get::<String, _>("k").await.unwrap().as_deref(), Some("of a"));
    assert_eq!(b.get::<String, _>("k").await.unwrap().as_deref(), Some("of b"));
    assert_eq!(a.get::<i32, _>("only b").await.unwrap(), None);
    assert!(!a.remove("only b").await.unwrap());
    assert_eq!(a.list(ListOptions::new()).await.unwrap().entries.len(), 1);
    let counters = a.stats().await.unwrap().counters;
    assert_eq!((counters.hits, counters.misses, counters.puts), (1, 1, 1));
    let counters = b.stats().await.unwrap().counters;
    assert_eq!((counters.hits, counters.misses, counters.puts), (1, 0, 2));
    // Names that would be one if they were joined by a separator.
    let (one, other) = (cache.namespace("x").unwrap(), cache.namespace("x:y").unwrap());
    one.put("y:z", &1).await.unwrap();
    other.put("z", &2).await.unwrap();
    assert_eq!(one.get::<i32, _>("y:z").await.unwrap(), Some(1));
    assert_eq!(other.get::<i32, _>("z").await.unwrap(), Some(2));
}

// shows: row U11
pub async fn any_text_is_a_namespace(subject: &CacheSubject) {
    let cache = subject.open().await;
    let long = "n".repeat(255);
    for name in ["../../evil", "a/b", "\0", "%", "'; --", "\u{1F980}", long.as_str()] {
        let namespace = cache.namespace(name).unwrap();
        namespace.put("k", &name.to_owned()).await.unwrap();
        assert_eq!(namespace.get::<String, _>("k").await.unwrap().as_deref(), Some(name));
    }
    assert_eq!(cache.namespaces().await.unwrap().len(), 7);
    assert_eq!(cache.namespace("").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(cache.namespace(&"n".repeat(256)).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert!(!subject.folder().join("evil").exists() && !subject.folder().join("../evil").exists());
}

// shows: rows 27, 29, U3
pub async fn clear_empties_one_namespace_and_says_how_many(subject: &CacheSubject) {
    let cache = subject.open().await;
    let other = cache.namespace("other").unwrap();
    for i in 0..7 {
        cache.put(&format!("k{i}"), &vec![i as u8; i * 20_000]).await.unwrap();
    }
    other.put("k1", &1).await.unwrap();
    assert_eq!(cache.clear().await.unwrap(), 7);
    assert_eq!(cache.clear().await.unwrap(), 0);
    assert_eq!(cache.get::<Vec<u8>, _>("k1").await.unwrap(), None);
    assert_eq!(other.get::<i32, _>("k1").await.unwrap(), Some(1));
    let stats = cache.stats().await.unwrap();
    assert_eq!((stats.entries, stats.stored_bytes), (0, 0));
    cache.put("k1", "again").await.unwrap();
    cache.purge().await.unwrap();
    assert_eq!(cache.get::<String, _>("k1").await.unwrap().as_deref(), Some("again"));
    assert_eq!(cache.stats().await.unwrap().entries, 1);
}

pub async fn a_dropped_namespace_is_gone(subject: &CacheSubject) {
    let cache = subject.open().await;
    let gone = cache.namespace("gone").unwrap();
    gone.put("k", &1).await.unwrap();
    gone.get::<i32, _>("k").await.unwrap();
    assert_eq!(cache.drop_namespace("gone").await.unwrap(), Some(1));
    assert_eq!(cache.drop_namespace("gone").await.unwrap(), None);
    assert!(cache.namespaces().await.unwrap().iter().all(|name| name.as_str() != "gone"));
    assert_eq!(gone.get::<i32, _>("k").await.unwrap(), None);
    gone.put("k", &2).await.unwrap();
    assert_eq!(gone.get::<i32, _>("k").await.unwrap(), Some(2));
    let counters = gone.stats().await.unwrap().counters;
    assert_eq!((counters.hits, counters.puts), (1, 1), "it has started anew");
}

// shows: rows 28, 30-33
pub async fn twenty_namespaces_are_listed_counted_and_cleared(subject: &CacheSubject) {
    let cache = subject.open().await;
    for i in 0..20 {
        let namespace = cache.namespace(&format!("plugin-{i:02}")).unwrap();
        for k in 0..=i {
            namespace.put(&format!("k{k}"), &k).await.unwrap();
        }
    }
    let names = cache.namespaces().await.unwrap();
    assert_eq!(names.len(), 20);
    assert!(names.is_sorted());
    let listed = cache.list(ListOptions::new().all_namespaces()).await.unwrap().entries;
    assert_eq!(listed.len(), 210);
    assert!(listed.is_sorted_by_key(|entry| (entry.namespace.clone(), entry.key.clone())));
    let total = cache.total_stats().await.unwrap();
    let mut sum = (0, 0);
    for (i, name) in names.iter().enumerate() {
        let namespace = cache.namespace(name.as_str()).unwrap();
        let stats = namespace.stats().await.unwrap();
        assert_eq!(stats.entries, i as u64 + 1);
        sum = (sum.0 + stats.entries, sum.1 + stats.stored_bytes);
        assert_eq!(namespace.clear().await.unwrap(), i as u64 + 1);
    }
    assert_eq!(sum, (total.entries, total.stored_bytes));
    assert_eq!(cache.total_stats().await.unwrap().entries, 0);
}
