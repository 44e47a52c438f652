//! What becomes of a cache whose servers go away, hang, answer late or not at all: no confirmed write is lost, no entry is
//! without its blob, and every call ends.

mod network;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{
    CacheBuilder, ConfigOptions, Error, ErrorKind, Limits, ListOptions, OnReadError, PutOptions, RemoteCalls,
    VerifyOptions,
};
use network::proxy::{Mode, Proxy};
use network::services::Postgres;
use network::{place, s3_at, server};

/// Every call ends within this, with some time for a machine that is busy.
const BOUND: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_secs(4);

/// A cache over two servers, with a proxy before each.
struct Rig {
    _folder: tempfile::TempDir,
    metadata: &'static str,
    place: String,
    /// Before the metadata, and before S3.
    entries: Proxy,
    blobs: Proxy,
}

impl Rig {
    fn new(metadata: &'static str) -> Self {
        let url = server(if metadata == "postgres" { "TEST_POSTGRES" } else { "TEST_REDIS" });
        Self::over(metadata, &url)
    }

    fn over(metadata: &'static str, url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            place: place(folder.path()),
            _folder: folder,
            metadata,
            entries: Proxy::of(url),
            blobs: Proxy::of(&server("TEST_S3")),
        }
    }

    fn builder(&self) -> CacheBuilder {
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

    fn open(&self) -> Cache {
        self.builder().open_blocking().unwrap()
    }
}

/// A call that must end in time.
fn bounded<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = call();
    assert!(begun.elapsed() < BOUND + SLACK, "{what} took {:?}", begun.elapsed());
    result
}

fn is_down(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

fn put(cache: &Cache, key: &str, value: &str) -> Result<(), Error> {
    bounded("a put", || cache.put_with(key, value, PutOptions::new().inline(false))).map(drop)
}

fn get(cache: &Cache, key: &str) -> Result<Option<String>, Error> {
    bounded("a get", || cache.get(key))
}

/// Until the circuit breakers let calls through again.
fn eventually<T>(what: &str, mut call: impl FnMut() -> Result<T, Error>) -> T {
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
fn is_whole(cache: &Cache) {
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

#[test]
fn a_server_that_is_gone_at_the_start_is_an_error_in_time_and_later_the_cache_opens() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        for mode in [Mode::Refuse, Mode::Stall] {
            for proxy in [&rig.entries, &rig.blobs] {
                proxy.set(mode);
                let error = bounded("opening", || rig.builder().open_blocking()).unwrap_err();
                assert!(is_down(&error), "{metadata}, {mode:?}: {error}");
                proxy.set(Mode::Pass);
                proxy.cut();
            }
        }
        let cache = rig.open();
        put(&cache, "k", "v").unwrap();
        assert_eq!(get(&cache, "k").unwrap().as_deref(), Some("v"));
    }
}

#[test]
fn a_server_that_goes_away_or_hangs_costs_bounded_errors_and_nothing_is_lost_when_it_is_back() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        let cache = rig.open();
        // Each value is another one, so that an old one is seen.
        let (mut turn, mut confirmed) = (0, "value 0".to_owned());
        put(&cache, "before", &confirmed).unwrap();
        for (mode, cut) in
            [(Mode::Refuse, true), (Mode::Stall, false), (Mode::Delay(Duration::from_secs(5)), false)]
        {
            for proxy in [&rig.entries, &rig.blobs] {
                turn += 1;
                proxy.set(mode);
                if cut {
                    proxy.reset();
                }
                let error = put(&cache, "meanwhile", &format!("value {turn}")).unwrap_err();
                assert!(is_down(&error), "{metadata}, {mode:?}: {error}");
                let error = get(&cache, "before").unwrap_err();
                assert!(is_down(&error), "{metadata}, {mode:?}: {error}");
                let _ = bounded("statistics", || cache.stats());
                let _ = bounded("a listing", || cache.list(Default::default()));
                let _ = bounded("a removal", || cache.remove("none"));
                let _ = bounded("health", || cache.health());
                proxy.set(Mode::Pass);
                proxy.cut();
                let found = eventually("a get", || get(&cache, "before"));
                assert_eq!(found.as_ref(), Some(&confirmed), "{metadata}, {mode:?}");
                confirmed = format!("value {turn}");
                eventually("a put", || put(&cache, "before", &confirmed));
                eventually("a put", || put(&cache, "meanwhile", &confirmed));
            }
        }
        std::thread::sleep(Duration::from_secs(1));
        for key in ["before", "meanwhile"] {
            assert_eq!(
                eventually("a get", || get(&cache, key)).as_ref(),
                Some(&confirmed),
                "{metadata}: {key}"
            );
        }
        is_whole(&cache);
        bounded("closing", || cache.close()).unwrap();
    }
}

/// What a program may call beside puts and gets, each time from the beginning and all at once: none waits longer than its steps may
/// take, though the circuit breakers are as good as switched off.
#[test]
fn every_call_ends_in_time_while_a_server_hangs() {
    const DEADLINE: Duration = Duration::from_secs(1);
    type Call = fn(&Cache) -> Result<(), Error>;
    /// A call, and in the time of how many calls to a backend it has to end.
    type Bounded = (&'static str, u32, Call);
    let calls: [Bounded; 25] = [
        ("lease", 1, |cache| cache.lease("l", Duration::from_secs(5)).map(drop)),
        ("changes", 1, |cache| cache.changes().map(drop)),
        ("put_many", 3, |cache| {
            let large = "v".repeat(100_000);
            cache.put_many([("a", large.as_str()), ("b", "small")], PutOptions::new()).map(drop)
        }),
        ("put_reader", 2, |cache| cache.put_reader("r", &[7_u8; 300_000][..], PutOptions::new()).map(drop)),
        ("get_many", 5, |cache| cache.get_many::<String, _>(&["k0", "k1", "k2"]).map(drop)),
        ("get_raw", 3, |cache| cache.get_raw("k0").map(drop)),
        ("peek", 3, |cache| cache.peek::<String, _>("k0").map(drop)),
        ("reader", 3, |cache| {
            let Some(mut reader) = cache.reader("k0")? else { return Ok(()) };
            std::io::copy(&mut reader, &mut std::io::sink()).map_err(|error| Error::io(error, "reading"))?;
            Ok(())
        }),
        ("get_entry", 1, |cache| cache.get_entry("k0").map(drop)),
        ("contains", 1, |cache| cache.contains("k0").map(drop)),
        ("touch", 2, |cache| cache.touch("k0").map(drop)),
        ("extend_ttl", 2, |cache| cache.extend_ttl("k0", Duration::from_secs(9)).map(drop)),
        ("remove_many", 2, |cache| cache.remove_many(&["none", "neither"]).map(drop)),
        ("count_matching", 1, |cache| cache.count_matching(ListOptions::new().tag("t")).map(drop)),
        ("remove_matching", 2, |cache| cache.remove_matching(ListOptions::new().tag("none")).map(drop)),
        ("clear", 1, |cache| cache.namespace("other")?.clear().map(drop)),
        ("drop_namespace", 3, |cache| cache.drop_namespace("other").map(drop)),
        ("purge", 6, |cache| cache.purge().map(drop)),
        ("reset_stats", 2, |cache| cache.namespace("other")?.reset_stats()),
        ("namespaces", 2, |cache| cache.namespaces().map(drop)),
        ("limits", 1, |cache| cache.limits().map(drop)),
        // Entries may have to be ranked anew.
        ("set_limits", 12, |cache| cache.set_limits(Limits::unbounded().max_entries(1_000)).map(drop)),
        ("verify", 12, |cache| cache.verify(VerifyOptions::new()).map(drop)),
        ("health", 2, |cache| cache.health().map(drop)),
        // One look through all entries.
        ("sweep", 34, |cache| cache.sweep(Duration::from_secs(3_600)).map(drop)),
    ];
    let remote = RemoteCalls::new().timeout(DEADLINE / 2).deadline(DEADLINE).breaker_failures(1_000_000);
    std::thread::scope(|scope| {
        for (metadata, entries_hang) in
            [("postgres", true), ("postgres", false), ("redis", true), ("redis", false)]
        {
            scope.spawn(move || {
                let rig = Rig::new(metadata);
                let cache = eventually("opening", || rig.builder().remote(remote).open_blocking());
                for key in ["k0", "k1", "k2"] {
                    let options = || PutOptions::ttl(Duration::from_secs(600)).inline(false).tag("t");
                    eventually("a put", || cache.put_with(key, &"v".repeat(100_000), options()));
                }
                let proxy = if entries_hang { &rig.entries } else { &rig.blobs };
                proxy.set(Mode::Stall);
                let took: Vec<_> = std::thread::scope(|scope| {
                    let calling = calls.map(|(name, units, call)| {
                        let cache = cache.clone();
                        let called = scope.spawn(move || {
                            let begun = Instant::now();
                            (call(&cache), begun.elapsed())
                        });
                        (name, units, called)
                    });
                    calling
                        .into_iter()
                        .map(|(name, units, called)| (name, units, called.join().unwrap()))
                        .collect()
                });
                for (name, units, (result, took)) in took {
                    assert!(took <= DEADLINE * units + SLACK, "{metadata}, {name} took {took:?}");
                    if let Err(error) = result {
                        assert!(is_down(&error), "{metadata}, {name}: {error}");
                    } else {
                        assert!(!entries_hang || name == "health", "{metadata}: {name} needs the entries");
                    }
                }
                proxy.set(Mode::Pass);
                proxy.cut();
                for key in ["k0", "k1", "k2"] {
                    let found = eventually("a get", || cache.get::<String, _>(key));
                    assert_eq!(found.map(|value| value.len()), Some(100_000), "{metadata}: {key}");
                }
            });
        }
    });
}

/// A connection whose other end has gone without a word, as behind a firewall that forgot it: it takes bytes and never answers.
#[test]
fn connections_that_hang_do_not_keep_new_ones_from_being_used() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        let cache = rig.open();
        for key in ["a", "b", "c"] {
            put(&cache, key, "before").unwrap();
        }
        for (turn, proxy) in [&rig.entries, &rig.blobs, &rig.entries].into_iter().enumerate() {
            proxy.hold();
            for key in ["a", "b", "c"] {
                let found = eventually("a get while the old connections hang", || get(&cache, key));
                assert_eq!(found.as_deref(), Some("before"), "{metadata}, {turn}");
            }
            // Each try has a key of its own: one that is given up may still arrive.
            let mut tries = 0;
            eventually("a put while the old connections hang", || {
                tries += 1;
                put(&cache, &format!("{turn}: {tries}"), "meanwhile")
            });
            let key = format!("{turn}: {tries}");
            assert_eq!(eventually("a get", || get(&cache, &key)).as_deref(), Some("meanwhile"));
            proxy.release();
            assert_eq!(eventually("a get", || get(&cache, &key)).as_deref(), Some("meanwhile"));
        }
        is_whole(&cache);
    }
}

#[test]
fn a_cache_over_servers_that_are_gone_closes_and_drops_in_time() {
    for metadata in ["postgres", "redis"] {
        for mode in [Mode::Refuse, Mode::Stall] {
            let rig = Rig::new(metadata);
            let cache = rig.open();
            put(&cache, "k", "v").unwrap();
            get(&cache, "k").unwrap();
            rig.entries.set(mode);
            rig.blobs.set(mode);
            rig.entries.reset();
            bounded("dropping", || drop(cache));
        }
    }
}

#[test]
fn a_put_whose_answer_is_lost_is_made_or_not_and_never_half() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        let cache = rig.open();
        let other = rig.open();
        for turn in 0..6 {
            let (key, proxy) =
                (format!("k{}", turn % 2), if turn % 3 == 2 { &rig.blobs } else { &rig.entries });
            let before = eventually("a get", || get(&other, &key));
            proxy.set(Mode::LoseAnswers);
            let value = format!("value {turn}");
            let result = put(&cache, &key, &value);
            proxy.set(Mode::Pass);
            proxy.cut();
            let after = eventually("a get", || get(&other, &key));
            match result {
                Ok(()) => assert_eq!(after, Some(value), "{metadata}: a confirmed write was lost"),
                Err(error) => {
                    assert!(is_down(&error), "{metadata}: {error}");
                    assert!(after == before || after == Some(value), "{metadata}: {after:?}");
                }
            }
        }
        is_whole(&other);
    }
}

#[test]
fn a_put_whose_first_answer_is_lost_with_its_connection_is_made_again() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        let cache = rig.open();
        let mut repeated = 0;
        for turn in 0..6 {
            let (value, proxy) =
                (format!("value {turn}"), if turn % 3 == 2 { &rig.blobs } else { &rig.entries });
            proxy.set(Mode::LoseOne);
            match put(&cache, "k", &value) {
                Ok(()) => {
                    repeated += usize::from(proxy.mode() == Mode::Pass);
                    assert_eq!(eventually("a get", || get(&cache, "k")), Some(value), "{metadata}");
                }
                Err(error) => assert!(is_down(&error), "{metadata}: {error}"),
            }
            proxy.set(Mode::Pass);
        }
        assert!(repeated >= 4, "{metadata}: {repeated} of 6 puts were made again");
        is_whole(&cache);
    }
}

/// A write that its caller has given up lies in a connection, and reaches the server after another one was confirmed.
#[test]
#[ignore = "fails on postgres: an open fault, see the known limits in docs/backends.md"]
fn a_put_that_arrives_late_does_not_take_the_place_of_a_later_one() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        let cache = rig.open();
        for turn in 0..3 {
            put(&cache, "k", &format!("{turn}: first")).unwrap();
            rig.entries.hold();
            let error = put(&cache, "k", &format!("{turn}: given up")).unwrap_err();
            assert!(is_down(&error), "{metadata}: {error}");
            std::thread::sleep(Duration::from_millis(1_100));
            // Each try is another value: those over other connections that are held come late, too.
            let (mut tries, mut last) = (0, String::new());
            eventually("a put", || {
                tries += 1;
                last = format!("{turn}: {tries}");
                let made = put(&cache, "k", &last);
                if made.as_ref().is_err_and(Error::is_outcome_unknown) {
                    // It may be made until the time of a call is over, and is refused from then on.
                    std::thread::sleep(Duration::from_millis(1_100));
                }
                made
            });
            rig.entries.release();
            std::thread::sleep(Duration::from_secs(1));
            assert_eq!(
                eventually("a get", || get(&cache, "k")),
                Some(last),
                "{metadata}: a confirmed write was lost"
            );
        }
    }
}

#[test]
fn a_blob_that_cannot_be_put_leaves_no_entry_and_an_entry_that_cannot_be_put_no_blob() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        let cache = rig.open();
        put(&cache, "k", "first").unwrap();
        rig.blobs.gone();
        assert!(is_down(&put(&cache, "k", "second").unwrap_err()));
        assert!(is_down(&put(&cache, "new", "second").unwrap_err()));
        rig.blobs.set(Mode::Pass);
        assert_eq!(eventually("a get", || get(&cache, "k")).as_deref(), Some("first"), "{metadata}");
        assert!(!eventually("a look", || cache.contains("new")), "{metadata}");
        rig.entries.gone();
        assert!(is_down(&put(&cache, "k", "third").unwrap_err()));
        rig.entries.set(Mode::Pass);
        assert_eq!(eventually("a get", || get(&cache, "k")).as_deref(), Some("first"), "{metadata}");
        is_whole(&cache);
    }
}

/// Writers that go on while PostgreSQL is restarted again and again, mostly as by `kill -9`. Each key is written by one
/// thread with rising numbers: what is read must be the last that was confirmed, or one that was tried after it.
#[test]
fn postgres_restarted_20_times_under_load_loses_no_confirmed_write() {
    let postgres = Postgres::start();
    let rig = Rig::over("postgres", &postgres.url);
    let cache = rig.open();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (cache, over) = (&cache, &over);
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                scope.spawn(move || {
                    let mut last: HashMap<String, (u64, u64)> = HashMap::new();
                    let (mut turn, mut failed) = (0_u64, 0_u64);
                    while !over.load(Ordering::Acquire) {
                        turn += 1;
                        let key = format!("w{writer}-{}", turn % 5);
                        let known = last.entry(key.clone()).or_default();
                        known.1 = turn;
                        match bounded("a put", || cache.put(&key, &turn)) {
                            Ok(_) => known.0 = turn,
                            Err(error) => {
                                assert!(is_down(&error), "{error}");
                                failed += 1;
                            }
                        }
                        if let Ok(Some(found)) = bounded("a get", || cache.get::<u64, _>(&key)) {
                            let (confirmed, tried) = last[&key];
                            assert!(
                                (confirmed..=tried).contains(&found),
                                "{key}: {found}, not {confirmed}..={tried}"
                            );
                        }
                    }
                    (last, turn, failed)
                })
            })
            .collect();
        for turn in 0..20 {
            std::thread::sleep(Duration::from_millis(150));
            postgres.restart(if turn % 4 == 3 { "fast" } else { "immediate" });
        }
        over.store(true, Ordering::Release);
        for writer in writers {
            let (last, puts, failed) = writer.join().unwrap();
            assert!(failed < puts, "no put was made at all");
            for (key, (confirmed, tried)) in last {
                let found = eventually("a get", || cache.get::<u64, _>(&key)).unwrap_or(0);
                assert!((confirmed..=tried).contains(&found), "{key}: {found}, not {confirmed}..={tried}");
            }
        }
    });
    postgres.stop();
    assert!(is_down(&bounded("a put", || cache.put("down", &1)).unwrap_err()));
    postgres.start_again();
    eventually("a put", || cache.put("up", &1).map(drop));
    is_whole(&cache);
}

/// A disk of PostgreSQL's that is full: the server says so, what is there stays readable, and removing makes room.
#[test]
fn a_full_disk_of_the_server_is_an_error_that_says_so_and_values_stay_readable() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts a small disk, for which it must be root");
    let postgres = Postgres::start();
    // Where the server's own user gets to, which `TMPDIR` need not be.
    let disk = tempfile::tempdir_in("/tmp").unwrap();
    let path = disk.path().to_str().unwrap().to_owned();
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).status().unwrap();
        assert!(status.success(), "{program} {arguments:?}");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", &path]);
    let unmount = Unmount(path.clone());
    run("chmod", &["0755", &path]);
    run("chown", &["postgres", &path]);
    let sql = |text: &str| run("psql", &[&postgres.url, "-q", "-v", "ON_ERROR_STOP=1", "-c", text]);
    sql(&format!("CREATE TABLESPACE small LOCATION '{path}'"));
    sql("ALTER ROLE postgres SET default_tablespace = 'small'");

    // What another program of the database gives up when its administrator makes room.
    sql("CREATE TABLE filler AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 1500)");

    let rig = Rig::over("postgres", &postgres.url);
    let cache = rig.open();
    let value = vec![7_u8; 20_000];
    let mut stored = 0;
    let error = loop {
        let noise: Vec<u8> = (0..20_000_u64).map(|at| ((at * at * (stored + 1)) >> 7) as u8).collect();
        match bounded("a put", || cache.put(format!("k{stored}"), &noise)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 5_000, "the disk does not fill");
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(stored > 50, "only {stored} values fit");
    for number in 0..stored {
        assert!(cache.get::<Vec<u8>, _>(format!("k{number}")).unwrap().is_some(), "k{number}");
    }
    // Entries can be removed from a full disk; their rows leave room once the server has cleaned up, for which it needs some.
    for number in 0..stored {
        cache.remove(format!("k{number}")).unwrap();
    }
    sql("DROP TABLE filler");
    sql("VACUUM");
    eventually("a put", || cache.put("again", &value).map(drop));
    assert_eq!(cache.get::<Vec<u8>, _>("again").unwrap(), Some(value));
    cache.close().unwrap();
    drop((cache, postgres, unmount));
}

struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l", &self.0]).status();
    }
}
