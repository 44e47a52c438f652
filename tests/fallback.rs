//! Reads and writes go on while the backends are down, and what was done meanwhile is brought to them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{
    CacheBuilder, ConfigOptions, Env, Error, ErrorKind, Fallback, HealthState, Limits, ListOptions,
    PutOptions, Registry, RemoteCalls,
};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};

/// A cache whose backends can go down, and its fallback.
struct Two {
    registry: Registry,
    /// What happens to the first store.
    entries: Chaos,
    blobs: Chaos,
    /// The names of the second store's backends.
    second: [&'static str; 2],
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
}

const FILES: [&str; 2] = ["sqlite", "filesystem"];
const MEMORY: [&str; 2] = ["memory", "memory"];

impl Two {
    fn new() -> Self {
        Self::of(FILES, FILES)
    }

    fn of(first: [&str; 2], second: [&'static str; 2]) -> Self {
        let (entries, blobs) = (Chaos::new(), Chaos::new());
        let builtin = Registry::builtin();
        let metadata = builtin.metadata_backend(first[0]).unwrap().clone();
        let files = builtin.blob_backend(first[1]).unwrap().clone();
        let registry = builtin
            .with_metadata_backend(
                ChaosMetadataFactory::wrap_shared(metadata, entries.clone()).named("first"),
            )
            .unwrap()
            .with_blob_backend(ChaosBlobFactory::wrap_shared(files, blobs.clone()).named("first"))
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { registry, entries, blobs, second, folder, clock: TestClock::new() }
    }

    fn first(&self) -> PathBuf {
        self.folder.path().join("first")
    }

    fn spare(&self) -> PathBuf {
        self.folder.path().join("spare")
    }

    fn env(&self) -> Env {
        self.clock.env()
    }

    fn builder(&self) -> CacheBuilder {
        let fallback = Fallback::new(self.spare())
            .metadata_with(self.second[0], ConfigOptions::new())
            .blobs_with(self.second[1], ConfigOptions::new());
        CacheBuilder::new(self.registry.clone())
            .folder(self.first())
            .metadata("first")
            .blobs("first")
            .fallback(fallback)
            .env(self.env())
    }

    fn open(&self) -> Cache {
        self.builder().open_blocking().unwrap()
    }

    /// The first store as another machine has it.
    fn elsewhere(&self) -> Cache {
        Cache::builder().folder(self.first()).env(self.env()).open_blocking().unwrap()
    }

    fn down(&self) {
        let error = Error::new(ErrorKind::Unavailable, "the server is down");
        self.entries.fail_all(Some(error.clone()));
        self.blobs.fail_all(Some(error));
        self.later();
    }

    fn up(&self) {
        self.later();
        self.entries.fail_all(None);
        self.blobs.fail_all(None);
    }

    fn later(&self) {
        self.clock.advance(Duration::from_secs(1));
    }

    /// What the second store holds: its rows and notes, and its blobs.
    fn held(&self) -> (Vec<String>, usize) {
        let spare = Cache::builder().folder(self.spare()).env(self.env()).open_blocking().unwrap();
        let mut rows = Vec::new();
        for namespace in spare.namespaces().unwrap() {
            let listed = spare.namespace(namespace.as_str()).unwrap().list(ListOptions::new()).unwrap();
            rows.extend(listed.entries.iter().map(|entry| format!("{namespace}/{}", entry.entry.key)));
        }
        (rows, files(&self.spare().join("blobs")).len())
    }

    /// Waits until both have met: nothing is left in the second store.
    fn meet(&self) {
        until(|| self.held().0.is_empty());
        // Readers may be at the blobs for a while.
        self.clock.advance(Duration::from_secs(61));
        until(|| self.held() == (Vec::new(), 0));
    }

    /// Every entry of the first store has its blob, and every blob its entry.
    fn is_whole(&self) {
        self.clock.advance(Duration::from_secs(120));
        let cache = self.elsewhere();
        cache.purge().unwrap();
        self.clock.advance(Duration::from_secs(120));
        cache.purge().unwrap();
        let mut blobs = 0;
        for namespace in cache.namespaces().unwrap() {
            let cache = cache.namespace(namespace.as_str()).unwrap();
            for entry in cache.list(ListOptions::new()).unwrap().entries {
                blobs += usize::from(entry.entry.blob_id().is_some());
                let found = cache.get_raw(entry.entry.key.as_str()).unwrap();
                assert!(found.is_some(), "`{}` has lost its value", entry.entry.key);
            }
        }
        assert_eq!(files(&self.first().join("blobs")).len(), blobs, "blobs without an entry");
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The blobs in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs_err::read_dir(&at).into_iter().flatten().flatten() {
            let is_blob = entry.file_name().to_str().is_some_and(|name| name.len() == 32);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) if is_blob => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

fn large(seed: u8) -> Vec<u8> {
    (0..100_000).map(|i| (i / 11) as u8 ^ seed).collect()
}

fn get(cache: &Cache, key: &str) -> Option<Vec<u8>> {
    cache.get(key).unwrap()
}

// shows: U49
#[test]
fn reads_and_writes_go_on_while_the_first_store_is_down() {
    for first in [FILES, MEMORY] {
        for second in [FILES, MEMORY] {
            let two = Two::of(first, second);
            let cache = two.open();
            cache.put("before", &large(1)).unwrap();
            two.down();
            assert_eq!(get(&cache, "before"), None, "only the first store has it");
            cache.put("small", &7).unwrap();
            cache.put("large", &large(2)).unwrap();
            cache.put_reader("streamed", &large(3).repeat(20)[..], PutOptions::new()).unwrap();
            assert_eq!(cache.get("small").unwrap(), Some(7));
            assert_eq!(get(&cache, "large"), Some(large(2)));
            let mut streamed = Vec::new();
            cache.reader("streamed").unwrap().unwrap().read_to_end(&mut streamed).unwrap();
            assert!(streamed == large(3).repeat(20));
            cache.put("small", &8).unwrap();
            cache.put("passing", &1).unwrap();
            assert!(cache.remove("passing").unwrap());
            assert_eq!(cache.get("small").unwrap(), Some(8));
            assert_eq!(cache.get::<i32, _>("passing").unwrap(), None);
            let listed = cache.list(ListOptions::new()).unwrap().entries;
            let keys: Vec<&str> = listed.iter().map(|entry| entry.entry.key.as_str()).collect();
            assert_eq!(keys, ["large", "small", "streamed"]);
            assert!(cache.stats().unwrap().counters.hits >= 3);
            two.up();
            until(|| get(&cache, "before") == Some(large(1)));
            assert_eq!(cache.get("small").unwrap(), Some(8));
            assert_eq!(get(&cache, "large"), Some(large(2)));
            assert_eq!(cache.get::<i32, _>("passing").unwrap(), None);
            cache.close().unwrap();
        }
    }
}

// shows: U49
#[tokio::test(flavor = "multi_thread")]
async fn the_async_face_goes_on_as_well() {
    let two = Two::new();
    let cache = two.builder().open().await.unwrap();
    two.down();
    cache.put("small", &7).await.unwrap();
    cache.put("large", &large(2)).await.unwrap();
    assert_eq!(cache.get("small").await.unwrap(), Some(7));
    assert_eq!(cache.get("large").await.unwrap(), Some(large(2)));
    two.up();
    tokio::task::block_in_place(|| two.meet());
    assert_eq!(cache.get("large").await.unwrap(), Some(large(2)));
    cache.close().await.unwrap();
    tokio::task::block_in_place(|| two.is_whole());
}

#[test]
fn what_was_done_meanwhile_is_brought_to_the_first_store_and_nothing_is_left() {
    let two = Two::new();
    let cache = two.open();
    for key in ["kept", "overwritten", "removed", "newer", "removed, then newer"] {
        cache.put(key, &large(0)).unwrap();
    }
    let tenant = cache.namespace("tenant").unwrap();
    let reused = cache.namespace("reused").unwrap();
    for cache in [&tenant, &reused] {
        cache.put("a", &large(1)).unwrap();
        cache.put("b", &1).unwrap();
    }
    two.down();
    cache.put("put", &large(2)).unwrap();
    cache.put("overwritten", &large(3)).unwrap();
    cache.put("overwritten", &large(4)).unwrap();
    cache.put("newer", &large(5)).unwrap();
    cache.remove("removed").unwrap();
    cache.remove("removed, then newer").unwrap();
    cache.put_with("expired", &large(6), PutOptions::ttl(Duration::from_millis(1))).unwrap();
    tenant.clear().unwrap();
    reused.clear().unwrap();
    two.later();
    reused.put("b", &2).unwrap();
    assert_eq!(tenant.get::<i32, _>("b").unwrap(), None);
    // Another machine can reach the first store, and is later.
    two.later();
    let elsewhere = two.elsewhere();
    elsewhere.put("newer", &large(7)).unwrap();
    elsewhere.put("removed, then newer", &large(8)).unwrap();
    two.up();
    two.meet();
    for cache in [&cache, &elsewhere] {
        let found = ["kept", "put", "overwritten", "newer", "removed", "removed, then newer", "expired"]
            .map(|key| get(cache, key).map(|value| value[0]));
        assert_eq!(found, [Some(0), Some(2), Some(4), Some(7), None, Some(8), None]);
        assert!(cache.namespace("tenant").unwrap().list(ListOptions::new()).unwrap().entries.is_empty());
        let reused = cache.namespace("reused").unwrap();
        assert_eq!(reused.get::<i32, _>("a").unwrap(), None);
        assert_eq!(reused.get("b").unwrap(), Some(2));
    }
    let counted = cache.stats().unwrap().counters;
    assert!(counted.puts >= 10, "{counted:?}");
    cache.close().unwrap();
    elsewhere.close().unwrap();
    two.is_whole();
}

#[test]
fn a_cache_opens_while_its_backends_are_down_and_meets_them_later() {
    let two = Two::new();
    two.down();
    let cache = two.builder().limits(Limits::unbounded().max_entries(3)).open_blocking().unwrap();
    cache.put("small", &7).unwrap();
    cache.put("large", &large(2)).unwrap();
    drop(cache);
    // It is there after a restart during the outage.
    let cache = two.builder().limits(Limits::unbounded().max_entries(3)).open_blocking().unwrap();
    assert_eq!(cache.get("small").unwrap(), Some(7));
    assert_eq!(get(&cache, "large"), Some(large(2)));
    assert_eq!(cache.limits().unwrap().max_entries, Some(3));
    assert!(cache.drop_namespace("default").unwrap_err().is_temporary());
    two.up();
    two.meet();
    let elsewhere = two.elsewhere();
    assert_eq!(elsewhere.get("small").unwrap(), Some(7));
    assert_eq!(get(&elsewhere, "large"), Some(large(2)));
    assert_eq!(elsewhere.limits().unwrap().max_entries, Some(3));
    assert_eq!(get(&cache, "large"), Some(large(2)));
    drop((cache, elsewhere));
    two.is_whole();
}

#[test]
fn what_is_wrong_with_the_first_store_for_good_is_an_error() {
    let two = Two::new();
    two.entries.fail_all(Some(Error::new(ErrorKind::PermissionDenied, "wrong password")));
    assert_eq!(two.builder().open_blocking().unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn one_half_of_the_first_store_that_is_down_loses_nothing() {
    for entries_are_down in [true, false] {
        let two = Two::new();
        let cache = two.open();
        cache.put("k", &large(1)).unwrap();
        cache.put("gone", &large(2)).unwrap();
        let chaos = if entries_are_down { &two.entries } else { &two.blobs };
        chaos.fail_all(Some(Error::new(ErrorKind::Timeout, "no answer")));
        two.later();
        cache.put("k", &large(3)).unwrap();
        cache.put("new", &large(4)).unwrap();
        cache.put("small", &5).unwrap();
        cache.remove("gone").unwrap();
        assert_eq!(get(&cache, "k"), Some(large(3)));
        assert_eq!(get(&cache, "new"), Some(large(4)));
        assert_eq!(get(&cache, "gone"), None);
        // Nobody else is led to blobs that they cannot reach.
        let elsewhere = two.elsewhere();
        assert_eq!(get(&elsewhere, "k"), Some(large(1)));
        two.up();
        two.meet();
        assert_eq!(get(&elsewhere, "k"), Some(large(3)));
        assert_eq!(get(&elsewhere, "new"), Some(large(4)));
        assert_eq!(elsewhere.get("small").unwrap(), Some(5));
        assert_eq!(get(&elsewhere, "gone"), None);
        drop((cache, elsewhere));
        two.is_whole();
    }
}

#[test]
fn a_crash_or_an_outage_at_any_call_of_the_meeting_loses_and_leaves_nothing() {
    for lost_answer in [false, true] {
        for (which, calls) in [("entries", 24), ("blobs", 14)] {
            for call in 1..=calls {
                let two = Two::new();
                let cache = two.open();
                cache.put("overwritten", &large(0)).unwrap();
                cache.put("removed", &large(0)).unwrap();
                let tenant = cache.namespace("tenant").unwrap();
                tenant.put("a", &large(1)).unwrap();
                two.down();
                cache.put("put", &large(2)).unwrap();
                cache.put("overwritten", &large(3)).unwrap();
                cache.put("small", &4).unwrap();
                cache.remove("removed").unwrap();
                tenant.clear().unwrap();
                drop((cache, tenant));
                two.up();
                let chaos = if which == "entries" { &two.entries } else { &two.blobs };
                chaos.lose_answers(lost_answer);
                let last = chaos.calls() + call;
                chaos.fail_call(last, Error::new(ErrorKind::Unavailable, "the connection broke"));
                let cache = two.builder().open_blocking().unwrap();
                let begun = Instant::now();
                while chaos.calls() < last && begun.elapsed() < Duration::from_millis(300) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                drop(cache);
                chaos.lose_answers(false);
                chaos.calm(true);
                two.clock.advance(Duration::from_secs(121));
                let cache = two.open();
                two.meet();
                let found =
                    ["put", "overwritten", "removed"].map(|key| get(&cache, key).map(|value| value[0]));
                assert_eq!(found, [Some(2), Some(3), None], "{which}, call {call}");
                assert_eq!(cache.get("small").unwrap(), Some(4));
                assert_eq!(get(&cache.namespace("tenant").unwrap(), "a"), None);
                drop(cache);
                two.is_whole();
            }
        }
    }
}

#[test]
fn outages_that_come_and_go_while_two_processes_write_lose_no_confirmed_write() {
    let two = Two::new();
    let caches = [two.open(), two.open()];
    let mut last: BTreeMap<String, Option<u8>> = BTreeMap::new();
    for round in 0..12_u8 {
        if round % 3 == 2 {
            two.up()
        } else {
            two.down()
        }
        for step in 0..12_u8 {
            two.later();
            // Each writes keys of its own, so that it is known what was last.
            let writer = usize::from(step % 2);
            let key = format!("{writer}/{}", (round * 5 + step) % 9);
            match step % 5 {
                4 => {
                    caches[writer].remove(key.as_str()).unwrap();
                    last.insert(key, None);
                }
                _ => {
                    caches[writer].put(key.as_str(), &large(round * 12 + step)).unwrap();
                    last.insert(key, Some(round * 12 + step));
                }
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    }
    two.up();
    two.meet();
    let elsewhere = two.elsewhere();
    for (key, value) in last {
        for cache in [&caches[0], &caches[1], &elsewhere] {
            assert_eq!(get(cache, &key).map(|found| found[0]), value, "{key}");
        }
    }
    drop((caches, elsewhere));
    two.is_whole();
}

#[test]
fn a_value_is_read_and_changed_rightly_before_it_is_brought() {
    let two = Two::new();
    let cache = two.open();
    cache.put("old", &1).unwrap();
    two.down();
    let ttl = PutOptions::ttl(Duration::from_secs(100));
    cache.put_with("touched", &1, ttl).unwrap();
    cache.put("twice", &1).unwrap();
    cache.remove("old").unwrap();
    cache.put("old again", &1).unwrap();
    assert!(cache.extend_ttl("touched", Duration::from_secs(1_000)).unwrap());
    two.up();
    assert_eq!(cache.get::<i32, _>("old").unwrap(), None);
    cache.put("twice", &2).unwrap();
    assert_eq!(cache.get("twice").unwrap(), Some(2));
    assert!(cache.extend_ttl("touched", Duration::from_secs(2_000)).unwrap());
    assert!(cache.remove("old again").unwrap());
    let listed = cache.list(ListOptions::new()).unwrap().entries;
    let keys: Vec<&str> = listed.iter().map(|entry| entry.entry.key.as_str()).collect();
    assert_eq!(keys, ["touched", "twice"]);
    let many = cache.get_many::<i32, _>(&["twice", "old", "old again", "touched"]).unwrap();
    assert_eq!(many.into_iter().flatten().collect::<Vec<_>>(), [2, 1]);
    two.meet();
    two.clock.advance(Duration::from_secs(1_000));
    let elsewhere = two.elsewhere();
    assert_eq!(elsewhere.get("twice").unwrap(), Some(2));
    assert_eq!(elsewhere.get("touched").unwrap(), Some(1));
    assert_eq!(elsewhere.get::<i32, _>("old").unwrap(), None);
}

#[test]
fn keys_whose_values_cannot_be_brought_yet_are_still_read_and_written() {
    let two = Two::new();
    let cache = two.open();
    for key in ["put", "removed", "kept"] {
        cache.put(key, &large(0)).unwrap();
    }
    two.down();
    for key in ["put", "removed", "kept", "new"] {
        cache.put(key, &large(1)).unwrap();
    }
    two.up();
    // Its disk takes no more blobs, which is no outage.
    two.blobs.fail_all(Some(Error::new(ErrorKind::StorageFull, "the disk is full")));
    until(|| two.blobs.calls_of("put") + two.blobs.calls_of("exists") > 8);
    cache.put("put", &2).unwrap();
    assert!(cache.remove("removed").unwrap());
    assert!(cache.remove("new").unwrap());
    let elsewhere = two.elsewhere();
    for cache in [&cache, &elsewhere] {
        assert_eq!(cache.get("put").unwrap(), Some(2));
        assert_eq!(cache.get::<i32, _>("removed").unwrap(), None);
        assert_eq!(cache.get::<i32, _>("new").unwrap(), None);
    }
    assert_eq!(get(&cache, "kept"), Some(large(1)));
    let listed = cache.list(ListOptions::new().descending()).unwrap().entries;
    let keys: Vec<&str> = listed.iter().map(|entry| entry.entry.key.as_str()).collect();
    assert_eq!(keys, ["put", "kept"]);
    two.blobs.fail_all(None);
    two.meet();
    assert_eq!(get(&elsewhere, "kept"), Some(large(1)));
    drop((cache, elsewhere));
    two.is_whole();
}

#[test]
fn a_listing_of_both_stores_has_each_key_once_and_in_order() {
    let two = Two::new();
    let cache = two.open();
    for n in 0..60 {
        cache.put(format!("k{n:02}").as_str(), &n).unwrap();
        two.later();
    }
    two.down();
    for n in (0..60).step_by(3) {
        cache.put(format!("k{n:02}").as_str(), &vec![n; 50_000]).unwrap();
        two.later();
    }
    for n in (1..60).step_by(3) {
        cache.remove(format!("k{n:02}").as_str()).unwrap();
    }
    two.blobs.fail_all(Some(Error::new(ErrorKind::StorageFull, "the disk is full")));
    two.entries.fail_all(None);
    let looked = two.blobs.calls_of("exists");
    until(|| two.blobs.calls_of("exists") > looked + 5);
    let expected: Vec<String> = (0..60).filter(|n| n % 3 != 1).map(|n| format!("k{n:02}")).collect();
    for limit in [1, 7, 1_000] {
        for descending in [false, true] {
            let mut keys = Vec::new();
            let mut after = None;
            loop {
                let mut options = ListOptions::new().limit(limit);
                if descending {
                    options = options.descending();
                }
                if let Some(after) = after {
                    options = options.after(after);
                }
                let page = cache.list(options).unwrap();
                keys.extend(page.entries.iter().map(|entry| entry.entry.key.as_str().to_owned()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            if descending {
                keys.reverse();
            }
            assert_eq!(keys, expected, "{limit} a page");
        }
    }
    two.blobs.fail_all(None);
    two.meet();
    let found = cache.list(ListOptions::new()).unwrap().entries;
    assert_eq!(found.len(), expected.len());
}

#[test]
fn remote_backends_fall_and_come_back_behind_their_circuit_breakers() {
    let two = Two::new();
    for chaos in [&two.entries, &two.blobs] {
        // From now on they count as remote, and calls to them go through timeouts, repetitions and a breaker.
        let _ = chaos.clone().slow(Duration::from_micros(1));
    }
    let calls = RemoteCalls::new().attempts(2).breaker_pause(Duration::from_millis(100));
    let cache = two.builder().env(Env::new()).remote(calls).open_blocking().unwrap();
    cache.put("before", &large(1)).unwrap();
    two.down();
    for n in 0..20 {
        cache.put(format!("k{n}").as_str(), &large(n)).unwrap();
        assert_eq!(get(&cache, &format!("k{n}")), Some(large(n)));
    }
    assert_ne!(cache.health().unwrap().state, HealthState::Ok);
    two.up();
    until(|| two.held().0.is_empty());
    let elsewhere = Cache::builder().folder(two.first()).open_blocking().unwrap();
    for n in 0..20 {
        assert_eq!(get(&elsewhere, &format!("k{n}")), Some(large(n)));
        assert_eq!(get(&cache, &format!("k{n}")), Some(large(n)));
    }
    assert_eq!(get(&cache, "before"), Some(large(1)));
    assert_eq!(cache.health().unwrap().state, HealthState::Ok);
}
