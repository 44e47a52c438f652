//! Listings, a page at a time, in the order of keys. Each statement reads a bounded number of rows and is finished when
//! its rows have been read, so that no transaction outlives them.

use cacheness_core::{Cursor, EntryFilter, ListQuery, Namespace, Page, Timestamp};
use rusqlite::Row;

use super::connection::Session;
use super::failure::{Failure, Tried, damaged};
use super::reader::{entry_of, namespace};
use super::statements::Sql;

/// How much of stored records and keys a page has at most, unless one entry alone has more.
const PAGE_BYTES: usize = 4 << 20;

/// How many rows and namespaces one page looks at where most of them are left out.
const ROWS_PER_PAGE: usize = 4 * ListQuery::MAX_PAGE;

/// One page of a listing by key.
pub(super) fn list(session: &mut Session<'_, '_>, query: &ListQuery) -> Tried<Page> {
    let limit = query.limit.min(ListQuery::MAX_PAGE);
    let mut page = Page::default();
    let Some(prefix) = query.key_prefix().filter(|_| limit > 0) else { return Ok(page) };
    let all = query.expired.is_none() && query.filter == EntryFilter::default();
    let mut builder = PageBuilder { limit, prefix, query, all, looked_at: 0, bytes: 0, full: false };
    // Every key comes after the empty text, and no key is empty.
    let (mut name, mut after) = match (&query.namespace, &query.after) {
        (Some(only), Some(cursor)) if cursor.namespace == *only => {
            (Some(only.clone()), Some(cursor.key.clone()))
        }
        // A cursor of another namespace stands before or after all of this one.
        (Some(only), Some(cursor)) if cursor.namespace > *only => return Ok(page),
        (Some(only), _) => (Some(only.clone()), None),
        (None, Some(cursor)) => (Some(cursor.namespace.clone()), Some(cursor.key.clone())),
        (None, None) => (next_namespace(session, "")?, None),
    };
    while let Some(namespace) = name {
        builder.fill(session, &namespace, after.take(), &mut page)?;
        if builder.full || query.namespace.is_some() {
            break;
        }
        name = next_namespace(session, namespace.as_str())?;
        // A namespace where nothing is found is a look, too.
        builder.looked_at += 1;
        if let Some(next) = name.take_if(|_| builder.looked_at >= ROWS_PER_PAGE) {
            page.next = Some(Cursor::by_key(next, String::new()));
        }
    }
    Ok(page)
}

struct PageBuilder<'q> {
    limit: usize,
    prefix: &'q str,
    query: &'q ListQuery,
    /// True where every key with the prefix is asked for.
    all: bool,
    looked_at: usize,
    bytes: usize,
    full: bool,
}

impl PageBuilder<'_> {
    /// Adds entries of one namespace, after a key. Each statement looks at a bounded number of rows.
    fn fill(
        &mut self,
        session: &mut Session<'_, '_>,
        namespace: &Namespace,
        after: Option<String>,
        page: &mut Page,
    ) -> Tried<()> {
        let mut after = after.filter(|key| key.as_str() >= self.prefix);
        loop {
            // One more than the page takes, so that it is known whether there is another page.
            let rows_at_once =
                if self.all { self.limit - page.entries.len() + 1 } else { ListQuery::MAX_PAGE };
            let (sql, from) = match &after {
                Some(key) => (Sql::ListAfter, key.as_str()),
                None => (Sql::List, self.prefix),
            };
            let mut rows = session.statement(sql)?.query((namespace.as_str(), from, rows_at_once as i64))?;
            let (mut seen, mut last) = (0, None);
            while let Some(row) = rows.next()? {
                self.looked_at += 1;
                let key =
                    row.get_ref(1)?.as_str().map_err(|_| Failure::from(damaged("a key is not a text")))?;
                if !key.starts_with(self.prefix) {
                    return Ok(());
                }
                seen += 1;
                self.take(row, key, namespace, page)?;
                if self.full {
                    return Ok(());
                }
                if seen == rows_at_once {
                    last = Some(key.to_owned());
                }
            }
            let Some(key) = last else { return Ok(()) };
            if self.looked_at >= ROWS_PER_PAGE {
                self.full = true;
                page.next = Some(Cursor::by_key(namespace.clone(), key));
                return Ok(());
            }
            after = Some(key);
        }
    }

    /// Adds the entry of a row where it is asked for, or finds the page full. What the columns tell is asked first:
    /// most of the effort is in decoding the record.
    fn take(&mut self, row: &Row<'_>, key: &str, namespace: &Namespace, page: &mut Page) -> Tried<()> {
        let expires_at = row.get_ref(4)?.as_i64().ok().map(Timestamp::from_nanos);
        if !self.query.matches_expiry(expires_at) || !self.query.filter.matches_key(key) {
            return Ok(());
        }
        let entry = entry_of(row, namespace.clone(), None)?;
        if !self.query.filter.matches(&entry) {
            return Ok(());
        }
        let size = key.len() + row.get_ref(6)?.as_blob().map_or(0, <[u8]>::len);
        if page.entries.len() == self.limit || self.bytes.saturating_add(size) > PAGE_BYTES {
            page.next = page.entries.last().map(|last| Cursor::of(last, self.query.order));
            // A single entry that is longer than a page makes one of its own.
            self.full = page.next.is_some();
            if self.full {
                return Ok(());
            }
        }
        self.bytes = self.bytes.saturating_add(size);
        page.entries.push(entry);
        Ok(())
    }
}

fn next_namespace(session: &mut Session<'_, '_>, after: &str) -> Tried<Option<Namespace>> {
    let mut rows = session.statement(Sql::NextNamespace)?.query((after,))?;
    rows.next()?.map(namespace).transpose()
}
