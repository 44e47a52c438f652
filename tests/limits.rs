//! Limits as applications see them: whole caches, several threads, several processes, custom policies.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use cacheness::*;

/// Where this process is to do its part, if it is one that a test has started.
const FOLDER: &str = "TEST_LIMITS_FOLDER";

const MOST: u64 = 50;
const POLICIES: [&str; 5] = ["lru", "lfu", "fifo", "ttl", "size"];

fn builder(metadata: &str, folder: &Path) -> CacheBuilder {
    match metadata {
        "memory" => Cache::builder(),
        metadata => Cache::builder().folder(folder).metadata(metadata),
    }
}

fn backends() -> Vec<&'static str> {
    let registry = Registry::builtin();
    let all = ["memory", "sqlite", "json"];
    all.into_iter().filter(|name| registry.metadata_backend(name).is_ok()).collect()
}

/// Puts past the limit, and looks after each put whether the limit holds. `who` makes the keys differ.
fn put_past_the_limit(cache: &blocking::Cache, who: u64, puts: u64) {
    for i in 0..puts {
        let key = format!("{who}-{}", i % 200);
        cache.put(&key, &vec![0_u8; 1 + (i * 7919 % 900) as usize]).unwrap();
        if i % 7 == 0 {
            let _ = cache.get::<Vec<u8>, _>(&format!("{who}-{}", i / 2)).unwrap();
        }
        let stats = cache.total_stats().unwrap();
        assert!(stats.entries <= MOST, "{} entries after put {i}", stats.entries);
        assert!(stats.stored_bytes <= 20_000, "{} bytes after put {i}", stats.stored_bytes);
        let own = cache.namespace("own").unwrap();
        own.put(&key, &1).unwrap();
        assert!(own.stats().unwrap().entries <= 7, "the limit of the namespace holds after put {i}");
    }
}

fn limits() -> Limits {
    Limits::unbounded().max_entries(MOST).max_bytes(20_000)
}

#[test]
fn limits_hold_after_every_put_of_four_threads_while_the_policy_changes() {
    for metadata in backends() {
        let folder = tempfile::tempdir().unwrap();
        let own = Namespace::new("own").unwrap();
        let cache = builder(metadata, folder.path())
            .limits(limits())
            .namespace_limits(own, Limits::unbounded().max_entries(7))
            .open_blocking()
            .unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let putting: Vec<_> = (0..4)
                .map(|who| {
                    let cache = cache.clone();
                    scope.spawn(move || put_past_the_limit(&cache, who, 275))
                })
                .collect();
            let (cache, done) = (&cache, &done);
            scope.spawn(move || {
                for policy in POLICIES.into_iter().cycle() {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    assert_eq!(cache.set_limits(limits().policy(policy)).unwrap(), 0, "nothing is lost");
                }
            });
            let results: Vec<_> = putting.into_iter().map(|thread| thread.join()).collect();
            done.store(true, Ordering::Relaxed);
            for result in results {
                result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
        // A put evicts no more than makes room for its value, and an overwrite may leave some.
        let stats = cache.total_stats().unwrap();
        assert!(stats.entries == MOST || stats.stored_bytes > 16_000, "{metadata}: {stats:?}");
    }
}

fn start(name: &str, folder: &Path, metadata: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name]).env(FOLDER, folder).env("TEST_LIMITS_METADATA", metadata);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn limits_hold_after_every_put_of_two_processes_while_the_policy_changes() {
    let name = "limits_hold_after_every_put_of_two_processes_while_the_policy_changes";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let metadata = std::env::var("TEST_LIMITS_METADATA").unwrap();
        // It says nothing of limits, so it keeps those that are stored.
        let cache = builder(&metadata, Path::new(&folder)).open_blocking().unwrap();
        put_past_the_limit(&cache, u64::from(std::process::id()), 525);
        return;
    }
    for metadata in backends().into_iter().filter(|name| *name != "memory") {
        let folder = tempfile::tempdir().unwrap();
        let own = Namespace::new("own").unwrap();
        let cache = builder(metadata, folder.path())
            .limits(limits())
            .namespace_limits(own, Limits::unbounded().max_entries(7))
            .open_blocking()
            .unwrap();
        let mut children = [(); 2].map(|()| start(name, folder.path(), metadata));
        let mut policies = POLICIES.into_iter().cycle();
        while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            let policy = policies.next().unwrap();
            assert_eq!(cache.set_limits(limits().policy(policy)).unwrap(), 0, "nothing is lost");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        for child in children {
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{metadata}: a process failed: {said}");
        }
        let stats = cache.total_stats().unwrap();
        assert!(stats.entries == MOST || stats.stored_bytes > 16_000, "{metadata}: {stats:?}");
    }
}

#[test]
fn who_says_no_limits_takes_those_that_the_cache_has() {
    for metadata in backends().into_iter().filter(|name| *name != "memory") {
        let folder = tempfile::tempdir().unwrap();
        let open = || builder(metadata, folder.path());
        let default = Limits::unbounded().max_bytes(10 << 30).policy("lru");
        let first = open().open_blocking().unwrap();
        assert_eq!(first.limits().unwrap(), default, "{metadata}: a new cache");
        let said = Limits::unbounded().max_entries(5).policy("fifo");
        let second = open().limits(said.clone()).open_blocking().unwrap();
        assert_eq!(open().open_blocking().unwrap().limits().unwrap(), said, "{metadata}: adopted");
        for i in 0..8 {
            first.put(format!("{i}"), &i).unwrap();
        }
        assert_eq!(
            first.stats().unwrap().entries,
            5,
            "{metadata}: one that was open notices at its next put"
        );
        assert!(!second.contains("0").unwrap() && second.contains("7").unwrap());
        // A policy that is not named stays, too.
        let third = open().limits(Limits::unbounded().max_entries(3)).open_blocking().unwrap();
        assert_eq!(third.limits().unwrap(), Limits::unbounded().max_entries(3).policy("fifo"));
        assert_eq!(
            third.stats().unwrap().entries,
            3,
            "{metadata}: a lower limit holds when the cache is open"
        );
    }
    let memory = blocking::Cache::memory().unwrap();
    assert_eq!(memory.limits().unwrap(), Limits::unbounded().policy("lru"));
}

/// Evicts what was put with the lowest `worth` first.
struct Worth;

impl EvictionPolicy for Worth {
    fn name(&self) -> &str {
        "worth"
    }

    fn rank(&self, entry: &Entry, _: i64) -> i64 {
        entry.custom.get("worth").and_then(|worth| worth.as_i64()).unwrap_or(0)
    }
}

fn put_worth(cache: &blocking::Cache, worth: i64) {
    cache.put_with(worth.to_string(), &worth, PutOptions::new().custom("worth", worth)).unwrap();
}

fn keys(cache: &blocking::Cache) -> Vec<String> {
    let page = cache.list(ListOptions::new()).unwrap();
    page.entries.iter().map(|entry| entry.key.as_str().to_owned()).collect()
}

// shows: rows 94, U46, U47
#[test]
fn a_policy_of_an_application_decides_and_is_changed_without_loss() {
    let registry = Registry::builtin().with_eviction_policy(Worth).unwrap();
    let listed = registry.list_eviction_policies();
    let names: Vec<(&str, bool)> = listed.iter().map(|part| (part.name.as_str(), part.builtin)).collect();
    let expected = [
        ("fifo", true),
        ("lfu", true),
        ("lru", true),
        ("none", true),
        ("size", true),
        ("ttl", true),
        ("worth", false),
    ];
    assert_eq!(names, expected);
    for metadata in backends() {
        let folder = tempfile::tempdir().unwrap();
        let open = |registry: &Registry| {
            let builder = CacheBuilder::new(registry.clone());
            if metadata == "memory" { builder } else { builder.folder(folder.path()).metadata(metadata) }
        };
        let cache = open(&registry).limits(Limits::unbounded().max_entries(4).policy("lru"));
        let cache = cache.open_blocking().unwrap();
        for worth in [5, 9, 1, 7] {
            put_worth(&cache, worth);
        }
        let limits = cache.limits().unwrap().policy("worth");
        assert_eq!(cache.set_limits(limits).unwrap(), 0, "{metadata}: no entry is lost");
        assert_eq!(keys(&cache), ["1", "5", "7", "9"]);
        put_worth(&cache, 6);
        put_worth(&cache, 2);
        cache.put_with("kept", &1, PutOptions::new().priority(1.0)).unwrap();
        assert_eq!(keys(&cache), ["6", "7", "9", "kept"], "{metadata}: the lowest go, a high priority stays");
        if metadata == "memory" {
            continue;
        }
        drop(cache);
        let error = open(&Registry::builtin()).open_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRegistered, "{metadata}");
        assert!(error.to_string().contains("`worth`"), "{metadata}: {error}");
        let other = Limits::unbounded().max_entries(4).policy("lfu");
        let cache = open(&Registry::builtin()).limits(other).open_blocking().unwrap();
        assert_eq!(keys(&cache), ["6", "7", "9", "kept"], "{metadata}: naming another one opens it");
    }
}

#[test]
fn a_name_that_is_no_policy_is_told_with_the_nearest() {
    let error = Cache::builder().limits(Limits::unbounded().policy("lfuu")).check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    assert!(error.to_string().contains("did you mean `lfu`?"), "{error}");
    let error =
        blocking::Cache::memory().unwrap().set_limits(Limits::unbounded().policy("lfuu")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    let of_namespace = Limits::unbounded().max_entries(1).policy("lfu");
    let builder = Cache::builder().namespace_limits(Namespace::default(), of_namespace.clone());
    assert_eq!(builder.check().unwrap_err().kind(), ErrorKind::ConfigInvalid);
    let error = blocking::Cache::memory().unwrap().set_namespace_limits(of_namespace).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_policy_is_registered_replaced_and_unregistered_like_other_parts() {
    let mut registry = Registry::builtin();
    registry.register_eviction_policy(Worth, Register::new().named("value")).unwrap();
    assert!(registry.eviction_policy("value").is_ok() && registry.eviction_policy("worth").is_err());
    let taken = registry.register_eviction_policy(Worth, Register::new().named("lru")).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    registry.register_eviction_policy(Worth, Register::new().named("lru").replace()).unwrap();
    assert!(registry.unregister_eviction_policy("lfu") && !registry.unregister_eviction_policy("lfu"));
    let long = registry.register_eviction_policy(Worth, Register::new().named("x".repeat(256))).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::InvalidInput);
    let cache =
        CacheBuilder::new(registry).limits(Limits::unbounded().max_entries(2)).open_blocking().unwrap();
    for worth in [1, 5, 3] {
        put_worth(&cache, worth);
    }
    assert_eq!(keys(&cache), ["3", "5"], "the one that took the place of `lru` ranks");
}

// shows: row U45
#[test]
fn a_cache_without_any_configuration_is_in_memory_unlimited_and_keeps_until_removed() {
    let cache = blocking::Cache::memory().unwrap();
    assert_eq!(cache.limits().unwrap(), Limits::unbounded().policy("lru"));
    assert_eq!(cache.namespace_limits().unwrap(), Limits::unbounded());
    for i in 0..5_000 {
        assert_eq!(cache.put(format!("{i}"), &i).unwrap().evicted, 0);
    }
    let entry = cache.get_entry("0").unwrap().unwrap();
    assert_eq!((entry.validity.expires_at, cache.stats().unwrap().entries), (None, 5_000));
}

// shows: row 84
#[test]
fn a_value_of_64_mib_is_kept_and_only_a_limit_refuses_a_larger_one() {
    for metadata in backends() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits::unbounded().max_bytes(65 << 20);
        let cache = builder(metadata, folder.path()).limits(limits).open_blocking().unwrap();
        cache.put("small", &1).unwrap();
        let value: Vec<u8> =
            (0..64 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        cache.put("large", &value[..]).unwrap();
        assert!(cache.get::<bytes::Bytes, _>("large").unwrap().is_some_and(|read| read[..] == value[..]));
        let error = cache.put("larger", &[&value[..], &value[..2 << 20]].concat()[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{metadata}: {error}");
        assert!(
            cache.contains("small").unwrap() && cache.contains("large").unwrap(),
            "nothing is evicted for it"
        );
    }
}

#[test]
fn what_a_policy_that_refuses_left_over_the_limits_of_a_namespace_goes_with_it() {
    for metadata in backends() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits::unbounded().max_entries(MOST).policy("none");
        let cache = builder(metadata, folder.path()).limits(limits).open_blocking().unwrap();
        let own = cache.namespace("own").unwrap();
        (0..5).for_each(|i| drop(own.put(format!("{i}"), &i).unwrap()));
        assert_eq!(own.set_namespace_limits(Limits::unbounded().max_entries(2)).unwrap(), 0);
        assert_eq!(own.stats().unwrap().entries, 5, "{metadata}: `none` evicts nothing");
        assert_eq!(cache.set_limits(Limits::unbounded().max_entries(MOST).policy("lru")).unwrap(), 3);
        assert_eq!(own.stats().unwrap().entries, 2, "{metadata}");
    }
}

#[test]
fn uses_count_also_after_a_call_that_failed_had_them_written_down() {
    for metadata in backends() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits::unbounded().max_entries(2).max_bytes(100_000);
        let cache = builder(metadata, folder.path()).limits(limits).open_blocking().unwrap();
        let pause = || std::thread::sleep(std::time::Duration::from_millis(2));
        for key in ["used", "unused"] {
            cache.put(key, "value").unwrap();
            pause();
        }
        assert!(cache.get::<String, _>("used").unwrap().is_some());
        pause();
        let values = [("small", vec![1_u8; 10]), ("too large", vec![2; 100_001])];
        let error =
            cache.put_many(values.iter().map(|(key, value)| (key, value)), PutOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{metadata}: {error}");
        cache.put("another", "value").unwrap();
        assert!(cache.contains("used").unwrap() && !cache.contains("unused").unwrap(), "{metadata}");
    }
}
