//! Chaos, over a shelf of blobs in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{
    Blob, BlobBackend, BlobCapabilities, BlobFactory, BlobId, BlobKey, BlobPage, BlobSource, CacheId,
    ConfigOptions, Error, ErrorKind, OpenContext, OptionSpec, Result,
};

use super::{Chaos, ChaosBlobFactory, Damage};
use crate::TestClock;
use crate::run::on_one_thread;

#[derive(Default)]
struct Shelf(Mutex<BTreeMap<BlobKey, Bytes>>);

#[async_trait]
impl BlobBackend for Shelf {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities::memory()
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let bytes = source.into_bytes()?;
        self.0.lock().unwrap().insert(*key, bytes);
        Ok(())
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        Ok(self.0.lock().unwrap().get(key).cloned().map(Blob::Bytes))
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let bytes = self.0.lock().unwrap().get(key).cloned();
        Ok(bytes.map(|bytes| bytes.slice(range.start as usize..range.end as usize)))
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        Ok(self.0.lock().unwrap().remove(key).is_some())
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        Ok(self.0.lock().unwrap().contains_key(key))
    }

    async fn list_keys(&self, _: CacheId, _: Option<&str>, _: usize) -> Result<BlobPage> {
        Ok(BlobPage::default())
    }

    fn staging_dir(&self) -> Option<&Path> {
        None
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

struct Shelves;

#[async_trait]
impl BlobFactory for Shelves {
    fn name(&self) -> &str {
        "shelf"
    }

    fn description(&self) -> &str {
        "Blobs on a shelf."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, _: &ConfigOptions, _: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        Ok(Arc::new(Shelf::default()))
    }
}

async fn open(chaos: &Chaos, clock: &Arc<TestClock>) -> Arc<dyn BlobBackend> {
    let factory = ChaosBlobFactory::wrap(Shelves, chaos.clone());
    assert_eq!(factory.name(), "chaos:shelf");
    factory.open(&ConfigOptions::new(), &OpenContext::new(clock.env())).await.unwrap()
}

fn key() -> BlobKey {
    BlobKey { cache: CacheId::random(), blob: BlobId::new(TestClock::START) }
}

fn value() -> BlobSource {
    BlobSource::Bytes(Bytes::from_static(b"value"))
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is down")
}

#[test]
fn only_the_call_of_the_planned_number_fails() {
    on_one_thread(async {
        let chaos = Chaos::new();
        chaos.fail_call(2, down());
        let (blobs, key) = (open(&chaos, &TestClock::new()).await, key());
        assert!(!blobs.exists(&key).await.unwrap());
        let error = blobs.put(&key, value()).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, Some("put")));
        assert!(!blobs.exists(&key).await.unwrap(), "a call that fails is not made");
        blobs.put(&key, value()).await.unwrap();
        assert_eq!((chaos.calls(), chaos.calls_of("put")), (4, 2));
    });
}

#[test]
fn a_lost_answer_belongs_to_a_call_that_was_made() {
    on_one_thread(async {
        let chaos = Chaos::new();
        let (blobs, key) = (open(&chaos, &TestClock::new()).await, key());
        chaos.lose_answers(true);
        chaos.fail_next("put", down());
        assert!(blobs.put(&key, value()).await.is_err());
        assert!(blobs.exists(&key).await.unwrap());
    });
}

#[test]
fn a_store_that_is_down_comes_back() {
    on_one_thread(async {
        let chaos = Chaos::new();
        let (blobs, key) = (open(&chaos, &TestClock::new()).await, key());
        chaos.fail_all(Some(down()));
        assert!(blobs.exists(&key).await.is_err());
        chaos.calm(true);
        assert!(blobs.exists(&key).await.is_ok());
        chaos.calm(false);
        assert!(blobs.exists(&key).await.is_err());
        chaos.fail_all(None);
        assert!(blobs.exists(&key).await.is_ok());
    });
}

#[test]
fn random_failures_are_the_same_for_the_same_seed_and_about_as_many_as_asked_for() {
    let failures = |seed| {
        let mut failed = Vec::new();
        on_one_thread(async {
            let chaos = Chaos::new();
            chaos.fail_at_random(0.25, seed, down());
            let (blobs, key) = (open(&chaos, &TestClock::new()).await, key());
            for _ in 0..1000 {
                failed.push(blobs.exists(&key).await.is_err());
            }
        });
        failed
    };
    let first = failures(1);
    assert_eq!(first, failures(1));
    assert_ne!(first, failures(2));
    let count = first.iter().filter(|failed| **failed).count();
    assert!((180..320).contains(&count), "{count} of 1000 failed");
}

#[test]
fn a_slow_backend_says_that_it_is_not_local_and_waits_for_the_clock() {
    let clock = TestClock::new();
    let chaos = Chaos::new().slow_by_clock(Duration::from_secs(5));
    let turned = clock.clone();
    let turner = std::thread::spawn(move || {
        while turned.sleepers() == 0 {
            std::thread::yield_now();
        }
        turned.advance(Duration::from_secs(5));
    });
    on_one_thread(async {
        let blobs = open(&chaos, &clock).await;
        assert!(!blobs.capabilities().local);
        assert!(!blobs.capabilities().needs_runtime);
        blobs.put(&key(), value()).await.unwrap();
    });
    turner.join().unwrap();
    assert_eq!(clock.env().now(), TestClock::START + Duration::from_secs(5));
}

#[test]
fn real_slowness_needs_a_runtime() {
    on_one_thread(async {
        let chaos = Chaos::new().slow(Duration::from_millis(20));
        let blobs = open(&chaos, &TestClock::new()).await;
        assert!(blobs.capabilities().needs_runtime && !blobs.capabilities().local);
        let begun = std::time::Instant::now();
        blobs.exists(&key()).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(20));
    });
}

#[test]
fn damage_shows_in_every_read_and_not_in_the_store() {
    on_one_thread(async {
        let chaos = Chaos::new();
        let (blobs, key) = (open(&chaos, &TestClock::new()).await, key());
        blobs.put(&key, value()).await.unwrap();
        let read = async || crate::blob::read(blobs.get(&key).await.unwrap().unwrap());
        for (damage, expected) in [
            (Damage::CutTo(2), &b"va"[..]),
            (Damage::CutTo(99), b"value"),
            (Damage::FlipBit(8), b"v`lue"),
            (Damage::FlipBit(999), b"value"),
            (Damage::Zeros, b"\0\0\0\0\0"),
        ] {
            chaos.damage(Some(damage));
            assert_eq!(read().await, expected);
            let range = blobs.get_range(&key, 1..9).await.unwrap().unwrap();
            assert_eq!(range, expected[1..]);
        }
        chaos.damage(None);
        assert_eq!(read().await, b"value");
    });
}
