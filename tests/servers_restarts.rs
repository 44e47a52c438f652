//! What becomes of a cache whose servers are killed and started again under load, or whose disk is full: what was confirmed is
//! there, and every entry has its blob.

mod network;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{ErrorKind, PutOptions};
use network::rig::{Rig, bounded, eventually, is_down, is_whole};
use network::server;
use network::services::{Postgres, Redis, S3s};

/// The last value of each key that was confirmed, and the last that was tried.
type Written = HashMap<String, (u64, u64)>;

/// Writers that go on while servers are `disturbed`. Each key is written by one thread with rising numbers, with the entry
/// and as a blob by turns: what is read must be the last that was confirmed, or one that was tried after it.
fn under_load(cache: &Cache, disturbed: impl FnOnce()) -> Written {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let write = move |writer: u64| {
            let mut last = Written::new();
            let (mut turn, mut failed) = (0_u64, 0_u64);
            while !over.load(Ordering::Acquire) {
                turn += 1;
                let key = format!("w{writer}-{}", turn % 5);
                let known = last.entry(key.clone()).or_default();
                known.1 = turn;
                let options = PutOptions::new().inline(turn.is_multiple_of(2));
                match bounded("a put", || cache.put_with(&key, &turn, options)) {
                    Ok(_) => known.0 = turn,
                    Err(error) => {
                        assert!(is_down(&error), "{error}");
                        failed += 1;
                    }
                }
                if let Ok(found) = bounded("a get", || cache.get::<u64, _>(&key)) {
                    let ((confirmed, tried), found) = (last[&key], found.unwrap_or(0));
                    assert!(
                        (confirmed..=tried).contains(&found),
                        "{key}: {found}, not {confirmed}..={tried}"
                    );
                }
            }
            assert!(failed < turn, "no put was made at all");
            last
        };
        let writers: Vec<_> = (0..3).map(|writer| scope.spawn(move || write(writer))).collect();
        disturbed();
        over.store(true, Ordering::Release);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    })
}

fn is_there(cache: &Cache, written: &Written) {
    for (key, (confirmed, tried)) in written {
        let found = eventually("a get", || cache.get::<u64, _>(key)).unwrap_or(0);
        assert!((confirmed..=tried).contains(&&found), "{key}: {found}, not {confirmed}..={tried}");
    }
}

#[test]
fn postgres_restarted_20_times_under_load_loses_no_confirmed_write() {
    let postgres = Postgres::start();
    let rig = Rig::over("postgres", &postgres.url);
    let cache = rig.open();
    let written = under_load(&cache, || {
        // Mostly as by `kill -9`.
        for turn in 0..20 {
            std::thread::sleep(Duration::from_millis(150));
            postgres.restart(if turn % 4 == 3 { "fast" } else { "immediate" });
        }
    });
    is_there(&cache, &written);
    postgres.stop();
    assert!(is_down(&bounded("a put", || cache.put("down", &1)).unwrap_err()));
    postgres.start_again();
    eventually("a put", || cache.put("up", &1).map(drop));
    is_whole(&cache);
    is_there(&cache, &written);
}

#[test]
fn redis_killed_and_started_again_under_load_loses_no_confirmed_write() {
    let redis = Redis::start();
    let rig = Rig::over("redis", &redis.url());
    let cache = rig.open();
    let written = under_load(&cache, || {
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(300));
            redis.restart();
        }
    });
    is_there(&cache, &written);
    is_whole(&cache);
    is_there(&cache, &written);
}

#[test]
fn s3_killed_and_started_again_under_load_loses_no_confirmed_write() {
    let s3 = S3s::start();
    let rig = Rig::between("redis", &server("TEST_REDIS"), &s3.url);
    let cache = rig.open();
    let written = under_load(&cache, || {
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(300));
            s3.restart();
        }
    });
    is_there(&cache, &written);
    is_whole(&cache);
    is_there(&cache, &written);
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
    let noise = |number: u64| -> Vec<u8> {
        (0..20_000_u64).map(|at| ((at * at * (number + 1)) >> 7) as u8).collect()
    };
    let mut stored = 0_u64;
    let error = loop {
        // Some lie in S3, which has room: their entries have to be stored all the same.
        let options = PutOptions::new().inline(!stored.is_multiple_of(10));
        match bounded("a put", || cache.put_with(format!("k{stored}"), &noise(stored), options)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 5_000, "the disk does not fill");
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(stored > 50, "only {stored} values fit");
    for number in 0..stored {
        let found = eventually("a get", || cache.get::<Vec<u8>, _>(format!("k{number}")));
        assert!(found == Some(noise(number)), "k{number} is another value, or none");
    }
    // Entries can be removed from a full disk, but for those whose blobs have to be noted then, for which there may be no page;
    // their rows leave room once the server has cleaned up, for which it needs some.
    let removed = |is_blob: bool| {
        for number in (10..stored).filter(|number| number.is_multiple_of(10) == is_blob) {
            eventually("a removal", || cache.remove(format!("k{number}")));
        }
    };
    removed(false);
    sql("DROP TABLE filler");
    sql("VACUUM");
    removed(true);
    let blob = || PutOptions::new().inline(false);
    eventually("a put", || cache.put_with("again", &noise(stored), blob()).map(drop));
    is_whole(&cache);
    assert_eq!(cache.get::<Vec<u8>, _>("again").unwrap(), Some(noise(stored)));
    for number in 0..10 {
        assert!(cache.get::<Vec<u8>, _>(format!("k{number}")).unwrap() == Some(noise(number)), "k{number}");
    }
    cache.close().unwrap();
    drop((cache, postgres, unmount));
}

struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l", &self.0]).status();
    }
}
