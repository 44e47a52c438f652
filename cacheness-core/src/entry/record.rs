//! The stored form of an entry, a Protocol Buffers message that `docs/on-disk-format.md` specifies. Fields that a
//! reader does not know are skipped, so later versions can add some.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::{Entry, Format, Location, damaged};
use crate::error::Result;
use crate::handler::{Access, FormatMeta, TypeClass};
use crate::key::Key;
use crate::names::{BlobId, CacheId, Namespace, Timestamp, Version};
use crate::stage::{Checksums, Stage};
use crate::validity::{FileSource, Validity};

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(bytes = "bytes", tag = "1")]
    cache_id: Bytes,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    key: String,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(string, tag = "5")]
    handler: String,
    #[prost(uint32, tag = "6")]
    class: u32,
    #[prost(string, optional, tag = "7")]
    type_tag: Option<String>,
    #[prost(uint32, optional, tag = "8")]
    type_version: Option<u32>,
    #[prost(string, tag = "9")]
    type_name: String,
    #[prost(bytes = "bytes", tag = "10")]
    format_meta: Bytes,
    #[prost(uint32, repeated, tag = "11")]
    stages: Vec<u32>,
    #[prost(uint32, tag = "12")]
    access: u32,
    #[prost(uint64, tag = "13")]
    size: u64,
    #[prost(uint64, tag = "14")]
    stored_size: u64,
    #[prost(bytes = "bytes", tag = "15")]
    checksums: Bytes,
    #[prost(bytes = "bytes", tag = "16")]
    blob_id: Bytes,
    #[prost(sfixed64, tag = "17")]
    created_at: i64,
    #[prost(sfixed64, tag = "18")]
    accessed_at: i64,
    #[prost(uint64, tag = "19")]
    hits: u64,
    #[prost(sfixed64, optional, tag = "20")]
    expires_at: Option<i64>,
    #[prost(uint64, optional, tag = "21")]
    ttl: Option<u64>,
    #[prost(message, repeated, tag = "22")]
    sources: Vec<SourceRecord>,
    #[prost(string, repeated, tag = "23")]
    tags: Vec<String>,
    #[prost(float, tag = "24")]
    priority: f32,
    #[prost(string, optional, tag = "25")]
    description: Option<String>,
    #[prost(string, tag = "26")]
    custom: String,
    // Reserved: 27 stale_until, 28 etag, 29 last_modified, 30 as_of, 31 encryption, 32 signature.
}

#[derive(Clone, PartialEq, Message)]
struct SourceRecord {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(sfixed64, tag = "2")]
    modified: i64,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(bytes = "bytes", tag = "4")]
    hash: Bytes,
}

/// The fields of an entry that change without a new write, or that a backend holds apart from the stored record.
/// What a backend gives here replaces what the record says.
///
/// A backend stores [`Entry::to_stored`] as it is and keeps beside it, in whatever form suits its queries, these
/// fields. It gives both back to [`decode`](Self::decode).
#[derive(Clone, Debug)]
pub struct StoredEntry<'a> {
    /// What [`Entry::to_stored`] gave.
    pub record: &'a [u8],
    /// The namespace under which the entry was found.
    pub namespace: Namespace,
    /// The key under which the entry was found.
    pub key: &'a str,
    /// The entry's version.
    pub version: Version,
    /// When the entry was last used.
    pub accessed_at: Timestamp,
    /// How often it was used.
    pub hits: u64,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// The inline bytes; `None` where the value lies in a blob.
    pub inline: Option<Bytes>,
    /// True where inline bytes exist but were left out on purpose.
    pub inline_omitted: bool,
}

impl StoredEntry<'_> {
    /// Puts the entry together.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`](crate::ErrorKind::Corrupted) where the record is damaged or names something that
    /// this version does not know.
    pub fn decode(self) -> Result<Entry> {
        let record = Record::decode(self.record).map_err(damaged)?;
        let blob = match (record.blob_id.is_empty(), self.inline) {
            (false, _) => Location::Blob(
                BlobId::from_slice(&record.blob_id).ok_or_else(|| damaged("a blob id has 16 bytes"))?,
            ),
            (true, Some(bytes)) => Location::Inline(bytes),
            (true, None) if self.inline_omitted => Location::InlineOmitted,
            (true, None) => return Err(damaged("it names no blob and has no inline bytes")),
        };
        let mut entry = record.into_entry(self.namespace, Key::new(self.key)?, blob)?;
        entry.version = self.version;
        entry.accessed_at = self.accessed_at;
        entry.hits = self.hits;
        entry.validity.expires_at = self.expires_at;
        Ok(entry)
    }
}

impl Entry {
    /// Reads the entry that stands in a blob's trailer, and the cache it belongs to.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`](crate::ErrorKind::Corrupted) where the record is damaged.
    pub fn from_trailer(record: &[u8]) -> Result<(CacheId, Entry)> {
        let record = Record::decode(record).map_err(damaged)?;
        let cache =
            CacheId::from_slice(&record.cache_id).ok_or_else(|| damaged("a cache id has 16 bytes"))?;
        let blob = BlobId::from_slice(&record.blob_id).ok_or_else(|| damaged("a blob id has 16 bytes"))?;
        let (namespace, key) = (Namespace::new(&record.namespace)?, Key::new(&record.key)?);
        Ok((cache, record.into_entry(namespace, key, Location::Blob(blob))?))
    }
}

pub(super) fn encode(entry: &Entry, trailer_of: Option<CacheId>) -> Vec<u8> {
    let (cache_id, namespace, key) = match trailer_of {
        Some(cache) => (
            Bytes::copy_from_slice(cache.as_bytes()),
            entry.namespace.as_str().to_owned(),
            entry.key.as_str().to_owned(),
        ),
        None => Default::default(),
    };
    let record = Record {
        cache_id,
        namespace,
        key,
        version: entry.version.0,
        handler: entry.format.handler.clone(),
        class: entry.format.class.code(),
        type_tag: entry.format.type_tag.clone(),
        type_version: entry.format.type_version,
        type_name: entry.format.type_name.clone(),
        format_meta: entry.format.meta.as_bytes().clone(),
        stages: entry.format.stages.iter().map(|stage| stage.code()).collect(),
        access: access_code(entry.format.access),
        size: entry.size,
        stored_size: entry.stored_size,
        checksums: entry.checksums.as_stored().clone(),
        blob_id: entry.blob_id().map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes())),
        created_at: entry.created_at.as_nanos(),
        accessed_at: entry.accessed_at.as_nanos(),
        hits: entry.hits,
        expires_at: entry.validity.expires_at.map(Timestamp::as_nanos),
        ttl: entry.validity.ttl.map(|ttl| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX)),
        sources: entry.validity.sources.iter().map(SourceRecord::from).collect(),
        tags: entry.tags.clone(),
        priority: entry.priority,
        description: entry.description.clone(),
        custom: if entry.custom.is_empty() {
            String::new()
        } else {
            // A map of JSON values always serialises: its keys are strings and its numbers finite.
            serde_json::to_string(&entry.custom).unwrap_or_default()
        },
    };
    record.encode_to_vec()
}

impl Record {
    fn into_entry(self, namespace: Namespace, key: Key, location: Location) -> Result<Entry> {
        let class = TypeClass::from_code(self.class)
            .ok_or_else(|| damaged(format_args!("class {} is not known to this version", self.class)))?;
        let stages = self.stages.iter().map(|&code| {
            Stage::from_code(code)
                .ok_or_else(|| damaged(format_args!("stage {code} is not known to this version")))
        });
        let custom = if self.custom.is_empty() {
            serde_json::Map::new()
        } else {
            serde_json::from_str(&self.custom).map_err(damaged)?
        };
        Ok(Entry {
            namespace,
            key,
            version: Version(self.version),
            format: Format {
                handler: self.handler,
                class,
                type_tag: self.type_tag,
                type_version: self.type_version,
                type_name: self.type_name,
                meta: FormatMeta::new(self.format_meta),
                stages: stages.collect::<Result<_>>()?,
                access: access_from(self.access)?,
            },
            size: self.size,
            stored_size: self.stored_size,
            checksums: Checksums::from_stored(self.checksums),
            location,
            created_at: Timestamp::from_nanos(self.created_at),
            accessed_at: Timestamp::from_nanos(self.accessed_at),
            hits: self.hits,
            validity: Validity {
                expires_at: self.expires_at.map(Timestamp::from_nanos),
                ttl: self.ttl.map(Duration::from_nanos),
                sources: self.sources.into_iter().map(FileSource::try_from).collect::<Result<_>>()?,
            },
            tags: self.tags,
            priority: if (0.0..=1.0).contains(&self.priority) {
                self.priority
            } else {
                super::DEFAULT_PRIORITY
            },
            description: self.description,
            custom,
        })
    }
}

impl From<&FileSource> for SourceRecord {
    fn from(source: &FileSource) -> Self {
        Self {
            path: source.path.to_string_lossy().into_owned(),
            modified: source.modified.as_nanos(),
            size: source.size,
            hash: source.hash.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash)),
        }
    }
}

impl TryFrom<SourceRecord> for FileSource {
    type Error = crate::Error;

    fn try_from(record: SourceRecord) -> Result<Self> {
        let hash = match record.hash.len() {
            0 => None,
            _ => Some(record.hash.as_ref().try_into().map_err(|_| damaged("a file's hash has 32 bytes"))?),
        };
        Ok(Self {
            path: PathBuf::from(record.path),
            modified: Timestamp::from_nanos(record.modified),
            size: record.size,
            hash,
        })
    }
}

fn access_code(access: Access) -> u32 {
    match access {
        Access::Whole => 0,
        Access::Range => 1,
        Access::Map => 2,
    }
}

fn access_from(code: u32) -> Result<Access> {
    match code {
        0 => Ok(Access::Whole),
        1 => Ok(Access::Range),
        2 => Ok(Access::Map),
        _ => Err(damaged(format_args!("access {code} is not known to this version"))),
    }
}
