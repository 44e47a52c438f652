//! What each worker process does: a mix of all that changes and reads, while it follows what the others do. For every
//! operation it prints what it saw, with times that all processes of a machine share, so that the test can tell a stale read
//! from one that came too early.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use cacheness::blocking::{Cache, Changes};
use cacheness::{Changed, PutOptions};

use crate::open;

/// How many keys the workers share. Each is written by one worker only, removed and cleared by others too, and read by all.
const KEYS: u64 = 60;

/// The test as which a worker process runs this program.
const WORKER: &str = "three_processes_on_postgres_and_s3_are_one_cache";

/// What a process is to do.
pub(crate) struct Task {
    pub(crate) metadata: &'static str,
    pub(crate) place: String,
    /// Where the server is, and where its feed is followed.
    pub(crate) url: String,
    pub(crate) feed: String,
    pub(crate) worker: u64,
    pub(crate) operations: u64,
}

type Value = (u64, Vec<u8>);

impl Task {
    const VARIABLE: &str = "TEST_WORKER";

    /// The task of this process, where it is one that a test has started.
    pub(crate) fn given() -> Option<Self> {
        let given = std::env::var(Self::VARIABLE).ok()?;
        let given: Vec<&str> = given.split(' ').collect();
        let [metadata, place, url, feed, worker, operations] = given[..] else { panic!("{given:?}") };
        let metadata = if metadata == "postgres" { "postgres" } else { "redis" };
        let (place, url, feed) = (place.to_owned(), url.to_owned(), feed.to_owned());
        let (worker, operations) = (worker.parse().unwrap(), operations.parse().unwrap());
        Some(Self { metadata, place, url, feed, worker, operations })
    }

    /// A process that runs this program as one of its tests, with the task.
    pub(crate) fn command(&self, mut program: Command, test: &str) -> Command {
        let Self { metadata, place, url, feed, worker, operations } = self;
        program
            .args(["--exact", test, "--nocapture"])
            .env(Self::VARIABLE, format!("{metadata} {place} {url} {feed} {worker} {operations}"));
        program
    }

    /// Takes a lease, and holds it until it is killed.
    pub(crate) fn hold(&self) {
        let cache = open(self.metadata, &self.place, &self.url);
        let lease = cache.lease("work", Duration::from_secs(2)).unwrap().unwrap();
        say(&format!("token {}", lease.token().0));
        std::thread::sleep(Duration::from_secs(60));
    }

    pub(crate) fn work(&self) {
        let cache = open(self.metadata, &self.place, &self.url);
        let feed = open(self.metadata, &self.place, &self.feed);
        let changes = feed.changes().unwrap();
        say(&format!("bound {}", changes.bound().as_nanos()));
        let follower = std::thread::spawn(move || follow(changes));
        say("following");
        std::io::stdin().read_exact(&mut [0]).unwrap();
        let mut mix = Mix { cache: &cache, worker: self.worker, serials: HashMap::new() };
        let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(self.worker + 1);
        for _ in 0..self.operations {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            mix.one(random);
        }
        say("finished");
        follower.join().unwrap();
        // What the cache has counted is written down then.
        cache.close().unwrap();
        feed.close().unwrap();
        say("done");
    }
}

struct Mix<'a> {
    cache: &'a Cache,
    worker: u64,
    /// The last value of each of its keys.
    serials: HashMap<u64, u64>,
}

impl Mix<'_> {
    fn one(&mut self, random: u64) {
        let any = random >> 8;
        match random % 20 {
            0..=5 => {
                let (key, value) = self.next_value(any);
                let options = PutOptions::new().inline(!value.0.is_multiple_of(4));
                let begun = now();
                let stored = self.cache.put_with(format!("k{key}"), &value, options).unwrap();
                say(&format!("put {key} {} {begun} {} {}", value.0, now(), stored.version.unwrap().0));
            }
            6 => {
                let values: Vec<(u64, Value)> = (0..3).map(|at| self.next_value(any + at)).collect();
                let named: Vec<(String, &Value)> =
                    values.iter().map(|(key, value)| (format!("k{key}"), value)).collect();
                let begun = now();
                let stored = self
                    .cache
                    .put_many(named.iter().map(|(key, value)| (key, *value)), PutOptions::new())
                    .unwrap();
                let ended = now();
                for ((key, value), stored) in values.iter().zip(stored) {
                    say(&format!("put {key} {} {begun} {ended} {}", value.0, stored.version.unwrap().0));
                }
            }
            7 => {
                let (key, begun) = (self.own_key(any), now());
                let removed = self.cache.remove(format!("k{key}")).unwrap();
                say(&format!("remove {key} {} {begun} {}", u8::from(removed), now()));
            }
            8..=13 => {
                let (key, begun) = (any % KEYS, now());
                let found: Option<Value> = self.cache.get(format!("k{key}")).unwrap();
                say(&format!("get {key} {} {begun} {}", serial(found), now()));
            }
            14 | 15 => {
                let keys: Vec<u64> = (0..5).map(|at| (any + at * 7) % KEYS).collect();
                let named: Vec<String> = keys.iter().map(|key| format!("k{key}")).collect();
                let begun = now();
                let found = self.cache.get_many::<Value, _>(&named).unwrap();
                let ended = now();
                for (key, found) in keys.iter().zip(found) {
                    say(&format!("get {key} {} {begun} {ended}", serial(found)));
                }
            }
            16 if any.is_multiple_of(8) => {
                let begun = now();
                let cleared = self.cache.clear().unwrap();
                say(&format!("clear all {cleared} {begun} {}", now()));
            }
            _ => {
                let name = format!("l{}", any % 3);
                let Some(lease) = self.cache.lease(&name, Duration::from_secs(5)).unwrap() else { return };
                let (begun, token) = (now(), lease.token().0);
                std::thread::sleep(Duration::from_millis(2));
                assert!(lease.is_held());
                say(&format!("lease {name} {token} {begun} {}", now()));
                assert!(lease.release().unwrap());
            }
        }
    }

    fn own_key(&self, any: u64) -> u64 {
        any % (KEYS / 3) * 3 + self.worker
    }

    /// A key of its own, whose values count up, so that a reader sees which one it got.
    fn next_value(&mut self, any: u64) -> (u64, Value) {
        let key = self.own_key(any);
        let serial = *self.serials.entry(key).and_modify(|serial| *serial += 1).or_insert(1);
        (key, (serial, vec![serial as u8; 200]))
    }
}

/// Which value was found: 0 where none was.
pub(crate) fn serial(found: Option<Value>) -> u64 {
    found.map_or(0, |(serial, bytes)| {
        assert_eq!(bytes, vec![serial as u8; 200], "wrong bytes");
        serial
    })
}

/// Prints what the feed tells, and when, until the key `end` is put.
fn follow(changes: Changes) {
    for changed in changes {
        let at = now();
        // While the feed is cut it says so, and goes on.
        let Ok(changed) = changed else {
            say(&format!("cut {at}"));
            continue;
        };
        for changed in changed {
            match changed {
                Changed::Put { key, .. } if key == "end" => return,
                Changed::Put { key, version, .. } => say(&format!("heard {} {} {at}", &key[1..], version.0)),
                Changed::Invalidated { key, .. } => say(&format!("heard {} 0 {at}", &key[1..])),
                Changed::Cleared { .. } => say(&format!("heard all 0 {at}")),
                Changed::Missed => panic!("nothing was trimmed, so nothing can be missed"),
                other => panic!("the feed tells of {other:?}"),
            }
        }
    }
    unreachable!("a feed does not end");
}

/// A line for the test, apart from what the test harness prints.
fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "@{line}").unwrap();
}

/// The lines that a process says.
pub(crate) fn said(from: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(from)
        .lines()
        .filter_map(|line| Some(line.unwrap().split_once('@')?.1.trim_end().to_owned()))
}

/// Time since the machine was started, in nanoseconds: the same in all its processes.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// A worker process, as the test sees it.
pub(crate) struct Worker {
    process: Child,
    stdin: ChildStdin,
    /// What it says that the test waits for.
    marks: Receiver<String>,
    lines: JoinHandle<Vec<String>>,
}

impl Worker {
    pub(crate) fn start(program: Command, task: &Task) -> Self {
        let mut process =
            task.command(program, WORKER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (tell, marks) = channel();
        let lines = std::thread::spawn(move || {
            let tell = |line: &String| {
                if !line.contains(' ') {
                    let _ = tell.send(line.clone());
                }
            };
            said(stdout).inspect(tell).collect()
        });
        Self { process, stdin, marks, lines }
    }

    /// Waits until it says this, or has failed, which [`end`](Self::end) finds.
    pub(crate) fn wait_for(&mut self, mark: &str) {
        while self.marks.recv().is_ok_and(|said| said != mark) {}
    }

    /// Lets it begin.
    pub(crate) fn go(&mut self) {
        let _ = self.stdin.write_all(b"\n");
    }

    /// Waits for it. What it has said.
    pub(crate) fn end(mut self) -> Vec<String> {
        let lines = self.lines.join().unwrap();
        let has_succeeded = self.process.wait().unwrap().success() && lines.iter().any(|line| line == "done");
        assert!(has_succeeded, "a worker failed:\n{}", lines.join("\n"));
        lines
    }
}
