//! Listings of a cache's blobs.

use std::collections::BTreeSet;

use cacheness_core::{BlobId, CacheId};

use crate::blob::{BlobStore, BlobSubject};

async fn fill(subject: &BlobSubject, store: &BlobStore, cache: CacheId, count: usize) -> BTreeSet<BlobId> {
    let mut blobs = BTreeSet::new();
    for i in 0..count {
        let key = subject.key_of(cache);
        store.put_bytes(&key, &subject.bytes(i, i as u64)).await;
        blobs.insert(key.blob);
    }
    blobs
}

pub async fn a_listing_has_each_blob_once_whatever_the_page(subject: &BlobSubject) {
    let store = subject.open().await;
    let blobs = fill(subject, &store, subject.cache(), 60).await;
    for limit in [1, 7, 59, 60, 61, 1000] {
        assert_eq!(store.list(subject.cache(), limit).await, blobs, "pages of {limit} have each blob once");
    }
}

pub async fn a_listing_has_only_the_blobs_of_its_cache(subject: &BlobSubject) {
    let store = subject.open().await;
    let other = CacheId::random();
    let mine = fill(subject, &store, subject.cache(), 10).await;
    let theirs = fill(subject, &store, other, 12).await;
    for limit in [3, 100] {
        assert_eq!(store.list(subject.cache(), limit).await, mine, "another cache's blobs are not listed");
        assert_eq!(store.list(other, limit).await, theirs, "each cache lists its own blobs");
    }
}

pub async fn an_empty_cache_lists_nothing(subject: &BlobSubject) {
    let store = subject.open().await;
    assert!(store.list(subject.cache(), 10).await.is_empty(), "a new store has no blobs");
    fill(subject, &store, CacheId::random(), 3).await;
    assert!(store.list(subject.cache(), 10).await.is_empty(), "a cache without blobs lists none");
}

pub async fn blobs_deleted_while_listing_do_not_hide_others(subject: &BlobSubject) {
    let store = subject.open().await;
    let blobs = fill(subject, &store, subject.cache(), 50).await;
    let mut seen = BTreeSet::new();
    let mut after: Option<String> = None;
    for _ in 0..1000 {
        let page = store.list_keys(subject.cache(), after.as_deref(), 4).await.expect("list_keys failed");
        for blob in page.blobs {
            assert!(seen.insert(blob), "a listing has each blob once, also while others are deleted");
            assert!(
                store.remove(&cacheness_core::BlobKey { cache: subject.cache(), blob }).await,
                "a listed blob is there"
            );
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, blobs, "a sweep that deletes what it was shown still sees every blob");
    assert!(store.list(subject.cache(), 10).await.is_empty(), "all blobs were deleted");
}

pub async fn a_store_knows_the_caches_that_were_introduced_to_it_and_no_others(subject: &BlobSubject) {
    let store = subject.open().await;
    let (mine, other) = (subject.cache(), CacheId::random());
    if store.knows(other).await.unwrap() {
        assert!(store.knows(mine).await.unwrap(), "a store that does not tell them apart knows all caches");
        return;
    }
    // To have its blobs is not to know a cache: they may have been put into what only seemed to be its store.
    let blobs = fill(subject, &store, mine, 3).await;
    assert!(!store.knows(mine).await.unwrap(), "a cache is not known before it is introduced");
    for _ in 0..2 {
        store.introduce(mine).await.unwrap();
        assert!(store.knows(mine).await.unwrap(), "a cache is known once it was introduced");
    }
    assert!(!store.knows(other).await.unwrap(), "no other cache is");
    assert_eq!(store.list(mine, 1).await, blobs, "what is noted of a cache is none of its blobs");
    let store = subject.reopen(store).await;
    assert!(store.knows(mine).await.unwrap(), "it is known after a reopen");
}
