//! What only reads: lookups and statistics, each of them one statement.

use bytes::Bytes;
use cacheness_core::{Counters, Entry, Error, ErrorKind, Namespace, Stats, StoredEntry, Timestamp, Version};
use tokio_postgres::Row;

use super::failure::Failure;
use super::statements::Sql;
use super::store::{Store, params};

/// The hash by which a key is found: of its bytes, too long to meet another one by chance or on purpose.
pub(super) fn hash(key: &str) -> Vec<u8> {
    blake3::hash(key.as_bytes()).as_bytes()[..16].to_vec()
}

/// What no version of this program writes.
pub(super) fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!("the cache's tables are damaged: {what}; drop the schema, and the cache is made anew"),
    )
}

/// A namespace's name from its column.
pub(super) fn namespace(name: Option<&[u8]>) -> Result<Namespace, Failure> {
    let name = name.and_then(|name| std::str::from_utf8(name).ok());
    let name = name.and_then(|name| Namespace::new(name).ok());
    name.ok_or_else(|| damaged("a namespace has an impossible name").into())
}

/// Puts an entry together from the columns `version`, `key`, `accessed_at`, `hits`, `expires_at`, whether it is inline, and
/// `record`, of which the first stands at `first`. `inline` is what was read of its bytes; `None` where they were left out.
pub(super) fn entry_of(
    row: &Row,
    first: usize,
    namespace: Namespace,
    inline: Option<Option<&[u8]>>,
) -> Result<Entry, Failure> {
    let version: i64 = row.try_get(first)?;
    let key: &[u8] = row.try_get(first + 1)?;
    let key = std::str::from_utf8(key).map_err(|_| damaged("a key is not UTF-8"))?;
    let accessed_at = Timestamp::from_nanos(row.try_get(first + 2)?);
    let version = Version(version.max(0).unsigned_abs());
    let mut entry = StoredEntry::new(row.try_get(first + 6)?, namespace, key, version, accessed_at);
    entry.hits = row.try_get::<_, i64>(first + 3)?.max(0).unsigned_abs();
    entry.expires_at = row.try_get::<_, Option<i64>>(first + 4)?.map(Timestamp::from_nanos);
    entry.inline_omitted = inline.is_none() && row.try_get::<_, bool>(first + 5)?;
    entry.inline = inline.flatten().map(Bytes::copy_from_slice);
    entry.decode().map_err(|error| match error.kind() {
        // What a newer version wrote is no damage.
        ErrorKind::Corrupted | ErrorKind::Unsupported => error.into(),
        // A key that is too long, say: what is stored breaks a rule that was kept when it was written.
        _ => damaged(&error.to_string()).into(),
    })
}

impl Store {
    /// Looks several entries up, in the order asked.
    pub(super) async fn entries(
        &self,
        name: Namespace,
        keys: Vec<String>,
    ) -> Result<Vec<Option<Entry>>, Failure> {
        let mut found = vec![None; keys.len()];
        if keys.is_empty() && !self.pool.is_closed() {
            return Ok(found);
        }
        let hashes: Vec<Vec<u8>> = keys.iter().map(|key| hash(key)).collect();
        let rows = self.query(Sql::Get, &params![name.as_str().as_bytes().to_vec(), hashes]).await?;
        for row in &rows {
            let at = row.try_get::<_, i64>(8)?.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            let key: &[u8] = row.try_get(1)?;
            let Some(at) = at.filter(|&at| keys.get(at).is_some_and(|asked| asked.as_bytes() == key)) else {
                continue;
            };
            found[at] = Some(entry_of(row, 0, name.clone(), Some(row.try_get(7)?))?);
        }
        Ok(found)
    }

    /// The statistics of one namespace or of all.
    pub(super) async fn stats(&self, name: Option<Namespace>) -> Result<Stats, Failure> {
        let rows = match name {
            Some(name) => self.query(Sql::Stats, &params![name.as_str().as_bytes().to_vec()]).await?,
            None => self.query(Sql::StatsOfAll, &[]).await?,
        };
        let mut stats = Stats::default();
        let Some(row) = rows.first() else { return Ok(stats) };
        stats.entries = count(row, 0)?;
        stats.stored_bytes = count(row, 1)?;
        stats.garbage_bytes = count(row, 2)?;
        stats.oldest_entry = row.try_get::<_, Option<i64>>(3)?.map(Timestamp::from_nanos);
        stats.counters = counters(row, 4)?;
        Ok(stats)
    }

    /// The names of all namespaces, sorted.
    pub(super) async fn namespaces(&self) -> Result<Vec<Namespace>, Failure> {
        let rows = self.query(Sql::Namespaces, &[]).await?;
        rows.iter().map(|row| namespace(row.try_get(0)?)).collect()
    }
}

fn count(row: &Row, at: usize) -> Result<u64, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<i64>>(at)?.unwrap_or(0).max(0).unsigned_abs())
}

/// Reads counters from nine columns.
fn counters(row: &Row, first: usize) -> Result<Counters, tokio_postgres::Error> {
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
    for (at, field) in fields.into_iter().enumerate() {
        *field = count(row, first + at)?;
    }
    Ok(counters)
}
