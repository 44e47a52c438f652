//! Servers that hang: every call of a cache ends in time, and connections that hang do not keep new ones from being used.

mod network;

use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{Error, Limits, ListOptions, PutOptions, RemoteCalls, VerifyOptions};
use network::proxy::Mode;
use network::rig::{Rig, SLACK, eventually, get, is_down, is_whole, put};

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
    let remote = RemoteCalls::new().timeout(DEADLINE).deadline(DEADLINE).breaker_failures(1_000_000);
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
