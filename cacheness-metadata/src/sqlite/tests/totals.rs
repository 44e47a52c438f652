//! The totals are what the entries add up to, whatever happened: two backends on one file, calls that fail, a
//! stranger who writes the log back.

use std::path::Path;
use std::time::Duration;

use cacheness_core::{Change, Condition, Entry, Expiry, Limits, Location, Namespace, Version};
use cacheness_testkit::metadata::{MetadataSubject, Store};
use rusqlite::Connection;

use super::{stranger, subject};

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn entry(subject: &MetadataSubject, random: &mut Random) -> Entry {
    let name = ["a", "b", "c"][random.below(3) as usize];
    let key = format!("{}", random.below(60));
    let mut entry = match random.below(4) {
        0 => subject.inline_entry(name, &key, &vec![7; random.below(20) as usize]),
        1 => {
            let bytes = key.repeat(3_000);
            subject.inline_entry(name, &key, bytes.as_bytes())
        }
        _ => subject.entry_of_size(name, &key, random.below(9_000)),
    };
    entry.priority = [0.0, 0.0, 1.0, -0.5][random.below(4) as usize];
    if random.below(3) == 0 {
        entry.validity.start_ttl(Some(Duration::from_millis(random.below(200))), subject.now());
    }
    entry
}

fn check(db: &Connection, folder: &Path, what: &str) {
    let count = |sql: &str| db.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    let list = |sql: &str| -> Vec<(i64, i64, i64, i64)> {
        let mut statement = db.prepare(sql).unwrap();
        statement
            .query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    };
    let said = list(
        "SELECT generation, entries, bytes, blob_bytes FROM totals WHERE generation > 0 AND entries > 0 ORDER BY 1",
    );
    let are = list(
        "SELECT n.generation, count(*), sum(e.stored_size), sum(iif(e.blob_id IS NULL, 0, e.stored_size)) \
         FROM namespaces n CROSS JOIN entries e ON e.generation = n.generation GROUP BY 1 ORDER BY 1",
    );
    assert_eq!(said, are, "totals of generations after {what} in {}", folder.display());
    let head = list("SELECT entries, bytes, blob_bytes, 0 FROM totals WHERE generation = 0")[0];
    let sum = are.iter().fold((0, 0), |sum, one| (sum.0 + one.1, sum.1 + one.2));
    assert_eq!((head.0, head.1), sum, "totals of all after {what}");
    let garbage = count(
        "SELECT (SELECT ifnull(sum(size), 0) FROM garbage) + (SELECT ifnull(sum(stored_size), 0) FROM entries \
         WHERE blob_id IS NOT NULL AND generation NOT IN (SELECT generation FROM namespaces))",
    );
    assert_eq!(head.2, garbage, "garbage after {what}");
    let orphans = count(
        "SELECT count(*) FROM inline_values WHERE version NOT IN (SELECT version FROM entries WHERE place = 2)",
    );
    let missing = count(
        "SELECT count(*) FROM entries WHERE place = 2 AND version NOT IN (SELECT version FROM inline_values)",
    );
    assert_eq!((orphans, missing), (0, 0), "inline values after {what}");
    let missing = count(
        "SELECT count(*) FROM entries WHERE id < ifnull((SELECT ranked_to FROM state), 0) \
                         AND generation IN (SELECT generation FROM namespaces) \
                         AND (priority, rank, id) NOT IN (SELECT priority, rank, id FROM ranks)",
    );
    let stale = count(
        "SELECT count(*) FROM ranks WHERE (priority, rank, id) NOT IN (SELECT priority, rank, id FROM entries)",
    );
    assert_eq!((missing, stale), (0, 0), "ranks after {what}");
    let mut ages = db.prepare("SELECT entries, ages, generation FROM totals WHERE generation > 0").unwrap();
    let mut rows = ages.query(()).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let bytes: Option<Vec<u8>> = row.get(1).unwrap();
        let counted: i64 = bytes
            .unwrap_or_default()
            .chunks(24)
            .map(|slot| i64::from_le_bytes(slot[16..].try_into().unwrap()))
            .sum();
        assert_eq!(counted, row.get::<_, i64>(0).unwrap(), "ages after {what}");
    }
    let issued = count("SELECT ifnull(max(version), 0) FROM entries");
    let reserved = count("SELECT sequence FROM totals WHERE generation = 0");
    assert!(issued <= reserved, "{issued} was issued, {reserved} reserved after {what}");
    let cleared = count("SELECT (SELECT cleared FROM state) - (SELECT count(*) FROM cleared)");
    assert_eq!(cleared, 0, "cleared after {what}");
    let unnamed = count(
        "SELECT count(*) FROM entries WHERE generation NOT IN (SELECT generation FROM namespaces) \
                         AND generation NOT IN (SELECT generation FROM cleared)",
    );
    assert_eq!(unnamed, 0, "orphans after {what}");
}

#[tokio::test]
async fn the_totals_are_what_the_entries_add_up_to() {
    let (mut failed, mut evicted) = (0, 0);
    for seed in 1..=12 {
        let (more_failed, more_evicted) = run(seed).await;
        (failed, evicted) = (failed + more_failed, evicted + more_evicted);
    }
    assert!(failed > 100 && evicted > 100, "{failed} calls failed and {evicted} entries were evicted");
}

async fn run(seed: u64) -> (usize, usize) {
    let subject = subject();
    let mut stores: [Store; 2] = [subject.open().await, subject.open().await];
    let db = stranger(subject.folder());
    let mut random = Random(seed);
    let mut limits = Limits::unbounded();
    let (mut failed, mut evicted) = (0, 0);
    for _ in 0..600 {
        subject.wait(Duration::from_millis(random.below(5)));
        // Often the same backend several times in a row, so that it remembers.
        let at = usize::from(random.below(5) == 0);
        let store = stores[at].clone();
        let now = subject.now();
        let what = match random.below(100) {
            0..10 => {
                // Values of one length over and over: most of these puts leave the totals as they are.
                for key in 0..random.below(120) {
                    let change =
                        subject.putting(subject.inline_entry("a", &(key % 40).to_string(), b"again"));
                    store.change(change).await;
                }
                "puts of one length"
            }
            10..40 => {
                evicted += store.put(entry(&subject, &mut random)).await.evicted.len();
                "put"
            }
            40..50 => {
                // Several changes of the same key in one call; conditions that hold and that do not.
                let one = entry(&subject, &mut random);
                let mut changes = Vec::new();
                for _ in 0..random.below(5) {
                    let mut again = entry(&subject, &mut random);
                    if random.below(2) == 0 {
                        (again.namespace, again.key) = (one.namespace.clone(), one.key.clone());
                    }
                    let condition = [
                        Condition::Always,
                        Condition::Absent,
                        Condition::Version(Version(random.below(2_000))),
                    ][random.below(3) as usize];
                    changes.push(Change::Put { entry: Box::new(again), condition, now });
                    if random.below(3) == 0 {
                        let (namespace, key) = (one.namespace.clone(), one.key.as_str().to_owned());
                        changes.push(Change::Remove { namespace, key, condition: Condition::Always, now });
                    }
                }
                failed += usize::from(store.apply(changes).await.is_err());
                "call"
            }
            50..55 => {
                let mut changes: Vec<Change> =
                    (0..5).map(|_| subject.putting(entry(&subject, &mut random))).collect();
                let mut wrong = entry(&subject, &mut random);
                wrong.location = Location::InlineOmitted;
                changes.push(subject.putting(wrong));
                store.apply(changes).await.unwrap_err();
                failed += 1;
                "failed call"
            }
            55..60 => {
                // Callers at the same time, one of which fails.
                let tasks: Vec<_> = (0..6)
                    .map(|i| {
                        let mut one = entry(&subject, &mut random);
                        if i == 3 {
                            one.location = Location::InlineOmitted;
                        }
                        let (store, change) = (store.clone(), subject.putting(one));
                        tokio::task::spawn_blocking(move || {
                            tokio::runtime::Handle::current()
                                .block_on(async move { store.apply(vec![change]).await.is_err() })
                        })
                    })
                    .collect();
                for task in tasks {
                    failed += usize::from(task.await.unwrap());
                }
                "group"
            }
            60..65 => {
                let one = entry(&subject, &mut random);
                store.remove_if(one.namespace.as_str(), one.key.as_str(), Condition::Always, now).await;
                "remove"
            }
            65..70 => {
                let one = entry(&subject, &mut random);
                if let Some(held) = store.get(one.namespace.as_str(), one.key.as_str()).await {
                    subject.accesses().record(
                        &held.namespace,
                        held.key.as_str(),
                        held.version,
                        held.accessed_at,
                        now,
                    );
                    store.used(held.namespace.as_str(), held.key.as_str(), held.version, now, 2).await;
                }
                "use"
            }
            70..74 => {
                let one = entry(&subject, &mut random);
                let (namespace, key) = (one.namespace.clone(), one.key.as_str().to_owned());
                let expiry = Expiry::Set((random.below(2) == 0).then(|| now + Duration::from_millis(50)));
                store
                    .change(Change::Touch { namespace, key, condition: Condition::Always, expiry, now })
                    .await;
                "touch"
            }
            74..78 => {
                store.clear_all(["a", "b", "c"][random.below(3) as usize]).await;
                "clear"
            }
            78..80 => {
                let name = Namespace::new(["a", "b", "c"][random.below(3) as usize]).unwrap();
                store.drop_namespace(&name).await.unwrap();
                "drop"
            }
            80..84 => {
                store.purge_once(now, random.below(30) as usize).await;
                "purge"
            }
            84..88 => {
                let due = store.due(now).await;
                store.forget_garbage(&due).await.unwrap();
                subject.wait(Duration::from_secs(7));
                "forget"
            }
            88..94 => {
                let order = ["lru", "lfu", "fifo", "ttl", "size"][random.below(5) as usize];
                limits = match random.below(4) {
                    0 => Limits::unbounded(),
                    1 => Limits::unbounded().max_entries(20 + random.below(100)).policy(order),
                    2 => Limits::unbounded().max_bytes(20_000 + random.below(300_000)).policy(order),
                    _ => Limits::unbounded().max_entries(50).max_bytes(100_000).policy(order),
                };
                for (other, store) in stores.iter().enumerate() {
                    if other == at || random.below(2) == 0 {
                        store.limit(limits.clone(), now).await;
                    }
                }
                "limit"
            }
            94..97 => {
                let mode = ["PASSIVE", "RESTART", "TRUNCATE", "FULL"][random.below(4) as usize];
                db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |_| Ok(())).unwrap();
                "checkpoint"
            }
            97 => {
                // A transaction of somebody else that is rolled back, and one that changes nothing.
                db.execute_batch(
                    "BEGIN IMMEDIATE; UPDATE totals SET entries = 77; ROLLBACK; BEGIN IMMEDIATE; COMMIT;",
                )
                .unwrap();
                "stranger"
            }
            _ => {
                stores[at] = subject.open().await;
                stores[at].limit(limits.clone(), now).await;
                "open"
            }
        };
        check(&db, subject.folder(), what);
    }
    (failed, evicted)
}
