//! The first page of a database says where its tables are. Where it is damaged, that of a fresh index says the same, because
//! all indexes of one format are made by the same statements.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cacheness_core::{CacheId, Permissions, Result};
use fs_err::{File, OpenOptions};
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

/// Makes a file, in the place of none that somebody else has put there, nor of a link.
fn create_new(path: &Path, permissions: Permissions) -> std::io::Result<File> {
    let mut options = OpenOptions::from_options(permissions.file_options());
    options.read(true).write(true).create_new(true).open(path)
}

/// Copies a file, where it is there.
fn copy(from: &Path, to: &mut File) -> std::io::Result<()> {
    match File::open(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => std::io::copy(&mut other?, to).map(drop),
    }
}

/// Copies a database and its log, and gives the copy the first page of a fresh index.
pub(super) fn replace(from: &Path, to: &Path, permissions: Permissions) -> Result<()> {
    let mut file = create_new(to, permissions).map_err(not_copied)?;
    fresh(Some(to)).map(drop).map_err(|failure| failure.at(Some(to)))?;
    let mut page = [0; PAGE];
    let copied = (|| {
        file.read_exact(&mut page)?;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        copy(from, &mut file)?;
        let log = beside(from, "-wal");
        if log.exists() {
            copy(&log, &mut create_new(&beside(to, "-wal"), permissions)?)?;
        }
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
