//! Pages are bounded in work and in length, whatever there is.

use cacheness_core::{ConfigOptions, Glob, ListQuery, MetadataFactory};
use cacheness_metadata::memory::MemoryMetadataFactory;
use cacheness_testkit::metadata::MetadataSubject;

fn subjects() -> Vec<MetadataSubject> {
    let open =
        |factory: std::sync::Arc<dyn MetadataFactory>| MetadataSubject::shared(factory, ConfigOptions::new());
    #[allow(unused_mut, reason = "without features there is only the first")]
    let mut all = vec![open(std::sync::Arc::new(MemoryMetadataFactory::new()))];
    #[cfg(feature = "sqlite")]
    all.push(open(std::sync::Arc::new(cacheness_metadata::sqlite::SqliteMetadataFactory::new())));
    all
}

#[tokio::test]
async fn a_page_over_very_many_namespaces_ends_after_a_bounded_number_of_them() {
    const COUNT: u64 = 9_000;
    for subject in subjects() {
        let store = subject.open().await;
        let name = |i: u64| format!("{i:05}");
        for part in 0..COUNT / 500 {
            let put = |i| subject.putting(subject.entry(&name(i), &format!("key {i}")));
            store.changes((part * 500..(part + 1) * 500).map(put).collect()).await;
        }
        store.clear_all(&name(0)).await;
        let mut query = ListQuery::new();
        query.filter.glob = Some(Glob::new("*y 8999").unwrap());
        let first = store.list_entries(&query).await.unwrap();
        assert!(first.entries.is_empty() && first.next.is_some(), "it stops before it has looked at all");
        let found = store.list(&query).await;
        assert_eq!(found.iter().map(|entry| entry.namespace.as_str()).collect::<Vec<_>>(), ["08999"]);
        query.filter.glob = Some(Glob::new("*").unwrap());
        for limit in [1_000, 7] {
            query.limit = limit;
            let listed = store.list(&query).await;
            let listed: Vec<_> = listed.iter().map(|entry| entry.namespace.as_str().to_owned()).collect();
            assert_eq!(listed, (1..COUNT).map(name).collect::<Vec<_>>(), "each once, in order");
        }
    }
}

#[tokio::test]
async fn a_page_of_long_records_is_shorter() {
    for subject in subjects() {
        let store = subject.open().await;
        for i in 0..150 {
            let mut entry = subject.entry("default", &format!("{i:03}"));
            entry.custom.insert("text".into(), "x".repeat(64_000).into());
            store.put(entry).await;
        }
        let page = store.list_entries(&ListQuery::new()).await.unwrap();
        assert!((50..100).contains(&page.entries.len()), "{} entries", page.entries.len());
        assert_eq!(store.list(&ListQuery::new()).await.len(), 150);
    }
}
