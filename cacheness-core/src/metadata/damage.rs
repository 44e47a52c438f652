//! Entries that are there and cannot be read.

use crate::error::Error;
use crate::names::{Namespace, Version};

/// An entry that a listing came upon and could not read, because its record is damaged or a newer version wrote it.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct DamagedEntry {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its key; where that is damaged, too, as far as it can be read as text.
    pub key: String,
    /// Its version, by which it is removed unless it has been replaced; 0, which no put is given, where that cannot be read
    /// either.
    pub version: Version,
    /// What was found.
    pub error: Error,
}

impl DamagedEntry {
    /// The entry under this key, and what was found.
    #[must_use]
    pub fn new(namespace: Namespace, key: impl Into<String>, version: Version, error: Error) -> Self {
        Self { namespace, key: key.into(), version, error }
    }
}
