//! Opening: the folder, the lock that lets many processes do so at once, and how connections are set up.

use std::path::Path;
use std::time::Duration;

use cacheness_core::{CacheId, Durability, Error, ErrorKind, OpenContext, OpenMode, Permissions, Result};
use rusqlite::{Connection, OpenFlags};

use super::config::Settings;
use super::connection::Database;
use super::failure::{Failure, Tried};
use super::reserve::Reserve;
use super::schema::{self, Found};
use super::store::{Parts, Store};

/// How many pages the log holds before a commit writes it into the database: 16 MiB.
const CHECKPOINT_PAGES: i64 = 4_000;

/// To what length the log is cut when it has grown longer, in bytes.
const LOG_LIMIT: i64 = 64 << 20;

/// Opens the index in a file.
pub(super) fn file(path: &Path, settings: &Settings, context: &OpenContext) -> Result<Store> {
    if context.mode == OpenMode::Existing && !path.exists() {
        let message = "there is no index here, and nothing may be created";
        return Err(Error::new(ErrorKind::NotFound, message).with_context("path", path.to_string_lossy()));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        context.prepare_folder(folder)?;
    }
    // Held until every connection is set up; what follows here is safe against other processes only under it.
    let _lock = lock(&path.with_extension("lock"), context)?;
    if context.mode == OpenMode::Create {
        create_file(path, context.permissions)?;
    }
    let reserve = Reserve::beside(path, settings.reserve, context.permissions);
    let opened = connections(path, settings, context).or_else(|error| {
        // To open an index takes some room, too.
        let may_be_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::Io);
        if may_be_full && reserve.release() { connections(path, settings, context) } else { Err(error) }
    });
    reserve.make();
    let (cache, writer, readers) = opened?;
    Ok(Store::new(Parts {
        path: Some(path.to_owned()),
        cache,
        commits_are_durable: context.durability == Durability::Power,
        env: context.env.clone(),
        accesses: context.accesses.clone(),
        policies: context.policies.clone(),
        writer,
        readers,
        reserve: Some(reserve),
        busy_timeout: Duration::from_millis(settings.busy_timeout_ms),
    }))
}

/// Opens the connections to an index in a file, and makes the index where there is none.
fn connections(
    path: &Path,
    settings: &Settings,
    context: &OpenContext,
) -> Result<(CacheId, Database, Vec<Database>)> {
    let told = |failure: Failure| failure.at(Some(path));
    let writer = connect(path, settings, context).map_err(told)?;
    let cache = match schema::look(&writer).map_err(told)? {
        Found::Cache(id) => id,
        Found::Nothing if context.mode == OpenMode::Create => schema::create(&writer).map_err(told)?,
        Found::Nothing => {
            let message = "the file holds no index, and nothing may be created";
            return Err(Error::new(ErrorKind::NotFound, message).with_context("path", path.to_string_lossy()));
        }
    };
    use_log(&writer).map_err(told)?;
    let readers = (0..settings.readers)
        .map(|_| {
            let reader = connect(path, settings, context)?;
            reader.pragma_update(None, "query_only", true)?;
            Ok(Database::new(reader))
        })
        .collect::<Tried<Vec<_>>>()
        .map_err(told)?;
    Ok((cache, Database::new(writer), readers))
}

/// Opens an index in memory, which is empty.
pub(super) fn memory(settings: &Settings, context: &OpenContext) -> Result<Store> {
    let made = (|| {
        let connection = Connection::open_in_memory()?;
        set_up(&connection, settings)?;
        Ok((schema::create(&connection)?, connection))
    })();
    let (cache, connection) = made.map_err(|failure: Failure| failure.at(None))?;
    Ok(Store::new(Parts {
        path: None,
        cache,
        commits_are_durable: true,
        env: context.env.clone(),
        accesses: context.accesses.clone(),
        policies: context.policies.clone(),
        writer: Database::new(connection),
        readers: Vec::new(),
        reserve: None,
        busy_timeout: Duration::from_millis(settings.busy_timeout_ms),
    }))
}

/// Takes the lock under which an index is opened. The file is never replaced, so that all wait for the same one.
fn lock(path: &Path, context: &OpenContext) -> Result<Option<fs_err::File>> {
    let mode = context.mode;
    let mut options = fs_err::OpenOptions::from_options(context.permissions.file_options());
    options.read(true).write(true).create(mode == OpenMode::Create);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if mode == OpenMode::Existing && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(Error::io(error, "the lock file beside the index cannot be opened")),
    };
    file.file().lock().map_err(|error| {
        Error::io(error, "the lock file beside the index cannot be locked")
            .with_context("path", path.to_string_lossy())
    })?;
    Ok(Some(file))
}

/// Makes the database's file where it is missing, because SQLite has permissions of its own for it. The log gets the file's from
/// SQLite. A file that is there is not opened: to close it would take SQLite's locks on it away.
fn create_file(path: &Path, permissions: Permissions) -> Result<()> {
    let mut options = fs_err::OpenOptions::from_options(permissions.file_options());
    match options.write(true).create_new(true).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io(error, "the index cannot be created"))
        }
        _ => Ok(()),
    }
}

fn connect(path: &Path, settings: &Settings, context: &OpenContext) -> Tried<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if context.mode == OpenMode::Create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection, settings)?;
    let synchronous = match context.durability {
        Durability::Process => "NORMAL",
        Durability::Power => "FULL",
        durability => {
            let message = format!("`sqlite` cannot promise the durability {durability:?}");
            return Err(Error::new(ErrorKind::Unsupported, message).into());
        }
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_LIMIT)?;
    // A map of a file that another process cuts off would end this one with a signal.
    connection.pragma_update(None, "mmap_size", 0)?;
    Ok(connection)
}

fn set_up(connection: &Connection, settings: &Settings) -> Tried<()> {
    connection.busy_timeout(Duration::from_millis(settings.busy_timeout_ms))?;
    connection.pragma_update(None, "cache_size", -settings.cache_size_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(())
}

/// Turns the write-ahead log on.
fn use_log(connection: &Connection) -> Tried<()> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let message = format!(
        "the file system does not let SQLite keep a write-ahead log (it answers `{mode}`); put the cache on a local disk"
    );
    Err(Error::new(ErrorKind::Unsupported, message).into())
}
