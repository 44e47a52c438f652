//! Which parts of a query a metadata backend can answer.

use std::ops::Bound;

use super::ListQuery;
use crate::error::{Error, ErrorKind, Result};

/// Which parts of a [`ListQuery`] a metadata backend answers. Namespace, prefix, expiry, cursor and limit, in the order
/// of keys, are part of every backend; the engine refuses the others where they are not named here.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QuerySupport {
    /// Patterns over keys.
    pub glob: bool,
    /// Tags.
    pub tags: bool,
    /// Custom fields.
    pub fields: bool,
    /// Bounds of the size.
    pub size: bool,
    /// Bounds of the time of the put.
    pub created: bool,
    /// Another order than by key from the first to the last.
    pub order: bool,
}

impl QuerySupport {
    /// Nothing but what every backend answers.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every part. A backend that asks [`ListQuery::matches`] of each entry, and answers other orders by
    /// [`ListQuery::in_order`], has it.
    #[must_use]
    pub fn all() -> Self {
        Self { glob: true, tags: true, fields: true, size: true, created: true, order: true }
    }

    /// Checks that a backend of this name and these abilities can answer a query.
    pub(crate) fn check(&self, query: &ListQuery, backend: &str) -> Result<()> {
        let filter = &query.filter;
        let by_size = filter.size != (Bound::Unbounded, Bound::Unbounded);
        let by_age = filter.created != (Bound::Unbounded, Bound::Unbounded);
        for (asked, can, part, instead) in [
            (filter.glob.is_some(), self.glob, "select by `glob`", FILTER),
            (!filter.tags.is_empty(), self.tags, "select by `tag`", FILTER),
            (!filter.fields.is_empty(), self.fields, "select by custom fields (`filter`)", FILTER),
            (by_size, self.size, "select by `size`", FILTER),
            (by_age, self.created, "select by `age`", FILTER),
            (!query.is_in_key_order(), self.order, "sort (`order_by`, `descending`)", SORT),
        ] {
            if asked && !can {
                let message = format!(
                    "the metadata backend `{backend}` cannot {part}; {instead}, or choose a backend that can"
                );
                return Err(Error::new(ErrorKind::Unsupported, message).with_context("backend", backend));
            }
        }
        Ok(())
    }
}

const FILTER: &str = "leave it out and select among the entries that are listed";
const SORT: &str = "leave it out and sort the entries that are listed";
