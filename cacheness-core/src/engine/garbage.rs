//! Blobs that no entry names any more: when they are deleted.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use super::{Engine, is_time};
use crate::blob::BlobCapabilities;
use crate::error::Result;
use crate::metadata::{GARBAGE_DELAY, MetadataCapabilities};
use crate::names::{BlobId, BlobKey, Timestamp};

/// How often puts look for garbage that is due.
const COLLECTION_INTERVAL: Duration = Duration::from_secs(10);

/// How many blobs are deleted at once.
pub(super) const COLLECTION_BATCH: usize = 64;

/// How many blobs are deleted at once in the background: as many as S3 deletes by one request.
pub(super) const BACKGROUND_BATCH: usize = 1_000;

/// How many such batches go before counters are written down again.
const BACKGROUND_BATCHES: usize = 10;

/// What the engine knows of the garbage of its cache.
pub(super) struct Garbage {
    /// True where it is deleted as soon as it is made, because it lies in this process's memory: kept for a while, it
    /// would take as much as is written in that time, whatever the limits say.
    ///
    /// The delay is for readers of files and servers, and for a power loss. A reader that has bytes in memory keeps
    /// them, and one that comes too late for a blob finds the entry that took its place.
    at_once: bool,
    /// True where deleting takes requests to a server, which no put is to wait for.
    in_background: bool,
    /// True where blobs are on a disk of this machine, so that deleting some makes room on it, and no backend is a server: calls to
    /// one are made again, and name a blob that must not be gone meanwhile.
    on_disk: bool,
    /// Until when the disk counts as full: then garbage is not kept for slow readers any more. One of them that comes too late
    /// finds what took the blob's place, or nothing where the entry was removed.
    full_until: AtomicI64,
    /// True once a value was put that does not lie with its entry. Before that there is no garbage to look for.
    possible: AtomicBool,
    /// When the next put looks for garbage that is due.
    next_collection: AtomicI64,
}

impl Garbage {
    pub(super) fn of(metadata: MetadataCapabilities, blobs: BlobCapabilities, in_background: bool) -> Self {
        let in_memory = !metadata.persistent && !metadata.shared;
        Self {
            at_once: in_memory && blobs.local && !blobs.persistent && !blobs.shared,
            in_background,
            on_disk: blobs.local && blobs.persistent && !in_background,
            full_until: AtomicI64::new(i64::MIN),
            possible: AtomicBool::new(false),
            next_collection: AtomicI64::new(0),
        }
    }

    /// Takes note that there was no room to write something.
    pub(super) fn note_full_disk(&self, now: Timestamp) {
        if self.on_disk {
            self.full_until.store((now + GARBAGE_DELAY).as_nanos(), Ordering::Relaxed);
            self.is_possible();
        }
    }

    fn must_go_at_once(&self, now: impl FnOnce() -> Timestamp) -> bool {
        let full_until = self.full_until.load(Ordering::Relaxed);
        self.possible.load(Ordering::Relaxed)
            && (self.at_once || (full_until > i64::MIN && now().as_nanos() < full_until))
    }

    /// Takes note that a blob is written.
    pub(super) fn is_possible(&self) {
        self.possible.store(true, Ordering::Relaxed);
    }
}

impl Engine {
    /// Deletes blobs whose time has come, up to `limit`. True where there may be more.
    pub(super) async fn collect_garbage(&self, limit: usize) -> Result<bool> {
        Ok(self.delete_due(self.env.now(), limit).await?.len() >= limit)
    }

    /// Deletes blobs that are due at this moment, and says which.
    async fn delete_due(&self, at: Timestamp, limit: usize) -> Result<Vec<BlobId>> {
        let due = self.metadata.due_garbage(at, limit).await?;
        if !due.is_empty() {
            self.delete_blobs(&due).await?;
            self.metadata.forget_garbage(&due).await?;
        }
        Ok(due)
    }

    pub(super) async fn delete_blobs(&self, blobs: &[BlobId]) -> Result<()> {
        let keys: Vec<BlobKey> = blobs.iter().map(|&blob| self.blob_key(blob)).collect();
        self.blobs.delete_many(&keys).await
    }

    /// Lets a put that was made delete some garbage, every now and then. What fails here is tried again later.
    pub(super) async fn collect_some_garbage(&self, now: Timestamp) {
        if self.garbage.must_go_at_once(|| now) {
            return self.collect_fresh_garbage().await;
        }
        if self.garbage.in_background {
            return self.flusher.mark();
        }
        self.collect_when_it_is_time(now, COLLECTION_BATCH).await;
    }

    /// As [`collect_some_garbage`](Self::collect_some_garbage), for the thread that nobody waits for: whoever uses a cache
    /// on servers helps to keep it clean, also by reading alone.
    pub(super) async fn collect_in_background(&self) {
        if !self.garbage.in_background {
            return self.collect_fresh_garbage().await;
        }
        let mut left = BACKGROUND_BATCHES;
        while left > 0 && self.collect_when_it_is_time(self.env.now(), BACKGROUND_BATCH).await {
            left -= 1;
        }
    }

    /// Collects where it is time to, and says whether there is more.
    async fn collect_when_it_is_time(&self, now: Timestamp, limit: usize) -> bool {
        let next_collection = &self.garbage.next_collection;
        let due = next_collection.load(Ordering::Relaxed);
        let next = (now + COLLECTION_INTERVAL).as_nanos();
        let mine = is_time(due, now, COLLECTION_INTERVAL)
            && next_collection.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !mine {
            return false;
        }
        match self.collect_garbage(limit).await {
            // Where puts make garbage faster than it would go otherwise, the next one goes on.
            Ok(true) => {
                next_collection.store(now.as_nanos(), Ordering::Relaxed);
                true
            }
            Ok(false) => false,
            // They are kept for the next time.
            Err(error) => {
                self.failed(None, None, "delete_garbage", &error);
                false
            }
        }
    }

    /// Deletes what has just become garbage, where none is kept or the disk is full. To be called by whatever makes some.
    pub(super) async fn collect_fresh_garbage(&self) {
        if !self.garbage.must_go_at_once(|| self.env.now()) {
            return;
        }
        let mut last = Vec::new();
        loop {
            let deleted = match self.delete_due(self.env.now() + GARBAGE_DELAY, COLLECTION_BATCH).await {
                Ok(deleted) => deleted,
                // The next one tries again.
                Err(error) => return self.failed(None, None, "delete_garbage", &error),
            };
            // A backend that forgets nothing before its time must not hold this up until then.
            if deleted.len() < COLLECTION_BATCH || deleted == last {
                return;
            }
            last = deleted;
        }
    }
}
