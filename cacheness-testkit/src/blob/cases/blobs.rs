//! Single blobs: put, get, exists and delete.

use cacheness_core::{BlobSource, CacheId};

use crate::blob::{BlobStore, BlobSubject, read};

/// A length that takes a store on another machine several requests, of 8 MiB or so each.
fn large(store: &BlobStore) -> usize {
    if store.capabilities().local { 5 * 1024 * 1024 + 3 } else { 17 * 1024 * 1024 + 3 }
}

pub async fn a_put_blob_comes_back(subject: &BlobSubject) {
    let store = subject.open().await;
    for len in [1, 63, 64, 4096, 65_537] {
        let (key, bytes) = (subject.key(), subject.bytes(len, len as u64));
        assert!(!store.has(&key).await, "a blob is not there before it is put");
        store.put_bytes(&key, &bytes).await;
        assert!(store.has(&key).await, "a blob is there when its put returns");
        assert!(
            store.bytes(&key).await.as_deref() == Some(&bytes),
            "a blob of {len} bytes comes back as it was put"
        );
        assert!(store.bytes(&key).await.as_deref() == Some(&bytes), "a blob can be read again");
    }
}

pub async fn a_blob_of_no_bytes_is_a_blob(subject: &BlobSubject) {
    let store = subject.open().await;
    let (from_memory, from_file) = (subject.key(), subject.key());
    store.put_bytes(&from_memory, b"").await;
    store.store(&from_file, BlobSource::File(subject.staged(&store, b""))).await;
    for key in [from_memory, from_file] {
        assert!(store.has(&key).await, "a blob of no bytes is there");
        assert_eq!(store.bytes(&key).await, Some(Vec::new()), "a blob of no bytes is no missing one");
        assert_eq!(store.range(&key, 0..10).await.as_deref(), Some(&b""[..]), "and has ranges of no bytes");
    }
    assert_eq!(store.list(subject.cache(), 10).await.len(), 2, "blobs of no bytes are listed");
}

pub async fn a_large_blob_comes_back_from_memory(subject: &BlobSubject) {
    let store = subject.open().await;
    let (key, bytes) = (subject.key(), subject.bytes(large(&store), 1));
    store.put_bytes(&key, &bytes).await;
    assert!(
        store.bytes(&key).await.as_deref() == Some(&bytes),
        "a large blob from memory comes back as it was put"
    );
}

pub async fn a_large_blob_comes_back_from_a_staged_file(subject: &BlobSubject) {
    let store = subject.open().await;
    let (key, bytes) = (subject.key(), subject.bytes(large(&store), 2));
    store.store(&key, BlobSource::File(subject.staged(&store, &bytes))).await;
    assert!(
        store.bytes(&key).await.as_deref() == Some(&bytes),
        "a large blob from a staged file comes back as it was put"
    );
    let range = store.range(&key, 262_143..262_146).await;
    assert_eq!(range.as_deref(), Some(&bytes[262_143..262_146]), "a blob from a staged file has ranges");
}

pub async fn a_staged_file_leaves_nothing_behind(subject: &BlobSubject) {
    let store = subject.open().await;
    let staged = subject.staged(&store, b"value");
    let path = staged.path().to_owned();
    store.store(&subject.key(), BlobSource::File(staged)).await;
    assert!(!path.exists(), "a staged file is moved, or deletes itself: {} is still there", path.display());
}

pub async fn a_missing_blob_is_none_and_not_an_error(subject: &BlobSubject) {
    let store = subject.open().await;
    for put_another in [false, true] {
        if put_another {
            store.put_bytes(&subject.key(), b"another").await;
        }
        let key = subject.key();
        assert!(store.open_blob(&key).await.is_none(), "get of a missing blob is None");
        assert!(!store.has(&key).await, "exists of a missing blob is false");
        assert!(!store.remove(&key).await, "delete of a missing blob is false");
    }
}

pub async fn a_deleted_blob_is_gone(subject: &BlobSubject) {
    let store = subject.open().await;
    let (key, other) = (subject.key(), subject.key());
    store.put_bytes(&key, b"value").await;
    store.put_bytes(&other, b"other").await;
    assert!(store.remove(&key).await, "delete of a blob that is there is true");
    assert!(!store.has(&key).await, "a deleted blob does not exist");
    assert!(store.open_blob(&key).await.is_none(), "a deleted blob is not found");
    assert!(!store.remove(&key).await, "a second delete finds nothing");
    assert_eq!(
        store.bytes(&other).await.as_deref(),
        Some(&b"other"[..]),
        "a delete leaves other blobs alone"
    );
}

pub async fn an_open_blob_stays_readable_when_it_is_deleted(subject: &BlobSubject) {
    let store = subject.open().await;
    let bytes = subject.bytes(300_000, 3);
    for from_file in [false, true] {
        let key = subject.key();
        if from_file {
            store.store(&key, BlobSource::File(subject.staged(&store, &bytes))).await;
        } else {
            store.put_bytes(&key, &bytes).await;
        }
        let open = store.open_blob(&key).await.expect("a blob that was put is found");
        assert!(store.remove(&key).await, "an open blob can be deleted");
        assert!(read(open) == bytes, "an open blob stays readable when it is deleted");
    }
}

pub async fn two_caches_do_not_touch_each_other(subject: &BlobSubject) {
    let store = subject.open().await;
    let mine = subject.key();
    let mut theirs = mine;
    theirs.cache = CacheId::random();
    store.put_bytes(&mine, b"mine").await;
    assert!(!store.has(&theirs).await, "the same blob id in another cache is another blob");
    assert!(!store.remove(&theirs).await, "a delete in another cache finds nothing");
    store.put_bytes(&theirs, b"theirs").await;
    assert_eq!(
        store.bytes(&mine).await.as_deref(),
        Some(&b"mine"[..]),
        "a put in another cache changes nothing here"
    );
    assert!(store.remove(&mine).await, "the blob is there");
    assert_eq!(
        store.bytes(&theirs).await.as_deref(),
        Some(&b"theirs"[..]),
        "a delete here changes nothing there"
    );
}

pub async fn blobs_are_there_after_a_reopen(subject: &BlobSubject) {
    let store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    let blobs: Vec<_> = (0..20).map(|i| (subject.key(), subject.bytes(i * 10_000, i as u64))).collect();
    for (i, (key, bytes)) in blobs.iter().enumerate() {
        if i % 2 == 0 {
            store.put_bytes(key, bytes).await;
        } else {
            store.store(key, BlobSource::File(subject.staged(&store, bytes))).await;
        }
    }
    let store = subject.reopen(store).await;
    for (key, bytes) in &blobs {
        assert!(store.bytes(key).await.as_deref() == Some(bytes), "a blob is the same after a reopen");
    }
    assert_eq!(store.list(subject.cache(), 7).await.len(), 20, "all blobs are listed after a reopen");
}

pub async fn a_deleted_blob_stays_gone_after_a_reopen(subject: &BlobSubject) {
    let store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    let key = subject.key();
    store.put_bytes(&key, b"value").await;
    store.remove(&key).await;
    let store = subject.reopen(store).await;
    assert!(!store.has(&key).await, "a deleted blob does not come back");
}

pub async fn a_staged_file_that_is_dropped_is_no_blob(subject: &BlobSubject) {
    let store = subject.open().await;
    let staged = subject.staged(&store, b"never put");
    assert!(store.list(subject.cache(), 10).await.is_empty(), "a staged file is not listed as a blob");
    drop(staged);
    let store = subject.reopen(store).await;
    assert!(
        store.list(subject.cache(), 10).await.is_empty(),
        "a staged file that was dropped leaves no blob"
    );
}

pub async fn closing_twice_is_allowed(subject: &BlobSubject) {
    let store = subject.open().await;
    store.close().await.expect("close failed");
    store.close().await.expect("a second close is allowed and does nothing");
}
