//! Encryption at rest: what a value holds and what of its entry is private can be read only with a key. The payload is
//! encrypted chunk by chunk, so that ranges stay readable, under a key of its own; that key, and the private parts, lie
//! in the entry as one box under the key of the cache.

#[cfg(not(feature = "encryption"))]
mod off;
#[cfg(feature = "encryption")]
mod on;

use std::collections::BTreeMap;
use std::path::PathBuf;

#[cfg(not(feature = "encryption"))]
pub(crate) use off::{Encryptor, KeyHasher, PayloadSealer, ValueCipher};
#[cfg(feature = "encryption")]
pub(crate) use on::{Encryptor, KeyHasher, PayloadSealer, ValueCipher};

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::protection::KeySource;

/// How a cache encrypts what it stores; see [`CacheBuilder::encryption`](crate::CacheBuilder::encryption).
///
/// Keys have names. One of them is for what is written, the others are for what was written before. `Debug` shows no key.
///
/// ```
/// use cacheness::{Cache, Encryption, EncryptionKey};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let keys = folder.path();
/// let old = EncryptionKey::file(keys.join("2025.key")).create_key(true);
/// let new = EncryptionKey::file(keys.join("2026.key")).create_key(true);
/// let encryption = Encryption::new("2026", new).also_read("2025", old);
/// let cache = Cache::builder()
///     .folder(folder.path().join("cache"))
///     .encryption(encryption)
///     .open_blocking()?;
/// cache.put("answer", &42)?;
/// let report = cache.rotate_keys()?;
/// assert_eq!((report.entries, report.rotated), (1, 0), "the only entry has the newest key already");
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Encryption {
    pub(crate) keys: BTreeMap<String, EncryptionKey>,
    pub(crate) write_key: Option<String>,
    pub(crate) encrypt_tags: bool,
    pub(crate) hash_keys: bool,
    pub(crate) hash_key: Option<String>,
}

/// Where a key of an [`Encryption`] comes from: a text of 32 bytes at least, 4,096 at the most, without the white space
/// around it. `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EncryptionKey {
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: Option<String>,
    pub(crate) given: Option<Secret>,
    pub(crate) create_key: bool,
}

impl EncryptionKey {
    /// The key in this file, which others may not read. A relative path counts from the cache's folder, or from the
    /// working folder where there is none.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), ..Self::default() }
    }

    /// The key in this variable of the environment.
    #[must_use]
    pub fn env(name: impl Into<String>) -> Self {
        Self { env: Some(name.into()), ..Self::default() }
    }

    /// This key.
    #[must_use]
    pub fn given(key: Secret) -> Self {
        Self { given: Some(key), ..Self::default() }
    }

    /// Says whether a key file that is not there is made, of random digits, for its owner alone. By default it is an
    /// error. A file that is there is never replaced.
    #[must_use]
    pub fn create_key(mut self, create: bool) -> Self {
        self.create_key = create;
        self
    }

    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where that is not exactly one place.
    fn source(&self, table: &str) -> Result<KeySource> {
        let file = self.file.clone().map(KeySource::File);
        let variable = self.env.clone().map(KeySource::Variable);
        let mut sources = file.into_iter().chain(variable).chain(self.given.clone().map(KeySource::Given));
        match (sources.next(), sources.next()) {
            (Some(source), None) if !self.create_key || matches!(source, KeySource::File(_)) => Ok(source),
            (Some(_), None) => Err(invalid(format!(
                "`{table}.create_key` makes a key file; give `{table}.key_file`, or leave it out"
            ))),
            (None, _) => {
                Err(invalid(format!("`{table}` is no key yet; give `{table}.key_file` or `{table}.key_env`")))
            }
            (Some(_), Some(_)) => {
                Err(invalid(format!("`{table}` is one key, and several are given; leave all but one out")))
            }
        }
    }
}

impl Encryption {
    /// Encrypts with this key.
    #[must_use]
    pub fn new(name: impl Into<String>, key: EncryptionKey) -> Self {
        let name = name.into();
        Self { write_key: Some(name.clone()), keys: BTreeMap::from([(name, key)]), ..Self::default() }
    }

    /// Adds a key that entries may have, but that none is given any more.
    /// [`Cache::rotate_keys`](crate::Cache::rotate_keys) replaces it.
    #[must_use]
    pub fn also_read(mut self, name: impl Into<String>, key: EncryptionKey) -> Self {
        self.keys.insert(name.into(), key);
        self
    }

    /// Says whether tags are encrypted, too. Then nobody can ask for entries by their tags. By default they are readable.
    #[must_use]
    pub fn encrypt_tags(mut self, encrypt: bool) -> Self {
        self.encrypt_tags = encrypt;
        self
    }

    /// Says whether keys are stored only as hashes, made with the key of this name, which must stay the same for as long
    /// as the cache lives. Then listings and events name the hash, and nobody can ask for entries by what their keys begin
    /// with or look like. By default keys are readable.
    #[must_use]
    pub fn hash_keys(mut self, key: impl Into<String>) -> Self {
        self.hash_keys = true;
        self.hash_key = Some(key.into());
        self
    }

    /// The name of the key that is written.
    pub(crate) fn written(&self) -> Result<&str> {
        let known = || self.keys.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match &self.write_key {
            Some(name) if self.keys.contains_key(name) => Ok(name),
            Some(name) => Err(invalid(format!(
                "`encryption.write_key` names `{name}`, and there is no such key under `encryption.keys`; there are {}",
                known()
            ))),
            None => match (self.keys.keys().next(), self.keys.len()) {
                (Some(only), 1) => Ok(only),
                (Some(_), _) => Err(invalid(format!(
                    "`encryption.keys` has several keys; say by `encryption.write_key` which is written: {}",
                    known()
                ))),
                (None, _) => {
                    let message = "`encryption` needs a key: give `[encryption.keys.NAME]` with `key_file` or `key_env`";
                    Err(invalid(message.into()))
                }
            },
        }
    }

    /// The name of the key that keys of entries are hashed with, where they are.
    pub(crate) fn hashed_with(&self) -> Result<Option<&str>> {
        if !self.hash_keys {
            return match &self.hash_key {
                None => Ok(None),
                Some(_) => {
                    let message = "`encryption.hash_key` goes with `encryption.hash_keys = true`; say that, or leave it out";
                    Err(invalid(message.into()))
                }
            };
        }
        match &self.hash_key {
            Some(name) if self.keys.contains_key(name) => Ok(Some(name)),
            Some(name) => Err(invalid(format!(
                "`encryption.hash_key` names `{name}`, and there is no such key under `encryption.keys`"
            ))),
            None => {
                let message = "`encryption.hash_keys` needs `encryption.hash_key`, the name of the key under \
                               `encryption.keys` that hashes keys for as long as the cache lives";
                Err(invalid(message.into()))
            }
        }
    }

    /// Where the keys come from, by their names, and whether they are made.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where what is given does not go together, or where this build cannot encrypt.
    pub(crate) fn sources(&self) -> Result<Vec<(&str, KeySource, bool)>> {
        if cfg!(not(feature = "encryption")) {
            let message = "`encryption` needs the feature `encryption` of the crate `cacheness`; switch it on, or leave the \
                           table out";
            return Err(invalid(message.into()));
        }
        self.written()?;
        self.hashed_with()?;
        let source = |(name, key): (&'_ String, &EncryptionKey)| {
            key.source(&key_table(name)).map(|source| (source, key.create_key))
        };
        self.keys
            .iter()
            .map(|key| source(key).map(|(source, create)| (key.0.as_str(), source, create)))
            .collect()
    }
}

/// The table of the configuration that a key stands in.
pub(crate) fn key_table(name: &str) -> String {
    format!("encryption.keys.{name}")
}

/// The error of a query that encryption makes impossible.
pub(crate) fn not_asked(what: &str, option: &str) -> Error {
    let message =
        format!("{what} cannot be asked for in this cache, because `{option}` keeps them from being read");
    Error::new(ErrorKind::Unsupported, message)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::ConfigInvalid, message)
}
