//! What stands in the store: damage, hostile keys, and what is left behind and taken back.

use cacheness_core::{ErrorKind, ListQuery, MetadataBackend};

use super::super::{WriteBatch, layout};
use super::*;

async fn overwrite(rows: &MemoryStore, key: Bytes, value: Bytes) {
    let batch = WriteBatch { conditions: vec![], changes: vec![(key, Some(value))] };
    assert!(rows.write(batch).await.unwrap());
}

#[tokio::test]
async fn damaged_rows_are_errors_or_entries_and_never_panics() {
    let (store, rows) = open().await;
    let namespace = Namespace::default();
    for location in [Location::Inline(Bytes::from_static(b"inline")), Location::Blob(BlobId::new(at(1)))] {
        let mut entry = entry_in("default", "k", at(1), location);
        entry.validity.expires_at = Some(at(7));
        put(&store, entry).await;
        let (key, whole) = rows_of(&rows, b'e').await.remove(0);
        for cut in 0..whole.len() - 6 {
            overwrite(&rows, key.clone(), whole.slice(..cut)).await;
            let error = store.get_entry(&namespace, "k").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted, "cut at {cut}");
            let page = store.list_entries(&ListQuery::new()).await.unwrap();
            assert_eq!((page.entries.len(), page.damaged.len()), (0, 1), "cut at {cut}");
        }
        for i in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.to_vec();
                flipped[i] ^= 1 << bit;
                overwrite(&rows, key.clone(), flipped.into()).await;
                if let Err(error) = store.get_entry(&namespace, "k").await {
                    assert_eq!(error.kind(), ErrorKind::Corrupted, "byte {i}");
                }
            }
        }
        overwrite(&rows, key, whole).await;
    }
}

#[tokio::test]
async fn a_damaged_entry_can_be_overwritten_and_removed() {
    let (store, rows) = open().await;
    for (heal, condition) in [
        (true, Condition::Always),
        (false, Condition::Always),
        // As a listing names what it cannot decode.
        (false, Condition::Version(cacheness_core::Version(0))),
    ] {
        put(&store, entry("k", at(1))).await;
        let (key, _) = rows_of(&rows, b'e').await.remove(0);
        overwrite(&rows, key, Bytes::from_static(b"?")).await;
        if heal {
            assert!(put(&store, entry("k", at(2))).await.applied);
            assert!(has(&store, "k").await);
        }
        let remove =
            Change::Remove { namespace: Namespace::default(), key: "k".into(), condition, now: at(3) };
        assert!(store.apply(vec![remove]).await.unwrap()[0].applied);
        assert!(!has(&store, "k").await);
        assert_eq!(store.stats(None).await.unwrap().entries, 0);
    }
}

#[tokio::test]
async fn a_damaged_or_newer_head_is_refused() {
    let (store, rows) = open().await;
    let (_, whole) = rows_of(&rows, b'h').await.remove(0);
    for cut in 0..whole.len() {
        overwrite(&rows, layout::HEAD, whole.slice(..cut)).await;
        assert_eq!(
            KvMetadata::open(rows.clone(), &context()).await.err().unwrap().kind(),
            ErrorKind::Corrupted
        );
        assert_eq!(
            store.apply(vec![putting(entry("k", at(1)))]).await.unwrap_err().kind(),
            ErrorKind::Corrupted
        );
    }
    let mut newer = whole.to_vec();
    newer[3] = 2;
    overwrite(&rows, layout::HEAD, newer.into()).await;
    assert_eq!(KvMetadata::open(rows, &context()).await.err().unwrap().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn keys_of_any_bytes_stay_apart_and_sort_by_bytes() {
    let (store, _) = open().await;
    let keys = ["\0", "\0\0", "a", "a\0", "a\0b", "ab", "\u{ff}", "\u{10ffff}", "\u{10ffff}\u{10ffff}"];
    for (i, key) in keys.iter().enumerate().rev() {
        for name in ["n", "n\0", "n\u{10ffff}"] {
            let mut entry = entry_in(name, key, at(1), Location::Inline(Bytes::from(vec![i as u8])));
            entry.tags = vec![name.to_owned()];
            put(&store, entry).await;
        }
    }
    let mut query = ListQuery::new();
    query.limit = 4;
    let mut listed = Vec::new();
    loop {
        let page = store.list_entries(&query).await.unwrap();
        assert!(page.entries.len() <= 4);
        listed.extend(
            page.entries.iter().map(|e| (e.namespace.as_str().to_owned(), e.key.as_str().to_owned())),
        );
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed.len(), 27);
    assert!(listed.is_sorted());
    let mut query = ListQuery::new();
    query.prefix = "a\0".to_owned();
    assert_eq!(store.list_entries(&query).await.unwrap().entries.len(), 6);
    let entry = store.get_entry(&Namespace::new("n\0").unwrap(), "a\0b").await.unwrap().unwrap();
    assert_eq!(
        (entry.location, &*entry.tags),
        (Location::Inline(Bytes::from_static(&[4])), &["n\0".to_owned()][..])
    );
}

#[tokio::test]
async fn clear_leaves_rows_that_later_writes_take_back() {
    let (store, rows) = open().await;
    let entries = (0..100).map(|i| putting(entry(&i.to_string(), at(i)))).collect();
    store.apply(entries).await.unwrap();
    let before = store.stats(None).await.unwrap();
    assert_eq!(before.oldest_entry, Some(at(0)));
    assert_eq!(store.clear(&Namespace::default()).await.unwrap(), 100);
    let stats = store.stats(None).await.unwrap();
    assert_eq!((stats.entries, stats.stored_bytes, stats.oldest_entry), (0, 0, None));
    assert_eq!(stats.garbage_bytes, 1000);
    assert_eq!(rows_of(&rows, b'e').await.len(), 100);
    for i in 0..10 {
        put(&store, entry(&i.to_string(), at(i))).await;
    }
    assert_eq!(rows_of(&rows, b'e').await.len(), 10);
    assert_eq!(rows_of(&rows, b'd').await.len(), 0);
    let due = store.due_garbage(Timestamp::MAX, usize::MAX).await.unwrap();
    assert_eq!(due.len(), 100);
    store.forget_garbage(&due).await.unwrap();
    assert_eq!(store.stats(None).await.unwrap().garbage_bytes, 0);
    assert_eq!(rows_of(&rows, b'b').await.len() + rows_of(&rows, b'g').await.len(), 0);
}

#[tokio::test]
async fn the_blob_of_an_entry_that_is_put_again_is_no_garbage() {
    let (store, _) = open().await;
    put(&store, entry("k", at(1))).await;
    let mut again = store.get_entry(&Namespace::default(), "k").await.unwrap().unwrap();
    again.tags = vec!["tag".to_owned()];
    put(&store, again).await;
    assert_eq!(store.due_garbage(at(1000), 10).await.unwrap(), []);
    assert_eq!(store.stats(None).await.unwrap().garbage_bytes, 0);
}

#[tokio::test]
async fn purge_removes_exactly_what_it_may_and_says_whether_there_is_more() {
    let (store, _) = open().await;
    let entries = (0..1200).map(|i| {
        let mut entry = entry(&format!("{i:04}"), at(1));
        entry.validity.expires_at = Some(at(i));
        putting(entry)
    });
    store.apply(entries.collect()).await.unwrap();
    let purged = store.purge(at(999), 600).await.unwrap();
    assert_eq!((purged.expired, purged.reclaimed, purged.more), (600, 0, true));
    let purged = store.purge(at(999), 400).await.unwrap();
    assert_eq!((purged.expired, purged.more), (400, false));
    assert_eq!(store.stats(None).await.unwrap().entries, 200);
    assert!(store.purge(at(1000), 0).await.unwrap().more);
}

#[tokio::test]
async fn a_closed_backend_says_so() {
    let (store, _) = open().await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.get_entry(&Namespace::default(), "k").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.apply(vec![]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.purge(at(1), 1).await.unwrap_err().kind(), ErrorKind::Closed);
}
