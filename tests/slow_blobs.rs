//! A put whose blob takes long to write.

use std::time::Duration;

use cacheness::{CacheBuilder, Compression, Error, ErrorKind, PutOptions, Registry, RemoteCalls};
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

/// A cache whose blobs seem to lie on another machine.
async fn far(chaos: &Chaos) -> cacheness::Cache {
    far_builder(chaos).open().await.unwrap()
}

fn far_builder(chaos: &Chaos) -> CacheBuilder {
    let builtin = Registry::builtin();
    let blobs = builtin.blob_backend("memory").unwrap().clone();
    let far = ChaosBlobFactory::wrap_shared(blobs, chaos.clone()).named("far");
    let registry = builtin.with_blob_backend(far).unwrap();
    CacheBuilder::new(registry).metadata("memory").blobs("far").inline_limit(0)
}

#[tokio::test]
async fn a_reader_that_reads_on_fetches_many_chunks_at_once() {
    let chaos = Chaos::new().slow(Duration::from_micros(1));
    let cache = far(&chaos).await;
    // 20 MiB that do not compress: chunks of 256 KiB would be 80 requests.
    let mut state = 1_u64;
    let value: Vec<u8> = (0..20 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    for compression in [Compression::None, Compression::Lz4] {
        cache.put_reader("k", &value[..], PutOptions::new().compression(compression)).await.unwrap();
        let before = chaos.calls_of("get_range");
        let mut reader = cache.reader("k").await.unwrap().unwrap();
        let mut read = Vec::new();
        while let Some(piece) = reader.next_piece().await.unwrap() {
            read.extend_from_slice(&piece);
        }
        assert!(read == value);
        // 256 KiB, 2 MiB, and three times up to 8 MiB; a compressed value begins once more.
        let requests = chaos.calls_of("get_range") - before;
        assert!(requests <= 6, "{requests} requests, {compression:?}");
    }
    // Whoever wants the beginning only does not pay for 8 MiB, and who asks for a range gets it by one request.
    cache.put_reader("k", &value[..], PutOptions::new()).await.unwrap();
    let mut reader = cache.reader("k").await.unwrap().unwrap();
    let before = chaos.calls_of("get_range");
    assert!(reader.read_at(10..100).await.unwrap() == value[10..100]);
    assert_eq!(chaos.calls_of("get_range"), before);
    assert!(reader.read_at(5_000_000..9_000_000).await.unwrap() == value[5_000_000..9_000_000]);
    assert_eq!(chaos.calls_of("get_range"), before + 1);
}

#[tokio::test]
async fn many_values_are_fetched_and_stored_at_once() {
    let clock = TestClock::new();
    let chaos = Chaos::new().slow_by_clock(Duration::from_secs(1));
    let patient = Duration::from_secs(1 << 30);
    let calls = RemoteCalls::new().timeout(patient).deadline(patient);
    let builder = far_builder(&chaos).env(clock.env()).remote(calls);
    let cache = while_the_clock_runs(&clock, builder.open()).await.unwrap();
    let keys: Vec<String> = (0..16).map(|i| format!("k{i}")).collect();
    // Nothing is answered while the clock stands still, so what has been asked for by then was asked for at once.
    let all_of = async |method: &'static str, before: u64| {
        while chaos.calls_of(method) < before + 16 {
            tokio::task::yield_now().await;
        }
    };

    let mut storing = std::pin::pin!(cache.put_many(keys.iter().zip(&[7_u8; 16]), PutOptions::new()));
    tokio::select! {
        done = &mut storing => panic!("stored without the store: {done:?}"),
        () = all_of("put", chaos.calls_of("put")) => {}
    }
    while_the_clock_runs(&clock, storing).await.unwrap();

    let mut fetching = std::pin::pin!(cache.get_many::<u8, _>(&keys));
    tokio::select! {
        done = &mut fetching => panic!("fetched without the store: {done:?}"),
        () = all_of("get_range", chaos.calls_of("get_range")) => {}
    }
    assert_eq!(while_the_clock_runs(&clock, fetching).await.unwrap(), vec![Some(7); 16]);
    chaos.calm(true);
}

#[tokio::test]
async fn of_a_batch_that_cannot_be_stored_no_blob_stays() {
    let chaos = Chaos::new().slow(Duration::from_millis(1));
    let cache = far(&chaos).await;
    chaos.fail_next("put", Error::new(ErrorKind::PermissionDenied, "the store refuses this"));
    let keys: Vec<String> = (0..40).map(|i| format!("k{i}")).collect();
    let error = cache.put_many(keys.iter().zip(&[7_u8; 40]), PutOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(chaos.calls_of("put") < 40, "after a failure nothing more is begun");
    assert_eq!(cache.stats().await.unwrap().entries, 0);
    assert_eq!(cache.sweep_dry_run(Duration::ZERO).await.unwrap().orphans, 0);
}
