//! What was evicted, and why.

use std::fmt;

use crate::key::Key;
use crate::names::Namespace;

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

impl fmt::Display for EvictionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one call of [`MetadataBackend::evict`](crate::MetadataBackend::evict) did.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evictions {
    /// The entries that went, in that order.
    pub evicted: Vec<Evicted>,
    /// True where there is more to evict.
    pub more: bool,
}

impl Evictions {
    /// What went, and whether more is to go.
    #[must_use]
    pub fn new(evicted: Vec<Evicted>, more: bool) -> Self {
        Self { evicted, more }
    }
}
