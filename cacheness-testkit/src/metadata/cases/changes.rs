//! The feed of changes, where a backend has one: what any process changes arrives at every subscriber, within the bound.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cacheness_core::{
    Change, ChangeFeed, ChangeFeeds, Changed, Condition, Env, Expiry, Limits, MetadataBackend, Namespace,
    Version,
};

use crate::metadata::subject::namespace;
use crate::metadata::{MetadataSubject, Store};

/// Two backends on one store, if it has a feed.
async fn two(subject: &MetadataSubject) -> Option<[Store; 2]> {
    let one = subject.open_in_real_time().await;
    feeds(&one)?;
    Some([one, subject.open_in_real_time().await])
}

fn feeds(store: &Store) -> Option<&dyn ChangeFeeds> {
    MetadataBackend::changes(&**store)
}

async fn subscribe(store: &Store) -> Box<dyn ChangeFeed> {
    let feeds = feeds(store).expect("whoever has a feed has it each time");
    feeds.subscribe().await.unwrap_or_else(|error| panic!("subscribe failed: {error}"))
}

/// The next changes; it fails where none comes for much longer than the bound.
async fn next(store: &Store, feed: &mut dyn ChangeFeed) -> Vec<Changed> {
    let bound = feeds(store).expect("whoever has a feed has it each time").bound();
    let env = Env::new();
    let (mut next, mut late) = (pin!(feed.next()), pin!(env.sleep(bound * 2 + Duration::from_secs(10))));
    let changes = poll_fn(|context| {
        if let Poll::Ready(changes) = next.as_mut().poll(context) {
            return Poll::Ready(changes);
        }
        late.as_mut().poll(context).map(|()| panic!("no change arrived for much longer than the bound"))
    });
    let changes = changes.await.unwrap_or_else(|error| panic!("next failed: {error}"));
    assert!(
        (1..=1_000).contains(&changes.len()),
        "from 1 to 1,000 changes come at once, not {}",
        changes.len()
    );
    assert!(!changes.contains(&Changed::Missed), "nothing was missed");
    changes
}

/// Changes until one comes for which `is_last` holds.
async fn until(store: &Store, feed: &mut dyn ChangeFeed, is_last: impl Fn(&Changed) -> bool) -> Vec<Changed> {
    let mut all = Vec::new();
    loop {
        let changes = next(store, feed).await;
        let done = changes.iter().any(&is_last);
        all.extend(changes);
        if done {
            return all;
        }
    }
}

fn put(name: &str, key: &str, version: Option<Version>) -> Changed {
    let version = version.expect("a put's version");
    Changed::Put { namespace: namespace(name), key: key.to_owned(), version }
}

fn invalidated(name: &str, key: &str) -> Changed {
    Changed::Invalidated { namespace: namespace(name), key: key.to_owned() }
}

pub async fn every_kind_of_change_arrives(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    one.put(subject.entry("default", "before")).await;
    let mut feed = subscribe(&one).await;
    for store in [&other, &one] {
        let now = subject.now();
        let mut expected = vec![put("default", "k", store.put(subject.entry("default", "k")).await.version)];
        store.put_if(subject.entry("default", "k"), Condition::Absent).await;
        expected.push(put("default", "k", store.put(subject.entry("default", "k")).await.version));
        let touch = Change::Touch {
            namespace: namespace("default"),
            key: "k".to_owned(),
            condition: Condition::Always,
            expiry: Expiry::Extend(Duration::from_secs(1)),
            now,
        };
        store.change(touch).await;
        expected.push(invalidated("default", "k"));
        store.remove_if("default", "k", Condition::Always, now).await;
        expected.push(invalidated("default", "k"));
        let several = ["a", "b"].map(|key| subject.putting(subject.entry("default", key)));
        let outcomes = store.changes(several.to_vec()).await;
        expected.push(put("default", "a", outcomes[0].version));
        expected.push(put("default", "b", outcomes[1].version));
        store.clear_all("default").await;
        expected.push(Changed::Cleared { namespace: namespace("default") });
        expected.push(put("gone", "k", store.put(subject.entry("gone", "k")).await.version));
        store.drop_namespace(&namespace("gone")).await.expect("drop_namespace failed");
        expected.push(Changed::Cleared { namespace: namespace("gone") });
        let last = expected.last().cloned().expect("there are some");
        let arrived = until(&one, &mut *feed, |changed| *changed == last).await;
        for changed in &expected {
            assert!(arrived.contains(changed), "{changed:?} was made and did not arrive: {arrived:?}");
        }
        let of_k = |changes: &[Changed]| {
            let about_k = |changed: &&Changed| match changed {
                Changed::Put { namespace, key, .. } | Changed::Invalidated { namespace, key } => {
                    namespace.as_str() == "default" && key == "k"
                }
                _ => false,
            };
            changes.iter().filter(about_k).cloned().collect::<Vec<_>>()
        };
        let mut of_key = of_k(&arrived);
        // The touch and the removal look alike, so only what repeats a put may be left out.
        of_key.dedup_by(|later, earlier| later == earlier && matches!(later, Changed::Put { .. }));
        assert_eq!(of_key, of_k(&expected), "the changes of one key arrive in their order");
    }
}

pub async fn what_is_evicted_or_purged_arrives(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let mut feed = subscribe(&one).await;
    other.limit(Limits::unbounded().max_entries(2).policy("fifo"), subject.now()).await;
    for key in ["a", "b", "c"] {
        other.put(subject.entry("default", key)).await;
    }
    until(&one, &mut *feed, |changed| *changed == invalidated("default", "a")).await;
    other.limit(Limits::unbounded().max_entries(1), subject.now()).await;
    until(&one, &mut *feed, |changed| *changed == invalidated("default", "b")).await;
    other.put(subject.expiring_entry("default", "d", Duration::from_secs(1))).await;
    other.purge_all(subject.now() + Duration::from_secs(2)).await;
    until(&one, &mut *feed, |changed| *changed == invalidated("default", "d")).await;
}

pub async fn every_subscriber_gets_every_change(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let mut feeds =
        [(&one, subscribe(&one).await), (&one, subscribe(&one).await), (&other, subscribe(&other).await)];
    for round in 0..5 {
        let key = format!("{round}");
        let version = other.put(subject.entry("default", &key)).await.version;
        for (store, feed) in &mut feeds {
            until(store, &mut **feed, |changed| *changed == put("default", &key, version)).await;
        }
    }
}

pub async fn a_call_that_is_dropped_loses_nothing(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let mut feed = subscribe(&one).await;
    for round in 0..20 {
        let mut arrived = begun(&mut *feed).await;
        let key = format!("{round}");
        let version = other.put(subject.entry("default", &key)).await.version;
        for _ in 0..round % 4 {
            arrived.extend(begun(&mut *feed).await);
        }
        let expected = put("default", &key, version);
        if !arrived.contains(&expected) {
            until(&one, &mut *feed, |changed| *changed == expected).await;
        }
    }
}

/// What a call has at hand that is dropped after it was polled once.
async fn begun(feed: &mut dyn ChangeFeed) -> Vec<Changed> {
    let mut call = feed.next();
    let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    match polled {
        Poll::Ready(changes) => changes.unwrap_or_else(|error| panic!("next failed: {error}")),
        Poll::Pending => Vec::new(),
    }
}

pub async fn very_many_changes_come_in_several_parts(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let mut feed = subscribe(&one).await;
    let mut expected = BTreeSet::new();
    for part in 0..5 {
        let changes = (0..500).map(|i| subject.putting(subject.entry("default", &format!("{part}-{i}"))));
        let outcomes = other.changes(changes.collect()).await;
        expected.extend(outcomes.iter().filter_map(|outcome| outcome.version));
    }
    while !expected.is_empty() {
        for changed in next(&one, &mut *feed).await {
            if let Changed::Put { version, .. } = changed {
                expected.remove(&version);
            }
        }
    }
}

pub async fn hostile_names_arrive_as_they_are(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let mut feed = subscribe(&one).await;
    let long = "x".repeat(60_000);
    for name in ["'; --", "%", "a\0b", "\0", "{\"}", "\u{10FFFF}", "*", "\n", "return redis.call('x')"] {
        for key in [name, &long] {
            let version = other.put(subject.entry(name, key)).await.version;
            until(&one, &mut *feed, |changed| *changed == put(name, key, version)).await;
        }
    }
}

pub async fn no_change_is_lost_and_those_of_one_key_come_in_order(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let mut feed = subscribe(&one).await;
    let tasks: Vec<_> = (0..8)
        .map(|task: usize| {
            let store = if task.is_multiple_of(2) { one.clone() } else { other.clone() };
            let entries: Vec<_> =
                (0..60).map(|i| subject.entry("default", &format!("{}", (task * 7 + i) % 5))).collect();
            tokio::spawn(async move {
                let mut versions = Vec::new();
                for entry in entries {
                    versions.extend(store.put(entry).await.version);
                }
                versions
            })
        })
        .collect();
    let mut expected = BTreeSet::new();
    for task in tasks {
        expected.extend(task.await.expect("a task failed"));
    }
    let mut arrived: BTreeMap<(Namespace, String), Vec<Version>> = BTreeMap::new();
    while !expected.is_empty() {
        for changed in next(&one, &mut *feed).await {
            if let Changed::Put { namespace, key, version } = changed {
                let of_key = arrived.entry((namespace, key)).or_default();
                assert!(of_key.last() <= Some(&version), "{version:?} comes after {:?}", of_key.last());
                of_key.push(version);
                expected.remove(&version);
            }
        }
    }
}
