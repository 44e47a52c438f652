//! What becomes of a cache whose servers go away, hang, answer late or not at all: no confirmed write is lost, no entry is
//! without its blob, and every call ends.

mod network;

use std::time::Duration;

use cacheness::{Error, RemoteCalls};
use network::proxy::Mode;
use network::rig::{Rig, bounded, eventually, get, is_down, is_whole, put};

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
fn a_server_that_is_just_starting_is_tried_again_at_opening() {
    for metadata in ["postgres", "redis"] {
        let rig = Rig::new(metadata);
        rig.entries.set(Mode::Refuse);
        let opened = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(200));
                rig.entries.set(Mode::Pass);
            });
            let calls = RemoteCalls::new().deadline(Duration::from_secs(20)).attempts(20);
            bounded("opening", || rig.builder().remote(calls).open_blocking())
        });
        let cache = opened.unwrap_or_else(|error| panic!("{metadata}: {error}"));
        put(&cache, "k", "v").unwrap();
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
        let mut lost = 0;
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
                    lost += 1;
                    assert!(is_down(&error), "{metadata}: {error}");
                    assert!(after == before || after == Some(value), "{metadata}: {after:?}");
                }
            }
        }
        assert!(lost >= 4, "{metadata}: {lost} of 6 puts had no answer");
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
