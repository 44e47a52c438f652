//! Uses of entries that are not written down yet. They are gathered in memory, so that a hit writes nothing, and
//! a metadata backend consults them before it evicts, so that eviction is exact within a process.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use twox_hash::XxHash3_128;

use crate::metadata::EntryAccess;
use crate::names::{Namespace, Timestamp, Version};

/// The uses of entries in this process since they were last recorded.
#[derive(Debug)]
pub struct AccessLog {
    shards: [Mutex<Shard>; SHARDS],
    /// Access times are written down again only when the stored ones are older than this.
    interval: Duration,
}

const SHARDS: usize = 16;

/// The most records per shard. While one is full, uses of further entries are not noted.
const SHARD_CAPACITY: usize = 4096;

/// The most bytes of keys and namespaces per shard, so 16 MiB in all: a key may be 64 KiB long.
const SHARD_BYTES: usize = 1024 * 1024;

#[derive(Debug, Default)]
struct Shard {
    uses: HashMap<u128, Use, BuildHasherDefault<Folded>>,
    /// How many bytes the names of the uses have.
    bytes: usize,
}

impl Shard {
    fn is_full(&self) -> bool {
        self.uses.len() >= SHARD_CAPACITY || self.bytes >= SHARD_BYTES
    }

    fn insert(&mut self, hash: u128, pending: Use) {
        self.bytes += pending.bytes();
        if let Some(replaced) = self.uses.insert(hash, pending) {
            self.bytes = self.bytes.saturating_sub(replaced.bytes());
        }
    }

    fn remove(&mut self, hash: u128) -> Option<Use> {
        let removed = self.uses.remove(&hash)?;
        self.bytes = self.bytes.saturating_sub(removed.bytes());
        Some(removed)
    }
}

#[derive(Debug)]
struct Use {
    namespace: Namespace,
    key: Box<str>,
    version: Version,
    accessed_at: Timestamp,
    hits: u64,
    /// How many of the hits are being written down at the moment.
    in_flight: u64,
    stored_at: Timestamp,
}

impl Use {
    fn bytes(&self) -> usize {
        self.namespace.as_str().len() + self.key.len()
    }

    fn pending(&self) -> PendingAccess {
        PendingAccess { accessed_at: self.accessed_at, hits: self.hits - self.in_flight }
    }

    /// Takes note that it is being written down, and says what.
    fn being_written(&mut self) -> EntryAccess {
        self.in_flight = self.hits;
        EntryAccess {
            namespace: self.namespace.clone(),
            key: self.key.as_ref().to_owned(),
            version: self.version,
            accessed_at: self.accessed_at,
            hits: self.hits,
        }
    }
}

/// Which uses are to be written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Those whose stored time is older than the interval.
    Old,
    /// Those, and all of a shard that has no room left.
    OldOrFull,
}

/// The uses of one entry that are not recorded yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingAccess {
    /// When it was last used.
    pub accessed_at: Timestamp,
    /// How often it was used since its hits were last recorded.
    pub hits: u64,
}

impl AccessLog {
    /// An empty log. A stored access time is renewed when it is older than `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), interval }
    }

    /// Notes a use of the entry with this version, whose stored access time is `stored_at`. The engine calls this on
    /// every hit. False where the log is full, and nothing was noted.
    pub fn record(
        &self,
        namespace: &Namespace,
        key: &str,
        version: Version,
        stored_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        let hash = hash(namespace, key);
        let mut shard = self.shard(hash);
        if let Some(pending) = shard.uses.get_mut(&hash).filter(|pending| pending.version >= version) {
            if pending.version == version {
                pending.accessed_at = pending.accessed_at.max(now);
                pending.hits = pending.hits.saturating_add(1);
            }
            // Otherwise it is a late use of an entry, which tells nothing about its successor.
            return true;
        }
        // One that is in the log already is replaced, which needs no room.
        if shard.is_full() && !shard.uses.contains_key(&hash) {
            return false;
        }
        let first = Use {
            namespace: namespace.clone(),
            key: key.into(),
            version,
            accessed_at: now,
            hits: 1,
            in_flight: 0,
            stored_at,
        };
        shard.insert(hash, first);
        true
    }

    /// What is pending for the entry with this version.
    #[must_use]
    pub fn pending(&self, namespace: &Namespace, key: &str, version: Version) -> Option<PendingAccess> {
        let hash = hash(namespace, key);
        let shard = self.shard(hash);
        shard.uses.get(&hash).filter(|pending| pending.version == version).map(Use::pending)
    }

    /// Takes what is pending for one entry, for a backend that writes it down itself.
    #[must_use]
    pub fn take(&self, namespace: &Namespace, key: &str, version: Version) -> Option<PendingAccess> {
        let hash = hash(namespace, key);
        let mut shard = self.shard(hash);
        if shard.uses.get(&hash)?.version != version {
            return None;
        }
        shard.remove(hash).map(|pending| pending.pending())
    }

    /// Puts back what a backend took and could not write down.
    pub fn put_back(&self, access: EntryAccess) {
        let hash = hash(&access.namespace, &access.key);
        let mut shard = self.shard(hash);
        match shard.uses.get_mut(&hash) {
            Some(pending) if pending.version == access.version => {
                pending.hits = pending.hits.saturating_add(access.hits);
                pending.accessed_at = pending.accessed_at.max(access.accessed_at);
            }
            Some(_) => {}
            None => {
                let again = Use {
                    namespace: access.namespace,
                    key: access.key.into(),
                    version: access.version,
                    accessed_at: access.accessed_at,
                    hits: access.hits,
                    in_flight: 0,
                    stored_at: Timestamp::MIN,
                };
                shard.insert(hash, again);
            }
        }
    }

    /// What is in the log now, for [`these`](Self::these).
    pub(crate) fn hashes(&self) -> Vec<u128> {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards.flat_map(|shard| shard.uses.keys().copied().collect::<Vec<_>>()).collect()
    }

    /// Copies those of these uses that are still in the log, as [`due`](Self::due) does.
    pub(crate) fn these(&self, hashes: &[u128]) -> Vec<EntryAccess> {
        hashes
            .iter()
            .filter_map(|&hash| Some(self.shard(hash).uses.get_mut(&hash)?.being_written()))
            .collect()
    }

    /// Copies the uses that are to be written down at `now`, `most` at the most. They stay in the log, so that eviction goes on seeing
    /// them, until [`recorded`](Self::recorded) or [`not_recorded`](Self::not_recorded) is called.
    pub(crate) fn due(&self, which: Due, now: Timestamp, most: usize) -> Vec<EntryAccess> {
        let mut due = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let full = which == Due::OldOrFull && shard.is_full();
            let old = |pending: &Use| now.since(pending.stored_at) >= self.interval;
            for pending in shard.uses.values_mut().filter(|pending| full || old(pending)) {
                if due.len() == most {
                    return due;
                }
                due.push(pending.being_written());
            }
        }
        due
    }

    /// Forgets uses that have been written down, but not what was added to them meanwhile.
    pub(crate) fn recorded(&self, accesses: &[EntryAccess]) {
        for access in accesses {
            let hash = hash(&access.namespace, &access.key);
            let mut shard = self.shard(hash);
            let Some(pending) = shard.uses.get_mut(&hash) else { continue };
            if pending.version != access.version {
                continue;
            }
            pending.hits = pending.hits.saturating_sub(access.hits);
            pending.in_flight = 0;
            pending.stored_at = access.accessed_at;
            if pending.hits == 0 {
                shard.remove(hash);
            }
        }
    }

    /// Takes note that uses could not be written down.
    pub(crate) fn not_recorded(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.uses.values_mut().for_each(|pending| pending.in_flight = 0);
        }
    }

    /// True where nothing is waiting to be written down.
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).uses.is_empty())
    }

    fn shard(&self, hash: u128) -> MutexGuard<'_, Shard> {
        self.shards[hash as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two entries with the same hash would share a record, and the version tells them apart well enough: the worst
/// that can happen is an access time that is not renewed.
fn hash(namespace: &Namespace, key: &str) -> u128 {
    let seed = XxHash3_128::oneshot(namespace.as_str().as_bytes()) as u64;
    XxHash3_128::oneshot_with_seed(seed, key.as_bytes())
}

/// The keys of the map are hashes already.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = (value >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "k";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn log() -> (AccessLog, Namespace) {
        (AccessLog::new(Duration::from_secs(60)), Namespace::default())
    }

    #[test]
    fn uses_add_up_and_are_due_when_the_stored_time_is_old() {
        let (log, namespace) = log();
        log.record(&namespace, KEY, Version(1), at(0), at(10));
        log.record(&namespace, KEY, Version(1), at(0), at(20));
        let pending = log.pending(&namespace, KEY, Version(1));
        assert_eq!(pending, Some(PendingAccess { accessed_at: at(20), hits: 2 }));
        assert!(log.due(Due::Old, at(59), 10).is_empty());
        let due = log.due(Due::Old, at(60), 10);
        assert_eq!((due.len(), due[0].hits), (1, 2));
        log.recorded(&due);
        assert!(log.is_empty());
    }

    #[test]
    fn what_is_being_written_down_stays_visible_and_is_not_counted_twice() {
        let (log, namespace) = log();
        log.record(&namespace, KEY, Version(1), at(0), at(10));
        let due = log.these(&log.hashes());
        let meanwhile = log.pending(&namespace, KEY, Version(1)).unwrap();
        assert_eq!(meanwhile, PendingAccess { accessed_at: at(10), hits: 0 });
        log.record(&namespace, KEY, Version(1), at(0), at(12));
        log.recorded(&due);
        let left = log.pending(&namespace, KEY, Version(1)).unwrap();
        assert_eq!(left, PendingAccess { accessed_at: at(12), hits: 1 });
        log.these(&log.hashes());
        log.not_recorded();
        assert_eq!(log.these(&log.hashes())[0].hits, 1);
    }

    #[test]
    fn a_new_version_starts_anew_and_a_late_use_of_the_old_one_is_ignored() {
        let (log, namespace) = log();
        log.record(&namespace, KEY, Version(1), at(0), at(10));
        log.record(&namespace, KEY, Version(2), at(0), at(11));
        log.record(&namespace, KEY, Version(1), at(0), at(12));
        assert_eq!(log.pending(&namespace, KEY, Version(1)), None);
        let pending = log.pending(&namespace, KEY, Version(2));
        assert_eq!(pending, Some(PendingAccess { accessed_at: at(11), hits: 1 }));
        let taken = log.take(&namespace, KEY, Version(2)).unwrap();
        assert!(log.is_empty());
        log.put_back(EntryAccess {
            namespace: namespace.clone(),
            key: KEY.into(),
            version: Version(2),
            accessed_at: taken.accessed_at,
            hits: taken.hits,
        });
        assert_eq!(log.pending(&namespace, KEY, Version(2)), Some(taken));
    }

    #[test]
    fn the_log_is_bounded_and_says_when_it_is_full() {
        let (log, namespace) = log();
        let noted =
            (0..200_000).filter(|i| log.record(&namespace, &i.to_string(), Version(1), at(0), at(1))).count();
        assert!(noted <= SHARDS * SHARD_CAPACITY);
        assert!(log.due(Due::Old, at(1), usize::MAX).is_empty());
        assert_eq!(log.due(Due::OldOrFull, at(1), 500).len(), 500);
        assert_eq!(log.these(&log.hashes()).len(), noted);
    }

    #[test]
    fn long_keys_fill_the_log_before_they_fill_the_memory() {
        let (log, namespace) = log();
        let key = |i: usize| format!("{i:0>65000}");
        let noted = (0..1_000).filter(|&i| log.record(&namespace, &key(i), Version(1), at(0), at(1))).count();
        assert!((100..=SHARDS * (SHARD_BYTES / 65_000 + 1)).contains(&noted), "{noted}");
        // What is in the log goes on to be noted, and what was written down makes room.
        let written = log.these(&log.hashes());
        assert_eq!(written.len(), noted);
        assert!(log.record(&namespace, &written[0].key, Version(2), at(0), at(2)));
        log.recorded(&written[1..]);
        let again = (1_000..2_000).filter(|&i| log.record(&namespace, &key(i), Version(1), at(0), at(1)));
        assert_eq!(again.count(), noted - 1);
    }
}
