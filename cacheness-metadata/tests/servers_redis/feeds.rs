//! The change feed, also where it is cut off, left behind, or its server is silent.

use super::*;

async fn until(feed: &mut Box<dyn ChangeFeed>, wanted: &Changed) -> Vec<Changed> {
    let mut seen = Vec::new();
    while !seen.contains(wanted) {
        seen.extend(feed.next().await.unwrap());
    }
    seen
}

fn put_of(key: &str, version: Version) -> Changed {
    Changed::Put { namespace: name("default"), key: key.to_owned(), version }
}

#[tokio::test]
async fn a_feed_tells_of_every_kind_of_change_in_order() {
    let subject = subject(fresh());
    let (one, other) = (subject.open().await, subject.open().await);
    let mut feed = subscribe(&*one).await;
    let now = subject.now();
    let version = other.put(subject.entry("default", "k")).await.version.unwrap();
    other.remove_if("default", "k", Condition::Always, now).await;
    other.put(subject.expiring_entry("default", "short", Duration::from_secs(1))).await;
    let touch = Change::Touch {
        namespace: name("default"),
        key: "short".to_owned(),
        condition: Condition::Always,
        expiry: Expiry::Extend(Duration::from_secs(1)),
        now,
    };
    other.change(touch).await;
    other.purge_all(now + Duration::from_secs(9)).await;
    other.put_if(subject.entry("default", "k"), Condition::Version(version)).await;
    other.clear_all("default").await;
    other.drop_namespace(&name("default")).await.unwrap();
    let last = other.put(subject.entry("default", "last")).await.version.unwrap();
    let seen = until(&mut feed, &put_of("last", last)).await;
    let gone = |key: &str| Changed::Invalidated { namespace: name("default"), key: key.to_owned() };
    let cleared = Changed::Cleared { namespace: name("default") };
    let mut expected = vec![put_of("k", version), gone("k")];
    expected.push(seen[2].clone());
    assert!(matches!(&seen[2], Changed::Put { key, .. } if key == "short"));
    expected.extend([gone("short"), gone("short"), cleared.clone(), put_of("last", last)]);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_feed_that_is_cut_goes_on_and_one_that_was_left_behind_says_so() {
    let own = OwnServer::start(&["--appendonly", "yes"]);
    let mut own = own;
    let env = Env::new();
    let context = OpenContext::new(env);
    let backend = RedisMetadataFactory::new().open(&own.options(), &context).await.unwrap();
    let subject = subject(own.options());
    let store = subject.open().await;
    let mut feed = subscribe(&*backend).await;
    let mut connection = client(&own.url()).await;
    let mut last = None;
    for i in 0..20 {
        let mut cut = redis::cmd("CLIENT");
        let _: i64 = cut.arg("KILL").arg("SKIPME").arg("yes").query_async(&mut connection).await.unwrap();
        wait(20).await;
        let version = store.put(subject.entry("default", &format!("{i}"))).await.version.unwrap();
        last = Some(put_of(&format!("{i}"), version));
    }
    let seen = until(&mut feed, &last.clone().unwrap()).await;
    assert_eq!(seen.len(), 20, "{seen:?}");

    own.kill();
    own.start_again();
    assert_eq!(feed.next().await.unwrap()[0], Changed::Missed, "the server may have lost what it did last");
    let version = store.put(subject.entry("default", "after")).await.version.unwrap();
    assert_eq!(until(&mut feed, &put_of("after", version)).await.len(), 1);

    // Nobody reads for so long that the stream no longer goes back to where the feed is.
    let put = |i| subject.putting(subject.entry("default", &format!("{i}")));
    for part in 0..60 {
        store.changes((part * 500..(part + 1) * 500).map(put).collect()).await;
    }
    let version = store.put(subject.entry("default", "end")).await.version.unwrap();
    let seen = until(&mut feed, &put_of("end", version)).await;
    assert!(seen.contains(&Changed::Missed), "{} changes of 30,001 came", seen.len());
    assert!(seen.len() < 30_000);
    backend.close().await.unwrap();
    loop {
        if let Err(error) = feed.next().await {
            assert_eq!(error.kind(), ErrorKind::Closed);
            return;
        }
    }
}

#[tokio::test]
async fn a_feed_whose_server_is_silent_says_so_within_its_bound() {
    let own = OwnServer::start(&[]);
    let options = own.options().with("change_feed_bound", "2s");
    let backend = open(&options, OpenMode::Create).await.unwrap();
    let mut feed = subscribe(&*backend).await;
    wait(200).await;
    own.stop();
    let began = Env::new().now();
    let error = feed.next().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error}");
    let took = Env::new().now().since(began);
    let bound = backend.changes().unwrap().bound();
    assert_eq!(bound, Duration::from_secs(2));
    // Some more for a machine that is busy.
    assert!(took <= bound + Duration::from_secs(3), "{took:?}");
    assert_eq!(backend.get_entry(&name("default"), "k").await.unwrap_err().kind(), ErrorKind::Timeout);
    own.go_on();
    let subject = subject(own.options());
    let store = subject.open().await;
    let version = store.put(subject.entry("default", "k")).await.version.unwrap();
    loop {
        if let Ok(changes) = feed.next().await {
            assert!(changes.contains(&put_of("k", version)) || changes == [Changed::Missed], "{changes:?}");
            break;
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_takes_its_time_gets_all_of_it_and_no_error() {
    let options = fresh();
    let subject = subject(options.clone());
    let store = subject.open().await;
    let backend = open(&options, OpenMode::Existing).await.unwrap();
    let mut feed = subscribe(&*backend).await;
    let put = |i| subject.putting(subject.entry("default", &format!("{i}")));
    for part in 0..16 {
        store.changes((part * 500..(part + 1) * 500).map(put).collect()).await;
    }
    wait(backend.changes().unwrap().bound().as_millis() as u64 + 1000).await;
    let version = store.put(subject.entry("default", "end")).await.version.unwrap();
    let seen = until(&mut feed, &put_of("end", version)).await;
    assert_eq!(seen.len(), 8_001);
}

#[tokio::test]
async fn a_feed_goes_back_for_as_long_as_it_is_told_and_one_of_another_count_is_begun_anew() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options().with("change_feed_length", 100));
    let store = subject.open().await;
    for i in 0..2_000 {
        store.put(subject.entry("default", &format!("{}", i % 50))).await;
    }
    let mut connection = client(&own.url()).await;
    let mut length = redis::cmd("XLEN");
    let length: u64 = length.arg("{cacheness}:f").query_async(&mut connection).await.unwrap();
    assert!((100..400).contains(&length), "{length} events are kept");

    // An event with a number that is not reached for long: one of ours can no longer be added behind it.
    let mut feed = subscribe(&*store).await;
    run(&mut connection, "XADD {cacheness}:f 1000000-0 t put n default k x v 0").await;
    store.put(subject.entry("default", "k")).await;
    // By then it has seen that the count is behind what it read.
    wait(3_000).await;
    let version = store.put(subject.entry("default", "k")).await.version.unwrap();
    let seen = until(&mut feed, &put_of("k", version)).await;
    assert!(seen.contains(&Changed::Missed), "{seen:?}");
}

#[tokio::test]
async fn changes_that_cannot_be_written_to_the_stream_are_missed_and_not_passed_over() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options());
    let store = subject.open().await;
    let mut feed = subscribe(&*store).await;
    let version = store.put(subject.entry("default", "a")).await.version.unwrap();
    until(&mut feed, &put_of("a", version)).await;
    let mut connection = client(&own.url()).await;
    run(&mut connection, "ACL SETUSER default -xadd").await;
    for key in ["b", "c"] {
        store.put(subject.entry("default", key)).await;
        let begun = std::time::Instant::now();
        assert_eq!(feed.next().await.unwrap(), [Changed::Missed], "{key}");
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    }
    run(&mut connection, "ACL SETUSER default +xadd").await;
    let version = store.put(subject.entry("default", "d")).await.version.unwrap();
    let seen = until(&mut feed, &put_of("d", version)).await;
    assert!(!seen.contains(&Changed::Missed), "nothing was missed since: {seen:?}");
}
