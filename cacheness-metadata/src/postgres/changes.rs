//! What changes entries: put, remove and touch, as one call of a function in the database; and uses.

use std::collections::BTreeMap;

use cacheness_core::{
    AccessBatch, Change, Condition, Counters, EntryAccess, EntryUse, Error, ErrorKind, Evicted,
    EvictionReason, Expiry, GARBAGE_DELAY, Key, Limits, Location, Namespace, Outcome, Result, Timestamp,
    Version,
};
use tokio_postgres::Row;

use super::connection::Param;
use super::eviction::{BUSY, Crowded, ENTRIES_PER_STEP, busy};
use super::failure::{Asked, Failure};
use super::reading::{hash, namespace};
use super::rules::{RankSum, Rules, Way, rank_of};
use super::statements::Sql;
use super::store::{Store, params};
use super::uses::{Hint, Taken};

/// The longest length of a value that is counted as it is, 4 PiB: so no sum leaves its range.
const LONGEST: u64 = 1 << 52;

/// The kinds of rows that the function answers with.
const OUTCOME: i16 = 0;
const EVICTED: i16 = 1;
const HINT: i16 = 2;
pub(super) const OLD_RULES: i16 = 3;
const FOLLOWED: i16 = 6;

impl Store {
    /// Makes the changes of one call. Says also whether somebody follows the changes.
    pub(super) async fn apply(&self, mut changes: Vec<Change>) -> Result<(Vec<Outcome>, bool), Failure> {
        if changes.is_empty() {
            // Only a backend that was closed has anything to say to that.
            let closed = self.pool.is_closed();
            return if closed {
                self.query(Sql::Ping, &[]).await.map(|_| Default::default())
            } else {
                Ok(Default::default())
            };
        }
        let mut batch = Batch::new(&changes)?;
        let mut evicted_before = Vec::new();
        let mut rules = self.rules();
        for _ in 0..BUSY {
            if rules.are_unknown() {
                rules = self.read_rules().await?;
                if rules.are_unknown() {
                    rules.ranking()?;
                }
            }
            batch.rank(&rules, &mut changes);
            let (ranking, hints) = (rules.known_ranking(), self.hints());
            let puts = batch.ops.contains(&0);
            let uses = Taken::of(&self.accesses, ranking.filter(|_| puts), &hints);
            let mut params = batch.params(self.lock, &rules);
            params.extend(uses.params());
            match self.query(Sql::Apply, &params).await {
                Ok(rows) => {
                    if rows.first().map(|row| row.try_get::<_, i16>(0)).transpose()? == Some(OLD_RULES) {
                        drop(uses);
                        rules = self.read_rules().await?;
                        continue;
                    }
                    uses.written();
                    let (outcomes, followed) = self.outcomes(&rows, changes.len(), evicted_before)?;
                    if rules.way == Way::Unknown {
                        self.rank_touched(&rules, &changes, &outcomes).await?;
                    }
                    return Ok((outcomes, followed));
                }
                Err(Failure::Asked(Asked::Unprepared, _)) => {
                    drop(uses);
                    rules = self.read_rules().await?;
                    self.prepare_eviction(&rules).await?;
                }
                Err(Failure::Asked(Asked::Crowded, detail)) => {
                    drop(uses);
                    let crowded = batch.crowded(&detail);
                    self.make_room_before(&mut rules, &crowded, &mut evicted_before).await?;
                }
                Err(Failure::Asked(asked, detail)) => return Err(batch.refusal(asked, &detail).into()),
                Err(failure) => return Err(failure),
            }
        }
        Err(busy())
    }

    fn outcomes(
        &self,
        rows: &[Row],
        count: usize,
        mut evicted_before: Vec<Evicted>,
    ) -> Result<(Vec<Outcome>, bool), Failure> {
        let mut outcomes = vec![Outcome::default(); count];
        let (mut hints, mut followed) = (Vec::new(), false);
        let version = |number: Option<i64>| number.map(|number| Version(number.max(0).unsigned_abs()));
        for row in rows {
            let kind: i16 = row.try_get(0)?;
            if kind == HINT {
                hints.extend(Hint::read(row, 6, 3, 10)?);
                continue;
            }
            if kind == FOLLOWED {
                followed = true;
                continue;
            }
            let at = row.try_get::<_, i32>(1)?.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            let Some(outcome) = at.and_then(|at| outcomes.get_mut(at)) else { continue };
            if kind == EVICTED {
                outcome.evicted.extend(evicted(row, 5, 7)?);
            } else if kind == OUTCOME {
                outcome.applied = row.try_get(2)?;
                outcome.previous = version(row.try_get(3)?);
                outcome.version = version(row.try_get(4)?);
                if outcome.version.is_some() && !evicted_before.is_empty() {
                    outcome.evicted.splice(0..0, std::mem::take(&mut evicted_before));
                }
            }
        }
        self.set_hints(hints);
        Ok((outcomes, followed))
    }

    /// Ranks entries that were touched, by a policy that only this process can ask.
    async fn rank_touched(
        &self,
        rules: &Rules,
        changes: &[Change],
        outcomes: &[Outcome],
    ) -> Result<(), Failure> {
        let touched = changes.iter().zip(outcomes).filter(|(_, outcome)| outcome.applied);
        let uses: Vec<EntryAccess> = touched
            .filter_map(|(change, outcome)| match change {
                Change::Touch { namespace, key, now, .. } => {
                    Some(EntryAccess::new(namespace.clone(), key.as_str(), outcome.previous?, *now, 0))
                }
                _ => None,
            })
            .collect();
        if uses.is_empty() {
            return Ok(());
        }
        let rows = self.query(Sql::Record, &record_params(self.lock, rules, &BTreeMap::new(), &uses)).await?;
        self.rank_used(rules, &rows, 1).await
    }

    /// Adds to the statistics and to the uses of entries.
    pub(super) async fn record(&self, batch: AccessBatch) -> Result<(), Failure> {
        let mut counted: BTreeMap<Namespace, Counters> = BTreeMap::new();
        for (name, counters) in batch.counters.iter().filter(|(_, counters)| !counters.is_zero()) {
            counted.entry(name.clone()).or_default().add(counters);
        }
        let mut rules = self.rules();
        for _ in 0..BUSY {
            let rows =
                self.query(Sql::Record, &record_params(self.lock, &rules, &counted, &batch.accesses)).await?;
            if rows.first().map(|row| row.try_get::<_, i16>(0)).transpose()? == Some(OLD_RULES) {
                rules = self.read_rules().await?;
                continue;
            }
            return if rules.way == Way::Unknown { self.rank_used(&rules, &rows, 0).await } else { Ok(()) };
        }
        Err(busy())
    }

    /// Gives entries that were used the ranks of a policy that only this process can ask. `more` is added to the uses that
    /// the rows tell of.
    async fn rank_used(&self, rules: &Rules, rows: &[Row], more: u64) -> Result<(), Failure> {
        let Some(ranking) = rules.known_ranking() else { return Ok(()) };
        let (mut generations, mut hashes, mut versions) = (Vec::new(), Vec::<Vec<u8>>::new(), Vec::new());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for row in rows {
            let mut used = EntryUse::new(
                Timestamp::from_nanos(row.try_get(5)?),
                row.try_get::<_, i64>(6)?.max(0).unsigned_abs().saturating_add(more),
            );
            used.total_hits = row.try_get::<_, i64>(7)?.max(0).unsigned_abs();
            used.stored_size = row.try_get::<_, i64>(8)?.max(0).unsigned_abs();
            used.expires_at = row.try_get::<_, Option<i64>>(9)?.map(Timestamp::from_nanos);
            used.age = row.try_get::<_, Option<i64>>(10)?.unwrap_or(0);
            let rank: i64 = row.try_get(4)?;
            generations.push(row.try_get::<_, i64>(1)?);
            hashes.push(row.try_get(2)?);
            versions.push(row.try_get::<_, i64>(3)?);
            before.push(rank);
            after.push(ranking.rank_after_use(rank, &used));
        }
        if hashes.is_empty() {
            return Ok(());
        }
        self.query(Sql::SetUsedRanks, &params![generations, hashes, versions, before, after]).await.map(drop)
    }
}

/// Reads an entry that was evicted: the reason, and from `name` on namespace and key. A key that is none is the key of a
/// damaged row, which is gone now and has nothing to be told.
pub(super) fn evicted(row: &Row, reason: usize, name: usize) -> Result<Option<Evicted>, Failure> {
    let expired = row.try_get::<_, Option<i16>>(reason)? == Some(0);
    let reason = if expired { EvictionReason::Expired } else { EvictionReason::Limit };
    let key: Option<&[u8]> = row.try_get(name + 1)?;
    let key = key.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| Key::new(key).ok());
    let Some(key) = key else { return Ok(None) };
    Ok(Some(Evicted::new(namespace(row.try_get(name)?)?, key, reason)))
}

fn record_params(
    lock: i32,
    rules: &Rules,
    counted: &BTreeMap<Namespace, Counters>,
    uses: &[EntryAccess],
) -> Vec<Param> {
    let each = |value: fn(&Counters) -> u64| {
        counted.values().map(|counters| value(counters).min(1 << 56).cast_signed()).collect::<Vec<i64>>()
    };
    let names: Vec<Vec<u8>> = counted.keys().map(|name| name.as_str().as_bytes().to_vec()).collect();
    Vec::from(params![
        lock,
        rules.epoch,
        rules.way as i16,
        names,
        each(|counters| counters.hits),
        each(|counters| counters.misses),
        each(|counters| counters.puts),
        each(|counters| counters.removals),
        each(|counters| counters.evictions),
        each(|counters| counters.expirations),
        each(|counters| counters.errors),
        each(|counters| counters.bytes_out),
        each(|counters| counters.bytes_in),
        uses.iter().map(|one| one.namespace.as_str().as_bytes().to_vec()).collect::<Vec<_>>(),
        uses.iter().map(|one| hash(&one.key)).collect::<Vec<_>>(),
        uses.iter().map(|one| one.version.0.cast_signed()).collect::<Vec<_>>(),
        uses.iter().map(|one| one.accessed_at.as_nanos()).collect::<Vec<_>>(),
        uses.iter().map(|one| i64::try_from(one.hits).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
    ])
}

/// The changes of a call as the function takes them: a list for each column.
struct Batch {
    names: Vec<Vec<u8>>,
    namespaces: Vec<i32>,
    ops: Vec<i16>,
    keys: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
    conditions: Vec<i16>,
    versions: Vec<Option<i64>>,
    now: Vec<i64>,
    due: Vec<i64>,
    entries: Vec<Option<PutColumns>>,
    expires: Vec<Option<i64>>,
    extend: Vec<Option<i64>>,
    ranks: Vec<Option<RankSum>>,
}

/// The columns of an entry that is put.
#[derive(Clone)]
struct PutColumns {
    size: i64,
    blob: Option<Vec<u8>>,
    record: Vec<u8>,
    inline: Option<Vec<u8>>,
    created: i64,
    accessed: i64,
    hits: i64,
    priority: f32,
}

impl Batch {
    fn new(changes: &[Change]) -> Result<Self> {
        let mut batch = Self {
            names: Vec::new(),
            namespaces: Vec::new(),
            ops: Vec::new(),
            keys: Vec::new(),
            hashes: Vec::new(),
            conditions: Vec::new(),
            versions: Vec::new(),
            now: Vec::new(),
            due: Vec::new(),
            entries: Vec::new(),
            expires: Vec::new(),
            extend: Vec::new(),
            ranks: vec![None; changes.len()],
        };
        for change in changes {
            match change {
                Change::Put { entry, condition, now } => {
                    batch.add(0, &entry.namespace, entry.key.as_str(), *condition, *now);
                    let (blob, inline) = place_of(&entry.location)?;
                    batch.entries.push(Some(PutColumns {
                        size: entry.stored_size.min(LONGEST).cast_signed(),
                        blob,
                        record: entry.to_stored(),
                        inline,
                        created: entry.created_at.as_nanos(),
                        accessed: entry.accessed_at.as_nanos(),
                        hits: i64::try_from(entry.hits).unwrap_or(i64::MAX),
                        priority: entry.priority,
                    }));
                    batch.expires.push(entry.validity.expires_at.map(Timestamp::as_nanos));
                    batch.extend.push(None);
                }
                Change::Remove { namespace, key, condition, now } => {
                    batch.add(1, namespace, key, *condition, *now);
                    batch.entries.push(None);
                    batch.expires.push(None);
                    batch.extend.push(None);
                }
                Change::Touch { namespace, key, condition, expiry, now } => {
                    batch.add(2, namespace, key, *condition, *now);
                    batch.entries.push(None);
                    let (expires, extend) = match expiry {
                        Expiry::Set(expires_at) => (expires_at.map(Timestamp::as_nanos), None),
                        Expiry::Extend(by) => (None, Some(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX))),
                        _ => return Err(unknown_change()),
                    };
                    batch.expires.push(expires);
                    batch.extend.push(extend);
                }
                _ => return Err(unknown_change()),
            }
        }
        Ok(batch)
    }

    fn add(&mut self, op: i16, namespace: &Namespace, key: &str, condition: Condition, now: Timestamp) {
        let name = namespace.as_str().as_bytes();
        let at = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_vec());
            self.names.len() - 1
        });
        self.namespaces.push(i32::try_from(at + 1).unwrap_or(i32::MAX));
        self.ops.push(op);
        self.hashes.push(hash(key));
        self.keys.push(key.as_bytes().to_vec());
        let (kind, version) = match condition {
            Condition::Always => (0, None),
            Condition::Absent => (1, None),
            Condition::Version(version) => (2, Some(i64::try_from(version.0).unwrap_or(-1))),
            // A condition that is not known here does not hold.
            _ => (2, Some(-1)),
        };
        self.conditions.push(kind);
        self.versions.push(version);
        self.now.push(now.as_nanos());
        self.due.push((now + GARBAGE_DELAY).as_nanos());
    }

    /// Ranks the entries that are put, by the present policy.
    fn rank(&mut self, rules: &Rules, changes: &mut [Change]) {
        for (rank, change) in self.ranks.iter_mut().zip(changes) {
            if let Change::Put { entry, .. } = change {
                let sum = rules.known_ranking().map(|ranking| rank_of(ranking, entry));
                *rank = Some(sum.unwrap_or(RankSum { base: 0, plus: 0 }));
            }
        }
    }

    fn params(&self, lock: i32, rules: &Rules) -> Vec<Param> {
        fn each<T>(entries: &[Option<PutColumns>], value: impl Fn(&PutColumns) -> T) -> Vec<Option<T>> {
            entries.iter().map(|entry| entry.as_ref().map(&value)).collect()
        }
        let entries = &self.entries;
        let most = i32::try_from(ENTRIES_PER_STEP + self.ops.len()).unwrap_or(i32::MAX);
        Vec::from(params![
            lock,
            rules.epoch,
            rules.known_ranking().is_some(),
            rules.refuses(),
            rules.way as i16,
            most,
            self.names.clone(),
            self.namespaces.clone(),
            self.ops.clone(),
            self.keys.clone(),
            self.hashes.clone(),
            self.conditions.clone(),
            self.versions.clone(),
            self.now.clone(),
            self.due.clone(),
            each(entries, |entry| entry.size),
            entries.iter().map(|entry| entry.as_ref()?.blob.clone()).collect::<Vec<_>>(),
            each(entries, |entry| entry.record.clone()),
            entries.iter().map(|entry| entry.as_ref()?.inline.clone()).collect::<Vec<_>>(),
            each(entries, |entry| entry.created),
            each(entries, |entry| entry.accessed),
            each(entries, |entry| entry.hits),
            self.expires.clone(),
            self.extend.clone(),
            each(entries, |entry| entry.priority),
            self.ranks.iter().map(|rank| Some((*rank)?.base)).collect::<Vec<_>>(),
            self.ranks.iter().map(|rank| Some((*rank)?.plus)).collect::<Vec<_>>(),
        ])
    }

    /// The namespace that an answer means; `None` for the cache.
    fn scope(&self, number: Option<i64>) -> Option<Namespace> {
        let at = usize::try_from(number?).ok()?.checked_sub(1)?;
        Namespace::new(String::from_utf8_lossy(self.names.get(at)?)).ok()
    }

    /// What is to be evicted before the call.
    fn crowded(&self, detail: &str) -> Crowded {
        let mut numbers = numbers(detail);
        let namespace = self.scope(numbers.next());
        let room = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Crowded { namespace, room, now: Timestamp::from_nanos(numbers.next().unwrap_or(0)) }
    }

    /// Why nothing was put.
    fn refusal(&self, asked: Asked, detail: &str) -> Error {
        let mut numbers = numbers(detail);
        let scope = self.scope(numbers.next());
        let (first, second) = (numbers.next().unwrap_or(-1), numbers.next().unwrap_or(-1));
        let most = |number: i64| u64::try_from(number).ok();
        let error = match asked {
            Asked::TooLarge => {
                let mut limits = Limits::unbounded();
                (limits.max_entries, limits.max_bytes) = (most(first), most(second));
                let size = numbers.next().unwrap_or(0).max(0).unsigned_abs();
                limits.check_fits(size).err().unwrap_or_else(|| limits.refusal())
            }
            Asked::TooMuch => {
                let whose =
                    scope.as_ref().map_or("the cache".to_owned(), |name| format!("the namespace `{name}`"));
                let message = format!(
                    "the {first} values of one call have {second} bytes, which is over the limits of {whose}; put them in \
                     several calls"
                );
                Error::new(ErrorKind::LimitExceeded, message)
            }
            _ => Rules::refusal(most(first), most(second)),
        };
        match scope {
            Some(name) => error.with_context("namespace", name.as_str()),
            None => error,
        }
    }
}

fn numbers(detail: &str) -> impl Iterator<Item = i64> {
    detail.split(' ').map(|number| number.parse().unwrap_or(-1))
}

/// The blob or the inline bytes of an entry.
type Place = (Option<Vec<u8>>, Option<Vec<u8>>);

fn place_of(location: &Location) -> Result<Place> {
    match location {
        Location::Inline(bytes) => Ok((None, Some(bytes.to_vec()))),
        Location::Blob(id) => Ok((Some(id.as_bytes().to_vec()), None)),
        Location::InlineOmitted => {
            let message = "an entry whose inline bytes were left out by a listing cannot be put";
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
        location => {
            let message = format!("`postgres` cannot store an entry whose value lies in {location:?}");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}

fn unknown_change() -> Error {
    Error::new(ErrorKind::Unsupported, "this backend does not know a change that was asked for")
}
