//! A cache against a plain map: whatever is done, in whatever order, from several threads and over reopenings, the
//! two agree on every value, every listing and every statistic.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{CacheBuilder, ListOptions, PutOptions, Timestamp};
use cacheness_testkit::TestClock;
use proptest::prelude::*;

/// Threads work on keys of their own, so that each knows what it must find.
const THREADS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, size: u32, ttl: Option<u8> },
    Get { key: u8 },
    Peek { key: u8 },
    Remove { key: u8 },
    Touch { key: u8 },
    GetMany { keys: Vec<u8> },
    PutMany { keys: Vec<u8> },
}

/// What happens between rounds of steps, while no thread works.
#[derive(Clone, Debug)]
enum Between {
    Nothing,
    Reopen,
    Advance(u8),
    Purge,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..8_u8;
    // On both sides of what is stored inline.
    let size = prop_oneof![0..100_u32, 2_000..2_100_u32, 32_700..32_800_u32, 300_000..300_001_u32];
    prop_oneof![
        4 => (key.clone(), size, proptest::option::of(0..20_u8)).prop_map(|(key, size, ttl)| Step::Put { key, size, ttl }),
        4 => key.clone().prop_map(|key| Step::Get { key }),
        1 => key.clone().prop_map(|key| Step::Peek { key }),
        2 => key.clone().prop_map(|key| Step::Remove { key }),
        1 => key.clone().prop_map(|key| Step::Touch { key }),
        1 => proptest::collection::vec(key.clone(), 0..4).prop_map(|keys| Step::GetMany { keys }),
        1 => proptest::collection::vec(key, 0..4).prop_map(|keys| Step::PutMany { keys }),
    ]
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        3 => Just(Between::Nothing),
        2 => Just(Between::Reopen),
        3 => (0..15_u8).prop_map(Between::Advance),
        1 => Just(Between::Purge),
        1 => Just(Between::Clear),
    ]
}

#[derive(Clone, Debug)]
struct Kept {
    bytes: Vec<u8>,
    ttl: Option<Duration>,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// One thread's part of the model. Its keys begin with the thread's number.
#[derive(Clone, Default, Debug)]
struct Model {
    entries: BTreeMap<String, Kept>,
    hits: u64,
    misses: u64,
    puts: u64,
    removals: u64,
    expirations: u64,
    written: u64,
}

impl Model {
    fn valid(&self, key: &str, now: Timestamp) -> Option<&Kept> {
        self.entries.get(key).filter(|kept| kept.expires_at.is_none_or(|at| at > now))
    }

    fn look_up(&mut self, key: &str, now: Timestamp) -> Option<Vec<u8>> {
        let found = self.valid(key, now).map(|kept| kept.bytes.clone());
        *if found.is_some() { &mut self.hits } else { &mut self.misses } += 1;
        found
    }

    fn put(&mut self, key: String, bytes: Vec<u8>, ttl: Option<Duration>, now: Timestamp) {
        self.puts += 1;
        self.written += bytes.len() as u64;
        self.entries.insert(key, Kept { bytes, ttl, expires_at: ttl.map(|ttl| now + ttl), created_at: now });
    }

    fn apply(&mut self, cache: &Cache, thread: usize, step: &Step, now: Timestamp) {
        let name = |key: &u8| format!("{thread}:{key}");
        match step {
            Step::Put { key, size, ttl } => {
                let bytes = bytes(*size, self.puts);
                let ttl = ttl.map(|seconds| Duration::from_secs(seconds.into()));
                let options = ttl.map_or_else(PutOptions::manual, PutOptions::ttl);
                cache.put_with(name(key), &bytes, options).unwrap();
                self.put(name(key), bytes, ttl, now);
            }
            Step::Get { key } => {
                let expected = self.look_up(&name(key), now);
                assert!(cache.get::<Vec<u8>, _>(name(key)).unwrap() == expected, "get of {key}");
            }
            Step::Peek { key } => {
                let expected = self.valid(&name(key), now).map(|kept| kept.bytes.clone());
                assert!(cache.peek::<Vec<u8>, _>(name(key)).unwrap() == expected, "peek at {key}");
            }
            Step::Remove { key } => {
                let was_there = self.entries.remove(&name(key)).is_some();
                self.removals += u64::from(was_there);
                assert_eq!(cache.remove(name(key)).unwrap(), was_there);
            }
            Step::Touch { key } => {
                let valid = self.valid(&name(key), now).is_some();
                assert_eq!(cache.touch(name(key)).unwrap(), valid);
                if let Some(kept) = self.entries.get_mut(&name(key)).filter(|_| valid) {
                    kept.expires_at = kept.ttl.map(|ttl| now + ttl);
                }
            }
            Step::GetMany { keys } => {
                let names: Vec<String> = keys.iter().map(name).collect();
                let expected: Vec<_> = names.iter().map(|name| self.look_up(name, now)).collect();
                assert!(cache.get_many::<Vec<u8>, _>(&names).unwrap() == expected);
            }
            Step::PutMany { keys } => {
                let values: Vec<Vec<u8>> =
                    keys.iter().map(|key| bytes(u32::from(*key) * 9_000, self.puts)).collect();
                let batch = keys.iter().map(name).zip(&values);
                cache.put_many(batch.collect::<Vec<_>>(), PutOptions::new()).unwrap();
                for (key, bytes) in keys.iter().zip(values) {
                    self.put(name(key), bytes, None, now);
                }
            }
        }
    }
}

fn bytes(size: u32, seed: u64) -> Vec<u8> {
    (0..u64::from(size)).map(|i| ((i + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// The cache and the models agree on everything that can be asked.
fn compare(cache: &Cache, models: &[Model], now: Timestamp) {
    let all: BTreeMap<&String, &Kept> = models.iter().flat_map(|model| &model.entries).collect();
    let mut listed = Vec::new();
    let mut options = ListOptions::new().limit(7);
    loop {
        let page = cache.list(options.clone()).unwrap();
        listed.extend(
            page.entries.iter().map(|info| (info.key.as_str().to_owned(), info.size, info.is_valid())),
        );
        let Some(next) = page.next else { break };
        options = options.after(next);
    }
    let expected = all.iter().map(|(key, kept)| {
        ((*key).clone(), kept.bytes.len() as u64, kept.expires_at.is_none_or(|at| at > now))
    });
    assert_eq!(listed, expected.collect::<Vec<_>>());
    let stats = cache.stats().unwrap();
    let sum = |count: fn(&Model) -> u64| models.iter().map(count).sum::<u64>();
    assert_eq!(stats.entries, all.len() as u64);
    assert_eq!(stats.stored_bytes, all.values().map(|kept| kept.bytes.len() as u64).sum::<u64>());
    assert_eq!(stats.oldest_entry, all.values().map(|kept| kept.created_at).min());
    let counters = stats.counters;
    assert_eq!(counters.hits, sum(|model| model.hits), "hits");
    assert_eq!(counters.misses, sum(|model| model.misses), "misses");
    assert_eq!(counters.puts, sum(|model| model.puts), "puts");
    assert_eq!(counters.removals, sum(|model| model.removals), "removals");
    assert_eq!(counters.expirations, sum(|model| model.expirations), "expirations");
    assert_eq!(counters.bytes_in, sum(|model| model.written), "bytes in");
    assert_eq!((counters.errors, counters.evictions), (0, 0));
    assert_eq!(cache.total_stats().unwrap().counters, counters);
}

type Round = (Vec<Vec<Step>>, Between);

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let steps = proptest::collection::vec(proptest::collection::vec(step(), 0..12), THREADS);
    proptest::collection::vec((steps, between()), 1..6)
}

fn run(build: impl Fn(&Path) -> CacheBuilder, persistent: bool, rounds: Vec<Round>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let open = || build(folder.path()).env(clock.env()).open_blocking().unwrap();
    let mut cache = open();
    let mut models = vec![Model::default(); THREADS];
    for (steps, between) in rounds {
        let now = clock.env().now();
        std::thread::scope(|scope| {
            for (thread, (model, steps)) in models.iter_mut().zip(&steps).enumerate() {
                let cache = cache.clone();
                scope.spawn(move || steps.iter().for_each(|step| model.apply(&cache, thread, step, now)));
            }
        });
        match between {
            Between::Nothing => {}
            Between::Reopen if persistent => {
                drop(cache);
                cache = open();
            }
            Between::Reopen => {}
            Between::Advance(seconds) => clock.advance(Duration::from_secs(seconds.into())),
            Between::Purge => {
                let mut expired = 0;
                for model in &mut models {
                    let before = model.entries.len();
                    model.entries.retain(|_, kept| kept.expires_at.is_none_or(|at| at > now));
                    model.expirations += (before - model.entries.len()) as u64;
                    expired += (before - model.entries.len()) as u64;
                }
                assert_eq!(cache.purge().unwrap().expired, expired);
            }
            Between::Clear => {
                let held: usize = models.iter().map(|model| model.entries.len()).sum();
                assert_eq!(cache.clear().unwrap(), held as u64);
                models.iter_mut().for_each(|model| model.entries.clear());
            }
        }
        compare(&cache, &models, clock.env().now());
    }
    Arc::new(cache).close().unwrap();
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn sqlite_and_filesystem_agree_with_a_map(rounds in rounds()) {
        run(|folder| cacheness::Cache::builder().folder(folder), true, rounds);
    }

    #[test]
    fn sqlite_memory_and_filesystem_agree_with_a_map(rounds in rounds()) {
        run(|folder| cacheness::Cache::builder().folder(folder).metadata("sqlite_memory"), false, rounds);
    }

    #[cfg(feature = "json-metadata")]
    #[test]
    fn json_and_filesystem_agree_with_a_map(rounds in rounds()) {
        run(|folder| cacheness::Cache::builder().folder(folder).metadata("json"), true, rounds);
    }

    #[test]
    fn memory_agrees_with_a_map(rounds in rounds()) {
        run(|_| cacheness::Cache::builder(), false, rounds);
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    #[ignore = "a thousand histories take minutes"]
    fn sqlite_and_filesystem_agree_with_a_map_over_a_thousand_histories(rounds in rounds()) {
        run(|folder| cacheness::Cache::builder().folder(folder), true, rounds);
    }

    #[test]
    #[ignore = "a thousand histories take minutes"]
    fn memory_agrees_with_a_map_over_a_thousand_histories(rounds in rounds()) {
        run(|_| cacheness::Cache::builder(), false, rounds);
    }
}
