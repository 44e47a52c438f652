//! The stored form of an entry, a Protocol Buffers message that `docs/on-disk-format.md` specifies. Fields that a
//! reader does not know are skipped, so later versions can add some.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use prost::encoding::WireType;
use serde_json::Value;
use twox_hash::XxHash3_64;

use super::{Entry, Format, Location, damaged};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::{Access, FormatMeta, TypeClass};
use crate::key::Key;
use crate::names::{BlobId, CacheId, Namespace, Timestamp, Version};
use crate::stage::{ChecksumKind, Checksums, Stage};
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
    #[prost(bytes = "bytes", tag = "31")]
    sealed: Bytes,
    #[prost(bytes = "bytes", tag = "32")]
    signature: Bytes,
    #[prost(uint32, tag = "33")]
    checksum_kind: u32,
    // Reserved: 27 stale_until, 28 etag, 29 last_modified, 30 as_of. 34 is the checksum, which is read apart.
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SourceRecord {
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
#[non_exhaustive]
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

impl<'a> StoredEntry<'a> {
    /// What was stored under this key: never used, without expiry, its value in a blob. The fields in which it differs
    /// are to be set.
    #[must_use]
    pub fn new(
        record: &'a [u8],
        namespace: Namespace,
        key: &'a str,
        version: Version,
        accessed_at: Timestamp,
    ) -> Self {
        let (hits, expires_at, inline, inline_omitted) = (0, None, None, false);
        Self { record, namespace, key, version, accessed_at, hits, expires_at, inline, inline_omitted }
    }

    /// Puts the entry together.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`](crate::ErrorKind::Corrupted) where the record is damaged;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where it names something that this version does not know.
    pub fn decode(self) -> Result<Entry> {
        let record = checked(self.record, &self.namespace, self.key)?;
        let record = Record::decode(record).map_err(damaged)?;
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

/// What a record is for.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// For the index, which knows the cache, the namespace and the key.
    Stored,
    /// For the end of a blob of this cache.
    Trailer(CacheId),
    /// To be signed: all that a reader relies on. What changes without a new write is left out.
    #[cfg_attr(
        not(any(feature = "encryption", feature = "signing")),
        allow(dead_code, reason = "nothing is signed")
    )]
    Signed(CacheId),
}

/// Encodes an entry as a [`Record`] of it would be, without making one: puts do this, and need no copies of its parts.
pub(super) fn encode(entry: &Entry, form: Form) -> Vec<u8> {
    let mut record = Encoder(Vec::with_capacity(128 + entry.format.meta.as_bytes().len()));
    if let Form::Trailer(cache) | Form::Signed(cache) = form {
        record.bytes(1, cache.as_bytes());
        record.text(2, entry.namespace.as_str());
        record.text(3, entry.key.as_str());
    }
    let signed = matches!(form, Form::Signed(_));
    if !signed {
        record.number(4, entry.version.0);
    }
    let Format { handler, class, type_tag, type_version, type_name, meta, stages, access } = &entry.format;
    record.text(5, handler);
    record.number(6, u64::from(class.code()));
    record.optional_text(7, type_tag.as_deref());
    record.optional_number(8, type_version.map(u64::from));
    record.text(9, type_name);
    record.bytes(10, meta.as_bytes());
    record.numbers(11, stages.iter().map(|stage| u64::from(stage.code())));
    record.number(12, u64::from(access_code(*access)));
    record.number(13, entry.size);
    record.number(14, entry.stored_size);
    record.bytes(15, entry.checksums.as_stored());
    record.bytes(16, entry.blob_id().as_ref().map_or(&[], |id| id.as_bytes()));
    record.time(17, entry.created_at);
    if !signed {
        record.time(18, entry.accessed_at);
        record.number(19, entry.hits);
    }
    record.optional_time(20, entry.validity.expires_at);
    let nanos = |ttl: Duration| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
    record.optional_number(21, entry.validity.ttl.map(nanos));
    for source in &entry.validity.sources {
        prost::encoding::message::encode(22, &SourceRecord::from(source), &mut record.0);
    }
    prost::encoding::string::encode_repeated(23, &entry.tags, &mut record.0);
    if entry.priority != 0.0 {
        prost::encoding::float::encode(24, &entry.priority, &mut record.0);
    }
    record.optional_text(25, entry.description.as_deref());
    if !entry.custom.is_empty() {
        if signed {
            let mut text = String::new();
            write_object(entry.custom.iter(), &mut text);
            record.text(26, &text);
        } else {
            // A map of JSON values always serialises: its keys are strings and its numbers finite.
            record.text(26, &serde_json::to_string(&entry.custom).unwrap_or_default());
        }
    }
    record.bytes(31, &entry.sealed);
    if !signed {
        record.bytes(32, &entry.signature);
    }
    record.number(33, u64::from(entry.checksums.kind().code()));
    if matches!(form, Form::Stored) {
        // A trailer has one in its tail.
        let sum = checksum(&record.0, entry.namespace.as_str(), entry.key.as_str());
        record.key(CHECKSUM, WireType::SixtyFourBit);
        record.0.extend_from_slice(&sum.to_le_bytes());
    }
    record.0
}

/// Writes a JSON object with its keys in order, in a text that does not depend on how it is kept in memory: that differs
/// by features of `serde_json` that any crate of a program may switch on, and by backends that keep JSON their own way.
fn write_object<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>, text: &mut String) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    let mut before = '{';
    for (name, value) in fields {
        text.push(before);
        before = ',';
        write_json(&Value::String(name.clone()), text);
        text.push(':');
        write_json(value, text);
    }
    text.push_str(if before == '{' { "{}" } else { "}" });
}

fn write_json(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => write_object(fields.iter(), text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_json(item, text);
            }
            text.push(']');
        }
        // Numbers may be kept as the text that they were read from.
        Value::Number(number) if !number.is_u64() && !number.is_i64() => {
            let number = number.as_f64().map(Value::from).unwrap_or_default();
            text.push_str(&number.to_string());
        }
        other => text.push_str(&other.to_string()),
    }
}

/// The number of the field with which a record in the index ends.
const CHECKSUM: u32 = 34;

/// How that field begins: its number and wire type.
const CHECKSUM_KEY: [u8; 2] = [0x91, 0x02];

/// Ties a record to the namespace and the key that it stands under, so that neither can change unnoticed.
fn checksum(record: &[u8], namespace: &str, key: &str) -> u64 {
    let seed = XxHash3_64::oneshot(namespace.as_bytes());
    let seed = XxHash3_64::oneshot_with_seed(seed, key.as_bytes());
    XxHash3_64::oneshot_with_seed(seed, record)
}

/// The fields of a record before its checksum, which must be right.
fn checked<'a>(record: &'a [u8], namespace: &Namespace, key: &str) -> Result<&'a [u8]> {
    let without = || damaged("it has no checksum");
    let (before, sum) = record.split_last_chunk::<8>().ok_or_else(without)?;
    let fields = before.strip_suffix(&CHECKSUM_KEY).ok_or_else(without)?;
    if *sum != checksum(fields, namespace.as_str(), key).to_le_bytes() {
        return Err(damaged("it does not match its checksum, or stands under another key"));
    }
    Ok(fields)
}

/// The blob that a stored record names, found without decoding the rest, or checking anything.
#[doc(hidden)]
#[must_use]
pub fn blob_in_record(mut record: &[u8]) -> Option<BlobId> {
    while !record.is_empty() {
        let (tag, wire_type) = prost::encoding::decode_key(&mut record).ok()?;
        if tag == 16 && wire_type == WireType::LengthDelimited {
            let len = usize::try_from(prost::encoding::decode_varint(&mut record).ok()?).ok()?;
            return record.get(..len).and_then(BlobId::from_slice);
        }
        prost::encoding::skip_field(wire_type, tag, &mut record, Default::default()).ok()?;
    }
    None
}

/// Writes fields; those that have their default value only where they are optional.
struct Encoder(Vec<u8>);

impl Encoder {
    fn key(&mut self, tag: u32, wire_type: WireType) {
        prost::encoding::encode_key(tag, wire_type, &mut self.0);
    }

    fn number(&mut self, tag: u32, number: u64) {
        self.optional_number(tag, (number != 0).then_some(number));
    }

    fn optional_number(&mut self, tag: u32, number: Option<u64>) {
        if let Some(number) = number {
            self.key(tag, WireType::Varint);
            prost::encoding::encode_varint(number, &mut self.0);
        }
    }

    fn numbers(&mut self, tag: u32, numbers: impl Iterator<Item = u64> + Clone) {
        let len: usize = numbers.clone().map(prost::encoding::encoded_len_varint).sum();
        if len > 0 {
            self.key(tag, WireType::LengthDelimited);
            prost::encoding::encode_varint(len as u64, &mut self.0);
            numbers.for_each(|number| prost::encoding::encode_varint(number, &mut self.0));
        }
    }

    fn time(&mut self, tag: u32, time: Timestamp) {
        self.optional_time(tag, (time.as_nanos() != 0).then_some(time));
    }

    fn optional_time(&mut self, tag: u32, time: Option<Timestamp>) {
        if let Some(time) = time {
            self.key(tag, WireType::SixtyFourBit);
            self.0.extend_from_slice(&time.as_nanos().to_le_bytes());
        }
    }

    fn text(&mut self, tag: u32, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    fn optional_text(&mut self, tag: u32, text: Option<&str>) {
        if let Some(text) = text {
            self.field(tag, text.as_bytes());
        }
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.field(tag, bytes);
        }
    }

    fn field(&mut self, tag: u32, bytes: &[u8]) {
        self.key(tag, WireType::LengthDelimited);
        prost::encoding::encode_varint(bytes.len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes);
    }
}

impl Record {
    fn into_entry(self, namespace: Namespace, key: Key, location: Location) -> Result<Entry> {
        let class = TypeClass::from_code(self.class)
            .ok_or_else(|| newer(format_args!("class {} is not known to this version", self.class)))?;
        let stages = self.stages.iter().map(|&code| {
            Stage::from_code(code)
                .ok_or_else(|| newer(format_args!("stage {code} is not known to this version")))
        });
        let checksum_kind = ChecksumKind::from_code(self.checksum_kind).ok_or_else(|| {
            newer(format_args!("checksums of kind {} are not known to this version", self.checksum_kind))
        })?;
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
            checksums: Checksums::from_stored_of(checksum_kind, self.checksums),
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
            signature: self.signature,
            sealed: self.sealed,
            cipher: None,
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
        _ => Err(newer(format_args!("access {code} is not known to this version"))),
    }
}

/// What a record says that this version does not know.
fn newer(what: fmt::Arguments<'_>) -> Error {
    Error::new(ErrorKind::Unsupported, format!("a newer version wrote the entry's record: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Timestamp;

    fn entry() -> Entry {
        let format = Format {
            handler: "msgpack".into(),
            class: TypeClass::Serde,
            type_tag: Some(String::new()),
            type_version: Some(0),
            type_name: "user::User".into(),
            meta: FormatMeta::new(Bytes::from_static(b"meta")),
            stages: vec![Stage::Lz4, Stage::Zstd],
            access: Access::Range,
        };
        let (namespace, key) = (Namespace::new("team").unwrap(), Key::new("user:1").unwrap());
        let blob = Location::Blob(BlobId::new(Timestamp::from_nanos(1)));
        let mut entry = Entry::new(namespace, key, format, blob, Timestamp::from_nanos(-7));
        entry.version = Version(u64::MAX);
        (entry.size, entry.stored_size, entry.hits) = (300, 200, 1 << 40);
        entry.checksums = Checksums::of_kind(ChecksumKind::Blake3, b"payload");
        entry.signature = Bytes::from_static(b"signature");
        entry.sealed = Bytes::from_static(b"sealed");
        entry.validity.expires_at = Some(Timestamp::from_nanos(0));
        entry.validity.ttl = Some(Duration::ZERO);
        let modified = Timestamp::from_nanos(5);
        entry.validity.sources = vec![
            FileSource { path: "/a".into(), modified, size: 0, hash: None },
            FileSource { path: "/b".into(), modified, size: 9, hash: Some([3; 32]) },
        ];
        entry.tags = vec!["".into(), "team:7".into()];
        entry.description = Some("what it is".into());
        entry.custom = serde_json::from_str(r#"{"rows": 3}"#).unwrap();
        entry
    }

    #[test]
    fn what_is_signed_does_not_depend_on_the_order_in_which_fields_are_kept() {
        fn write<'a>(fields: &mut dyn Iterator<Item = (&'a String, &'a Value)>) -> String {
            let mut text = String::new();
            write_object(fields, &mut text);
            text
        }
        let object = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text).unwrap();
        let fields =
            object(r#"{"b": [{"z": 1, "a": -2}, []], "a": {"y": 0.5, "x": {}}, "c": "\"", "d": null}"#);
        let canonical = r#"{"a":{"x":{},"y":0.5},"b":[{"a":-2,"z":1},[]],"c":"\"","d":null}"#;
        assert_eq!(write(&mut fields.iter()), canonical);
        let mut turned: Vec<_> = fields.iter().collect();
        turned.reverse();
        assert_eq!(write(&mut turned.into_iter()), canonical);
        // It is what was signed so far, where fields are kept in order.
        assert_eq!(serde_json::to_string(&object(canonical)).unwrap(), canonical);
    }

    #[test]
    fn the_fields_are_written_as_the_message_would_write_them() {
        let cache = CacheId::random();
        let full = entry();
        let mut bare = Entry::new(
            full.namespace.clone(),
            full.key.clone(),
            Format { type_tag: None, type_version: None, stages: Vec::new(), ..full.format.clone() },
            full.location.clone(),
            Timestamp::from_nanos(0),
        );
        bare.priority = 0.0;
        for entry in [full, bare] {
            let bytes = encode(&entry, Form::Trailer(cache));
            assert_eq!(Record::decode(&bytes[..]).unwrap().encode_to_vec(), bytes);
            assert_eq!(Entry::from_trailer(&bytes).unwrap(), (cache, entry));
        }
    }

    #[test]
    fn a_stored_record_with_any_bit_turned_or_under_another_key_is_damaged() {
        let entry = entry();
        let whole = entry.to_stored();
        let read = |record: &[u8], namespace: &str, key: &str| {
            let namespace = Namespace::new(namespace).unwrap();
            StoredEntry::new(record, namespace, key, entry.version, entry.accessed_at).decode()
        };
        assert!(read(&whole, "team", "user:1").is_ok());
        for at in 0..whole.len() * 8 {
            let mut turned = whole.clone();
            turned[at / 8] ^= 1 << (at % 8);
            assert_eq!(read(&turned, "team", "user:1").unwrap_err().kind(), ErrorKind::Corrupted, "bit {at}");
        }
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut], "team", "user:1").is_err(), "cut at {cut}");
        }
        for (namespace, key) in [("team", "user:2"), ("teams", "user:1"), ("tea", "muser:1")] {
            assert!(read(&whole, namespace, key).is_err(), "{namespace} {key}");
        }
    }
}
