//! The names and numbers that identify things: namespaces, caches, blobs, versions and moments.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// A tenant of a cache: its keys, statistics and defaults are its own.
///
/// Any UTF-8 text of 1 to 255 bytes is a name. It is held as data, never as a part of a path or a query.
///
/// ```
/// use cacheness_core::Namespace;
///
/// assert_eq!(Namespace::new("../../etc")?.as_str(), "../../etc");
/// assert!(Namespace::new("").is_err());
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 255;

    /// The name of the namespace that a cache is bound to when it is opened.
    pub const DEFAULT: &'static str = "default";

    /// Checks a name and takes it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an empty name, [`ErrorKind::LimitExceeded`] for one over 255 bytes.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, "a namespace needs a name; this one is empty"));
        }
        if name.len() > Self::MAX_LEN {
            let message = format!(
                "a namespace's name has at most {} bytes; this one has {}",
                Self::MAX_LEN,
                name.len()
            );
            return Err(Error::new(ErrorKind::LimitExceeded, message).with_context("namespace", name));
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for Namespace {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Namespace {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        namespace.0.as_ref().to_owned()
    }
}

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The 16 bytes, most significant first.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id that these 16 bytes stand for.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Reads an id from bytes that came from a store; `None` unless there are 16.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }

            /// Reads the form that `Display` writes: 32 lowercase hexadecimal digits.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let canonical = text.len() == 32
                    && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                if canonical { Uuid::try_parse(text).ok().map(Self) } else { None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.simple(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.simple(), f)
            }
        }
    };
}

uuid_newtype! {
    /// The random id of one cache. Its blobs lie under this id, so that two caches can share a store.
    CacheId
}

uuid_newtype! {
    /// The id of one blob: a UUIDv7, so that its age can be read from it. It is never used twice.
    BlobId
}

uuid_newtype! {
    /// Who holds a [lease](crate::Leases): the random id of one attempt to hold it, so that asking again after a lost
    /// answer does not find the lease taken.
    LeaseHolder
}

impl LeaseHolder {
    /// Draws a new id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl CacheId {
    /// Draws a new id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl BlobId {
    /// Makes a fresh id for a blob that is written at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(0);
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let moment = uuid::Timestamp::from_unix_time(seconds, rest as u32, 0, 0);
        Self(Uuid::new_v7(moment))
    }

    /// When the id was made, to the millisecond; `None` where the bytes are not a UUIDv7.
    #[must_use]
    pub fn created_at(&self) -> Option<Timestamp> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let seconds = i64::try_from(seconds).ok()?;
        Some(Timestamp::from_nanos(seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(nanos))?))
    }
}

/// The address of a blob in a [`BlobBackend`](crate::BlobBackend): the cache it belongs to and its id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BlobKey {
    /// The cache that wrote the blob.
    pub cache: CacheId,
    /// The blob.
    pub blob: BlobId,
}

impl fmt::Display for BlobKey {
    /// Writes `CACHE/BLOB`, each as 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cache, self.blob)
    }
}

/// A number that a metadata backend issues for each write, only upwards and never twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment in nanoseconds since 1970-01-01 00:00 UTC; reaches from 1677 to 2262.
///
/// ```
/// use cacheness_core::Timestamp;
/// use std::time::Duration;
///
/// let later = Timestamp::from_nanos(5) + Duration::from_nanos(7);
/// assert_eq!(later.as_nanos(), 12);
/// assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment there is.
    pub const MIN: Self = Self(i64::MIN);

    /// The latest moment there is.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment this many nanoseconds after the start of 1970, UTC.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of 1970, UTC.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// How long this moment lies after `earlier`; zero where it lies before it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(i128::from(self.0) - i128::from(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Adds, and stays at the latest moment where the sum lies past it.
    fn add(self, by: Duration) -> Self {
        Self(i64::try_from(by.as_nanos()).map_or(i64::MAX, |by| self.0.saturating_add(by)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    /// Subtracts, and stays at the earliest moment where the difference lies before it.
    fn sub(self, by: Duration) -> Self {
        Self(i64::try_from(by.as_nanos()).map_or(i64::MIN, |by| self.0.saturating_sub(by)))
    }
}

impl From<SystemTime> for Timestamp {
    /// Moments outside the range become its ends.
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => Self(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n)),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let distance = Duration::from_nanos(time.0.unsigned_abs());
        let moment =
            if time.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        moment.unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_take_any_text_up_to_their_limit() {
        assert!(Namespace::new("\0☃'%_../").is_ok());
        assert!(Namespace::new("x".repeat(255)).is_ok());
        assert_eq!(Namespace::new("x".repeat(256)).unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!(Namespace::new("").unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_blob_id_tells_its_age_and_differs_each_time() {
        let now = Timestamp::from_nanos(1_700_000_000_123_000_000);
        let id = BlobId::new(now);
        assert_eq!(id.created_at(), Some(now));
        assert_ne!(id, BlobId::new(now));
        assert_eq!(BlobId::parse(&id.to_string()), Some(id));
        assert_eq!(BlobId::parse("../../../../etc/passwd0000000000"), None);
    }

    #[test]
    fn moments_convert_both_ways_and_saturate() {
        for nanos in [0, 1, -1, i64::MAX, i64::MIN + 1] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
        assert_eq!(Timestamp::from_nanos(3).since(Timestamp::from_nanos(5)), Duration::ZERO);
    }
}
