//! Changes that reach the server after their time: they are not made, whoever confirmed what in between.

use std::net::SocketAddr;

use super::proxy::{Mode, Proxy};
use super::*;

/// A server, one that reaches it through a proxy and waits for half a second, and one that reaches it directly.
struct Rig {
    own: OwnServer,
    proxy: Proxy,
    slow: Store,
    other: Store,
    subject: MetadataSubject,
}

async fn rig(call_timeout: Option<Duration>) -> Rig {
    let own = OwnServer::start(&[]);
    let proxy = Proxy::to(SocketAddr::from(([127, 0, 0, 1], own.port())));
    let timeout = if call_timeout.is_some() { "5s" } else { "500ms" };
    let slow = own.options().with("port", i64::from(proxy.port())).with("connections", 1);
    let slow = slow.with("timeout", timeout);
    let mut context = OpenContext::new(Env::new());
    context.call_timeout = call_timeout;
    let slow = Store::new(RedisMetadataFactory::new().open(&slow, &context).await.unwrap());
    let other = Store::new(open(&own.options(), OpenMode::Existing).await.unwrap());
    let subject = subject(own.options());
    // Now the server has the script, and the connection is there.
    slow.put(subject.entry("default", "first")).await;
    Rig { own, proxy, slow, other, subject }
}

impl Rig {
    fn putting(&self, key: &str) -> Vec<Change> {
        vec![self.subject.putting(self.subject.entry("default", key))]
    }

    /// Lets everything through, and waits until the server has got so many scripts more than there were.
    async fn let_through(&self, before: u64, more: u64) {
        self.proxy.set(Mode::Pass);
        while self.scripts().await < before + more {
            wait(20).await;
        }
        wait(100).await;
    }

    async fn scripts(&self) -> u64 {
        self.own.commands(&["evalsha", "eval"]).await
    }
}

#[tokio::test]
async fn a_put_that_was_given_up_does_not_follow_one_that_was_confirmed_after_it() {
    let rig = rig(None).await;
    rig.proxy.set(Mode::Stall);
    let error = rig.slow.apply(rig.putting("k")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Timeout, true), "{error}");
    let confirmed = rig.other.put(rig.subject.entry("default", "k")).await.version;
    rig.let_through(rig.scripts().await, 1).await;
    assert_eq!(Some(rig.other.version("default", "k").await), confirmed);
    // The connection that is made instead works.
    let next = rig.slow.put(rig.subject.entry("default", "k")).await.version;
    assert_eq!(Some(rig.other.version("default", "k").await), next);
}

#[tokio::test]
async fn a_clear_that_was_given_up_does_not_clear_what_was_put_after_it() {
    let rig = rig(None).await;
    rig.proxy.set(Mode::Stall);
    assert_eq!(rig.slow.clear(&name("default")).await.unwrap_err().kind(), ErrorKind::Timeout);
    rig.other.put(rig.subject.entry("default", "k")).await;
    rig.let_through(rig.scripts().await, 1).await;
    assert!(rig.other.has("default", "k").await && rig.other.has("default", "first").await);
}

#[tokio::test]
async fn a_change_is_not_made_after_the_time_for_which_the_cache_waits_for_a_call() {
    let rig = rig(Some(Duration::from_millis(400))).await;
    rig.proxy.set(Mode::Stall);
    let (slow, put) = (rig.slow.clone(), rig.putting("k"));
    let late = tokio::spawn(async move { slow.apply(put).await });
    wait(600).await;
    let confirmed = rig.other.put(rig.subject.entry("default", "k")).await.version;
    rig.proxy.set(Mode::Pass);
    let error = late.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Timeout, false), "{error}");
    assert_eq!(Some(rig.other.version("default", "k").await), confirmed);
}

#[tokio::test]
async fn a_lease_is_neither_shortened_nor_taken_by_a_call_that_was_given_up() {
    let rig = rig(None).await;
    let (long, short) = (Duration::from_secs(60), Duration::from_secs(1));
    let (ours, theirs) = (LeaseHolder::random(), LeaseHolder::random());
    let (slow, other) = (rig.slow.leases().unwrap(), rig.other.leases().unwrap());
    let work = name("work");
    slow.acquire(&work, "renewed", ours, long).await.unwrap().unwrap();
    rig.proxy.set(Mode::Stall);
    let (late_renewal, late_acquisition) = futures_util::future::join(
        slow.renew(&work, "renewed", ours, short),
        slow.acquire(&work, "released", ours, long),
    )
    .await;
    assert_eq!(late_renewal.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(late_acquisition.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(other.renew(&work, "renewed", ours, long).await.unwrap());
    other.acquire(&work, "released", ours, long).await.unwrap().unwrap();
    assert!(other.release(&work, "released", ours).await.unwrap());
    rig.let_through(rig.scripts().await, 2).await;
    assert!(other.acquire(&work, "released", theirs, long).await.unwrap().is_some(), "it is free");
    wait(1200).await;
    assert!(other.renew(&work, "renewed", ours, long).await.unwrap(), "it is still held");
}

#[tokio::test]
async fn a_put_waits_while_another_process_ranks_and_is_not_made_after_its_time() {
    let own = OwnServer::start(&[]);
    let subject = subject(own.options().with("timeout", "500ms"));
    let store = subject.open().await;
    store.limit(Limits::unbounded().max_entries(10).policy("lru"), subject.now()).await;
    for i in 0..10 {
        store.put(subject.entry("default", &i.to_string())).await;
    }
    // As another process leaves it that has begun to rank, and goes on.
    let mut connection = client(&own.url()).await;
    let head = "{cacheness}:h";
    let epoch: u64 = redis::cmd("HGET").arg(head).arg("epoch").query_async(&mut connection).await.unwrap();
    let _: () =
        redis::cmd("HSET").arg(head).arg("ranking").arg(1).query_async(&mut connection).await.unwrap();
    let mut claim = redis::cmd("SET");
    claim.arg("{cacheness}:q").arg(format!("{epoch}:another")).arg("PX").arg(60_000);
    let _: () = claim.query_async(&mut connection).await.unwrap();
    let before = own.commands(&["evalsha", "eval"]).await;
    let puts =
        (0..8).map(|i| store.apply(vec![subject.putting(subject.entry("default", &format!("new {i}")))]));
    for error in futures_util::future::join_all(puts).await {
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Timeout, false), "{error}");
    }
    let calls = own.commands(&["evalsha", "eval"]).await - before;
    assert!(calls < 40, "{calls} calls: all eight wait by one task, which asks now and then");
    // The other one is gone; whoever waits ranks instead of it.
    let _: i64 = redis::cmd("DEL").arg("{cacheness}:q").query_async(&mut connection).await.unwrap();
    store.put(subject.entry("default", "last")).await;
    wait(300).await;
    assert_eq!(store.total().await.entries, 10);
    for i in 0..8 {
        assert!(!store.has("default", &format!("new {i}")).await, "what failed comes late");
    }
    check_indexes(&own, "after ranking").await;
}
