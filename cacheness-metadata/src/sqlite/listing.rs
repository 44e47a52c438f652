//! Listings, a page at a time, in the order of keys. Each statement reads a bounded number of rows and is finished when
//! its rows have been read, so that no transaction outlives them.

use cacheness_core::{
    Cursor, DamagedEntry, EntryFilter, Error, ErrorKind, ListQuery, Namespace, Page, Timestamp, Version,
};
use rusqlite::Row;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::connection::Session;
use super::failure::{Tried, damaged};
use super::reader::{entry_of, namespace};
use super::schema::MAX_VERSION;
use super::statements::Sql;
use super::transaction::lenient;

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
    let mut builder =
        PageBuilder { limit, prefix, query, all, looked_at: 0, bytes: 0, damaged_before: 0, full: false };
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
    /// How many damaged entries stand before the last entry of the page.
    damaged_before: usize,
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
        let after = after.filter(|key| key.as_str() >= self.prefix);
        let mut after = after.map(|key| Place { bytes: key.into_bytes(), is_text: true });
        loop {
            // One more than the page takes, so that it is known whether there is another page.
            let rows_at_once =
                if self.all { self.limit - page.entries.len() + 1 } else { ListQuery::MAX_PAGE };
            let (sql, from) = match &after {
                Some(place) => (Sql::ListAfter, place.to_sql()),
                None => (Sql::List, ToSqlOutput::from(self.prefix)),
            };
            let mut rows = session.statement(sql)?.query((namespace.as_str(), from, rows_at_once as i64))?;
            let (mut seen, mut last) = (0, None);
            while let Some(row) = rows.next()? {
                self.looked_at += 1;
                let (bytes, is_text) = match row.get_ref(1)? {
                    ValueRef::Text(bytes) => (bytes, true),
                    // Only damage makes another type of it, which stands after all texts.
                    ValueRef::Blob(bytes) if self.prefix.is_empty() => (bytes, false),
                    _ => return Ok(()),
                };
                if !bytes.starts_with(self.prefix.as_bytes()) {
                    return Ok(());
                }
                seen += 1;
                match std::str::from_utf8(bytes) {
                    Ok(key) if is_text => self.take(row, key, namespace, page)?,
                    _ => {
                        let error = damaged("a key is not a text");
                        leave_out(row, namespace, &String::from_utf8_lossy(bytes), error, page)?;
                    }
                }
                if self.full {
                    return Ok(());
                }
                if seen == rows_at_once {
                    last = Some(Place { bytes: bytes.to_vec(), is_text });
                }
            }
            let Some(place) = last else { return Ok(()) };
            // A page does not end at a key that no cursor can name.
            if self.looked_at >= ROWS_PER_PAGE
                && let Some(key) = place.key()
            {
                self.full = true;
                page.next = Some(Cursor::by_key(namespace.clone(), key.to_owned()));
                return Ok(());
            }
            after = Some(place);
        }
    }

    /// Adds the entry of a row where it is asked for, or finds the page full. What the columns tell is asked first:
    /// most of the effort is in decoding the record.
    fn take(&mut self, row: &Row<'_>, key: &str, namespace: &Namespace, page: &mut Page) -> Tried<()> {
        let expires_at = row.get_ref(4)?.as_i64().ok().map(Timestamp::from_nanos);
        if !self.query.matches_expiry(expires_at) || !self.query.filter.matches_key(key) {
            return Ok(());
        }
        let entry = match entry_of(row, (namespace.clone(), None), None).map_err(|failure| failure.at(None)) {
            Ok(entry) => entry,
            Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported) => {
                return leave_out(row, namespace, key, error, page);
            }
            Err(error) => return Err(error.into()),
        };
        if !self.query.filter.matches(&entry) {
            return Ok(());
        }
        let size = key.len() + row.get_ref(6)?.as_blob().map_or(0, <[u8]>::len);
        if page.entries.len() == self.limit || self.bytes.saturating_add(size) > PAGE_BYTES {
            page.next = page.entries.last().map(|last| Cursor::of(last, self.query.order));
            // A single entry that is longer than a page makes one of its own.
            self.full = page.next.is_some();
            if self.full {
                // Those after the last entry stand on the next page.
                page.damaged.truncate(self.damaged_before);
                return Ok(());
            }
        }
        self.damaged_before = page.damaged.len();
        self.bytes = self.bytes.saturating_add(size);
        page.entries.push(entry);
        Ok(())
    }
}

/// Where a listing goes on: after a key, which damage may have made something else than a text.
struct Place {
    bytes: Vec<u8>,
    is_text: bool,
}

impl Place {
    fn to_sql(&self) -> ToSqlOutput<'_> {
        let bytes = &self.bytes[..];
        ToSqlOutput::Borrowed(if self.is_text { ValueRef::Text(bytes) } else { ValueRef::Blob(bytes) })
    }

    fn key(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|_| self.is_text)
    }
}

/// Names an entry that cannot be read.
fn leave_out(row: &Row<'_>, namespace: &Namespace, key: &str, error: Error, page: &mut Page) -> Tried<()> {
    let version = Version(lenient(row.get_ref(0)?).clamp(0, MAX_VERSION).unsigned_abs());
    page.damaged.push(DamagedEntry::new(namespace.clone(), key, version, error));
    Ok(())
}

fn next_namespace(session: &mut Session<'_, '_>, after: &str) -> Tried<Option<Namespace>> {
    let mut rows = session.statement(Sql::NextNamespace)?.query((after,))?;
    rows.next()?.map(namespace).transpose()
}
