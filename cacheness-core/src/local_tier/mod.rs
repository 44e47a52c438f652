//! Copies of remote blobs on this machine: what came from another machine once is read from disk from then on.

mod copies;

use std::path::PathBuf;

pub(crate) use copies::Copies;

/// A folder in which blobs of another machine are kept once they have been read, so that the next read finds them on
/// disk. It goes with every blob backend that is not local.
///
/// Blobs never change, so a copy is never old: one whose blob is deleted is not asked for any more, and ages out. A copy
/// is verified as its blob would be; one that is damaged or cut is deleted, and the blob is fetched again. Reads of a
/// part, such as one column of a table, are answered from a copy where there is one, and otherwise fetch no more than
/// the part. Where the folder cannot take a copy, because its disk is full for example, reads and puts go on without.
///
/// ```no_run
/// use cacheness::{Cache, ConfigOptions, LocalTier};
///
/// let cache = Cache::builder()
///     .metadata("memory")
///     .blobs_with("s3", ConfigOptions::new().with("bucket", "models"))
///     .local_tier(LocalTier::new("/var/cache/models").max_bytes(50 << 30))
///     .open_blocking()?;
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalTier {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) write_through: Option<bool>,
}

impl LocalTier {
    /// The bytes of copies that are kept at the most, unless told otherwise: 10 GiB.
    pub const DEFAULT_MAX_BYTES: u64 = 10 << 30;

    /// Copies in this folder, which is made where it is missing. Several caches and processes may share it. A relative
    /// path counts from the cache's folder, or from the working folder where there is none.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::nowhere() }
    }

    /// What options are laid on before the folder is known.
    pub(crate) fn nowhere() -> Self {
        Self { folder: None, max_bytes: None, write_through: None }
    }

    /// Sets how many bytes of copies are kept at the most. It holds for the folder whenever a call returns, however many
    /// processes share it; where they set different limits, each sees to its own when it adds a copy. What was not used
    /// for the longest time goes first.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Says whether what is put is kept as a copy, too. By default only what is read is.
    #[must_use]
    pub fn write_through(mut self, write_through: bool) -> Self {
        self.write_through = Some(write_through);
        self
    }
}
