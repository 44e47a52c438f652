//! What only reads: lookups and statistics. No statement stays open after a call, so that each call sees
//! what was committed before it, in every process.

use bytes::Bytes;
use cacheness_core::{
    Counters, Entry, ErrorKind, Location, Namespace, Result, Stats, StoredEntry, Timestamp, Version,
};
use rusqlite::Row;

use super::changes::{IN_BLOB, IN_INLINE_VALUES};
use super::connection::Session;
use super::failure::{Failure, Tried, damaged};
use super::schema::MAX_VERSION;
use super::statements::Sql;
use super::totals::ages;
use super::transaction::lenient;

/// Looks an entry up.
pub(super) fn entry(session: &mut Session<'_, '_>, name: &Namespace, key: &str) -> Tried<Option<Entry>> {
    // A value in a row of its own is read after its entry, and may have been replaced in between: then the entry has
    // been, too, and is read anew. Whoever is overtaken this often has found damage.
    for _ in 0..100 {
        let mut rows = session.statement(Sql::Get)?.query((name.as_str(), key))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let inline = match lenient(row.get_ref(5)?) {
            IN_BLOB => None,
            IN_INLINE_VALUES => {
                let version: i64 = row.get(0)?;
                let mut entry = entry_of(row, (name.clone(), Some(key)), None)?;
                drop(rows);
                let mut rows = session.statement(Sql::InlineValue)?.query((version,))?;
                let Some(row) = rows.next()? else { continue };
                if entry.location == Location::InlineOmitted {
                    let bytes = row.get_ref(0)?.as_blob().map_err(|_| damaged("a value has another type"))?;
                    entry.location = Location::Inline(Bytes::copy_from_slice(bytes));
                }
                return Ok(Some(entry));
            }
            _ => row.get_ref(7)?.as_blob().ok().map(Bytes::copy_from_slice),
        };
        return Ok(Some(entry_of(row, (name.clone(), Some(key)), Some(inline))?));
    }
    Err(damaged("the value of an entry is missing").into())
}

/// Puts an entry together from the columns of `stored!`. `inline` is what was read of its bytes; `None` where they
/// were left out. The key is the one that was asked for, or that of the row: an index whose page is damaged leads to another
/// key's row, whose record does not fit the one that was asked for.
pub(super) fn entry_of(
    row: &Row<'_>,
    (namespace, asked): (Namespace, Option<&str>),
    inline: Option<Option<Bytes>>,
) -> Tried<Entry> {
    let version: i64 = row.get(0)?;
    let column = |index: usize| -> Tried<&[u8]> {
        let value = row.get_ref(index)?;
        value.as_bytes().map_err(|_| damaged("a column has another type than was written").into())
    };
    let key = match asked {
        Some(asked) => asked,
        None => std::str::from_utf8(column(1)?).map_err(|_| Failure::from(damaged("a key is not UTF-8")))?,
    };
    let version = Version(version.clamp(0, MAX_VERSION).unsigned_abs());
    let accessed_at = Timestamp::from_nanos(lenient(row.get_ref(2)?));
    let mut entry = StoredEntry::new(column(6)?, namespace, key, version, accessed_at);
    entry.hits = lenient(row.get_ref(3)?).max(0).unsigned_abs();
    entry.expires_at = row.get_ref(4)?.as_i64().ok().map(Timestamp::from_nanos);
    entry.inline_omitted = inline.is_none() && lenient(row.get_ref(5)?) != IN_BLOB;
    entry.inline = inline.flatten();
    entry.decode().map_err(|error| match error.kind() {
        // What a newer version wrote is no damage.
        ErrorKind::Corrupted | ErrorKind::Unsupported => error.into(),
        // A key that is too long, say: what is stored breaks a rule that was kept when it was written.
        _ => damaged(&error.to_string()).into(),
    })
}

/// Reads a namespace's name from the first column.
pub(super) fn namespace(row: &Row<'_>) -> Tried<Namespace> {
    let name =
        row.get_ref(0)?.as_str().map_err(|_| Failure::from(damaged("a namespace's name is not a text")))?;
    Namespace::new(name).map_err(|_| damaged("a namespace has an impossible name").into())
}

/// The names of all namespaces, sorted.
pub(super) fn namespaces(session: &mut Session<'_, '_>) -> Tried<Vec<Namespace>> {
    let mut rows = session.statement(Sql::NamespaceNames)?.query(())?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        names.push(namespace(row)?);
    }
    Ok(names)
}

/// The statistics of one namespace or of all.
pub(super) fn stats(session: &mut Session<'_, '_>, name: Option<&Namespace>) -> Tried<Stats> {
    let mut stats = Stats::default();
    match name {
        Some(name) => {
            let mut rows = session.statement(Sql::Stats)?.query((name.as_str(),))?;
            if let Some(row) = rows.next()? {
                stats.entries = count(row, 0)?;
                stats.stored_bytes = count(row, 1)?;
                stats.oldest_entry = ages(row, 2)?.oldest().map(Timestamp::from_nanos);
                stats.counters = counters(row, 3)?;
            }
        }
        None => {
            let mut rows = session.statement(Sql::Totals)?.query(())?;
            if let Some(row) = rows.next()? {
                stats.entries = count(row, 0)?;
                stats.stored_bytes = count(row, 1)?;
                stats.garbage_bytes = count(row, 2)?;
            }
            drop(rows);
            let mut rows = session.statement(Sql::AllCounters)?.query(())?;
            while let Some(row) = rows.next()? {
                stats.counters.add(&counters(row, 0)?);
            }
            drop(rows);
            let mut rows = session.statement(Sql::AllAges)?.query(())?;
            while let Some(row) = rows.next()? {
                let oldest = ages(row, 0)?.oldest().map(Timestamp::from_nanos);
                stats.oldest_entry = [stats.oldest_entry, oldest].into_iter().flatten().min();
            }
        }
    }
    Ok(stats)
}

fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(lenient(row.get_ref(index)?).max(0).unsigned_abs())
}

/// Reads counters from nine columns.
pub(super) fn counters(row: &Row<'_>, first: usize) -> rusqlite::Result<Counters> {
    let mut counters = Counters::default();
    let fields = [
        &mut counters.hits,
        &mut counters.misses,
        &mut counters.puts,
        &mut counters.removals,
        &mut counters.evictions,
        &mut counters.expirations,
        &mut counters.errors,
        &mut counters.bytes_out,
        &mut counters.bytes_in,
    ];
    for (index, field) in fields.into_iter().enumerate() {
        *field = count(row, first + index)?;
    }
    Ok(counters)
}

/// Looks several entries up, in the order asked.
pub(super) fn entries(
    session: &mut Session<'_, '_>,
    name: &Namespace,
    keys: &[&str],
) -> Result<Vec<Option<Entry>>, Failure> {
    keys.iter().map(|key| entry(session, name, key)).collect()
}
