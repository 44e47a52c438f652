//! Many hosts as one cache: three worker processes over one PostgreSQL or Redis and one S3, which read what the others write,
//! never hold one lease twice, and hear of every change.

#![allow(clippy::print_stdout, reason = "processes of these tests talk to each other")]

mod network;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cacheness::blocking::Cache;
use cacheness::{Changed, ConfigOptions, PutOptions};
use network::hosts::Hosts;
use network::proxy::{Mode, Proxy};
use network::server;

/// How many keys the workers share. Each is written by one worker only, and read by all.
const KEYS: u64 = 60;

fn open(metadata: &str, place: &str, url: &str) -> Cache {
    let metadata_options = match metadata {
        "postgres" => ConfigOptions::new().with("url", url).with("schema", place),
        _ => ConfigOptions::new().with("url", url).with("prefix", place),
    };
    Cache::builder()
        .metadata_with(metadata, metadata_options)
        .blobs_with("s3", network::s3_at(&server("TEST_S3"), place))
        .open_blocking()
        .unwrap()
}

/// A process of its own, which runs the test `worker` of this file.
fn spawn(
    mut program: Command,
    metadata: &str,
    place: &str,
    url: &str,
    worker: u64,
    operations: u64,
) -> Child {
    program
        .args(["--exact", "worker", "--ignored", "--nocapture"])
        .env("TEST_WORKER", format!("{metadata} {place} {url} {worker} {operations}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test by itself: what each worker process does. For every operation it prints what it saw, with times that all
/// processes of a machine share, so that the test can tell a stale read from one that came too early.
#[test]
#[ignore = "a process that the other tests of this file start"]
fn worker() {
    let Ok(given) = std::env::var("TEST_WORKER") else { return };
    let given: Vec<&str> = given.split(' ').collect();
    let (worker, operations): (u64, u64) = (given[3].parse().unwrap(), given[4].parse().unwrap());
    let cache = open(given[0], given[1], given[2]);
    let clock = Clock::new();
    let out = std::io::stdout();
    let say = |line: String| writeln!(out.lock(), "@{line}").unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(worker + 1);
    let mut serials: HashMap<u64, u64> = HashMap::new();
    for _ in 0..operations {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        match random % 10 {
            0..=3 => {
                // A key of its own: its values count up, so that a reader sees which one it got.
                let key = (random >> 8) % (KEYS / 3) * 3 + worker;
                let serial = serials.entry(key).and_modify(|serial| *serial += 1).or_insert(1);
                let begun = clock.now();
                let options = PutOptions::new().inline(!serial.is_multiple_of(4));
                cache.put_with(format!("k{key}"), &(*serial, vec![*serial as u8; 200]), options).unwrap();
                say(format!("put {key} {serial} {begun} {}", clock.now()));
            }
            4..=8 => {
                let key = (random >> 8) % KEYS;
                let begun = clock.now();
                let found: Option<(u64, Vec<u8>)> = cache.get(format!("k{key}")).unwrap();
                let serial = found.map_or(0, |(serial, bytes)| {
                    assert_eq!(bytes, vec![serial as u8; 200], "wrong bytes");
                    serial
                });
                say(format!("get {key} {serial} {begun} {}", clock.now()));
            }
            _ => {
                let name = format!("l{}", (random >> 8) % 3);
                let Some(lease) = cache.lease(&name, Duration::from_secs(5)).unwrap() else { continue };
                let (begun, token) = (clock.now(), lease.token().0);
                std::thread::sleep(Duration::from_millis(2));
                assert!(lease.is_held());
                say(format!("lease {name} {token} {begun} {}", clock.now()));
                assert!(lease.release().unwrap());
            }
        }
    }
    // What the cache has is not to be counted before it is written down.
    cache.close().unwrap();
    say("done".to_owned());
}

/// Time since the machine was started: the same in all its processes.
struct Clock;

impl Clock {
    fn new() -> Self {
        Self
    }

    fn now(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
    }
}

/// What a worker did, from when to when.
struct Done {
    serial: u64,
    begun: u64,
    ended: u64,
}

#[derive(Default)]
struct Log {
    puts: BTreeMap<u64, Vec<Done>>,
    gets: BTreeMap<u64, Vec<Done>>,
    leases: BTreeMap<String, Vec<Done>>,
}

impl Log {
    fn read(&mut self, worker: Child) {
        let output = worker.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("@done"), "a worker failed:\n{text}");
        for line in text.lines().filter_map(|line| line.split_once('@')?.1.split_once(' ')) {
            let words: Vec<&str> = line.1.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            let done = Done { serial: number(1), begun: number(2), ended: number(3) };
            match line.0 {
                "put" => self.puts.entry(number(0)).or_default().push(done),
                "get" => self.gets.entry(number(0)).or_default().push(done),
                "lease" => self.leases.entry(words[0].to_owned()).or_default().push(done),
                other => panic!("a worker says {other}"),
            }
        }
    }

    /// No read is older than what was written before it began, nor newer than what was begun before it ended.
    fn no_read_is_stale(&self) -> usize {
        let none = Vec::new();
        for (key, gets) in &self.gets {
            let puts = self.puts.get(key).unwrap_or(&none);
            for get in gets {
                let at_least = puts.iter().filter(|put| put.ended < get.begun).map(|put| put.serial).max();
                let at_most = puts.iter().filter(|put| put.begun < get.ended).map(|put| put.serial).max();
                let (at_least, at_most) = (at_least.unwrap_or(0), at_most.unwrap_or(0));
                assert!(
                    (at_least..=at_most).contains(&get.serial),
                    "k{key}: read {}, and {at_least} to {at_most} was there",
                    get.serial
                );
            }
        }
        self.gets.values().map(Vec::len).sum()
    }

    /// No two holders at once, and later ones have higher tokens.
    fn no_lease_was_held_twice(&mut self) -> usize {
        for (name, held) in &mut self.leases {
            held.sort_by_key(|held| held.begun);
            for pair in held.windows(2) {
                assert!(pair[0].ended <= pair[1].begun, "{name} had two holders");
                assert!(pair[0].serial < pair[1].serial, "{name}: tokens only rise");
            }
        }
        self.leases.values().map(Vec::len).sum()
    }
}

/// Everything that was changed, as the feed tells it: the newest version of each key.
fn follow(cache: &Cache) -> impl FnOnce(u64) -> HashMap<String, u64> + use<> {
    let changes = cache.changes().unwrap();
    let (bound, cache) = (changes.bound(), cache.clone());
    let follower = std::thread::spawn(move || {
        let (mut newest, mut seen) = (HashMap::new(), 0_u64);
        for changed in changes {
            // While the feed is cut it says so, and goes on.
            let Ok(changed) = changed else { continue };
            for changed in changed {
                match changed {
                    Changed::Put { key, .. } if key == "end" => return (newest, seen),
                    Changed::Put { key, version, .. } => {
                        seen += 1;
                        newest.insert(key, version.0);
                    }
                    Changed::Missed => panic!("nothing was trimmed, so nothing can be missed"),
                    _ => {}
                }
            }
        }
        unreachable!("a feed does not end");
    });
    move |puts| {
        let begun = Instant::now();
        cache.put("end", &0).unwrap();
        let (newest, seen) = follower.join().unwrap();
        assert!(
            begun.elapsed() < bound + Duration::from_secs(2),
            "the last change came after {:?}",
            begun.elapsed()
        );
        assert!(seen >= puts, "{puts} puts were made, and the feed told of {seen}");
        newest
    }
}

fn here() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn three_workers(metadata: &str, url: &str, operations: u64) {
    three_workers_by(
        metadata,
        url,
        |place, worker| spawn(here(), metadata, place, url, worker, operations),
        || {
            std::thread::sleep(Duration::from_millis(300));
        },
    );
}

/// As [`three_workers`], each on a host of its own, whose cable is out for a while.
fn three_hosts(metadata: &str, url: &str, operations: u64) {
    let hosts = Hosts::new(3);
    let (database, s3) = (Proxy::at(hosts.gateway(), url), server("TEST_S3"));
    let store = Proxy::at(hosts.gateway(), &s3);
    let start = |place: &str, worker: u64| {
        let mut program = hosts.on(worker as u8, &std::env::current_exe().unwrap());
        program.env("TEST_S3", store.url(&s3));
        spawn(program, metadata, place, &database.url(url), worker, operations)
    };
    let mut host = 0;
    three_workers_by(metadata, url, start, || {
        hosts.plug(host % 3, false);
        std::thread::sleep(Duration::from_millis(700));
        hosts.plug(host % 3, true);
        std::thread::sleep(Duration::from_secs(3));
        host += 1;
    });
}

fn three_workers_by(
    metadata: &str,
    url: &str,
    start: impl Fn(&str, u64) -> Child,
    mut disturb: impl FnMut(),
) {
    let folder = tempfile::tempdir().unwrap();
    let place = network::place(folder.path());
    let cache = open(metadata, &place, url);
    // One feed is cut in between, again and again.
    let proxy = Proxy::of(url);
    let cut = open(metadata, &place, &proxy.url(url));
    let (follow_plain, follow_cut) = (follow(&cache), follow(&cut));
    let workers: Vec<Child> = (0..3).map(|worker| start(&place, worker)).collect();
    for _ in 0..5 {
        disturb();
        proxy.gone();
        std::thread::sleep(Duration::from_millis(100));
        proxy.set(Mode::Pass);
    }
    let mut log = Log::default();
    for worker in workers {
        log.read(worker);
    }
    let puts: usize = log.puts.values().map(Vec::len).sum();
    println!("{puts} puts, {} gets, {} leases", log.no_read_is_stale(), log.no_lease_was_held_twice());
    for (key, puts) in &log.puts {
        let last = puts.iter().map(|put| put.serial).max().unwrap();
        let found: Option<(u64, Vec<u8>)> = cache.get(format!("k{key}")).unwrap();
        assert_eq!(found.map(|(serial, _)| serial), Some(last), "k{key}: a write was lost");
    }
    for newest in [follow_plain(puts as u64), follow_cut(puts as u64)] {
        for key in log.puts.keys() {
            let key = format!("k{key}");
            let version = cache.get_entry(&key).unwrap().unwrap().entry.version.0;
            assert_eq!(newest.get(&key), Some(&version), "{key}: the feed's last word");
        }
    }
    // What it has counted is written down then.
    cut.close().unwrap();
    let stats = cache.stats().unwrap();
    assert_eq!(stats.counters.puts, puts as u64 + 2, "the workers' and the two ends of the feeds");
    cache.close().unwrap();
}

#[test]
fn three_processes_on_postgres_and_s3_are_one_cache() {
    three_workers("postgres", &server("TEST_POSTGRES"), 1_000);
}

#[test]
fn three_processes_on_redis_and_s3_are_one_cache() {
    three_workers("redis", &server("TEST_REDIS"), 1_000);
}

#[test]
#[ignore = "takes minutes: 10,000 operations for each, and network namespaces, for which it must be root"]
fn three_hosts_are_one_cache_for_long() {
    three_hosts("postgres", &server("TEST_POSTGRES"), 3_334);
    three_hosts("redis", &server("TEST_REDIS"), 3_334);
}

/// A lease ends with its holder, by the server's clock, and not before.
#[test]
fn the_lease_of_a_killed_process_is_free_when_its_time_is_over() {
    for (metadata, url) in [("postgres", server("TEST_POSTGRES")), ("redis", server("TEST_REDIS"))] {
        let folder = tempfile::tempdir().unwrap();
        let place = network::place(folder.path());
        let cache = open(metadata, &place, &url);
        let mut holder = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holder", "--ignored", "--nocapture"])
            .env("TEST_WORKER", format!("{metadata} {place} {url}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let token: u64 = lines
            .find_map(|line| {
                line.unwrap().split_once("@token ").map(|(_, token)| token.trim().parse().unwrap())
            })
            .unwrap();
        holder.kill().unwrap();
        holder.wait().unwrap();
        let killed = Instant::now();
        let mut refused = 0;
        let lease = loop {
            match cache.lease("work", Duration::from_secs(5)).unwrap() {
                Some(lease) => break lease,
                None => refused += 1,
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let waited = killed.elapsed();
        assert!(refused > 5, "{metadata}: the lease was free at once");
        assert!(
            waited < Duration::from_secs(4),
            "{metadata}: free after {waited:?}, and the lease was for 2 s"
        );
        assert!(lease.token().0 > token, "{metadata}");
    }
}

#[test]
#[ignore = "a process that another test of this file starts and kills"]
fn holder() {
    let Ok(given) = std::env::var("TEST_WORKER") else { return };
    let given: Vec<&str> = given.split(' ').collect();
    let cache = open(given[0], given[1], given[2]);
    let lease = cache.lease("work", Duration::from_secs(2)).unwrap().unwrap();
    println!("@token {}", lease.token().0);
    std::thread::sleep(Duration::from_secs(60));
}

/// The future that asks for a lease is dropped while the answer is on its way.
#[tokio::test]
async fn a_lease_that_nobody_waits_for_any_more_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    for (metadata, options) in
        [("postgres", network::postgres(folder.path())), ("redis", network::redis(folder.path()))]
    {
        let cache = cacheness::Cache::builder().metadata_with(metadata, options).open().await.unwrap();
        for round in 0..40_u64 {
            let name = format!("work {round}");
            let mut asked = Box::pin(cache.lease(&name, Duration::from_secs(3_600)));
            std::future::poll_fn(|context| {
                assert!(asked.as_mut().poll(context).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            // At any moment between asking and the answer.
            tokio::time::sleep(Duration::from_micros(round * 50)).await;
            drop(asked);
            let begun = std::time::Instant::now();
            while cache.lease(&name, Duration::from_secs(1)).await.unwrap().is_none() {
                assert!(begun.elapsed() < Duration::from_secs(20), "{metadata}: the lease stays taken");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        cache.close().await.unwrap();
    }
}
