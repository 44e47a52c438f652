//! A fallback on this machine for a cache on servers: they go away in the middle of work and come back, and everybody finds what was put
//! meanwhile.

mod marked;
mod network;

use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, ConfigOptions, Fallback, HealthState, PutOptions, RemoteCalls};
use network::proxy::{Mode, Proxy};
use network::{place, s3_at, server};

struct Rig {
    folder: tempfile::TempDir,
    place: String,
    metadata: &'static str,
    url: String,
    entries: Proxy,
    blobs: Proxy,
}

impl Rig {
    fn new(metadata: &'static str) -> Self {
        let url = server(if metadata == "postgres" { "TEST_POSTGRES" } else { "TEST_REDIS" });
        let folder = tempfile::tempdir().unwrap();
        let (entries, blobs) = (Proxy::of(&url), Proxy::of(&server("TEST_S3")));
        Self { place: place(folder.path()), folder, metadata, url, entries, blobs }
    }

    fn builder(&self, url: &str, s3: &str) -> CacheBuilder {
        let place = if self.metadata == "postgres" { "schema" } else { "prefix" };
        let calls = RemoteCalls::new()
            .timeout(Duration::from_secs(2))
            .deadline(Duration::from_secs(4))
            .attempts(2)
            .breaker_failures(2)
            .breaker_pause(Duration::from_millis(300));
        Cache::builder()
            .metadata_with(
                self.metadata,
                ConfigOptions::new().with("url", url).with(place, self.place.as_str()),
            )
            .blobs_with("s3", s3_at(s3, &self.place))
            .remote(calls)
    }

    /// The cache with its fallback, through the proxies.
    fn open(&self) -> Cache {
        let s3 = server("TEST_S3");
        self.builder(&self.entries.url(&self.url), &self.blobs.url(&s3))
            .fallback(Fallback::new(self.folder.path().join("spare")))
            .open_blocking()
            .unwrap()
    }

    /// The cache as another machine has it, which reaches the servers all the time.
    fn elsewhere(&self) -> Cache {
        self.builder(&self.url, &server("TEST_S3")).open_blocking().unwrap()
    }

    fn down(&self) {
        for proxy in [&self.entries, &self.blobs] {
            proxy.gone();
        }
    }

    fn up(&self) {
        for proxy in [&self.entries, &self.blobs] {
            proxy.set(Mode::Pass);
        }
    }
}

fn put(cache: &Cache, key: &str, serial: u64) {
    let (len, options) = if serial.is_multiple_of(2) {
        (100, PutOptions::new())
    } else {
        (60_000, PutOptions::new().inline(false))
    };
    cache.put_with(key, &marked::value(1, serial, len), options.tag("tag")).unwrap();
}

fn serial(cache: &Cache, key: &str) -> Option<u64> {
    cache.get::<Vec<u8>, _>(key).unwrap().map(|value| marked::marks(&value).1)
}

/// Waits until something holds, for half a minute at the most.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not within half a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn work_goes_on(metadata: &'static str) {
    let rig = Rig::new(metadata);
    let (cache, elsewhere) = (rig.open(), rig.elsewhere());
    for key in 0..10 {
        put(&cache, &format!("k{key}"), key);
    }
    for round in 1..=2 {
        rig.down();
        let of = |key: u64| round * 100 + key;
        // Some are put anew, some are new, one is removed.
        for key in 5..15 {
            put(&cache, &format!("k{key}"), of(key));
        }
        assert!(cache.remove("k14").unwrap());
        for key in 5..14 {
            assert_eq!(
                serial(&cache, &format!("k{key}")),
                Some(of(key)),
                "{metadata}, round {round}, while it is down"
            );
        }
        assert_eq!(serial(&cache, "k14"), None);
        assert_ne!(cache.health().unwrap().state, HealthState::Ok);
        // Elsewhere the servers are there, and work goes on, too.
        put(&elsewhere, "theirs", of(0));

        rig.up();
        until("everybody finds what was put", || {
            (5..14).all(|key| serial(&elsewhere, &format!("k{key}")) == Some(of(key)))
                && serial(&elsewhere, "k14").is_none()
        });
        until("it is as before", || cache.health().unwrap().state == HealthState::Ok);
        for key in 0..5 {
            assert_eq!(
                serial(&cache, &format!("k{key}")),
                Some(key),
                "{metadata}, round {round}: never changed"
            );
        }
        assert_eq!(serial(&cache, "theirs"), Some(of(0)), "{metadata}, round {round}");
    }
    cache.close().unwrap();
    elsewhere.close().unwrap();
}

// shows: row U49
#[test]
fn work_goes_on_while_postgres_and_s3_are_gone() {
    work_goes_on("postgres");
}

#[test]
fn work_goes_on_while_redis_and_s3_are_gone() {
    work_goes_on("redis");
}

#[test]
fn a_cache_whose_servers_are_gone_is_opened_and_what_it_holds_survives_the_process() {
    let rig = Rig::new("postgres");
    put(&rig.elsewhere(), "before", 2);
    rig.down();
    let cache = rig.open();
    put(&cache, "meanwhile", 3);
    cache.close().unwrap();
    let cache = rig.open();
    assert_eq!(serial(&cache, "meanwhile"), Some(3));
    assert_eq!(serial(&cache, "before"), None, "only the servers have it");
    rig.up();
    let elsewhere = rig.elsewhere();
    until("it is brought", || serial(&elsewhere, "meanwhile") == Some(3));
    until("what was there is found", || serial(&cache, "before") == Some(2));
}
