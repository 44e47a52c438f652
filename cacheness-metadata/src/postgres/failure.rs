//! What the server or the way to it can answer instead of rows, and how it is told to callers.

use cacheness_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

use super::deadline::late;

/// Why a statement gave no rows.
pub(super) enum Failure {
    /// An error for the caller.
    Told(Error),
    /// The server undid the transaction because of others; it may be made again.
    Undone(Error),
    /// The connection is gone. What was sent may have been done.
    Lost(Error),
    /// The server takes no writes: it is another one than was connected to, or has become one.
    Demoted(Error),
    /// The server came to a change after its deadline, and did not make it.
    Late(Error),
    /// A function of ours asks for something: its code, and what it says.
    Asked(Asked, String),
}

/// What a function of ours asks for, or why it refuses; nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// A value does not fit by itself.
    TooLarge,
    /// What one call puts does not fit.
    TooMuch,
    /// Entries are to be ranked, or rows of cleared generations taken back, before.
    Unprepared,
    /// More is to be evicted than one transaction evicts.
    Crowded,
    /// The policy evicts nothing.
    Refused,
    /// A blob was swept away.
    Condemned,
}

impl Failure {
    /// The error for the caller.
    pub(super) fn told(self) -> Error {
        match self {
            Self::Told(error)
            | Self::Undone(error)
            | Self::Lost(error)
            | Self::Demoted(error)
            | Self::Late(error) => error,
            Self::Asked(asked, detail) => {
                Error::new(ErrorKind::Unexpected, format!("the database asked for {asked:?} ({detail})"))
            }
        }
    }

    /// The same, where it is known whether something was changed, or is not.
    pub(super) fn with_outcome_unknown(self, unknown: bool) -> Self {
        match self {
            Self::Told(error) => Self::Told(error.with_outcome_unknown(unknown)),
            Self::Undone(error) => Self::Undone(error.with_outcome_unknown(unknown)),
            Self::Lost(error) => Self::Lost(error.with_outcome_unknown(unknown)),
            Self::Demoted(error) => Self::Demoted(error.with_outcome_unknown(unknown)),
            Self::Late(error) => Self::Late(error.with_outcome_unknown(unknown)),
            Self::Asked(..) => self,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else { return Self::Lost(unanswered(error)) };
        let code = answer.code();
        let asked = match code.code() {
            "CN001" => Some(Asked::TooLarge),
            "CN002" => Some(Asked::TooMuch),
            "CN003" => Some(Asked::Unprepared),
            "CN004" => Some(Asked::Crowded),
            "CN005" => Some(Asked::Refused),
            "CN007" => Some(Asked::Condemned),
            "CN008" => return Self::Late(late()),
            _ => None,
        };
        if let Some(asked) = asked {
            return Self::Asked(asked, answer.detail().unwrap_or_default().to_owned());
        }
        let undone = [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED];
        let undone = undone.contains(&code);
        if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
            return Self::Demoted(takes_no_writes().with_source(whole(&error)));
        }
        // The server may have carried out what it ends a connection in, but not what it says no to.
        let ended = [&SqlState::ADMIN_SHUTDOWN, &SqlState::CRASH_SHUTDOWN].contains(&code);
        let told = answered(error).with_outcome_unknown(ended);
        match (undone, ended) {
            (true, _) => Self::Undone(told),
            (_, true) => Self::Lost(told),
            _ => Self::Told(told),
        }
    }
}

/// The error where a server takes no writes.
pub(super) fn takes_no_writes() -> Error {
    let message = "the server takes no writes: it is a standby, or set to be read-only; name the primary";
    Error::new(ErrorKind::Unavailable, message).with_outcome_unknown(false)
}

/// An error of the connection, not of the server.
fn unanswered(error: tokio_postgres::Error) -> Error {
    let text = whole(&error);
    if text.contains("does not allow writes") {
        return takes_no_writes().with_source(text);
    }
    if text.contains("TLS") {
        // Unless the connection was cut in the middle, what is set has to be changed: trying again does not help.
        let message = "no encrypted connection to the server could be made; check the option `tls` and the certificates";
        return Error::new(ErrorKind::Unavailable, message).with_temporary(is_cut(&error)).with_source(text);
    }
    let (kind, message) = if text.contains("deserializing") || text.contains("serializing") {
        (ErrorKind::Corrupted, "the database holds something of another kind than was written")
    } else if text.contains("password missing") || text.contains("authentication") {
        (ErrorKind::PermissionDenied, "the server asks for a password; give `password`, or one in the `url`")
    } else {
        (
            ErrorKind::Unavailable,
            "the server cannot be reached, or has closed the connection; see whether it runs, and check `host` and \
             `port`, or the `url`",
        )
    };
    Error::new(kind, message).with_source(whole(&error))
}

/// True where the connection ended meanwhile.
fn is_cut(error: &tokio_postgres::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        let kind = one.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)) {
            return true;
        }
        cause = one.source();
    }
    false
}

/// What an error says, and what those say that caused it.
fn whole(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        text.push_str(&format!(": {one}"));
        cause = one.source();
    }
    text
}

/// What an error of the server means, and what to do about it.
fn answered(error: tokio_postgres::Error) -> Error {
    let code = error.code().cloned().unwrap_or(SqlState::INTERNAL_ERROR);
    if code.code() == "CN009" {
        let message = "in this schema are the tables of another cache than was opened, or of another format: somebody made \
                       them anew, or updated them; open the cache again";
        return Error::new(ErrorKind::NotFound, message);
    }
    let (kind, message) = match code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => (
            ErrorKind::PermissionDenied,
            "the server refuses the user or the password; check `user` and `password`, or the `url`, and pg_hba.conf",
        ),
        SqlState::INVALID_CATALOG_NAME => (
            ErrorKind::NotFound,
            "there is no such database; create it (`createdb NAME`), or name another by `database` or in the `url`",
        ),
        SqlState::INSUFFICIENT_PRIVILEGE => (
            ErrorKind::PermissionDenied,
            "the user may not do this; grant it what docs/backends/postgres.md lists under Permissions, or let a user who \
             may open the cache once",
        ),
        SqlState::UNDEFINED_TABLE
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::UNDEFINED_COLUMN
        | SqlState::INVALID_SCHEMA_NAME
        | SqlState::UNDEFINED_OBJECT => (
            ErrorKind::NotFound,
            "tables or functions of the cache are not there any more; open it anew, which creates what is missing",
        ),
        SqlState::DISK_FULL => (ErrorKind::StorageFull, "the server's disk is full; free some room there"),
        SqlState::TOO_MANY_CONNECTIONS => (
            ErrorKind::Unavailable,
            "the server takes no more connections; lower `connections`, raise its max_connections, or put pgbouncer \
             between",
        ),
        SqlState::OUT_OF_MEMORY => (ErrorKind::Unavailable, "the server is short of memory"),
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => {
            (ErrorKind::Timeout, "the server did not finish within `timeout`")
        }
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
            (ErrorKind::Unavailable, "the server is stopping or starting, or has ended the connection")
        }
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            (ErrorKind::Unavailable, "other processes changed the same again and again; try again")
        }
        SqlState::PROGRAM_LIMIT_EXCEEDED => {
            (ErrorKind::LimitExceeded, "the entry is larger than the server stores")
        }
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
            (ErrorKind::Corrupted, "the database is damaged; see the server's log")
        }
        _ => (ErrorKind::Unexpected, "the server refused a statement of this backend"),
    };
    Error::new(kind, message).with_source(whole(&error))
}
