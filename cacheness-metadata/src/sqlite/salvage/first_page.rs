//! The first page of a database says where its tables are. Where it is damaged, that of a fresh index says the same, because
//! all indexes of one format are made by the same statements.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cacheness_core::{CacheId, Result};
use fs_err::{self as fs, File, OpenOptions};
use rusqlite::Connection;

use super::source::not_copied;
use crate::aside::beside;
use crate::sqlite::failure::Tried;
use crate::sqlite::schema;

/// The length of a page, as SQLite has it unless it is told otherwise.
const PAGE: usize = 4096;

/// An index without entries, in a file or in memory.
pub(super) fn fresh(path: Option<&Path>) -> Tried<Connection> {
    let connection = match path {
        Some(path) => Connection::open(path)?,
        None => Connection::open_in_memory()?,
    };
    schema::create(&connection, CacheId::from_bytes([0; 16]))?;
    Ok(connection)
}

/// What the tables are called, where they begin, and what they consist of.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<(String, i64, String)>> {
    let sql = "SELECT name, rootpage, coalesce(sql, '') FROM sqlite_schema ORDER BY name";
    connection.prepare(sql)?.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// True where the tables of an index are as they should be.
pub(super) fn is_whole(connection: &Connection) -> bool {
    let expected = fresh(None).ok().and_then(|fresh| tables(&fresh).ok());
    expected.is_some() && tables(connection).ok() == expected
}

/// Where a copy of a file is made.
pub(super) fn copy_of(path: &Path) -> PathBuf {
    beside(path, ".copy")
}

/// Copies a database and its log, and gives the copy the first page of a fresh index.
pub(super) fn replace(from: &Path, to: &Path) -> Result<()> {
    let made = fresh(Some(to)).map(drop).map_err(|failure| failure.at(Some(to)));
    let mut page = [0; PAGE];
    made.and_then(|()| File::open(to).and_then(|mut file| file.read_exact(&mut page)).map_err(not_copied))?;
    let copied = (|| {
        match fs::copy(from, to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs::write(to, [])?;
            }
            other => {
                other?;
            }
        }
        let log = beside(from, "-wal");
        if log.exists() {
            fs::copy(log, beside(to, "-wal"))?;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(to)?;
        // Whole pages, the first one at least.
        let pages = file.metadata()?.len().div_ceil(PAGE as u64).max(1);
        file.set_len(pages * PAGE as u64)?;
        let mut put = |at: usize, number: u32| page[at..at + 4].copy_from_slice(&number.to_be_bytes());
        // How many pages there are, that none is free, and that this is so as of the last change.
        put(28, u32::try_from(pages).unwrap_or(u32::MAX));
        put(32, 0);
        put(36, 0);
        put(24, 1);
        put(92, 1);
        // There is a log.
        (page[18], page[19]) = (2, 2);
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&page)
    })();
    copied.map_err(not_copied)
}
