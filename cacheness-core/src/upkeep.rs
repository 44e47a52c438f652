//! Upkeep that an application asks for, on the async face: sweeping and rotating keys.

use std::time::Duration;

use crate::cache::Cache;
use crate::engine::{RotateReport, SweepReport, observed};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Cache {
    /// Deletes blobs that no entry names, of the whole cache: what processes leave that die between writing a value's blob
    /// and its entry. The cache stays in use meanwhile, and no other cache's blobs in the same store are touched.
    ///
    /// Only blobs older than `min_age` count; a day is a good choice. A put that is under way for longer than that fails
    /// with [`Conflict`](ErrorKind::Conflict), so a shorter time is safe, too, but may disturb slow writers. On an S3
    /// server, parts of uploads that were never finished are not seen: a rule of the bucket deletes those.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cacheness::Error> {
    /// use std::time::Duration;
    ///
    /// let cache = cacheness::Cache::memory().await?;
    /// let report = cache.sweep(Duration::from_secs(24 * 60 * 60)).await?;
    /// assert_eq!(report.orphans, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the metadata backend cannot tell which blobs are named.
    pub async fn sweep(&self, min_age: Duration) -> Result<SweepReport> {
        observed!("sweep", {}, |_| "swept", self.engine.sweep(min_age, false))
    }

    /// Encrypts what has an older key anew with the one that is written now, in all namespaces, so that the older one can
    /// be left out of the [`Encryption`](crate::Encryption) afterwards.
    ///
    /// The cache stays in use meanwhile. The call takes as much memory as a put does, and room on disk for what it replaces
    /// until that is deleted as other garbage is. It can be given up at any time and made again: what has the key already
    /// is only looked at. Entries keep their values, tags, hits and expiry, and get new versions.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the cache does not encrypt; the error of a backend.
    pub async fn rotate_keys(&self) -> Result<RotateReport> {
        observed!("rotate_keys", {}, |_| "rotated", self.engine.rotate_keys())
    }

    /// Counts what [`sweep`](Self::sweep) would delete, and deletes nothing.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub async fn sweep_dry_run(&self, min_age: Duration) -> Result<SweepReport> {
        observed!("sweep", {}, |_| "counted", self.engine.sweep(min_age, true))
    }
}
