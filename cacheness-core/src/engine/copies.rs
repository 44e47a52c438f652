//! The local tier: blobs of another machine are read from copies on this one, and fetched once for all who ask.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::Engine;
use super::get::read_whole;
use crate::blob::{Blob, BlobSource};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::local_tier::Copies;
use crate::names::{BlobId, BlobKey};

/// A fetch of a blob, whose answer all get who wait for it.
type Fetch = OnceCell<Result<Option<Bytes>>>;

/// The copies, and the fetches that are under way.
pub(super) struct Tier {
    copies: Arc<Copies>,
    write_through: bool,
    fetches: Mutex<HashMap<BlobId, Weak<Fetch>>>,
    /// True while the last copy could not be kept, so that the log says it once.
    troubled: AtomicBool,
}

impl Tier {
    pub(super) fn new(copies: Copies, write_through: bool) -> Self {
        let fetches = Mutex::default();
        Self { copies: Arc::new(copies), write_through, fetches, troubled: AtomicBool::new(false) }
    }

    /// The fetch of this blob that is under way, or one that is to be made.
    fn fetch_of(&self, blob: BlobId) -> Arc<Fetch> {
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetch) = fetches.get(&blob).and_then(Weak::upgrade) {
            return fetch;
        }
        // Those whose callers went away.
        fetches.retain(|_, fetch| fetch.strong_count() > 0);
        let fetch = Arc::new(Fetch::new());
        fetches.insert(blob, Arc::downgrade(&fetch));
        fetch
    }

    /// Says what became of a copy. Nobody waits for it, so no error is handed on.
    fn note(&self, kept: Result<()>) {
        match kept {
            Ok(()) => self.troubled.store(false, Ordering::Relaxed),
            Err(error) if !self.troubled.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "blobs are not kept on this machine until this is mended");
            }
            Err(_) => {}
        }
    }
}

impl Engine {
    /// Opens a blob, from the local tier where it is there.
    pub(super) async fn get_blob(&self, entry: &Entry, blob: BlobId) -> Result<Option<Blob>> {
        let key = self.blob_key(blob);
        if self.tier.is_none() {
            return self.fetch(entry, &key).await;
        }
        if let Some(copy) = self.open_copy(entry) {
            return Ok(Some(copy));
        }
        // Others wait for a fetch that is under way, so it must go on also where its caller is not polled.
        let entry = entry.clone();
        let fetched = self.apart(move |engine| async move { engine.fetch_once(&entry, &key).await }).await?;
        Ok(fetched.map(Blob::Bytes))
    }

    /// Fetches a blob for all who ask for it at the same time.
    async fn fetch_once(&self, entry: &Entry, key: &BlobKey) -> Result<Option<Bytes>> {
        let Some(tier) = &self.tier else { return self.fetch_bytes(entry, key).await };
        let fetch = tier.fetch_of(key.blob);
        let fetched = fetch.get_or_init(|| self.fetch_whole(tier, entry, key)).await.clone();
        tier.fetches.lock().unwrap_or_else(PoisonError::into_inner).remove(&key.blob);
        fetched
    }

    /// Opens a blob. Of one on another machine, no more than the value is asked for: what the store has there may be longer,
    /// and must not fill this machine's memory.
    async fn fetch(&self, entry: &Entry, key: &BlobKey) -> Result<Option<Blob>> {
        if self.blobs.capabilities().local {
            return self.blobs.get(key).await;
        }
        // Nor is anything asked for by a length that the entry itself contradicts.
        entry.checksums.check_count(entry.stored_size)?;
        Ok(self.blobs.get_range(key, 0..entry.stored_size).await?.map(Blob::Bytes))
    }

    async fn fetch_bytes(&self, entry: &Entry, key: &BlobKey) -> Result<Option<Bytes>> {
        match self.fetch(entry, key).await? {
            None => Ok(None),
            Some(Blob::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Blob::File(file, len)) => {
                let len = len.min(entry.stored_size);
                self.env.unblock(move || read_whole(&file, len)).await.map(Some)
            }
        }
    }

    async fn fetch_whole(&self, tier: &Tier, entry: &Entry, key: &BlobKey) -> Result<Option<Bytes>> {
        let Some(bytes) = self.fetch_bytes(entry, key).await? else { return Ok(None) };
        // A copy is not to outlive what damaged its blob on the way.
        let payload = usize::try_from(entry.stored_size).ok().and_then(|len| bytes.get(..len));
        if let Some(payload) = payload.map(|payload| bytes.slice_ref(payload)) {
            let (copies, checksums) = (tier.copies.clone(), entry.checksums.clone());
            let (key, whole, now) = (*key, bytes.clone(), self.env.now());
            let kept = self.env.unblock(move || {
                if !copies.fits(whole.len() as u64) || checksums.verify(&payload).is_err() {
                    return Ok(());
                }
                copies.keep(&key, copies.stage(&mut &whole[..])?, now)
            });
            tier.note(kept.await);
        }
        Ok(Some(bytes))
    }

    /// The copy of an entry's blob, if there is one that may be whole.
    pub(super) fn open_copy(&self, entry: &Entry) -> Option<Blob> {
        let (tier, key) = (self.tier.as_ref()?, self.blob_key(entry.blob_id()?));
        let (file, len) = tier.copies.get(&key, self.env.now())?;
        if len < entry.stored_size {
            tier.copies.discard(&key);
            return None;
        }
        Some(Blob::File(file, len))
    }

    /// Deletes the copy of an entry's blob, which has turned out to be damaged. True where there was one, so that
    /// the blob itself may be whole.
    pub(super) fn discard_copy(&self, entry: &Entry) -> bool {
        let Some((tier, blob)) = self.tier.as_ref().zip(entry.blob_id()) else { return false };
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob);
        let discarded = tier.copies.discard(&self.blob_key(blob));
        if discarded {
            tracing::warn!(%blob, "a copy in the local tier was damaged; the blob is fetched anew");
        }
        discarded
    }

    /// Stores a blob, and a copy of it where puts are written through.
    pub(super) async fn put_blob(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let tier = self.tier.as_ref().filter(|tier| tier.write_through && tier.copies.fits(source.len()));
        let Some(tier) = tier else { return self.blobs.put(key, source).await };
        let copies = tier.copies.clone();
        // The backend takes the source, so the copy is made before, and is kept once the blob is there.
        let staged = match &source {
            BlobSource::Bytes(bytes) => {
                let bytes = bytes.clone();
                self.env.unblock(move || copies.stage(&mut &bytes[..])).await
            }
            BlobSource::File(file) => {
                let path = file.path().to_owned();
                let open = move || {
                    fs_err::File::open(path)
                        .map_err(|error| Error::io(error, "the staged value cannot be read"))
                };
                self.env.unblock(move || copies.stage(&mut open()?)).await
            }
        };
        self.blobs.put(key, source).await?;
        let (copies, key, now) = (tier.copies.clone(), *key, self.env.now());
        let kept = self.env.unblock(move || copies.keep(&key, staged?, now));
        tier.note(kept.await);
        Ok(())
    }

    /// True for an error that a damaged copy can cause.
    pub(super) fn may_be_the_copy(error: &Error) -> bool {
        matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Io)
    }
}
