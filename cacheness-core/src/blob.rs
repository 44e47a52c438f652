//! Blob backends: where the bytes of values live.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::names::{BlobId, BlobKey, CacheId};

/// Where blobs live. A blob is written once under a fresh key and never changed.
///
/// # What callers guarantee
/// - A key is put at most once, and its parts are ids: 32 hexadecimal digits each.
/// - Blobs are deleted only by the cache whose id is in their key.
/// - `list_keys` is asked for one blob at least, and its `after` is the `next` of the page before.
///
/// # What an implementer must keep
/// - A put that returned is complete: `get` finds all of it or, after a crash of the machine, perhaps none of it.
///   With [`Durability::Power`](crate::Durability::Power) it is all of it even then; a backend that cannot promise
///   so refuses to be opened. A put that failed leaves nothing that `get` finds; one that was cut short, because
///   the process ended or its future was dropped, leaves nothing or all of it.
/// - Calls come from several threads at once, and where the blobs are persistent from several processes, each of
///   which has opened the store: what one of them has put or deleted, all find or miss from then on.
/// - `Ok(None)` and `Ok(false)` mean that this blob is certainly not there. A store that cannot be reached, a
///   missing bucket or folder, or a refused permission is an error: the engine repairs what it believes missing.
/// - Blobs of different caches in one store never touch each other.
/// - A call ends within the backend's own time limit. Closing twice is the same as closing once.
///
/// # Errors
/// Every method may fail with [`Unavailable`](crate::ErrorKind::Unavailable),
/// [`Timeout`](crate::ErrorKind::Timeout), [`StorageFull`](crate::ErrorKind::StorageFull),
/// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) or [`Io`](crate::ErrorKind::Io) as the store does.
#[async_trait]
pub trait BlobBackend: Send + Sync + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> BlobCapabilities;

    /// Stores a blob.
    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()>;

    /// Opens a blob: as bytes, or as an open file that stays readable when the blob is deleted.
    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>>;

    /// Reads the bytes in `range` of a blob. A range that ends past the blob's end gives what there is, and one that
    /// begins there or is empty gives no bytes.
    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>>;

    /// Deletes a blob. False where there was none.
    async fn delete(&self, key: &BlobKey) -> Result<bool>;

    /// Deletes several blobs; those that are not there count as deleted. A store that can do so in one request
    /// should.
    async fn delete_many(&self, keys: &[BlobKey]) -> Result<()> {
        for key in keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    /// True where the blob is there.
    async fn exists(&self, key: &BlobKey) -> Result<bool>;

    /// One page of a cache's blobs, `limit` at most, in an order of the backend's own. Blobs that are put or deleted
    /// meanwhile may or may not be listed; all others are, once, and that although the last blob of the page before
    /// was deleted since. A page may be empty and yet not the last.
    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage>;

    /// True where this store was told, by [`introduce`](Self::introduce), that it holds the blobs of this cache. The engine
    /// takes no blob for missing, and removes no entry for that, unless this is true, because a store that cannot be reached can
    /// look like an empty one. A store that outlives the process should know; the default, for others, is to know all.
    async fn knows(&self, cache: CacheId) -> Result<bool> {
        let _ = cache;
        Ok(true)
    }

    /// Takes down that this store holds the blobs of this cache, for as long as the store is there: `list_keys` does not list
    /// it, and nothing deletes it. To be told again is no error.
    async fn introduce(&self, cache: CacheId) -> Result<()> {
        let _ = cache;
        Ok(())
    }

    /// The folder in which a large value is staged, so that storing it is a rename; `None` for the system's
    /// folder for temporary files.
    fn staging_dir(&self) -> Option<&Path>;

    /// Says whether the store answers, at the least expense: on a server, one round trip. A store in this process or on
    /// its disks has nothing to ask.
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// Finishes what is pending and lets go of files and connections.
    async fn close(&self) -> Result<()>;
}

/// What a blob backend can do.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobCapabilities {
    /// `get` answers at once, with bytes in memory or an open local file. Then a handler reads where the call
    /// is; otherwise it runs on the blocking pool and large values are fetched by ranges. Of a local blob all bytes are
    /// got, so a backend that has no file for each blob holds the whole value in memory for each read.
    ///
    /// A backend that is not local, or is shared, or needs a runtime, is [remote](crate::RemoteCalls).
    pub local: bool,
    /// Blobs are there again after the process has ended.
    pub persistent: bool,
    /// Calls need a Tokio runtime, for sockets or timers. Then they are made on the cache's own.
    pub needs_runtime: bool,
    /// Other machines may have the same blobs.
    pub shared: bool,
}

impl BlobCapabilities {
    /// Blobs in the process's memory.
    #[must_use]
    pub fn memory() -> Self {
        Self { local: true, persistent: false, needs_runtime: false, shared: false }
    }

    /// Blobs in files of this machine.
    #[must_use]
    pub fn files() -> Self {
        Self { local: true, persistent: true, needs_runtime: false, shared: false }
    }

    /// Blobs on another machine, which others may use as well.
    #[must_use]
    pub fn remote() -> Self {
        Self { local: false, persistent: true, needs_runtime: true, shared: true }
    }

    /// Says whether other machines may have the same blobs.
    #[must_use]
    pub fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }
}

/// The bytes of a blob that is to be stored.
#[non_exhaustive]
#[derive(Debug)]
pub enum BlobSource {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file in [`BlobBackend::staging_dir`], or elsewhere where that folder has gone meanwhile, to be renamed or copied. It
    /// deletes itself when dropped.
    File(StagedFile),
}

impl BlobSource {
    /// The blob's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.len,
        }
    }

    /// True for a blob of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same bytes once more, for a call that may have to be made again.
    ///
    /// # Errors
    /// The operating system's error where the staged file cannot be opened.
    pub fn share(&self) -> Result<Self> {
        Ok(match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::File(file) => Self::File(file.share()?),
        })
    }

    /// All bytes, for a backend that keeps blobs in memory.
    ///
    /// # Errors
    /// The operating system's error where the staged file cannot be read.
    pub fn into_bytes(self) -> Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::File(file) => fs_err::read(file.path())
                .map(Bytes::from)
                .map_err(|error| Error::io(error, "the staged value cannot be read")),
        }
    }
}

/// A large value on its way to a blob backend. The file is deleted when the last handle of it is dropped.
#[derive(Debug)]
pub struct StagedFile {
    path: Arc<tempfile::TempPath>,
    file: std::fs::File,
    len: u64,
}

impl StagedFile {
    /// Takes a temporary file that holds `len` bytes.
    #[must_use]
    pub fn new(file: tempfile::NamedTempFile, len: u64) -> Self {
        let (file, path) = file.into_parts();
        Self { path: Arc::new(path), file, len }
    }

    /// Another handle of the same file, with a position of its own.
    ///
    /// # Errors
    /// The operating system's error where the file cannot be opened.
    pub fn share(&self) -> Result<Self> {
        let file = fs_err::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path())
            .map_err(|error| Error::io(error, "the staged value cannot be opened again"))?;
        Ok(Self { path: self.path.clone(), file: file.into_file(), len: self.len })
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, at any position: whoever reads it goes to its start first.
    #[must_use]
    pub fn as_file(&self) -> &std::fs::File {
        &self.file
    }

    /// The file's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a file of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Moves the file to its place, by a rename where both are on one file system, else by a copy. It is not synced:
    /// that is for the backend, where it promises [`Durability::Power`](crate::Durability::Power).
    ///
    /// # Errors
    /// The operating system's error; the staged file is gone then, unless there is another handle of it.
    pub fn persist(self, to: &Path) -> Result<()> {
        let from = match Arc::try_unwrap(self.path) {
            Ok(path) => match path.persist_noclobber(to) {
                Ok(()) => return Ok(()),
                Err(failed) if failed.error.kind() == std::io::ErrorKind::CrossesDevices => {
                    Arc::new(failed.path)
                }
                Err(failed) => return Err(not_moved(failed.error, to)),
            },
            // Somebody may need it again, so it stays where it is, too.
            Err(path) => match fs_err::hard_link(&*path, to) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(not_moved(error, to));
                }
                // Another file system, or one without links.
                Err(_) => path,
            },
        };
        fs_err::copy(&*from, to).map(|_| ()).map_err(|error| {
            // What was copied so far must not be taken for a blob.
            let _ = fs_err::remove_file(to);
            Error::io(error, "the staged value cannot be copied to its place")
        })
    }
}

fn not_moved(error: std::io::Error, to: &Path) -> Error {
    Error::io(error, "the staged value cannot be moved to its place")
        .with_context("path", to.to_string_lossy())
}

/// A blob that was found.
#[non_exhaustive]
#[derive(Debug)]
pub enum Blob {
    /// Its bytes.
    Bytes(Bytes),
    /// An open file that holds it, and its length in bytes.
    File(std::fs::File, u64),
}

/// A part of a listing of blobs.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct BlobPage {
    /// The blobs.
    pub blobs: Vec<BlobId>,
    /// Where the next page begins, for `list_keys`; `None` at the end.
    pub next: Option<String>,
}

impl BlobPage {
    /// These blobs, and where the next page begins; `None` at the end.
    #[must_use]
    pub fn new(blobs: Vec<BlobId>, next: Option<String>) -> Self {
        Self { blobs, next }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn staged(folder: &Path) -> StagedFile {
        let mut file = tempfile::NamedTempFile::new_in(folder).unwrap();
        file.write_all(b"value").unwrap();
        StagedFile::new(file, 5)
    }

    #[test]
    fn a_shared_staged_file_is_moved_and_there_once_more_and_goes_with_its_last_handle() {
        let folder = tempfile::tempdir().unwrap();
        let file = staged(folder.path());
        let (staged, again) = (file.path().to_owned(), file.share().unwrap());
        for (file, to) in [(file, "first"), (again.share().unwrap(), "second"), (again, "third")] {
            let to = folder.path().join(to);
            file.persist(&to).unwrap();
            assert_eq!(fs_err::read(to).unwrap(), b"value");
        }
        assert!(!staged.exists());
    }

    #[test]
    fn handles_of_a_staged_file_read_each_from_its_own_position() {
        let folder = tempfile::tempdir().unwrap();
        let file = staged(folder.path());
        for _ in 0..2 {
            let again = file.share().unwrap();
            let mut bytes = String::new();
            again.as_file().read_to_string(&mut bytes).unwrap();
            assert_eq!(bytes, "value");
        }
    }

    #[test]
    fn a_staged_file_takes_nothings_place() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("there");
        fs_err::write(&to, "other").unwrap();
        let file = staged(folder.path());
        let again = file.share().unwrap();
        assert!(file.persist(&to).is_err() && again.persist(&to).is_err());
        assert_eq!(fs_err::read(&to).unwrap(), b"other");
    }
}
