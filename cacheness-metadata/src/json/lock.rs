//! The lock under which an index is written and read anew. Its file is never replaced, so that all wait for the same
//! one.

use std::fs::TryLockError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cacheness_core::{Error, ErrorKind, Result};
use fs_err::{File, OpenOptions};

use super::failure::replaced;
use super::files::{self, Files};

const FIRST_WAIT: Duration = Duration::from_micros(20);
const LONGEST_WAIT: Duration = Duration::from_millis(2);

/// The lock file. Threads of this process take turns by the mutex, processes by the file.
pub(super) struct Lock {
    file: Mutex<Option<File>>,
    timeout: Duration,
}

/// The lock while it is held.
pub(super) struct Held<'a>(MutexGuard<'a, Option<File>>);

impl Lock {
    /// Opens the lock file, and makes it where it is missing.
    pub(super) fn open(files: &Files, timeout: Duration) -> Result<Self> {
        let file = OpenOptions::from_options(files.permissions.file_options())
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&files.lock)
            .map_err(|error| Error::io(error, "the lock file beside the index cannot be opened"))?;
        Ok(Self { file: Mutex::new(Some(file)), timeout })
    }

    /// Takes the lock. Other threads and other processes are waited for until the timeout has passed, counted from
    /// the call; the operating system has no such wait, so the file is asked again and again.
    pub(super) fn hold(&self) -> Result<Held<'_>> {
        let begun = Instant::now();
        // A panic while it was held leaves nothing half done that the next holder would not see in the files.
        let guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = guard.as_ref().ok_or_else(closed)?;
        let mut wait = FIRST_WAIT;
        loop {
            match file.file().try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io(error, "the lock file beside the index cannot be locked")
                        .with_context("path", file.path().to_string_lossy()));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let left = self.timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let message = "another process kept the index locked; try again, or find out which one does";
                // Nothing is written without the lock.
                return Err(Error::new(ErrorKind::Timeout, message)
                    .with_outcome_unknown(false)
                    .with_context("path", file.path().to_string_lossy()));
            }
            std::thread::sleep(wait.min(left));
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        let in_place = files::is_in_place(file);
        let path = file.path().to_owned();
        let held = Held(guard);
        // Whoever opens the index now takes the lock of another file, so this one keeps nobody out.
        if in_place? { Ok(held) } else { Err(replaced(&path)) }
    }

    /// Lets go of the file, after the thread that holds it.
    pub(super) fn close(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0.as_ref() {
            // It fails only for a lock that is not held, and the end of the process lets go of it anyway.
            let _ = file.file().unlock();
        }
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the entries have been closed")
}
