//! Protected entries in the write queue, in the local tier, on a remote store and in a fallback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cacheness::blocking::Cache;
use cacheness::*;
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};

use super::signing::key as signing_key;
use super::store::shows;
use super::values::{VALUES, long_text};

/// A store on another machine that can go down.
struct Remote {
    registry: Registry,
    entries: Chaos,
    blobs: Chaos,
    down: Arc<AtomicBool>,
    clock: Arc<TestClock>,
    folder: tempfile::TempDir,
}

impl Remote {
    fn new() -> Self {
        let (entries, blobs, down) = (Chaos::new(), Chaos::new(), Arc::new(AtomicBool::new(false)));
        let builtin = Registry::builtin();
        let inner = (
            builtin.metadata_backend("sqlite").unwrap().clone(),
            builtin.blob_backend("filesystem").unwrap().clone(),
        );
        let registry = builtin
            .with_metadata_backend(Server {
                entries: ChaosMetadataFactory::wrap_shared(inner.0, entries.clone()),
                down: down.clone(),
            })
            .unwrap()
            .with_blob_backend(ChaosBlobFactory::wrap_shared(inner.1, blobs.clone()).named("remote"))
            .unwrap();
        Self { registry, entries, blobs, down, clock: TestClock::new(), folder: tempfile::tempdir().unwrap() }
    }

    fn builder(&self) -> CacheBuilder {
        let key = EncryptionKey::given(Secret::new("e".repeat(32)));
        CacheBuilder::new(self.registry.clone())
            .folder(self.folder.path().join("cache"))
            .metadata("remote")
            .blobs("remote")
            .signing(signing_key("k"))
            .encryption(Encryption::new("e", key))
            .env(self.clock.env())
    }

    fn down(&self, down: bool) {
        let error = down.then(|| Error::new(ErrorKind::Unavailable, "the server is down"));
        self.down.store(down, Ordering::SeqCst);
        self.clock.advance(Duration::from_secs(1));
        self.entries.fail_all(error.clone());
        self.blobs.fail_all(error);
    }
}

/// Entries that cannot be opened while the server is down.
struct Server {
    entries: ChaosMetadataFactory,
    down: Arc<AtomicBool>,
}

#[async_trait]
impl MetadataFactory for Server {
    fn name(&self) -> &str {
        "remote"
    }

    fn description(&self) -> &str {
        self.entries.description()
    }

    fn options(&self) -> &[OptionSpec] {
        self.entries.options()
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the server is down"));
        }
        self.entries.open(options, context).await
    }

    fn needs_runtime(&self) -> bool {
        false
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All that lies in a folder, as bytes.
fn everything(folder: &Path) -> Vec<Vec<u8>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for item in fs_err::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(fs_err::read(path).unwrap()) }
        }
    }
    found
}

#[test]
fn what_waits_in_the_queue_is_served_and_is_protected_once_it_is_stored() {
    let remote = Remote::new();
    let calls = RemoteCalls::new().attempts(1).breaker_failures(1_000_000);
    let cache = remote.builder().remote(calls).on_write_error(OnWriteError::Queue).open_blocking().unwrap();
    let failed = || Error::new(ErrorKind::Unavailable, "the server is down");
    remote.entries.fail_all(Some(failed()));
    let options = PutOptions::ttl(Duration::from_secs(1000)).tag("t").custom("n", 1);
    let put = cache.put_with("small", "value", options).unwrap();
    assert_eq!(put.state, StoredState::Queued);
    cache.put_with("large", long_text().as_str(), PutOptions::new().compression(Compression::Lz4)).unwrap();
    assert!(cache.touch("small").unwrap());
    let read = || {
        assert_eq!(cache.get::<String, _>("small").unwrap().as_deref(), Some("value"));
        assert_eq!(cache.get::<String, _>("large").unwrap().as_deref(), Some(long_text().as_str()));
        let many = cache.get_many::<String, _>(&["large", "small"]).unwrap();
        assert_eq!(many[1].as_deref(), Some("value"));
        assert_eq!(cache.get_raw("small").unwrap().unwrap().bytes, "value");
        assert_eq!(cache.get_entry("small").unwrap().unwrap().custom["n"], 1);
    };
    read();
    remote.entries.fail_all(None);
    until(|| cache.health().unwrap().writes.queued == 0);
    read();
    assert!(cache.get_entry("small").unwrap().unwrap().version.0 > 0, "it comes from the store now");
    cache.close().unwrap();
    let stranger = Cache::open(remote.folder.path().join("cache")).unwrap();
    assert_eq!(stranger.get::<String, _>("small").unwrap(), None);
    assert!(!shows(&everything(remote.folder.path()), "of the marker"));
}

#[test]
fn a_remote_store_and_the_local_tier_hold_nothing_in_plain_and_a_changed_copy_is_fetched_anew() {
    for tier in [false, true] {
        let remote = Remote::new();
        let root = remote.folder.path().join("tier");
        // Slow blobs are ones of another machine.
        let blobs = Chaos::new().slow(Duration::from_micros(1));
        let inner = Registry::builtin().blob_backend("filesystem").unwrap().clone();
        let factory = ChaosBlobFactory::wrap_shared(inner, blobs).named("away");
        let builder = CacheBuilder::new(remote.registry.clone().with_blob_backend(factory).unwrap())
            .folder(remote.folder.path().join("cache"))
            .blobs("away")
            .signing(signing_key("k"))
            .encryption(Encryption::new("e", EncryptionKey::given(Secret::new("e".repeat(32)))));
        let builder = if tier { builder.local_tier(LocalTier::new(&root)) } else { builder };
        let cache = builder.open_blocking().unwrap();
        VALUES.iter().for_each(|value| (value.put)(&cache, value.key));
        for round in 0..2 {
            for value in VALUES {
                assert_eq!((value.read)(&cache, value.key).unwrap(), Some(true), "{} {round}", value.key);
            }
        }
        assert!(!shows(&everything(remote.folder.path()), "the marker"));
        if tier {
            let mut changed = 0;
            let mut folders = vec![root];
            while let Some(folder) = folders.pop() {
                for item in fs_err::read_dir(folder).unwrap() {
                    let path = item.unwrap().path();
                    if path.is_dir() {
                        folders.push(path);
                        continue;
                    }
                    let mut bytes = fs_err::read(&path).unwrap();
                    if let Some(byte) = bytes.first_mut() {
                        *byte ^= 1;
                        changed += 1;
                    }
                    fs_err::write(&path, bytes).unwrap();
                }
            }
            assert!(changed > 8, "{changed} copies");
            for value in VALUES {
                assert_eq!((value.read)(&cache, value.key).unwrap(), Some(true), "{}", value.key);
            }
        }
    }
}

#[test]
fn a_fallback_goes_on_for_the_same_cache_also_when_it_is_opened_while_the_server_is_down() {
    let remote = Remote::new();
    let spare = remote.folder.path().join("spare");
    let open = || remote.builder().fallback(Fallback::new(&spare)).open_blocking();
    remote.down(true);
    let error = open().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("open the cache once while they answer"), "{error}");
    remote.down(false);
    let cache = open().unwrap();
    cache.put("first", "1").unwrap();
    cache.close().unwrap();

    remote.down(true);
    let cache = open().unwrap();
    cache.put("row", "2").unwrap();
    cache.put_with("blob", long_text().as_str(), PutOptions::ttl(Duration::from_secs(1000))).unwrap();
    assert!(cache.touch("blob").unwrap());
    assert_eq!(cache.get::<String, _>("row").unwrap().as_deref(), Some("2"));
    assert_eq!(cache.get::<String, _>("blob").unwrap().as_deref(), Some(long_text().as_str()));
    assert!(!shows(&everything(&spare), "of the marker"));
    remote.down(false);
    // Another machine, without a fallback, takes what was put meanwhile.
    let elsewhere = remote.builder().open_blocking().unwrap();
    until(|| {
        remote.clock.advance(Duration::from_secs(1));
        elsewhere.get::<String, _>("row").unwrap().as_deref() == Some("2")
            && elsewhere.get::<String, _>("blob").unwrap().is_some_and(|text| text == long_text())
    });
    for cache in [&cache, &elsewhere] {
        assert_eq!(cache.get::<String, _>("first").unwrap().as_deref(), Some("1"));
    }
    assert_eq!(cache.get::<String, _>("blob").unwrap().as_deref(), Some(long_text().as_str()));
}

#[test]
fn a_fallback_does_not_go_on_with_another_cache_than_its_entries_were_made_for() {
    let remote = Remote::new();
    let spare = remote.folder.path().join("spare");
    let open = || remote.builder().fallback(Fallback::new(&spare)).open_blocking();
    open().unwrap().close().unwrap();
    remote.down(true);
    let cache = open().unwrap();
    cache.put("k", "v").unwrap();
    // What comes back is another cache, made anew in the same place, with an entry of its own.
    fs_err::remove_dir_all(remote.folder.path().join("cache")).unwrap();
    remote.down(false);
    let other = remote.builder().open_blocking().unwrap();
    other.put("theirs", "t").unwrap();
    let opened = remote.entries.calls_of("close");
    until(|| remote.entries.calls_of("close") > opened);
    assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("v"), "it goes on as before");
    assert_eq!(cache.get::<String, _>("theirs").unwrap(), None);
    cache.close().unwrap();
    assert_eq!(other.get::<String, _>("theirs").unwrap().as_deref(), Some("t"), "nothing was taken out");
    other.close().unwrap();
    // Whoever opens it anew has decided to go on with the other.
    let cache = open().unwrap();
    assert_eq!(cache.get::<String, _>("theirs").unwrap().as_deref(), Some("t"));
}

#[test]
fn keys_are_not_said_to_be_rotated_while_not_all_entries_can_be_reached() {
    let remote = Remote::new();
    let key = |text: &str| EncryptionKey::given(Secret::new(text.repeat(32)));
    let open = |encryption| {
        let fallback = Fallback::new(remote.folder.path().join("spare"));
        remote.builder().encryption(encryption).fallback(fallback).open_blocking().unwrap()
    };
    let cache = open(Encryption::new("e", key("e")));
    cache.put("inline", "v").unwrap();
    cache.put("blob", long_text().as_str()).unwrap();
    cache.close().unwrap();
    let cache = open(Encryption::new("f", key("f")).also_read("e", key("e")));
    // The blobs are down, and the cache has found out.
    remote.blobs.fail_all(Some(Error::new(ErrorKind::Unavailable, "the server is down")));
    cache.put("other", long_text().as_str()).unwrap();
    assert!(cache.rotate_keys().unwrap_err().is_temporary());
    remote.down(true);
    assert!(cache.rotate_keys().unwrap_err().is_temporary());
    remote.down(false);
    until(|| {
        remote.clock.advance(Duration::from_secs(1));
        cache.rotate_keys().is_ok()
    });
    let report = cache.rotate_keys().unwrap();
    assert_eq!((report.rotated, report.replaced, report.unreadable), (0, 0, 0));
    assert_eq!(cache.get::<String, _>("inline").unwrap().as_deref(), Some("v"));
    assert_eq!(cache.get::<String, _>("blob").unwrap().as_deref(), Some(long_text().as_str()));
}
