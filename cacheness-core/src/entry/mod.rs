//! An entry: the record about one value.

#[cfg(feature = "encryption")]
mod private;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::encryption::ValueCipher;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::{Access, CacheHandler, FormatMeta, TypeClass};
use crate::key::Key;
use crate::names::{BlobId, CacheId, Namespace, Timestamp, Version};
use crate::stage::{Checksums, Stage};
use crate::validity::Validity;

#[cfg(feature = "encryption")]
pub(crate) use private::PrivateParts;
use record::Form;
pub use record::{StoredEntry, blob_in_record};

/// The record about one value: its key, how it was encoded, where its bytes lie, and why it may be served.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The namespace that the entry belongs to.
    pub namespace: Namespace,
    /// The key.
    pub key: Key,
    /// The number of the write that made the entry; a later write has a higher one.
    pub version: Version,
    /// How the value was encoded.
    pub format: Format,
    /// The value's length in bytes as its handler wrote it.
    pub size: u64,
    /// The length in bytes of what is stored: after compression, without the blob's trailer.
    pub stored_size: u64,
    /// The checksums of what is stored.
    pub checksums: Checksums,
    /// Where the bytes lie.
    pub location: Location,
    /// When the value was put.
    pub created_at: Timestamp,
    /// When the value was last read or put. Kept to within the access interval, and exact after a clean close.
    pub accessed_at: Timestamp,
    /// How often the value has been read since it was put.
    pub hits: u64,
    /// Why the entry may be served.
    pub validity: Validity,
    /// The caller's tags, sorted, each once.
    pub tags: Vec<String>,
    /// Who is evicted first: entries of a lower priority go before those of a higher one. 0 to 1, 0.5 by default.
    pub priority: f32,
    /// The caller's description, for people who look at the cache.
    pub description: Option<String>,
    /// The caller's own fields.
    pub custom: Map<String, Value>,
    /// What proves that this cache wrote the entry, where it signs.
    pub(crate) signature: Bytes,
    /// What of it is private, and can be read only with a key, where this cache encrypts; empty once it is opened.
    pub(crate) sealed: Bytes,
    /// What decrypts the value; none where the value is not encrypted, and while the entry is sealed.
    pub(crate) cipher: Option<Arc<ValueCipher>>,
}

/// How a value was turned into the bytes that are stored.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// The name of the handler that wrote the value and will read it.
    pub handler: String,
    /// The handler's class.
    pub class: TypeClass,
    /// The caller's name for the type, compared when a reader gives one.
    pub type_tag: Option<String>,
    /// The caller's version of the type; a reader that gives another one gets a miss.
    pub type_version: Option<u32>,
    /// The Rust type's name, for messages only.
    pub type_name: String,
    /// What the handler keeps for itself.
    pub meta: FormatMeta,
    /// The stages after the handler, in the order in which they were applied.
    pub stages: Vec<Stage>,
    /// How the stored bytes can be read: what the handler and the stages allow.
    pub access: Access,
}

/// Where the bytes of a value lie.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// With the entry itself.
    Inline(Bytes),
    /// In the blob backend.
    Blob(BlobId),
    /// With the entry, but left out by a listing.
    InlineOmitted,
}

impl Entry {
    /// An entry without TTL, sources, tags or custom fields, to which they can be added. The engine makes the
    /// entries of a cache; tests of a backend make their own.
    ///
    /// Its sizes and checksums are those of inline bytes, and those of no bytes where the value lies in a blob.
    #[must_use]
    pub fn new(
        namespace: Namespace,
        key: Key,
        format: Format,
        location: Location,
        created_at: Timestamp,
    ) -> Self {
        let inline: &[u8] = match &location {
            Location::Inline(bytes) => bytes,
            Location::Blob(_) | Location::InlineOmitted => &[],
        };
        let (size, checksums) = (inline.len() as u64, Checksums::of(inline));
        Self {
            namespace,
            key,
            version: Version::default(),
            format,
            size,
            stored_size: size,
            checksums,
            location,
            created_at,
            accessed_at: created_at,
            hits: 0,
            validity: Validity::default(),
            tags: Vec::new(),
            priority: DEFAULT_PRIORITY,
            description: None,
            custom: Map::new(),
            signature: Bytes::new(),
            sealed: Bytes::new(),
            cipher: None,
        }
    }

    /// The blob that holds the value, where it is not stored with the entry.
    #[must_use]
    pub fn blob_id(&self) -> Option<BlobId> {
        match self.location {
            Location::Blob(id) => Some(id),
            Location::Inline(_) | Location::InlineOmitted => None,
        }
    }

    /// The entry as a metadata backend stores it, apart from inline bytes: see [`StoredEntry`].
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        record::encode(self, Form::Stored)
    }

    /// The entry as it stands in the trailer of its blob: with its namespace and key, and the cache's id.
    #[must_use]
    pub fn to_trailer(&self, cache: CacheId) -> Vec<u8> {
        record::encode(self, Form::Trailer(cache))
    }

    /// The bytes that its handler and the stages wrote for chunk number `index` of the value, which was verified.
    pub(crate) fn opened(&self, index: u64, chunk: Bytes) -> Result<Bytes> {
        match &self.cipher {
            None => Ok(chunk),
            Some(cipher) => cipher.open_chunk(index, &chunk),
        }
    }

    /// All of the entry that a reader relies on, for a signature: as in a trailer, with the expiry as it is now, and
    /// without what changes with each use.
    #[cfg_attr(
        not(any(feature = "encryption", feature = "signing")),
        allow(dead_code, reason = "nothing is signed")
    )]
    pub(crate) fn to_signed(&self, cache: CacheId) -> Vec<u8> {
        record::encode(self, Form::Signed(cache))
    }
}

impl Format {
    /// The format of values that `handler` wrote as they are: no tag, no stages.
    #[must_use]
    pub fn new(handler: &dyn CacheHandler, meta: FormatMeta, type_name: impl Into<String>) -> Self {
        let (type_name, access) = (type_name.into(), handler.preferred_access());
        Self { type_name, meta, access, ..Self::named(handler.name(), handler.class()) }
    }

    /// The format of a handler of this name and class that is not at hand, as in tests of a backend: its values are
    /// read as a whole, and their type has no name. The fields in which it differs are to be set.
    #[must_use]
    pub fn named(handler: impl Into<String>, class: TypeClass) -> Self {
        Self {
            handler: handler.into(),
            class,
            type_tag: None,
            type_version: None,
            type_name: String::new(),
            meta: FormatMeta::default(),
            stages: Vec::new(),
            access: Access::Whole,
        }
    }
}

/// A stored record that this version cannot read.
fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupted, format!("the stored entry is damaged: {what}"))
}

/// The priority of an entry that was given none.
pub(crate) const DEFAULT_PRIORITY: f32 = 0.5;

pub(crate) fn check_priority(priority: f32) -> Result<f32> {
    if (0.0..=1.0).contains(&priority) {
        return Ok(priority);
    }
    Err(Error::new(ErrorKind::InvalidInput, format!("a priority lies between 0 and 1; {priority} was given")))
}
