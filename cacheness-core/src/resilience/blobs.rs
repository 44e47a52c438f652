//! A blob backend whose calls are bounded, repeated, limited, and refused while it is down.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::call::Call;
use super::guard::Guard;
use crate::blob::{Blob, BlobBackend, BlobCapabilities, BlobPage, BlobSource};
use crate::error::Result;
use crate::names::{BlobKey, CacheId};

/// How many blobs are deleted in the time of one call.
const DELETED_PER_UNIT: usize = 1_000;

/// How many bytes a blob is taken to have that is got as a whole. Values are asked for by their length, so this is for blobs of
/// which no more is known.
const EXPECTED: u64 = 64 * 1024 * 1024;

/// A blob backend behind a [`Guard`].
///
/// A blob has an id of its own and its bytes never change, so that each call may be made any number of times, and also
/// while an earlier attempt is still under way.
pub(super) struct GuardedBlobs {
    inner: Arc<dyn BlobBackend>,
    guard: Arc<Guard>,
}

impl GuardedBlobs {
    pub(super) fn new(inner: Arc<dyn BlobBackend>, guard: Arc<Guard>) -> Self {
        let pinged = inner.clone();
        guard.set_ping(move || {
            let inner = pinged.clone();
            Box::pin(async move { inner.ping().await })
        });
        Self { inner, guard }
    }

    async fn call<A, T, M, F>(&self, call: Call, arguments: A, make: M) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        M: Fn(Arc<dyn BlobBackend>, Arc<A>) -> F + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (inner, arguments) = (self.inner.clone(), Arc::new(arguments));
        self.guard.call(call, move || make(inner.clone(), arguments.clone())).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl BlobBackend for GuardedBlobs {
    fn capabilities(&self) -> BlobCapabilities {
        self.inner.capabilities()
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let call = Call::read("put").of_bytes(source.len());
        self.call(
            call,
            (*key, source),
            |inner, blob| async move { inner.put(&blob.0, blob.1.share()?).await },
        )
        .await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        let call = Call::read("get").of_bytes(EXPECTED);
        self.call(call, *key, |inner, key| async move { inner.get(&key).await }).await
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let call = Call::read("get_range").of_bytes(range.end.saturating_sub(range.start));
        self.call(call, (*key, range), |inner, asked| async move {
            inner.get_range(&asked.0, asked.1.clone()).await
        })
        .await
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        self.call(Call::read("delete"), *key, |inner, key| async move { inner.delete(&key).await }).await
    }

    async fn delete_many(&self, keys: &[BlobKey]) -> Result<()> {
        let units = u32::try_from(keys.len() / DELETED_PER_UNIT).unwrap_or(u32::MAX).saturating_add(1);
        let call = Call::read("delete_many").of_units(units);
        self.call(call, keys.to_vec(), |inner, keys| async move { inner.delete_many(&keys).await }).await
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        self.call(Call::read("exists"), *key, |inner, key| async move { inner.exists(&key).await }).await
    }

    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        let after = after.map(str::to_owned);
        self.call(Call::read("list_keys"), after, move |inner, after| async move {
            inner.list_keys(cache, after.as_deref(), limit).await
        })
        .await
    }

    async fn knows(&self, cache: CacheId) -> Result<bool> {
        self.call(Call::read("knows"), cache, |inner, cache| async move { inner.knows(*cache).await }).await
    }

    async fn introduce(&self, cache: CacheId) -> Result<()> {
        let call = Call::read("introduce");
        self.call(call, cache, |inner, cache| async move { inner.introduce(*cache).await }).await
    }

    fn staging_dir(&self) -> Option<&Path> {
        self.inner.staging_dir()
    }

    async fn ping(&self) -> Result<()> {
        self.call(Call::read("ping"), (), |inner, _| async move { inner.ping().await }).await
    }

    async fn close(&self) -> Result<()> {
        let inner = self.inner.clone();
        self.guard.close(async move { inner.close().await }).await
    }
}
