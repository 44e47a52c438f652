//! Many hosts as one cache: three worker processes over one PostgreSQL or Redis and one S3, which read what the others write,
//! never hold one lease twice, and hear of every change in time.

#![expect(clippy::disallowed_methods, reason = "servers have clocks of their own")]
#![allow(clippy::print_stdout, reason = "processes of these tests talk to each other")]

mod log;
#[path = "../network/mod.rs"]
mod network;
mod worker;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cacheness::ConfigOptions;
use cacheness::blocking::Cache;
use log::Log;
use network::hosts::Hosts;
use network::proxy::{Mode, Proxy};
use network::server;
use worker::{Task, Worker};

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

fn here() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

/// Three workers on this machine. Of two of them the feed is cut in between, again and again.
fn three_workers(metadata: &'static str, url: &str, operations: u64) {
    let proxy = Proxy::of(url);
    let start = |place: &str, worker: u64| {
        let feed = if worker == 0 { url.to_owned() } else { proxy.url(url) };
        let task = Task { metadata, place: place.to_owned(), url: url.to_owned(), feed, worker, operations };
        Worker::start(here(), &task)
    };
    three_workers_by(metadata, url, start, || {
        std::thread::sleep(Duration::from_millis(300));
        proxy.gone();
        std::thread::sleep(Duration::from_millis(100));
        proxy.set(Mode::Pass);
    });
}

/// As [`three_workers`], each on a host of its own, whose cable is out for a while.
fn three_hosts(metadata: &'static str, url: &str, operations: u64) {
    let hosts = Hosts::new(3);
    let (database, s3) = (Proxy::at(hosts.gateway(), url), server("TEST_S3"));
    let store = Proxy::at(hosts.gateway(), &s3);
    let start = |place: &str, worker: u64| {
        let mut program = hosts.on(worker as u8, &std::env::current_exe().unwrap());
        program.env("TEST_S3", store.url(&s3));
        let (place, url) = (place.to_owned(), database.url(url));
        Worker::start(program, &Task { metadata, place, feed: url.clone(), url, worker, operations })
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
    start: impl Fn(&str, u64) -> Worker,
    mut disturb: impl FnMut(),
) {
    let folder = tempfile::tempdir().unwrap();
    let place = network::place(folder.path());
    let cache = open(metadata, &place, url);
    let mut workers: Vec<Worker> = (0..3).map(|worker| start(&place, worker)).collect();
    // All follow the feed before any of them changes something.
    for worker in &mut workers {
        worker.wait_for("following");
    }
    for worker in &mut workers {
        worker.go();
    }
    for _ in 0..5 {
        disturb();
    }
    for worker in &mut workers {
        worker.wait_for("finished");
    }
    // The feeds are followed up to this.
    cache.put("end", &0).unwrap();
    let mut log = Log::default();
    for (number, worker) in workers.into_iter().enumerate() {
        log.read(number, &worker.end());
    }
    let (puts, leases) = (log.puts(), log.no_lease_was_held_twice());
    log.no_write_was_lost(&cache);
    println!("{metadata}: {puts} puts, {} gets, {leases} leases", log.no_read_is_stale());
    let heard = log.every_change_was_heard_in_time();
    println!("{metadata}: {heard}");
    log.the_last_word_of_each_feed_is_right(&cache);
    let stats = cache.stats().unwrap();
    assert_eq!(stats.counters.puts, puts as u64 + 1, "the workers', and the end of the feeds");
    cache.close().unwrap();
}

#[test]
fn three_processes_on_postgres_and_s3_are_one_cache() {
    if let Some(task) = Task::given() {
        return task.work();
    }
    three_workers("postgres", &server("TEST_POSTGRES"), 1_000);
}

#[test]
fn three_processes_on_redis_and_s3_are_one_cache() {
    three_workers("redis", &server("TEST_REDIS"), 1_000);
}

#[test]
#[ignore = "takes a minute: 10,000 operations, and network namespaces, for which it must be root"]
fn three_hosts_on_postgres_and_s3_are_one_cache_for_long() {
    three_hosts("postgres", &server("TEST_POSTGRES"), 3_334);
}

#[test]
#[ignore = "takes a minute: 10,000 operations, and network namespaces, for which it must be root"]
fn three_hosts_on_redis_and_s3_are_one_cache_for_long() {
    three_hosts("redis", &server("TEST_REDIS"), 3_334);
}

/// A lease ends with its holder, by the server's clock, and not before.
#[test]
fn the_lease_of_a_killed_process_is_free_when_its_time_is_over() {
    if let Some(task) = Task::given() {
        return task.hold();
    }
    for (metadata, url) in [("postgres", server("TEST_POSTGRES")), ("redis", server("TEST_REDIS"))] {
        let folder = tempfile::tempdir().unwrap();
        let place = network::place(folder.path());
        let cache = open(metadata, &place, &url);
        let task = Task { metadata, place, feed: url.clone(), url: url.clone(), worker: 0, operations: 0 };
        let mut holder = task.command(here(), "the_lease_of_a_killed_process_is_free_when_its_time_is_over");
        let mut holder = holder.stdout(Stdio::piped()).spawn().unwrap();
        let token: u64 = worker::said(holder.stdout.take().unwrap())
            .find_map(|line| Some(line.strip_prefix("token ")?.parse().unwrap()))
            .expect("it holds the lease");
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
