//! Puts that are repeated after others have cleared, and a schema that is made anew under an open process.

use cacheness_core::{ErrorKind, GARBAGE_DELAY, Namespace};

use super::server::{client, fresh, lock_of, store, subject, url};

#[tokio::test]
async fn a_put_that_is_repeated_after_a_clear_keeps_its_blob() {
    for (drops, taken_back) in [(false, false), (true, false), (false, true), (true, true)] {
        let subject = subject(&fresh());
        let store = subject.open().await;
        let (entry, name) = (subject.entry("default", "k"), Namespace::default());
        store.put(entry.clone()).await;
        store.put(subject.entry("default", "other")).await;
        if drops {
            store.drop_namespace(&name).await.unwrap();
        } else {
            store.clear_all("default").await;
        }
        if taken_back {
            store.purge_all(subject.now()).await;
        }
        store.put(entry.clone()).await;
        store.purge_all(subject.now()).await;
        let due = store.due(subject.now() + GARBAGE_DELAY + GARBAGE_DELAY).await;
        assert!(!due.contains(&entry.blob_id().unwrap()), "{drops} {taken_back}: a live blob is garbage");
        let garbage = store.total().await.garbage_bytes;
        assert_eq!((due.len(), garbage), (1, 10), "{drops} {taken_back}: that of the other entry");
        assert!(store.unnamed(&[entry.blob_id().unwrap()]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_schema_that_was_made_anew_is_another_cache() {
    let options = fresh();
    let (before, subject) = (store(&options).await, subject(&options));
    before.put(subject.entry("default", "k")).await;
    let admin = client(&url()).await;
    let (schema, _) = lock_of(&admin, &options).await;
    admin.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    let after = store(&options).await;
    assert_ne!(after.cache_id(), before.cache_id());
    let there = after.put(subject.entry("default", "k")).await.version.unwrap();
    let name = Namespace::default();
    let (blob, now) = (cacheness_core::BlobId::new(subject.now()), subject.now());
    let refused = [
        before.apply(vec![subject.putting(subject.entry("default", "k"))]).await.map(drop),
        before.get_entry(&name, "k").await.map(drop),
        before.list_entries(&cacheness_core::ListQuery::new()).await.map(drop),
        before.clear(&name).await.map(drop),
        before.condemn(&[blob], now).await,
        before.unnamed(&[blob]).await.map(drop),
        before.due_garbage(now, 9).await.map(drop),
        before.forget_garbage(&[blob]).await,
        before.stats(None).await.map(drop),
        before.purge(now, 9).await.map(drop),
        before.change_limits(None, &cacheness_core::LimitsChange::new()).await.map(drop),
    ];
    for (at, result) in refused.into_iter().enumerate() {
        let error = result.expect_err(&format!("call {at}"));
        assert_eq!(error.kind(), ErrorKind::NotFound, "call {at}: {error}");
        assert!(error.to_string().contains("open the cache again"), "call {at}: {error}");
    }
    assert_eq!(after.version("default", "k").await, there);
}
