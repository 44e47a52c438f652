//! Names, keys and tags are data: no text in them means anything to the backend.

use cacheness_core::{Condition, FieldCondition, FieldPath, FieldStep, Key, ListQuery, Namespace, Operator};

use super::query_model::condition;
use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

/// Text that means something to a file system, a database, a script, a shell or a pattern.
const HOSTILE: [&str; 26] = [
    "../../x",
    "..",
    ".",
    "/",
    "/etc/passwd",
    "C:\\Windows\\con",
    "'; DROP TABLE entries; --",
    "\" OR \"\"=\"",
    "NULL",
    "\0",
    "a\0b",
    "\n\r\t",
    "%s%n{}",
    "${HOME}",
    "\u{202E}txt.exe",
    "\u{FEFF}",
    "\u{10FFFF}",
    " ",
    "_",
    "%",
    "*?[a]",
    "[^",
    "\\",
    "]] redis.call('FLUSHALL') --[[",
    "' || (SELECT 1) || '",
    "{\"$ne\": null}",
];

pub async fn hostile_names_and_keys_are_data(subject: &MetadataSubject) {
    let store = subject.open().await;
    let around = || {
        let above = subject.folder().parent().expect("a temporary folder has a parent");
        above.join("x").exists() || subject.folder().join("x").exists()
    };
    assert!(!around(), "the folder for temporary files has a file named x; the case cannot tell who made it");
    let mut expected = Vec::new();
    for name in HOSTILE {
        for key in HOSTILE {
            let mut entry = subject.entry(name, key);
            entry.tags = vec![key.to_owned()];
            entry.description = Some(name.to_owned());
            let version = store.put(entry.clone()).await.version.expect("a put's version");
            entry.version = version;
            expected.push(entry);
        }
    }
    for entry in &expected {
        let got = store.get(entry.namespace.as_str(), entry.key.as_str()).await;
        assert_eq!(got.as_ref(), Some(entry), "an entry under a hostile name comes back as it was put");
    }
    assert!(!around(), "a name is never a path: a file was made outside the backend's own");
    assert_eq!(
        store.list(&ListQuery::new()).await.len(),
        expected.len(),
        "each name and key is one of its own"
    );
    for key in HOSTILE {
        let outcome = store.remove_if(HOSTILE[0], key, Condition::Always, subject.now()).await;
        assert!(outcome.applied, "the key {key:?} can be removed");
    }
    let left = store.list(&ListQuery::new()).await.len();
    assert_eq!(left, expected.len() - HOSTILE.len(), "removing in one namespace leaves the others alone");
}

pub async fn hostile_tags_and_fields_are_data(subject: &MetadataSubject) {
    let store = subject.open().await;
    let can = store.capabilities().queries;
    for text in HOSTILE {
        let mut entry = subject.entry("default", text);
        entry.tags = vec![text.to_owned()];
        let fields = [(text, "name"), ("value", text)];
        entry.custom = fields.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect();
        store.put(entry).await;
    }
    let found = async |what: &str, change: &dyn Fn(&mut ListQuery)| {
        let mut query = ListQuery::new();
        change(&mut query);
        let found: Vec<_> = store.list(&query).await.into_iter().map(|entry| entry.key).collect();
        let found: Vec<_> = found.iter().map(Key::as_str).collect();
        assert_eq!(found, [what], "{query:?}");
    };
    for text in HOSTILE {
        if can.tags {
            found(text, &|query| query.filter.tags = vec![text.to_owned()]).await;
        }
        if can.fields {
            // In brackets and quotes a name may hold anything.
            let path = format!("[{}]", serde_json::Value::from(text));
            let path = FieldPath::new(path).expect("a JSON text in brackets is the name of a field");
            assert_eq!(path.steps(), [FieldStep::Name(text.to_owned())]);
            let by_name = FieldCondition::new(path, Operator::Eq, "name");
            found(text, &|query| query.filter.fields = vec![by_name.clone()]).await;
            let by_value = condition("value", Operator::Eq, text);
            found(text, &|query| query.filter.fields = vec![by_value.clone()]).await;
        }
        let mut query = ListQuery::new();
        query.prefix = text.to_owned();
        let mut expected: Vec<_> = HOSTILE.into_iter().filter(|key| key.starts_with(text)).collect();
        expected.sort_unstable();
        let listed: Vec<_> = store.list(&query).await.into_iter().map(|entry| entry.key).collect();
        assert_eq!(listed.iter().map(Key::as_str).collect::<Vec<_>>(), expected, "prefix {text:?}");
    }
}

pub async fn the_longest_key_and_namespace_are_kept(subject: &MetadataSubject) {
    let store = subject.open().await;
    let name = "n".repeat(Namespace::MAX_LEN);
    let short_name = "n".repeat(Namespace::MAX_LEN - 1);
    let keys = ["k".repeat(Key::MAX_LEN), "k".repeat(Key::MAX_LEN - 1), "k".repeat(Key::MAX_LEN - 1) + "j"];
    for name in [&name, &short_name] {
        for key in &keys {
            store.put(subject.entry(name, key)).await;
        }
    }
    for name in [&name, &short_name] {
        for key in &keys {
            let got =
                store.get(name, key).await.expect("the longest key under the longest namespace is found");
            assert!(got.key.as_str() == key, "a key of {} bytes comes back whole", key.len());
        }
    }
    let mut query = ListQuery::new();
    query.limit = 1;
    assert_eq!(store.list(&query).await.len(), 6, "the longest keys are listed, one to a page");
    query.namespace = Some(namespace(&name));
    query.prefix = keys[1].clone();
    assert_eq!(store.list(&query).await.len(), 3, "a prefix may be as long as a key");
}

pub async fn the_same_key_in_two_namespaces_is_two_entries(subject: &MetadataSubject) {
    let store = subject.open().await;
    let one = store.put(subject.entry("one", "k")).await;
    let two = store.put(subject.entry("two", "k")).await;
    assert_eq!(two.previous, None, "a put in one namespace replaces nothing in another");
    assert_eq!(Some(store.version("one", "k").await), one.version, "each namespace has its own entry");
    assert_eq!(Some(store.version("two", "k").await), two.version, "each namespace has its own entry");
    store.remove_if("one", "k", Condition::Always, subject.now()).await;
    assert!(store.has("two", "k").await, "a removal in one namespace leaves the other alone");
    store.put(subject.entry("one", "k")).await;
    store.clear_all("one").await;
    assert!(store.has("two", "k").await, "a clear of one namespace leaves the other alone");
}

pub async fn namespaces_and_keys_that_join_alike_stay_apart(subject: &MetadataSubject) {
    let store = subject.open().await;
    let pairs = [
        ("a", "b:c"),
        ("a:b", "c"),
        ("a\0b", "c"),
        ("a", "b\0c"),
        ("a/b", "c"),
        ("a", "b/c"),
        ("ab", "c"),
        ("a", "bc"),
    ];
    let mut versions = Vec::new();
    for (name, key) in pairs {
        let outcome = store.put(subject.entry(name, key)).await;
        assert_eq!(outcome.previous, None, "({name:?}, {key:?}) replaces nothing");
        versions.push(outcome.version);
    }
    for ((name, key), version) in pairs.into_iter().zip(versions) {
        assert_eq!(
            Some(store.version(name, key).await),
            version,
            "({name:?}, {key:?}) is an entry of its own"
        );
    }
    assert_eq!(store.clear_all("a").await, 4, "a clear takes the entries of just this namespace");
    assert!(store.has("a:b", "c").await, "a clear of `a` leaves `a:b` alone");
    assert!(store.has("ab", "c").await, "a clear of `a` leaves `ab` alone");
}

pub async fn names_that_differ_in_case_or_normal_form_stay_apart(subject: &MetadataSubject) {
    let store = subject.open().await;
    // The same letter as one character and as two, and names that a file system or a collation may fold.
    let texts = ["é", "e\u{301}", "É", "k", "K", "\u{212A}", "ss", "ß", "k ", " k", "1", "01", "1.0"];
    for name in texts {
        for key in texts {
            let outcome = store.put(subject.entry(name, key)).await;
            assert_eq!(outcome.previous, None, "({name:?}, {key:?}) replaces nothing");
        }
    }
    let count = (texts.len() * texts.len()) as u64;
    assert_eq!(store.total().await.entries, count, "texts are the same only where their bytes are");
    let names = store.namespaces().await.expect("namespaces failed");
    assert_eq!(names.len(), texts.len(), "namespaces are the same only where their bytes are");
}
