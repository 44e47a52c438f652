//! What a call costs, what many random ones leave behind, and leases.

use super::*;

#[tokio::test]
async fn every_call_is_one_round_trip_also_at_the_limit() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options().with("connections", 1));
    let store = subject.open().await;
    let limits = Limits::unbounded().max_entries(20).policy("lru");
    store.limit(limits, subject.now()).await;
    store.limit_namespace("default", Limits::unbounded().max_bytes(100_000), subject.now()).await;
    for i in 0..60 {
        subject.wait(Duration::from_secs(1));
        store.put(subject.entry("default", &format!("{i}"))).await;
    }
    let trips = async || own.commands(&["evalsha", "eval"]).await;
    // The server has each script from its first call on.
    store.get("default", "0").await;
    store.total().await;
    let before = trips().await;
    for i in 0..20 {
        store.get("default", &format!("{i}")).await;
    }
    assert_eq!(trips().await - before, 20, "get");
    let keys: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    store.get_entries(&name("default"), &keys).await.unwrap();
    assert_eq!(trips().await - before, 21, "get_entries");
    for i in 0..20 {
        subject.wait(Duration::from_secs(1));
        let outcome = store.put(subject.inline_entry("default", &format!("new {i}"), b"small")).await;
        assert_eq!(outcome.evicted.len(), 1);
    }
    assert_eq!(trips().await - before, 41, "puts that evict");
    store.total().await;
    assert_eq!(trips().await - before, 42, "stats");
    let version = store.version("default", "new 19").await;
    store.used("default", "new 19", version, subject.now(), 3).await;
    assert_eq!(trips().await - before, 44, "record_accesses");
}

#[tokio::test]
async fn random_changes_keep_the_limits_the_totals_and_the_indexes() {
    for seed in 1..4 {
        let own = OwnServer::start(&[]);
        let check = async |_: &MetadataSubject, context: &str| check_indexes(&own, context).await;
        random_changes::run(&subject(own.options()), true, seed, check).await;
    }
}

#[tokio::test]
async fn a_repeated_put_leaves_its_blob_alone_and_garbage_that_is_named_again_is_none() {
    let subject = subject(fresh());
    let store = subject.open().await;
    let (first, second) = (subject.entry("default", "k"), subject.entry("default", "k"));
    for entry in [&first, &first, &second, &second, &first] {
        store.put(entry.clone()).await;
    }
    subject.wait(GARBAGE_DELAY);
    assert_eq!(store.due(subject.now()).await, [second.blob_id().unwrap()]);
    assert_eq!(store.total().await.garbage_bytes, second.stored_size);
}

#[tokio::test]
async fn a_lease_has_one_holder_and_ends_by_itself() {
    let subject = subject(fresh());
    let (one, other) = (subject.open().await, subject.open().await);
    let (ours, theirs) = (LeaseHolder::random(), LeaseHolder::random());
    let (work, long) = (name("work"), Duration::from_secs(60));
    let lease = |store: &Store, holder, ttl| {
        let (store, work) = (store.clone(), work.clone());
        async move { store.leases().unwrap().acquire(&work, "a\0b", holder, ttl).await.unwrap() }
    };
    let token = lease(&one, ours, long).await.unwrap();
    assert_eq!(lease(&other, theirs, long).await, None);
    assert_eq!(lease(&one, ours, Duration::from_secs(3)).await, Some(token), "asking again keeps the token");
    assert!(!other.leases().unwrap().renew(&work, "a\0b", theirs, long).await.unwrap());
    assert!(!other.leases().unwrap().release(&work, "a\0b", theirs).await.unwrap());
    one.drop_namespace(&work).await.unwrap();
    assert_eq!(lease(&other, theirs, long).await, None, "leases are apart from entries");
    wait(3100).await;
    assert!(!one.leases().unwrap().renew(&work, "a\0b", ours, long).await.unwrap(), "it has ended");
    let next = lease(&other, theirs, long).await.unwrap();
    assert!(next > token);
    assert!(other.leases().unwrap().release(&work, "a\0b", theirs).await.unwrap());
    assert!(lease(&one, ours, long).await.unwrap() > next);
}

/// Entries of the batch rank lowest, so that each put has to look past all that were put before it.
#[tokio::test]
async fn the_effort_of_a_batch_into_a_full_cache_does_not_grow_with_the_square_of_it() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    let puts = |what: &str, priority| -> Vec<Change> {
        let entry = |i| subject.entry_of_priority("default", &format!("{what} {i}"), priority);
        (0..3_000).map(|i| subject.putting(entry(i))).collect()
    };
    store.changes(puts("old", 1.0)).await;
    store.limit(Limits::unbounded().max_entries(3_000).policy("lru"), subject.now()).await;
    let before = own.commands(&["zrange"]).await;
    store.changes(puts("new", 0.0)).await;
    let looks = own.commands(&["zrange"]).await - before;
    assert_eq!(store.total().await.entries, 3_000);
    // A few attempts, of some looks for each put; otherwise there are 190 for each at the end.
    assert!(looks < 40_000, "{looks} looks at the ranks");
    check_indexes(&own, "after the batch").await;
}

#[tokio::test]
async fn limits_of_a_namespace_without_entries_rank_nothing_anew() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    store.put(subject.entry("default", "k")).await;
    store.limit(Limits::unbounded().max_entries(100), subject.now()).await;
    let mut connection = client(&own.url()).await;
    let mut epoch = async || -> u64 {
        let mut get = redis::cmd("HGET");
        get.arg("{cacheness}:h").arg("epoch").query_async(&mut connection).await.unwrap()
    };
    let before = epoch().await;
    store.limit_namespace("small", Limits::unbounded().max_entries(2), subject.now()).await;
    assert_eq!(epoch().await, before, "there is nothing in it");
    for key in ["a", "b", "c"] {
        store.put(subject.entry("small", key)).await;
        subject.wait(Duration::from_secs(1));
    }
    assert_eq!(store.keys("small").await, ["b", "c"], "its limits hold");
    store.limit_namespace("default", Limits::unbounded().max_entries(2), subject.now()).await;
    assert_eq!(epoch().await, before + 1, "its entry has to be listed with it");
    check_indexes(&own, "limits of namespaces").await;
}

#[tokio::test]
async fn a_put_takes_back_a_part_of_very_many_cleared_namespaces() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    for i in 0..600 {
        let namespace = format!("n{i}");
        store.put(subject.entry(&namespace, "k")).await;
        store.drop_namespace(&name(&namespace)).await.unwrap();
        // Counting begins it anew, with nothing in it.
        let mut counters = cacheness_core::Counters::default();
        counters.hits = 1;
        let counters = vec![(name(&namespace), counters)];
        store.record(cacheness_core::AccessBatch { counters, accesses: Vec::new() }).await;
        store.drop_namespace(&name(&namespace)).await.unwrap();
    }
    let mut connection = client(&own.url()).await;
    let mut cleared = async || -> u64 {
        redis::cmd("ZCARD").arg("{cacheness}:d").query_async(&mut connection).await.unwrap()
    };
    let before = cleared().await;
    store.put(subject.entry("default", "k")).await;
    let taken = before - cleared().await;
    assert!((1..=16).contains(&taken), "{taken} of {before} were taken back");
    store.purge_all(subject.now()).await;
    assert_eq!(cleared().await, 0);
    check_indexes(&own, "cleared").await;
}
