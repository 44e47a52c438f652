//! Each event, provoked for real, and what a listener may do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cacheness::{Error, ErrorKind, Event, Limits, PutOptions, ReadOptions, blocking};
use cacheness_testkit::chaos::Damage;

use super::Watched;

const TTL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn puts_hits_and_removals_are_told_with_what_was_stored() {
    let watched = Watched::new();
    let cache = watched.open().await;
    cache.put("k", "four").await.unwrap();
    cache.put("k", "fives").await.unwrap();
    let value: Option<String> = cache.get("k").await.unwrap();
    assert_eq!(value.as_deref(), Some("fives"));
    assert!(cache.remove("k").await.unwrap());
    assert!(!cache.remove("k").await.unwrap());
    let team = cache.namespace("team").unwrap();
    team.put_many([("a", &1_u8), ("b", &2)], PutOptions::new()).await.unwrap();
    assert_eq!(team.remove_many(&["a", "missing"]).await.unwrap(), 1);
    assert_eq!(team.clear().await.unwrap(), 1);
    let expected = [
        "put default/k text 4 4 false",
        "put default/k text 5 5 true",
        "hit default/k text 5",
        "remove default/k",
        "put team/a msgpack 1 1 false",
        "put team/b msgpack 1 1 false",
        "remove team/a",
        "clear team/- 1",
    ];
    assert_eq!(watched.told(cache).await, expected);
}

#[tokio::test]
async fn a_miss_says_why() {
    let watched = Watched::new();
    let cache = watched.open().await;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs_err::write(&source, "a").unwrap();
    cache.put_with("short", &1_u8, PutOptions::ttl(TTL)).await.unwrap();
    cache.put_with("made", &1_u8, PutOptions::file(&source)).await.unwrap();
    cache.put_with("typed", &1_u8, PutOptions::new().type_version(1)).await.unwrap();
    cache.put("other", &300_u16).await.unwrap();
    cache.put("damaged", "0123456789").await.unwrap();
    cache.put("unreachable", "0123456789").await.unwrap();
    watched.heard.lock().unwrap().clear();

    watched.clock.advance(TTL);
    fs_err::write(&source, "another").unwrap();
    assert_eq!(cache.get::<u8, _>("absent").await.unwrap(), None);
    assert_eq!(cache.get::<u8, _>("short").await.unwrap(), None);
    assert_eq!(cache.get::<u8, _>("made").await.unwrap(), None);
    assert_eq!(cache.get_with::<u8, _>("typed", &ReadOptions::new().type_version(2)).await.unwrap(), None);
    assert_eq!(cache.get::<u8, _>("other").await.unwrap(), None);
    watched.blobs.damage(Some(Damage::FlipBit(3)));
    assert_eq!(cache.get::<String, _>("damaged").await.unwrap(), None);
    watched.blobs.damage(None);
    watched.metadata.fail_next("get_entry", Error::new(ErrorKind::Unavailable, "the server is down"));
    assert_eq!(cache.get::<String, _>("unreachable").await.unwrap(), None);
    watched.metadata.fail_next("get_entries", Error::new(ErrorKind::Timeout, "the server is slow"));
    assert_eq!(cache.get_many::<String, _>(&["a", "b"]).await.unwrap(), [None, None]);

    let told: Vec<String> =
        watched.told(cache).await.into_iter().filter(|line| !line.starts_with("put ")).collect();
    let expected = [
        "miss default/absent absent",
        "miss default/short expired",
        "miss default/made source_changed",
        "miss default/typed type_version",
        "miss default/other decode",
        "corrupt default/damaged corrupted",
        "miss default/damaged corrupt",
        "backend_error default/unreachable get unavailable",
        "miss default/unreachable backend_error",
        "backend_error default/- get timeout",
        "miss default/a backend_error",
        "miss default/b backend_error",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_goes_unasked_is_told_with_its_reason() {
    let watched = Watched::new();
    let cache = watched.open().await;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs_err::write(&source, "a").unwrap();
    cache.put_with("short", &1_u8, PutOptions::ttl(TTL)).await.unwrap();
    cache.put_with("made", &1_u8, PutOptions::file(&source)).await.unwrap();
    fs_err::remove_file(&source).unwrap();
    watched.clock.advance(TTL);
    cache.purge().await.unwrap();

    cache.put_with("gone", &1_u8, PutOptions::ttl(TTL)).await.unwrap();
    for key in ["one", "two"] {
        watched.clock.advance(Duration::from_secs(1));
        cache.put(key, &1_u8).await.unwrap();
    }
    watched.clock.advance(TTL);
    cache.set_limits(Limits::unbounded().max_entries(2)).await.unwrap();
    cache.put("three", &1_u8).await.unwrap();
    let told: Vec<String> =
        watched.told(cache).await.into_iter().filter(|line| !line.starts_with("put ")).collect();
    let expected = [
        "expire default/short ttl",
        "expire default/made source_changed",
        "expire default/gone ttl",
        "evict default/one limit",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_backend_that_fails_is_told_also_where_the_caller_sees_the_error() {
    let watched = Watched::new();
    let cache = watched.open().await;
    let down = || Error::new(ErrorKind::Unavailable, "the server is down");
    watched.blobs.fail_next("put", Error::new(ErrorKind::StorageFull, "the disk is full"));
    assert_eq!(cache.put("k", "value").await.unwrap_err().kind(), ErrorKind::StorageFull);
    watched.metadata.fail_next("apply", down());
    assert!(cache.remove("k").await.is_err());
    watched.metadata.fail_next("list_entries", down());
    assert!(cache.list(Default::default()).await.is_err());
    // A mistake of the caller is no failure of a backend.
    assert!(cache.put_with("k", "value", PutOptions::new().handler("unknown")).await.is_err());
    let expected = [
        "backend_error default/k put storage_full",
        "backend_error default/k remove unavailable",
        "backend_error default/- list unavailable",
    ];
    assert_eq!(watched.told(cache).await, expected);
}

#[test]
fn a_slow_listener_holds_up_no_put_and_what_it_misses_is_counted() {
    let heard = Arc::new(AtomicU64::new(0));
    let counted = heard.clone();
    let cache = blocking::Cache::builder()
        .listener(move |_| {
            std::thread::sleep(Duration::from_millis(50));
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .open_blocking()
        .unwrap();
    let started = Instant::now();
    for i in 0..10_000_u32 {
        cache.put(format!("{i}"), &i).unwrap();
    }
    // Waiting for the listener would take 500 seconds.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert_eq!(cache.stats().unwrap().counters.puts, 10_000);
    cache.close().unwrap();
    let told = heard.load(Ordering::Relaxed);
    // The listener may be at one more, which is neither.
    let known = told + cache.events_dropped();
    assert!((9_999..=10_000).contains(&known), "{told} told, {} dropped", cache.events_dropped());
}

#[test]
fn events_of_long_keys_wait_in_bounded_memory() {
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let begun = std::sync::Mutex::new(begun);
    let heard = Arc::new(AtomicU64::new(0));
    let counted = heard.clone();
    let cache = blocking::Cache::builder()
        .listener(move |_| {
            let _ = begun.lock().unwrap().recv();
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .open_blocking()
        .unwrap();
    // 8,192 of these would be 512 MiB.
    let key = "k".repeat(65_000);
    for i in 0..1_000_u32 {
        cache.put(&key, &i).unwrap();
    }
    drop(begin);
    cache.close().unwrap();
    let (told, dropped) = (heard.load(Ordering::Relaxed), cache.events_dropped());
    assert_eq!(told + dropped, 1_000);
    assert!((200..300).contains(&told), "{told} told");
}

#[test]
fn a_listener_may_panic_and_another_goes_on() {
    let heard = Arc::new(AtomicU64::new(0));
    let counted = heard.clone();
    let cache = blocking::Cache::builder()
        .listener(|_| panic!("a listener of a test panics"))
        .listener(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .open_blocking()
        .unwrap();
    (0..10).for_each(|i| drop(cache.put("k", &i).unwrap()));
    assert_eq!(cache.get::<i32, _>("k").unwrap(), Some(9));
    // The last handle delivers what is queued, too.
    drop(cache);
    assert_eq!(heard.load(Ordering::Relaxed), 11);
}

#[test]
fn a_listener_may_use_the_cache_and_close_it() {
    let handle: Arc<OnceLock<blocking::Cache>> = Arc::default();
    let (inside, (done, wait)) = (handle.clone(), std::sync::mpsc::channel());
    let cache = blocking::Cache::builder()
        .listener(move |event| {
            let cache = inside.wait();
            match event {
                Event::Put { key, .. } if key.as_str() == "ask" => cache.put("answer", &42).unwrap().size,
                Event::Put { key, .. } if key.as_str() == "answer" => {
                    cache.close().unwrap();
                    let _ = done.send(());
                    0
                }
                _ => 0,
            };
        })
        .open_blocking()
        .unwrap();
    handle.set(cache.clone()).unwrap();
    cache.put("ask", "what is it").unwrap();
    wait.recv_timeout(Duration::from_secs(30))
        .expect("the listener closes the cache without waiting for itself");
    assert_eq!(cache.put("late", &1).unwrap_err().kind(), ErrorKind::Closed);
    let started = Instant::now();
    cache.close().unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn events_of_one_key_from_one_thread_keep_their_order() {
    let heard: Arc<std::sync::Mutex<Vec<(String, u64)>>> = Arc::default();
    let told = heard.clone();
    let cache = blocking::Cache::builder()
        .listener(move |event| {
            if let Event::Put { key, version, .. } = event {
                told.lock().unwrap().push((key.to_string(), version.0));
            }
        })
        .open_blocking()
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = cache.clone();
            scope.spawn(move || (0..500).for_each(|i| drop(cache.put(format!("{thread}"), &i).unwrap())));
        }
    });
    cache.close().unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 2_000);
    for thread in 0..4 {
        let versions =
            heard.iter().filter(|(key, _)| *key == thread.to_string()).map(|(_, version)| *version);
        assert!(versions.is_sorted(), "thread {thread}");
    }
}
