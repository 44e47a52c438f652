//! The folder of copies: how they are found, kept and made room for, by several processes at once.
//!
//! ```text
//! <folder>/size                      the bytes of all copies, and the lock under which copies come and go
//! <folder>/staging/                  copies on their way
//! <folder>/<cache id>/<xx>/<blob id> a copy; xx are the last two hexadecimal digits of its id
//! ```
//!
//! The size is written before a copy comes to its place, so that a crash leaves it too high and never too low. It is
//! counted anew whenever room must be made.

use std::fs::TryLockError;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;

use super::LocalTier;
use crate::error::{Error, ErrorKind, Result};
use crate::names::{BlobId, BlobKey, CacheId, Timestamp};
use crate::permissions::{Permissions, refuse_link};

/// How long a process that holds the lock is waited for. A copy is not worth more.
const LOCK_WAIT: Duration = Duration::from_millis(250);

/// How old the time of a copy's last use may grow before it is renewed.
const USE_INTERVAL: Duration = Duration::from_secs(60);

/// A file in `staging` this old was left by a process that has crashed.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// The size in the file: decimal digits, so that it is overwritten in place and needs no room on a full disk.
const DIGITS: usize = 20;

/// The opened folder.
#[derive(Debug)]
pub(crate) struct Copies {
    root: PathBuf,
    staging: PathBuf,
    permissions: Permissions,
    /// The permissions of copies, where they are not for this user alone, as temporary files are: those of the file `size`.
    file_mode: Option<std::fs::Permissions>,
    max_bytes: u64,
    size: Mutex<fs::File>,
}

/// The lock, held: nobody else adds copies or makes room.
struct Held<'a>(MutexGuard<'a, fs::File>);

/// A copy, as making room sees it.
struct Found {
    used: Timestamp,
    len: u64,
    key: BlobKey,
}

/// What a mode says of reading and writing, and nothing else.
#[cfg(unix)]
fn plain_mode(mode: &std::fs::Permissions) -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(mode.mode() & 0o666)
}

#[cfg(not(unix))]
fn plain_mode(mode: &std::fs::Permissions) -> std::fs::Permissions {
    mode.clone()
}

impl Copies {
    /// Opens the folder and sweeps out what crashed processes left in it.
    pub(crate) fn open(
        root: PathBuf,
        tier: &LocalTier,
        permissions: Permissions,
        now: Timestamp,
    ) -> Result<Self> {
        let staging = root.join("staging");
        let cannot = |error| Error::io(error, "the folder of `local_tier` cannot be used");
        permissions.create_folder(&staging)?;
        let size = fs::OpenOptions::from_options(permissions.file_options())
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(root.join("size"))
            .map_err(cannot)?;
        let max_bytes = tier.max_bytes.unwrap_or(LocalTier::DEFAULT_MAX_BYTES);
        let file_mode = match permissions {
            Permissions::Private => None,
            Permissions::Umask => Some(plain_mode(&size.metadata().map_err(cannot)?.permissions())),
        };
        let copies = Self { root, staging, permissions, file_mode, max_bytes, size: Mutex::new(size) };
        copies.sweep(now);
        // A limit that was lowered holds from now on. Where another process has the lock, its next copy tells.
        if let Ok(mut held) = copies.lock() {
            copies.make_room(&mut held, 0)?;
        }
        Ok(copies)
    }

    fn sweep(&self, now: Timestamp) {
        if fs::symlink_metadata(&self.staging).is_ok_and(|staging| staging.is_symlink()) {
            return;
        }
        let Ok(left) = fs::read_dir(&self.staging) else { return };
        // Others may have put files there that are none of ours.
        let ours = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with(".tmp"));
        for entry in left.flatten().filter(|entry| ours(&entry.file_name())) {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|at| now.since(at.into()) >= ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path_of(&self, key: &BlobKey) -> PathBuf {
        let blob = key.blob.to_string();
        let shard = blob.get(blob.len() - 2..).unwrap_or_default();
        self.root.join(key.cache.to_string()).join(shard).join(&blob)
    }

    /// The copy of a blob, open, and its length. What goes wrong means that there is none.
    pub(crate) fn get(&self, key: &BlobKey, now: Timestamp) -> Option<(std::fs::File, u64)> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use fs_err::os::unix::fs::OpenOptionsExt;
            use rustix::fs::OFlags;
            // A link could lead to any file, and a pipe would hold the call up.
            options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        }
        let path = self.path_of(key);
        self.check_way(&path).ok()?;
        let file = options.open(path).ok()?;
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file())?;
        let file = file.into_file();
        if metadata.modified().is_ok_and(|at| now.since(at.into()) >= USE_INTERVAL) {
            // One that seems unused goes sooner than it should, and no more than that.
            let _ = file.set_modified(now.into());
        }
        Some((file, metadata.len()))
    }

    /// Deletes a copy that is not what its blob is. True where there was one.
    pub(crate) fn discard(&self, key: &BlobKey) -> bool {
        let path = self.path_of(key);
        self.check_way(&path).is_ok() && fs::remove_file(path).is_ok()
    }

    /// An error where a folder on the way to a copy is a link: what lies behind it is not the tier's to read, write or delete.
    fn check_way(&self, copy: &Path) -> Result<()> {
        let folders = copy.ancestors().skip(1).take_while(|folder| *folder != self.root);
        folders.into_iter().try_for_each(refuse_link)
    }

    /// True where a blob of this length can be kept at all.
    pub(crate) fn fits(&self, len: u64) -> bool {
        len <= self.max_bytes
    }

    /// Writes a copy aside, of which nobody knows yet.
    pub(crate) fn stage(&self, from: &mut impl Read) -> Result<tempfile::NamedTempFile> {
        let cannot = |error| Error::io(error, "a copy for `local_tier` cannot be written");
        refuse_link(&self.staging)?;
        let mut file = match tempfile::NamedTempFile::new_in(&self.staging) {
            // Somebody has deleted the empty folder.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.permissions.create_folder(&self.staging)?;
                tempfile::NamedTempFile::new_in(&self.staging)
            }
            file => file,
        }
        .map_err(cannot)?;
        std::io::copy(from, &mut file).map_err(cannot)?;
        if let Some(mode) = &self.file_mode {
            file.as_file().set_permissions(mode.clone()).map_err(cannot)?;
        }
        Ok(file)
    }

    /// Puts a copy in its place, and makes room for it before.
    pub(crate) fn keep(&self, key: &BlobKey, staged: tempfile::NamedTempFile, now: Timestamp) -> Result<()> {
        let cannot = |error| Error::io(error, "a copy for `local_tier` cannot be kept");
        let len = staged.as_file().metadata().map_err(cannot)?.len();
        staged.as_file().set_modified(now.into()).map_err(cannot)?;
        let to = self.path_of(key);
        self.check_way(&to)?;
        if let Some(folder) = to.parent() {
            self.permissions.create_folder(folder)?;
        }
        let mut held = self.lock()?;
        if to.exists() {
            return Ok(());
        }
        let before = self.make_room(&mut held, len)?;
        held.write(before.saturating_add(len))?;
        if let Err(failed) = staged.persist_noclobber(&to) {
            held.write(before)?;
            return Err(cannot(failed.error));
        }
        Ok(())
    }

    /// Deletes what was not used for the longest time until `len` more bytes are within the limit, and returns how many
    /// there are then.
    fn make_room(&self, held: &mut Held<'_>, len: u64) -> Result<u64> {
        if let Some(size) = held.read()
            && size.saturating_add(len) <= self.max_bytes
        {
            return Ok(size);
        }
        let mut found = self.list();
        found.sort_unstable_by_key(|copy| copy.used);
        let mut size = found.iter().fold(0_u64, |sum, copy| sum.saturating_add(copy.len));
        if size.saturating_add(len) > self.max_bytes {
            // A tenth more than needed, so that not every copy makes room for one.
            let most = self.max_bytes.saturating_sub(len).min(self.max_bytes / 10 * 9);
            for copy in found {
                if size <= most {
                    break;
                }
                if self.discard(&copy.key) {
                    size -= copy.len;
                }
            }
        }
        held.write(size)?;
        if size.saturating_add(len) > self.max_bytes {
            let message =
                format!("there is no room for {len} bytes among the copies, {size} bytes cannot be deleted");
            return Err(
                Error::new(ErrorKind::StorageFull, message).with_context("path", self.root.to_string_lossy())
            );
        }
        Ok(size)
    }

    /// All copies. What is not one, or goes away meanwhile, is left out.
    fn list(&self) -> Vec<Found> {
        let mut found = Vec::new();
        for (cache, folder) in named(&self.root, CacheId::parse) {
            for (_, shard) in named(&folder, |name| (name.len() == 2).then_some(())) {
                for (blob, path) in named(&shard, BlobId::parse) {
                    let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                    let used = metadata.modified().map_or(Timestamp::MIN, Timestamp::from);
                    if metadata.is_file() {
                        found.push(Found { used, len: metadata.len(), key: BlobKey { cache, blob } });
                    }
                }
            }
        }
        found
    }

    fn lock(&self) -> Result<Held<'_>> {
        let begun = Instant::now();
        // A panic while it was held leaves nothing that counting anew does not mend.
        let guard = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match guard.file().try_lock() {
                Ok(()) => return Ok(Held(guard)),
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io(error, "the copies of `local_tier` cannot be locked"));
                }
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    let message = "another process keeps the copies of `local_tier` locked";
                    return Err(Error::new(ErrorKind::Timeout, message));
                }
            }
        }
    }
}

impl Held<'_> {
    /// The size that is written, unless it is damaged.
    fn read(&mut self) -> Option<u64> {
        let mut text = String::new();
        self.0.seek(SeekFrom::Start(0)).ok()?;
        (&mut *self.0).take(DIGITS as u64 + 1).read_to_string(&mut text).ok()?;
        if text.len() == DIGITS { text.parse().ok() } else { None }
    }

    fn write(&mut self, size: u64) -> Result<()> {
        let text = format!("{size:0DIGITS$}");
        let written = self.0.seek(SeekFrom::Start(0)).and_then(|_| self.0.write_all(text.as_bytes()));
        written.map_err(|error| Error::io(error, "the size of the copies of `local_tier` cannot be written"))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It fails only for a lock that is not held.
        let _ = self.0.file().unlock();
    }
}

/// What lies in a folder under a name that `parse` reads.
fn named<T>(folder: &Path, parse: impl Fn(&str) -> Option<T>) -> Vec<(T, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    // A link could lead to what is none of the tier's.
    let entries = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
    entries.filter_map(|entry| Some((parse(entry.file_name().to_str()?)?, entry.path()))).collect()
}
