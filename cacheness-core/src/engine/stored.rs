//! What a put gives back.

use crate::key::Key;
use crate::names::Version;

/// What became of a put.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The key under which the value lies.
    pub key: Key,
    /// The number of this write; later writes have higher ones. `None` where it is not [stored](StoredState::Stored).
    pub version: Option<Version>,
    /// The value's length in bytes as its handler wrote it.
    pub size: u64,
    /// The length in bytes of what is stored, after compression.
    pub stored_size: u64,
    /// How many other entries were evicted to make room.
    pub evicted: usize,
    /// Whether it is stored.
    pub state: StoredState,
}

impl Stored {
    /// True where the value is stored: neither queued nor dropped.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.state == StoredState::Stored
    }
}

/// Whether a value that was put is stored. It is, unless [`on_write_error`](crate::CacheBuilder::on_write_error) says
/// that a put is no error where a backend fails.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StoredState {
    /// It is.
    Stored,
    /// It waits in this process's memory until it can be stored, and is served from there.
    Queued,
    /// It was given up. Where the backend's answer was lost, it may be stored all the same.
    Dropped,
}

impl StoredState {
    /// The state in logs, such as `"queued"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Queued => "queued",
            Self::Dropped => "dropped",
        }
    }
}
