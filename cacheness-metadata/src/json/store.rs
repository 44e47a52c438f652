//! The store: all rows in memory, kept up with the files. Whoever writes, and whoever finds that others have written,
//! takes the lock and reads on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use cacheness_core::{CacheId, Durability, Env, Error, ErrorKind, OpenContext, OpenMode, Result, Timestamp};
use fs_err::File;

use super::config::Settings;
use super::failure::{damaged, replaced};
use super::files::{self, Files};
use super::journal::{self, Changes};
use super::lock::{Held, Lock, closed};
use super::snapshot::{Identity, Rows};
use crate::aside::check_whole;
use crate::kv::WriteBatch;
use crate::users::{self, Users};

/// The length of a journal, in bytes, from which on it is written into a snapshot if it also is longer than that.
const LONG_JOURNAL: u64 = 64 << 10;

/// Writes that are not synced when they are made are when the next call comes after this time: a minute after a write
/// the blobs that it superseded may be deleted, so by then it must survive a loss of power.
const SYNC_AFTER: Duration = Duration::from_secs(30);

/// The rows of an index.
pub(super) struct Store {
    files: Files,
    lock: Lock,
    env: Env,
    /// Each commit waits for the disk.
    syncs: bool,
    /// What is known; `None` when closed. Only the holder of the lock changes it.
    view: RwLock<Option<View>>,
    /// Says that this process has the index open.
    users: Mutex<Option<Users>>,
}

/// What is known of the files.
pub(super) struct View {
    pub(super) rows: Rows,
    identity: Identity,
    snapshot_len: u64,
    journal: Arc<File>,
    /// How many bytes of the journal are in `rows`, and how many records.
    len: u64,
    records: u64,
    /// How many bytes of the journal are on the disk; those after them were written later than `unsynced_since`.
    synced: u64,
    unsynced_since: Timestamp,
}

impl View {
    /// True where nobody has written since the journal was last read. A journal that is followed by another one has
    /// a last line that says so, and nothing is ever written into the place of what was read; so its length tells
    /// everything.
    pub(super) fn is_current(&self) -> Result<bool> {
        match self.journal.metadata() {
            Ok(found) => Ok(found.len() == self.len && files::has_name(&found)),
            Err(error) => Err(Error::io(error, "the journal of the index cannot be looked at")),
        }
    }

    fn apply(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
    }
}

impl Store {
    /// Opens the index in a file, and makes it where that may be done.
    pub(super) fn open(path: PathBuf, settings: &Settings, context: &OpenContext) -> Result<Self> {
        let syncs = match context.durability {
            Durability::Process => false,
            Durability::Power => true,
            durability => {
                let message = format!("`json` cannot promise the durability {durability:?}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        // Whoever comes by another name of the same file must find the same lock beside it, and a process that goes
        // to another folder must still find its own.
        let path = fs_err::canonicalize(&path).or_else(|_| std::path::absolute(&path)).unwrap_or(path);
        check_whole(&path)?;
        if context.mode == OpenMode::Existing && !path.exists() {
            return Err(nothing_here(&path));
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            context.prepare_folder(folder)?;
        }
        let users = users::join(&path, context)?;
        // Whoever rebuilt it while this waited may have died.
        check_whole(&path)?;
        let files = Files::new(path, context.permissions);
        let lock = Lock::open(&files, settings.busy_timeout)?;
        let store = Self {
            files,
            lock,
            env: context.env.clone(),
            syncs,
            view: RwLock::new(None),
            users: Mutex::new(users),
        };
        {
            let held = store.lock.hold()?;
            if context.mode == OpenMode::Create {
                store.create_missing()?;
            }
            store.load(&held)?;
            // Not before it is known that the files are an index.
            store.files.remove_leftovers()?;
        }
        Ok(store)
    }

    fn read_view(&self) -> RwLockReadGuard<'_, Option<View>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_view(&self) -> RwLockWriteGuard<'_, Option<View>> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the rows, if this process has seen everything that was written; `None` where it has to catch up first.
    pub(super) fn read_current<T>(&self, read: impl FnOnce(&Rows) -> T) -> Result<Option<T>> {
        let view = self.read_view();
        let view = view.as_ref().ok_or_else(closed)?;
        let result = if view.is_current()? { Some(read(&view.rows)) } else { None };
        Ok(result)
    }

    /// Reads the rows, in whatever state this process has seen last.
    pub(super) fn read_known<T>(&self, read: impl FnOnce(&Rows) -> T) -> Result<T> {
        let view = self.read_view();
        Ok(read(&view.as_ref().ok_or_else(closed)?.rows))
    }

    /// True where rows were written so long ago that they have to be on the disk, and are not known to be.
    pub(super) fn owes_sync(&self) -> Result<bool> {
        let view = self.read_view();
        let view = view.as_ref().ok_or_else(closed)?;
        let now = self.env.now();
        // A clock that was turned back says nothing about how long ago it was.
        let long_ago = now < view.unsynced_since || now.since(view.unsynced_since) >= SYNC_AFTER;
        Ok(view.synced < view.len && long_ago)
    }

    /// Reads what others have written, and syncs what has to be on the disk. May block.
    pub(super) fn catch_up(&self) -> Result<()> {
        let held = self.lock.hold()?;
        self.read_on(&held)?;
        if self.owes_sync()? { self.sync(&held) } else { Ok(()) }
    }

    /// Makes the changes if all conditions hold. May block.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<bool> {
        let held = self.lock.hold()?;
        self.read_on(&held)?;
        let sync = self.syncs || self.owes_sync()?;
        let (journal, len, record) = {
            let view = self.read_view();
            let view = view.as_ref().ok_or_else(closed)?;
            if batch.conditions.iter().any(|(key, value)| view.rows.get(key) != value.as_ref()) {
                return Ok(false);
            }
            if batch.changes.is_empty() {
                return Ok(true);
            }
            let record = journal::record(view.identity.generation, view.records + 1, &batch.changes);
            (view.journal.clone(), view.len, record)
        };
        files::append(&journal, len, &record, sync)?;
        let is_long = {
            let mut view = self.write_view();
            let view = view.as_mut().ok_or_else(closed)?;
            view.apply(batch.changes);
            if sync || view.synced == view.len {
                view.unsynced_since = self.env.now();
            }
            view.len += record.len() as u64;
            view.records += 1;
            if sync {
                view.synced = view.len;
            }
            view.len > LONG_JOURNAL.max(view.snapshot_len)
        };
        if is_long && let Err(error) = self.compact(&held) {
            // The write itself is made, and the next one tries again.
            tracing::warn!(%error, "the journal could not be written into the index");
        }
        Ok(true)
    }

    /// Lets go of the files.
    pub(super) fn close(&self) {
        self.lock.close();
        self.write_view().take();
        self.users.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn sync(&self, _: &Held<'_>) -> Result<()> {
        let journal = self.read_view().as_ref().ok_or_else(closed)?.journal.clone();
        // Readers go on meanwhile.
        files::sync(&journal)?;
        let mut view = self.write_view();
        let view = view.as_mut().ok_or_else(closed)?;
        (view.synced, view.unsynced_since) = (view.len, self.env.now());
        Ok(())
    }

    /// Makes the first snapshot, where there is no index.
    fn create_missing(&self) -> Result<()> {
        let exists = |path: &std::path::Path| {
            path.try_exists().map_err(|error| {
                Error::io(error, "the index cannot be looked at").with_context("path", path.to_string_lossy())
            })
        };
        if exists(&self.files.index)? {
            return Ok(());
        }
        if exists(&self.files.journal)? {
            return Err(damaged(
                &self.files.index,
                "there is a journal, but the file that it continues is gone",
            ));
        }
        let identity = Identity { id: CacheId::random().to_string(), generation: 1 };
        self.files.prepare_snapshot(&identity, &Rows::new())?;
        self.files.publish_snapshot()
    }

    /// Reads what was written, and makes sure that what is read and written next is what has the name.
    fn read_on(&self, held: &Held<'_>) -> Result<()> {
        self.read_appended(held)?;
        let journal = self.read_view().as_ref().ok_or_else(closed)?.journal.clone();
        if files::is_in_place(&journal)? { Ok(()) } else { Err(replaced(&self.files.index)) }
    }

    /// Reads what was appended to the journal, and goes on to the next one where it has ended.
    fn read_appended(&self, held: &Held<'_>) -> Result<()> {
        let (journal, generation, len, records) = {
            let view = self.read_view();
            let view = view.as_ref().ok_or_else(closed)?;
            if view.is_current()? {
                return Ok(());
            }
            (view.journal.clone(), view.identity.generation, view.len, view.records)
        };
        let more = files::read_from(&journal, len)?;
        if more.is_empty() {
            if !files::is_in_place(&journal)? {
                return Err(replaced(&self.files.index));
            }
            return Err(damaged(&self.files.index, "the journal was cut short while it was open"));
        }
        let read = journal::parse(&self.files.journal, generation, records, &more)?;
        if read.ended {
            return self.load(held);
        }
        let read_to = len + read.len as u64;
        if read.len < more.len() {
            cut_off(&journal, read_to)?;
        }
        let mut view = self.write_view();
        let view = view.as_mut().ok_or_else(closed)?;
        view.records += read.writes.len() as u64;
        view.len = read_to;
        read.writes.into_iter().for_each(|changes| view.apply(changes));
        Ok(())
    }

    /// Reads the snapshot and its journal from the start.
    fn load(&self, _: &Held<'_>) -> Result<()> {
        let path = &self.files.journal;
        let (snapshot, snapshot_len) =
            self.files.read_snapshot()?.ok_or_else(|| nothing_here(&self.files.index))?;
        if let Some(known) = self.read_view().as_ref()
            && known.identity.id != snapshot.identity.id
        {
            return Err(replaced(&self.files.index));
        }
        let identity = snapshot.identity;
        let mut found = None;
        let file = self.files.open_journal()?;
        if file.is_none() && identity.generation > 1 {
            // From the second on a journal takes the name of the one before, so no crash leaves none.
            return Err(damaged(&self.files.index, "its journal is gone, and with it the last writes"));
        }
        if let Some(file) = file {
            let bytes = files::read_from(&file, 0)?;
            let (of, header) = journal::parse_first_line(path, &bytes)?;
            if of.id != identity.id || of.generation > identity.generation {
                let what = "the journal does not belong to this file; was an older one put back?";
                return Err(damaged(&self.files.index, what));
            }
            // One of an earlier generation is in the snapshot as a whole.
            if of.generation == identity.generation {
                let read = journal::parse(path, identity.generation, 0, &bytes[header..])?;
                let len = (header + read.len) as u64;
                // A line that ends it goes, too: whoever wrote it died before the next snapshot had its name.
                if len < bytes.len() as u64 {
                    cut_off(&file, len)?;
                }
                found = Some((file, len, read));
            }
        }
        let (journal, len, read) = match found {
            Some(found) => found,
            None => {
                let (file, len) = self.files.begin_journal(&identity)?;
                (file, len, journal::Records::default())
            }
        };
        // Those that other processes wrote may not be on the disk yet.
        files::sync(&journal)?;
        let mut view = View {
            rows: snapshot.rows,
            identity,
            snapshot_len,
            journal: Arc::new(journal),
            len,
            records: read.writes.len() as u64,
            synced: len,
            unsynced_since: self.env.now(),
        };
        read.writes.into_iter().for_each(|changes| view.apply(changes));
        *self.write_view() = Some(view);
        Ok(())
    }

    /// Writes all rows into a snapshot, which then begins a new journal.
    ///
    /// The journal is ended before the snapshot takes its place: a process that still has this journal open sees that
    /// it must read anew, wherever this one dies.
    fn compact(&self, _: &Held<'_>) -> Result<()> {
        let (next, snapshot_len, journal, len, records) = {
            let view = self.read_view();
            let view = view.as_ref().ok_or_else(closed)?;
            if !self.files.snapshot_is(&view.identity)? {
                return Err(replaced(&self.files.index));
            }
            let Some(generation) = view.identity.generation.checked_add(1) else {
                return Err(damaged(&self.files.index, "there is no generation after the last one"));
            };
            let next = Identity { generation, ..view.identity.clone() };
            let snapshot_len = self.files.prepare_snapshot(&next, &view.rows)?;
            (next, snapshot_len, view.journal.clone(), view.len, view.records)
        };
        files::append(&journal, len, journal::last_line(records).as_bytes(), false)?;
        if let Err(error) = self.files.publish_snapshot() {
            // Without the snapshot that it announces, the line must not stand.
            let _ = journal.set_len(len);
            return Err(error);
        }
        let (file, len) = self.files.begin_journal(&next)?;
        let mut view = self.write_view();
        let view = view.as_mut().ok_or_else(closed)?;
        view.identity = next;
        view.snapshot_len = snapshot_len;
        view.journal = Arc::new(file);
        (view.len, view.records) = (len, 0);
        (view.synced, view.unsynced_since) = (len, self.env.now());
        Ok(())
    }
}

/// Cuts off the rest of a write that was not finished, so that the next one begins on a line of its own.
fn cut_off(journal: &File, len: u64) -> Result<()> {
    tracing::warn!(path = %journal.path().display(), "the end of a write that was interrupted is dropped");
    journal
        .set_len(len)
        .map_err(|error| Error::io(error, "the end of an interrupted write cannot be cut off the journal"))
}

fn nothing_here(path: &std::path::Path) -> Error {
    let message = "there is no index here, and nothing may be created";
    Error::new(ErrorKind::NotFound, message).with_context("path", path.to_string_lossy())
}
