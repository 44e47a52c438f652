//! Writes that wait until they can be made.

use cacheness::{
    Cache, CacheBuilder, Error, ErrorKind, ListOptions, OnReadError, OnWriteError, PutOptions, ReadOptions,
    RemoteCalls, StoredState,
};

use super::{Remote, SECOND, blocking, down, eventually, large, refused};

fn builder(remote: &Remote) -> CacheBuilder {
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1_000_000);
    remote.builder().remote(calls).on_write_error(OnWriteError::Queue)
}

async fn open(remote: &Remote) -> Cache {
    builder(remote).open().await.unwrap()
}

async fn text(cache: &Cache, key: &str) -> Option<String> {
    cache.get(key).await.unwrap()
}

async fn is_written(cache: &Cache) {
    let cache = blocking(cache);
    tokio::task::spawn_blocking(move || eventually(|| cache.health().unwrap().writes.queued == 0))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_waits_is_served_and_then_written_in_the_background() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    cache.put("small", "old").await.unwrap();
    remote.gone(true);
    let put = cache.put_with("small", "new", PutOptions::new().tag("t").description("d")).await.unwrap();
    assert_eq!((put.state, put.version, put.size), (StoredState::Queued, None, 3));
    assert!(!put.is_stored());
    cache.put_with("large", &large(), PutOptions::ttl(60 * SECOND)).await.unwrap();
    cache.put("more", &vec![7_u8; 3_000_000]).await.unwrap();
    assert_eq!(text(&cache, "small").await.as_deref(), Some("new"), "never an older value than was put");
    assert_eq!(cache.get::<Vec<u8>, _>("large").await.unwrap(), Some(large()));
    let many = cache.get_many::<String, _>(&["small", "small"]).await.unwrap();
    assert_eq!(many, [Some("new".to_owned()), Some("new".to_owned())]);
    assert!(cache.contains("small").await.unwrap() && cache.get_raw("more").await.unwrap().is_some());
    assert_eq!(cache.peek::<String, _>("small").await.unwrap().as_deref(), Some("new"));
    remote.gone(false);
    is_written(&cache).await;
    let applied = remote.metadata.calls_of("get_entry");
    assert_eq!(text(&cache, "small").await.as_deref(), Some("new"));
    assert_eq!(remote.metadata.calls_of("get_entry"), applied + 1, "it comes from the store now");
    let entry = cache.get_entry("small").await.unwrap().unwrap();
    assert_eq!((entry.tags.clone(), entry.description.clone()), (vec!["t".to_owned()], Some("d".to_owned())));
    assert!(entry.version.0 > 0);
    assert_eq!(cache.get::<Vec<u8>, _>("large").await.unwrap(), Some(large()));
    assert_eq!(cache.get::<Vec<u8>, _>("more").await.unwrap(), Some(vec![7; 3_000_000]));
    let told = remote.told(cache).await;
    assert_eq!(told.iter().filter(|line| line.starts_with("write_queued")).count(), 3, "{told:?}");
}

#[test]
fn the_blocking_face_queues_as_well() {
    let remote = Remote::new();
    let cache = builder(&remote).open_blocking().unwrap();
    remote.gone(true);
    assert_eq!(cache.put("k", "v").unwrap().state, StoredState::Queued);
    assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("v"));
    assert!(cache.remove("k").unwrap() && !cache.remove("k").unwrap());
    assert_eq!(cache.get::<String, _>("k").unwrap(), None);
    remote.gone(false);
    eventually(|| cache.health().unwrap().writes.queued == 0);
    assert_eq!(cache.get::<String, _>("k").unwrap(), None);
}

#[tokio::test]
async fn a_key_whose_removal_waits_is_a_miss_though_it_is_stored() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    cache.put("k", "v").await.unwrap();
    remote.metadata.fail_next("apply", refused());
    assert!(cache.remove("k").await.unwrap());
    assert_eq!(text(&cache, "k").await, None);
    assert_eq!(cache.get_many::<String, _>(&["k", "other"]).await.unwrap(), [None, None]);
    assert!(!cache.contains("k").await.unwrap() && cache.reader("k").await.unwrap().is_none());
    is_written(&cache).await;
    assert_eq!((text(&cache, "k").await, cache.stats().await.unwrap().entries), (None, 0));
}

#[tokio::test]
async fn later_writes_of_a_key_that_waits_do_not_overtake_it() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    remote.metadata.fail_all(Some(refused()));
    cache.put("k", "first").await.unwrap();
    cache.put("other", "o").await.unwrap();
    remote.metadata.fail_all(None);
    // The store is back, but what waits for it has not been written yet, most probably.
    assert_eq!(cache.put("k", "second").await.unwrap().state, StoredState::Stored);
    assert_eq!(text(&cache, "k").await.as_deref(), Some("second"));
    is_written(&cache).await;
    assert_eq!(text(&cache, "k").await.as_deref(), Some("second"));
    remote.metadata.fail_all(Some(refused()));
    cache.remove("k").await.unwrap();
    cache.put_many([("k", "third"), ("j", "third")], PutOptions::new()).await.unwrap();
    remote.metadata.fail_all(None);
    cache.put("k", "fourth").await.unwrap();
    is_written(&cache).await;
    assert_eq!(text(&cache, "k").await.as_deref(), Some("fourth"));
    assert_eq!(text(&cache, "j").await.as_deref(), Some("third"));
}

#[tokio::test]
async fn a_value_whose_answer_was_lost_is_written_once_more_and_leaves_no_garbage_that_is_read() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    remote.metadata.lose_answers(true);
    remote.metadata.fail_next("apply", down());
    assert_eq!(cache.put("k", &large()).await.unwrap().state, StoredState::Queued);
    remote.clock.advance(10 * SECOND);
    is_written(&cache).await;
    remote.clock.advance(1_000 * SECOND);
    cache.purge().await.unwrap();
    assert_eq!(cache.get::<Vec<u8>, _>("k").await.unwrap(), Some(large()));
    assert_eq!(cache.stats().await.unwrap().entries, 1);
}

#[tokio::test]
async fn a_value_that_waits_expires_and_can_be_touched() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    remote.gone(true);
    cache.put_with("k", "v", PutOptions::ttl(10 * SECOND)).await.unwrap();
    remote.clock.advance(6 * SECOND);
    assert!(cache.touch("k").await.unwrap());
    remote.clock.advance(6 * SECOND);
    assert_eq!(text(&cache, "k").await.as_deref(), Some("v"));
    assert!(cache.extend_ttl("k", 100 * SECOND).await.unwrap());
    remote.clock.advance(100 * SECOND);
    assert_eq!(text(&cache, "k").await.as_deref(), Some("v"));
    remote.clock.advance(5 * SECOND);
    assert_eq!(text(&cache, "k").await, None);
    assert!(!cache.touch("k").await.unwrap());
    assert!(!cache.touch("other").await.unwrap());
    assert_eq!(cache.health().await.unwrap().writes.dropped, 1, "a touch does not wait");
    remote.gone(false);
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_and_what_waited_before_stays() {
    let remote = Remote::new();
    let cache = builder(&remote).write_queue(400_000).open().await.unwrap();
    remote.gone(true);
    cache.put("a", &large()).await.unwrap();
    let error = cache.put("b", &large()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("write_queue"), "{error}");
    assert!(error.to_string().contains("the server is down") && error.is_temporary(), "{error}");
    cache.put("c", &vec![1_u8; 2_000_000]).await.unwrap_err();
    // The later one of the same key takes the place of the earlier.
    cache.put("a", &large()).await.unwrap();
    assert_eq!(cache.get::<Vec<u8>, _>("a").await.unwrap(), Some(large()));
    assert_eq!(cache.health().await.unwrap().writes.queued, 1);
    remote.gone(false);
    is_written(&cache).await;
    cache.put("b", &large()).await.unwrap();
}

#[tokio::test]
async fn clearing_a_namespace_forgets_what_waits_to_be_written_to_it() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    let other = cache.namespace("other").unwrap();
    remote.metadata.fail_all(Some(refused()));
    cache.put("k", "v").await.unwrap();
    other.put("k", "v").await.unwrap();
    cache.clear().await.unwrap_err();
    assert_eq!(text(&cache, "k").await.as_deref(), Some("v"), "it was not cleared");
    remote.metadata.fail_all(None);
    cache.clear().await.unwrap();
    assert_eq!(text(&cache, "k").await, None);
    is_written(&cache).await;
    assert_eq!((text(&cache, "k").await, text(&other, "k").await.as_deref()), (None, Some("v")));
}

#[tokio::test]
async fn a_write_that_is_refused_for_good_is_lost_and_the_next_ones_are_made() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    remote.metadata.fail_all(Some(refused()));
    cache.put("a", "v").await.unwrap();
    cache.put("b", "v").await.unwrap();
    remote.metadata.fail_next("apply", Error::new(ErrorKind::LimitExceeded, "too much"));
    remote.metadata.fail_all(None);
    is_written(&cache).await;
    let writes = cache.health().await.unwrap().writes;
    assert_eq!((writes.lost, writes.dropped), (1, 0));
    assert_eq!((text(&cache, "a").await, text(&cache, "b").await.as_deref()), (None, Some("v")));
}

#[tokio::test]
async fn a_key_that_does_not_wait_is_a_miss_or_an_error_as_ever() {
    let remote = Remote::new();
    let cache = builder(&remote).on_read_error(OnReadError::Miss).open().await.unwrap();
    cache.put("stored", "v").await.unwrap();
    remote.gone(true);
    cache.put("waits", "v").await.unwrap();
    assert_eq!(text(&cache, "stored").await, None);
    let many = cache.get_many::<String, _>(&["stored", "waits"]).await.unwrap();
    assert_eq!(many, [None, Some("v".to_owned())], "what waits is served without the store");
    let tagged: Option<String> = cache.get_with("waits", &ReadOptions::new()).await.unwrap();
    assert_eq!(tagged.as_deref(), Some("v"));
    remote.gone(false);
}

#[tokio::test]
async fn a_key_that_waits_is_written_by_its_next_write_where_the_backend_is_back() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    for turn in 0..3 {
        remote.metadata.fail_next("apply", refused());
        assert_eq!(cache.put("hot", &turn.to_string()).await.unwrap().state, StoredState::Queued);
        assert_eq!(cache.put("hot", "next").await.unwrap().state, StoredState::Stored);
        assert_eq!(cache.health().await.unwrap().writes.queued, 0, "what it replaced does not wait any more");
        let many = cache.put_many([("hot", "m"), ("other", "m")], PutOptions::new()).await.unwrap();
        assert!(many.iter().all(|put| put.state == StoredState::Stored));
    }
    remote.metadata.fail_next("apply", refused());
    cache.put("new", "v").await.unwrap();
    assert!(cache.remove("new").await.unwrap(), "it was there for this process");
    assert_eq!((text(&cache, "new").await, cache.health().await.unwrap().writes.queued), (None, 0));
    assert_eq!(text(&cache, "hot").await.as_deref(), Some("m"));
}

#[tokio::test]
async fn a_key_that_waits_for_a_backend_that_is_not_called_waits_without_a_try() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1);
    let cache = remote.builder().remote(calls).on_write_error(OnWriteError::Queue).open().await.unwrap();
    remote.gone(true);
    cache.put("k", "first").await.unwrap();
    let tried = remote.metadata.calls();
    assert_eq!(cache.put("k", "second").await.unwrap().state, StoredState::Queued);
    assert!(cache.remove("k").await.unwrap());
    assert_eq!(remote.metadata.calls(), tried);
    remote.gone(false);
    cache.close().await.unwrap();
}

#[tokio::test]
async fn what_is_removed_by_its_tag_does_not_come_back_from_the_queue() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    remote.gone(true);
    cache.put_with("u:1", "v", PutOptions::new().tag("user")).await.unwrap();
    let tagged = || ListOptions::new().tag("user");
    cache.remove_matching(tagged()).await.unwrap_err();
    assert_eq!(text(&cache, "u:1").await.as_deref(), Some("v"), "it could not be looked for");
    remote.gone(false);
    assert_eq!(cache.remove_matching(tagged()).await.unwrap(), 1);
    is_written(&cache).await;
    assert_eq!(text(&cache, "u:1").await, None);
}

#[tokio::test]
async fn a_touch_of_a_value_that_is_being_written_is_not_lost() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    remote.metadata.fail_next("apply", refused());
    cache.put_with("k", "v", PutOptions::ttl(10 * SECOND)).await.unwrap();
    let _ = remote.metadata.clone().slow_by_clock(SECOND);
    let writing = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.remove_matching(ListOptions::new().tag("other")).await })
    };
    while remote.metadata.calls_of("apply") < 2 || remote.clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(cache.extend_ttl("k", 1_000 * SECOND).await.unwrap());
    remote.metadata.calm(true);
    remote.clock.advance(SECOND);
    assert_eq!(writing.await.unwrap().unwrap(), 0);
    is_written(&cache).await;
    let left = cache.get_entry("k").await.unwrap().unwrap().ttl_left();
    assert_eq!(left, Some(1_009 * SECOND), "10 s and 1,000 s, of which one has passed");
}

#[tokio::test]
async fn all_that_comes_with_a_value_counts_towards_the_bound() {
    let remote = Remote::new();
    let cache = builder(&remote).write_queue(200_000).open().await.unwrap();
    remote.gone(true);
    let options = || PutOptions::new().custom("n", vec![1; 1_000]).description("d".repeat(4_000));
    let mut queued = 0;
    while cache.put_with(format!("k{queued}"), "v", options()).await.is_ok() {
        queued += 1;
        assert!(queued < 10, "a thousand numbers take 32 KiB, and not 2");
    }
    assert!(queued >= 2);
    remote.gone(false);
}

#[tokio::test]
async fn a_value_that_has_expired_in_the_queue_is_not_written_and_what_it_was_to_replace_does_not_come_back()
{
    let remote = Remote::new();
    let cache = open(&remote).await;
    cache.put("k", "old").await.unwrap();
    let blobs = remote.blobs.calls_of("put");
    remote.gone(true);
    cache.put_with("k", &large(), PutOptions::ttl(10 * SECOND)).await.unwrap();
    let tried = remote.blobs.calls_of("put");
    assert_eq!(tried, blobs + 1);
    remote.clock.advance(11 * SECOND);
    remote.gone(false);
    is_written(&cache).await;
    let entries = cache.stats().await.unwrap().entries;
    assert_eq!((remote.blobs.calls_of("put") - tried, text(&cache, "k").await, entries), (0, None, 0));
}

#[tokio::test]
async fn a_queued_write_is_not_overtaken_by_its_own_earlier_attempt() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    // What became of it nobody knows: the server may carry it out until the time of a call is over.
    remote.metadata.fail_next("apply", down());
    assert_eq!(cache.put("k", "first").await.unwrap().state, StoredState::Queued);
    let second = cache.put("k", "second").await.unwrap();
    assert_eq!(second.state, StoredState::Queued, "what is confirmed now, the first could replace");
    assert!(cache.remove("k").await.unwrap());
    assert_eq!(cache.put("other", "v").await.unwrap().state, StoredState::Stored);
    assert_eq!((remote.metadata.calls_of("apply"), text(&cache, "k").await), (2, None));
    remote.clock.advance(10 * SECOND);
    assert_eq!(cache.put("k", "last").await.unwrap().state, StoredState::Stored);
    is_written(&cache).await;
    assert_eq!(text(&cache, "k").await.as_deref(), Some("last"));
}

#[tokio::test]
async fn what_may_still_be_carried_out_is_waited_for_on_closing_clearing_and_removing() {
    for (work, waits) in ["close", "clear", "remove_matching", "put"].iter().zip([true, true, true, false]) {
        let remote = Remote::new();
        let cache = open(&remote).await;
        remote.metadata.fail_next("apply", down());
        cache.put("k", "v").await.unwrap();
        let (done, took) = remote
            .turning(async {
                match *work {
                    "close" => cache.close().await,
                    "clear" => cache.clear().await.map(drop),
                    "remove_matching" => cache.remove_matching(ListOptions::new().tag("t")).await.map(drop),
                    _ => cache.put("other", "v").await.map(drop),
                }
            })
            .await;
        done.unwrap();
        assert_eq!(took >= 10 * SECOND, waits, "{work}: {took:?}");
        assert!(took <= 12 * SECOND, "{work}: {took:?}");
        assert_eq!(remote.metadata.calls_of("apply"), if *work == "clear" { 1 } else { 2 }, "{work}");
        remote.turning(cache.close()).await.0.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_cannot_be_made_does_not_hold_up_those_of_other_keys() {
    let remote = Remote::new();
    let cache = open(&remote).await;
    remote.gone(true);
    cache.put("blob", &large()).await.unwrap();
    cache.put("small", "v").await.unwrap();
    cache.remove("gone").await.unwrap();
    remote.metadata.fail_all(None);
    let face = blocking(&cache);
    tokio::task::spawn_blocking(move || eventually(|| face.health().unwrap().writes.queued == 1))
        .await
        .unwrap();
    assert_eq!(cache.stats().await.unwrap().entries, 1);
    remote.gone(false);
    is_written(&cache).await;
    assert_eq!(cache.get::<Vec<u8>, _>("blob").await.unwrap(), Some(large()));
}
