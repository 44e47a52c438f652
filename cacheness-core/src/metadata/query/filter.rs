//! What must hold of an entry to be listed, beside its namespace, prefix and validity.

use std::ops::{Bound, RangeBounds};

use super::{FieldCondition, Glob};
use crate::entry::Entry;
use crate::names::Timestamp;

/// Conditions on entries, all of which must hold. By default there are none.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct EntryFilter {
    /// What the key matches.
    pub glob: Option<Glob>,
    /// Tags, each of which the entry has.
    pub tags: Vec<String>,
    /// What holds of the custom fields.
    pub fields: Vec<FieldCondition>,
    /// The bounds of the value's length in bytes.
    pub size: (Bound<u64>, Bound<u64>),
    /// The bounds of the time of the put.
    pub created: (Bound<Timestamp>, Bound<Timestamp>),
}

impl Default for EntryFilter {
    fn default() -> Self {
        Self {
            glob: None,
            tags: Vec::new(),
            fields: Vec::new(),
            size: (Bound::Unbounded, Bound::Unbounded),
            created: (Bound::Unbounded, Bound::Unbounded),
        }
    }
}

impl EntryFilter {
    /// True where all conditions hold of the entry.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        self.matches_key(entry.key.as_str())
            && self.size.contains(&entry.size)
            && self.created.contains(&entry.created_at)
            // Few tags, and sorted for the eye only: whoever wrote the entry may not have sorted them.
            && self.tags.iter().all(|tag| entry.tags.contains(tag))
            && self.fields.iter().all(|condition| condition.holds(&entry.custom))
    }

    /// The part of [`matches`](Self::matches) that the key decides. A backend that scans may ask it before it decodes
    /// an entry.
    #[must_use]
    pub fn matches_key(&self, key: &str) -> bool {
        self.glob.as_ref().is_none_or(|glob| glob.matches(key))
    }
}
