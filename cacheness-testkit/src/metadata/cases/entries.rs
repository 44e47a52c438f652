//! What is put comes back: every field, the newest write, with versions that only rise.

use std::collections::HashSet;
use std::time::Duration;

use cacheness_core::{
    Access, Change, Condition, Entry, Expiry, FileSource, FormatMeta, Key, Location, Stage, Timestamp,
    TypeClass, Version,
};

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

/// An entry in which no field has its default.
fn full_entry(subject: &MetadataSubject) -> Entry {
    let source_path = subject.folder().join("a source's \"file\" ☃.csv");
    fs_err::write(&source_path, "a,b\n").expect("a source file for the test cannot be written");
    let mut entry = subject.entry_of_size("tenant", "full", 600_000);
    entry.format.handler = "parquet".to_owned();
    entry.format.class = TypeClass::Table;
    entry.format.type_tag = Some("sales\0' OR 1=1 --".to_owned());
    entry.format.type_version = Some(u32::MAX);
    entry.format.type_name = "app::Sales<'_>".to_owned();
    entry.format.meta = FormatMeta::new((0..=255).cycle().take(FormatMeta::MAX_LEN).collect::<Vec<u8>>());
    entry.format.stages = vec![Stage::Zstd, Stage::Lz4];
    entry.format.access = Access::Map;
    entry.size = 1 << 40;
    entry.created_at = subject.now() - Duration::from_nanos(1);
    entry.accessed_at = subject.now();
    entry.hits = 3;
    entry.validity.start_ttl(Some(Duration::from_nanos(86_400_000_000_001)), subject.now());
    entry.validity.sources = vec![
        FileSource::capture_by(&source_path, cacheness_core::FileCheck::Content)
            .expect("capturing a file failed"),
    ];
    entry.tags = vec!["team:7".to_owned(), "ü\0%_".to_owned()];
    entry.priority = 0.75;
    entry.description = Some("the report\nof the \0 day".to_owned());
    entry
        .custom
        .insert("owner".to_owned(), serde_json::json!({"name": "Åsa\0", "ids": [1, -2, 3.5, null, true]}));
    entry
}

pub async fn a_put_entry_comes_back_with_every_field(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut put = full_entry(subject);
    let outcome = store.put(put.clone()).await;
    assert_eq!(outcome.previous, None, "a first put has no previous version");
    let version = outcome.version.expect("a put that was made says which version it was given");
    let got = store.get("tenant", "full").await.expect("an entry that was put is found");
    // The version is the backend's; hits start where a put begins.
    put.version = version;
    put.hits = got.hits;
    assert_eq!(got, put, "an entry comes back with every field as it was put");
    let extremes = [(i64::MIN, "the earliest"), (i64::MAX, "the latest"), (0, "the year 1970")];
    for (nanos, name) in extremes {
        let mut entry = subject.entry("tenant", name);
        entry.created_at = Timestamp::from_nanos(nanos);
        entry.validity.expires_at = Some(Timestamp::from_nanos(nanos));
        store.put(entry).await;
        let got = store.get("tenant", name).await.expect("an entry that was put is found");
        assert_eq!(got.created_at.as_nanos(), nanos, "{name} moment comes back as created_at");
        assert_eq!(
            got.validity.expires_at.map(Timestamp::as_nanos),
            Some(nanos),
            "{name} moment is a valid expiry"
        );
    }
}

pub async fn inline_bytes_come_back_up_to_the_inline_limit(subject: &MetadataSubject) {
    let store = subject.open().await;
    let limit = store.capabilities().inline_limit;
    for len in [0, 1, 255, 2048, 2049, 32 * 1024, limit].into_iter().filter(|len| *len <= limit.min(1 << 20))
    {
        let bytes: Vec<u8> = (0..=255).cycle().take(len as usize).collect();
        store.put(subject.inline_entry("default", "inline", &bytes)).await;
        let got = store.get("default", "inline").await.expect("an inline entry that was put is found");
        assert_eq!(
            got.location,
            Location::Inline(bytes.into()),
            "{len} inline bytes come back as they were put"
        );
        assert_eq!(got.stored_size, len, "the size of an inline value comes back");
    }
}

pub async fn a_missing_entry_is_none(subject: &MetadataSubject) {
    let store = subject.open().await;
    assert_eq!(store.get("default", "missing").await, None, "a key that was never put is a miss");
    store.put(subject.entry("default", "missing!")).await;
    assert_eq!(store.get("default", "missing").await, None, "a longer key does not answer for a shorter one");
    assert_eq!(store.get("other", "missing!").await, None, "a namespace without entries has none");
}

pub async fn an_overwrite_replaces_the_entry(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut first = full_entry(subject);
    first.key = Key::new("k").expect("a key");
    let first = store.put(first).await;
    let mut second = subject.entry("tenant", "k");
    let outcome = store.put(second.clone()).await;
    assert_eq!(outcome.previous, first.version, "an overwrite reports the version it replaced");
    assert!(outcome.version > first.version, "an overwrite gets a higher version");
    second.version = outcome.version.expect("a put that was made says which version it was given");
    assert_eq!(
        store.get("tenant", "k").await,
        Some(second),
        "nothing of the entry that was replaced is left"
    );
    assert_eq!(store.keys("tenant").await, ["k"], "an overwrite makes no second entry");
}

pub async fn an_overwrite_moves_a_value_between_inline_and_blob(subject: &MetadataSubject) {
    let store = subject.open().await;
    let limit = store.capabilities().inline_limit;
    // Around 2 KiB a backend may move the bytes to another table; what it leaves behind must not come back.
    for len in [10, 5_000, 10, 0].into_iter().filter(|len| *len <= limit) {
        let bytes = vec![len as u8; len as usize];
        store.put(subject.inline_entry("default", "k", &bytes)).await;
        let got = store.get("default", "k").await.expect("an entry that was put is found");
        assert_eq!(
            got.location,
            Location::Inline(bytes.into()),
            "the newest inline bytes are the ones that come back"
        );
        let in_blob = subject.entry("default", "k");
        store.put(in_blob.clone()).await;
        let got = store.get("default", "k").await.expect("an entry that was put is found");
        assert_eq!(got.location, in_blob.location, "an entry in a blob replaces an inline one");
    }
}

pub async fn versions_only_rise_also_after_remove_and_clear(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut seen = HashSet::new();
    let mut last = Version::default();
    for round in 0..20 {
        for key in ["a", "b"] {
            let outcome = store.put(subject.entry(if round % 3 == 0 { "one" } else { "two" }, key)).await;
            let version = outcome.version.expect("a put that was made says which version it was given");
            assert!(
                version > last,
                "a put gets a higher version than all before: {version} came after {last}"
            );
            assert!(seen.insert(version), "no version is used twice: {version} was");
            last = version;
        }
        match round % 4 {
            0 => drop(store.remove_if("one", "a", Condition::Always, subject.now()).await),
            1 => drop(store.clear_all("two").await),
            2 => drop(store.drop_namespace(&namespace("two")).await.expect("drop_namespace failed")),
            _ => drop(store.purge_all(subject.now()).await),
        }
    }
}

pub async fn versions_only_rise_after_a_reopen(subject: &MetadataSubject) {
    let mut store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    let mut last = Version::default();
    for round in 0..6 {
        let outcome = store.put(subject.entry("default", "k")).await;
        let version = outcome.version.expect("a put that was made says which version it was given");
        assert!(version > last, "versions rise across a reopen: {version} came after {last}");
        last = version;
        // The newest version may not be learnt from the entries alone: here there are none.
        match round % 3 {
            0 => drop(store.remove_if("default", "k", Condition::Always, subject.now()).await),
            1 => drop(store.clear_all("default").await),
            _ => {}
        }
        store = subject.reopen(store).await;
    }
}

pub async fn entries_and_the_cache_id_are_there_after_a_reopen(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !store.capabilities().persistent {
        return;
    }
    let cache_id = store.cache_id();
    store.put(full_entry(subject)).await;
    store.put(subject.entry("default", "removed")).await;
    store.remove_if("default", "removed", Condition::Always, subject.now()).await;
    if store.capabilities().inline_limit >= 3 {
        store.put(subject.inline_entry("default", "inline", b"abc")).await;
    }
    let before = store.list(&cacheness_core::ListQuery::new()).await;
    let full = store.get("tenant", "full").await;
    let store = subject.reopen(store).await;
    assert_eq!(store.cache_id(), cache_id, "a cache keeps its id");
    assert_eq!(store.get("tenant", "full").await, full, "an entry is the same after a reopen");
    assert_eq!(
        store.list(&cacheness_core::ListQuery::new()).await,
        before,
        "a listing is the same after a reopen"
    );
    assert!(!store.has("default", "removed").await, "a removed entry is not there after a reopen");
}

pub async fn a_removed_entry_is_gone(subject: &MetadataSubject) {
    let store = subject.open().await;
    let put = store.put(subject.entry("default", "k")).await;
    store.put(subject.entry("default", "k2")).await;
    let outcome = store.remove_if("default", "k", Condition::Always, subject.now()).await;
    assert!(outcome.applied, "removing an entry that is there is applied");
    assert_eq!(outcome.previous, put.version, "a removal reports the version it removed");
    assert!(!store.has("default", "k").await, "a removed entry is not found");
    assert_eq!(
        store.keys("default").await,
        ["k2"],
        "a removed entry is not listed, and others are left alone"
    );
}

pub async fn removing_what_is_not_there_is_not_applied(subject: &MetadataSubject) {
    let store = subject.open().await;
    let outcome = store.remove_if("default", "missing", Condition::Always, subject.now()).await;
    assert!(!outcome.applied, "there was nothing to remove, so the outcome is not applied");
    assert_eq!(outcome.previous, None, "there was no previous version");
}

pub async fn a_touch_changes_the_expiry_and_counts_as_a_use(subject: &MetadataSubject) {
    let store = subject.open().await;
    let put = subject.expiring_entry("default", "k", Duration::from_secs(60));
    let version = store.put(put.clone()).await.version;
    subject.wait(Duration::from_secs(30));
    for expires_at in [Some(subject.now() + Duration::from_secs(600)), None] {
        let outcome = store
            .change(Change::Touch {
                namespace: namespace("default"),
                key: "k".to_owned(),
                condition: Condition::Always,
                expiry: Expiry::Set(expires_at),
                now: subject.now(),
            })
            .await;
        assert!(outcome.applied, "touching an entry that is there is applied");
        assert_eq!(outcome.previous, version, "a touch reports the version of the entry");
        let got = store.get("default", "k").await.expect("a touched entry is still there");
        assert_eq!(got.validity.expires_at, expires_at, "a touch sets the expiry");
        assert_eq!(got.accessed_at, subject.now(), "a touch counts as a use of the entry");
        assert_eq!(Some(got.version), version, "a touch is no new write: the version stays");
        assert_eq!(got.location, put.location, "a touch leaves the value alone");
        assert_eq!(got.created_at, put.created_at, "a touch leaves created_at alone");
    }
}

pub async fn every_extension_of_a_ttl_counts(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut entry = subject.entry("default", "k");
    let start = subject.now();
    entry.validity.start_ttl(Some(Duration::from_secs(60)), start);
    store.put(entry).await;
    store.put(subject.entry("default", "manual")).await;
    for key in ["k", "k", "k", "manual"] {
        let (namespace, key) = (namespace("default"), key.to_owned());
        let expiry = Expiry::Extend(Duration::from_secs(10));
        store
            .change(Change::Touch { namespace, key, condition: Condition::Always, expiry, now: start })
            .await;
    }
    let expires_at = async |key| store.get("default", key).await.map(|entry| entry.validity.expires_at);
    let extended = start + Duration::from_secs(90);
    assert_eq!(expires_at("k").await, Some(Some(extended)), "three extensions of ten seconds add thirty");
    assert_eq!(expires_at("manual").await, Some(None), "what does not expire stays so when it is extended");
}

pub async fn touching_what_is_not_there_is_not_applied(subject: &MetadataSubject) {
    let store = subject.open().await;
    let now = subject.now();
    let touch = Change::Touch {
        namespace: namespace("default"),
        key: "missing".to_owned(),
        condition: Condition::Always,
        expiry: Expiry::Set(Some(now)),
        now,
    };
    let outcome = store.change(touch).await;
    assert!(!outcome.applied, "there was nothing to touch, so the outcome is not applied");
    assert!(!store.has("default", "missing").await, "a touch makes no entry");
}

pub async fn several_lookups_answer_in_the_order_asked(subject: &MetadataSubject) {
    let store = subject.open().await;
    for i in 0..50 {
        store.put(subject.entry("default", &format!("k{i}"))).await;
    }
    store.put(subject.entry("other", "k99")).await;
    let names: Vec<String> =
        (0..100).rev().map(|i| format!("k{i}")).chain(["k7".to_owned(), "k7".to_owned()]).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let got = store.get_entries(&namespace("default"), &keys).await.expect("get_entries failed");
    assert_eq!(got.len(), keys.len(), "get_entries answers once for each key, also for one asked twice");
    for (key, entry) in keys.iter().zip(&got) {
        let expected = store.get("default", key).await;
        assert_eq!(entry, &expected, "get_entries answers for {key} in its place, as get_entry does");
    }
    let none = store.get_entries(&namespace("default"), &[]).await.expect("get_entries of no keys failed");
    assert!(none.is_empty(), "no keys, no answers");
}
