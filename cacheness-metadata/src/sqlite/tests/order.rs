//! Victims go in their order whatever happened before, though entries enter the table `ranks` bit by bit: compared
//! with a model that ranks all at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cacheness_core::{
    Change, Condition, Entry, EntryUse, Evicted, EvictionPolicies, Expiry, Limits, Namespace, Ranking,
    Timestamp,
};
use cacheness_testkit::metadata::{MetadataSubject, Store};

use super::{stranger, subject};

const NAMESPACES: [&str; 4] = ["a", "b", "c", "d"];
const KEYS: u64 = 100;

/// More than all keys, so that a cache with this limit is far from it and entries may stay unranked.
const FAR: u64 = 2_000;

/// Which policies follow each other, `None` for no limit.
const POLICIES: [Option<&str>; 8] =
    [Some("lru"), Some("lfu"), None, Some("fifo"), Some("size"), Some("ttl"), None, Some("lru")];

type Name = (String, String);

#[tokio::test]
async fn victims_go_in_their_order_after_any_changes() {
    let mut victims = 0;
    for seed in 1..=4 {
        let mut run = Run::new(seed).await;
        for policy in POLICIES {
            for limit in [FAR, 120, FAR, 60] {
                run.limit(policy, limit).await;
                let own = [None, Some(FAR), Some(25), Some(10)][run.below(4) as usize];
                run.limit_namespace(own).await;
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

/// Every entry that is said to be ranked has its rows in `ranks`, and every row there has its entry.
fn check(folder: &Path) {
    let count = |sql: &str| stranger(folder).query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    let ranked = "SELECT count(*) FROM namespaces n CROSS JOIN entries e ON e.generation = n.generation \
                  WHERE e.id < (SELECT ranked_to FROM state)";
    let limited = "(n.max_entries IS NOT NULL OR n.max_bytes IS NOT NULL)";
    let missing = [
        format!(
            "{ranked} AND (0, e.priority, e.rank, e.id) NOT IN (SELECT list, priority, rank, id FROM ranks)"
        ),
        format!(
            "{ranked} AND {limited} AND (e.generation, e.priority, e.rank, e.id) NOT IN \
             (SELECT list, priority, rank, id FROM ranks)"
        ),
        format!(
            "{ranked} AND {limited} AND e.expires_at IS NOT NULL AND (-e.generation, e.expires_at, e.id) NOT IN \
             (SELECT list, rank, id FROM ranks)"
        ),
    ];
    missing.iter().for_each(|sql| assert_eq!(count(sql), 0, "entries without a rank: {sql}"));
    let stale = [
        "list >= 0 AND (priority, rank, id) NOT IN (SELECT priority, rank, id FROM entries)",
        "list < 0 AND (rank, id) NOT IN (SELECT expires_at, id FROM entries WHERE expires_at IS NOT NULL)",
        "list <> 0 AND abs(list) <> id >> 42",
        "id >= (SELECT ifnull(ranked_to, 0) FROM state)",
    ];
    for rows in stale {
        assert_eq!(
            count(&format!("SELECT count(*) FROM ranks WHERE {rows}")),
            0,
            "ranks without an entry: {rows}"
        );
    }
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

    async fn limit(&mut self, policy: Option<&'static str>, most: u64) {
        let limits =
            policy.map_or(Limits::unbounded(), |policy| Limits::unbounded().max_entries(most).policy(policy));
        let mut evicted = Vec::new();
        for store in &self.stores {
            evicted.extend(store.limit(limits.clone(), self.subject.now()).await);
        }
        let expected = self.model.limit(policy, most);
        self.compare(&evicted, &expected);
    }

    /// Gives one of the namespaces limits of its own.
    async fn limit_namespace(&mut self, most: Option<u64>) {
        let mut limits = Limits::unbounded();
        limits.max_entries = most;
        let (store, now) = (self.store(), self.subject.now());
        let evicted = store.limit_namespace(LIMITED, limits, now).await;
        let expected = self.model.limit_namespace(most);
        self.compare(&evicted, &expected);
    }

    async fn step(&mut self) {
        let millis = self.below(3);
        self.subject.wait(Duration::from_millis(millis));
        let (store, now) = (self.store(), self.subject.now());
        match self.below(100) {
            0..50 => self.put(1).await,
            50..54 => {
                let count = self.below(if self.model.own.is_some_and(|most| most < 50) { 10 } else { 50 });
                self.put(count).await;
            }
            54 if self.model.has_room() => self.put(300).await,
            55..65 => {
                let (namespace, key) = self.any_name();
                store.remove_if(&namespace, &key, Condition::Always, now).await;
                self.model.live.remove(&(namespace, key));
            }
            65..80 => {
                let (name, hits) = (self.any_name(), self.below(4));
                if let Some(held) = self.model.live.get_mut(&name) {
                    store.used(&name.0, &name.1, held.entry.version, now, hits).await;
                    held.use_it(self.model.ranking.as_ref(), now, hits);
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
                let was_limited = name == LIMITED && self.model.own.is_some();
                assert_eq!(removed.unwrap_or(0), self.model.clear(name, true));
                if was_limited {
                    self.limit_namespace(Some(25)).await;
                }
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
        assert_eq!(evicted, expected, "{:?}, at most {:?}", self.model.ranking, self.model.most);
        self.victims += evicted.len();
    }
}

/// The namespace that has limits of its own.
const LIMITED: &str = "b";

/// What a cache with limits holds, and who goes next.
#[derive(Default)]
struct Model {
    live: BTreeMap<Name, Held>,
    policy: Option<&'static str>,
    /// The policy, while there is a limit.
    ranking: Option<Ranking>,
    most: Option<u64>,
    /// The most entries of the namespace that has limits of its own.
    own: Option<u64>,
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
    fn rank_after(&self, ranking: Option<&Ranking>, at: Timestamp, hits: u64) -> i64 {
        let mut used = EntryUse::new(at, hits);
        used.expires_at = self.entry.validity.expires_at;
        ranking.map_or(self.rank, |ranking| ranking.rank_after_use(self.rank, &used))
    }

    fn use_it(&mut self, ranking: Option<&Ranking>, at: Timestamp, hits: u64) {
        self.rank = self.rank_after(ranking, at, hits);
        self.entry.accessed_at = self.entry.accessed_at.max(at);
        self.entry.hits += hits;
    }
}

impl Model {
    fn has_room(&self) -> bool {
        self.most.is_none_or(|most| most == FAR) && self.own.is_none_or(|most| most == FAR)
    }

    fn limit(&mut self, policy: Option<&'static str>, most: u64) -> Vec<Name> {
        let changes = policy.is_some() && policy != self.policy;
        self.policy = policy.or(self.policy);
        self.most = policy.map(|_| most);
        self.rank_all(changes);
        self.evict(None, 0, u64::MAX)
    }

    fn limit_namespace(&mut self, most: Option<u64>) -> Vec<Name> {
        // It is made by the first change of its limits.
        self.generation(LIMITED);
        let changes = most.is_some() != self.own.is_some();
        self.own = most;
        self.rank_all(changes);
        self.evict(Some(LIMITED), 0, u64::MAX)
    }

    /// Ranks all entries, if that begins or must begin anew.
    fn rank_all(&mut self, anew: bool) {
        let policy = self.policy.unwrap_or(Limits::DEFAULT_POLICY);
        let ranking = (self.most.is_some() || self.own.is_some())
            .then(|| EvictionPolicies::builtin().get(policy).unwrap());
        if let Some(ranking) = ranking.as_ref().filter(|_| anew || self.ranking.is_none()) {
            self.age = 0;
            for held in self.live.values_mut() {
                held.rank = ranking.rank(&held.entry, 0);
            }
        }
        self.ranking = ranking;
    }

    fn generation(&mut self, namespace: &str) -> u64 {
        let issued = &mut self.issued;
        *self.generations.entry(namespace.to_owned()).or_insert_with(|| {
            *issued += 1;
            *issued
        })
    }

    fn put(&mut self, entry: Entry, own_from: u64) -> Vec<Name> {
        let name = (entry.namespace.as_str().to_owned(), entry.key.as_str().to_owned());
        let old = self.live.remove(&name);
        let full = self.is_over(None, 1) || self.is_over(Some(&name.0), 1);
        // What is replaced while there is room keeps its place among those of the same rank.
        let born = old.filter(|_| !full).map_or(entry.version.0, |old| old.born);
        let generation = self.generation(&name.0);
        let mut evicted = self.evict(Some(&name.0), 1, own_from);
        evicted.extend(self.evict(None, 1, own_from));
        let rank = self.ranking.as_ref().map_or(0, |ranking| ranking.rank(&entry, self.age));
        self.live.insert(name, Held { entry, rank, generation, born, pending: None });
        evicted
    }

    /// True where so many more would be over the limit of the cache, or of a namespace.
    fn is_over(&self, namespace: Option<&str>, room: u64) -> bool {
        let most = match namespace {
            None => self.most,
            Some(LIMITED) => self.own,
            Some(_) => None,
        };
        let among = self.live.keys().filter(|(of, _)| namespace.is_none_or(|namespace| of == namespace));
        most.is_some_and(|most| among.count() as u64 + room > most)
    }

    /// Evicts until this many more fit.
    fn evict(&mut self, namespace: Option<&str>, room: u64, own_from: u64) -> Vec<Name> {
        let mut evicted = Vec::new();
        while self.is_over(namespace, room) {
            let others = self.live.iter_mut().filter(|((of, _), held)| {
                held.entry.version.0 < own_from && namespace.is_none_or(|namespace| of == namespace)
            });
            let lowest = others.min_by(|(_, one), (_, other)| {
                let place = |held: &Held| (held.rank, held.generation, held.born);
                let by_priority = one.entry.priority.total_cmp(&other.entry.priority);
                by_priority.then_with(|| place(one).cmp(&place(other)))
            });
            let (name, held) = lowest.expect("no call puts more than the limit allows");
            let ranking = self.ranking.as_ref();
            if let Some((at, hits)) = held.pending
                && held.rank_after(ranking, at, hits) > held.rank
            {
                held.pending = None;
                held.use_it(ranking, at, hits);
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
        held.entry.validity.expires_at = expires_at;
        held.use_it(self.ranking.as_ref(), now, 1);
    }

    fn clear(&mut self, namespace: &str, drop: bool) -> u64 {
        let before = self.live.len();
        self.live.retain(|(of, _), _| of != namespace);
        let removed = (before - self.live.len()) as u64;
        if drop {
            self.generations.remove(namespace);
            if namespace == LIMITED {
                self.own = None;
            }
        } else if removed > 0 {
            self.issued += 1;
            self.generations.insert(namespace.to_owned(), self.issued);
        }
        removed
    }
}
