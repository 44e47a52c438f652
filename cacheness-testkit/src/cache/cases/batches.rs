//! Several keys in one call.

use cacheness_core::{ErrorKind, PutOptions};

use crate::cache::CacheSubject;

pub async fn many_values_are_put_got_and_removed_at_once(subject: &CacheSubject) {
    let cache = subject.open().await;
    let values: Vec<Vec<u8>> = (0..20_u8).map(|i| vec![i; usize::from(i) * 5_000]).collect();
    let batch = values.iter().enumerate().map(|(i, value)| (format!("k{i}"), value)).collect();
    let stored = cache.put_many(batch, PutOptions::new().tag("batch")).await.unwrap();
    assert_eq!(stored.len(), 20);
    assert!(stored.is_sorted_by_key(|stored| stored.version));
    let found: Vec<Option<Vec<u8>>> = cache.get_many(&["k3", "missing", "k19", "k0", "k3"]).await.unwrap();
    let expected =
        [Some(3), None, Some(19), Some(0), Some(3)].map(|i: Option<usize>| i.map(|i| values[i].clone()));
    assert!(found == expected, "the answers stand in the order of the keys");
    let counters = cache.stats().await.unwrap().counters;
    assert_eq!((counters.puts, counters.hits, counters.misses), (20, 4, 1));
    assert_eq!(cache.remove_many(&["k3", "missing", "k4"]).await.unwrap(), 2);
    assert_eq!(cache.remove_many(&[]).await.unwrap(), 0);
    assert_eq!(cache.stats().await.unwrap().entries, 18);
    assert_eq!(cache.get_entry("k0").await.unwrap().unwrap().tags, ["batch"]);
}

pub async fn a_batch_with_a_bad_value_stores_nothing(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("a", "before").await.unwrap();
    let batch = vec![("a".to_owned(), &1), (String::new(), &2)];
    assert_eq!(cache.put_many(batch, PutOptions::new()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(cache.get::<String, _>("a").await.unwrap().as_deref(), Some("before"));
    assert_eq!(cache.get_many::<i32, _>(&["a", ""]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
