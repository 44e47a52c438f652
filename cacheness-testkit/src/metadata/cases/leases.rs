//! Leases, where a backend has them: one holder at most, by the store's clock.

use std::time::Duration;

use cacheness_core::{Env, LeaseHolder, Leases, Version};

use crate::metadata::subject::namespace;
use crate::metadata::{MetadataSubject, Store};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

/// Two backends on one store, if it has leases.
async fn two(subject: &MetadataSubject) -> Option<[Store; 2]> {
    let one = subject.open_in_real_time().await;
    one.leases()?;
    Some([one, subject.open_in_real_time().await])
}

fn leases(store: &Store) -> &dyn Leases {
    store.leases().expect("whoever has leases has them each time")
}

async fn acquire(store: &Store, name: &str, holder: LeaseHolder, ttl: Duration) -> Option<Version> {
    let acquired = leases(store).acquire(&namespace("default"), name, holder, ttl).await;
    acquired.unwrap_or_else(|error| panic!("acquire failed: {error}"))
}

async fn renew(store: &Store, name: &str, holder: LeaseHolder, ttl: Duration) -> bool {
    let renewed = leases(store).renew(&namespace("default"), name, holder, ttl).await;
    renewed.unwrap_or_else(|error| panic!("renew failed: {error}"))
}

async fn release(store: &Store, name: &str, holder: LeaseHolder) -> bool {
    let released = leases(store).release(&namespace("default"), name, holder).await;
    released.unwrap_or_else(|error| panic!("release failed: {error}"))
}

pub async fn a_lease_has_one_holder(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let (first, second) = (LeaseHolder::random(), LeaseHolder::random());
    assert!(acquire(&one, "work", first, LONG).await.is_some(), "a lease that nobody holds is given");
    for store in [&one, &other] {
        assert_eq!(acquire(store, "work", second, LONG).await, None, "what one holds no other gets");
    }
    assert!(acquire(&other, "other work", second, LONG).await.is_some(), "another name is another lease");
    let elsewhere = leases(&other).acquire(&namespace("elsewhere"), "work", second, LONG).await;
    assert!(elsewhere.expect("acquire failed").is_some(), "in another namespace it is another lease");
}

pub async fn a_holder_that_asks_again_keeps_its_lease_and_its_token(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let holder = LeaseHolder::random();
    let token = acquire(&one, "work", holder, LONG).await;
    assert!(token.is_some(), "a lease that nobody holds is given");
    for store in [&one, &other] {
        assert_eq!(acquire(store, "work", holder, LONG).await, token, "asking again gives the same token");
    }
}

pub async fn a_released_lease_is_free_and_later_tokens_are_higher(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let mut last = None;
    for store in [&one, &other, &one] {
        let holder = LeaseHolder::random();
        let token = acquire(store, "work", holder, LONG).await;
        assert!(token > last, "a later holder gets a higher token: {token:?} after {last:?}");
        last = token;
        assert!(release(store, "work", holder).await, "a holder may release what it holds");
        assert!(!release(store, "work", holder).await, "and does not hold it any more");
        assert!(!renew(store, "work", holder, LONG).await, "what was released is not renewed");
    }
}

pub async fn a_lease_ends_by_itself(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let (first, second) = (LeaseHolder::random(), LeaseHolder::random());
    let token = acquire(&one, "work", first, SHORT).await;
    Env::new().sleep(SHORT + Duration::from_millis(50)).await;
    assert!(!renew(&one, "work", first, LONG).await, "a lease whose time is over is not renewed");
    assert!(!release(&one, "work", first).await, "nor released");
    let later = acquire(&other, "work", second, LONG).await;
    assert!(later > token, "another gets it, with a higher token: {later:?} after {token:?}");
    assert_eq!(acquire(&one, "work", first, LONG).await, None, "and the first has it no more");
}

pub async fn a_renewed_lease_lasts(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let holder = LeaseHolder::random();
    acquire(&one, "work", holder, LONG).await;
    assert!(renew(&one, "work", holder, LONG).await, "a holder may renew what it holds");
    let short = LeaseHolder::random();
    // Long enough for a busy machine to renew it before it ends.
    let enough = Duration::from_secs(3);
    acquire(&one, "short", short, enough).await;
    assert!(renew(&other, "short", short, LONG).await, "over whichever connection");
    Env::new().sleep(enough + Duration::from_millis(50)).await;
    assert_eq!(acquire(&other, "short", holder, LONG).await, None, "it lasts as long as was said last");
    assert!(renew(&one, "short", short, SHORT).await, "and is still held");
    Env::new().sleep(SHORT + Duration::from_millis(50)).await;
    assert!(acquire(&other, "short", holder, LONG).await.is_some(), "also where that is sooner");
}

pub async fn what_another_holds_is_neither_renewed_nor_released(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let (holder, stranger) = (LeaseHolder::random(), LeaseHolder::random());
    let token = acquire(&one, "work", holder, LONG).await;
    for store in [&one, &other] {
        assert!(!renew(store, "work", stranger, LONG).await, "what another holds is not renewed");
        assert!(!release(store, "work", stranger).await, "what another holds is not released");
        assert!(!renew(store, "nothing", stranger, LONG).await, "what nobody holds is not renewed");
        assert!(!release(store, "nothing", stranger).await, "what nobody holds is not released");
    }
    assert_eq!(acquire(&one, "work", holder, LONG).await, token, "and it stays with its holder");
}

pub async fn tokens_and_versions_come_from_one_sequence(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let before = one.put(subject.entry("default", "k")).await.version;
    let token = acquire(&other, "work", LeaseHolder::random(), LONG).await;
    let after = one.put(subject.entry("default", "k")).await.version;
    assert!(
        before < token && token < after,
        "a token is higher than the versions before it, and lower than those after"
    );
}

pub async fn leases_are_apart_from_entries(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let (holder, stranger) = (LeaseHolder::random(), LeaseHolder::random());
    acquire(&one, "k", holder, LONG).await;
    assert!(!other.has("default", "k").await, "a lease is no entry");
    one.put(subject.entry("default", "k")).await;
    one.clear_all("default").await;
    one.drop_namespace(&namespace("default")).await.expect("drop_namespace failed");
    assert_eq!(
        acquire(&other, "k", stranger, LONG).await,
        None,
        "what happens to entries leaves leases alone"
    );
    assert!(renew(&other, "k", holder, LONG).await, "what happens to entries leaves leases alone");
}

pub async fn hostile_names_of_leases_are_data(subject: &MetadataSubject) {
    let Some([one, other]) = two(subject).await else { return };
    let long = "x".repeat(60_000);
    let names = [
        "'; DROP TABLE leases; --",
        "%",
        "_",
        "*",
        "a\0b",
        "a",
        "\0",
        "{\"}",
        "return 1",
        "\u{10FFFF}",
        "ä",
        &long,
    ];
    let holders = names.map(|name| (name, LeaseHolder::random()));
    for (name, holder) in holders {
        assert!(acquire(&one, name, holder, LONG).await.is_some(), "{name:.20?} is a name of its own");
    }
    for (name, holder) in holders {
        assert_eq!(acquire(&other, name, LeaseHolder::random(), LONG).await, None, "{name:.20?} is held");
        assert!(release(&other, name, holder).await, "{name:.20?} is held by who took it");
    }
    // Namespace and name that join alike are two.
    let (first, second) = (LeaseHolder::random(), LeaseHolder::random());
    for (name, key, holder) in [("a", "bc", first), ("ab", "c", second)] {
        let acquired = leases(&one).acquire(&namespace(name), key, holder, LONG).await;
        assert!(acquired.expect("acquire failed").is_some(), "namespaces and names stay apart");
    }
}

pub async fn of_many_that_ask_at_once_one_gets_the_lease(subject: &MetadataSubject) {
    let Some(stores) = two(subject).await else { return };
    let mut last = None;
    for round in 0..10 {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (store, holder) = (stores[task % 2].clone(), LeaseHolder::random());
                tokio::spawn(async move { (holder, acquire(&store, "work", holder, LONG).await) })
            })
            .collect();
        let mut winners = Vec::new();
        for task in tasks {
            let (holder, token) = task.await.expect("a task failed");
            winners.extend(token.map(|token| (holder, token)));
        }
        assert_eq!(winners.len(), 1, "round {round}: of eight that ask at once one gets the lease");
        assert!(Some(winners[0].1) > last, "round {round}: tokens rise");
        last = Some(winners[0].1);
        assert!(release(&stores[round % 2], "work", winners[0].0).await, "round {round}: and it holds it");
    }
}
