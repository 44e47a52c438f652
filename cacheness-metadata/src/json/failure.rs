//! How what can go wrong is told to callers: which file, and what to do about it.

use std::path::Path;

use cacheness_core::{Error, ErrorKind};
use serde::Deserialize;

/// The number of the format of both files. A newer one is refused.
pub(super) const FORMAT: u64 = 1;

/// A file that this backend has written and that is no longer whole.
pub(super) fn damaged(path: &Path, what: &str) -> Error {
    let message = format!(
        "the index is damaged: {what}; close every process that uses the cache, then rebuild it by \
         `Cache::builder().folder(..).rebuild_blocking(RebuildOptions::new())`; or move the file away together with its \
         `.journal`, and the cache begins anew"
    );
    Error::new(ErrorKind::Corrupted, message).with_context("path", path.to_string_lossy())
}

/// Files that are no longer those that were opened.
pub(super) fn replaced(path: &Path) -> Error {
    let message = "the files of the index were removed or replaced by others while they were open, so nothing can be \
                   written any more; open the cache anew";
    Error::new(ErrorKind::Conflict, message).with_context("path", path.to_string_lossy())
}

/// A file in a newer format.
fn newer(path: &Path, format: u64) -> Error {
    let message = format!(
        "the index is in format {format}, and this version knows formats up to {FORMAT}; use a newer version"
    );
    Error::new(ErrorKind::Unsupported, message).with_context("path", path.to_string_lossy())
}

/// A file of something else.
fn foreign(path: &Path) -> Error {
    let message =
        "the file holds JSON of something else than this cache's index; give the index another `path`";
    Error::new(ErrorKind::ConfigInvalid, message).with_context("path", path.to_string_lossy())
}

/// What the fields are by which this program knows its files.
#[derive(Deserialize)]
struct Mark {
    #[serde(alias = "cacheness_journal")]
    cacheness_index: Option<u64>,
}

/// The error for a JSON document that could not be read: a newer format and another program's file are told apart
/// from damage.
pub(super) fn unreadable(path: &Path, json: &[u8], error: serde_json::Error) -> Error {
    // A list would be taken for the fields in their order.
    let is_object = json.trim_ascii_start().starts_with(b"{");
    match serde_json::from_slice::<Mark>(json) {
        Ok(Mark { cacheness_index: Some(format) }) if is_object && format > FORMAT => newer(path, format),
        Ok(Mark { cacheness_index: Some(_) }) if is_object => {
            damaged(path, "a field is missing or none of this format").with_source(error)
        }
        Ok(_) => foreign(path),
        // Whole JSON that names no format by a number.
        Err(mark) if mark.is_data() => foreign(path),
        Err(_) if json.is_empty() => damaged(path, "the file is empty"),
        Err(mark) if mark.is_eof() => damaged(path, "the file was cut short").with_source(error),
        Err(_) => damaged(path, "this is not JSON").with_source(error),
    }
}

/// Checks the number of a format that was read.
pub(super) fn check_format(path: &Path, format: u64) -> Result<(), Error> {
    match format {
        FORMAT => Ok(()),
        0 => Err(damaged(path, "there is no format 0")),
        _ => Err(newer(path, format)),
    }
}
