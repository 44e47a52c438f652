//! Upkeep that an application asks for, on the async face: verifying, repairing, sweeping, rotating keys.

use std::time::Duration;

use crate::cache::Cache;
use crate::engine::{RotateReport, SweepReport, VerifyOptions, VerifyReport, observed};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Cache {
    /// Looks whether every entry can be served: its record can be read, its blob is there, has its length and the bytes that
    /// were stored. It goes page by page in bounded memory, changes nothing, and the cache stays in use: what is replaced,
    /// removed or expires meanwhile is no finding. Blobs without entries are what
    /// [`sweep_dry_run`](Self::sweep_dry_run) counts.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cacheness::Error> {
    /// use cacheness::VerifyOptions;
    ///
    /// let cache = cacheness::Cache::memory().await?;
    /// cache.put("answer", &42).await?;
    /// let report = cache.verify(VerifyOptions::new()).await?;
    /// for finding in &report.findings {
    ///     println!("{}: {} ({})", finding.key, finding.damage, finding.error);
    /// }
    /// assert!(report.is_clean());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of a backend that cannot be reached, which say nothing about the entries. An index that is itself damaged is
    /// [`Corrupted`](ErrorKind::Corrupted).
    pub async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        let verified = self.engine.verify(&options, false);
        observed!("verify", {}, |report| if report.is_clean() { "clean" } else { "damaged" }, verified)
    }

    /// Does what [`verify`](Self::verify) does, and removes the entries that certainly cannot be served, unless they have
    /// been replaced meanwhile. An entry stays where its value can be served all the same, or may be once its blob can be
    /// read again.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); what was removed before stays removed.
    pub async fn repair(&self, options: VerifyOptions) -> Result<VerifyReport> {
        let repaired = self.engine.verify(&options, true);
        observed!("repair", {}, |report| if report.is_clean() { "clean" } else { "damaged" }, repaired)
    }

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
