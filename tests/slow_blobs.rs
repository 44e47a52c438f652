//! A put whose blob takes long to write.

use std::time::Duration;

use cacheness::{CacheBuilder, Registry, RemoteCalls};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};

/// The clock passes on by a second whenever the cache waits for it.
async fn while_the_clock_runs<T>(clock: &TestClock, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::task::yield_now() => clock.advance(Duration::from_secs(1)),
        }
    }
}

#[tokio::test]
async fn what_a_slow_put_supersedes_stays_for_those_who_read_it() {
    let clock = TestClock::new();
    let chaos = Chaos::new().slow_by_clock(Duration::from_secs(90));
    let builtin = Registry::builtin();
    let blobs = builtin.blob_backend("memory").unwrap().clone();
    let registry =
        builtin.with_blob_backend(ChaosBlobFactory::wrap_shared(blobs, chaos.clone()).named("slow")).unwrap();
    // The clock runs far ahead of what is done meanwhile, so no call is to be given up because of it.
    let patient = Duration::from_secs(1 << 30);
    let builder = CacheBuilder::new(registry).metadata("memory").blobs("slow").env(clock.env());
    let calls = RemoteCalls::new().timeout(patient).deadline(patient);
    let cache = builder.remote(calls).open().await.unwrap();
    let value = vec![7_u8; 300_000];
    for _ in 0..2 {
        while_the_clock_runs(&clock, cache.put("k", &value)).await.unwrap();
    }
    // What is done at the end must not wait for a clock that nobody turns.
    chaos.calm(true);
    assert_eq!(
        chaos.calls_of("delete_many") + chaos.calls_of("delete"),
        0,
        "the old blob was deleted at once"
    );
}
