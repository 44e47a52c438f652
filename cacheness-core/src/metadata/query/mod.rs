//! Asking for entries: what to list, in which order, and where to go on.

mod field;
mod filter;
mod glob;
mod ordered;
mod path;
mod support;

use super::DamagedEntry;
use crate::entry::Entry;
use crate::names::{Namespace, Timestamp};

pub use field::{Field, FieldComparison, FieldCondition, field};
pub use filter::EntryFilter;
pub use glob::Glob;
pub(crate) use ordered::yield_now;
pub use path::{FieldPath, FieldStep};
pub use support::QuerySupport;

/// Which entries to list. [`new`](Self::new) is all of them by key, 1,000 a page; set the fields that narrow it.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only this namespace; all of them where it is `None`.
    pub namespace: Option<Namespace>,
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only entries that have expired at this moment (`true`) or have not (`false`).
    pub expired: Option<(bool, Timestamp)>,
    /// What else must hold.
    pub filter: EntryFilter,
    /// By what the entries are sorted.
    pub order: ListOrder,
    /// In which direction.
    pub direction: Direction,
    /// Only what comes after this place, which a listing in the same order gave.
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
        Self {
            namespace: None,
            prefix: String::new(),
            expired: None,
            filter: EntryFilter::default(),
            order: ListOrder::Key,
            direction: Direction::Ascending,
            after: None,
            limit: Self::MAX_PAGE,
        }
    }

    /// True where the entries are listed from the first key to the last, as they stand in an index by key.
    #[must_use]
    pub fn is_in_key_order(&self) -> bool {
        self.order == ListOrder::Key && self.direction == Direction::Ascending
    }

    /// What every listed key begins with: the prefix, or what the glob begins with where that is longer. `None` where
    /// the two contradict each other, so that no key is listed.
    #[must_use]
    pub fn key_prefix(&self) -> Option<&str> {
        let literal = self.filter.glob.as_ref().map_or("", Glob::literal_prefix);
        if literal.starts_with(&self.prefix) {
            Some(literal)
        } else {
            self.prefix.starts_with(literal).then_some(&self.prefix)
        }
    }

    /// True where the entry is asked for, wherever it stands in the order. A backend that has no index for a part of a
    /// query asks this of each entry.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let in_namespace = self.namespace.as_ref().is_none_or(|namespace| *namespace == entry.namespace);
        in_namespace
            && entry.key.as_str().starts_with(&self.prefix)
            && self.matches_expiry(entry.validity.expires_at)
            && self.filter.matches(entry)
    }

    /// The part of [`matches`](Self::matches) that the expiry time decides.
    #[must_use]
    pub fn matches_expiry(&self, expires_at: Option<Timestamp>) -> bool {
        self.expired.is_none_or(|(expired, now)| expires_at.is_some_and(|at| at <= now) == expired)
    }
}

impl Default for ListQuery {
    fn default() -> Self {
        Self::new()
    }
}

/// By what a listing is sorted. Entries that are equal in it stand in the order of namespace and key.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum ListOrder {
    /// By namespace and key, both by their bytes.
    #[default]
    Key,
    /// By the time of the put.
    Created,
    /// By the time of the last use.
    Accessed,
    /// By the value's length in bytes.
    Size,
    /// By the expiry time; what never expires comes after all that does.
    Expiry,
    /// By the number of reads.
    Hits,
}

impl ListOrder {
    /// A number that sorts as the entries do; the same for all where they are sorted by key.
    #[must_use]
    pub fn value(self, entry: &Entry) -> u64 {
        // The sign bit turned, so that moments before 1970 come first.
        let moment = |at: Timestamp| at.as_nanos().cast_unsigned() ^ (1 << 63);
        match self {
            Self::Key => 0,
            Self::Created => moment(entry.created_at),
            Self::Accessed => moment(entry.accessed_at),
            Self::Size => entry.size,
            Self::Expiry => entry.validity.expires_at.map_or(u64::MAX, moment),
            Self::Hits => entry.hits,
        }
    }
}

/// In which direction a listing goes. Going down is the exact reverse of going up, also among equals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
pub enum Direction {
    /// The smallest or earliest first.
    #[default]
    Ascending,
    /// The largest or latest first.
    Descending,
}

/// A place in a listing: that of the entry with this namespace and key, as it was when it was listed. It stays good
/// when that entry is changed or removed.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Cursor {
    /// The order of the listing.
    pub order: ListOrder,
    /// What [`ListOrder::value`] gave for the last entry that was listed.
    pub value: u64,
    /// The namespace of the last entry that was listed.
    pub namespace: Namespace,
    /// The key of the last entry that was listed.
    pub key: String,
}

impl Cursor {
    /// The place of an entry in a listing of this order.
    #[must_use]
    pub fn of(entry: &Entry, order: ListOrder) -> Self {
        Self {
            order,
            value: order.value(entry),
            namespace: entry.namespace.clone(),
            key: entry.key.as_str().to_owned(),
        }
    }

    /// A place in a listing by key; an entry need not be there.
    #[must_use]
    pub fn by_key(namespace: Namespace, key: String) -> Self {
        Self { order: ListOrder::Key, value: 0, namespace, key }
    }
}

/// A part of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, in the order that was asked for.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// Entries that stand before `next` and cannot be read, whether the query asks for them or not: what they hold is not
    /// known. A listing by key names each once; one in another order names up to 1,000, on its first page.
    pub damaged: Vec<DamagedEntry>,
}
