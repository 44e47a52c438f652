//! The tables of the index, and the check that a file holds them.

use cacheness_core::{CacheId, Error, ErrorKind};
use rusqlite::Connection;

use super::failure::{Tried, damaged};

/// Marks an SQLite file as an index of Cacheness: `Cach` in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x4361_6368;

/// The format that this version writes, kept in `user_version`.
pub(super) const FORMAT: i64 = 1;

/// How many bits of an entry's id are a version; the bits above are its generation.
///
/// So the entries of a generation stand together, and what a cleared generation left is one range. It is the version
/// of the put that brought the key in: later puts under the key change the row where it stands. 42 bits are 30,000
/// puts a second for four years without a pause.
pub(super) const VERSION_BITS: u32 = 42;

/// The highest version.
pub(super) const MAX_VERSION: i64 = (1 << VERSION_BITS) - 1;

/// The highest generation, so that the ids of the one after it are numbers, too. Beyond it they begin anew, with
/// those that are no longer in use.
pub(super) const MAX_GENERATION: i64 = (1 << (63 - VERSION_BITS)) - 2;

/// The tables. `totals` holds what each put changes: a row for each generation that is in use, and one for the whole
/// cache, whose generation is 0 and whose `blob_bytes` are the length of all garbage. They are narrow, so that they
/// stand on few pages, and apart from what a lookup reads. `state` has one row, of what seldom changes; its
/// `generation` is the last one issued. Its `policy` is null until limits are first stored.
///
/// `ranks` has lists of the entries with ids below `ranked_to`. List 0 has them all, by priority and rank. The list of a
/// generation whose namespace has limits has its entries; the list with the same number below 0 has those of them
/// that expire, by that time, which stands in `rank`. While `ranked_to` is null the table is empty: a cache that is far
/// from its limits does not need it, and a put changes a page or two less.
///
/// `entries.place` says where the value lies: 0 in a blob, 1 in `inline`, 2 in `inline_values` under the entry's
/// version. A reader that finds no such row has been overtaken by a put; a row of another version it cannot take for
/// its own.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE namespaces (
    name TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    max_entries INTEGER,
    max_bytes INTEGER,
    hits INTEGER NOT NULL DEFAULT 0,
    misses INTEGER NOT NULL DEFAULT 0,
    puts INTEGER NOT NULL DEFAULT 0,
    removals INTEGER NOT NULL DEFAULT 0,
    evictions INTEGER NOT NULL DEFAULT 0,
    expirations INTEGER NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0,
    bytes_in INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX namespaces_by_generation ON namespaces (generation);

CREATE TABLE totals (
    generation INTEGER PRIMARY KEY,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    blob_bytes INTEGER NOT NULL,
    sequence INTEGER,
    age INTEGER,
    ages BLOB
);

CREATE TABLE state (
    generation INTEGER NOT NULL,
    policy TEXT,
    max_entries INTEGER,
    max_bytes INTEGER,
    limited INTEGER NOT NULL,
    ranked_to INTEGER,
    cleared INTEGER NOT NULL
);

CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    key TEXT NOT NULL,
    accessed_at INTEGER NOT NULL,
    hits INTEGER NOT NULL,
    expires_at INTEGER,
    stored_size INTEGER NOT NULL,
    priority REAL NOT NULL,
    rank INTEGER NOT NULL,
    place INTEGER NOT NULL,
    blob_id BLOB,
    record BLOB NOT NULL,
    inline BLOB
);
CREATE UNIQUE INDEX entries_by_key ON entries (generation, key);
CREATE INDEX entries_by_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE ranks (
    list INTEGER NOT NULL,
    priority REAL NOT NULL,
    rank INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (list, priority, rank, id)
) WITHOUT ROWID;

CREATE TABLE inline_values (version INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

CREATE TABLE garbage (
    not_before INTEGER NOT NULL,
    blob_id BLOB NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (not_before, blob_id)
) WITHOUT ROWID;

CREATE TABLE condemned (blob_id BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE cleared (generation INTEGER PRIMARY KEY, cleared_at INTEGER NOT NULL);

INSERT INTO totals (generation, entries, bytes, blob_bytes, sequence, age) VALUES (0, 0, 0, 0, 0, 0);
INSERT INTO state (generation, limited, cleared) VALUES (0, 0, 0);
";

/// The id of an entry whose key came in with this version.
pub(super) fn entry_id(generation: i64, version: i64) -> i64 {
    (generation << VERSION_BITS) | version
}

/// The generation in an entry's id.
pub(super) fn generation_of(id: i64) -> i64 {
    id >> VERSION_BITS
}

/// What a file was found to hold.
pub(super) enum Found {
    /// No tables at all.
    Nothing,
    /// An index of this format, and whose cache it is.
    Cache(CacheId),
}

/// Looks at what is in the file.
///
/// # Errors
/// `Unsupported` for a newer format, `ConfigInvalid` for another program's database, `Corrupted` for a damaged one.
pub(super) fn look(connection: &Connection) -> Tried<Found> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, format) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION_ID {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
        if application == 0 && format == 0 && tables == 0 {
            return Ok(Found::Nothing);
        }
        let message = "this SQLite database belongs to another program; give the cache another path";
        return Err(Error::new(ErrorKind::ConfigInvalid, message).into());
    }
    if format > FORMAT {
        let message = format!(
            "the index has format {format}, and this version of Cacheness knows formats up to {FORMAT}; use a newer \
             version, or another folder"
        );
        return Err(Error::new(ErrorKind::Unsupported, message).into());
    }
    if format != FORMAT {
        return Err(damaged(&format!("it says that it has format {format}")).into());
    }
    let select = "SELECT value FROM meta WHERE name = 'cache_id'";
    let id = connection
        .query_row(select, (), |row| Ok(CacheId::from_slice(row.get_ref(0)?.as_blob().unwrap_or(&[]))))?;
    match id {
        Some(id) => Ok(Found::Cache(id)),
        None => Err(damaged("the cache's id has not 16 bytes").into()),
    }
}

/// Makes the tables, all or none.
pub(super) fn create(connection: &Connection, id: CacheId) -> Tried<CacheId> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let made = (|| {
        connection.execute_batch(TABLES)?;
        connection.execute("INSERT INTO meta (name, value) VALUES ('cache_id', ?1)", (id.as_bytes(),))?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        connection.execute_batch("COMMIT")
    })();
    if let Err(error) = made {
        // The first error is the one to tell; a rollback that fails leaves nothing that a later open would take.
        let _ = connection.execute_batch("ROLLBACK");
        return Err(error.into());
    }
    Ok(id)
}
