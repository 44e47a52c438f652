//! Who has an index open: each holds a shared lock on a file beside it, so that a rebuild can tell that nobody does. The locks of
//! SQLite cannot tell, because on a damaged file it takes none.

use std::fs::TryLockError;
use std::path::Path;

use cacheness_core::{Error, ErrorKind, OpenContext, OpenMode, Result};
use fs_err::{File, OpenOptions};

use crate::aside::beside;

/// The lock, for as long as it is held.
pub(crate) struct Users(#[expect(dead_code, reason = "closing it lets go of the lock")] File);

fn open(index: &Path, context: &OpenContext) -> Result<Option<File>> {
    let path = beside(index, ".users");
    let mut options = OpenOptions::from_options(context.permissions.file_options());
    match options.read(true).write(true).create(context.mode == OpenMode::Create).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(error, "the file that says who uses the index cannot be opened")),
    }
}

/// Takes note that this process uses the index. `None` where the file is missing and nothing may be created.
pub(crate) fn join(index: &Path, context: &OpenContext) -> Result<Option<Users>> {
    let Some(file) = open(index, context)? else { return Ok(None) };
    file.file().lock_shared().map_err(|error| Error::io(error, "the index cannot be marked as in use"))?;
    Ok(Some(Users(file)))
}

/// Makes sure that nobody uses the index, and that nobody begins to.
///
/// # Errors
/// `Conflict` where somebody does.
pub(crate) fn keep_out(index: &Path, context: &OpenContext) -> Result<Users> {
    let created = context.clone().with_mode(OpenMode::Create);
    let file = open(index, &created)?
        .ok_or_else(|| Error::new(ErrorKind::Unexpected, "a created file is missing"))?;
    match file.file().try_lock() {
        Ok(()) => Ok(Users(file)),
        Err(TryLockError::WouldBlock) => {
            let message = "the cache is open in this process or another one, and its index cannot be replaced under it; \
                           close it everywhere, then try again";
            Err(Error::new(ErrorKind::Conflict, message).with_context("path", index.to_string_lossy()))
        }
        Err(TryLockError::Error(error)) => Err(Error::io(error, "the users of the index cannot be told")),
    }
}
