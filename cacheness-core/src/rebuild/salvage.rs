//! What a metadata backend brings so that its index can be rebuilt when it is damaged. Most have nothing to bring: what
//! lies in memory cannot be damaged, and a server looks after its own files.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::ConfigOptions;
use crate::entry::Entry;
use crate::error::Result;
use crate::eviction::Limits;
use crate::metadata::MetadataBackend;
use crate::names::{BlobId, CacheId, Namespace, Version};
use crate::registry::OpenContext;
use crate::stats::Counters;

/// Saves what is left of a damaged index; see [`MetadataFactory::salvage`](crate::MetadataFactory::salvage).
#[async_trait]
pub trait SalvageIndex: Send + Sync {
    /// Puts the index aside under another name and begins to read it.
    ///
    /// From here on until [`Salvage::finish`], opening the index is an error that says that it is being rebuilt, also after
    /// a crash; another call of this goes on with what was put aside.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) where the index is open anywhere, or is being rebuilt;
    /// [`NotFound`](crate::ErrorKind::NotFound) where there is none; the store's own error. Nothing is changed then.
    async fn begin(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Box<dyn Salvage>>;
}

/// An index that is being rebuilt.
///
/// # What callers guarantee
/// - `create` is called once, then `rows` until it has no more, then the new index is closed, then `finish` is called.
///
/// # What an implementer must keep
/// - The damaged files stay as they are, under their other name.
/// - No damage of any kind makes anything panic, or go on for ever.
/// - A crash before `finish` returns leaves an index that cannot be opened and can be rebuilt again.
#[async_trait]
pub trait Salvage: Send {
    /// What could be read about the cache as a whole.
    fn found(&self) -> &SalvagedIndex;

    /// Makes the new index of this cache, which nobody else sees yet. It is empty, but knows the garbage of the old one as
    /// far as that can be read; it issues higher versions than any that can be read.
    async fn create(&mut self, cache: CacheId) -> Result<Arc<dyn MetadataBackend>>;

    /// The next entries that can be read, in any order, some perhaps twice; none when all have been.
    async fn rows(&mut self) -> Result<Vec<SalvagedRow>>;

    /// Puts the new index in the place of the old one, as one step.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// What could be read of a damaged index about the cache as a whole.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct SalvagedIndex {
    /// The id of the cache.
    pub cache: Option<CacheId>,
    /// How many entries there were.
    pub entries: Option<u64>,
    /// The limits of the cache.
    pub limits: Option<Limits>,
    /// The namespaces, their limits and counters.
    pub namespaces: Vec<(Namespace, Limits, Counters)>,
    /// Where the damaged index is kept.
    pub kept: PathBuf,
}

/// What could be read of one entry.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum SalvagedRow {
    /// All of it.
    Entry(Box<Entry>),
    /// All of it, but it may have been removed or replaced since: what was written after it is lost.
    Unconfirmed(Box<Entry>),
    /// Its record is lost, but not where its value lies.
    Blob {
        /// Its namespace.
        namespace: Namespace,
        /// Its key.
        key: String,
        /// Its version.
        version: Version,
        /// Its blob.
        blob: BlobId,
    },
    /// That it was there, and perhaps under which key.
    Lost {
        /// Its namespace, where that is known.
        namespace: Option<Namespace>,
        /// Its key, where that is known.
        key: Option<String>,
    },
}
