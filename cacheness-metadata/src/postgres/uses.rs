//! Uses of entries that this process has had and not written down: where they matter to an eviction, they go along with
//! it. The server says which entries are next; what the log has about those is sent with the next put.

use std::sync::PoisonError;

use cacheness_core::{AccessLog, EntryAccess, EntryUse, Key, Namespace, Ranking, Timestamp, Version};
use tokio_postgres::Row;

use super::connection::Param;
use super::failure::Failure;
use super::reading::namespace;
use super::store::{Store, params};

/// An entry that is near the end of the order of eviction.
#[derive(Clone, Debug)]
pub(super) struct Hint {
    pub(super) generation: i64,
    pub(super) hash: Vec<u8>,
    pub(super) namespace: Namespace,
    pub(super) key: String,
    pub(super) version: i64,
    pub(super) rank: i64,
    pub(super) hits: i64,
    pub(super) size: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) age: i64,
}

impl Hint {
    /// What of the row tells the entry: its columns from `generation` on, and the version, and then those from `rank` on.
    /// `None` where it is damaged, and has no uses.
    pub(super) fn read(
        row: &Row,
        generation: usize,
        version: usize,
        rank: usize,
    ) -> Result<Option<Self>, Failure> {
        let key: Option<&[u8]> = row.try_get(generation + 2)?;
        let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) else { return Ok(None) };
        if Key::new(key).is_err() {
            return Ok(None);
        }
        Ok(Some(Self {
            generation: row.try_get(generation)?,
            namespace: namespace(row.try_get(generation + 1)?)?,
            key: key.to_owned(),
            hash: row.try_get(generation + 3)?,
            version: row.try_get(version)?,
            rank: row.try_get(rank)?,
            hits: row.try_get(rank + 1)?,
            size: row.try_get(rank + 2)?,
            expires_at: row.try_get(rank + 3)?,
            age: row.try_get(rank + 4)?,
        }))
    }

    /// The rank after so many more uses.
    pub(super) fn rank_after(&self, ranking: &Ranking, at: Timestamp, hits: u64) -> i64 {
        let mut used = EntryUse::new(at, hits);
        used.total_hits = self.hits.max(0).unsigned_abs().saturating_add(hits);
        used.stored_size = self.size.max(0).unsigned_abs();
        used.expires_at = self.expires_at.map(Timestamp::from_nanos);
        used.age = self.age;
        ranking.rank_after_use(self.rank, &used)
    }
}

/// Uses that were taken out of the log, to be written down or given back.
pub(super) struct Taken<'a> {
    log: &'a AccessLog,
    uses: Vec<(EntryAccess, Hint, i64)>,
}

impl<'a> Taken<'a> {
    /// Takes what the log has about these entries, where it changes their ranks.
    pub(super) fn of(log: &'a AccessLog, ranking: Option<&Ranking>, hints: &[Hint]) -> Self {
        let mut taken = Self { log, uses: Vec::new() };
        let Some(ranking) = ranking else { return taken };
        for hint in hints {
            let version = Version(hint.version.unsigned_abs());
            let Some(uses) = log.pending(&hint.namespace, &hint.key, version) else { continue };
            if hint.rank_after(ranking, uses.accessed_at, uses.hits) <= hint.rank {
                continue;
            }
            let Some(uses) = log.take(&hint.namespace, &hint.key, version) else { continue };
            let rank = hint.rank_after(ranking, uses.accessed_at, uses.hits);
            let (namespace, key) = (hint.namespace.clone(), hint.key.as_str());
            let access = EntryAccess::new(namespace, key, version, uses.accessed_at, uses.hits);
            taken.uses.push((access, hint.clone(), rank));
        }
        taken
    }

    /// The parameters that bring them along.
    pub(super) fn params(&self) -> [Param; 6] {
        let each =
            |value: fn(&(EntryAccess, Hint, i64)) -> i64| self.uses.iter().map(value).collect::<Vec<i64>>();
        let hashes: Vec<Vec<u8>> = self.uses.iter().map(|(_, hint, _)| hint.hash.clone()).collect();
        params![
            each(|(_, hint, _)| hint.generation),
            hashes,
            each(|(_, hint, _)| hint.version),
            each(|(access, ..)| access.accessed_at.as_nanos()),
            each(|(access, ..)| i64::try_from(access.hits).unwrap_or(i64::MAX)),
            each(|(_, _, rank)| *rank),
        ]
    }

    /// Takes note that they are written down.
    pub(super) fn written(mut self) {
        self.uses.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for (access, ..) in self.uses.drain(..) {
            self.log.put_back(access);
        }
    }
}

impl Store {
    /// The entries that were next to be evicted when somebody last asked.
    pub(super) fn hints(&self) -> Vec<Hint> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_hints(&self, hints: Vec<Hint>) {
        *self.hints.lock().unwrap_or_else(PoisonError::into_inner) = hints;
    }
}
