//! Sweeping: which blobs no entry names, and that none comes to name one that was swept away.

use std::time::Duration;

use cacheness_core::{BlobId, CONDEMNED_FOR, Change, Condition, ErrorKind};

use crate::metadata::MetadataSubject;
use crate::metadata::Store;
use crate::metadata::subject::namespace;

pub async fn a_blob_is_unnamed_when_neither_an_entry_nor_the_garbage_has_it(subject: &MetadataSubject) {
    let store = subject.open().await;
    if cannot(subject, &store).await {
        return;
    }
    let entries = ["live", "replaced", "removed", "cleared"].map(|key| subject.entry("default", key));
    let blobs = entries.clone().map(|entry| entry.blob_id().expect("sample entries lie in blobs"));
    let stray = BlobId::new(subject.now());
    let asked: Vec<BlobId> = blobs.iter().copied().chain([stray]).collect();
    assert_eq!(store.unnamed(&asked).await.expect("unnamed"), asked, "nothing is put yet");
    let mut cleared = entries[3].clone();
    cleared.namespace = namespace("other");
    for entry in entries[..3].iter().cloned().chain([cleared]) {
        store.put(entry).await;
    }
    store.put(subject.entry("default", "replaced")).await;
    store.remove_if("default", "removed", Condition::Always, subject.now()).await;
    store.clear_all("other").await;
    assert_eq!(store.unnamed(&asked).await.expect("unnamed"), [stray]);
    assert!(store.unnamed(&[]).await.expect("of none").is_empty());
}

pub async fn an_entry_cannot_name_a_blob_that_was_swept_away(subject: &MetadataSubject) {
    let store = subject.open().await;
    if cannot(subject, &store).await {
        return;
    }
    let late = subject.entry("default", "late");
    let blob = late.blob_id().expect("sample entries lie in blobs");
    store.put(subject.entry("default", "late")).await;
    let before = store.version("default", "late").await;
    store.condemn(&[blob], subject.now()).await.expect("condemn");
    let put =
        |entry| Change::Put { entry: Box::new(entry), condition: Condition::Always, now: subject.now() };
    let refused = store.apply(vec![put(subject.entry("default", "beside")), put(late.clone())]).await;
    assert_eq!(refused.expect_err("the blob is gone").kind(), ErrorKind::Conflict);
    assert_eq!(store.version("default", "late").await, before, "the refused put changed nothing");
    assert!(!store.has("default", "beside").await, "nor did the rest of its batch");
    store.put(subject.entry("default", "beside")).await;

    // It is forgotten after a time, by which no writer can be on its way any more.
    subject.wait(CONDEMNED_FOR + Duration::from_secs(1));
    store.condemn(&[BlobId::new(subject.now())], subject.now()).await.expect("condemn");
    store.put(late).await;
}

pub async fn an_entry_keeps_a_blob_that_a_sweep_asked_for_in_vain(subject: &MetadataSubject) {
    let store = subject.open().await;
    if cannot(subject, &store).await {
        return;
    }
    let entry = subject.entry("default", "kept");
    let blob = entry.blob_id().expect("sample entries lie in blobs");
    store.put(entry.clone()).await;
    // A sweep that looked before the put condemns it, and finds at its second look that it is named.
    store.condemn(&[blob], subject.now()).await.expect("condemn");
    assert!(store.unnamed(&[blob]).await.expect("unnamed").is_empty());
    let mut touched = entry;
    touched.tags = vec!["touched".to_owned()];
    store.put(touched).await;
    let kept = store.get("default", "kept").await.expect("it is still there");
    assert_eq!((kept.tags.len(), kept.blob_id()), (1, Some(blob)));
}

/// True for a backend that was said not to be swept, and says so itself.
async fn cannot(subject: &MetadataSubject, store: &Store) -> bool {
    match store.unnamed(&[]).await {
        Ok(_) => {
            assert!(subject.is_swept(), "it can be swept, so `without_sweeping` must go");
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(
                !subject.is_swept(),
                "its caches cannot be swept; say `without_sweeping` if that is meant: {error}"
            );
            true
        }
    }
}
