//! One pair of stores, and how the numbers of both pairs are told apart.

use std::sync::Arc;

use crate::blob::BlobBackend;
use crate::entry::Entry;
use crate::metadata::MetadataBackend;
use crate::names::{BlobId, BlobKey, CacheId, Version};

/// Entries and their blobs.
pub(super) struct Pair {
    pub(super) metadata: Arc<dyn MetadataBackend>,
    pub(super) blobs: Arc<dyn BlobBackend>,
    id: CacheId,
}

impl Pair {
    pub(super) fn new(metadata: Arc<dyn MetadataBackend>, blobs: Arc<dyn BlobBackend>) -> Self {
        Self { id: metadata.cache_id(), metadata, blobs }
    }

    pub(super) fn id(&self) -> CacheId {
        self.id
    }

    /// A blob's key in this pair's store, whichever cache the engine takes it for.
    pub(super) fn key(&self, blob: BlobId) -> BlobKey {
        BlobKey { cache: self.id, blob }
    }
}

/// Set in the versions of the second store as callers see them: each store issues its own, and a condition on one must
/// never hold of the other.
const OF_SECOND: u64 = 1 << 63;

/// A version that no store issues.
pub(super) const NO_VERSION: Version = Version(i64::MAX.cast_unsigned());

/// A version of the second store, for callers.
pub(super) fn shown(version: Version) -> Version {
    Version(version.0 | OF_SECOND)
}

/// The second store's own version, where it is one of its.
pub(super) fn of_second(version: Version) -> Option<Version> {
    (version.0 & OF_SECOND != 0).then_some(Version(version.0 & !OF_SECOND))
}

/// An entry of the second store, for callers.
pub(super) fn shown_entry(mut entry: Entry) -> Entry {
    entry.version = shown(entry.version);
    entry
}
