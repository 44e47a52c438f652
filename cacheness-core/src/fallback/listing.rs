//! One listing out of two: what the second store has of a key counts, and what the first has of the others.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::Shared;
use super::rows::{is_hidden, live};
use crate::entry::Entry;
use crate::error::Result;
use crate::metadata::{Cursor, Direction, ListQuery, Page};
use crate::names::Namespace;

tokio::task_local! {
    /// Set where a listing must have what both stores hold.
    static WHOLE: ();
}

/// Lists all that a cache holds, for who is to change all of it. What is listed within fails where the first store does not
/// answer, rather than to leave its entries out.
pub(crate) async fn whole<T>(listing: impl Future<Output = T>) -> T {
    WHOLE.scope((), listing).await
}

impl Shared {
    pub(super) async fn list(&self, query: &ListQuery) -> Result<Page> {
        let whole = WHOLE.try_with(|()| ()).is_ok();
        let first = match self.first.get() {
            Some(first) => first,
            None if whole => self.needed()?,
            None => return self.list_second(query).await,
        };
        // In this order: a row that is brought in between is listed by both, and by one of them otherwise.
        let here = if self.second_holds_any().await? {
            Some(self.second.metadata.list_entries(query).await?)
        } else {
            None
        };
        let listed = first.metadata.list_entries(query).await;
        let there = match listed {
            Err(error) if whole => {
                self.answered(Err::<(), _>(error.clone()))?;
                return Err(error);
            }
            listed => self.answered(listed)?,
        };
        let (here, there) = match (here, there) {
            (Some(here), Some(there)) => (here, there),
            (None, Some(there)) => return Ok(there),
            (Some(here), None) => return Ok(shown_page(here)),
            (None, None) => return self.list_second(query).await,
        };
        let listed: HashSet<(Namespace, String)> = here.entries.iter().map(place).collect();
        let others = self.not_hidden(there.entries, &listed).await?;
        let mut entries: Vec<Entry> = here.entries.into_iter().filter_map(live).chain(others).collect();
        let before = |a: &Cursor, b: &Cursor| order(query.direction, a, b);
        entries.sort_by(|a, b| before(&Cursor::of(a, query.order), &Cursor::of(b, query.order)));
        let mut damaged = here.damaged;
        damaged.extend(there.damaged);
        // Beyond the nearer end of the two pages, the other may have more.
        let mut next = match (here.next, there.next) {
            (Some(a), Some(b)) => Some(if before(&a, &b).is_lt() { a } else { b }),
            (a, b) => a.or(b),
        };
        if let Some(end) = &next {
            entries.retain(|entry| before(&Cursor::of(entry, query.order), end).is_le());
        }
        let limit = query.limit.clamp(1, ListQuery::MAX_PAGE);
        if entries.len() > limit {
            entries.truncate(limit);
            next = entries.last().map(|last| Cursor::of(last, query.order));
        }
        if let Some(end) = next.as_ref().filter(|_| query.is_in_key_order()) {
            // What stands beyond it is found again by the next page.
            damaged
                .retain(|entry| (&entry.namespace, entry.key.as_str()) <= (&end.namespace, end.key.as_str()));
        }
        Ok(Page { entries, next, damaged })
    }

    async fn list_second(&self, query: &ListQuery) -> Result<Page> {
        self.second.metadata.list_entries(query).await.map(shown_page)
    }

    /// The entries of the first store of whose keys the second has nothing.
    async fn not_hidden(
        &self,
        entries: Vec<Entry>,
        listed: &HashSet<(Namespace, String)>,
    ) -> Result<Vec<Entry>> {
        let mut kept = Vec::with_capacity(entries.len());
        for same in entries.chunk_by(|a, b| a.namespace == b.namespace) {
            let Some(namespace) = same.first().map(|entry| &entry.namespace) else { continue };
            let keys: Vec<&str> = same.iter().map(|entry| entry.key.as_str()).collect();
            let rows = self.second.metadata.get_entries(namespace, &keys).await?;
            let cleared = self.cleared(namespace).await?.map(|note| note.created_at);
            let visible = same.iter().zip(rows).filter(|(entry, row)| {
                row.is_none()
                    && !listed.contains(&place(entry))
                    && cleared.is_none_or(|at| entry.created_at > at)
            });
            kept.extend(visible.map(|(entry, _)| entry.clone()));
        }
        Ok(kept)
    }
}

fn place(entry: &Entry) -> (Namespace, String) {
    (entry.namespace.clone(), entry.key.as_str().to_owned())
}

/// A page of the second store, as callers see it.
fn shown_page(page: Page) -> Page {
    let entries = page.entries.into_iter().filter(|row| !is_hidden(&row.namespace)).filter_map(live);
    Page { entries: entries.collect(), ..page }
}

fn order(direction: Direction, a: &Cursor, b: &Cursor) -> Ordering {
    let ascending = (a.value, &a.namespace, a.key.as_str()).cmp(&(b.value, &b.namespace, b.key.as_str()));
    match direction {
        Direction::Ascending => ascending,
        Direction::Descending => ascending.reverse(),
    }
}
