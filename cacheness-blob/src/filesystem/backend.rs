//! The backend `filesystem`: what happens at once and what goes to the pool for blocking work.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{
    Blob, BlobBackend, BlobCapabilities, BlobKey, BlobPage, BlobSource, CacheId, Env, Error, ErrorKind,
    OpenContext, Result,
};

use super::files::{self, Folder};

/// Blobs up to this length are read when they are opened: a hop to the blocking pool costs more than the read.
const READ_AT_ONCE: u64 = 32 * 1024;

/// Blobs in files of this machine. Clones share the folder, and so may other caches and processes.
#[derive(Clone, Debug)]
pub struct FilesystemBlobs {
    folder: Arc<Folder>,
    closed: Arc<AtomicBool>,
    env: Env,
}

impl FilesystemBlobs {
    /// Opens the store in the folder `path`, and creates it where `context` allows that.
    ///
    /// ```
    /// use cacheness_blob::filesystem::FilesystemBlobs;
    /// use cacheness_core::{BlobBackend, BlobId, BlobKey, BlobSource, CacheId, Env, OpenContext};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> cacheness_core::Result<()> {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let env = Env::new();
    /// let blobs = FilesystemBlobs::open(folder.path().join("blobs"), &OpenContext::new(env.clone())).await?;
    /// let key = BlobKey { cache: CacheId::random(), blob: BlobId::new(env.now()) };
    /// blobs.put(&key, BlobSource::Bytes("value".into())).await?;
    /// assert_eq!(blobs.get_range(&key, 1..3).await?.as_deref(), Some(&b"al"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](cacheness_core::ErrorKind::NotFound) where there is no store and none may be created;
    /// [`Unsupported`](cacheness_core::ErrorKind::Unsupported) where a newer version wrote it; the operating
    /// system's error.
    pub async fn open(path: impl Into<PathBuf>, context: &OpenContext) -> Result<Self> {
        let (path, opened) = (path.into(), context.clone());
        let folder = context.env.unblock(move || Folder::open(path, &opened)).await?;
        Ok(Self { folder: Arc::new(folder), closed: Arc::default(), env: context.env.clone() })
    }

    fn opened(&self) -> Result<&Arc<Folder>> {
        match self.closed.load(Ordering::Acquire) {
            false => Ok(&self.folder),
            true => Err(Error::new(ErrorKind::Closed, "the blob backend `filesystem` has been closed")),
        }
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.opened()?.clone();
        self.env.unblock(move || work(&folder)).await
    }
}

#[async_trait]
impl BlobBackend for FilesystemBlobs {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities::files()
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let key = *key;
        self.unblock(move |folder| folder.put(&key, source)).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        Ok(match self.opened()?.open_blob(key)? {
            None => None,
            Some((file, len)) if len <= READ_AT_ONCE => Some(Blob::Bytes(files::read(file, 0, len)?)),
            Some((file, len)) => Some(Blob::File(file.into_file(), len)),
        })
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let Some((file, len)) = self.opened()?.open_blob(key)? else { return Ok(None) };
        let wanted = range.end.min(len).saturating_sub(range.start);
        if wanted <= READ_AT_ONCE {
            return files::read(file, range.start.min(len), wanted).map(Some);
        }
        self.unblock(move |_| files::read(file, range.start, wanted)).await.map(Some)
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        let key = *key;
        self.unblock(move |folder| folder.delete(&key)).await
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        self.opened()?.exists(key)
    }

    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        let after = after.map(str::to_owned);
        self.unblock(move |folder| folder.list(cache, after.as_deref(), limit)).await
    }

    async fn knows(&self, cache: CacheId) -> Result<bool> {
        self.opened()?.knows(cache)
    }

    async fn introduce(&self, cache: CacheId) -> Result<()> {
        self.unblock(move |folder| folder.introduce(cache)).await
    }

    fn staging_dir(&self) -> Option<&Path> {
        Some(&self.folder.staging)
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
