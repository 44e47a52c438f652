//! Opening the two backends of a cache: entries, and the store that has their blobs and no other.
//!
//! What is not found in a store of blobs counts as lost, and its entry is removed. So a store that is not the cache's own,
//! because of a wrong prefix, an emptied bucket or a disk that is not mounted, would cost all entries that have blobs, on
//! every machine. A store is therefore told which caches it holds blobs of, when they are new, and is asked when they are not.

use std::sync::Arc;

use crate::blob::BlobBackend;
use crate::config::Parts;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{MetadataBackend, MetadataCapabilities};
use crate::registry::{OpenContext, OpenMode};
use crate::resilience::{Guard, RemoteCalls, open_blobs, open_metadata};

/// Whether a cache that has entries may begin a store of blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NewBlobs {
    Refused,
    Allowed,
}

/// Both backends, and what watches over those of them that are remote.
pub(crate) struct OpenedPair {
    pub(crate) metadata: Arc<dyn MetadataBackend>,
    pub(crate) blobs: Arc<dyn BlobBackend>,
    pub(crate) guards: Vec<Arc<Guard>>,
}

/// Opens both.
pub(crate) async fn open_pair(
    (metadata, blobs): Parts,
    context: &OpenContext,
    calls: RemoteCalls,
    new_blobs: NewBlobs,
) -> Result<OpenedPair> {
    let (metadata, metadata_guard) = open_metadata(metadata, context, calls).await?;
    let opened = async {
        let has_entries = outlives(metadata.capabilities()) && metadata.stats(None).await?.entries > 0;
        let expected = has_entries && new_blobs == NewBlobs::Refused;
        let mut context = context.clone();
        if expected {
            // Nothing is begun in a place that should have been begun long ago.
            context.mode = OpenMode::Existing;
        }
        let name = blobs.factory.name().to_owned();
        let opened = open_blobs(blobs, &context, calls).await;
        let (blobs, guard) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound if expected => without_blobs(&name).with_source(error),
            _ => error,
        })?;
        let met = meet(metadata.as_ref(), blobs.as_ref(), expected, &name).await;
        if let Err(error) = met {
            let _ = blobs.close().await;
            return Err(error);
        }
        Ok((blobs, guard))
    };
    match opened.await {
        Ok((blobs, guard)) => {
            Ok(OpenedPair { metadata, blobs, guards: metadata_guard.into_iter().chain(guard).collect() })
        }
        Err(error) => {
            // The first error is the one to tell.
            let _ = metadata.close().await;
            Err(error)
        }
    }
}

/// True for entries that others, or later processes, have as well.
pub(crate) fn outlives(entries: MetadataCapabilities) -> bool {
    entries.persistent || entries.shared
}

/// Sees to it that the store knows the cache. A new cache makes itself known before it has entries, so whoever sees entries
/// and a store that does not know them is in another place than who put them, however many processes open the cache at once.
async fn meet(
    metadata: &dyn MetadataBackend,
    blobs: &dyn BlobBackend,
    expected: bool,
    name: &str,
) -> Result<()> {
    if !outlives(metadata.capabilities()) || blobs.knows(metadata.cache_id()).await? {
        return Ok(());
    }
    if expected {
        return Err(without_blobs(name));
    }
    blobs.introduce(metadata.cache_id()).await
}

fn without_blobs(name: &str) -> Error {
    let message = format!(
        "the cache has entries, and the blob backend `{name}` leads to a store that has never held blobs of it; see whether \
         its options name the right place, and whether that is mounted. Where the blobs are lost for good, open the cache \
         once with `allow_new_blobs = true`: values that lie in blobs are then removed as they are asked for"
    );
    Error::new(ErrorKind::NotFound, message)
}
