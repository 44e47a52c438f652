//! How the parts of a cache fare: what [`Cache::health`](crate::Cache::health) tells.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::{Error, ErrorKind};
use crate::names::Timestamp;

/// How a cache fares.
///
/// It can be serialised, for an endpoint that a monitor asks. Times are nanoseconds since 1970 then.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Health {
    /// The worst of its backends' states; [`Degraded`](HealthState::Degraded) at least while writes are queued.
    pub state: HealthState,
    /// Its backends, those of metadata first.
    pub backends: Vec<BackendHealth>,
    /// What became of writes that could not be made at once.
    pub writes: UnmadeWrites,
}

impl Health {
    pub(crate) fn new(backends: Vec<BackendHealth>, writes: UnmadeWrites) -> Self {
        let queued = if writes.queued > 0 { HealthState::Degraded } else { HealthState::Ok };
        let state = backends.iter().map(|backend| backend.state).fold(queued, HealthState::max);
        Self { state, backends, writes }
    }
}

/// How one backend fares.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BackendHealth {
    /// What it keeps.
    pub role: BackendRole,
    /// The name that it is registered under, such as `"postgres"`.
    pub backend: String,
    /// Whether it works.
    pub state: HealthState,
    /// Since when that is so, as far as this process knows.
    pub since: Timestamp,
    /// The last failure of a call to it in this process, also where calls have succeeded since.
    pub last_error: Option<LastError>,
    /// When it last answered this process. `None` for a backend that is not remote: it is not watched.
    pub last_answer: Option<Timestamp>,
}

/// What a backend keeps.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendRole {
    /// Entries.
    Metadata,
    /// Blobs.
    Blobs,
}

impl BackendRole {
    /// The role in logs and metrics: `"metadata"` or `"blobs"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Blobs => "blobs",
        }
    }
}

impl fmt::Display for BackendRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a part of a cache works. Later states are worse.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// It does.
    Ok,
    /// The last calls to it have failed, or after a failure it is being tried out; calls are made.
    Degraded,
    /// So many calls to it have failed that none are made for a while: its circuit breaker is open.
    Down,
}

impl HealthState {
    /// The state in logs, such as `"degraded"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure that has passed, or has not.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LastError {
    /// When it was found.
    pub at: Timestamp,
    /// What went wrong.
    #[serde(serialize_with = "by_name")]
    pub kind: ErrorKind,
    /// What was found, in words, without the key.
    pub message: String,
}

impl LastError {
    pub(crate) fn new(at: Timestamp, error: &Error) -> Self {
        Self { at, kind: error.kind(), message: error.without_key().to_string() }
    }
}

fn by_name<S: Serializer>(kind: &ErrorKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

/// What became of writes that could not be made at once, since this process opened the cache; see
/// [`OnWriteError`](crate::OnWriteError).
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct UnmadeWrites {
    /// How many wait in the queue at the moment.
    pub queued: u64,
    /// How many bytes those occupy.
    pub queued_bytes: u64,
    /// How many were dropped, as the policy `drop` wants it.
    pub dropped: u64,
    /// How many had been queued and were then refused for good, or could not be made before the cache was closed.
    pub lost: u64,
}
