//! What the seeds' scenarios ask for, and what went wrong upstream: several processes, modes, waits and counts.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{ErrorKind, FileCheck, ListOptions, PutOptions};
use cacheness_testkit::TestClock;
use serde_json::{Value, json};

/// Runs [`work`] in a process of its own, in which this program is run as this test.
fn spawn(task: &str, folder: &Path, number: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "four_processes_on_one_namespace_lose_nothing", "--quiet"])
        .env("CACHENESS_TASK", task)
        .env("CACHENESS_FOLDER", folder)
        .env("CACHENESS_NUMBER", number.to_string())
        .spawn()
        .unwrap()
}

fn join(workers: Vec<Child>) {
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
}

/// What a worker process does.
fn work(task: &str) {
    let folder = std::env::var_os("CACHENESS_FOLDER").unwrap();
    let number: usize = std::env::var("CACHENESS_NUMBER").unwrap().parse().unwrap();
    let cache = Cache::open(Path::new(&folder)).unwrap();
    match task {
        "own keys" => {
            for i in 0..50 {
                cache.put(format!("{number}:{i}"), &json!({"worker": number, "i": i})).unwrap();
                cache.put("shared", &vec![number as u8; 50_000]).unwrap();
                let shared: Vec<u8> = cache.get("shared").unwrap().expect("it is always there");
                assert!(shared.iter().all(|&byte| byte == shared[0]), "parts of two writes");
            }
        }
        "own namespace" => {
            let cache = cache.namespace(format!("plugin-{number}")).unwrap();
            for i in 0..50 {
                cache.put(format!("k{i}"), &number).unwrap();
                assert_eq!(cache.get::<usize, _>(format!("k{i}")).unwrap(), Some(number));
            }
        }
        other => panic!("no task {other}"),
    }
}

// shows: rows 18, 100, 103, U13
#[test]
fn four_processes_on_one_namespace_lose_nothing() {
    if let Ok(task) = std::env::var("CACHENESS_TASK") {
        return work(&task);
    }
    let folder = tempfile::tempdir().unwrap();
    join((0..4).map(|number| spawn("own keys", folder.path(), number)).collect());
    let cache = Cache::open_existing(folder.path()).unwrap();
    for number in 0..4 {
        for i in 0..50 {
            let value: Option<Value> = cache.get(format!("{number}:{i}")).unwrap();
            assert_eq!(value, Some(json!({"worker": number, "i": i})));
        }
    }
    let stats = cache.stats().unwrap();
    assert_eq!(stats.entries, 201);
    assert_eq!((stats.counters.puts, stats.counters.hits, stats.counters.misses), (400, 400, 0));
    assert_eq!((stats.counters.bytes_in > 200 * 50_000, stats.counters.errors), (true, 0));
}

// shows: rows 23, 24, 28
#[test]
fn processes_on_namespaces_of_their_own_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    join((0..6).map(|number| spawn("own namespace", folder.path(), number)).collect());
    let cache = Cache::open_existing(folder.path()).unwrap();
    assert_eq!(cache.namespaces().unwrap().len(), 6);
    for number in 0..6 {
        let stats = cache.namespace(format!("plugin-{number}")).unwrap().stats().unwrap();
        assert_eq!((stats.entries, stats.counters.hits, stats.counters.puts), (50, 50, 50));
    }
}

/// U16, file-schema-cache: 1 hit, 2 misses, 1 entry, 33.3%.
#[test]
fn a_schema_is_computed_again_when_its_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("data.csv");
    fs_err::write(&csv, "id,name\n1,a\n").unwrap();
    let open = || Cache::open(folder.path().join("cache")).unwrap().namespace("schemas").unwrap();
    let analyze = |cache: &Cache| match cache.get::<Vec<String>, _>("schema:data.csv").unwrap() {
        Some(schema) => schema,
        None => {
            let text = fs_err::read_to_string(&csv).unwrap();
            let schema: Vec<String> = text.lines().next().unwrap().split(',').map(str::to_owned).collect();
            cache.put_with("schema:data.csv", &schema, PutOptions::file(&csv)).unwrap();
            schema
        }
    };
    assert_eq!(analyze(&open()), ["id", "name"]);
    assert_eq!(analyze(&open()), ["id", "name"]);
    fs_err::write(&csv, "id,name,email\n1,a,b\n").unwrap();
    assert_eq!(analyze(&open()), ["id", "name", "email"]);
    let stats = open().stats().unwrap();
    assert_eq!((stats.counters.hits, stats.counters.misses, stats.entries), (1, 2, 1));
    assert_eq!(format!("{:.1}%", stats.hit_rate().unwrap() * 100.0), "33.3%");
}

/// U16, ttl-cache: 2 hits, 2 misses, 2 entries.
#[test]
fn answers_of_a_service_are_kept_for_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let open = || {
        let builder = cacheness::Cache::builder().folder(folder.path()).env(clock.env());
        builder.open_blocking().unwrap().namespace("api").unwrap()
    };
    let cache = open();
    let mut calls = 0;
    let mut fetch = |cache: &Cache, key: &str, ttl| {
        cache.get::<String, _>(key).unwrap().unwrap_or_else(|| {
            calls += 1;
            cache.put_with(key, "answer", PutOptions::ttl(Duration::from_secs(ttl))).unwrap();
            "answer".to_owned()
        })
    };
    fetch(&cache, "users", 5);
    fetch(&open(), "users", 5);
    fetch(&cache, "weather", 300);
    clock.advance(Duration::from_secs(4));
    fetch(&cache, "users", 5);
    let stats = cache.stats().unwrap();
    assert_eq!((stats.counters.hits, stats.counters.misses, stats.entries), (2, 2, 2));
    assert_eq!(calls, 2);
    clock.advance(Duration::from_secs(1));
    assert_eq!(cache.get::<String, _>("users").unwrap(), None, "its five seconds are over");
    assert!(cache.get::<String, _>("weather").unwrap().is_some());
}

/// U16, manual-mode-config: survives waits, does not depend on files, is removed by hand.
#[test]
fn a_configuration_stays_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let open = || cacheness::Cache::builder().folder(folder.path()).env(clock.env()).open_blocking().unwrap();
    let config = json!({"theme": "dark", "limits": [1, 2.5, null]});
    open().put("config:ui", &config).unwrap();
    open().put("config:other", &config).unwrap();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(86_400 * 365));
        assert_eq!(open().get::<Value, _>("config:ui").unwrap().as_ref(), Some(&config));
    }
    assert!(open().get_entry("config:ui").unwrap().unwrap().validity.sources.is_empty());
    assert!(open().invalidate("config:ui").unwrap());
    assert!(!open().invalidate("config:ui").unwrap());
    assert_eq!(open().get::<Value, _>("config:ui").unwrap(), None);
    assert_eq!(open().clear().unwrap(), 1);
    assert_eq!(open().list(ListOptions::new()).unwrap().entries.len(), 0);
}

// shows: row 13
#[test]
fn nested_json_comes_back_equal() {
    let cache = Cache::memory().unwrap();
    let payload = json!({
        "columns": ["date", "product"], "row_count": 5, "growth": 0.12, "open": true, "note": null,
        "nested": {"deeper": [{"a": -1}, {"b": "ü"}]},
    });
    cache.put("schema:/data/in/file.csv", &payload).unwrap();
    assert_eq!(cache.get::<Value, _>("schema:/data/in/file.csv").unwrap(), Some(payload));
}

// shows: row 82
#[test]
fn a_default_cache_lies_in_the_users_data_folder() {
    if std::env::var_os("CACHENESS_DEFAULT").is_some() {
        let cache = Cache::open_default("some-app").unwrap();
        cache.put("k", &1).unwrap();
        assert!(cache.folder().unwrap().ends_with("some-app/cacheness"));
        return;
    }
    for name in ["../evil", "a/b", "", ".", ".."] {
        assert_eq!(Cache::open_default(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name:?}");
    }
    #[cfg(target_os = "linux")]
    {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_default_cache_lies_in_the_users_data_folder", "--quiet"])
            .env("CACHENESS_DEFAULT", "1")
            .env("XDG_DATA_HOME", folder.path())
            .status();
        assert!(status.unwrap().success());
        assert!(folder.path().join("some-app").join("cacheness").join("index.sqlite").is_file());
    }
}

#[test]
fn open_existing_never_creates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    assert_eq!(Cache::open_existing(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!path.exists());
    fs_err::create_dir(&path).unwrap();
    assert_eq!(Cache::open_existing(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs_err::read_dir(&path).unwrap().count(), 0, "nothing was made in the empty folder");
    drop(Cache::open(&path).unwrap());
    Cache::open_existing(&path).unwrap().put("k", &1).unwrap();
}

#[test]
fn a_damaged_index_says_so_and_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(
        folder.path().join("index.sqlite"),
        "no database at all, but long enough to be one".repeat(100),
    )
    .unwrap();
    let error = Cache::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.to_string().contains("index.sqlite"), "{error}");
}

// shows: row U4
#[test]
fn a_content_check_sees_what_a_stat_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs_err::write(&path, "aaaa").unwrap();
    let cache = Cache::memory().unwrap();
    cache.put_with("content", &1, PutOptions::new().with_file_by(&path, FileCheck::Content)).unwrap();
    cache.put_with("stat", &1, PutOptions::file(&path)).unwrap();
    // Rewritten with the same bytes: another time, the same content.
    let later = fs_err::metadata(&path).unwrap().modified().unwrap() + Duration::from_secs(5);
    fs_err::OpenOptions::new().write(true).open(&path).unwrap().file().set_modified(later).unwrap();
    assert_eq!(cache.get::<i32, _>("content").unwrap(), Some(1));
    assert_eq!(cache.get::<i32, _>("stat").unwrap(), None);
}
