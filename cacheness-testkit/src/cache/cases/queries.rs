//! Queries: what they select, how they sort, and counting and removing by them.

use std::ops::Bound;
use std::time::Duration;

use cacheness_core::{ErrorKind, ListOptions, ListOrder, PutOptions, field};

use crate::cache::{AnyCache, CacheSubject};

async fn keys(cache: &AnyCache, options: ListOptions) -> Vec<String> {
    let page = cache.list(options).await.unwrap();
    assert!(page.next.is_none(), "one page is enough for these tests");
    page.entries.iter().map(|entry| entry.key.as_str().to_owned()).collect()
}

/// Users of two cities and a job, each put a minute after the one before.
async fn filled(subject: &CacheSubject) -> AnyCache {
    let cache = subject.open().await;
    for (key, value, tags, city) in [
        ("user:1", "a", vec!["team:7", "eu"], "Oslo"),
        ("user:2", "aaaa", vec!["team:7"], "Rome"),
        ("user:3", "aa", vec!["eu"], "Oslo"),
        ("job:1", "aaa", vec!["team:7", "eu"], "Rome"),
    ] {
        let options = PutOptions::new().tags(tags).custom("address", serde_json::json!({"city": city}));
        cache.put_with(key, value, options.custom("stock", value.len())).await.unwrap();
        subject.clock.advance(Duration::from_secs(60));
    }
    cache
}

// shows: rows 48, 86
pub async fn a_query_selects_by_everything_it_names(subject: &CacheSubject) {
    let cache = filled(subject).await;
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let all = ListOptions::new;
    for (options, expected) in [
        (all().glob("user:*"), vec!["user:1", "user:2", "user:3"]),
        (all().glob("*:1"), vec!["job:1", "user:1"]),
        (all().prefix("user:").glob("*[13]"), vec!["user:1", "user:3"]),
        (all().tag("team:7"), vec!["job:1", "user:1", "user:2"]),
        (all().tag("team:7").tag("eu"), vec!["job:1", "user:1"]),
        (all().tags(["team:7", "eu"]).prefix("user"), vec!["user:1"]),
        (all().filter(field("address.city").eq("Oslo")), vec!["user:1", "user:3"]),
        (all().filter(field("$.address.city").eq("Oslo")).filter(field("stock").gt(1)), vec!["user:3"]),
        (all().filter(field("stock").lt_eq(2.5)), vec!["user:1", "user:3"]),
        (all().size(3..), vec!["job:1", "user:2"]),
        (all().size(..=1), vec!["user:1"]),
        (all().size(2..4), vec!["job:1", "user:3"]),
        (all().age(minutes(3)..), vec!["user:1", "user:2"]),
        (all().age(..minutes(2)), vec!["job:1"]),
        (all().age((Bound::Excluded(minutes(1)), Bound::Included(minutes(3)))), vec!["user:2", "user:3"]),
        (all().age(Duration::ZERO..), vec!["job:1", "user:1", "user:2", "user:3"]),
        (all().glob("user:*").tag("eu").filter(field("stock").eq(2)).size(1..).valid(true), vec!["user:3"]),
        (all().glob("user:*").prefix("job"), vec![]),
        (all().tag("nobody"), vec![]),
    ] {
        assert_eq!(keys(&cache, options.clone()).await, expected, "{options:?}");
    }
}

pub async fn a_query_sorts_by_what_it_is_told(subject: &CacheSubject) {
    let cache = filled(subject).await;
    cache.put_with("user:1", "a", PutOptions::ttl(Duration::from_secs(900))).await.unwrap();
    cache.put_with("user:3", "aa", PutOptions::ttl(Duration::from_secs(300))).await.unwrap();
    for key in ["job:1", "user:2", "user:2"] {
        subject.clock.advance(Duration::from_secs(1));
        assert!(cache.get::<String, _>(key).await.unwrap().is_some());
    }
    for (order, expected) in [
        (ListOrder::Key, ["job:1", "user:1", "user:2", "user:3"]),
        (ListOrder::Created, ["user:2", "job:1", "user:1", "user:3"]),
        (ListOrder::Accessed, ["user:1", "user:3", "job:1", "user:2"]),
        (ListOrder::Size, ["user:1", "user:3", "job:1", "user:2"]),
        (ListOrder::Expiry, ["user:3", "user:1", "job:1", "user:2"]),
        (ListOrder::Hits, ["user:1", "user:3", "job:1", "user:2"]),
    ] {
        for descending in [false, true] {
            let mut expected = expected.to_vec();
            let mut options = ListOptions::new().order_by(order);
            if descending {
                expected.reverse();
                options = options.descending();
            }
            assert_eq!(keys(&cache, options.clone()).await, expected, "{options:?}");
            // The same in pages, each going on where the one before ended.
            let (mut listed, mut page) = (Vec::new(), options.clone().limit(1));
            loop {
                let found = cache.list(page).await.unwrap();
                listed.extend(found.entries.iter().map(|entry| entry.key.as_str().to_owned()));
                let Some(next) = found.next else { break };
                page = options.clone().limit(1).after(next);
            }
            assert_eq!(listed, expected, "{options:?}, page by page");
        }
    }
}

pub async fn a_page_is_filled_up_from_many_that_do_not_match(subject: &CacheSubject) {
    let cache = subject.open().await;
    let tagged = PutOptions::new().tag("rare");
    for part in 0..5 {
        let values = (0..999).map(|i| (format!("{part}:{i:03}"), &1)).collect();
        cache.put_many(values, PutOptions::new()).await.unwrap();
        cache.put_with(&format!("{part}:rare"), &1, tagged.clone()).await.unwrap();
    }
    let rare = ListOptions::new().tag("rare").limit(3);
    let first = cache.list(rare.clone()).await.unwrap();
    assert_eq!(first.entries.len(), 3, "the page is full although the matches lie far apart");
    let second = cache.list(rare.after(first.next.unwrap())).await.unwrap();
    assert_eq!((second.entries.len(), second.next), (2, None));
}

pub async fn a_malformed_query_is_refused_and_named(subject: &CacheSubject) {
    let cache = filled(subject).await;
    for (options, named) in [
        (ListOptions::new().glob("user:[1"), "user:[1"),
        (ListOptions::new().filter(field("a..b").eq(1)), "a..b"),
    ] {
        for error in [
            cache.list(options.clone()).await.unwrap_err(),
            cache.count_matching(options.clone()).await.unwrap_err(),
            cache.remove_matching(options.clone()).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
    for options in [ListOptions::new().limit(0), ListOptions::new().limit(1001)] {
        assert_eq!(cache.remove_matching(options).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let next = cache.list(ListOptions::new().limit(1)).await.unwrap().next.unwrap();
    let other = ListOptions::new().order_by(ListOrder::Size).after(next);
    let error = cache.list(other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("by Key") && error.to_string().contains("by Size"), "{error}");
    assert_eq!(cache.count_matching(ListOptions::new()).await.unwrap(), 4, "nothing was removed");
}

pub async fn what_matches_is_counted(subject: &CacheSubject) {
    let cache = filled(subject).await;
    cache.put_with("expired", &1, PutOptions::ttl(Duration::ZERO).tag("eu")).await.unwrap();
    cache.namespace("other").unwrap().put_with("x", &1, PutOptions::new().tag("eu")).await.unwrap();
    for (options, expected) in [
        (ListOptions::new(), 5),
        (ListOptions::new().tag("eu"), 4),
        (ListOptions::new().tag("eu").valid(true), 3),
        (ListOptions::new().valid(false), 1),
        (ListOptions::new().tag("eu").all_namespaces(), 5),
        (ListOptions::new().tag("eu").limit(1).order_by(ListOrder::Size), 4),
        (ListOptions::new().glob("nothing*"), 0),
    ] {
        assert_eq!(cache.count_matching(options.clone()).await.unwrap(), expected, "{options:?}");
    }
}

pub async fn what_matches_is_removed(subject: &CacheSubject) {
    let cache = filled(subject).await;
    let other = cache.namespace("other").unwrap();
    other.put("user:1", &1).await.unwrap();
    cache.put_with("expired", &1, PutOptions::ttl(Duration::ZERO)).await.unwrap();
    assert_eq!(cache.remove_matching(ListOptions::new().tag("nobody")).await.unwrap(), 0);
    assert_eq!(cache.remove_matching(ListOptions::new().glob("user:[12]")).await.unwrap(), 2);
    assert_eq!(keys(&cache, ListOptions::new()).await, ["expired", "job:1", "user:3"]);
    assert_eq!(cache.remove_matching(ListOptions::new().valid(false)).await.unwrap(), 1);
    assert_eq!(cache.remove_matching(ListOptions::new().tag("eu").tag("team:7")).await.unwrap(), 1);
    assert_eq!(keys(&cache, ListOptions::new()).await, ["user:3"]);
    assert_eq!(cache.get::<String, _>("user:1").await.unwrap(), None);
    assert_eq!(cache.stats().await.unwrap().counters.removals, 4);
    assert_eq!(keys(&other, ListOptions::new()).await, ["user:1"], "another namespace is left alone");
    // More than one transaction's worth.
    for part in 0..3 {
        let values = (0..500).map(|i| (format!("many:{part}:{i}"), &1)).collect();
        cache.put_many(values, PutOptions::new()).await.unwrap();
    }
    assert_eq!(cache.remove_matching(ListOptions::new().prefix("many:")).await.unwrap(), 1_500);
    assert_eq!(cache.stats().await.unwrap().entries, 1);
}

pub async fn a_limited_removal_takes_the_first_ones(subject: &CacheSubject) {
    let cache = filled(subject).await;
    let largest = ListOptions::new().order_by(ListOrder::Size).descending().limit(2);
    assert_eq!(cache.remove_matching(largest).await.unwrap(), 2);
    assert_eq!(keys(&cache, ListOptions::new()).await, ["user:1", "user:3"]);
    assert_eq!(cache.remove_matching(ListOptions::new().limit(1)).await.unwrap(), 1);
    assert_eq!(keys(&cache, ListOptions::new()).await, ["user:3"]);
    assert_eq!(cache.remove_matching(ListOptions::new().limit(1000)).await.unwrap(), 1);
}

pub async fn a_removal_leaves_what_was_replaced_meanwhile(subject: &CacheSubject) {
    let cache = subject.open().await;
    for round in 0..20 {
        for i in 0..30 {
            cache.put_with(&format!("{i:02}"), &1, PutOptions::new().tag("old")).await.unwrap();
        }
        // The one writes new values while the other removes old ones.
        let writer = {
            let cache = cache.clone();
            tokio::spawn(async move {
                for i in 0..30 {
                    cache.put_with(&format!("{i:02}"), &2, PutOptions::new().tag("new")).await.unwrap();
                }
            })
        };
        cache.remove_matching(ListOptions::new().tag("old")).await.unwrap();
        writer.await.unwrap();
        let kept = cache.count_matching(ListOptions::new().tag("new")).await.unwrap();
        assert_eq!(kept, 30, "round {round}: no new value went with the old ones");
    }
}

pub async fn a_removal_by_a_query_counts_in_each_namespace(subject: &CacheSubject) {
    let cache = subject.open().await;
    for name in ["a", "b", "b2"] {
        let cache = cache.namespace(name).unwrap();
        for key in ["x:1", "x:2", "y"] {
            cache.put(key, &1).await.unwrap();
        }
    }
    let refused = cache.remove_matching(ListOptions::new().glob("x:?").all_namespaces()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "a handle removes from its own namespace only");
    let removed = cache.remove_matching_everywhere(ListOptions::new().glob("x:?")).await.unwrap();
    assert_eq!(removed, 6);
    for name in ["a", "b", "b2"] {
        let cache = cache.namespace(name).unwrap();
        assert_eq!(keys(&cache, ListOptions::new()).await, ["y"]);
        assert_eq!(cache.stats().await.unwrap().counters.removals, 2, "{name}");
    }
}
