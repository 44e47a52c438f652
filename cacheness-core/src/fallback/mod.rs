//! A second pair of stores that reads and writes go on with while the first does not answer.
//!
//! A key has one row in the second store at most: its entry, or the note that it was removed. While there is one it is
//! the newest that is known of the key, so it is looked for there before the first store is asked. A row goes when its
//! key is written to the first store, or when it is brought there.

mod blobs;
mod bring;
mod driver;
mod listing;
mod meet;
mod metadata;
mod open;
mod pair;
mod rows;
mod translate;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::config::{Chosen, ConfigOptions, ConfigOrigin};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::LimitsChange;
use crate::names::{BlobId, LeaseHolder, Namespace};

pub(crate) use listing::whole;
pub(crate) use open::open;

use driver::Signal;
use open::Opener;
use pair::Pair;

/// Where reads and writes go on while the backends of the cache cannot be reached; see
/// [`CacheBuilder::fallback`](crate::CacheBuilder::fallback).
///
/// What it holds belongs to this machine. Processes of one machine may share it, several caches may not.
#[derive(Clone, Debug, Default)]
pub struct Fallback {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) metadata: Chosen,
    pub(crate) blobs: Chosen,
}

impl Fallback {
    /// A fallback in this folder, which is made where it is missing: entries in SQLite and blobs in files, unless other
    /// backends are named. A relative path counts from the cache's folder, or from the working folder where there is
    /// none.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    /// The folder, seen from that of the cache.
    pub(crate) fn folder_in(&self, cache: Option<&Path>) -> Option<PathBuf> {
        let folder = self.folder.as_deref()?;
        Some(cache.map_or_else(|| folder.to_owned(), |cache| cache.join(folder)))
    }

    /// Names the metadata backend and gives its options.
    #[must_use]
    pub fn metadata_with(mut self, name: impl Into<String>, options: ConfigOptions) -> Self {
        self.metadata = Chosen { backend: Some((name.into(), ConfigOrigin::Program)), options };
        self
    }

    /// Names the blob backend and gives its options.
    #[must_use]
    pub fn blobs_with(mut self, name: impl Into<String>, options: ConfigOptions) -> Self {
        self.blobs = Chosen { backend: Some((name.into(), ConfigOrigin::Program)), options };
        self
    }
}

/// Both pairs of stores, and what is known of how they stand.
pub(super) struct Shared {
    /// Unknown as long as it has not answered since the cache was opened.
    first: OnceLock<Pair>,
    second: Pair,
    opener: Opener,
    env: Env,
    /// Blobs that this process has put into the second store, and whose entries it has not put yet.
    fresh: Mutex<HashSet<BlobId>>,
    /// Limits that were set while the first store did not answer, in that order.
    limits: Mutex<Vec<(Option<Namespace>, LimitsChange)>>,
    /// Held while a key that has a row is written in the first store.
    bringing: tokio::sync::Mutex<()>,
    /// Who this is, where processes take turns in bringing rows.
    holder: LeaseHolder,
    /// True from a call without an answer until the driver is answered.
    down: AtomicBool,
    closed: AtomicBool,
    signal: Signal,
}

impl Shared {
    /// What the first store answered; `None` where it did not, so that the second has to.
    fn answered<T>(&self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_temporary() => {
                self.note_down(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn note_down(&self, error: &Error) {
        if !self.down.swap(true, Ordering::Relaxed) {
            let error = error.without_key();
            tracing::warn!(%error, "the first store does not answer; the fallback takes its place");
            self.signal.wake();
        }
    }

    /// The first store, for what the second cannot do in its place.
    fn needed(&self) -> Result<&Pair> {
        self.first.get().ok_or_else(|| {
            let message = "the store has not answered since the cache was opened, and its fallback cannot do this in its \
                           place; try again when it can be reached";
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// The first store, unless it is known to be down: writes then wait for nothing. The driver finds out when it
    /// answers again.
    fn first_for_writes(&self) -> Option<&Pair> {
        self.first.get().filter(|_| !self.down.load(Ordering::Relaxed))
    }

    fn fresh(&self) -> MutexGuard<'_, HashSet<BlobId>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> MutexGuard<'_, Vec<(Option<Namespace>, LimitsChange)>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
