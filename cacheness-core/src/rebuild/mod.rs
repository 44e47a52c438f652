//! Rebuilding a damaged index: out of what can still be read of it, and of what stands at the end of each blob.

mod blobs;
mod run;
mod salvage;

use std::path::PathBuf;

use crate::builder::CacheBuilder;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::names::{CacheId, Namespace};

pub use salvage::{Salvage, SalvageIndex, SalvagedIndex, SalvagedRow};

/// How to rebuild a damaged index.
#[derive(Clone, Debug)]
pub struct RebuildOptions {
    trust_blobs: bool,
    cache_id: Option<CacheId>,
    max_keys: usize,
}

impl RebuildOptions {
    /// Restores only what the index confirms; the report names up to 100 keys of each kind.
    #[must_use]
    pub fn new() -> Self {
        Self { trust_blobs: false, cache_id: None, max_keys: 100 }
    }

    /// Restores as well what only blobs tell, or what was written before a part of the index that is lost. Some of these
    /// values may have been removed or replaced before the damage, and are served again then.
    #[must_use]
    pub fn trust_blobs(mut self, trust: bool) -> Self {
        self.trust_blobs = trust;
        self
    }

    /// Says which cache it is, whatever the index says: for one of which not even that can be read. For blobs in files it is the name of the
    /// folder among them, 32 hexadecimal digits, which [`CacheId::parse`] reads.
    #[must_use]
    pub fn cache_id(mut self, id: CacheId) -> Self {
        self.cache_id = Some(id);
        self
    }

    /// Sets how many keys of each kind the report names: 100 by default. All are counted.
    #[must_use]
    pub fn max_keys(mut self, most: usize) -> Self {
        self.max_keys = most;
        self
    }
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What came of rebuilding an index.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RebuildReport {
    /// The cache, whose id stays.
    pub cache: CacheId,
    /// How many entries the new index has.
    pub restored: u64,
    /// How many entries the damaged index said it had, where that can be read.
    pub entries_before: Option<u64>,
    /// How many entries are known to have been there and cannot be restored: their values lay in damaged parts of the index,
    /// or their blobs are gone. Entries of which nothing at all can be read are not among them.
    pub lost: u64,
    /// The first keys of those, where they are known.
    pub lost_keys: Vec<(Namespace, String)>,
    /// How many keys there are of which only a blob tells, or something written before a part of the index that is lost: they
    /// may have been removed, replaced or cleared. They are restored only when
    /// [`trust_blobs`](RebuildOptions::trust_blobs) says so.
    pub unconfirmed: u64,
    /// The first keys of those.
    pub unconfirmed_keys: Vec<(Namespace, String)>,
    /// Where the damaged index is kept. Nothing reads it any more.
    pub kept: PathBuf,
}

impl CacheBuilder {
    /// Makes the index of a cache anew when it is damaged, as an error of kind [`Corrupted`](ErrorKind::Corrupted) at opening
    /// or later says. No process may have the cache open, this one included.
    ///
    /// The builder is given what the cache is opened with: also its keys, without which nothing tells a forged blob from one of
    /// the cache's own, and its limits, which hold over what the damaged index says of them. Nothing is evicted by them before
    /// the cache is opened. First comes what can still be read of the damaged index: entries,
    /// limits and statistics. What it leaves open is looked for in the blobs, each of which ends with the record of its
    /// entry. The newest entry under a key wins. The cache keeps its id, and the damaged files are kept under another name.
    /// A crash in the middle leaves a cache that cannot be opened until this is called again.
    ///
    /// It takes the memory of about 40 bytes for each entry, and the disk of a second index.
    ///
    /// ```
    /// use cacheness::{Cache, RebuildOptions};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("cache");
    /// # cacheness::blocking::Cache::open(&path)?.put("answer", &42)?;
    /// let report = Cache::builder().folder(&path).rebuild_blocking(RebuildOptions::new())?;
    /// println!("{} restored, {} lost, {} unconfirmed", report.restored, report.lost, report.unconfirmed);
    /// let cache = Cache::builder().folder(&path).open_blocking()?;
    /// assert_eq!(cache.get("answer")?, Some(42));
    /// # Ok::<(), cacheness::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the metadata backend has no index that could be rebuilt;
    /// [`Conflict`](ErrorKind::Conflict) where the cache is open somewhere; [`NotFound`](ErrorKind::NotFound) where there is
    /// none, or its store of blobs is not there; [`Corrupted`](ErrorKind::Corrupted) where not even the cache's id can be
    /// read, for [`RebuildOptions::cache_id`] to say; the backends' errors.
    pub async fn rebuild(self, options: RebuildOptions) -> Result<RebuildReport> {
        run::rebuild(self, options).await
    }

    /// As [`rebuild`](Self::rebuild), on the calling thread.
    ///
    /// # Errors
    /// As [`rebuild`](Self::rebuild).
    pub fn rebuild_blocking(self, options: RebuildOptions) -> Result<RebuildReport> {
        let (env, (metadata, blobs)) = (self.env.clone(), self.parts()?);
        let needs_runtime = metadata.factory.needs_runtime() || blobs.factory.needs_runtime();
        env.block_on(needs_runtime, self.rebuild(options))
    }
}
