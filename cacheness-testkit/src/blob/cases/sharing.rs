//! Several tasks on one backend, and several backends on one folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cacheness_core::BlobSource;

use crate::blob::BlobSubject;

/// Waits for tasks, and hands on the panic of one that failed.
async fn finish<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks {
        match task.await {
            Ok(result) => results.push(result),
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
    results
}

pub async fn concurrent_puts_and_gets_do_not_mix_blobs(subject: &BlobSubject) {
    let store = subject.open().await;
    let tasks = (0..8)
        .map(|task| {
            let store = store.clone();
            let blobs: Vec<_> =
                (0..25).map(|i| (subject.key(), subject.bytes(i * 1000, task * 100 + i as u64))).collect();
            tokio::spawn(async move {
                for (key, bytes) in &blobs {
                    store.put_bytes(key, bytes).await;
                }
                for (key, bytes) in &blobs {
                    assert!(
                        store.bytes(key).await.as_deref() == Some(bytes),
                        "each blob is the one put under its key"
                    );
                }
            })
        })
        .collect();
    finish(tasks).await;
    assert_eq!(store.list(subject.cache(), 33).await.len(), 200, "all blobs of concurrent puts are listed");
}

pub async fn a_put_is_not_visible_before_it_is_complete(subject: &BlobSubject) {
    let store = subject.open().await;
    for round in 0..10 {
        let (key, bytes) = (subject.key(), subject.bytes(4 * 1024 * 1024, round));
        let done = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (store, bytes, done) = (store.clone(), bytes.clone(), done.clone());
            async move {
                loop {
                    let last = done.load(Ordering::SeqCst);
                    let listed = store.list(key.cache, 1000).await.contains(&key.blob);
                    match store.bytes(&key).await {
                        Some(got) => assert!(
                            got == bytes,
                            "get never finds a part of a blob; {} bytes came",
                            got.len()
                        ),
                        None => {
                            assert!(!last, "a blob is found when its put has returned");
                            assert!(!listed || store.has(&key).await, "a blob that is listed can be read");
                        }
                    }
                    if last {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        let source = match round % 2 {
            0 => BlobSource::Bytes(bytes),
            _ => BlobSource::File(subject.staged(&store, &bytes)),
        };
        store.store(&key, source).await;
        done.store(true, Ordering::SeqCst);
        finish(vec![reader]).await;
    }
}

pub async fn of_concurrent_deletes_nothing_breaks(subject: &BlobSubject) {
    let store = subject.open().await;
    for _ in 0..10 {
        let key = subject.key();
        store.put_bytes(&key, b"value").await;
        let tasks = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.remove(&key).await })
            })
            .collect();
        let deleted = finish(tasks).await;
        assert!(deleted.contains(&true), "one of the deletes finds the blob");
        assert!(!store.has(&key).await, "the blob is gone");
    }
}

pub async fn two_that_are_open_see_each_others_blobs(subject: &BlobSubject) {
    let one = subject.open().await;
    if !one.capabilities().persistent {
        return;
    }
    let two = subject.open().await;
    let key = subject.key();
    one.put_bytes(&key, b"value").await;
    assert_eq!(two.bytes(&key).await.as_deref(), Some(&b"value"[..]), "a blob is seen at once by the other");
    assert!(two.list(subject.cache(), 10).await.contains(&key.blob), "a blob is listed at once by the other");
    assert!(two.remove(&key).await, "a blob can be deleted by the other");
    assert!(one.open_blob(&key).await.is_none(), "a deletion is seen at once by the other");
    one.close().await.expect("close failed");
    let key = subject.key();
    two.put_bytes(&key, b"value").await;
    assert!(two.has(&key).await, "closing one leaves the other working");
}
