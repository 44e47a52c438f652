//! How often a call waits for a server, counted by a proxy in between.

mod network;

use std::path::Path;

use cacheness::blocking::Cache;
use cacheness::{ConfigOptions, Limits, PutOptions};
use network::proxy::Proxy;
use network::{place, s3_at, server};

/// The trips of most of several tries: the cache's own upkeep in the background may come in between.
fn trips(proxy: &Proxy, mut call: impl FnMut(usize)) -> u64 {
    call(usize::MAX);
    let mut trips: Vec<u64> = (0..9).map(|turn| proxy.trips_of(|| call(turn)).0).collect();
    trips.sort_unstable();
    trips[4]
}

fn open(metadata: &str, options: ConfigOptions, folder: &Path) -> (Cache, Proxy) {
    let endpoint = server("TEST_S3");
    let blobs = Proxy::of(&endpoint);
    let cache = Cache::builder()
        .metadata_with(metadata, options)
        .blobs_with("s3", s3_at(&blobs.url(&endpoint), &place(folder)))
        .limits(Limits::unbounded().max_entries(150))
        .open_blocking()
        .unwrap();
    (cache, blobs)
}

fn each_call_takes_one_trip(metadata: &str, options: ConfigOptions, proxy: &Proxy) {
    let folder = tempfile::tempdir().unwrap();
    let (cache, blobs) = open(metadata, options, folder.path());
    let keys: Vec<String> = (0..100).map(|number| format!("many{number}")).collect();
    let count = |call: &mut dyn FnMut(usize)| trips(proxy, call);
    // With a limit that is reached, so that each put evicts.
    let put = |turn: usize| drop(cache.put(format!("new{turn}"), &turn).unwrap());
    for turn in 1_000..1_150 {
        put(turn);
    }
    assert_eq!(count(&mut |turn| put(turn)), 1, "a put of a small value that evicts another");
    assert_eq!(count(&mut |turn| drop(cache.put("k", &turn).unwrap())), 1, "a put over a key");
    assert_eq!(count(&mut |_| assert!(cache.get::<usize, _>("k").unwrap().is_some())), 1, "a hit");
    assert_eq!(count(&mut |_| assert!(cache.get::<usize, _>("none").unwrap().is_none())), 1, "a miss");
    let many = |turn: usize| {
        let values = keys.iter().map(|key| (key, &turn));
        assert_eq!(cache.put_many(values, PutOptions::new()).unwrap().len(), 100);
    };
    assert_eq!(count(&mut |turn| many(turn)), 1, "a batch of 100 puts");
    let all = |_| assert!(cache.get_many::<usize, _>(&keys).unwrap().iter().all(Option::is_some));
    assert_eq!(count(&mut |turn| all(turn)), 1, "a batch of 100 gets");
    assert_eq!(count(&mut |_| assert!(cache.stats().unwrap().entries > 0)), 1, "statistics");
    assert_eq!(count(&mut |_| assert!(cache.contains("k").unwrap())), 1, "whether a key is there");
    assert_eq!(count(&mut |_| assert!(!cache.remove("none").unwrap())), 1, "a removal");

    let large = || PutOptions::new().inline(false);
    cache.put_with("blob", "text", large()).unwrap();
    let get = |_| assert_eq!(cache.get::<String, _>("blob").unwrap().as_deref(), Some("text"));
    assert_eq!((trips(proxy, get), trips(&blobs, get)), (1, 1), "a get of a blob");
    let put = |turn: usize| drop(cache.put_with("blob", &turn.to_string(), large()).unwrap());
    assert_eq!((trips(proxy, put), trips(&blobs, put)), (1, 1), "a put of a blob");
    cache.close().unwrap();
}

#[test]
fn each_call_of_postgres_takes_one_trip() {
    let (folder, url) = (tempfile::tempdir().unwrap(), server("TEST_POSTGRES"));
    let proxy = Proxy::of(&url);
    // One connection, which the first call of each kind prepares.
    let options = network::postgres(folder.path()).with("url", proxy.url(&url)).with("connections", 1);
    each_call_takes_one_trip("postgres", options, &proxy);
}

#[test]
fn each_call_of_redis_takes_one_trip() {
    let (folder, url) = (tempfile::tempdir().unwrap(), server("TEST_REDIS"));
    let proxy = Proxy::of(&url);
    let options = network::redis(folder.path()).with("url", proxy.url(&url)).with("connections", 1);
    each_call_takes_one_trip("redis", options, &proxy);
}
