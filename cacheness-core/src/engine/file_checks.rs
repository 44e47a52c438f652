//! Whether source files are still as they were. What was found is remembered for a while, so that content is
//! hashed again only when a file's time or size has changed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::engine::EntryState;
use crate::entry::Entry;
use crate::env::Env;
use crate::error::Error;
use crate::names::Timestamp;
use crate::validity::{FileSource, FileStat, hash_file};

/// The most files that are remembered. When there are more, all are forgotten and asked for again.
const REMEMBERED: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct FileChecks {
    /// A file is not looked at again within this time.
    interval: Duration,
    known: Mutex<HashMap<PathBuf, Seen>>,
    /// The files whose content is being hashed, as they were when that began: whoever wants to know waits for it.
    hashing: Mutex<HashMap<PathBuf, (FileStat, Hashing)>>,
}

/// A file's content being hashed, which gives nothing where it cannot be read.
type Hashing = Shared<BoxFuture<'static, Option<[u8; 32]>>>;

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Timestamp,
    /// `None` where the file was missing.
    stat: Option<FileStat>,
    hash: Option<[u8; 32]>,
}

impl FileChecks {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, known: Mutex::default(), hashing: Mutex::default() }
    }

    /// Whether an entry may be served at `now`.
    pub(super) async fn state(&self, env: &Env, entry: &Entry, now: Timestamp) -> EntryState {
        if entry.validity.is_expired(now) {
            return EntryState::Expired;
        }
        for source in &entry.validity.sources {
            let state = self.check(env, source, now).await;
            if state != EntryState::Valid {
                return state;
            }
        }
        EntryState::Valid
    }

    async fn check(&self, env: &Env, source: &FileSource, now: Timestamp) -> EntryState {
        let (seen, remembered) = self.look(&source.path, now, false);
        let state = self.compare(env, source, seen).await;
        if state == EntryState::Valid || !remembered {
            return state;
        }
        // The source may have been captured after what is remembered.
        let (seen, _) = self.look(&source.path, now, true);
        self.compare(env, source, seen).await
    }

    async fn compare(&self, env: &Env, source: &FileSource, seen: Seen) -> EntryState {
        let Some(stat) = seen.stat else { return EntryState::SourceMissing(source.path.clone()) };
        let captured = FileStat { modified: source.modified, size: source.size };
        let unchanged = match source.hash {
            _ if stat == captured => true,
            None => false,
            // A file of another size has other content.
            Some(_) if stat.size != source.size => false,
            Some(hash) => {
                let found = match seen.hash {
                    Some(found) => Some(found),
                    None => self.hash(env, &source.path, stat, seen).await,
                };
                found == Some(hash)
            }
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

    /// Hashes a file's content on a thread that may block, once for all who ask at the same time.
    async fn hash(&self, env: &Env, path: &Path, stat: FileStat, seen: Seen) -> Option<[u8; 32]> {
        let hashing = {
            let mut hashing = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
            match hashing.get(path) {
                Some((as_it_was, under_way)) if *as_it_was == stat => under_way.clone(),
                _ => {
                    let (env, of) = (env.clone(), Arc::<Path>::from(path));
                    let hash = move || {
                        hash_file(&of).map_err(|error| Error::io(error, "a source file cannot be hashed"))
                    };
                    let work = async move { env.unblock(hash).await.ok() };
                    let begun = work.boxed().shared();
                    hashing.insert(path.to_owned(), (stat, begun.clone()));
                    begun
                }
            }
        };
        let hash = hashing.clone().await;
        let mut under_way = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.get(path).is_some_and(|(_, other)| other.ptr_eq(&hashing)) {
            under_way.remove(path);
        }
        drop(under_way);
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::entry::{Format, Location};
    use crate::handler::{Access, FormatMeta, TypeClass};
    use crate::key::Key;
    use crate::names::Namespace;
    use crate::validity::FileCheck;

    /// An entry that is valid while the content of a file is what it was.
    fn entry(path: &Path, now: Timestamp) -> Entry {
        let format = Format {
            handler: "text".into(),
            class: TypeClass::Text,
            type_name: "str".into(),
            type_tag: None,
            type_version: None,
            meta: FormatMeta::default(),
            access: Access::Whole,
            stages: Vec::new(),
        };
        let key = Key::new("k").unwrap();
        let mut entry = Entry::new(Namespace::default(), key, format, Location::InlineOmitted, now);
        entry.validity.sources = vec![FileSource::capture_by(path, FileCheck::Content).unwrap()];
        entry
    }

    #[tokio::test]
    async fn content_is_hashed_away_from_the_worker_and_once_for_all_who_ask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("source");
        fs_err::write(&path, vec![7; 4 << 20]).unwrap();
        let (env, checks) = (Env::new(), FileChecks::new(Duration::ZERO));
        let entry = entry(&path, env.now());
        // The same content at another time, so that only its hash tells.
        let touched = fs_err::File::options().write(true).open(&path).unwrap();
        touched.file().set_modified((env.now() + Duration::from_secs(100)).into()).unwrap();

        let mut asked: Vec<_> = (0..8).map(|_| Box::pin(checks.state(&env, &entry, env.now()))).collect();
        for ask in &mut asked {
            let polled = ask.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "it was hashed on this thread");
        }
        assert_eq!(checks.hashing.lock().unwrap().len(), 1);
        // One that is never polled again holds nobody up.
        let left = asked.pop();
        for ask in asked {
            assert_eq!(ask.await, EntryState::Valid);
        }
        drop(left);
        assert!(checks.hashing.lock().unwrap().is_empty());
        // What was found is remembered.
        let again = pin!(checks.state(&env, &entry, env.now()));
        assert_eq!(again.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(EntryState::Valid));

        fs_err::write(&path, vec![8; 4 << 20]).unwrap();
        touched.file().set_modified((env.now() + Duration::from_secs(200)).into()).unwrap();
        assert_eq!(checks.state(&env, &entry, env.now()).await, EntryState::SourceChanged(path));
    }
}
