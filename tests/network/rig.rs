//! A cache over two servers with a proxy before each, and what holds for each of its calls.

use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, ConfigOptions, Error, ErrorKind, OnReadError, PutOptions, RemoteCalls};

use super::proxy::Proxy;
use super::{place, s3_at, server};

/// Every call ends within this, with some time for a machine that is busy.
pub const BOUND: Duration = Duration::from_secs(3);
pub const SLACK: Duration = Duration::from_secs(4);

/// A cache over two servers, with a proxy before each.
pub struct Rig {
    _folder: tempfile::TempDir,
    metadata: &'static str,
    place: String,
    /// Before the metadata, and before S3.
    pub entries: Proxy,
    pub blobs: Proxy,
}

impl Rig {
    pub fn new(metadata: &'static str) -> Self {
        let url = server(if metadata == "postgres" { "TEST_POSTGRES" } else { "TEST_REDIS" });
        Self::over(metadata, &url)
    }

    /// Over a metadata server of a test's own.
    pub fn over(metadata: &'static str, url: &str) -> Self {
        Self::between(metadata, url, &server("TEST_S3"))
    }

    /// Over two servers of a test's own.
    pub fn between(metadata: &'static str, url: &str, s3: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            place: place(folder.path()),
            _folder: folder,
            metadata,
            entries: Proxy::of(url),
            blobs: Proxy::of(s3),
        }
    }

    pub fn builder(&self) -> CacheBuilder {
        let (url, place) = match self.metadata {
            "postgres" => {
                (format!("postgres://postgres@127.0.0.1:{}/postgres", self.entries.port()), "schema")
            }
            _ => (format!("redis://127.0.0.1:{}", self.entries.port()), "prefix"),
        };
        let calls = RemoteCalls::new()
            .timeout(Duration::from_secs(1))
            .deadline(BOUND)
            .attempts(3)
            .breaker_pause(Duration::from_millis(200));
        Cache::builder()
            .metadata_with(
                self.metadata,
                ConfigOptions::new().with("url", url).with(place, self.place.as_str()),
            )
            .blobs_with("s3", s3_at(&format!("http://127.0.0.1:{}", self.blobs.port()), &self.place))
            .remote(calls)
            .on_read_error(OnReadError::Error)
    }

    pub fn open(&self) -> Cache {
        self.builder().open_blocking().unwrap()
    }
}

/// A call that must end in time.
pub fn bounded<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = call();
    assert!(begun.elapsed() < BOUND + SLACK, "{what} took {:?}", begun.elapsed());
    result
}

pub fn is_down(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

pub fn put(cache: &Cache, key: &str, value: &str) -> Result<(), Error> {
    bounded("a put", || cache.put_with(key, value, PutOptions::new().inline(false))).map(drop)
}

pub fn get(cache: &Cache, key: &str) -> Result<Option<String>, Error> {
    bounded("a get", || cache.get(key))
}

/// Until the circuit breakers let calls through again.
pub fn eventually<T>(what: &str, mut call: impl FnMut() -> Result<T, Error>) -> T {
    let begun = Instant::now();
    loop {
        match call() {
            Ok(done) => return done,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every entry has its blob, and after a sweep every blob has its entry.
pub fn is_whole(cache: &Cache) {
    eventually("a sweep", || cache.sweep(Duration::ZERO));
    let keys = eventually("a listing", || cache.list(Default::default()));
    for entry in &keys.entries {
        let key = entry.entry.key.as_str();
        let found = eventually("a get", || bounded("a get", || cache.get_raw(key)));
        assert!(found.is_some(), "{key} has an entry and no value");
    }
    // A blob whose answer was lost may have come late, after the first sweep: then the next one finds it.
    let begun = Instant::now();
    while eventually("a sweep", || cache.sweep_dry_run(Duration::ZERO)).orphans > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "orphans stay");
        eventually("a sweep", || cache.sweep(Duration::ZERO));
    }
}
