//! What keeps entries from being forged and read: keys from files and variables, and what is done with each entry before it
//! is stored and after it is read.

mod keys;
mod missing;

#[cfg(feature = "encryption")]
pub(crate) use keys::random;
pub(crate) use keys::{KeyMaterial, KeySource};
pub(crate) use missing::MissingKeys;

use std::path::Path;

use crate::encryption::{Encryption, Encryptor, KeyHasher, key_table};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::names::CacheId;
use crate::signing::{Signer, Signing};
use crate::stage::ChecksumKind;

/// The keys of a cache, ready for use.
#[derive(Default)]
pub(crate) struct Keys {
    signer: Option<Signer>,
    encryptor: Option<Encryptor>,
    hasher: Option<KeyHasher>,
}

impl Keys {
    /// Reads the keys that these name, and makes those that are to be made; `None` where there are none.
    pub(crate) fn read(
        signing: Option<&Signing>,
        encryption: Option<&Encryption>,
        folder: Option<&Path>,
    ) -> Result<Option<Self>> {
        let mut keys = Self::default();
        if let Some(signing) = signing {
            let key = signing.source()?.read("signing", signing.create_key, folder)?;
            keys.signer = Some(Signer::new(signing.algorithm, &key)?);
        }
        if let Some(encryption) = encryption {
            let read = encryption.sources()?.into_iter().map(|(name, source, create)| {
                source.read(&key_table(name), create, folder).map(|key| (name, key))
            });
            let (encryptor, hasher) = Encryptor::new(encryption, &read.collect::<Result<Vec<_>>>()?)?;
            (keys.encryptor, keys.hasher) = (Some(encryptor), hasher);
        }
        Ok((signing.is_some() || encryption.is_some()).then_some(keys))
    }
}

/// What a cache does to its entries. There is none where it does nothing.
pub(crate) struct Protection {
    cache: CacheId,
    keys: Keys,
}

impl Protection {
    pub(crate) fn new(cache: CacheId, keys: Keys) -> Self {
        Self { cache, keys }
    }

    /// Prepares an entry to be stored: the last thing that is done to it.
    pub(crate) fn protect(&self, entry: &mut Entry) -> Result<()> {
        if let Some(encryptor) = &self.keys.encryptor {
            encryptor.seal(self.cache, entry)?;
        }
        match &self.keys.signer {
            Some(signer) => signer.sign(self.cache, entry),
            None => Ok(()),
        }
    }

    /// Checks and opens an entry that was read: the first thing that is done to it.
    ///
    /// # Errors
    /// [`ErrorKind::Untrusted`] where this cache did not write it so; [`ErrorKind::UnknownKey`] where it cannot be read
    /// with the keys that there are.
    pub(crate) fn admit(&self, entry: &mut Entry) -> Result<()> {
        if let Some(signer) = &self.keys.signer {
            signer.verify(self.cache, entry)?;
        }
        match &self.keys.encryptor {
            Some(encryptor) => encryptor.open(self.cache, entry),
            None => check_plain(entry),
        }
    }

    /// What stands for the bytes of a value in its entry.
    pub(crate) fn checksum_kind(&self) -> ChecksumKind {
        if self.keys.signer.is_some() { ChecksumKind::Blake3 } else { ChecksumKind::Xxh3 }
    }

    pub(crate) fn encryptor(&self) -> Option<&Encryptor> {
        self.keys.encryptor.as_ref()
    }

    pub(crate) fn hasher(&self) -> Option<&KeyHasher> {
        self.keys.hasher.as_ref()
    }
}

/// Refuses an entry that is encrypted, for a cache that has no keys.
pub(crate) fn check_plain(entry: &Entry) -> Result<()> {
    if entry.sealed.is_empty() {
        return Ok(());
    }
    let message =
        "the entry is encrypted, and this cache was opened without `encryption`; open it with the keys";
    Err(Error::new(ErrorKind::UnknownKey, message))
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Protection")
    }
}
