//! Random changes by two backends on one store: limits hold after each put, a refused call changes nothing, and totals
//! agree with the entries.

use std::collections::BTreeMap;
use std::time::Duration;

use cacheness_core::{
    Change, Condition, Entry, EntryUse, ErrorKind, EvictionPolicy, Expiry, Fifo, Lfu, Limits, LimitsChange,
    ListQuery, Lru, Namespace, NoEviction, Registry, Size, Ttl,
};
use cacheness_testkit::metadata::{MetadataSubject, Store};

const NAMES: [&str; 3] = ["default", "a", "b"];
const POLICIES: [&str; 7] = ["lru", "lfu", "fifo", "ttl", "size", "none", "absurd"];

/// Ranks of no sense, which go up and down, and panics.
struct Absurd;

impl EvictionPolicy for Absurd {
    fn name(&self) -> &str {
        "absurd"
    }
    fn rank(&self, entry: &Entry, age: i64) -> i64 {
        match entry.version.0 % 5 {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => panic!("absurd"),
            3 => age,
            _ => age.wrapping_add(1),
        }
    }
    fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
        match used.total_hits % 5 {
            0 => i64::MIN,
            1 => i64::MAX,
            2 => panic!("absurd"),
            3 => rank.wrapping_sub(3),
            _ => used.age,
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
    fn name(&mut self) -> &'static str {
        NAMES[self.below(3) as usize]
    }
    fn limits(&mut self, policy: bool) -> Limits {
        let mut limits = Limits::unbounded();
        if self.below(2) == 0 {
            limits = limits.max_entries(1 + self.below(30));
        }
        if self.below(2) == 0 {
            limits = limits.max_bytes(1 + self.below(1_500));
        }
        if policy && self.below(2) == 0 {
            limits = limits.policy(POLICIES[self.below(7) as usize]);
        }
        limits
    }
}

async fn entries(store: &Store) -> BTreeMap<&'static str, Vec<Entry>> {
    let mut all = BTreeMap::new();
    for name in NAMES {
        let mut query = ListQuery::new();
        query.namespace = Some(Namespace::new(name).unwrap());
        all.insert(name, store.list(&query).await);
    }
    all
}

fn sums(entries: &[Entry]) -> (u64, u64) {
    (entries.len() as u64, entries.iter().map(|entry| entry.stored_size).sum())
}

fn registry() -> Registry {
    let registry = Registry::empty().with_eviction_policy(Lru).unwrap().with_eviction_policy(Lfu).unwrap();
    let registry = registry.with_eviction_policy(Fifo).unwrap().with_eviction_policy(Ttl).unwrap();
    let registry = registry.with_eviction_policy(Size).unwrap().with_eviction_policy(NoEviction).unwrap();
    registry.with_eviction_policy(Absurd).unwrap()
}

/// Makes random changes, by two backends where they `share` a store, and calls `check` after each.
pub(crate) async fn run(
    subject: &MetadataSubject,
    shared: bool,
    seed: u64,
    check: impl AsyncFn(&MetadataSubject, &str),
) {
    let registry = registry();
    let one = subject.open_knowing(&registry).await;
    let other = if shared { subject.open_knowing(&registry).await } else { one.clone() };
    let mut random = Random(seed);
    for step in 0..400 {
        subject.wait(Duration::from_millis(random.below(1500)));
        let store = if random.below(2) == 0 { &one } else { &other };
        let now = subject.now();
        let kind = random.below(100);
        let mut wrote = false;
        match kind {
            0..60 => {
                let count = if random.below(4) == 0 { 1 + random.below(8) } else { 1 };
                let mut changes = Vec::new();
                for _ in 0..count {
                    let (name, key) = (random.name(), format!("{}", random.below(60)));
                    let mut entry = subject.entry_of_size(name, &key, 1 + random.below(150));
                    if random.below(3) == 0 {
                        entry.validity.start_ttl(Some(Duration::from_millis(1 + random.below(20_000))), now);
                    }
                    entry.priority = [0.5, 0.5, 0.0, 1.0][random.below(4) as usize];
                    changes.push(subject.putting(entry));
                    if random.below(6) == 0 {
                        changes.push(Change::Remove {
                            namespace: Namespace::new(random.name()).unwrap(),
                            key: format!("{}", random.below(60)),
                            condition: Condition::Always,
                            now,
                        });
                    }
                }
                let before = entries(store).await;
                match store.apply(changes).await {
                    Ok(_) => wrote = true,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
                        let after = entries(store).await;
                        let keys = |all: &BTreeMap<&str, Vec<Entry>>| {
                            all.values().flatten().map(|entry| entry.version).collect::<Vec<_>>()
                        };
                        assert_eq!(
                            keys(&before),
                            keys(&after),
                            "seed {seed} step {step}: a refused call changes nothing"
                        );
                    }
                }
            }
            60..75 => {
                let all = entries(store).await;
                let name = random.name();
                if let Some(entry) = all[name].get(random.below(30) as usize) {
                    if random.below(2) == 0 {
                        subject.accesses().record(
                            &entry.namespace,
                            entry.key.as_str(),
                            entry.version,
                            entry.accessed_at,
                            now,
                        );
                    } else {
                        store.used(name, entry.key.as_str(), entry.version, now, 1 + random.below(3)).await;
                    }
                }
            }
            75..80 => {
                store
                    .change(Change::Touch {
                        namespace: Namespace::new(random.name()).unwrap(),
                        key: format!("{}", random.below(60)),
                        condition: Condition::Always,
                        expiry: Expiry::Set(if random.below(3) == 0 {
                            None
                        } else {
                            Some(now + Duration::from_millis(random.below(5_000)))
                        }),
                        now,
                    })
                    .await;
            }
            80..84 => {
                store.clear_all(random.name()).await;
            }
            84..86 => {
                store.drop_namespace(&Namespace::new(random.name()).unwrap()).await.unwrap();
            }
            86..92 => {
                let limits = random.limits(true);
                store.limit(limits, now).await;
                for name in NAMES {
                    let name = Namespace::new(name).unwrap();
                    while store.evict(Some(&name), now, 500).await.unwrap().more {}
                }
            }
            92..97 => {
                let (name, limits) = (random.name(), random.limits(false));
                store.limit_namespace(name, limits, now).await;
            }
            97..99 => {
                store.purge_once(now, 1 + random.below(30) as usize).await;
            }
            _ => {
                let due = store.due(now).await;
                store.forget_garbage(&due).await.unwrap();
            }
        }
        let context = format!("seed {seed} step {step} kind {kind}");
        let all = entries(&other).await;
        let limits = one.limits().await;
        let total = all.values().fold((0, 0), |sum, entries| {
            let own = sums(entries);
            (sum.0 + own.0, sum.1 + own.1)
        });
        let stats = one.total().await;
        assert_eq!((stats.entries, stats.stored_bytes), total, "{context}: totals");
        for name in NAMES {
            let stats = other.stats_of(name).await;
            assert_eq!((stats.entries, stats.stored_bytes), sums(&all[name]), "{context}: totals of {name}");
            let own = other
                .change_limits(Some(&Namespace::new(name).unwrap()), &LimitsChange::new())
                .await
                .unwrap();
            if wrote
                && limits.policy_name() != "none"
                && own.exceeded_by(sums(&all[name]).0, sums(&all[name]).1)
            {
                panic!("{context}: {name} over {own:?}: {:?}", sums(&all[name]));
            }
        }
        if wrote && limits.policy_name() != "none" {
            assert!(!limits.exceeded_by(total.0, total.1), "{context}: over {limits:?}: {total:?}");
        }
        check(subject, &context).await;
    }
}
