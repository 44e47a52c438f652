//! Asking for entries: what to list, in which order, and where to go on.

use crate::entry::Entry;
use crate::names::{Namespace, Timestamp};

/// Which entries to list. [`new`](Self::new) is all of them, 1,000 a page; set the fields that narrow it.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only this namespace; all of them where it is `None`.
    pub namespace: Option<Namespace>,
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only entries that have expired at this moment (`true`) or have not (`false`).
    pub expired: Option<(bool, Timestamp)>,
    /// Only what comes after this place.
    pub after: Option<Cursor>,
    /// The most entries on a page.
    pub limit: usize,
}

impl ListQuery {
    /// The most entries that one page has: no read of a backend lasts longer than that.
    pub const MAX_PAGE: usize = 1_000;

    /// All entries.
    #[must_use]
    pub fn new() -> Self {
        Self { namespace: None, prefix: String::new(), expired: None, after: None, limit: Self::MAX_PAGE }
    }
}

impl Default for ListQuery {
    fn default() -> Self {
        Self::new()
    }
}

/// A place in a listing: after the entry with this namespace and key. It stays good when that entry is removed.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// The namespace of the last entry that was listed.
    pub namespace: Namespace,
    /// The key of the last entry that was listed.
    pub key: String,
}

/// A part of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, in the order of namespace and key.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
}
