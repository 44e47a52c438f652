//! Whether source files are still as they were. What was found is remembered for a while, so that content is
//! hashed again only when a file's time or size has changed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::engine::EntryState;
use crate::entry::Entry;
use crate::names::Timestamp;
use crate::validity::{FileSource, FileStat, hash_file};

/// The most files that are remembered. When there are more, all are forgotten and asked for again.
const REMEMBERED: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct FileChecks {
    /// A file is not looked at again within this time.
    interval: Duration,
    known: Mutex<HashMap<PathBuf, Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Timestamp,
    /// `None` where the file was missing.
    stat: Option<FileStat>,
    hash: Option<[u8; 32]>,
}

impl FileChecks {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, known: Mutex::default() }
    }

    /// Whether an entry may be served at `now`.
    pub(super) fn state(&self, entry: &Entry, now: Timestamp) -> EntryState {
        if entry.validity.is_expired(now) {
            return EntryState::Expired;
        }
        let failed = entry.validity.sources.iter().map(|source| self.check(source, now));
        failed.into_iter().find(|state| *state != EntryState::Valid).unwrap_or(EntryState::Valid)
    }

    fn check(&self, source: &FileSource, now: Timestamp) -> EntryState {
        let (seen, remembered) = self.look(&source.path, now, false);
        let state = self.compare(source, seen);
        if state == EntryState::Valid || !remembered {
            return state;
        }
        // The source may have been captured after what is remembered.
        let (seen, _) = self.look(&source.path, now, true);
        self.compare(source, seen)
    }

    fn compare(&self, source: &FileSource, seen: Seen) -> EntryState {
        let Some(stat) = seen.stat else { return EntryState::SourceMissing(source.path.clone()) };
        let captured = FileStat { modified: source.modified, size: source.size };
        let unchanged = match source.hash {
            _ if stat == captured => true,
            None => false,
            // A file of another size has other content.
            Some(_) if stat.size != source.size => false,
            Some(hash) => seen.hash.or_else(|| self.hash(&source.path, seen)) == Some(hash),
        };
        if unchanged { EntryState::Valid } else { EntryState::SourceChanged(source.path.clone()) }
    }

    /// The file as it is, or as it was within the interval; true where this is remembered.
    fn look(&self, path: &Path, now: Timestamp, again: bool) -> (Seen, bool) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        let recent = known.filter(|seen| now >= seen.at && now.since(seen.at) < self.interval);
        if let Some(seen) = recent.filter(|_| !again) {
            return (seen, true);
        }
        let stat = FileStat::read(path).ok();
        let hash = known.filter(|seen| seen.stat == stat).and_then(|seen| seen.hash);
        let seen = Seen { at: now, stat, hash };
        if !self.interval.is_zero() || hash.is_some() {
            self.remember(path, seen);
        }
        (seen, false)
    }

    fn hash(&self, path: &Path, seen: Seen) -> Option<[u8; 32]> {
        let hash = hash_file(path).ok();
        self.remember(path, Seen { hash, ..seen });
        hash
    }

    fn remember(&self, path: &Path, seen: Seen) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(path) {
            known.clear();
        }
        known.insert(path.to_owned(), seen);
    }
}
