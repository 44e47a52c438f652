//! A blob backend to which things happen.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{
    Blob, BlobBackend, BlobCapabilities, BlobKey, BlobPage, BlobSource, CacheId, Env, Error, ErrorKind,
    Result,
};

use super::{Chaos, Delay};

/// Wraps a blob backend; see [`Chaos`].
///
/// ```no_run
/// # fn backend() -> std::sync::Arc<dyn cacheness_core::BlobBackend> { unreachable!() }
/// use cacheness_core::Env;
/// use cacheness_testkit::chaos::{Chaos, ChaosBlobs, Damage};
///
/// let chaos = Chaos::new();
/// let blobs = ChaosBlobs::new(backend(), chaos.clone(), Env::new());
/// chaos.damage(Some(Damage::FlipBit(0)));
/// ```
pub struct ChaosBlobs {
    inner: Arc<dyn BlobBackend>,
    chaos: Chaos,
    env: Env,
}

impl ChaosBlobs {
    /// Wraps `inner`. The clock of `env` is the one that [`Chaos::slow_by_clock`] waits for.
    #[must_use]
    pub fn new(inner: Arc<dyn BlobBackend>, chaos: Chaos, env: Env) -> Self {
        Self { inner, chaos, env }
    }
}

impl fmt::Debug for ChaosBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosBlobs").field("chaos", &self.chaos).finish_non_exhaustive()
    }
}

/// All bytes of a blob, so that they can be damaged.
fn whole(blob: Blob) -> Result<Bytes> {
    match blob {
        Blob::Bytes(bytes) => Ok(bytes),
        Blob::File(mut file, _) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| Error::io(error, "reading a blob to damage it"))?;
            Ok(bytes.into())
        }
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            "a blob that is neither bytes nor a file cannot be damaged",
        )),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl BlobBackend for ChaosBlobs {
    fn capabilities(&self) -> BlobCapabilities {
        let mut capabilities = self.inner.capabilities();
        let delay = self.chaos.delay();
        capabilities.shared |= self.chaos.is_remote();
        capabilities.local &= delay.is_none() && !self.chaos.is_remote();
        capabilities.needs_runtime |= matches!(delay, Some(Delay::Real(_)));
        capabilities
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        self.chaos.call(&self.env, "put", self.inner.put(key, source)).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        let blob = self.chaos.call(&self.env, "get", self.inner.get(key)).await?;
        match blob {
            Some(blob) if self.chaos.damages() => Ok(Some(Blob::Bytes(self.chaos.damaged(whole(blob)?)))),
            other => Ok(other),
        }
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        if !self.chaos.damages() {
            return self.chaos.call(&self.env, "get_range", self.inner.get_range(key, range)).await;
        }
        // The damage is to the blob, so that every range of it shows the same.
        let blob = self.chaos.call(&self.env, "get_range", self.inner.get(key)).await?;
        let Some(bytes) = blob.map(whole).transpose()? else { return Ok(None) };
        let bytes = self.chaos.damaged(bytes);
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (place(range.start), place(range.end));
        Ok(Some(bytes.slice(start..end.max(start))))
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        self.chaos.call(&self.env, "delete", self.inner.delete(key)).await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<()> {
        self.chaos.call(&self.env, "delete_many", self.inner.delete_many(keys)).await
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        self.chaos.call(&self.env, "exists", self.inner.exists(key)).await
    }

    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        self.chaos.call(&self.env, "list_keys", self.inner.list_keys(cache, after, limit)).await
    }

    async fn knows(&self, cache: CacheId) -> Result<bool> {
        self.chaos.call(&self.env, "knows", self.inner.knows(cache)).await
    }

    async fn introduce(&self, cache: CacheId) -> Result<()> {
        self.chaos.call(&self.env, "introduce", self.inner.introduce(cache)).await
    }

    fn staging_dir(&self) -> Option<&Path> {
        self.inner.staging_dir()
    }

    async fn ping(&self) -> Result<()> {
        self.chaos.call(&self.env, "ping", self.inner.ping()).await
    }

    async fn close(&self) -> Result<()> {
        self.chaos.call(&self.env, "close", self.inner.close()).await
    }
}
