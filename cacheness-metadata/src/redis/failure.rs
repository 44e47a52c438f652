//! What can go wrong at the server or on the way, and how it is told to callers.

use cacheness_core::{Error, ErrorKind};
use redis::RedisError;

/// The backend's name, in messages.
pub(super) const NAME: &str = "redis";

/// The error for an answer of the server, or for none.
pub(super) fn told(error: RedisError) -> Error {
    let detail = error.detail().unwrap_or_default().to_owned();
    let (kind, message) = match error.code() {
        Some(code) => {
            let (kind, message) = by_code(code, &detail);
            // The server has looked whether it can do it before it did anything.
            let is_known = kind != ErrorKind::Unexpected;
            let told = Error::new(kind, message).with_source(error);
            return if is_known { told.with_outcome_unknown(false) } else { told };
        }
        None if error.kind() == redis::ErrorKind::AuthenticationFailed => {
            // The server's own words may quote what it was sent.
            return Error::new(ErrorKind::PermissionDenied, WRONG_PASSWORD);
        }
        None if error.is_io_error() || error.is_connection_dropped() => (
            ErrorKind::Unavailable,
            "the connection to the server was lost, or could not be made; see whether it runs and can be reached at \
             this address"
                .to_owned(),
        ),
        None => (ErrorKind::Unexpected, "the server answered in a way that is not understood".to_owned()),
    };
    Error::new(kind, message).with_source(error)
}

/// True where a server says that it is not, or no longer, the one to ask in this way: a replica, one that is starting, or
/// one with other passwords. Another connection may lead to another one, or log in anew.
pub(super) fn is_unusable(error: &RedisError) -> bool {
    let Some(code) = error.code() else { return false };
    let detail = error.detail().unwrap_or_default();
    let codes = ["READONLY", "MASTERDOWN", "UNBLOCKED", "LOADING", "NOAUTH", "WRONGPASS"];
    codes.iter().any(|unusable| says(code, detail, unusable))
}

/// Servers before version 7 put what went wrong in a script into the text of a general error.
fn says(code: &str, detail: &str, what: &str) -> bool {
    code == what || detail.contains(what)
}

const WRONG_PASSWORD: &str =
    "the server refused the user or the password; check `user` and `password`, or those in `url`";

fn by_code(code: &str, detail: &str) -> (ErrorKind, String) {
    let says = |what: &str| says(code, detail, what);
    let (kind, message) = if says("OOM") {
        (
            ErrorKind::StorageFull,
            "the server has used the memory that it may; raise `maxmemory`, or set limits on the cache",
        )
    } else if says("WRONGPASS") {
        (ErrorKind::PermissionDenied, WRONG_PASSWORD)
    } else if says("NOAUTH") {
        (
            ErrorKind::PermissionDenied,
            "the server wants a password; give `password`, and `user` where it has users",
        )
    } else if says("NOPERM")
        || detail.contains("can't run this command")
        || detail.contains("can't access at least")
    {
        (
            ErrorKind::PermissionDenied,
            "the server's user lacks a permission; docs/backends/redis.md has the ACL that is needed, and \
             `ACL LOG` on the server says which part is missing",
        )
    } else if says("LOADING") {
        (ErrorKind::Unavailable, "the server is still loading its data; try again")
    } else if says("READONLY") || says("MASTERDOWN") || says("UNBLOCKED") {
        (ErrorKind::Unavailable, "the server is a replica now; connect to the one that takes writes")
    } else if says("TRYAGAIN") || says("CLUSTERDOWN") {
        (ErrorKind::Unavailable, "the cluster is being changed or is not whole; try again")
    } else if says("MISCONF") {
        (
            ErrorKind::Unavailable,
            "the server cannot save its data and refuses writes; see its log, and its disk",
        )
    } else if says("NOREPLICAS") || says("BUSY") {
        (ErrorKind::Unavailable, "the server refuses work for the time being; try again")
    } else if code == "MOVED" || code == "ASK" {
        let node = detail.rsplit(' ').next().unwrap_or_default();
        return (
            ErrorKind::ConfigInvalid,
            format!(
                "the server is part of a cluster in which another node, {node}, has this prefix; connect to that one"
            ),
        );
    } else if says("WRONGTYPE") {
        (
            ErrorKind::Corrupted,
            "what lies under the cache's keys is damaged, or belongs to another program; give the cache another `prefix`",
        )
    } else if detail.contains("DB index") || code == "CROSSSLOT" {
        (ErrorKind::ConfigInvalid, "the server does not have this `database`; a cluster has only 0")
    } else if detail.contains("max number of clients") {
        (ErrorKind::Unavailable, "the server has as many clients as it takes; raise `maxclients`")
    } else {
        (ErrorKind::Unexpected, "the server refused a command of this backend")
    };
    (kind, message.to_owned())
}

/// What the server holds is not what was written.
pub(super) fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!(
            "the entries on the server are damaged: {what}; clear the namespace, or delete the keys of the `prefix`"
        ),
    )
}

/// The answer to what would write into a cache that is no longer there.
pub(super) fn gone() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "the server no longer holds this cache: it was flushed, or restarted without what it had saved; open the cache \
         again to begin a new one",
    )
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the metadata backend `redis` has been closed")
}

pub(super) fn unexpected() -> Error {
    Error::new(
        ErrorKind::Unexpected,
        "the server's answer to a script has another form than this version's scripts give",
    )
}
