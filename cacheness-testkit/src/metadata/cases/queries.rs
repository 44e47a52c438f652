//! Queries: what a filter lets through, in which order it comes, and that pages neither repeat nor skip. A part that
//! the backend does not name in its capabilities is not asked of it.

use std::ops::Bound;
use std::time::Duration;

use cacheness_core::{Condition, Entry, EntryFilter, ListQuery, Operator, QuerySupport};
use serde_json::json;

use super::query_model::{DIRECTIONS, ORDERS, Random, condition, glob, matches, sort};
use crate::metadata::subject::namespace;
use crate::metadata::{MetadataSubject, Store};

fn can(store: &Store) -> QuerySupport {
    store.capabilities().queries
}

fn with_filter(change: impl FnOnce(&mut EntryFilter)) -> ListQuery {
    let mut query = ListQuery::new();
    change(&mut query.filter);
    query
}

/// The keys that are listed, in pages of different lengths, which must all give the same.
async fn keys(store: &Store, query: &ListQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut listed = Vec::new();
    for limit in [ListQuery::MAX_PAGE, 3, 1] {
        query.limit = limit;
        let keys: Vec<String> =
            store.list(&query).await.iter().map(|entry| entry.key.as_str().to_owned()).collect();
        if limit == ListQuery::MAX_PAGE {
            listed = keys;
        } else {
            assert_eq!(keys, listed, "pages of {limit} give what one page gives, for {query:?}");
        }
    }
    listed
}

pub async fn a_glob_selects_by_the_whole_key(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !can(&store).glob {
        return;
    }
    let all =
        ["user:1", "user:10", "user:2", "User:1", "user:é", "user/1", "*", "user:*", "us", "100%", "a_b"];
    for key in all {
        store.put(subject.entry("default", key)).await;
    }
    for pattern in [
        "user:*",
        "user:?",
        "*",
        "**",
        "*1",
        "[uU]ser:1",
        "user:[!0-9]",
        r"user:\*",
        r"\*",
        "us",
        "u?",
        "%",
        "_",
        "",
    ] {
        let query = with_filter(|filter| filter.glob = Some(glob(pattern)));
        let mut expected: Vec<&str> = all.into_iter().filter(|key| glob(pattern).matches(key)).collect();
        expected.sort_unstable();
        assert_eq!(keys(&store, &query).await, expected, "glob {pattern:?}");
    }
    for (prefix, pattern, expected) in [
        ("user:", "us*1", vec!["user:1"]),
        ("us", "user:*", vec!["user:*", "user:1", "user:10", "user:2", "user:é"]),
        ("x", "user:*", vec![]),
        ("user:1", "user:*", vec!["user:1", "user:10"]),
    ] {
        let mut query = with_filter(|filter| filter.glob = Some(glob(pattern)));
        query.prefix = prefix.to_owned();
        assert_eq!(
            keys(&store, &query).await,
            expected,
            "prefix {prefix:?} and glob {pattern:?} must both hold"
        );
    }
}

pub async fn all_tags_that_are_asked_for_must_be_there(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !can(&store).tags {
        return;
    }
    for (key, tags) in [
        ("none", vec![]),
        ("a", vec!["a"]),
        ("ab", vec!["a", "b"]),
        ("abc", vec!["a", "b", "c"]),
        ("hostile", vec!["%", "' OR 1=1 --", "a,b"]),
    ] {
        let mut entry = subject.entry("default", key);
        entry.tags = tags.into_iter().map(str::to_owned).collect();
        store.put(entry).await;
    }
    for (tags, expected) in [
        (vec!["a"], vec!["a", "ab", "abc"]),
        (vec!["b", "a"], vec!["ab", "abc"]),
        (vec!["a", "b", "c"], vec!["abc"]),
        (vec!["c", "none"], vec![]),
        (vec!["A"], vec![]),
        (vec!["%"], vec!["hostile"]),
        (vec!["' OR 1=1 --", "a,b"], vec!["hostile"]),
    ] {
        let query = with_filter(|filter| filter.tags = tags.iter().map(|tag| (*tag).to_owned()).collect());
        assert_eq!(keys(&store, &query).await, expected, "tags {tags:?}");
    }
}

pub async fn custom_fields_are_compared(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !can(&store).fields {
        return;
    }
    for (key, custom) in [
        ("east", json!({"region": {"city": "Oslo"}, "stock": 3, "items": [{"price": 7.5}], "' OR 1": true})),
        ("west", json!({"region": {"city": "Rome"}, "stock": 12, "items": [{"price": 8}, 1]})),
        ("odd", json!({"region": "Oslo", "stock": "12", "items": null})),
        ("big", json!({"stock": u64::MAX})),
        ("none", json!({})),
    ] {
        let mut entry = subject.entry("default", key);
        entry.custom = custom.as_object().cloned().unwrap_or_default();
        store.put(entry).await;
    }
    for (conditions, expected) in [
        (vec![condition("region.city", Operator::Eq, "Oslo")], vec!["east"]),
        (vec![condition("region.city", Operator::NotEq, "Oslo")], vec!["west"]),
        (vec![condition("region", Operator::Eq, "Oslo")], vec!["odd"]),
        (vec![condition("stock", Operator::Gt, 3)], vec!["big", "west"]),
        (vec![condition("stock", Operator::GtEq, 3.0)], vec!["big", "east", "west"]),
        (vec![condition("stock", Operator::Lt, 12)], vec!["east"]),
        (vec![condition("stock", Operator::Eq, "12")], vec!["odd"]),
        (vec![condition("items[0].price", Operator::LtEq, 8)], vec!["east", "west"]),
        (vec![condition("items[1]", Operator::Eq, 1)], vec!["west"]),
        (vec![condition(r#"["' OR 1"]"#, Operator::Eq, true)], vec!["east"]),
        (
            vec![condition("stock", Operator::Lt, 100), condition("region.city", Operator::Gt, "Paris")],
            vec!["west"],
        ),
        (vec![condition("missing", Operator::NotEq, 1)], vec![]),
    ] {
        let query = with_filter(|filter| filter.fields = conditions.clone());
        assert_eq!(keys(&store, &query).await, expected, "{conditions:?}");
    }
}

pub async fn sizes_and_times_have_bounds(subject: &MetadataSubject) {
    let store = subject.open().await;
    let mut moments = Vec::new();
    for (key, size) in [("a", 0), ("b", 10), ("c", 11), ("d", u64::MAX >> 1)] {
        store.put(subject.entry_of_size("default", key, size)).await;
        moments.push(subject.now());
        subject.wait(Duration::from_secs(1));
    }
    for (size, expected) in [
        ((Bound::Included(10), Bound::Unbounded), vec!["b", "c", "d"]),
        ((Bound::Excluded(10), Bound::Unbounded), vec!["c", "d"]),
        ((Bound::Unbounded, Bound::Included(10)), vec!["a", "b"]),
        ((Bound::Included(1), Bound::Excluded(11)), vec!["b"]),
        ((Bound::Included(12), Bound::Included(3)), vec![]),
    ] {
        if can(&store).size {
            let query = with_filter(|filter| filter.size = size);
            assert_eq!(keys(&store, &query).await, expected, "size {size:?}");
        }
    }
    for (created, expected) in [
        ((Bound::Included(moments[1]), Bound::Unbounded), vec!["b", "c", "d"]),
        ((Bound::Unbounded, Bound::Excluded(moments[1])), vec!["a"]),
        ((Bound::Excluded(moments[1]), Bound::Included(moments[2])), vec!["c"]),
    ] {
        if can(&store).created {
            let query = with_filter(|filter| filter.created = created);
            assert_eq!(keys(&store, &query).await, expected, "created {created:?}");
        }
    }
}

pub async fn a_filter_that_nothing_passes_ends(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !can(&store).tags {
        return;
    }
    for part in 0..9 {
        let changes =
            (0..1_000).map(|i| subject.putting(subject.entry(["x", "y"][i % 2], &format!("{part}-{i:03}"))));
        store.changes(changes.collect()).await;
    }
    let mut query = with_filter(|filter| filter.tags = vec!["nobody has it".to_owned()]);
    assert_eq!(keys(&store, &query).await, Vec::<String>::new());
    query.namespace = Some(namespace("y"));
    assert_eq!(keys(&store, &query).await, Vec::<String>::new());
    let mut last = subject.entry("z", "last");
    last.tags = query.filter.tags.clone();
    store.put(last).await;
    query.namespace = None;
    assert_eq!(keys(&store, &query).await, ["last"], "the one behind 9,000 others is found");
}

pub async fn a_listing_is_sorted_as_it_is_asked_for(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !can(&store).order {
        return;
    }
    let mut random = Random(7);
    for entry in random.entries(subject, 60) {
        store.put(entry).await;
    }
    let all = store.list(&ListQuery::new()).await;
    for order in ORDERS {
        for direction in DIRECTIONS {
            let mut expected = all.clone();
            sort(&mut expected, order, direction);
            let mut query = ListQuery::new();
            (query.order, query.direction) = (order, direction);
            for limit in [1, 7, 59, 60, 61] {
                query.limit = limit;
                assert_eq!(
                    store.list(&query).await,
                    expected,
                    "by {order:?}, {direction:?}, pages of {limit}"
                );
            }
        }
    }
}

pub async fn sorted_pages_neither_repeat_nor_skip_what_did_not_change(subject: &MetadataSubject) {
    let store = subject.open().await;
    if !can(&store).order {
        return;
    }
    for order in ORDERS {
        for direction in DIRECTIONS {
            let mut random = Random(11);
            let name = format!("{order:?} {direction:?}");
            for mut entry in random.entries(subject, 40) {
                entry.namespace = namespace(&name);
                store.put(entry).await;
            }
            let mut query = ListQuery::new();
            query.namespace = Some(namespace(&name));
            (query.order, query.direction, query.limit) = (order, direction, 7);
            let before = store.list(&query).await;
            let mut listed: Vec<String> = Vec::new();
            let mut changed: Vec<String> = Vec::new();
            loop {
                let page = store.list_entries(&query).await.expect("list_entries failed");
                listed.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
                // The entry that the cursor names goes, another one is replaced, and one is new.
                if let Some(last) = page.entries.last() {
                    let key = last.key.as_str();
                    store.remove_if(&name, key, Condition::Always, subject.now()).await;
                    changed.push(key.to_owned());
                }
                let other = before[random.below(40)].key.as_str().to_owned();
                for key in [other, format!("new {}", listed.len())] {
                    store.put(subject.entry_of_size(&name, &key, random.below(9) as u64)).await;
                    changed.push(key);
                }
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
            let unchanged = |key: &String| !changed.contains(key);
            let expected: Vec<String> =
                before.iter().map(|entry| entry.key.as_str().to_owned()).filter(unchanged).collect();
            let listed: Vec<String> = listed.into_iter().filter(unchanged).collect();
            assert_eq!(listed, expected, "{name}: what did not change is listed once, in order");
        }
    }
}

pub async fn listings_agree_with_a_plain_model(subject: &MetadataSubject) {
    let store = subject.open().await;
    let can = can(&store);
    let mut random = Random(2026);
    for round in 0..6 {
        for entry in random.entries(subject, 30) {
            let (name, key) = (entry.namespace.clone(), entry.key.clone());
            if random.below(4) == 0 {
                store.remove_if(name.as_str(), key.as_str(), Condition::Always, subject.now()).await;
            } else {
                store.put(entry).await;
            }
        }
        subject.wait(Duration::from_secs(random.below(3) as u64));
        let all = store.list(&ListQuery::new()).await;
        for question in 0..40 {
            let query = random.query(subject, can);
            let mut expected: Vec<Entry> =
                all.iter().filter(|entry| matches(&query, entry)).cloned().collect();
            sort(&mut expected, query.order, query.direction);
            assert_eq!(
                names(&store.list(&query).await),
                names(&expected),
                "question {question} of round {round}: {query:?}"
            );
        }
    }
}

fn names(entries: &[Entry]) -> Vec<(String, String)> {
    let name = |entry: &Entry| (entry.namespace.as_str().to_owned(), entry.key.as_str().to_owned());
    entries.iter().map(name).collect()
}
