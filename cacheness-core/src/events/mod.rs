//! Events: what a cache tells a listener. They are delivered by a thread of the cache's own, so that a slow listener
//! holds nobody up.

mod delivery;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::key::Key;
use crate::metadata::EvictionReason;
use crate::names::{Namespace, Version};
use crate::resilience::{BackendRole, HealthState};

pub(crate) use delivery::Delivery;

/// Something that happened in this process's handles of a cache. It holds no byte of any value.
///
/// [`CacheBuilder::listener`](crate::CacheBuilder::listener) registers who is told. Events of one key that come from one
/// thread arrive in their order; those of several threads may change places.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Event {
    /// A value was stored.
    #[non_exhaustive]
    Put {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// The number of the write.
        version: Version,
        /// True where an entry was there before, valid or not.
        replaced: bool,
        /// The name of the handler that encoded the value.
        handler: String,
        /// The value's length in bytes as its handler wrote it.
        size: u64,
        /// The length in bytes of what is stored, after compression.
        stored_size: u64,
    },
    /// A lookup was served.
    #[non_exhaustive]
    Hit {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// The name of the handler that decoded the value.
        handler: String,
        /// How many stored bytes were read for it. For a reader 0: it reads after this event.
        bytes: u64,
    },
    /// A lookup found nothing that may be served.
    #[non_exhaustive]
    Miss {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// Why.
        reason: MissReason,
    },
    /// An entry that was still valid went to make room.
    #[non_exhaustive]
    Evict {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// Why it went.
        reason: EvictionReason,
    },
    /// An entry that was no longer valid was taken out: by a purge, or to make room.
    #[non_exhaustive]
    Expire {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// Why it was no longer valid.
        reason: ExpireReason,
    },
    /// An entry was removed by a call.
    #[non_exhaustive]
    Remove {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
    },
    /// All entries of a namespace were removed, by `clear` or `drop_namespace`. There is no event for each of them.
    #[non_exhaustive]
    Clear {
        /// The namespace.
        namespace: Namespace,
        /// How many entries there were.
        entries: u64,
    },
    /// A value turned out to be damaged, lost or not trusted, and its entry was taken out.
    #[non_exhaustive]
    Corrupt {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// What was found.
        error: Error,
    },
    /// A backend failed. Whether the caller saw an error or a miss depends on the operation and on
    /// [`on_read_error`](crate::CacheBuilder::on_read_error).
    #[non_exhaustive]
    BackendError {
        /// The namespace, where one was concerned.
        namespace: Option<Namespace>,
        /// The key, where one was concerned.
        key: Option<Key>,
        /// What was being done, such as `"put"`.
        operation: &'static str,
        /// The backend's error.
        error: Error,
    },
    /// A write could not be made now and waits in the queue; see
    /// [`on_write_error`](crate::CacheBuilder::on_write_error).
    #[non_exhaustive]
    WriteQueued {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// Why it could not be made.
        error: Error,
    },
    /// A write could not be made, and will not be: the policy is `drop`, or it was queued and then refused for good or
    /// left over when the cache was closed.
    #[non_exhaustive]
    WriteDropped {
        /// The namespace.
        namespace: Namespace,
        /// The key.
        key: Key,
        /// Why it could not be made.
        error: Error,
    },
    /// The state of a remote backend has changed, as far as this process knows.
    #[non_exhaustive]
    BackendState {
        /// What the backend keeps.
        role: BackendRole,
        /// The name that it is registered under.
        backend: String,
        /// Its state now.
        state: HealthState,
        /// The failure that led to it, where it is not [`Ok`](HealthState::Ok).
        error: Option<Error>,
    },
}

impl Event {
    /// The event's name, such as `"put"` or `"backend_error"`, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Hit { .. } => "hit",
            Self::Miss { .. } => "miss",
            Self::Evict { .. } => "evict",
            Self::Expire { .. } => "expire",
            Self::Remove { .. } => "remove",
            Self::Clear { .. } => "clear",
            Self::Corrupt { .. } => "corrupt",
            Self::BackendError { .. } => "backend_error",
            Self::WriteQueued { .. } => "write_queued",
            Self::WriteDropped { .. } => "write_dropped",
            Self::BackendState { .. } => "backend_state",
        }
    }

    /// The namespace that the event belongs to. `None` where it concerns all of them.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Put { namespace, .. }
            | Self::Hit { namespace, .. }
            | Self::Miss { namespace, .. }
            | Self::Evict { namespace, .. }
            | Self::Expire { namespace, .. }
            | Self::Remove { namespace, .. }
            | Self::Clear { namespace, .. }
            | Self::Corrupt { namespace, .. }
            | Self::WriteQueued { namespace, .. }
            | Self::WriteDropped { namespace, .. } => Some(namespace),
            Self::BackendError { namespace, .. } => namespace.as_ref(),
            Self::BackendState { .. } => None,
        }
    }

    /// The key that the event is about, where it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { key, .. }
            | Self::Hit { key, .. }
            | Self::Miss { key, .. }
            | Self::Evict { key, .. }
            | Self::Expire { key, .. }
            | Self::Remove { key, .. }
            | Self::Corrupt { key, .. }
            | Self::WriteQueued { key, .. }
            | Self::WriteDropped { key, .. } => Some(key),
            Self::BackendError { key, .. } => key.as_ref(),
            Self::Clear { .. } | Self::BackendState { .. } => None,
        }
    }
}

/// Why a lookup was a miss.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MissReason {
    /// There is no entry.
    Absent,
    /// Its TTL has run out.
    Expired,
    /// One of its source files has changed or is missing.
    SourceChanged,
    /// It was put as another version of its type.
    TypeVersion,
    /// Its value is damaged or lost.
    Corrupt,
    /// The cache signs its entries, and this one's signature is missing or wrong.
    Untrusted,
    /// Its bytes are whole, but do not decode as the type asked for.
    Decode,
    /// A backend failed.
    BackendError,
}

impl MissReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Absent,
        Self::Expired,
        Self::SourceChanged,
        Self::TypeVersion,
        Self::Corrupt,
        Self::Untrusted,
        Self::Decode,
        Self::BackendError,
    ];

    /// The reason in logs and metrics, such as `"source_changed"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Expired => "expired",
            Self::SourceChanged => "source_changed",
            Self::TypeVersion => "type_version",
            Self::Corrupt => "corrupt",
            Self::Untrusted => "untrusted",
            Self::Decode => "decode",
            Self::BackendError => "backend_error",
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an entry was no longer valid when it was taken out.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExpireReason {
    /// Its TTL had run out.
    Ttl,
    /// One of its source files had changed or was missing.
    SourceChanged,
}

impl ExpireReason {
    /// The reason in logs and metrics, such as `"source_changed"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::SourceChanged => "source_changed",
        }
    }
}

impl fmt::Display for ExpireReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Those who are told of events, in the order in which they were registered.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<Listener>>);

type Listener = dyn Fn(&Event) + Send + Sync;

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Fn(&Event) + Send + Sync + 'static) {
        self.0.push(Arc::new(listener));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
