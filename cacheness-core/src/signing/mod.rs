//! Signatures: a digest with a secret key over all that a reader relies on in an entry, so that nobody without the key
//! can write, change or move one.

#[cfg(not(feature = "signing"))]
mod off;
#[cfg(feature = "signing")]
mod on;

use std::path::PathBuf;

#[cfg(not(feature = "signing"))]
pub(crate) use off::Signer;
#[cfg(feature = "signing")]
pub(crate) use on::Signer;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::protection::KeySource;

/// How a cache signs its entries; see [`CacheBuilder::signing`](crate::CacheBuilder::signing).
///
/// Exactly one key is needed. All who share a cache need the same key and the same algorithm. `Debug` shows no key.
///
/// ```
/// use cacheness::{Cache, Signing, SigningAlgorithm};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let keys = folder.path();
/// let signing = Signing::new().key_file(keys.join("cache.key")).create_key(true);
/// let cache = Cache::builder()
///     .folder(folder.path().join("cache"))
///     .signing(signing.algorithm(SigningAlgorithm::Blake3))
///     .open_blocking()?;
/// cache.put("answer", &42)?;
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Signing {
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) key_env: Option<String>,
    pub(crate) key: Option<Secret>,
    pub(crate) create_key: bool,
    pub(crate) algorithm: SigningAlgorithm,
}

/// How signatures are made. Both are as good; the choice is one of speed and of what rules ask for.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum SigningAlgorithm {
    /// HMAC with SHA-256, as RFC 2104 and FIPS 198-1 have it.
    #[default]
    HmacSha256,
    /// BLAKE3 with a key.
    Blake3,
}

impl Signing {
    /// No key yet, and [`SigningAlgorithm::HmacSha256`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the key from this file: 32 bytes at least, 4,096 at the most, without the white space around them. Others may
    /// not read it. A relative path counts from the cache's folder, or from the working folder where there is none.
    #[must_use]
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_file = Some(path.into());
        self
    }

    /// Takes the key from this variable of the environment, as from a file.
    #[must_use]
    pub fn key_env(mut self, name: impl Into<String>) -> Self {
        self.key_env = Some(name.into());
        self
    }

    /// Takes this key, as from a file.
    #[must_use]
    pub fn key(mut self, key: Secret) -> Self {
        self.key = Some(key);
        self
    }

    /// Says whether a key file that is not there is made, of random digits, for its owner alone. By default it is an
    /// error. A file that is there is never replaced.
    #[must_use]
    pub fn create_key(mut self, create: bool) -> Self {
        self.create_key = create;
        self
    }

    /// Chooses how signatures are made.
    #[must_use]
    pub fn algorithm(mut self, algorithm: SigningAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Where the key comes from, and whether it is made.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where that is not exactly one place, or where this build cannot sign.
    pub(crate) fn source(&self) -> Result<KeySource> {
        let invalid = |message: &str| Error::new(ErrorKind::ConfigInvalid, message);
        if cfg!(not(feature = "signing")) {
            let message = "`signing` needs the feature `signing` of the crate `cacheness`; switch it on, or leave the table \
                           out";
            return Err(invalid(message));
        }
        let file = self.key_file.clone().map(KeySource::File);
        let variable = self.key_env.clone().map(KeySource::Variable);
        let mut sources = file.into_iter().chain(variable).chain(self.key.clone().map(KeySource::Given));
        let source = match (sources.next(), sources.next()) {
            (Some(source), None) => source,
            (None, _) => {
                let message = "`signing` needs a key: give `signing.key_file` or `signing.key_env`";
                return Err(invalid(message));
            }
            (Some(_), Some(_)) => {
                let message = "`signing` needs one key, and several are given; leave all but one of `signing.key_file`, \
                               `signing.key_env` and a key of the program out";
                return Err(invalid(message));
            }
        };
        if self.create_key && !matches!(source, KeySource::File(_)) {
            let message = "`signing.create_key` makes a key file; give `signing.key_file`, or leave it out";
            return Err(invalid(message));
        }
        Ok(source)
    }
}
