//! The engine: in which order handlers, stages, blobs and metadata act, so that nothing is lost. Both faces drive
//! this one engine.

mod apart;
mod batch;
mod check_blob;
mod copies;
mod counting;
mod degraded;
mod encode;
mod file_checks;
mod flusher;
mod garbage;
mod get;
mod inspect;
mod limits;
mod listing;
mod maps;
mod named;
mod observe;
mod put;
mod queued;
mod raw;
mod reader;
mod rotate;
mod stored;
mod stream;
mod sweep;
mod trust;
mod verify;
mod write_queue;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::access::{AccessLog, Due};
use crate::blob::BlobBackend;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Delivery, Listeners};
use crate::local_tier::Copies;
use crate::metadata::{AccessBatch, EntryAccess, MetadataBackend};
use crate::names::{BlobId, BlobKey, CacheId, Namespace, Timestamp};
use crate::protection::Protection;
use crate::registry::Registry;
use crate::resilience::{Guards, RemoteCalls};
use crate::stage::Compression;

pub(crate) use counting::Tenant;
pub use degraded::OnWriteError;
pub use encode::OnEncodeError;
pub use get::OnReadError;
pub use inspect::{EntryInfo, EntryState, PurgeReport};
pub use listing::{EntryPage, ListOptions};
pub(crate) use observe::{TARGET, finish, observed};
pub(crate) use put::{Prepared, prepare_shared};
pub use raw::RawEntry;
pub(crate) use raw::check_size;
pub use rotate::RotateReport;
pub use stored::{Stored, StoredState};
pub use stream::{AsyncValueReader, ValueReader};
pub use sweep::SweepReport;
pub use verify::{Damage, Finding, VerifyOptions, VerifyReport};

use copies::Tier;
use counting::Tenants;
use file_checks::FileChecks;
use flusher::Flusher;
use garbage::{COLLECTION_BATCH, Garbage};
use maps::Maps;
use write_queue::WriteQueue;

/// How the engine behaves; see the builder's methods of the same names.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) ttl: Option<Duration>,
    pub(crate) namespace_ttls: BTreeMap<Namespace, Option<Duration>>,
    pub(crate) compression: Compression,
    pub(crate) inline_limit: u64,
    pub(crate) on_read_error: OnReadError,
    pub(crate) on_decode_error: OnReadError,
    pub(crate) on_encode_error: OnEncodeError,
    pub(crate) on_write_error: OnWriteError,
    pub(crate) write_queue: u64,
    pub(crate) remote: RemoteCalls,
    pub(crate) file_check_interval: Duration,
    pub(crate) mmap: bool,
}

/// The opened backends.
pub(crate) struct Stores {
    pub(crate) metadata: Arc<dyn MetadataBackend>,
    /// The name that the metadata backend is registered under.
    pub(crate) metadata_name: String,
    pub(crate) blobs: Arc<dyn BlobBackend>,
    /// The name that the blob backend is registered under.
    pub(crate) blob_name: String,
    /// What watches over those of them that are remote.
    pub(crate) guards: Guards,
    /// Copies of the blobs on this machine, and whether puts are written through to them.
    pub(crate) local_tier: Option<(Copies, bool)>,
    /// What is done to entries so that nobody else can write them.
    pub(crate) protection: Option<Protection>,
}

pub(crate) struct Engine {
    registry: Registry,
    env: Env,
    settings: Settings,
    metadata: Arc<dyn MetadataBackend>,
    metadata_name: String,
    blobs: Arc<dyn BlobBackend>,
    blob_name: String,
    /// Where blobs of another machine are kept on this one.
    tier: Option<Tier>,
    /// Where entries are signed or encrypted.
    protection: Option<Protection>,
    cache_id: CacheId,
    needs_runtime: bool,
    /// True where a call of a backend may have to wait.
    waits: bool,
    /// The engine itself, for work that outlives the call that it belongs to.
    this: Weak<Self>,
    /// What watches over the backends that are remote; nothing where all are in this process or on its disks.
    guards: Guards,
    opened_at: Timestamp,
    folder: Option<PathBuf>,
    accesses: Arc<AccessLog>,
    /// Where somebody listens.
    events: Option<Arc<Delivery>>,
    tenants: Tenants,
    file_checks: FileChecks,
    maps: Maps,
    /// Blobs that have been verified in full and may be mapped without doing so again.
    verified: Mutex<HashSet<BlobId>>,
    flusher: Flusher,
    /// Held from taking counts to having written them down, so that whoever holds it next sees them.
    flushing: Arc<tokio::sync::Mutex<()>>,
    /// When uses that are not due may be written down next, to make room for others.
    next_full_flush: AtomicI64,
    garbage: Garbage,
    /// Read by each lease that is being released and that nobody waits for.
    releasing: Arc<tokio::sync::RwLock<()>>,
    /// Writes that could not be made yet.
    queue: WriteQueue,
    /// Writes that were given up, by the policy or after they had been queued.
    writes_dropped: AtomicU64,
    writes_lost: AtomicU64,
    /// Set when closing begins: from then on nothing new is started.
    closed: AtomicBool,
    /// True once closing has been finished.
    finished: Arc<tokio::sync::Mutex<bool>>,
}

/// Keeps an engine open. The last one that is dropped closes the engine, on the thread that drops it, so that
/// everything is written down when the drop returns.
#[derive(Debug)]
pub(crate) struct Owner(Arc<Engine>);

impl Owner {
    pub(crate) fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self(engine))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Err(error) = self.0.block_on(self.0.close()) {
            let error = error.without_key();
            tracing::warn!(%error, "the cache was dropped, and closing it failed");
        }
    }
}

/// How many uses of entries are written down in one call.
const FLUSH_BATCH: usize = 500;

/// How many such calls a flush makes unless it writes everything down. More uses than that wait for the next flush:
/// they matter less than the gets and puts that they would hold up.
const FLUSH_BATCHES: usize = 4;

/// How often uses that are not due are written down to make room for others. Meanwhile further uses are not noted:
/// writing each of them down would cost far more than an eviction order that is right to within this time.
const FULL_FLUSH_INTERVAL: Duration = Duration::from_secs(15);

/// How many blobs are remembered as verified, at 16 bytes each. When there are more, all are verified anew.
const VERIFIED_BLOBS: usize = 64 * 1024;

impl Engine {
    pub(crate) fn start(
        registry: Registry,
        env: Env,
        settings: Settings,
        Stores { metadata, metadata_name, blobs, blob_name, guards, local_tier, protection }: Stores,
        accesses: Arc<AccessLog>,
        listeners: Listeners,
        folder: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        crate::metric::describe();
        let events = if listeners.is_empty() { None } else { Some(Delivery::start(listeners)?) };
        if let Some(events) = &events {
            guards.set_events(events);
        }
        let needs_runtime = metadata.capabilities().needs_runtime || blobs.capabilities().needs_runtime;
        if blobs.capabilities().shared && !metadata.capabilities().shared {
            tracing::warn!(
                "the entries are kept on this machine and the blobs where other machines can reach them: no other \
                 machine sees any of these entries, and when they are lost here, nobody knows the blobs; for a cache \
                 that machines share, choose a metadata backend that they share"
            );
        }
        let garbage = Garbage::of(metadata.capabilities(), blobs.capabilities(), guards.is_remote());
        let entries = metadata.capabilities();
        let waits = entries.persistent
            || entries.shared
            || needs_runtime
            || guards.is_remote()
            || !blobs.capabilities().local;
        let engine = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            waits,
            cache_id: metadata.cache_id(),
            file_checks: FileChecks::new(settings.file_check_interval),
            queue: WriteQueue::new(settings.write_queue),
            opened_at: env.now(),
            registry,
            env,
            settings,
            metadata,
            metadata_name,
            blobs,
            blob_name,
            tier: local_tier.map(|(copies, write_through)| Tier::new(copies, write_through)),
            protection,
            needs_runtime,
            guards,
            folder,
            accesses,
            events,
            tenants: Tenants::default(),
            maps: Maps::default(),
            verified: Mutex::default(),
            flusher: Flusher::default(),
            flushing: Arc::default(),
            next_full_flush: AtomicI64::new(0),
            garbage,
            releasing: Arc::default(),
            writes_dropped: AtomicU64::new(0),
            writes_lost: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            finished: Arc::default(),
        });
        if let Err(error) = engine.flusher.start(Arc::downgrade(&engine)) {
            if let Some(events) = &engine.events {
                events.close();
            }
            return Err(error);
        }
        let folder = engine.folder.as_ref().map(|folder| folder.display().to_string());
        tracing::info!(target: observe::TARGET, id = %engine.cache_id, folder, "opened");
        Ok(engine)
    }

    /// Drives a future for the blocking face.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.env.block_on(self.needs_runtime, future)
    }

    pub(crate) fn tenant(&self, namespace: &Namespace) -> Arc<Tenant> {
        self.tenants.get(namespace)
    }

    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        self.folder.as_deref()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn metadata_name(&self) -> &str {
        &self.metadata_name
    }

    pub(crate) fn blob_name(&self) -> &str {
        &self.blob_name
    }

    pub(crate) fn cache_id(&self) -> CacheId {
        self.cache_id
    }

    pub(crate) fn metadata(&self) -> &dyn MetadataBackend {
        self.metadata.as_ref()
    }

    /// Held while a lease is released; closing waits for it. `None` where the cache is being closed.
    pub(crate) fn releasing(&self) -> Option<tokio::sync::OwnedRwLockReadGuard<()>> {
        self.releasing.clone().try_read_owned().ok()
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    fn blob_key(&self, blob: BlobId) -> BlobKey {
        BlobKey { cache: self.cache_id, blob }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Self::closed_error()) } else { Ok(()) }
    }

    pub(crate) fn closed_error() -> Error {
        Error::new(ErrorKind::Closed, "the cache has been closed; open it again to use it")
    }

    /// Writes counters down, and those access times that are due, or all. When it returns, everything that was
    /// counted before the call has been written down, by this call or another.
    pub(crate) async fn flush(&self, everything: bool) -> Result<()> {
        // Not aborted with its caller: what is being written down would be counted again.
        self.to_the_end(|engine| async move {
            let guard = engine.taking(&engine.flushing).await?;
            engine.flush_guarded(everything, &guard).await
        })
        .await
    }

    async fn flush_guarded(&self, everything: bool, _: &tokio::sync::OwnedMutexGuard<()>) -> Result<()> {
        let now = self.env.now();
        let full = is_time(self.next_full_flush.load(Ordering::Relaxed), now, FULL_FLUSH_INTERVAL);
        if full {
            self.next_full_flush.store((now + FULL_FLUSH_INTERVAL).as_nanos(), Ordering::Relaxed);
        }
        let which = if full { Due::OldOrFull } else { Due::Old };
        // What is counted from here on is left to others: it may come in faster than it is written down.
        let mut all = everything.then(|| self.accesses.hashes());
        let mut taken =
            Taken { engine: self, counters: self.tenants.drain(), accesses: Vec::new(), sent: false };
        let mut rounds = 1..FLUSH_BATCHES;
        loop {
            let more = match &mut all {
                Some(left) => {
                    taken.accesses =
                        self.accesses.these(&left.split_off(left.len().saturating_sub(FLUSH_BATCH)));
                    !left.is_empty()
                }
                None => {
                    taken.accesses = self.accesses.due(which, now, FLUSH_BATCH);
                    taken.accesses.len() == FLUSH_BATCH && rounds.next().is_some()
                }
            };
            if taken.counters.is_empty() && taken.accesses.is_empty() {
                if more {
                    continue;
                }
                return Ok(());
            }
            let batch = AccessBatch { counters: taken.counters.clone(), accesses: taken.accesses.clone() };
            // A call to another machine goes on where this future is dropped.
            taken.sent = self.is_remote();
            let recorded = self.metadata.record_accesses(batch).await;
            // Counts that may have been added are not added again: that would be wrong for ever, and to forget them costs
            // a second of statistics.
            taken.sent = match &recorded {
                Ok(()) => true,
                Err(error) => self.is_remote() && error.is_outcome_unknown(),
            };
            taken.settle();
            recorded?;
            if !more {
                return Ok(());
            }
        }
    }

    /// True where a backend may be away.
    fn is_remote(&self) -> bool {
        self.guards.is_remote()
    }

    fn has_pending_accesses(&self) -> bool {
        !self.accesses.is_empty()
    }

    fn is_verified(&self, blob: BlobId) -> bool {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&blob)
    }

    fn set_verified(&self, blob: BlobId) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= VERIFIED_BLOBS {
            verified.clear();
        }
        verified.insert(blob);
    }

    /// Closes the cache for all handles. Calling it again does nothing, or finishes what was begun.
    pub(crate) async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.flusher.stop();
        self.guards.begin_closing();
        let closed = self.close_parts().await;
        // Not while anything is locked: a listener may be calling the cache.
        if let Some(events) = self.events.clone() {
            if events.is_this_thread() {
                // A listener does not wait for itself, on whichever thread it would wait.
                events.close();
                return closed;
            }
            let waiting = events.clone();
            let waited = self.env.unblock(move || {
                waiting.close();
                Ok(())
            });
            // Without a pool to wait on, as in a runtime that is being shut down, this thread waits.
            if waited.await.is_err() {
                events.close();
            }
        }
        closed
    }

    async fn close_parts(&self) -> Result<()> {
        self.apart(|engine| async move { engine.close_parts_here().await }).await
    }

    async fn close_parts_here(&self) -> Result<()> {
        let mut finished = self.finished.lock().await;
        if *finished {
            return Ok(());
        }
        // Each step is taken even when one before it has failed; the first failure is reported.
        let queued = self.write_queued_on_close().await;
        // Where nobody answers, nobody is waited for once more; what is left is deleted by the next process.
        let is_gone = |done: &Result<()>| self.is_remote() && done.as_ref().is_err_and(Error::is_temporary);
        let flushed = if is_gone(&queued) { Ok(()) } else { self.flush(true).await };
        let gone = is_gone(&queued) || is_gone(&flushed);
        let collected = if gone { Ok(()) } else { self.delete_on_close().await };
        // Leases that were dropped are free when this returns.
        drop(self.releasing.write().await);
        let metadata = self.metadata.close().await;
        let blobs = self.blobs.close().await;
        *finished = true;
        tracing::info!(target: observe::TARGET, id = %self.cache_id, "closed");
        queued.and(flushed).and(collected).and(metadata).and(blobs)
    }

    async fn delete_on_close(&self) -> Result<()> {
        let volatile = !self.metadata.capabilities().persistent;
        if !(volatile && self.blobs.capabilities().persistent) {
            return self.collect_garbage(COLLECTION_BATCH).await.map(drop);
        }
        // Nobody will ever find these blobs again.
        let mut after = None;
        loop {
            let page = self.blobs.list_keys(self.cache_id, after.as_deref(), 1000).await?;
            self.delete_blobs(&page.blobs).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

/// Counts and uses that are being written down. Those that are not, because writing fails or its future is dropped, go back
/// to where they came from; those of which nobody may know go nowhere.
struct Taken<'a> {
    engine: &'a Engine,
    counters: Vec<(Namespace, crate::stats::Counters)>,
    accesses: Vec<EntryAccess>,
    /// True where they have been written down, or may have been.
    sent: bool,
}

impl Taken<'_> {
    fn settle(&mut self) {
        let (counters, accesses) = (std::mem::take(&mut self.counters), std::mem::take(&mut self.accesses));
        if self.sent {
            self.engine.accesses.recorded(&accesses);
        } else {
            self.engine.tenants.restore(&counters);
            self.engine.accesses.not_recorded();
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// True where what is done every `interval` is to be done at `now`. A clock that was set back does not put it off; one call that
/// saw a slightly later time than another is no such clock.
fn is_time(next: i64, now: Timestamp, interval: Duration) -> bool {
    next <= now.as_nanos() || Timestamp::from_nanos(next).since(now) > 2 * interval
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("cache_id", &self.cache_id)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
