//! Listings: their order, prefixes, pages and filters.

use std::time::Duration;

use cacheness_core::{Condition, Entry, ErrorKind, ListOrder, ListQuery, Location};

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

/// Keys among which the byte order differs from every order of words, and which are patterns elsewhere.
const KEYS: [&str; 24] = [
    "%",
    "%a",
    "_",
    "_a",
    "\\",
    "\\%",
    "'",
    "';--",
    "\0",
    "\0\0",
    "a",
    "a\0",
    "a\0b",
    "a%",
    "a_",
    "aa",
    "A",
    "ab",
    "ä",
    "\u{10FFFF}",
    "\u{10FFFF}\u{10FFFF}",
    "\u{FFFD}",
    "🎉",
    "🎉a",
];

pub async fn a_listing_is_in_byte_order_of_namespace_and_key(subject: &MetadataSubject) {
    let store = subject.open().await;
    let namespaces = ["b", "a", "a\0", "B", "ä", "\u{10FFFF}", "a:"];
    let mut expected: Vec<(String, String)> = Vec::new();
    for name in namespaces {
        for key in KEYS.iter().rev() {
            store.put(subject.entry(name, key)).await;
            expected.push((name.to_owned(), (*key).to_owned()));
        }
    }
    expected.sort_by(|a, b| (a.0.as_bytes(), a.1.as_bytes()).cmp(&(b.0.as_bytes(), b.1.as_bytes())));
    let listed: Vec<(String, String)> = store
        .list(&ListQuery::new())
        .await
        .into_iter()
        .map(|entry| (entry.namespace.as_str().to_owned(), entry.key.as_str().to_owned()))
        .collect();
    assert_eq!(listed, expected, "a listing of all is in the order of namespace and key, both by bytes");
    let mut keys = KEYS.map(str::to_owned);
    keys.sort();
    assert_eq!(store.keys("a").await, keys, "a listing of one namespace has its keys only, in byte order");
}

pub async fn a_prefix_is_data(subject: &MetadataSubject) {
    let store = subject.open().await;
    for key in KEYS {
        store.put(subject.entry("default", key)).await;
        store.put(subject.entry("other", key)).await;
    }
    for prefix in
        KEYS.into_iter().chain(["", "a\0", "🎉", "nothing", "*", "?", "a*", "[a]", "\u{10FFFF}\u{10FFFF}a"])
    {
        for limit in [2, ListQuery::MAX_PAGE] {
            let mut query = ListQuery::new();
            query.namespace = Some(namespace("default"));
            query.prefix = prefix.to_owned();
            query.limit = limit;
            let listed: Vec<String> =
                store.list(&query).await.into_iter().map(|entry| entry.key.as_str().to_owned()).collect();
            let mut expected: Vec<&str> = KEYS.into_iter().filter(|key| key.starts_with(prefix)).collect();
            expected.sort_unstable();
            assert_eq!(listed, expected, "prefix {prefix:?} lists the keys that begin with just that text");
        }
    }
    let mut query = ListQuery::new();
    query.prefix = "a".to_owned();
    query.limit = 3;
    let expected = 2 * KEYS.iter().filter(|key| key.starts_with('a')).count();
    assert_eq!(store.list(&query).await.len(), expected, "a prefix goes with a listing of all namespaces");
}

pub async fn a_listing_page_by_page_has_each_entry_once(subject: &MetadataSubject) {
    let store = subject.open().await;
    let changes =
        (0..60).map(|i| subject.putting(subject.entry(["x", "y", "z"][i % 3], &format!("key {i:03}"))));
    store.changes(changes.collect()).await;
    let whole = store.list(&ListQuery::new()).await;
    assert_eq!(whole.len(), 60, "all entries are listed");
    for limit in [1, 7, 20, 59, 60, 61] {
        let mut query = ListQuery::new();
        query.limit = limit;
        let first = store.list_entries(&query).await.expect("list_entries failed");
        assert_eq!(first.entries.len(), limit.min(60), "a page is full where there is enough to fill it");
        assert_eq!(first.next.is_some(), limit < 60, "next is there where more entries are, and only there");
        assert_eq!(store.list(&query).await, whole, "pages of {limit} give each entry once, in order");
    }
}

pub async fn a_cursor_stays_good_when_its_entry_is_removed(subject: &MetadataSubject) {
    let store = subject.open().await;
    for i in 0..40 {
        store.put(subject.entry("default", &format!("{i:02}"))).await;
    }
    let mut query = ListQuery::new();
    query.namespace = Some(namespace("default"));
    query.limit = 5;
    let mut seen = Vec::new();
    loop {
        let page = store.list_entries(&query).await.expect("list_entries failed");
        for entry in &page.entries {
            seen.push(entry.key.as_str().to_owned());
            store.remove_if("default", entry.key.as_str(), Condition::Always, subject.now()).await;
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    let expected: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
    assert_eq!(seen, expected, "each entry is listed once, also while those listed before are removed");
}

pub async fn no_page_is_longer_than_the_longest_page(subject: &MetadataSubject) {
    let store = subject.open().await;
    for part in 0..11 {
        let changes =
            (0..100).map(|i| subject.putting(subject.entry("default", &format!("{part:02}-{i:02}"))));
        store.changes(changes.collect()).await;
    }
    let mut query = ListQuery::new();
    query.limit = usize::MAX;
    let page = store.list_entries(&query).await.expect("list_entries failed");
    assert!(page.entries.len() <= ListQuery::MAX_PAGE, "a page has at most {} entries", ListQuery::MAX_PAGE);
    assert!(page.next.is_some(), "a page that was cut says where the next one begins");
    assert_eq!(store.list(&query).await.len(), 1100, "all entries are listed over several pages");
}

pub async fn a_listing_can_tell_expired_entries_apart(subject: &MetadataSubject) {
    let store = subject.open().await;
    for i in 0..10 {
        store.put(subject.expiring_entry("default", &format!("{i}"), Duration::from_secs(i))).await;
    }
    store.put(subject.entry("default", "never")).await;
    subject.wait(Duration::from_secs(4));
    for (expired, expected) in
        [(true, vec!["0", "1", "2", "3", "4"]), (false, vec!["5", "6", "7", "8", "9", "never"])]
    {
        for limit in [2, 100] {
            let mut query = ListQuery::new();
            query.expired = Some((expired, subject.now()));
            query.limit = limit;
            let listed: Vec<String> =
                store.list(&query).await.into_iter().map(|entry| entry.key.as_str().to_owned()).collect();
            assert_eq!(
                listed, expected,
                "expired = {expired}: an entry is expired from its expiry moment on"
            );
        }
    }
}

pub async fn a_listed_entry_is_the_one_that_was_put(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut entry = subject.expiring_entry("default", "blob", Duration::from_secs(60));
    entry.tags = vec!["a tag".to_owned()];
    entry.description = Some("described".to_owned());
    store.put(entry).await;
    if store.capabilities().inline_limit >= 3 {
        store.put(subject.inline_entry("default", "inline", b"abc")).await;
    }
    for listed in store.list(&ListQuery::new()).await {
        let mut got = store.get("default", listed.key.as_str()).await.expect("a listed entry is found");
        if listed.location == Location::InlineOmitted {
            assert!(
                matches!(got.location, Location::Inline(_)),
                "only inline bytes are left out of a listing"
            );
            got.location = Location::InlineOmitted;
        }
        assert_eq!(listed, got, "a listed entry is the one that get_entry finds");
    }
}

pub async fn a_damaged_record_is_named_and_keeps_nobody_from_the_others(subject: &MetadataSubject) {
    let store = subject.open().await;
    for key in ["a", "c", "d", "f"] {
        store.put(subject.entry("default", key)).await;
    }
    let mut versions = Vec::new();
    for key in ["b", "e"] {
        let outcome = store.put(unreadable(subject.entry("default", key))).await;
        versions.push(outcome.version.expect("a put's version"));
    }
    for (limit, order) in
        [1, 2, 3, 100].map(|limit| (limit, ListOrder::Key)).into_iter().chain([(2, ListOrder::Size)])
    {
        let mut query = ListQuery::new();
        (query.limit, query.order) = (limit, order);
        if order != ListOrder::Key && !store.capabilities().queries.order {
            continue;
        }
        let (mut keys, mut damaged) = (Vec::new(), Vec::new());
        loop {
            let page =
                store.list_entries(&query).await.expect("damage of one entry is no error of a listing");
            keys.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
            damaged.extend(page.damaged.into_iter().map(|found| (found.key, found.version)));
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(keys, ["a", "c", "d", "f"], "the others are listed, {limit} a page, by {order:?}");
        let expected = [("b".to_owned(), versions[0]), ("e".to_owned(), versions[1])];
        assert_eq!(damaged, expected, "each damaged entry is named once, {limit} a page, by {order:?}");
    }
    let error = store.get_entry(&namespace("default"), "b").await.expect_err("it cannot be read");
    assert_eq!(error.kind(), ErrorKind::Corrupted, "a lookup of it is an error of this kind: {error}");

    // What has taken its place meanwhile is not removed for it.
    store.put(subject.entry("default", "b")).await;
    let late = store.remove_if("default", "b", Condition::Version(versions[0]), subject.now()).await;
    assert!(!late.applied, "a newer entry is never removed on an old finding");
    let gone = store.remove_if("default", "e", Condition::Version(versions[1]), subject.now()).await;
    assert!(gone.applied, "a damaged entry is removed by its version");
    assert!(store.list_entries(&ListQuery::new()).await.expect("a listing").damaged.is_empty());
    assert_eq!(store.stats_of("default").await.entries, 5, "the totals are exact again");
}

/// An entry that a backend stores and that cannot be read back: JSON is not read beyond a depth that writing it does not
/// have.
fn unreadable(mut entry: Entry) -> Entry {
    let deep = (0..200).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]));
    entry.custom.insert("deep".to_owned(), deep);
    entry
}
