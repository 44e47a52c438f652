//! Sorted listings without an index: one walk over all entries by key, which keeps the first page of the order asked
//! for and nothing more.

use std::collections::BTreeMap;

use super::{Cursor, Direction, ListOrder, ListQuery, Page};
use crate::entry::Entry;
use crate::error::Result;
use crate::key::Key;
use crate::names::Namespace;

/// How many bytes of stored records a page holds at most, unless one entry alone has more.
const PAGE_BYTES: usize = 4 << 20;

impl ListQuery {
    /// Answers a query in any order out of listings by key, for a backend that has no index for the order.
    ///
    /// `list_by_key` is asked for one page after another, with the same filter and without an order. It takes as long
    /// as these, and the memory of two pages. A page has fewer entries than asked for where their records are long.
    ///
    /// # Errors
    /// The first error of `list_by_key`.
    pub async fn in_order<F, P>(&self, list_by_key: F) -> Result<Page>
    where
        F: Fn(Self) -> P,
        P: Future<Output = Result<Page>>,
    {
        let mut by_key = self.clone();
        by_key.order = ListOrder::Key;
        by_key.direction = Direction::Ascending;
        by_key.after = None;
        by_key.limit = Self::MAX_PAGE;
        let mut first = First::new(self);
        let mut damaged = Vec::new();
        loop {
            let page = list_by_key(by_key.clone()).await?;
            if self.after.is_none() {
                // Where they stand in this order is not known, and each page walks over all of them.
                damaged.extend(page.damaged);
                damaged.truncate(Self::MAX_PAGE);
            }
            page.entries.into_iter().for_each(|entry| first.offer(entry));
            match page.next {
                Some(next) => by_key.after = Some(next),
                None => return Ok(Page { damaged, ..first.into_page() }),
            }
            yield_now().await;
        }
    }
}

/// Where an entry stands: the order's value, namespace and key.
type Place = (u64, Namespace, Key);

/// The first entries after a place, out of those that are offered.
struct First<'q> {
    query: &'q ListQuery,
    limit: usize,
    kept: BTreeMap<Place, (Entry, usize)>,
    bytes: usize,
    /// The first place that was left out for want of room. Nothing after it is kept, so that the page has no holes.
    left_out: Option<Place>,
}

impl<'q> First<'q> {
    fn new(query: &'q ListQuery) -> Self {
        let limit = query.limit.clamp(1, ListQuery::MAX_PAGE);
        Self { query, limit, kept: BTreeMap::new(), bytes: 0, left_out: None }
    }

    fn offer(&mut self, entry: Entry) {
        let place = (self.query.order.value(&entry), entry.namespace.clone(), entry.key.clone());
        if self.query.after.as_ref().is_some_and(|cursor| !self.is_after_cursor(&place, cursor))
            || self.left_out.as_ref().is_some_and(|end| !self.is_before(&place, end))
        {
            return;
        }
        if self.kept.len() >= self.limit && self.last().is_some_and(|last| self.is_before(last, &place)) {
            self.left_out = Some(place);
            return;
        }
        let size = entry.to_stored().len() + entry.key.as_str().len();
        self.bytes = self.bytes.saturating_add(size);
        self.kept.insert(place, (entry, size));
        while self.kept.len() > self.limit || (self.bytes > PAGE_BYTES && self.kept.len() > 1) {
            let dropped = match self.query.direction {
                Direction::Ascending => self.kept.pop_last(),
                Direction::Descending => self.kept.pop_first(),
            };
            let Some((place, (_, size))) = dropped else { return };
            self.bytes -= size.min(self.bytes);
            self.left_out = Some(place);
        }
    }

    /// The last place on the page so far.
    fn last(&self) -> Option<&Place> {
        match self.query.direction {
            Direction::Ascending => self.kept.last_key_value(),
            Direction::Descending => self.kept.first_key_value(),
        }
        .map(|(place, _)| place)
    }

    fn is_before(&self, one: &Place, other: &Place) -> bool {
        match self.query.direction {
            Direction::Ascending => one < other,
            Direction::Descending => one > other,
        }
    }

    fn is_after_cursor(&self, place: &Place, cursor: &Cursor) -> bool {
        let ordering = (place.0, &place.1, place.2.as_str()).cmp(&(
            cursor.value,
            &cursor.namespace,
            cursor.key.as_str(),
        ));
        match self.query.direction {
            Direction::Ascending => ordering.is_gt(),
            Direction::Descending => ordering.is_lt(),
        }
    }

    fn into_page(self) -> Page {
        let entries = self.kept.into_values().map(|(entry, _)| entry);
        let entries: Vec<Entry> = match self.query.direction {
            Direction::Ascending => entries.collect(),
            Direction::Descending => entries.rev().collect(),
        };
        let next = self.left_out.and(entries.last()).map(|last| Cursor::of(last, self.query.order));
        Page { entries, next, damaged: Vec::new() }
    }
}

/// Lets other tasks of the thread run. Not Tokio's: on a worker thread that the blocking face holds, that one would
/// wait for the worker to come free.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
