//! The policies that come with the crate.

use super::{EntryUse, EvictionPolicy};
use crate::entry::Entry;
use crate::names::Timestamp;

/// `lru`: the one that has not been used for the longest time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lru;

impl EvictionPolicy for Lru {
    fn name(&self) -> &str {
        "lru"
    }

    fn description(&self) -> &str {
        "The one that has not been used for the longest time."
    }

    fn rank(&self, entry: &Entry, _: i64) -> i64 {
        entry.accessed_at.as_nanos()
    }

    fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
        rank.max(used.accessed_at.as_nanos())
    }
}

/// `lfu`: the one that has been used least often, with ageing. A new entry starts at the rank of the last victim before
/// it, so that what was popular long ago goes in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lfu;

impl EvictionPolicy for Lfu {
    fn name(&self) -> &str {
        "lfu"
    }

    fn description(&self) -> &str {
        "The one that has been used least often; old fame fades."
    }

    fn rank(&self, entry: &Entry, age: i64) -> i64 {
        age.saturating_add(i64::try_from(entry.hits).unwrap_or(i64::MAX))
    }

    fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
        rank.saturating_add(i64::try_from(used.hits).unwrap_or(i64::MAX))
    }
}

/// `fifo`: the one that was put first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fifo;

impl EvictionPolicy for Fifo {
    fn name(&self) -> &str {
        "fifo"
    }

    fn description(&self) -> &str {
        "The one that was put first."
    }

    fn rank(&self, entry: &Entry, _: i64) -> i64 {
        i64::try_from(entry.version.0).unwrap_or(i64::MAX)
    }
}

/// `ttl`: the one that expires next. Those that never expire go last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ttl;

impl EvictionPolicy for Ttl {
    fn name(&self) -> &str {
        "ttl"
    }

    fn description(&self) -> &str {
        "The one that expires next; those that never expire go last."
    }

    fn rank(&self, entry: &Entry, _: i64) -> i64 {
        by_expiry(entry.validity.expires_at)
    }

    fn rank_after_use(&self, _: i64, used: &EntryUse) -> i64 {
        by_expiry(used.expires_at)
    }
}

fn by_expiry(expires_at: Option<Timestamp>) -> i64 {
    expires_at.map_or(i64::MAX, Timestamp::as_nanos)
}

/// `size`: the largest one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size;

impl EvictionPolicy for Size {
    fn name(&self) -> &str {
        "size"
    }

    fn description(&self) -> &str {
        "The largest one."
    }

    fn rank(&self, entry: &Entry, _: i64) -> i64 {
        i64::try_from(entry.stored_size).map_or(i64::MIN, |size| -size)
    }
}

/// `none`: nobody. A put past a limit is an error of kind [`LimitExceeded`](crate::ErrorKind::LimitExceeded) and changes
/// nothing; only what has expired makes room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoEviction;

impl EvictionPolicy for NoEviction {
    fn name(&self) -> &str {
        "none"
    }

    fn description(&self) -> &str {
        "Nobody: a put past a limit is an error."
    }

    fn rank(&self, _: &Entry, _: i64) -> i64 {
        0
    }

    fn refuses(&self) -> bool {
        true
    }
}
