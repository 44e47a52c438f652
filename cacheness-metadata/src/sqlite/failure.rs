//! What can go wrong inside this backend, and how it is told to callers.

use std::path::Path;

use cacheness_core::{Error, ErrorKind, Namespace, Timestamp};
use rusqlite::ffi::{ErrorCode, SQLITE_IOERR_SHMSIZE};

/// An error of SQLite, one that is ready for the caller, or work that must wait for other work.
pub(super) enum Failure {
    Sql(rusqlite::Error),
    Ready(Error),
    /// An eviction found more entries unranked, or more left of cleared namespaces, than one transaction may see to.
    Unprepared,
    /// A put needs more evicted than one transaction evicts.
    Crowded(Crowded),
}

/// Room that takes more evictions than one transaction makes.
pub(super) struct Crowded {
    /// The namespace whose limits are meant; `None` for those of the cache.
    pub(super) namespace: Option<Namespace>,
    /// How many entries and bytes are to be added.
    pub(super) room: (i64, i64),
    pub(super) now: Timestamp,
}

/// The result of work on a connection.
pub(super) type Tried<T> = Result<T, Failure>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ready(error)
    }
}

impl Failure {
    /// The same of a call that was not committed: it changed nothing.
    pub(super) fn before_commit(self) -> Self {
        match self {
            Self::Sql(error) => Self::Ready(told(error).with_outcome_unknown(false)),
            Self::Ready(error) => Self::Ready(error.with_outcome_unknown(false)),
            other => other,
        }
    }

    /// The error for the caller. `path` is the database's file, where it has one.
    pub(super) fn at(self, path: Option<&Path>) -> Error {
        let error = match self {
            Self::Ready(error) => error,
            Self::Sql(error) => told(error),
            // Whoever runs transactions prepares and tries again, so no caller is told.
            Self::Unprepared | Self::Crowded(_) => {
                Error::new(ErrorKind::Unexpected, "an eviction was not prepared")
            }
        };
        match path {
            Some(path) => error.with_context("path", path.to_string_lossy()),
            None => error,
        }
    }
}

/// A row that no version of this program writes.
pub(super) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Corrupted, format!("the index is damaged: {what}; {REPAIR}"))
}

/// What to do about a damaged index. The entries of a cache can be made again.
const REPAIR: &str = "close every process that uses the cache, then rebuild it by \
                      `Cache::builder().folder(..).rebuild_blocking(RebuildOptions::new())`; or move the file away with its \
                      `-wal` and `-shm`, and the cache begins anew";

fn told(error: rusqlite::Error) -> Error {
    let (kind, message) = match &error {
        // The log's index could not be made longer.
        rusqlite::Error::SqliteFailure(failure, _) if failure.extended_code == SQLITE_IOERR_SHMSIZE => {
            by_code(ErrorCode::DiskFull)
        }
        rusqlite::Error::SqliteFailure(failure, _) => by_code(failure.code),
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::SqlInputError { .. } => (ErrorKind::Corrupted, damage_message()),
        _ => (ErrorKind::Unexpected, "SQLite refused a statement of this backend".to_owned()),
    };
    Error::new(kind, message).with_source(error)
}

fn by_code(code: ErrorCode) -> (ErrorKind, String) {
    let (kind, message) = match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            ErrorKind::Timeout,
            "another process kept the index locked; try again, or find out which one does",
        ),
        ErrorCode::DiskFull => {
            (ErrorKind::StorageFull, "the disk has no room for the index; free some and try again")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            return (ErrorKind::Corrupted, damage_message());
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => (
            ErrorKind::PermissionDenied,
            "the index may not be written; check the permissions of the file and its folder",
        ),
        ErrorCode::CannotOpen => {
            (ErrorKind::Io, "the index cannot be opened; check that its folder is there and may be written")
        }
        ErrorCode::OutOfMemory => (ErrorKind::Unavailable, "SQLite was given no memory"),
        ErrorCode::TooBig => (ErrorKind::LimitExceeded, "the entry is larger than SQLite stores in one row"),
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed | ErrorCode::NoLargeFileSupport => {
            (ErrorKind::Io, "the operating system failed to read or write the index")
        }
        _ => (ErrorKind::Unexpected, "SQLite refused a statement of this backend"),
    };
    (kind, message.to_owned())
}

fn damage_message() -> String {
    format!("the index is damaged, or it is no SQLite database; {REPAIR}")
}
