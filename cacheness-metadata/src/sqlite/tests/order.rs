//! Victims go in their order whatever happened before, though entries enter the table `ranks` bit by bit: compared
//! with a model that ranks all at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cacheness_core::{
    Change, Condition, Entry, Evicted, EvictionOrder, Expiry, Limits, Namespace, Timestamp,
};
use cacheness_testkit::metadata::{MetadataSubject, Store};

use super::{stranger, subject};

const NAMESPACES: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: u64 = 100;

/// More than all keys, so that a cache with this limit is far from it and entries may stay unranked.
const FAR: u64 = 2_000;

/// Which orders follow each other, `None` for no limit.
const ORDERS: [Option<EvictionOrder>; 8] = [
    Some(EvictionOrder::Lru),
    Some(EvictionOrder::Lfu),
    None,
    Some(EvictionOrder::Fifo),
    Some(EvictionOrder::Size),
    Some(EvictionOrder::Ttl),
    None,
    Some(EvictionOrder::Lru),
];

type Name = (String, String);

#[tokio::test]
async fn victims_go_in_their_order_after_any_changes() {
    let mut victims = 0;
    for seed in 1..=4 {
        let mut run = Run::new(seed).await;
        for order in ORDERS {
            for limit in [FAR, 120, FAR, 60] {
                run.limit(order, limit).await;
                for step in 0..60 {
                    run.step().await;
                    if step % 20 == 0 {
                        check(run.subject.folder());
                    }
                }
            }
        }
        victims += run.victims;
    }
    assert!(victims > 2_000, "only {victims} entries were evicted, which shows little");
}

/// Every entry that is said to be ranked has its row in `ranks`, and every row there has its entry.
fn check(folder: &Path) {
    let count = |sql: &str| stranger(folder).query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    let missing = "SELECT count(*) FROM namespaces n CROSS JOIN entries e ON e.generation = n.generation \
                   WHERE e.id < (SELECT ranked_to FROM state) AND (e.priority, e.rank, e.id) NOT IN (SELECT priority, rank, id FROM ranks)";
    assert_eq!(count(missing), 0, "entries without a rank");
    let stale = "SELECT count(*) FROM ranks WHERE (priority, rank, id) NOT IN (SELECT priority, rank, id FROM entries) \
                     OR id >= (SELECT ifnull(ranked_to, 0) FROM state)";
    assert_eq!(count(stale), 0, "ranks without an entry");
}

/// Two backends on one file, and what should be in it.
struct Run {
    subject: MetadataSubject,
    stores: [Store; 2],
    model: Model,
    random: u64,
    victims: usize,
}

impl Run {
    async fn new(seed: u64) -> Self {
        let subject = subject();
        let stores = [subject.open().await, subject.open().await];
        Self { subject, stores, model: Model::default(), random: seed, victims: 0 }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end
    }

    fn store(&mut self) -> Store {
        let at = self.below(2) as usize;
        self.stores[at].clone()
    }

    fn any_name(&mut self) -> Name {
        (NAMESPACES[self.below(4) as usize].to_owned(), format!("{:03}", self.below(KEYS)))
    }

    fn any_entry(&mut self) -> Entry {
        let (namespace, key) = self.any_name();
        let size = self.below(5);
        let mut entry = self.subject.entry_of_size(&namespace, &key, size);
        entry.priority = [0.0, 0.0, 0.0, 1.0, -0.5][self.below(5) as usize];
        if self.below(2) == 0 {
            let ttl = Duration::from_secs(1_000_000 + self.below(20));
            entry.validity.start_ttl(Some(ttl), self.subject.now());
        }
        entry
    }

    async fn limit(&mut self, order: Option<EvictionOrder>, most: u64) {
        let limits =
            order.map_or(Limits::unbounded(), |order| Limits::unbounded().max_entries(most).order(order));
        let mut evicted = Vec::new();
        for store in &self.stores {
            evicted.extend(store.limit(limits, self.subject.now()).await);
        }
        let expected = self.model.limit(order, most);
        self.compare(&evicted, &expected);
    }

    async fn step(&mut self) {
        let millis = self.below(3);
        self.subject.wait(Duration::from_millis(millis));
        let (store, now) = (self.store(), self.subject.now());
        match self.below(100) {
            0..50 => self.put(1).await,
            50..54 => {
                let count = self.below(50);
                self.put(count).await;
            }
            54 if self.model.order.is_none() || self.model.most == FAR => self.put(300).await,
            55..65 => {
                let (namespace, key) = self.any_name();
                store.remove_if(&namespace, &key, Condition::Always, now).await;
                self.model.live.remove(&(namespace, key));
            }
            65..80 => {
                let (name, hits) = (self.any_name(), self.below(4));
                if let Some(held) = self.model.live.get_mut(&name) {
                    store.used(&name.0, &name.1, held.entry.version, now, hits).await;
                    held.use_it(self.model.order, now, hits);
                }
            }
            80..90 => {
                let name = self.any_name();
                if let Some(held) = self.model.live.get_mut(&name) {
                    let entry = &held.entry;
                    let log = self.subject.accesses();
                    log.record(&entry.namespace, &name.1, entry.version, entry.accessed_at, now);
                    let hits = held.pending.map_or(0, |(_, hits)| hits);
                    held.pending = Some((now, hits + 1));
                }
            }
            90..96 => {
                let (namespace, key) = self.any_name();
                let expires_at = (self.below(2) == 0).then(|| now + Duration::from_secs(1_000_000));
                let (name, condition) = (Namespace::new(&namespace).unwrap(), Condition::Always);
                store
                    .change(Change::Touch {
                        namespace: name,
                        key: key.clone(),
                        condition,
                        expiry: Expiry::Set(expires_at),
                        now,
                    })
                    .await;
                self.model.touch(&(namespace, key), expires_at, now);
            }
            96 | 97 => {
                let name = NAMESPACES[self.below(4) as usize];
                let removed = store.clear_all(name).await;
                assert_eq!(removed, self.model.clear(name, false));
            }
            98 => {
                let name = NAMESPACES[self.below(4) as usize];
                let removed = store.drop_namespace(&Namespace::new(name).unwrap()).await.unwrap();
                assert_eq!(removed.unwrap_or(0), self.model.clear(name, true));
            }
            _ => {
                store.purge_all(now).await;
            }
        }
    }

    /// Puts entries in one call.
    async fn put(&mut self, count: u64) {
        let entries: Vec<Entry> = (0..count).map(|_| self.any_entry()).collect();
        let changes = entries.iter().cloned().map(|entry| self.subject.putting(entry)).collect();
        let outcomes = self.store().changes(changes).await;
        let own_from = outcomes.first().map_or(0, |outcome| outcome.version.unwrap().0);
        for (mut entry, outcome) in entries.into_iter().zip(outcomes) {
            entry.version = outcome.version.unwrap();
            let expected = self.model.put(entry, own_from);
            self.compare(&outcome.evicted, &expected);
        }
    }

    fn compare(&mut self, evicted: &[Evicted], expected: &[Name]) {
        let evicted: Vec<Name> = evicted
            .iter()
            .map(|one| (one.namespace.as_str().to_owned(), one.key.as_str().to_owned()))
            .collect();
        assert_eq!(evicted, expected, "{:?}, at most {}", self.model.order, self.model.most);
        self.victims += evicted.len();
    }
}

/// What a cache with limits holds, and who goes next.
#[derive(Default)]
struct Model {
    live: BTreeMap<Name, Held>,
    order: Option<EvictionOrder>,
    most: u64,
    age: i64,
    generations: BTreeMap<String, u64>,
    issued: u64,
}

struct Held {
    entry: Entry,
    rank: i64,
    generation: u64,
    /// The version that the key came in with.
    born: u64,
    /// Uses that are not written down yet.
    pending: Option<(Timestamp, u64)>,
}

impl Held {
    fn use_it(&mut self, order: Option<EvictionOrder>, at: Timestamp, hits: u64) {
        self.entry.accessed_at = self.entry.accessed_at.max(at);
        self.entry.hits += hits;
        self.rank = order.map_or(self.rank, |order| order.rank_after_access(self.rank, at, hits));
    }
}

impl Model {
    fn limit(&mut self, order: Option<EvictionOrder>, most: u64) -> Vec<Name> {
        if let Some(order) = order.filter(|order| self.order != Some(*order)) {
            self.age = 0;
            for held in self.live.values_mut() {
                held.rank = order.rank(&held.entry, 0);
            }
        }
        (self.order, self.most) = (order, most);
        self.evict(0, u64::MAX)
    }

    fn put(&mut self, entry: Entry, own_from: u64) -> Vec<Name> {
        let name = (entry.namespace.as_str().to_owned(), entry.key.as_str().to_owned());
        let old = self.live.remove(&name);
        // What is replaced while there is room keeps its place among those of the same rank.
        let born = old.filter(|_| self.order.is_none() || (self.live.len() as u64) < self.most);
        let born = born.map_or(entry.version.0, |old| old.born);
        let issued = &mut self.issued;
        let generation = *self.generations.entry(name.0.clone()).or_insert_with(|| {
            *issued += 1;
            *issued
        });
        let evicted = self.evict(1, own_from);
        let rank = self.order.map_or(0, |order| order.rank(&entry, self.age));
        self.live.insert(name, Held { entry, rank, generation, born, pending: None });
        evicted
    }

    /// Evicts until this many more fit.
    fn evict(&mut self, room: u64, own_from: u64) -> Vec<Name> {
        let mut evicted = Vec::new();
        let Some(order) = self.order else { return evicted };
        while self.live.len() as u64 + room > self.most {
            let others = self.live.iter_mut().filter(|(_, held)| held.entry.version.0 < own_from);
            let lowest = others.min_by(|(_, one), (_, other)| {
                let place = |held: &Held| (held.rank, held.generation, held.born);
                let by_priority = one.entry.priority.total_cmp(&other.entry.priority);
                by_priority.then_with(|| place(one).cmp(&place(other)))
            });
            let (name, held) = lowest.expect("no call puts more than the limit allows");
            if matches!(order, EvictionOrder::Lru | EvictionOrder::Lfu)
                && let Some((at, hits)) = held.pending.take()
                && order.rank_after_access(held.rank, at, hits) > held.rank
            {
                held.use_it(Some(order), at, hits);
                continue;
            }
            self.age = self.age.max(held.rank);
            let name = name.clone();
            self.live.remove(&name);
            evicted.push(name);
        }
        evicted
    }

    fn touch(&mut self, name: &Name, expires_at: Option<Timestamp>, now: Timestamp) {
        let Some(held) = self.live.get_mut(name) else { return };
        held.use_it(self.order, now, 1);
        held.entry.validity.expires_at = expires_at;
        if self.order == Some(EvictionOrder::Ttl) {
            held.rank = expires_at.map_or(i64::MAX, Timestamp::as_nanos);
        }
    }

    fn clear(&mut self, namespace: &str, drop: bool) -> u64 {
        let before = self.live.len();
        self.live.retain(|(of, _), _| of != namespace);
        let removed = (before - self.live.len()) as u64;
        if drop {
            self.generations.remove(namespace);
        } else if removed > 0 {
            self.issued += 1;
            self.generations.insert(namespace.to_owned(), self.issued);
        }
        removed
    }
}
