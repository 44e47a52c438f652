//! The key of an entry: any short text, or one that [`cache_key!`](crate::cache_key) or a [`KeyBuilder`] derives
//! from parameters. How a key is derived is written down in `docs/key-encoding.md` and never changes.

mod builder;
mod encoding;
mod path;
#[cfg(test)]
mod tests;
mod unordered;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

pub use self::builder::KeyBuilder;
pub use self::unordered::Unordered;
use crate::error::{Error, ErrorKind, Result};

/// What an entry is stored under: any UTF-8 text of 1 to 65,536 bytes.
///
/// Every character counts, none has a meaning, and nothing is normalised. A clone shares the text.
///
/// ```
/// use cacheness_core::Key;
///
/// let key = Key::new("schema:../../data/sales.csv")?;
/// assert_eq!(key.as_str(), "schema:../../data/sales.csv");
/// assert!(Key::new("").is_err());
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// The longest key, in bytes of UTF-8.
    ///
    /// ```
    /// use cacheness_core::Key;
    ///
    /// assert!(Key::new("x".repeat(Key::MAX_LEN)).is_ok());
    /// assert!(Key::new("x".repeat(Key::MAX_LEN + 1)).is_err());
    /// ```
    pub const MAX_LEN: usize = 65_536;

    /// Checks a text and takes it as a key.
    ///
    /// ```
    /// use cacheness_core::Key;
    ///
    /// assert_eq!(Key::new("user:1")?.to_string(), "user:1");
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Key::check`].
    pub fn new(key: impl AsRef<str>) -> Result<Self> {
        let key = key.as_ref();
        Self::check(key)?;
        Ok(Self(Arc::from(key)))
    }

    /// Says whether a text can be a key, without making one.
    ///
    /// ```
    /// use cacheness_core::{ErrorKind, Key};
    ///
    /// assert!(Key::check("user:1").is_ok());
    /// assert_eq!(Key::check("").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an empty text, [`ErrorKind::LimitExceeded`] for one over
    /// [`Key::MAX_LEN`] bytes.
    pub fn check(key: &str) -> Result<()> {
        if key.is_empty() {
            let message = "a key needs at least one character; this one is empty";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if key.len() > Self::MAX_LEN {
            let message = format!(
                "a key has at most {} bytes; this one has {}; derive a short one with `cache_key!` or `KeyBuilder`",
                Self::MAX_LEN,
                key.len()
            );
            return Err(Error::new(ErrorKind::LimitExceeded, message).with_context("key", key));
        }
        Ok(())
    }

    /// The text.
    ///
    /// ```
    /// use cacheness_core::Key;
    ///
    /// assert!(Key::new("user:1")?.as_str().starts_with("user:"));
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A map with `Key` as its key can be asked with a `&str`: both hash and compare alike.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Key {
    type Error = Error;

    fn try_from(key: &str) -> Result<Self> {
        Self::new(key)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(key: String) -> Result<Self> {
        Self::check(&key)?;
        Ok(Self(Arc::from(key)))
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self> {
        Self::new(key)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.as_str().to_owned()
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
