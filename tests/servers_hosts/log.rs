//! What the workers did and heard, and what must hold of it.

use std::collections::BTreeMap;

use cacheness::blocking::Cache;

use crate::worker::{now, serial};

/// A call, from when to when.
struct Done {
    /// The value that was put or read, 0 where there is none afterwards; or a lease's token.
    serial: u64,
    begun: u64,
    ended: u64,
}

/// A change that a feed must tell of.
struct Change {
    worker: usize,
    /// `None` where all keys were cleared.
    key: Option<u64>,
    /// The version of what was put; 0 where something went.
    version: u64,
    begun: u64,
    ended: u64,
}

/// What one worker's feed told.
#[derive(Default)]
struct Feed {
    bound: u64,
    /// Key and version as of a [`Change`], and when it came.
    heard: Vec<(Option<u64>, u64, u64)>,
    /// When it said that it was cut.
    cuts: Vec<u64>,
}

#[derive(Default)]
pub(crate) struct Log {
    /// Everything that changes what a key holds.
    writes: BTreeMap<u64, Vec<Done>>,
    clears: Vec<Done>,
    gets: BTreeMap<u64, Vec<Done>>,
    leases: BTreeMap<String, Vec<Done>>,
    changes: Vec<Change>,
    feeds: Vec<Feed>,
}

/// How late a change may come besides, because a machine is busy.
const SLACK: u64 = 2_000_000_000;

impl Log {
    pub(crate) fn read(&mut self, worker: usize, lines: &[String]) {
        let mut feed = Feed::default();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            let key = || words[1].parse::<u64>().ok();
            let done = |serial| Done { serial, begun: number(3), ended: number(4) };
            let change = |version| Change { worker, key: key(), version, begun: number(3), ended: number(4) };
            match words[0] {
                "put" => {
                    self.writes.entry(number(1)).or_default().push(done(number(2)));
                    self.changes.push(change(number(5)));
                }
                "remove" => {
                    self.writes.entry(number(1)).or_default().push(done(0));
                    // Of a key that was not there, nobody needs to hear.
                    self.changes.extend((number(2) > 0).then(|| change(0)));
                }
                "clear" => {
                    self.clears.push(done(0));
                    self.changes.extend((number(2) > 0).then(|| change(0)));
                }
                "get" => self.gets.entry(number(1)).or_default().push(done(number(2))),
                "lease" => self.leases.entry(words[1].to_owned()).or_default().push(done(number(2))),
                "heard" => feed.heard.push((key(), number(2), number(3))),
                "cut" => feed.cuts.push(number(1)),
                "bound" => feed.bound = number(1),
                "following" | "finished" | "done" => {}
                other => panic!("a worker says {other}"),
            }
        }
        assert!(feed.bound > 0, "worker {worker} did not follow");
        self.feeds.push(feed);
    }

    pub(crate) fn puts(&self) -> usize {
        self.changes.iter().filter(|change| change.version > 0).count()
    }

    /// Whether a read may have found this: it was written by a call that had begun before the read ended, and no other write
    /// came certainly after that one and before the read.
    fn may_be_read(&self, key: u64, get: &Done) -> bool {
        let nothing_yet = Done { serial: 0, begun: 0, ended: 0 };
        let own = self.writes.get(&key).map_or(&[][..], Vec::as_slice);
        let all = || own.iter().chain(&self.clears).chain([&nothing_yet]);
        all()
            .filter(|write| write.serial == get.serial && write.begun < get.ended)
            .any(|write| !all().any(|later| later.begun > write.ended && later.ended < get.begun))
    }

    /// No read is older than what was written before it began, nor newer than what was begun before it ended.
    pub(crate) fn no_read_is_stale(&self) -> usize {
        for (&key, gets) in &self.gets {
            for get in gets {
                assert!(
                    self.may_be_read(key, get),
                    "k{key}: {} was read from {} to {}, when it was not there",
                    get.serial,
                    get.begun,
                    get.ended
                );
            }
        }
        self.gets.values().map(Vec::len).sum()
    }

    /// What is there at the end is what was written last.
    pub(crate) fn no_write_was_lost(&self, cache: &Cache) {
        for &key in self.writes.keys() {
            let begun = now();
            let serial = serial(cache.get(format!("k{key}")).unwrap());
            let get = Done { serial, begun, ended: now() };
            assert!(self.may_be_read(key, &get), "k{key}: {serial} is there, and it is not what came last");
        }
    }

    /// No two holders at once, and later ones have higher tokens.
    pub(crate) fn no_lease_was_held_twice(&mut self) -> usize {
        for (name, held) in &mut self.leases {
            held.sort_by_key(|held| held.begun);
            for pair in held.windows(2) {
                assert!(pair[0].ended <= pair[1].begun, "{name} had two holders");
                assert!(pair[0].serial < pair[1].serial, "{name}: tokens only rise");
            }
        }
        self.leases.values().map(Vec::len).sum()
    }

    /// Every worker heard of every change of the others, within its feed's bound of the change's end, unless the feed said
    /// meanwhile that it was cut. How late they came at the most, in words.
    pub(crate) fn every_change_was_heard_in_time(&self) -> String {
        let (mut latest, mut excused, mut count) = (0, 0, 0);
        for (number, feed) in self.feeds.iter().enumerate() {
            for change in self.changes.iter().filter(|change| change.worker != number) {
                let Change { worker, key, version, begun, ended } = *change;
                let mut arrivals = feed
                    .heard
                    .iter()
                    .filter(|heard| (heard.0, heard.1) == (key, version) && heard.2 >= begun);
                let what = format!("worker {number}, of {key:?} in version {version} by worker {worker}");
                // Of a key that went and was cleared later, the one came before the other.
                let &(.., arrived) = arrivals.next().unwrap_or_else(|| panic!("{what}: never heard"));
                let late = arrived.saturating_sub(ended);
                count += 1;
                if late <= feed.bound + SLACK {
                    latest = latest.max(late);
                } else {
                    let was_cut = feed.cuts.iter().any(|cut| (begun..arrived).contains(cut));
                    assert!(was_cut, "{what}: heard {late} ns late, and the bound is {}", feed.bound);
                    excused += 1;
                }
            }
        }
        let cuts: usize = self.feeds.iter().map(|feed| feed.cuts.len()).sum();
        format!(
            "{count} changes heard, {} ms late at the most, {excused} after one of {cuts} cuts",
            latest / 1_000_000
        )
    }

    /// What each feed told last of a key is how the key is now.
    pub(crate) fn the_last_word_of_each_feed_is_right(&self, cache: &Cache) {
        for &key in self.writes.keys() {
            let entry = cache.get_entry(format!("k{key}")).unwrap();
            let version = entry.map_or(0, |entry| entry.entry.version.0);
            for (number, feed) in self.feeds.iter().enumerate() {
                let last = feed.heard.iter().rfind(|heard| heard.0.is_none_or(|of| of == key));
                let last = last.map_or(0, |last| last.1);
                assert_eq!(last, version, "worker {number}: the feed's last word on k{key}");
            }
        }
    }
}
