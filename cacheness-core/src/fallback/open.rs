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
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::LimitsChange;
use crate::metadata::MetadataBackend;
use crate::names::{CacheId, LeaseHolder};
use crate::pair::{NewBlobs, OpenedPair, open_pair};
use crate::registry::{OpenContext, OpenMode};
use crate::resilience::{Guard, Guards, RemoteCalls};

/// What the first pair is opened with, when the cache is opened or later.
pub(super) struct Opener {
    parts: Parts,
    context: OpenContext,
    calls: RemoteCalls,
    new_blobs: NewBlobs,
    /// Whether it is to be known when the first pair does not answer which cache it holds, because its entries are made for
    /// that one.
    remember_id: bool,
    /// The cache that entries are made for. Known from the opening on where any is.
    expected: OnceLock<CacheId>,
    /// What watches over the pair that is opened.
    guards: Guards,
    /// Held while somebody tries.
    trying: tokio::sync::Mutex<()>,
}

impl Opener {
    pub(super) fn needs_runtime(&self) -> bool {
        self.parts.0.factory.needs_runtime() || self.parts.1.factory.needs_runtime()
    }

    async fn open(&self) -> Result<(Pair, Vec<Arc<Guard>>)> {
        let (metadata, blobs) = &self.parts;
        pair((metadata.clone(), blobs.clone()), &self.context, self.calls, self.new_blobs).await
    }
}

async fn pair(
    parts: Parts,
    context: &OpenContext,
    calls: RemoteCalls,
    new_blobs: NewBlobs,
) -> Result<(Pair, Vec<Arc<Guard>>)> {
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
    // Nor is its store, so that one that was deleted is begun anew.
    let (second, _) = pair(second, &spare, calls, NewBlobs::Allowed).await?;
    // A row that was evicted would bring an older value back to light, so limits that somebody has set are lifted.
    let unlimited = LimitsChange { max_entries: Some(None), max_bytes: Some(None), ..LimitsChange::new() };
    second.metadata.change_limits(None, &unlimited).await?;
    // What they are opened as nobody knows before they answer.
    let guards = Guards::of_replaced(first.0.factory.needs_runtime() || first.1.factory.needs_runtime());
    let shared = Arc::new(Shared {
        first: OnceLock::new(),
        second,
        env: context.env.clone(),
        opener: Opener {
            parts: first,
            context,
            calls,
            new_blobs,
            remember_id,
            expected: OnceLock::new(),
            guards: guards.clone(),
            trying: tokio::sync::Mutex::new(()),
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
    let first_id = match shared.first.get() {
        Some(first) => Some(first.id()),
        None => shared.remembered_id().await?,
    };
    if let Some(id) = first_id {
        shared.opener.expected.get_or_init(|| id);
    }
    // Not before: it opens the first pair.
    Shared::start_driver(&shared)?;
    let (metadata, blobs) = (Arc::new(FallbackMetadata(shared.clone())), Arc::new(FallbackBlobs(shared)));
    Ok(Opened { metadata, blobs, guards, first_id })
}

impl Shared {
    /// Opens the first pair, unless that was done.
    pub(super) async fn open_first(&self) -> Result<&Pair> {
        let _trying = self.opener.trying.lock().await;
        if let Some(first) = self.first.get() {
            return Ok(first);
        }
        let (opened, guards) = self.opener.open().await?;
        let refused = if self.closed.load(Ordering::Acquire) {
            Err(Self::closed_error())
        } else if self.opener.remember_id {
            self.check_id(opened.id()).await
        } else {
            Ok(())
        };
        if let Err(error) = refused {
            opened.metadata.close().await?;
            opened.blobs.close().await?;
            return Err(error);
        }
        self.opener.guards.add(guards);
        Ok(self.first.get_or_init(|| opened))
    }

    /// Checks that the first pair holds the cache that entries have been made for, and notes which one that is.
    async fn check_id(&self, id: CacheId) -> Result<()> {
        match self.opener.expected.get() {
            Some(expected) if *expected != id => {
                let message = format!(
                    "entries have been signed or encrypted for the cache {expected}, which was there before, and the backends \
                     hold the cache {id} now: it would take them for forged; put the first one back, or close the cache and \
                     open it again to go on with the other"
                );
                Err(Error::new(ErrorKind::ConfigInvalid, message))
            }
            _ => self.remember_id(id).await,
        }
    }
}
