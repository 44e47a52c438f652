//! SQLite by itself: one table, one unique index on a 128-bit hash of the key, every statement prepared once. It does
//! what a cache cannot do without, and nothing else: no namespaces, no totals, no limits, no types.

use std::hint::black_box;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Statement};
use twox_hash::{XxHash3_64, XxHash3_128};

use crate::items::Item;

/// Whether the file is read through a memory map.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    /// As the backend `sqlite`, which must bear that another process cuts the file off.
    No,
    /// What SQLite does fastest.
    Yes,
}

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS entries (hash BLOB NOT NULL, value BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS entries_by_hash ON entries (hash);
";

const UPSERT: &str = "INSERT INTO entries (hash, value) VALUES (?1, ?2) \
                      ON CONFLICT (hash) DO UPDATE SET value = excluded.value";

/// A database with the settings that the backend `sqlite` gives its own.
pub(crate) struct RawSqlite(Connection);

impl RawSqlite {
    pub(crate) fn open(path: &Path, map: Map) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -(16 << 10))?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.pragma_update(None, "mmap_size", if map == Map::Yes { 64_i64 << 30 } else { 0 })?;
        connection.execute_batch(TABLE)?;
        Ok(Self(connection))
    }

    /// Puts items in large transactions.
    pub(crate) fn fill(&self, items: impl Iterator<Item = Item>) -> rusqlite::Result<()> {
        let mut puts = self.puts()?;
        self.0.execute_batch("BEGIN")?;
        for (number, item) in items.enumerate() {
            puts.put(&item)?;
            if number % 10_000 == 9_999 {
                self.0.execute_batch("COMMIT; BEGIN")?;
            }
        }
        self.0.execute_batch("COMMIT")
    }

    pub(crate) fn gets(&self) -> rusqlite::Result<Gets<'_>> {
        Ok(Gets(self.0.prepare("SELECT value FROM entries WHERE hash = ?1")?))
    }

    pub(crate) fn puts(&self) -> rusqlite::Result<Puts<'_>> {
        Ok(Puts(self.0.prepare(UPSERT)?))
    }
}

/// Point lookups.
pub(crate) struct Gets<'c>(Statement<'c>);

impl Gets<'_> {
    /// Hashes the key, looks it up, copies the value out, and makes one checksum pass over it.
    pub(crate) fn get(&mut self, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut rows = self.0.query((&hash(key)[..],))?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let value = row.get_ref(0)?.as_blob()?.to_vec();
        black_box(XxHash3_64::oneshot(&value));
        Ok(Some(value))
    }
}

/// Upserts, each in a transaction of its own unless one is open.
pub(crate) struct Puts<'c>(Statement<'c>);

impl Puts<'_> {
    /// Hashes the key and stores the value.
    pub(crate) fn put(&mut self, item: &Item) -> rusqlite::Result<()> {
        self.0.execute((&hash(&item.key)[..], &item.value)).map(drop)
    }
}

fn hash(key: &str) -> [u8; 16] {
    XxHash3_128::oneshot(key.as_bytes()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upsert_replaces_what_a_lookup_then_finds() {
        let folder = tempfile::tempdir().unwrap();
        let raw = RawSqlite::open(&folder.path().join("raw.sqlite"), Map::Yes).unwrap();
        raw.fill((0..3).map(Item::new)).unwrap();
        let again = Item::rewritten(1, 1);
        raw.puts().unwrap().put(&again).unwrap();
        let mut gets = raw.gets().unwrap();
        assert_eq!(gets.get(&again.key).unwrap(), Some(again.value));
        assert_eq!(gets.get(&Item::new(2).key).unwrap(), Some(Item::new(2).value));
        assert_eq!(gets.get("nothing").unwrap(), None);
    }
}
