//! A full metadata backend over an ordered key-value store: implement the few methods of [`KvStore`], and
//! [`KvMetadata`] brings the rest.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::ops::Range;
//! use std::sync::{Mutex, PoisonError};
//!
//! use async_trait::async_trait;
//! use bytes::Bytes;
//! use cacheness_core::{Env, MetadataBackend, MetadataCapabilities, Namespace, OpenContext, Result};
//! use cacheness_metadata::kv::{KvMetadata, KvStore, WriteBatch};
//!
//! #[derive(Default)]
//! struct Sorted(Mutex<BTreeMap<Bytes, Bytes>>);
//!
//! #[async_trait]
//! impl KvStore for Sorted {
//!     fn capabilities(&self) -> MetadataCapabilities {
//!         MetadataCapabilities::volatile()
//!     }
//!
//!     async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
//!         Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
//!     }
//!
//!     async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
//!         let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
//!         Ok(rows.range(range).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
//!     }
//!
//!     async fn write(&self, batch: WriteBatch) -> Result<bool> {
//!         let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
//!         if batch.conditions.iter().any(|(key, value)| rows.get(key) != value.as_ref()) {
//!             return Ok(false);
//!         }
//!         for (key, value) in batch.changes {
//!             match value {
//!                 Some(value) => rows.insert(key, value),
//!                 None => rows.remove(&key),
//!             };
//!         }
//!         Ok(true)
//!     }
//!
//!     async fn close(&self) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let entries = KvMetadata::open(Sorted::default(), &OpenContext::new(Env::new())).await?;
//! assert_eq!(entries.get_entry(&Namespace::default(), "user:1").await?, None);
//! # Ok(())
//! # }
//! ```
//!
//! # Rows
//!
//! Numbers are big-endian. In keys, signed numbers have their sign bit turned, so that their bytes sort as they do.
//!
//! | key | value |
//! |---|---|
//! | `h` | the head: format number, cache id, last number issued, totals, limits and policy, the state of the rank index |
//! | `n` name | a namespace: its generation, totals, counters and limits |
//! | `l` generation | the name of the namespace that shows this generation |
//! | `d` generation | when this generation was cleared; its rows are still to be taken back |
//! | `k` blob id | that the blob was swept away: until when that is remembered |
//! | `e` generation, key | an entry: version, times, hits, rank, size, blob, stored record, inline bytes |
//! | `x` expiry, version | generation and key of an entry that expires |
//! | `r` epoch, priority, rank, version | generation and key; only while there is a limit |
//! | `q` generation, epoch, priority, rank, version | the same; only of a namespace that has limits of its own |
//! | `y` generation, expiry, version | generation and key; only of a namespace that has limits of its own |
//! | `c` generation, creation, version | nothing; the first is the oldest entry of a namespace |
//! | `g` due time, blob id | nothing; the blobs that may be deleted, by time |
//! | `b` blob id | due time and length of a blob that is garbage |
//!
//! Every write reads the head first and is made only if the head is still what was read. So writers of several
//! processes never act on what another one has changed meanwhile: they begin anew.
//!
//! `clear` gives a namespace a new generation. What the old one left is taken back in small steps by later writes
//! and by `purge`. When the eviction policy changes, or a namespace gets its first limit, the index gets a new epoch and
//! entries move over in batches; those of the old epoch go first, so that limits hold meanwhile.

mod backend;
mod changes;
mod eviction;
mod layout;
mod limits;
mod reading;
mod rows;
#[cfg(feature = "json")]
pub(crate) mod salvage;
mod sweeping;
mod transaction;
mod writing;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness_core::{MetadataCapabilities, Result};

pub use backend::KvMetadata;

#[cfg(test)]
mod tests;

/// An ordered key-value store, from which [`KvMetadata`] makes a metadata backend. See the [module](self) for a
/// whole one.
///
/// # What callers guarantee
/// - Keys are 1 to 66,000 bytes long. Values may be empty; most are below 1 KiB, those with inline bytes as long as
///   these and 4 KiB, and few are longer.
/// - The start of a range never lies after its end.
/// - In a batch each key is changed at most once, and the changes are sorted by key.
/// - `close` is called once; nothing is called after it.
///
/// # What an implementer must keep
/// - Keys are ordered by their bytes, as unsigned numbers; a longer key comes after its own beginning.
/// - `get` and `scan` see every write that has returned before they were called, those of other processes included.
///   One call sees each write in full or not at all; two calls need not see the same state.
/// - `write` is atomic: the conditions are checked and the changes are made as one step, whoever else writes, and
///   after a crash all changes are there or none.
/// - A write survives what the cache's [`Durability`](cacheness_core::Durability) says, and in any case a loss of
///   power one minute later: then the blobs that it superseded are deleted.
///
/// A store whose calls block on a disk makes them in [`Env::unblock`](cacheness_core::Env::unblock); point lookups
/// that take a few microseconds are better made at once.
///
/// # Errors
/// Every method may fail as those of [`MetadataBackend`](cacheness_core::MetadataBackend) do.
#[async_trait]
pub trait KvStore: Send + Sync + 'static {
    /// What the backend over this store can do.
    fn capabilities(&self) -> MetadataCapabilities;

    /// The value under a key.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The first `limit` rows of a range, in the order of their keys.
    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>>;

    /// Makes the changes if all conditions hold; false where one does not, and then nothing is changed.
    async fn write(&self, batch: WriteBatch) -> Result<bool>;

    /// Finishes what is pending and lets go of files and connections.
    async fn close(&self) -> Result<()>;
}

/// Changes that are made together, if the conditions hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteBatch {
    /// Keys, and the values that must stand under them; `None` for a key that must not be there.
    pub conditions: Vec<(Bytes, Option<Bytes>)>,
    /// Keys, and the values to be stored; `None` for a key to be deleted, which may be absent already.
    pub changes: Vec<(Bytes, Option<Bytes>)>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: KvStore + ?Sized> KvStore for Arc<S> {
    fn capabilities(&self) -> MetadataCapabilities {
        (**self).capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        (**self).get(key).await
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        (**self).scan(range, limit).await
    }

    async fn write(&self, batch: WriteBatch) -> Result<bool> {
        (**self).write(batch).await
    }

    async fn close(&self) -> Result<()> {
        (**self).close().await
    }
}
