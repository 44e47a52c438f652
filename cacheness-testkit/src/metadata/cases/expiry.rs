//! Expired entries: there until they are purged.

use std::time::Duration;

use cacheness_core::{Change, Condition, Expiry};

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

pub async fn an_expired_entry_stays_until_it_is_purged(subject: &MetadataSubject) {
    let store = subject.open().await;
    store.put(subject.expiring_entry("default", "k", Duration::from_secs(1))).await;
    subject.wait(Duration::from_secs(3600));
    store.put(subject.entry("default", "other")).await;
    assert!(store.has("default", "k").await, "get_entry returns an entry that has expired");
    assert_eq!(store.keys("default").await, ["k", "other"], "list_entries returns entries that have expired");
    assert_eq!(store.total().await.entries, 2, "entries that have expired are counted as held");
    assert_eq!(store.purge_all(subject.now()).await.0, 1, "purge says how many had expired");
    assert!(!store.has("default", "k").await, "a purged entry is gone");
    assert_eq!(store.total().await.entries, 1, "the totals follow a purge");
}

pub async fn purge_removes_only_what_has_expired(subject: &MetadataSubject) {
    let store = subject.open().await;
    for name in ["a", "b"] {
        for (key, ttl) in [("early", 10), ("just", 20), ("late", 21)] {
            store.put(subject.expiring_entry(name, key, Duration::from_secs(ttl))).await;
        }
        store.put(subject.entry(name, "never")).await;
    }
    subject.wait(Duration::from_secs(20));
    assert_eq!(
        store.purge_all(subject.now()).await.0,
        4,
        "purge removes what has expired in every namespace"
    );
    for name in ["a", "b"] {
        assert_eq!(
            store.keys(name).await,
            ["late", "never"],
            "an entry expires at its expiry moment, not before"
        );
    }
    assert_eq!(store.purge_all(subject.now()).await.0, 0, "a second purge finds nothing");
    assert_eq!(store.total().await.stored_bytes, 40, "the totals follow a purge");
}

pub async fn purge_is_bounded_and_says_whether_there_is_more(subject: &MetadataSubject) {
    let store = subject.open().await;
    for i in 0..25 {
        store.put(subject.expiring_entry("default", &format!("{i:02}"), Duration::from_secs(1))).await;
    }
    store.put(subject.entry("default", "kept")).await;
    subject.wait(Duration::from_secs(1));
    let mut removed = 0;
    for _ in 0..3 {
        let purged = store.purge_once(subject.now(), 7).await;
        assert!(purged.expired <= 7, "purge removes at most as many as its limit");
        assert!(purged.more, "purge says that there is more where there is");
        removed += purged.expired;
        assert_eq!(store.total().await.entries, 26 - removed, "purge removed as many as it says");
    }
    removed += store.purge_all(subject.now()).await.0;
    assert_eq!(removed, 25, "the rounds together purge all that has expired");
    assert!(
        !store.purge_once(subject.now(), 7).await.more,
        "purge says that there is no more where there is none"
    );
}

pub async fn a_touched_entry_is_purged_by_its_new_expiry(subject: &MetadataSubject) {
    let store = subject.open().await;
    for key in ["longer", "never", "sooner"] {
        store.put(subject.expiring_entry("default", key, Duration::from_secs(10))).await;
    }
    let start = subject.now();
    for (key, expires_at) in [
        ("longer", Some(start + Duration::from_secs(20))),
        ("never", None),
        ("sooner", Some(start + Duration::from_secs(5))),
    ] {
        let (namespace, key) = (namespace("default"), key.to_owned());
        store
            .change(Change::Touch {
                namespace,
                key,
                condition: Condition::Always,
                expiry: Expiry::Set(expires_at),
                now: start,
            })
            .await;
    }
    subject.wait(Duration::from_secs(5));
    store.purge_all(subject.now()).await;
    assert_eq!(
        store.keys("default").await,
        ["longer", "never"],
        "an entry that a touch made expire sooner is purged"
    );
    subject.wait(Duration::from_secs(5));
    store.purge_all(subject.now()).await;
    assert_eq!(
        store.keys("default").await,
        ["longer", "never"],
        "the expiry before the touch does not count"
    );
    subject.wait(Duration::from_secs(3600));
    store.purge_all(subject.now()).await;
    assert_eq!(store.keys("default").await, ["never"], "the expiry that a touch set counts");
}

pub async fn purge_tells_which_entries_had_expired(subject: &MetadataSubject) {
    let store = subject.open().await;
    for (name, key) in [("a", "1"), ("b", "1"), ("b", "2")] {
        store.put(subject.expiring_entry(name, key, Duration::from_secs(1))).await;
    }
    store.put(subject.entry("a", "kept")).await;
    subject.wait(Duration::from_secs(1));
    let purged = store.purge_once(subject.now(), 100).await;
    let mut told: Vec<(&str, &str)> =
        purged.expired_keys.iter().map(|(namespace, key)| (namespace.as_str(), key.as_str())).collect();
    told.sort_unstable();
    assert_eq!(told, [("a", "1"), ("b", "1"), ("b", "2")], "purge tells each entry that had expired, once");
}
