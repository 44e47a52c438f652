//! Uses of entries that are not written down yet. They are gathered in memory, so that a hit writes nothing, and
//! a metadata backend consults them before it evicts, so that eviction is exact within a process.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
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

/// The most records per shard. When one is full its records are handed out at the next flush, due or not.
const SHARD_CAPACITY: usize = 4096;

#[derive(Debug, Default)]
struct Shard {
    uses: HashMap<u128, Use, BuildHasherDefault<Folded>>,
}

#[derive(Debug)]
struct Use {
    namespace: Namespace,
    key: Box<str>,
    version: Version,
    accessed_at: Timestamp,
    hits: u64,
    stored_at: Timestamp,
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

    /// Notes a use of the entry with this version, whose stored access time is `stored_at`. False where the log is
    /// full and should be flushed now. The engine calls this on every hit.
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
        let room = shard.uses.len() < SHARD_CAPACITY;
        match shard.uses.entry(hash) {
            Slot::Occupied(mut slot) => {
                let pending = slot.get_mut();
                if pending.version == version {
                    pending.accessed_at = pending.accessed_at.max(now);
                    pending.hits = pending.hits.saturating_add(1);
                } else {
                    pending.version = version;
                    pending.accessed_at = now;
                    pending.hits = 1;
                    pending.stored_at = stored_at;
                }
            }
            Slot::Vacant(slot) if room => {
                let (namespace, key) = (namespace.clone(), key.into());
                slot.insert(Use { namespace, key, version, accessed_at: now, hits: 1, stored_at });
            }
            Slot::Vacant(_) => {}
        }
        room
    }

    /// What is pending for the entry with this version.
    #[must_use]
    pub fn pending(&self, namespace: &Namespace, key: &str, version: Version) -> Option<PendingAccess> {
        let hash = hash(namespace, key);
        let shard = self.shard(hash);
        let pending = shard.uses.get(&hash).filter(|pending| pending.version == version)?;
        Some(PendingAccess { accessed_at: pending.accessed_at, hits: pending.hits })
    }

    /// Takes what is pending for one entry, for a backend that writes it down itself.
    #[must_use]
    pub fn take(&self, namespace: &Namespace, key: &str, version: Version) -> Option<PendingAccess> {
        let hash = hash(namespace, key);
        let mut shard = self.shard(hash);
        if shard.uses.get(&hash)?.version != version {
            return None;
        }
        shard
            .uses
            .remove(&hash)
            .map(|pending| PendingAccess { accessed_at: pending.accessed_at, hits: pending.hits })
    }

    /// Takes the uses that are to be written down now: those whose stored time has grown old, all of a shard that
    /// is full, or everything.
    pub(crate) fn drain(&self, everything: bool) -> Vec<EntryAccess> {
        let mut drained = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let all = everything || shard.uses.len() >= SHARD_CAPACITY;
            let due = |pending: &Use| all || pending.accessed_at.since(pending.stored_at) >= self.interval;
            let taken = shard.uses.extract_if(|_, pending| due(pending));
            drained.extend(taken.map(|(_, pending)| EntryAccess {
                namespace: pending.namespace,
                key: pending.key.into(),
                version: pending.version,
                accessed_at: pending.accessed_at,
                hits: pending.hits,
            }));
        }
        drained
    }

    /// Puts back uses that could not be written down.
    pub(crate) fn restore(&self, accesses: Vec<EntryAccess>) {
        for access in accesses {
            let hash = hash(&access.namespace, &access.key);
            let mut shard = self.shard(hash);
            if shard.uses.len() >= SHARD_CAPACITY {
                continue;
            }
            let pending = shard.uses.entry(hash).or_insert_with(|| Use {
                namespace: access.namespace,
                key: access.key.into(),
                version: access.version,
                accessed_at: access.accessed_at,
                hits: 0,
                stored_at: Timestamp::from_nanos(0),
            });
            if pending.version == access.version {
                pending.hits = pending.hits.saturating_add(access.hits);
            }
        }
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

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn uses_add_up_and_are_handed_out_when_the_stored_time_is_old() {
        let log = AccessLog::new(Duration::from_secs(60));
        let namespace = Namespace::default();
        log.record(&namespace, "k", Version(1), at(0), at(10));
        log.record(&namespace, "k", Version(1), at(0), at(20));
        assert_eq!(
            log.pending(&namespace, "k", Version(1)),
            Some(PendingAccess { accessed_at: at(20), hits: 2 })
        );
        assert!(log.drain(false).is_empty());
        log.record(&namespace, "k", Version(1), at(0), at(60));
        assert_eq!(log.drain(false)[0].hits, 3);
        assert!(log.drain(true).is_empty());
    }

    #[test]
    fn a_new_version_starts_anew() {
        let log = AccessLog::new(Duration::from_secs(60));
        let namespace = Namespace::default();
        log.record(&namespace, "k", Version(1), at(0), at(10));
        log.record(&namespace, "k", Version(2), at(0), at(11));
        assert_eq!(log.pending(&namespace, "k", Version(1)), None);
        assert_eq!(log.pending(&namespace, "k", Version(2)).map(|p| p.hits), Some(1));
    }

    #[test]
    fn the_log_is_bounded() {
        let log = AccessLog::new(Duration::from_secs(60));
        let namespace = Namespace::default();
        let mut full = false;
        for i in 0..200_000 {
            full |= !log.record(&namespace, &i.to_string(), Version(1), at(0), at(1));
        }
        assert!(full);
        assert!(log.drain(true).len() <= SHARDS * SHARD_CAPACITY);
    }
}
