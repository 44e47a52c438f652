//! Listings, a page at a time, in the order of keys. Each statement reads a bounded number of rows.

use cacheness_core::{Cursor, DamagedEntry, EntryFilter, ErrorKind, ListQuery, Page, Timestamp, Version};

use super::failure::Failure;
use super::reading::{damaged, entry_of, namespace};
use super::statements::Sql;
use super::store::{Store, params};

/// How much of stored records and keys a page has at most, unless one entry alone has more.
const PAGE_BYTES: i64 = 4 << 20;

/// How many rows and namespaces one page looks at where most of them are left out.
const ROWS_PER_PAGE: usize = 4 * ListQuery::MAX_PAGE;

impl Store {
    /// One page of a listing by key.
    pub(super) async fn list_by_key(&self, query: &ListQuery) -> Result<Page, Failure> {
        let limit = query.limit.min(ListQuery::MAX_PAGE);
        let mut page = Page::default();
        let Some(prefix) = query.key_prefix().filter(|_| limit > 0) else { return Ok(page) };
        let all = query.expired.is_none() && query.filter == EntryFilter::default();
        // Every key comes after the empty text, and no key is empty.
        let (mut name, mut from) = match (&query.namespace, &query.after) {
            (Some(only), Some(cursor)) if cursor.namespace == *only => {
                (only.as_str().as_bytes().to_vec(), after(&cursor.key))
            }
            // A cursor of another namespace stands before or after all of this one.
            (Some(only), Some(cursor)) if cursor.namespace > *only => return Ok(page),
            (Some(only), _) => (only.as_str().as_bytes().to_vec(), Vec::new()),
            (None, Some(cursor)) => (cursor.namespace.as_str().as_bytes().to_vec(), after(&cursor.key)),
            (None, None) => (Vec::new(), Vec::new()),
        };
        let (mut looked_at, mut last, mut damaged_before) = (0, None, 0);
        loop {
            let at_once = if all { limit - page.entries.len() } else { ListQuery::MAX_PAGE };
            let rows = self
                .query(
                    Sql::List,
                    &params![
                        name,
                        query.namespace.is_some(),
                        from,
                        prefix.as_bytes().to_vec(),
                        end(prefix),
                        i32::try_from(at_once).unwrap_or(i32::MAX),
                        PAGE_BYTES,
                        i32::try_from(ROWS_PER_PAGE).unwrap_or(i32::MAX),
                    ],
                )
                .await?;
            looked_at += rows.len();
            let mut go_on = None;
            for row in &rows {
                let at = namespace(row.try_get(1)?)?;
                let key: &[u8] = row.try_get(3)?;
                let text = std::str::from_utf8(key).map_err(|_| damaged("a key is not UTF-8"))?;
                if row.try_get::<_, i16>(0)? == 1 {
                    go_on = Some((at, text.to_owned()));
                    break;
                }
                last = Some((at.clone(), text.to_owned()));
                // What the columns tell is asked first: most of the effort is in decoding the record.
                let expires_at = row.try_get::<_, Option<i64>>(6)?.map(Timestamp::from_nanos);
                if !query.matches_expiry(expires_at) || !query.filter.matches_key(text) {
                    continue;
                }
                let entry = match entry_of(row, 2, at.clone(), None).map_err(Failure::told) {
                    Ok(entry) => entry,
                    Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported) => {
                        let version = Version(row.try_get::<_, i64>(2)?.max(0).unsigned_abs());
                        page.damaged.push(DamagedEntry::new(at, text, version, error));
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                if !query.filter.matches(&entry) {
                    continue;
                }
                if page.entries.len() == limit {
                    page.next = page.entries.last().map(|last| Cursor::of(last, query.order));
                    page.damaged.truncate(damaged_before);
                    return Ok(page);
                }
                damaged_before = page.damaged.len();
                page.entries.push(entry);
            }
            let Some((next, key)) = go_on else { return Ok(page) };
            if all || page.entries.len() == limit || looked_at >= ROWS_PER_PAGE {
                // Where not even one row was looked at, namespaces without any were, and this one is next.
                let (namespace, key) = last.unwrap_or((next, String::new()));
                page.next = Some(Cursor::by_key(namespace, key));
                return Ok(page);
            }
            (name, from) = (next.as_str().as_bytes().to_vec(), key.into_bytes());
        }
    }
}

/// The first bytes that come after a key.
fn after(key: &str) -> Vec<u8> {
    let mut bytes = key.as_bytes().to_vec();
    if !bytes.is_empty() {
        bytes.push(0);
    }
    bytes
}

/// The first bytes that come after all that begins with the prefix. No UTF-8 has a byte of 255.
fn end(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    match bytes.last_mut() {
        Some(last) => *last = last.saturating_add(1),
        None => bytes.push(0xFF),
    }
    bytes
}
