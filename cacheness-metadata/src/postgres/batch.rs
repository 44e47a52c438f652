//! The changes of a call as the function in the database takes them: a list for each column.

use cacheness_core::__private::condemned;
use cacheness_core::{
    Change, Condition, Error, ErrorKind, Expiry, GARBAGE_DELAY, Limits, Location, Namespace, Result,
    Timestamp,
};

use super::connection::Param;
use super::eviction::{Crowded, ENTRIES_PER_STEP};
use super::failure::Asked;
use super::reading::hash;
use super::rules::{RankSum, Rules, rank_of};
use super::store::params;

/// The longest length of a value that is counted as it is, 4 PiB: so no sum leaves its range.
const LONGEST: u64 = 1 << 52;

/// The changes of a call.
pub(super) struct Batch {
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
    pub(super) fn new(changes: &[Change]) -> Result<Self> {
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
    pub(super) fn rank(&mut self, rules: &Rules, changes: &mut [Change]) {
        for (rank, change) in self.ranks.iter_mut().zip(changes) {
            if let Change::Put { entry, .. } = change {
                let sum = rules.known_ranking().map(|ranking| rank_of(ranking, entry));
                *rank = Some(sum.unwrap_or(RankSum { base: 0, plus: 0 }));
            }
        }
    }

    pub(super) fn params(&self, rules: &Rules) -> Vec<Param> {
        fn each<T>(entries: &[Option<PutColumns>], value: impl Fn(&PutColumns) -> T) -> Vec<Option<T>> {
            entries.iter().map(|entry| entry.as_ref().map(&value)).collect()
        }
        let entries = &self.entries;
        let most = i32::try_from(ENTRIES_PER_STEP + self.ops.len()).unwrap_or(i32::MAX);
        Vec::from(params![
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

    /// True where something is put.
    pub(super) fn puts(&self) -> bool {
        self.ops.contains(&0)
    }

    /// The namespace that an answer means; `None` for the cache.
    fn scope(&self, number: Option<i64>) -> Option<Namespace> {
        let at = usize::try_from(number?).ok()?.checked_sub(1)?;
        Namespace::new(String::from_utf8_lossy(self.names.get(at)?)).ok()
    }

    /// What is to be evicted before the call.
    pub(super) fn crowded(&self, detail: &str) -> Crowded {
        let mut numbers = numbers(detail);
        let namespace = self.scope(numbers.next());
        let room = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Crowded { namespace, room, now: Timestamp::from_nanos(numbers.next().unwrap_or(0)) }
    }

    /// Why nothing was put.
    pub(super) fn refusal(&self, asked: Asked, detail: &str) -> Error {
        if asked == Asked::Condemned {
            return condemned();
        }
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
