//! What only reads: lookups, listings, statistics and due garbage. It takes no turn and is never held up by writers.

use std::ops::RangeBounds;

use bytes::Bytes;
use cacheness_core::{
    BlobId, Cursor, DamagedEntry, Entry, EntryFilter, Error, ErrorKind, ListQuery, Namespace, Page, Result,
    Stats, Timestamp,
};

use super::KvStore;
use super::layout;
use super::rows::{self, EntryRow, Head, NamespaceRow};

/// How many rows and namespaces one page looks at where most of them are left out.
const ROWS_PER_PAGE: usize = 4 * ListQuery::MAX_PAGE;

/// How much of stored records and keys a page has at most, unless one entry alone has more.
const PAGE_BYTES: usize = 4 << 20;

/// How many namespaces are read at once.
const NAMESPACES_AT_ONCE: usize = 1_000;

pub(super) async fn entry(store: &dyn KvStore, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
    let Some(row) = store.get(&layout::namespace(namespace.as_str())).await? else { return Ok(None) };
    let generation = NamespaceRow::generation_of(&row)?;
    let Some(row) = store.get(&layout::entry(generation, key)).await? else { return Ok(None) };
    let entry = EntryRow::decode(&row).and_then(|row| row.to_entry(namespace, key, false));
    entry.map(Some).map_err(|error| error.with_context("key", key))
}

/// One page of a listing. Rows stand in the order of keys; for another order all of them are looked at.
pub(super) async fn list(store: &dyn KvStore, query: &ListQuery) -> Result<Page> {
    if query.is_in_key_order() {
        return list_by_key(store, query).await;
    }
    query.in_order(|query| async move { list_by_key(store, &query).await }).await
}

async fn list_by_key(store: &dyn KvStore, query: &ListQuery) -> Result<Page> {
    let limit = query.limit.clamp(1, ListQuery::MAX_PAGE);
    let mut page = Page::default();
    let Some(prefix) = query.key_prefix() else { return Ok(page) };
    let (mut looked_at, mut bytes, mut damaged_before) = (0, 0_usize, 0);
    let mut names = layout::all(layout::NAMESPACE);
    if let Some(namespace) = &query.namespace {
        names.start = layout::namespace(namespace.as_str());
        names.end = layout::after(&names.start);
    }
    if let Some(cursor) = &query.after {
        names.start = names.start.max(layout::namespace(cursor.namespace.as_str())).min(names.end.clone());
    }
    while let Some((name, row)) = store.scan(names.clone(), 1).await?.pop() {
        names.start = layout::after(&name);
        let namespace = rows::read_namespace(name.get(1..).unwrap_or_default())?;
        if looked_at >= ROWS_PER_PAGE {
            page.next = Some(Cursor::by_key(namespace, String::new()));
            return Ok(page);
        }
        // A namespace where nothing is found is a look, too.
        looked_at += 1;
        let generation = NamespaceRow::generation_of(&row)?;
        let mut range = layout::entries(generation, prefix);
        if let Some(cursor) = query.after.as_ref().filter(|cursor| cursor.namespace == namespace) {
            let after = layout::after(&layout::entry(generation, &cursor.key));
            range.start = range.start.max(after).min(range.end.clone());
        }
        loop {
            // One more than the page takes, so that it is known whether there is another page; where few may match,
            // as many as one read may have.
            let few = query.expired.is_some() || query.filter != EntryFilter::default();
            let wanted = if few { ListQuery::MAX_PAGE } else { limit - page.entries.len() + 1 };
            let found = store.scan(range.clone(), wanted).await?;
            let exhausted = found.len() < wanted;
            for (key, value) in found {
                range.start = layout::after(&key);
                looked_at += 1;
                let read = rows::tail(&key, 9).and_then(|text| wanted_entry(query, &namespace, text, &value));
                let (entry, size) = match read {
                    Ok(Some(found)) => found,
                    Ok(None) => continue,
                    Err(error) => {
                        let text = String::from_utf8_lossy(key.get(9..).unwrap_or_default());
                        let version = EntryRow::version_of(&value);
                        page.damaged.push(DamagedEntry::new(namespace.clone(), text, version, error));
                        continue;
                    }
                };
                bytes = bytes.saturating_add(size);
                // A single entry that is longer than a page makes one of its own.
                if page.entries.len() == limit || (bytes > PAGE_BYTES && !page.entries.is_empty()) {
                    page.next = page.entries.last().map(|last| Cursor::of(last, query.order));
                    // Those after the last entry stand on the next page.
                    page.damaged.truncate(damaged_before);
                    return Ok(page);
                }
                damaged_before = page.damaged.len();
                page.entries.push(entry);
            }
            if exhausted {
                break;
            }
            if looked_at >= ROWS_PER_PAGE {
                let last = range.start.get(9..range.start.len() - 1).unwrap_or_default();
                page.next = Some(Cursor::by_key(namespace, String::from_utf8_lossy(last).into_owned()));
                return Ok(page);
            }
        }
    }
    Ok(page)
}

pub(super) async fn stats(store: &dyn KvStore, namespace: Option<&Namespace>) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(name) = namespace {
        if let Some(row) = store.get(&layout::namespace(name.as_str())).await? {
            add(store, &mut stats, &NamespaceRow::decode(&row)?).await?;
        }
        return Ok(stats);
    }
    let mut range = layout::all(layout::NAMESPACE);
    loop {
        let found = store.scan(range.clone(), NAMESPACES_AT_ONCE).await?;
        for (_, row) in &found {
            add(store, &mut stats, &NamespaceRow::decode(row)?).await?;
        }
        match found.last() {
            Some((last, _)) if found.len() == NAMESPACES_AT_ONCE => range.start = layout::after(last),
            _ => break,
        }
    }
    if let Some(head) = store.get(&layout::HEAD).await? {
        stats.garbage_bytes = Head::decode(&head)?.garbage_bytes;
    }
    Ok(stats)
}

async fn add(store: &dyn KvStore, stats: &mut Stats, namespace: &NamespaceRow) -> Result<()> {
    stats.counters.add(&namespace.counters);
    stats.entries = stats.entries.saturating_add(namespace.entries);
    stats.stored_bytes = stats.stored_bytes.saturating_add(namespace.bytes);
    if let Some((first, _)) = store.scan(layout::all_created(namespace.generation), 1).await?.pop() {
        let oldest =
            layout::created_at(&first).ok_or_else(|| rows::damage("an index has a row without a time"))?;
        stats.oldest_entry = Some(stats.oldest_entry.map_or(oldest, |known| known.min(oldest)));
    }
    Ok(())
}

pub(super) async fn namespaces(store: &dyn KvStore) -> Result<Vec<Namespace>> {
    let mut names = Vec::new();
    let mut range = layout::all(layout::NAMESPACE);
    loop {
        let found = store.scan(range.clone(), NAMESPACES_AT_ONCE).await?;
        for (key, _) in &found {
            names.push(rows::read_namespace(key.get(1..).unwrap_or_default())?);
        }
        match found.last() {
            Some((last, _)) if found.len() == NAMESPACES_AT_ONCE => range.start = layout::after(last),
            _ => return Ok(names),
        }
    }
}

pub(super) async fn due_garbage(store: &dyn KvStore, now: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
    let due = store.scan(layout::until(layout::GARBAGE, now), limit).await?;
    let read = |key: &Bytes| key.get(9..).and_then(BlobId::from_slice);
    due.iter().map(|(key, _)| read(key).ok_or_else(|| rows::damage("a blob id has 16 bytes"))).collect()
}

/// The entry of a row and how long its record and key are, where the query asks for it. What the row tells by itself is asked first: most of the effort
/// is in decoding the record.
fn wanted_entry(
    query: &ListQuery,
    namespace: &Namespace,
    key: &str,
    row: &Bytes,
) -> Result<Option<(Entry, usize)>> {
    let row = EntryRow::decode(row)?;
    let expires_at = row.expires_at.map(Timestamp::from_nanos);
    let created_at = Timestamp::from_nanos(row.created_at);
    if !query.matches_expiry(expires_at)
        || !query.filter.created.contains(&created_at)
        || !query.filter.matches_key(key)
    {
        return Ok(None);
    }
    let entry = row.to_entry(namespace, key, true)?;
    let size = row.record_bytes() + key.len();
    Ok(query.filter.matches(&entry).then_some((entry, size)))
}

/// The head of a store; an error where its format is unknown.
pub(super) async fn head(store: &dyn KvStore) -> Result<Option<Head>> {
    store.get(&layout::HEAD).await?.as_ref().map(Head::decode).transpose().map_err(|error| {
        if error.kind() == ErrorKind::Corrupted {
            return Error::new(
                ErrorKind::Corrupted,
                "this store holds no entries of Cacheness, or a damaged head",
            )
            .with_source(error);
        }
        error
    })
}
