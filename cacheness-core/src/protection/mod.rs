//! What keeps entries from being forged: keys from files and variables, and what is done with each entry before it is
//! stored and after it is read.

mod keys;

pub(crate) use keys::{KeyMaterial, KeySource};

use crate::entry::Entry;
use crate::error::Result;
use crate::names::CacheId;
use crate::signing::Signer;
use crate::stage::ChecksumKind;

/// What a cache does to its entries. There is none where it does nothing.
pub(crate) struct Protection {
    cache: CacheId,
    signer: Signer,
}

impl Protection {
    pub(crate) fn new(cache: CacheId, signer: Signer) -> Self {
        Self { cache, signer }
    }

    /// Prepares an entry to be stored: the last thing that is done to it.
    pub(crate) fn protect(&self, entry: &mut Entry) -> Result<()> {
        self.signer.sign(self.cache, entry)
    }

    /// Checks an entry that was read: the first thing that is done to it.
    ///
    /// # Errors
    /// [`Untrusted`](crate::ErrorKind::Untrusted) where this cache did not write it so.
    pub(crate) fn admit(&self, entry: &mut Entry) -> Result<()> {
        self.signer.verify(self.cache, entry)
    }

    /// What stands for the bytes of a value in its entry.
    pub(crate) fn checksum_kind(&self) -> ChecksumKind {
        ChecksumKind::Blake3
    }
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Protection")
    }
}
