//! The blob backend over a store of objects.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cacheness_core::{
    Blob, BlobBackend, BlobCapabilities, BlobId, BlobKey, BlobPage, BlobSource, CacheId, Env, Error,
    ErrorKind, OpenMode, Result, StagedFile,
};
use futures_util::future::{Either, select};
use futures_util::stream::{StreamExt, TryStreamExt, iter};

use super::objects::{Objects, PART};

/// How the requests to a store are made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The backend's name, for messages.
    pub(crate) backend: &'static str,
    /// What stands before the names of all objects; empty, or without a `/` at either end.
    pub(crate) prefix: String,
    /// How long a request may take, its repetitions included. How long a call may take, and how many may be under way, is
    /// for the cache to say; this finds a part of a large value that hangs.
    pub(crate) timeout: Duration,
    /// Whether blobs outlive the process.
    pub(crate) persistent: bool,
    /// Whether the store may be begun.
    pub(crate) mode: OpenMode,
}

/// Blobs as objects under `PREFIX/CACHE/BLOB`.
pub(crate) struct RemoteBlobs<O>(Arc<Shared<O>>);

struct Shared<O> {
    objects: O,
    settings: Settings,
    env: Env,
    closed: AtomicBool,
}

/// The object that shows that a store is one of Cacheness's, and is there.
const MARKER: &str = "cacheness-blobs";

/// How many requests for the parts of one value are under way at once.
const AT_ONCE: usize = 4;

impl<O: Objects> RemoteBlobs<O> {
    /// Opens the store, and begins it where that is allowed.
    pub(crate) async fn open(objects: O, settings: Settings, env: Env) -> Result<Self> {
        let blobs = Self(Arc::new(Shared { objects, settings, env, closed: AtomicBool::new(false) }));
        blobs.call(|store| async move { store.begin().await }).await?;
        Ok(blobs)
    }

    /// Makes one call: on the cache's runtime, to its end.
    async fn call<T, F>(&self, work: impl FnOnce(Arc<Shared<O>>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let work = work(self.0.clone());
        let shared = self.0.clone();
        self.0
            .env
            .on_io(async move {
                if shared.closed.load(Ordering::Acquire) {
                    let message = format!("the blob backend `{}` has been closed", shared.settings.backend);
                    return Err(Error::new(ErrorKind::Closed, message));
                }
                work.await
            })
            .await
    }
}

impl<O: Objects> Shared<O> {
    /// Bounds work of so many requests, one after the other.
    async fn within<T>(&self, requests: u64, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.settings.timeout.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX));
        match select(pin!(work), pin!(self.env.sleep(limit))).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => {
                let message = format!(
                    "the store did not answer within {limit:?}; see whether it can be reached, or raise `timeout`"
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
        .map_err(|error| error.with_context("backend", self.settings.backend))
    }

    fn path(&self, rest: &str) -> String {
        match self.settings.prefix.as_str() {
            "" => rest.to_owned(),
            prefix => format!("{prefix}/{rest}"),
        }
    }

    fn path_of(&self, key: &BlobKey) -> String {
        self.path(&key.to_string())
    }

    /// The object that shows that the store has been told of a cache. No blob has such a name.
    fn path_of_cache(&self, cache: CacheId) -> String {
        self.path(&format!("{cache}/{MARKER}"))
    }

    /// Looks for the marker, and makes it where there is none and one may be made.
    async fn begin(&self) -> Result<()> {
        let marker = self.path(MARKER);
        if self.within(1, self.objects.get(&marker, 0..1)).await?.is_some() {
            return Ok(());
        }
        // What ends with the process begins with it.
        if self.settings.mode == OpenMode::Existing && self.settings.persistent {
            let message = "there are no blobs of a cache here, and `open_existing` begins no store";
            return Err(Error::new(ErrorKind::NotFound, message).with_context("object", marker));
        }
        let text = "Blobs of Cacheness lie beside this object. Without it they count as unreachable.\n";
        self.within(1, self.objects.put(&marker, Bytes::from_static(text.as_bytes()))).await
    }

    /// Says that an object is not there, once the marker shows that the store is.
    async fn missing<T>(&self) -> Result<Option<T>> {
        let marker = self.path(MARKER);
        if self.within(1, self.objects.get(&marker, 0..1)).await?.is_some() {
            return Ok(None);
        }
        let message = "the store's own marker object is gone, so nothing can be said about what is missing from it; see \
                       whether the bucket is there";
        // To ask again would tell the same.
        Err(Error::new(ErrorKind::Unavailable, message).with_temporary(false).with_context("object", marker))
    }

    async fn part(&self, path: &str, range: Range<u64>) -> Result<Option<(Bytes, u64)>> {
        let found = self.within(1, self.objects.get(path, range.clone())).await?;
        if let Some((bytes, len)) = &found {
            let wanted = range.end.min(*len).saturating_sub(range.start);
            if bytes.len() as u64 != wanted {
                // Not a word about the blob, which may be whole.
                let message =
                    format!("the store's answer has {} bytes, and {wanted} were asked for", bytes.len());
                return Err(Error::new(ErrorKind::Unavailable, message).with_context("object", path));
            }
        }
        Ok(found)
    }

    /// The bytes in `range`, in parts. The object's length is learned from the first.
    async fn read(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let first = range.start..range.end.min(range.start.saturating_add(PART));
        let Some((first, len)) = self.part(path, first).await? else { return self.missing().await };
        let end = range.end.min(len);
        let begin = range.start.saturating_add(PART);
        if begin >= end {
            return Ok(Some(first));
        }
        let len = usize::try_from(end - range.start).map_err(|_| {
            Error::new(ErrorKind::Unsupported, "the value does not fit this machine's memory")
        })?;
        // Memory is taken by what was asked for, never by what the store says that there is.
        let mut bytes = if range.end == u64::MAX { BytesMut::new() } else { BytesMut::with_capacity(len) };
        bytes.extend_from_slice(&first);
        drop(first);
        let mut parts = iter((begin..end).step_by(PART as usize))
            .map(|start| self.part(path, start..end.min(start + PART)))
            .buffered(AT_ONCE);
        while let Some(part) = parts.try_next().await? {
            // The blob was deleted while it was read.
            let Some((part, _)) = part else { return self.missing().await };
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes.freeze()))
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        if self.within(1, self.objects.head(path)).await? {
            return Ok(true);
        }
        Ok(self.missing::<()>().await?.is_some())
    }
}

#[async_trait]
impl<O: Objects> BlobBackend for RemoteBlobs<O> {
    fn capabilities(&self) -> BlobCapabilities {
        let mut capabilities = BlobCapabilities::remote();
        capabilities.persistent = self.0.settings.persistent;
        capabilities
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let key = *key;
        self.call(move |store| async move {
            let path = store.path_of(&key);
            let file = match source {
                BlobSource::File(file) => file,
                source => {
                    let bytes = source.into_bytes()?;
                    if bytes.len() as u64 <= PART {
                        return store.within(1, store.objects.put(&path, bytes)).await;
                    }
                    tokio::task::spawn_blocking(move || staged(&bytes)).await.map_err(|failed| {
                        Error::new(ErrorKind::Unexpected, "staging the value failed").with_source(failed)
                    })??
                }
            };
            let parts = 1 + file.len().div_ceil(PART);
            store.within(parts, store.objects.put_file(&path, Arc::new(file))).await
        })
        .await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        let key = *key;
        let bytes = self
            .call(move |store| async move { store.read(&store.path_of(&key), 0..u64::MAX).await })
            .await?;
        Ok(bytes.map(Blob::Bytes))
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let key = *key;
        self.call(move |store| async move {
            let path = store.path_of(&key);
            if range.is_empty() {
                return Ok(store.exists(&path).await?.then(Bytes::new));
            }
            store.read(&path, range).await
        })
        .await
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        let key = *key;
        self.call(move |store| async move {
            let path = store.path_of(&key);
            // To delete says nothing about what was there.
            let was_there = store.exists(&path).await?;
            store.within(1, store.objects.delete(vec![path])).await?;
            Ok(was_there)
        })
        .await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<()> {
        let keys = keys.to_vec();
        self.call(move |store| async move {
            for keys in keys.chunks(1_000) {
                let paths = keys.iter().map(|key| store.path_of(key)).collect();
                store.within(1, store.objects.delete(paths)).await?;
            }
            Ok(())
        })
        .await
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        let key = *key;
        self.call(move |store| async move { store.exists(&store.path_of(&key)).await }).await
    }

    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        let after = after.map(str::to_owned);
        self.call(move |store| async move {
            let folder = store.path(&format!("{cache}/"));
            let limit = limit.clamp(1, 1_000);
            let listed = store.within(1, store.objects.list(&folder, after.as_deref(), limit)).await?;
            let blobs = listed.names.iter().filter_map(|name| BlobId::parse(name)).collect();
            if listed.next.is_some() && listed.next == after {
                let message = "the store's listing does not move on; nothing can be said about what follows";
                return Err(Error::new(ErrorKind::Unavailable, message).with_temporary(false));
            }
            Ok(BlobPage::new(blobs, listed.next))
        })
        .await
    }

    async fn knows(&self, cache: CacheId) -> Result<bool> {
        if !self.0.settings.persistent {
            return Ok(true);
        }
        self.call(move |store| async move {
            let known = store.path_of_cache(cache);
            Ok(store.within(1, store.objects.get(&known, 0..1)).await?.is_some())
        })
        .await
    }

    async fn introduce(&self, cache: CacheId) -> Result<()> {
        if !self.0.settings.persistent {
            return Ok(());
        }
        self.call(move |store| async move {
            let text =
                "Blobs of one cache lie beside this object. Without it none of them counts as missing.\n";
            let known = store.path_of_cache(cache);
            store.within(1, store.objects.put(&known, Bytes::from_static(text.as_bytes()))).await
        })
        .await
    }

    fn staging_dir(&self) -> Option<&Path> {
        None
    }

    async fn ping(&self) -> Result<()> {
        // An answer is an answer, whatever it says of the marker.
        self.call(|store| async move {
            let marker = store.path(MARKER);
            store.within(1, store.objects.head(&marker)).await.map(drop)
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.0.closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// Writes a value that is too large for one request into a temporary file, from which it is sent in parts.
fn staged(bytes: &[u8]) -> Result<StagedFile> {
    use std::io::Write;
    let io = |error| Error::io(error, "a large value cannot be staged");
    let mut file = tempfile::NamedTempFile::new().map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    Ok(StagedFile::new(file, bytes.len() as u64))
}
