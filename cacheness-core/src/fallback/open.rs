//! Opening both pairs: the first may be down, the second may not.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::blobs::FallbackBlobs;
use super::driver::Signal;
use super::metadata::FallbackMetadata;
use super::pair::Pair;
use super::{Fallback, Shared};
use crate::access::AccessLog;
use crate::blob::BlobBackend;
use crate::config::Parts;
use crate::error::Result;
use crate::eviction::LimitsChange;
use crate::metadata::MetadataBackend;
use crate::names::{CacheId, LeaseHolder};
use crate::pair::{NewBlobs, OpenedPair, open_pair};
use crate::registry::{OpenContext, OpenMode};
use crate::resilience::{Guard, RemoteCalls};

/// What the first pair is opened with, when the cache is opened or later.
pub(super) struct Opener {
    parts: Parts,
    context: OpenContext,
    calls: RemoteCalls,
    new_blobs: NewBlobs,
    /// Whether it is to be known when the first pair does not answer which cache it holds.
    remember_id: bool,
    /// Held while somebody tries; what watches over the pair that was opened.
    trying: tokio::sync::Mutex<Guards>,
}

impl Opener {
    pub(super) fn needs_runtime(&self) -> bool {
        self.parts.0.factory.needs_runtime() || self.parts.1.factory.needs_runtime()
    }

    async fn open(&self) -> Result<(Pair, Guards)> {
        let (metadata, blobs) = &self.parts;
        pair((metadata.clone(), blobs.clone()), &self.context, self.calls, self.new_blobs).await
    }
}

/// What watches over stores that are remote.
type Guards = Vec<Arc<Guard>>;

async fn pair(
    parts: Parts,
    context: &OpenContext,
    calls: RemoteCalls,
    new_blobs: NewBlobs,
) -> Result<(Pair, Guards)> {
    let OpenedPair { metadata, blobs, guards } = open_pair(parts, context, calls, new_blobs).await?;
    Ok((Pair::new(metadata, blobs), guards))
}

/// Both pairs as one pair of backends.
pub(crate) struct Opened {
    pub(crate) metadata: Arc<dyn MetadataBackend>,
    pub(crate) blobs: Arc<dyn BlobBackend>,
    pub(crate) guards: Guards,
    /// The id of the cache in the first pair, where it has ever answered: also when it does not at present.
    pub(crate) first_id: Option<CacheId>,
}

/// Opens both pairs as one pair of backends.
pub(crate) async fn open(
    fallback: &Fallback,
    first: Parts,
    second: Parts,
    context: OpenContext,
    calls: RemoteCalls,
    new_blobs: NewBlobs,
    remember_id: bool,
) -> Result<Opened> {
    let mut spare = context.clone();
    spare.folder = fallback.folder_in(context.folder.as_deref());
    // It is no cache that anybody expects to be there.
    spare.mode = OpenMode::Create;
    // The uses in the cache's log are of versions that the second store does not know.
    spare.accesses = Arc::new(AccessLog::new(Duration::from_secs(60)));
    if let Some(folder) = &spare.folder {
        spare.prepare_folder(folder)?;
    }
    let (second, _) = pair(second, &spare, calls, new_blobs).await?;
    // A row that was evicted would bring an older value back to light, so limits that somebody has set are lifted.
    let unlimited = LimitsChange { max_entries: Some(None), max_bytes: Some(None), ..LimitsChange::new() };
    second.metadata.change_limits(None, &unlimited).await?;
    let shared = Arc::new(Shared {
        first: OnceLock::new(),
        second,
        env: context.env.clone(),
        opener: Opener {
            parts: first,
            context,
            calls,
            new_blobs,
            trying: tokio::sync::Mutex::new(Vec::new()),
            remember_id,
        },
        fresh: Mutex::new(HashSet::new()),
        limits: Mutex::default(),
        bringing: tokio::sync::Mutex::new(()),
        holder: LeaseHolder::random(),
        down: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        signal: Signal::default(),
    });
    match shared.open_first().await {
        Ok(_) => {}
        Err(error) if error.is_temporary() => shared.note_down(&error),
        Err(error) => return Err(error),
    }
    Shared::start_driver(&shared)?;
    // Where it is opened later, the cache asks the fallback itself how the first pair fares.
    let guards = shared.opener.trying.lock().await.clone();
    let first_id = match shared.first.get() {
        Some(first) => Some(first.id()),
        None => shared.remembered_id().await?,
    };
    let (metadata, blobs) = (Arc::new(FallbackMetadata(shared.clone())), Arc::new(FallbackBlobs(shared)));
    Ok(Opened { metadata, blobs, guards, first_id })
}

impl Shared {
    /// Opens the first pair, unless that was done.
    pub(super) async fn open_first(&self) -> Result<&Pair> {
        let mut trying = self.opener.trying.lock().await;
        if let Some(first) = self.first.get() {
            return Ok(first);
        }
        let (opened, guards) = self.opener.open().await?;
        if self.closed.load(Ordering::Acquire) {
            opened.metadata.close().await?;
            opened.blobs.close().await?;
            return Err(Self::closed_error());
        }
        if self.opener.remember_id {
            self.remember_id(opened.id()).await?;
        }
        *trying = guards;
        Ok(self.first.get_or_init(|| opened))
    }
}
