//! What only reads: lookups, listings, statistics and due garbage. Where the server no longer has the cache, nothing is
//! there.

use std::ops::RangeBounds;

use super::failure::{damaged, unexpected};
use super::layout::{self, Stored, read_blob, read_ordered};
use super::reply::Reply;
use super::scripts;
use super::server::args;
use super::store::Store;
use cacheness_core::{
    BlobId, Counters, Cursor, DamagedEntry, Entry, EntryFilter, ErrorKind, ListQuery, Namespace, Page,
    Result, Stats, Timestamp,
};

/// How many rows and namespaces one page looks at where most of them are left out.
const ROWS_PER_PAGE: usize = 4 * ListQuery::MAX_PAGE;

/// How many one script looks at.
const ROWS_PER_STEP: usize = 1_000;

/// How much of stored records and keys a page has at most, unless one entry alone has more.
const PAGE_BYTES: usize = 4 << 20;

/// Of how many namespaces one script reads the statistics.
const NAMESPACES_PER_STEP: usize = 500;

impl Store {
    pub(super) async fn get(&self, namespace: &Namespace, keys: &[String]) -> Result<Vec<Option<Entry>>> {
        let mut args = self.args();
        args.push(namespace.as_str().into());
        args.extend(keys.iter().map(|key| key.clone().into_bytes()));
        let Some(mut reply) = self.read(&scripts::GET, &args).await? else {
            return Ok(vec![None; keys.len()]);
        };
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            let entry = match reply.optional()? {
                None => None,
                Some(bytes) => {
                    let stored = Stored::read(bytes)?;
                    // Another key with the same hash is not this one.
                    if stored.key() == key.as_bytes() {
                        Some(
                            stored
                                .to_entry(namespace.clone(), false)
                                .map_err(|error| error.with_context("key", key))?,
                        )
                    } else {
                        None
                    }
                }
            };
            entries.push(entry);
        }
        Ok(entries)
    }

    /// One page of a listing by key.
    pub(super) async fn list_by_key(&self, query: &ListQuery) -> Result<Page> {
        let limit = query.limit.min(ListQuery::MAX_PAGE);
        let mut page = Page::default();
        let Some(prefix) = query.key_prefix().filter(|_| limit > 0) else { return Ok(page) };
        let all = query.expired.is_none() && query.filter == EntryFilter::default();
        let (mut name, mut after) = match (&query.namespace, &query.after) {
            (Some(only), Some(cursor)) if cursor.namespace == *only => {
                (only.as_str().to_owned(), cursor.key.clone())
            }
            // A cursor of another namespace stands before or after all of this one.
            (Some(only), Some(cursor)) if cursor.namespace > *only => return Ok(page),
            (Some(only), _) => (only.as_str().to_owned(), String::new()),
            (None, Some(cursor)) => (cursor.namespace.as_str().to_owned(), cursor.key.clone()),
            (None, None) => (String::new(), String::new()),
        };
        let (expiry, now) = match query.expired {
            None => ("*", String::new()),
            Some((true, now)) => ("expired", layout::moment(now)),
            Some((false, now)) => ("valid", layout::moment(now)),
        };
        let (mut looked_at, mut bytes, mut damaged_before) = (0, 0_usize, 0);
        loop {
            if after.as_str() < prefix {
                after.clear();
            }
            // One more than the page takes, so that it is known whether there is another page.
            let wanted = if all { limit - page.entries.len() + 1 } else { ROWS_PER_STEP };
            let mut args = self.args();
            args.extend(args![
                if query.namespace.is_some() { "1" } else { "*" },
                name,
                after,
                prefix,
                ROWS_PER_STEP.to_string(),
                wanted.to_string(),
                expiry,
                now.clone(),
                "-1",
            ]);
            let Some(mut reply) = self.read(&scripts::LIST, &args).await? else { return Ok(page) };
            let more = reply.flag()?;
            (name, after) = (reply.text()?, reply.text()?);
            let mut rows = reply.list()?;
            while rows.left() > 0 {
                let (namespace, _, key, row) = (rows.text()?, rows.bytes()?, rows.text()?, rows.bytes()?);
                let version = Stored::version_of(&row);
                let (entry, size) = match wanted_entry(query, namespace.clone(), &key, row) {
                    Ok(Some(found)) => found,
                    Ok(None) => continue,
                    Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported) => {
                        page.damaged.push(DamagedEntry::new(Namespace::new(namespace)?, key, version, error));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                bytes = bytes.saturating_add(size);
                // A single entry that is longer than a page makes one of its own.
                if page.entries.len() == limit || (bytes > PAGE_BYTES && !page.entries.is_empty()) {
                    page.next = page.entries.last().map(|last| Cursor::of(last, query.order));
                    page.damaged.truncate(damaged_before);
                    return Ok(page);
                }
                damaged_before = page.damaged.len();
                page.entries.push(entry);
            }
            if !more {
                return Ok(page);
            }
            looked_at += ROWS_PER_STEP;
            if looked_at >= ROWS_PER_PAGE && !all {
                page.next = Some(Cursor::by_key(Namespace::new(name)?, after));
                return Ok(page);
            }
        }
    }

    pub(super) async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats> {
        let mut stats = Stats::default();
        let mut name = namespace.map_or("", Namespace::as_str).to_owned();
        loop {
            let mut args = self.args();
            let whose = if namespace.is_some() { "1" } else { "*" };
            args.extend(args![whose, name, NAMESPACES_PER_STEP.to_string()]);
            let Some(mut reply) = self.read(&scripts::STATS, &args).await? else {
                return Ok(Stats::default());
            };
            let garbage = reply.number()?;
            name = reply.text()?;
            let count = reply.number()?;
            let mut rows = reply.list()?;
            while rows.left() > 0 {
                add(&mut stats, rows.list()?)?;
            }
            if namespace.is_some() {
                return Ok(stats);
            }
            stats.garbage_bytes = garbage;
            if count < NAMESPACES_PER_STEP as u64 {
                return Ok(stats);
            }
        }
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<Namespace>> {
        let mut namespaces: Vec<Namespace> = Vec::new();
        loop {
            let mut args = self.args();
            let after = namespaces.last().map_or("", Namespace::as_str);
            args.extend(args![after, NAMESPACES_PER_STEP.to_string()]);
            let Some(mut reply) = self.read(&scripts::NAMES, &args).await? else { return Ok(Vec::new()) };
            let mut names = reply.list()?;
            let is_last = names.left() < NAMESPACES_PER_STEP;
            while names.left() > 0 {
                let name = String::from_utf8(names.bytes()?).ok().and_then(|name| Namespace::new(name).ok());
                namespaces.push(name.ok_or_else(|| damaged("a namespace has an impossible name"))?);
            }
            if is_last {
                return Ok(namespaces);
            }
        }
    }

    pub(super) async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        let mut args = self.args();
        // The range of numbers that the server takes ends far before that of ours.
        let limit = limit.min(1 << 20).to_string();
        let saved = self.server.saved_before().await?.map_or_else(String::new, |second| second.to_string());
        args.extend(args![layout::moment(now), limit, saved]);
        let Some(mut reply) = self.read(&scripts::DUE, &args).await? else { return Ok(Vec::new()) };
        let mut due = reply.list()?;
        let mut blobs = Vec::with_capacity(due.left());
        while due.left() > 0 {
            blobs.push(read_blob(&due.bytes()?)?);
        }
        Ok(blobs)
    }
}

/// The entry of a row and how long its record and key are, where the query asks for it. What the row tells by itself is
/// asked first: most of the effort is in decoding the record.
fn wanted_entry(
    query: &ListQuery,
    namespace: String,
    key: &str,
    row: Vec<u8>,
) -> Result<Option<(Entry, usize)>> {
    let told = |error: cacheness_core::Error| error.with_context("key", key);
    let stored = Stored::read(row).map_err(told)?;
    if !query.matches_expiry(stored.expires_at)
        || !query.filter.created.contains(&stored.created_at())
        || !query.filter.matches_key(key)
    {
        return Ok(None);
    }
    let size = stored.length();
    let entry = stored.to_entry(Namespace::new(namespace)?, true).map_err(told)?;
    Ok(query.filter.matches(&entry).then_some((entry, size)))
}

/// Adds the statistics of a namespace.
fn add(stats: &mut Stats, mut row: Reply) -> Result<()> {
    let mut next = || -> Result<u64> {
        let Some(text) = row.optional()? else { return Ok(0) };
        std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or_else(unexpected)
    };
    stats.entries = stats.entries.saturating_add(next()?);
    stats.stored_bytes = stats.stored_bytes.saturating_add(next()?);
    let mut counters = Counters::default();
    for field in [
        &mut counters.hits,
        &mut counters.misses,
        &mut counters.puts,
        &mut counters.removals,
        &mut counters.evictions,
        &mut counters.expirations,
        &mut counters.errors,
        &mut counters.bytes_out,
        &mut counters.bytes_in,
    ] {
        *field = next()?;
    }
    stats.counters.add(&counters);
    let oldest = row.bytes()?;
    if !oldest.is_empty() {
        let oldest = read_ordered(&oldest).map(Timestamp::from_nanos).ok_or_else(unexpected)?;
        stats.oldest_entry = Some(stats.oldest_entry.map_or(oldest, |known| known.min(oldest)));
    }
    Ok(())
}
