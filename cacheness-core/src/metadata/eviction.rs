//! Limits, and who goes first when one is reached.

use std::fmt;

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::names::{Namespace, Timestamp};

/// How much a cache may hold. The limits hold whenever a put returns.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// The most entries.
    pub max_entries: Option<u64>,
    /// The most bytes of stored values.
    pub max_bytes: Option<u64>,
    /// Who goes first.
    pub order: EvictionOrder,
}

impl Limits {
    /// No limit.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::default()
    }

    /// Sets the most entries.
    #[must_use]
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Sets the most bytes of stored values.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Sets who goes first.
    #[must_use]
    pub fn order(mut self, order: EvictionOrder) -> Self {
        self.order = order;
        self
    }

    /// True where there is a limit at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_entries.is_some() || self.max_bytes.is_some()
    }

    /// True where a cache of this many entries and bytes is over a limit.
    #[must_use]
    pub fn exceeded_by(&self, entries: u64, bytes: u64) -> bool {
        self.max_entries.is_some_and(|most| entries > most) || self.max_bytes.is_some_and(|most| bytes > most)
    }

    /// Checks that a value of this size fits at all. Backends call it before a put evicts anything for it.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`] where the value alone is over the limit.
    pub fn check_fits(&self, size: u64) -> Result<()> {
        match self.max_bytes {
            Some(most) if size > most => {
                let message =
                    format!("a value of {size} bytes is larger than the whole limit of {most} bytes");
                Err(Error::new(ErrorKind::LimitExceeded, message))
            }
            _ if self.max_entries == Some(0) => {
                Err(Error::new(ErrorKind::LimitExceeded, "the limit is 0 entries, so nothing can be put"))
            }
            _ => Ok(()),
        }
    }
}

/// Which entry is evicted first among those of the same priority. Entries that have expired go before all others.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum EvictionOrder {
    /// The one that has not been used for the longest time.
    #[default]
    Lru,
    /// The one that has been used least often, with ageing: a new entry starts at the rank of the last victim
    /// before it, so that what was popular long ago goes in the end.
    Lfu,
    /// The one that was put first.
    Fifo,
    /// The one that expires next; those that never expire go last.
    Ttl,
    /// The largest one.
    Size,
}

impl EvictionOrder {
    /// All orders.
    pub const ALL: [Self; 5] = [Self::Lru, Self::Lfu, Self::Fifo, Self::Ttl, Self::Size];

    /// The name by which configurations and stores know the order.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::Fifo => "fifo",
            Self::Ttl => "ttl",
            Self::Size => "size",
        }
    }

    /// The order of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }

    /// The rank of an entry: of two with the same priority, the one with the lower rank is evicted first.
    ///
    /// `age` is the rank of the last victim, by which [`Lfu`](Self::Lfu) ages; the other orders ignore it.
    #[must_use]
    pub fn rank(self, entry: &Entry, age: i64) -> i64 {
        match self {
            Self::Lru => entry.accessed_at.as_nanos(),
            Self::Lfu => age.saturating_add(i64::try_from(entry.hits).unwrap_or(i64::MAX)),
            Self::Fifo => i64::try_from(entry.version.0).unwrap_or(i64::MAX),
            Self::Ttl => entry.validity.expires_at.map_or(i64::MAX, Timestamp::as_nanos),
            Self::Size => i64::try_from(entry.stored_size).map_or(i64::MIN, |size| -size),
        }
    }

    /// The rank of an entry after it has been used `hits` more times, the last time at `accessed_at`. Only
    /// [`Lru`](Self::Lru) and [`Lfu`](Self::Lfu) change it.
    #[must_use]
    pub fn rank_after_access(self, rank: i64, accessed_at: Timestamp, hits: u64) -> i64 {
        match self {
            Self::Lru => rank.max(accessed_at.as_nanos()),
            Self::Lfu => rank.saturating_add(i64::try_from(hits).unwrap_or(i64::MAX)),
            Self::Fifo | Self::Ttl | Self::Size => rank,
        }
    }
}

impl fmt::Display for EvictionOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entry that was evicted.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evicted {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its key.
    pub key: Key,
    /// Why it went.
    pub reason: EvictionReason,
}

impl Evicted {
    /// The entry under this key, and why it went.
    #[must_use]
    pub fn new(namespace: Namespace, key: Key, reason: EvictionReason) -> Self {
        Self { namespace, key, reason }
    }
}

/// Why an entry was evicted.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EvictionReason {
    /// A limit was reached and the entry had expired.
    Expired,
    /// A limit was reached and the entry came first in the eviction order.
    Limit,
}

impl EvictionReason {
    /// The reason in logs and metrics, such as `"limit"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Limit => "limit",
        }
    }
}
