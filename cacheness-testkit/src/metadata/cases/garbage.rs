//! Garbage: blobs that no entry names any more, kept for a while because a reader may be at them.

use std::time::Duration;

use cacheness_core::{BlobId, Change, Condition, Entry, Expiry, GARBAGE_DELAY, Limits};

use crate::metadata::{MetadataSubject, Store};

fn blob(entry: &Entry) -> BlobId {
    entry.blob_id().expect("a sample entry of this suite lies in a blob")
}

/// Checks that exactly these blobs become due when the delay is over, counted from now.
async fn becomes_due(subject: &MetadataSubject, store: &Store, what: &str, blobs: &[BlobId]) {
    let mut blobs = blobs.to_vec();
    blobs.sort();
    assert!(store.due(subject.now()).await.is_empty(), "{what} is not due at once: a reader may be at it");
    subject.wait(GARBAGE_DELAY - Duration::from_nanos(1));
    assert!(store.due(subject.now()).await.is_empty(), "{what} is not due before the garbage delay is over");
    subject.wait(Duration::from_nanos(1));
    assert_eq!(
        store.due(subject.now()).await,
        blobs,
        "{what} is due when the garbage delay is over, and nothing else"
    );
}

pub async fn a_superseded_blob_is_garbage_after_the_delay_and_not_before(subject: &MetadataSubject) {
    let store = subject.open().await;
    let first = subject.entry_of_size("default", "k", 1234);
    store.put(first.clone()).await;
    assert_eq!(store.total().await.garbage_bytes, 0, "a live blob is no garbage");
    // The delay counts from the write that supersedes, not from the one that made the blob.
    subject.wait(Duration::from_secs(3600));
    store.put(subject.entry("default", "k")).await;
    assert_eq!(store.total().await.garbage_bytes, 1234, "garbage_bytes counts a superseded blob");
    assert_eq!(store.stats_of("default").await.garbage_bytes, 0, "a namespace's statistics count no garbage");
    becomes_due(subject, &store, "a superseded blob", &[blob(&first)]).await;
}

pub async fn a_removed_blob_is_garbage_after_the_delay_and_not_before(subject: &MetadataSubject) {
    let store = subject.open().await;
    let entry = subject.entry("default", "k");
    store.put(entry.clone()).await;
    store.put(subject.entry("default", "live")).await;
    subject.wait(Duration::from_secs(3600));
    store.remove_if("default", "k", Condition::Always, subject.now()).await;
    becomes_due(subject, &store, "a removed blob", &[blob(&entry)]).await;
}

pub async fn a_purged_blob_is_garbage(subject: &MetadataSubject) {
    let store = subject.open().await;
    let entry = subject.expiring_entry("default", "k", Duration::from_secs(1));
    store.put(entry.clone()).await;
    store.put(subject.entry("default", "live")).await;
    subject.wait(Duration::from_secs(3600));
    store.purge_all(subject.now()).await;
    becomes_due(subject, &store, "a purged blob", &[blob(&entry)]).await;
}

pub async fn an_evicted_blob_is_garbage(subject: &MetadataSubject) {
    let store = subject.open().await;
    let entries = ["a", "b", "c"].map(|key| subject.entry("default", key));
    for entry in &entries {
        store.put(entry.clone()).await;
        subject.wait(Duration::from_secs(3600));
    }
    // The first is evicted by the new limit, the second by a put.
    store.limit(Limits::unbounded().max_entries(2), subject.now()).await;
    store.put(subject.entry("default", "d")).await;
    becomes_due(subject, &store, "an evicted blob", &[blob(&entries[0]), blob(&entries[1])]).await;
}

pub async fn a_change_that_was_skipped_makes_no_garbage(subject: &MetadataSubject) {
    let store = subject.open().await;
    let live = subject.entry("default", "k");
    store.put(live.clone()).await;
    store.put_if(subject.entry("default", "k"), Condition::Absent).await;
    let version = store.version("default", "k").await;
    store.remove_if("default", "k", Condition::Absent, subject.now()).await;
    let (namespace, key, now) = (live.namespace.clone(), "k".to_owned(), subject.now());
    let condition = Condition::Version(version);
    store.change(Change::Touch { namespace, key, condition, expiry: Expiry::Set(None), now }).await;
    store.limit(Limits::unbounded().max_bytes(100), subject.now()).await;
    let refused = store.apply(vec![subject.putting(subject.entry_of_size("default", "k", 1000))]).await;
    assert!(refused.is_err(), "a value over the whole limit is refused");
    subject.wait(GARBAGE_DELAY * 2);
    assert!(store.due(subject.now()).await.is_empty(), "a blob that an entry names is never garbage");
    assert_eq!(store.total().await.garbage_bytes, 0, "there is no garbage to count");
}

pub async fn inline_values_make_no_garbage(subject: &MetadataSubject) {
    let store = subject.open().await;
    if store.capabilities().inline_limit < 3 {
        return;
    }
    store.put(subject.inline_entry("default", "k", b"abc")).await;
    store.put(subject.inline_entry("default", "k", b"def")).await;
    store.remove_if("default", "k", Condition::Always, subject.now()).await;
    assert_eq!(store.total().await.garbage_bytes, 0, "an inline value leaves no blob behind");
    subject.wait(GARBAGE_DELAY * 2);
    assert!(store.due(subject.now()).await.is_empty(), "an inline value leaves no blob behind");
}

pub async fn due_garbage_is_bounded(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut blobs = Vec::new();
    for i in 0..10 {
        let entry = subject.entry("default", &format!("{i}"));
        blobs.push(blob(&entry));
        store.put(entry).await;
        store.remove_if("default", &format!("{i}"), Condition::Always, subject.now()).await;
    }
    subject.wait(GARBAGE_DELAY);
    let mut deleted = Vec::new();
    for _ in 0..10 {
        let due = store.due_garbage(subject.now(), 3).await.expect("due_garbage failed");
        assert!(due.len() <= 3, "due_garbage gives at most as many as its limit");
        assert!(
            !due.is_empty() || deleted.len() == 10,
            "due_garbage gives something while there is something"
        );
        store.forget_garbage(&due).await.expect("forget_garbage failed");
        deleted.extend(due);
    }
    deleted.sort();
    blobs.sort();
    assert_eq!(deleted, blobs, "in bounded batches each blob is handed out once");
}

pub async fn forgotten_garbage_does_not_come_back(subject: &MetadataSubject) {
    let store = subject.open().await;
    let entries = ["a", "b"].map(|key| subject.entry_of_size("default", key, 100));
    for entry in &entries {
        store.put(entry.clone()).await;
        store.remove_if("default", entry.key.as_str(), Condition::Always, subject.now()).await;
    }
    subject.wait(GARBAGE_DELAY);
    let never_garbage = BlobId::new(subject.now());
    store.forget_garbage(&[blob(&entries[0]), never_garbage]).await.expect("forget_garbage failed");
    assert_eq!(store.due(subject.now()).await, [blob(&entries[1])], "only what was forgotten is gone");
    assert_eq!(store.total().await.garbage_bytes, 100, "garbage_bytes follows what was forgotten");
    store.forget_garbage(&[blob(&entries[1])]).await.expect("forget_garbage failed");
    store.forget_garbage(&[]).await.expect("forget_garbage of nothing failed");
    assert!(store.due(subject.now()).await.is_empty(), "all of it was forgotten");
    assert_eq!(store.total().await.garbage_bytes, 0, "garbage_bytes is zero again");
}

pub async fn garbage_in_memory_can_be_forgotten_before_it_is_due(subject: &MetadataSubject) {
    let store = subject.open().await;
    if store.capabilities().persistent {
        return;
    }
    let entry = subject.entry_of_size("default", "k", 100);
    store.put(entry.clone()).await;
    store.remove_if("default", "k", Condition::Always, subject.now()).await;
    assert!(store.due(subject.now()).await.is_empty(), "it is not due yet");
    let due = store.due(subject.now() + GARBAGE_DELAY).await;
    assert_eq!(due, [blob(&entry)], "due_garbage answers for any moment");
    store.forget_garbage(&due).await.expect("forget_garbage failed");
    assert!(store.due(subject.now() + GARBAGE_DELAY).await.is_empty(), "it was forgotten");
    assert_eq!(store.total().await.garbage_bytes, 0, "garbage_bytes follows what was forgotten");
}

pub async fn garbage_is_there_after_a_reopen(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    let entry = subject.entry("default", "k");
    store.put(entry.clone()).await;
    store.put(subject.entry("default", "k")).await;
    let store = subject.reopen(store).await;
    assert_eq!(store.total().await.garbage_bytes, 10, "garbage_bytes survives a reopen");
    becomes_due(subject, &store, "garbage from before a reopen", &[blob(&entry)]).await;
}

/// Checks that the blob of the one live entry is no garbage, now or later, until the entry goes.
async fn keeps_its_blob(subject: &MetadataSubject, store: &Store, entry: &Entry, what: &str) {
    store.purge_all(subject.now()).await;
    assert_eq!(store.total().await.garbage_bytes, 0, "{what}: a live blob is no garbage");
    subject.wait(GARBAGE_DELAY);
    assert!(store.due(subject.now()).await.is_empty(), "{what}: a blob that an entry names is never garbage");
    let name = entry.namespace.as_str();
    store.remove_if(name, entry.key.as_str(), Condition::Always, subject.now()).await;
    becomes_due(subject, store, what, &[blob(entry)]).await;
    store.forget_garbage(&[blob(entry)]).await.expect("forget_garbage failed");
}

/// True where a put may be made, its answer lost, and others do something before it is made again. Of a backend on this
/// machine an answer is never lost.
fn is_repeated(store: &Store) -> bool {
    let capabilities = store.capabilities();
    capabilities.shared || capabilities.needs_runtime
}

pub async fn a_put_that_is_repeated_keeps_its_blob(subject: &MetadataSubject) {
    let store = subject.open().await;
    let entry = subject.entry("default", "k");
    store.put(entry.clone()).await;
    store.put(entry.clone()).await;
    keeps_its_blob(subject, &store, &entry, "repeated").await;
    if !is_repeated(&store) {
        return;
    }
    store.put(entry.clone()).await;
    store.remove_if("default", "k", Condition::Always, subject.now()).await;
    store.put(entry.clone()).await;
    keeps_its_blob(subject, &store, &entry, "repeated after a removal").await;
}

/// Whoever repeats a put does not know that it was made; others may have done anything in between.
pub async fn a_put_that_is_repeated_after_its_namespace_was_cleared_or_dropped_keeps_its_blob(
    subject: &MetadataSubject,
) {
    let store = subject.open().await;
    if !is_repeated(&store) {
        return;
    }
    for what in ["cleared", "dropped", "cleared twice"] {
        let (entry, beside) = (subject.entry("default", "k"), subject.entry("default", "beside"));
        store.put(entry.clone()).await;
        match what {
            "dropped" => {
                store.drop_namespace(&entry.namespace).await.expect("drop_namespace failed");
            }
            _ => {
                store.clear_all("default").await;
            }
        }
        if what == "cleared twice" {
            store.put(beside.clone()).await;
            store.clear_all("default").await;
        }
        store.put(entry.clone()).await;
        store.purge_all(subject.now()).await;
        if what == "cleared twice" {
            // Not before: what is not due may be kept.
            subject.wait(GARBAGE_DELAY);
            store.forget_garbage(&[blob(&beside)]).await.expect("forget_garbage failed");
        }
        keeps_its_blob(subject, &store, &entry, what).await;
    }
}
