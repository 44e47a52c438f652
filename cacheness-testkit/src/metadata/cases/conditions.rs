//! Conditions on changes, and batches that are made as one.

use cacheness_core::{Change, Condition, ErrorKind, Expiry, Limits, Version};

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

pub async fn a_put_if_absent_is_made_only_where_nothing_is(subject: &MetadataSubject) {
    let store = subject.open().await;
    let first = subject.entry("default", "k");
    let made = store.put_if(first.clone(), Condition::Absent).await;
    assert!(made.applied, "Absent holds where nothing is");
    let outcome = store.put_if(subject.entry("default", "k"), Condition::Absent).await;
    assert!(!outcome.applied, "Absent does not hold where an entry is");
    assert_eq!(outcome.previous, made.version, "a put that was skipped says which version is there");
    assert_eq!(outcome.version, None, "a put that was skipped was given no version");
    let got = store.get("default", "k").await.expect("the first entry is still there");
    assert_eq!(got.location, first.location, "a put that was skipped changes nothing");
    store.remove_if("default", "k", Condition::Always, subject.now()).await;
    let again = store.put_if(subject.entry("default", "k"), Condition::Absent).await;
    assert!(again.applied, "Absent holds again after a removal");
    store.clear_all("default").await;
    let again = store.put_if(subject.entry("default", "k"), Condition::Absent).await;
    assert!(again.applied, "Absent holds again after a clear");
    assert_eq!(again.previous, None, "a cleared entry is no previous one");
}

pub async fn a_put_if_version_is_made_only_over_that_version(subject: &MetadataSubject) {
    let store = subject.open().await;
    let missing = store.put_if(subject.entry("default", "k"), Condition::Version(Version(1))).await;
    assert!(!missing.applied, "Version does not hold where nothing is");
    let first = store.put(subject.entry("default", "k")).await.version.expect("a put's version");
    let second = store.put_if(subject.entry("default", "k"), Condition::Version(first)).await;
    assert!(second.applied, "Version holds over the version it names");
    let late = store.put_if(subject.entry("default", "k"), Condition::Version(first)).await;
    assert!(!late.applied, "Version does not hold over a newer write");
    assert_eq!(late.previous, second.version, "a put that was skipped says which version is there");
    assert_eq!(Some(store.version("default", "k").await), second.version, "the newer write is still there");
}

pub async fn a_conditional_remove_hits_only_its_version(subject: &MetadataSubject) {
    let store = subject.open().await;
    let first = store.put(subject.entry("default", "k")).await.version.expect("a put's version");
    let second = store.put(subject.entry("default", "k")).await.version.expect("a put's version");
    let late = store.remove_if("default", "k", Condition::Version(first), subject.now()).await;
    assert!(!late.applied, "a removal with an older version is not applied");
    assert!(store.has("default", "k").await, "a removal on an old finding never hits a newer entry");
    let hit = store.remove_if("default", "k", Condition::Version(second), subject.now()).await;
    assert!(hit.applied, "a removal with the entry's version is applied");
    assert!(!store.has("default", "k").await, "the entry is gone");
}

pub async fn a_conditional_touch_hits_only_its_version(subject: &MetadataSubject) {
    let store = subject.open().await;
    let first = store.put(subject.entry("default", "k")).await.version.expect("a put's version");
    store.put(subject.entry("default", "k")).await;
    let touch = |condition| Change::Touch {
        namespace: namespace("default"),
        key: "k".to_owned(),
        condition,
        expiry: Expiry::Set(Some(subject.now())),
        now: subject.now(),
    };
    for condition in [Condition::Version(first), Condition::Absent] {
        assert!(
            !store.change(touch(condition)).await.applied,
            "a touch whose condition does not hold is not applied"
        );
    }
    let got = store.get("default", "k").await.expect("the entry is still there");
    assert_eq!(got.validity.expires_at, None, "a touch that was skipped changes nothing");
}

pub async fn a_batch_makes_all_changes_in_order(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.put(subject.entry("default", "old")).await;
    let last = subject.entry("default", "a");
    let changes = vec![
        subject.putting(subject.entry("default", "a")),
        subject.putting(subject.entry("other", "b")),
        Change::Remove {
            namespace: namespace("default"),
            key: "old".to_owned(),
            condition: Condition::Always,
            now: subject.now(),
        },
        subject.putting(last.clone()),
    ];
    let outcomes = store.changes(changes).await;
    assert_eq!(outcomes.len(), 4, "there is one outcome for each change");
    assert!(outcomes.iter().all(|outcome| outcome.applied), "all changes of the batch are made");
    assert_eq!(outcomes[3].previous, outcomes[0].version, "a later change of a batch sees the earlier ones");
    assert!(outcomes[3].version > outcomes[1].version, "versions rise in the order of the changes");
    let got = store.get("default", "a").await.expect("an entry put by a batch is found");
    assert_eq!(got.location, last.location, "of two puts of one key in a batch the last stays");
    assert!(store.has("other", "b").await, "a batch may touch several namespaces");
    assert!(!store.has("default", "old").await, "a batch removes, too");
    assert_eq!(store.total().await.entries, 2, "the totals follow a batch");
}

pub async fn a_batch_skips_what_does_not_hold_and_makes_the_rest(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.put(subject.entry("default", "there")).await;
    let absent = Change::Put {
        entry: Box::new(subject.entry("default", "there")),
        condition: Condition::Absent,
        now: subject.now(),
    };
    let outcomes = store.changes(vec![absent, subject.putting(subject.entry("default", "new"))]).await;
    assert_eq!(
        [outcomes[0].applied, outcomes[1].applied],
        [false, true],
        "only what does not hold is left out"
    );
    assert!(store.has("default", "new").await, "a change beside a skipped one is made");
}

pub async fn a_batch_that_fails_makes_no_change(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.put(subject.entry("default", "old")).await;
    store.limit(Limits::unbounded().max_bytes(100), subject.now()).await;
    let changes = vec![
        subject.putting(subject.entry("default", "new")),
        Change::Remove {
            namespace: namespace("default"),
            key: "old".to_owned(),
            condition: Condition::Always,
            now: subject.now(),
        },
        subject.putting(subject.entry_of_size("default", "too large", 101)),
    ];
    let error =
        store.apply(changes).await.expect_err("a batch with a value over the whole limit is an error");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "the error names the limit: {error}");
    assert_eq!(store.keys("default").await, ["old"], "where a batch fails none of its changes was made");
    assert_eq!(store.total().await.entries, 1, "where a batch fails the totals stay");
    assert_eq!(store.total().await.stored_bytes, 10, "where a batch fails the totals stay");
}

pub async fn an_empty_batch_does_nothing(subject: &MetadataSubject) {
    let store = subject.open().await;
    assert!(store.changes(Vec::new()).await.is_empty(), "no changes, no outcomes");
}
