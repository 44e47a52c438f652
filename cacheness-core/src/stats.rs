//! Statistics: what a cache has counted since it was made, and what it holds now.

use serde::{Deserialize, Serialize};

use crate::names::Timestamp;

/// Counts of events. They add up over processes and survive restarts; `clear` keeps them.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Lookups that found a valid value.
    pub hits: u64,
    /// Lookups that found none, or one that could not be served.
    pub misses: u64,
    /// Values stored.
    pub puts: u64,
    /// Entries removed because the caller asked for it.
    pub removals: u64,
    /// Valid entries evicted because a limit was reached.
    pub evictions: u64,
    /// Entries removed because they were no longer valid, by `purge` or to make room.
    pub expirations: u64,
    /// Lookups that became misses because of damage, a missing blob or a value that no longer decodes, and
    /// operations that failed in a backend.
    pub errors: u64,
    /// Bytes of stored values that were read; of a part of a table only that part's.
    pub bytes_out: u64,
    /// Bytes of stored values that were written.
    pub bytes_in: u64,
}

impl Counters {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.hits, other.hits),
            (&mut self.misses, other.misses),
            (&mut self.puts, other.puts),
            (&mut self.removals, other.removals),
            (&mut self.evictions, other.evictions),
            (&mut self.expirations, other.expirations),
            (&mut self.errors, other.errors),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.bytes_in, other.bytes_in),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }

    /// True where nothing has been counted.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// What a namespace, or a whole cache, has counted and holds.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// What happened so far.
    pub counters: Counters,
    /// Entries held now, those that have expired included.
    pub entries: u64,
    /// Bytes of the stored values held now.
    pub stored_bytes: u64,
    /// Bytes of superseded blobs that are still to be deleted. Counted for the whole cache only; 0 in the
    /// statistics of a namespace.
    pub garbage_bytes: u64,
    /// When the oldest entry was put. A backend that does not keep all entries in this order may give an earlier time,
    /// never a later one: `sqlite` is exact for up to 32 entries of a namespace, and beyond that early by up to about a
    /// sixteenth of the time since the first put into it; by more where raw copies bring older times.
    pub oldest_entry: Option<Timestamp>,
}

impl Stats {
    /// The share of lookups that were hits, from 0 to 1; `None` before the first lookup.
    ///
    /// ```
    /// let mut stats = cacheness_core::Stats::default();
    /// assert_eq!(stats.hit_rate(), None);
    /// stats.counters.hits = 6;
    /// stats.counters.misses = 6;
    /// assert_eq!(stats.hit_rate(), Some(0.5));
    /// ```
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let lookups = self.counters.hits.saturating_add(self.counters.misses);
        (lookups > 0).then(|| self.counters.hits as f64 / lookups as f64)
    }
}
