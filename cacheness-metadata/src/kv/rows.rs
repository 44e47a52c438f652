//! The values of the rows: the head, namespaces, entries and garbage. Numbers are big-endian; every read is checked.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cacheness_core::{
    BlobId, CacheId, Counters, Entry, Error, ErrorKind, Key, Limits, Location, Namespace, Result,
    StoredEntry, Timestamp, Version,
};

/// The number of this layout. A store with a newer one is refused.
pub(super) const FORMAT: u32 = 1;

/// What every write reads and changes: so two writes that overlap cannot both be made.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Head {
    pub(super) cache: CacheId,
    /// The last number that was issued, as a version or a generation.
    pub(super) sequence: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) garbage_bytes: u64,
    /// How many cleared generations still have rows.
    pub(super) cleared: u64,
    /// The limits of the cache; `None` until they are first stored.
    pub(super) limits: Option<Limits>,
    /// How many namespaces have limits of their own.
    pub(super) limited: u64,
    /// Counts the times that entries were ranked anew. A rank is worth something only in its own epoch.
    pub(super) epoch: u32,
    /// True where entries have rows in the rank index, by the policy that the limits name.
    pub(super) ranked: bool,
    /// True while entries are ranked anew.
    pub(super) ranking: bool,
    /// The highest rank of any victim in this epoch, by which policies age.
    pub(super) age: i64,
}

impl Head {
    pub(super) fn new(cache: CacheId) -> Self {
        Self {
            cache,
            sequence: 0,
            entries: 0,
            bytes: 0,
            garbage_bytes: 0,
            cleared: 0,
            limits: None,
            limited: 0,
            epoch: 0,
            ranked: false,
            ranking: false,
            age: 0,
        }
    }

    /// The name of the eviction policy.
    pub(super) fn policy(&self) -> &str {
        self.limits.as_ref().map_or(Limits::DEFAULT_POLICY, Limits::policy_name)
    }

    /// True where the cache with so much in it would be over its limits.
    pub(super) fn is_over(&self, entries: u64, bytes: u64) -> bool {
        self.limits.as_ref().is_some_and(|limits| limits.exceeded_by(entries, bytes))
    }

    /// True where there is a limit, of the cache or of a namespace.
    pub(super) fn is_limited(&self) -> bool {
        self.limited > 0 || self.limits.as_ref().is_some_and(Limits::is_limited)
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(160);
        out.put_u32(FORMAT);
        out.put_slice(self.cache.as_bytes());
        for number in [self.sequence, self.entries, self.bytes, self.garbage_bytes, self.cleared] {
            out.put_u64(number);
        }
        out.put_u8(self.limits.is_some().into());
        put_limits(&mut out, self.limits.as_ref());
        let policy = self.policy().as_bytes();
        // A registry takes no longer names.
        out.put_u8(policy.len().min(255) as u8);
        out.put_slice(&policy[..policy.len().min(255)]);
        out.put_u64(self.limited);
        out.put_u32(self.epoch);
        out.put_u8(self.ranked.into());
        out.put_u8(self.ranking.into());
        out.put_i64(self.age);
        out.freeze()
    }

    pub(super) fn decode(row: &Bytes) -> Result<Self> {
        let mut input = Fields { row: row.clone(), what: "head" };
        let format = input.u32()?;
        if format > FORMAT {
            let message = format!(
                "the entries are in format {format}, and this version knows {FORMAT}; use a newer one"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let cache = CacheId::from_bytes(input.array()?);
        let [sequence, entries, bytes, garbage_bytes, cleared] =
            [input.u64()?, input.u64()?, input.u64()?, input.u64()?, input.u64()?];
        let stored = input.u8()? != 0;
        let mut limits = input.limits()?;
        limits.policy = Some(input.name()?);
        Ok(Self {
            cache,
            sequence,
            entries,
            bytes,
            garbage_bytes,
            cleared,
            limits: stored.then_some(limits),
            limited: input.u64()?,
            epoch: input.u32()?,
            ranked: input.u8()? != 0,
            ranking: input.u8()? != 0,
            age: input.i64()?,
        })
    }
}

/// One namespace: which generation of entries it shows, and its totals.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct NamespaceRow {
    pub(super) generation: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// The part of `bytes` that lies in blobs.
    pub(super) blob_bytes: u64,
    pub(super) counters: Counters,
    /// Its own limits; they name no policy.
    pub(super) limits: Limits,
    /// True where its entries have rows in the indexes by namespace, or will when they are next ranked anew.
    pub(super) indexed: bool,
}

impl NamespaceRow {
    pub(super) fn new(generation: u64) -> Self {
        let (counters, limits) = (Counters::default(), Limits::unbounded());
        Self { generation, entries: 0, bytes: 0, blob_bytes: 0, counters, limits, indexed: false }
    }

    /// A namespace without entries in another generation.
    pub(super) fn cleared(self, generation: u64) -> Self {
        Self { generation, entries: 0, bytes: 0, blob_bytes: 0, ..self }
    }

    pub(super) fn encode(&self) -> Bytes {
        let counters = &self.counters;
        let numbers = [
            self.generation,
            self.entries,
            self.bytes,
            self.blob_bytes,
            counters.hits,
            counters.misses,
            counters.puts,
            counters.removals,
            counters.evictions,
            counters.expirations,
            counters.errors,
            counters.bytes_out,
            counters.bytes_in,
        ];
        let mut out = BytesMut::with_capacity(numbers.len() * 8 + 19);
        numbers.into_iter().for_each(|number| out.put_u64(number));
        put_limits(&mut out, Some(&self.limits));
        out.put_u8(self.indexed.into());
        out.freeze()
    }

    pub(super) fn decode(row: &Bytes) -> Result<Self> {
        let mut input = Fields { row: row.clone(), what: "namespace" };
        let mut namespace = Self::new(input.u64()?);
        let counters = &mut namespace.counters;
        let numbers = [
            &mut namespace.entries,
            &mut namespace.bytes,
            &mut namespace.blob_bytes,
            &mut counters.hits,
            &mut counters.misses,
            &mut counters.puts,
            &mut counters.removals,
            &mut counters.evictions,
            &mut counters.expirations,
            &mut counters.errors,
            &mut counters.bytes_out,
            &mut counters.bytes_in,
        ];
        for number in numbers {
            *number = input.u64()?;
        }
        namespace.limits = input.limits()?;
        namespace.indexed = input.u8()? != 0;
        Ok(namespace)
    }

    /// The generation alone, which is all that a lookup needs.
    pub(super) fn generation_of(row: &Bytes) -> Result<u64> {
        Fields { row: row.clone(), what: "namespace" }.u64()
    }
}

/// One entry: what the indexes need, what changes without a new write, the stored record and inline bytes.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct EntryRow {
    pub(super) version: u64,
    pub(super) created_at: i64,
    pub(super) accessed_at: i64,
    pub(super) hits: u64,
    pub(super) expires_at: Option<i64>,
    pub(super) priority: f32,
    /// The epoch that `rank` belongs to; 0 where the entry has no row in the rank index.
    pub(super) epoch: u32,
    pub(super) rank: i64,
    /// True where it has rows in the indexes by namespace, too.
    pub(super) scoped: bool,
    pub(super) stored_size: u64,
    pub(super) blob: Option<BlobId>,
    record: Bytes,
    inline: Option<Bytes>,
}

impl EntryRow {
    /// The row of an entry that has no rank yet.
    pub(super) fn new(entry: &Entry) -> Result<Self> {
        let inline = match &entry.location {
            Location::Inline(bytes) => Some(bytes.clone()),
            Location::Blob(_) => None,
            Location::InlineOmitted => {
                let message =
                    "an entry whose inline bytes a listing left out cannot be put; look it up first";
                return Err(
                    Error::new(ErrorKind::InvalidInput, message).with_context("key", entry.key.as_str())
                );
            }
            location => {
                let message = format!("this backend cannot store an entry whose value lies in {location:?}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        Ok(Self {
            version: entry.version.0,
            created_at: entry.created_at.as_nanos(),
            accessed_at: entry.accessed_at.as_nanos(),
            hits: entry.hits,
            expires_at: entry.validity.expires_at.map(Timestamp::as_nanos),
            priority: entry.priority,
            epoch: 0,
            rank: 0,
            scoped: false,
            stored_size: entry.stored_size,
            blob: entry.blob_id(),
            record: entry.to_stored().into(),
            inline,
        })
    }

    /// The bytes of a blob that becomes garbage with the entry.
    pub(super) fn blob_bytes(&self) -> u64 {
        if self.blob.is_some() { self.stored_size } else { 0 }
    }

    pub(super) fn encode(&self) -> Bytes {
        let inline = self.inline.as_deref().unwrap_or_default();
        let mut out = BytesMut::with_capacity(128 + self.record.len() + inline.len());
        out.put_u8(
            u8::from(self.expires_at.is_some())
                | u8::from(self.inline.is_some()) << 1
                | u8::from(self.scoped) << 2,
        );
        out.put_u64(self.version);
        out.put_i64(self.created_at);
        out.put_i64(self.accessed_at);
        out.put_u64(self.hits);
        out.put_i64(self.expires_at.unwrap_or(0));
        out.put_f32(self.priority);
        out.put_u32(self.epoch);
        out.put_i64(self.rank);
        out.put_u64(self.stored_size);
        out.put_u8(self.blob.is_some().into());
        out.put_slice(self.blob.as_ref().map_or(&[0; 16][..], |blob| &blob.as_bytes()[..]));
        out.put_u64(self.record.len() as u64);
        out.put_slice(&self.record);
        out.put_slice(inline);
        out.freeze()
    }

    /// The record and the inline bytes are parts of `row`, not copies.
    pub(super) fn decode(row: &Bytes) -> Result<Self> {
        let mut input = Fields { row: row.clone(), what: "entry" };
        let flags = input.u8()?;
        if flags > 7 {
            return Err(input.damaged("has unknown flags"));
        }
        let version = input.u64()?;
        let (created_at, accessed_at, hits) = (input.i64()?, input.i64()?, input.u64()?);
        let expires_at = Some(input.i64()?).filter(|_| flags & 1 != 0);
        let priority = f32::from_bits(input.u32()?);
        let (epoch, rank, stored_size) = (input.u32()?, input.i64()?, input.u64()?);
        let (in_blob, blob) = (input.u8()? != 0, input.array()?);
        let len = input.u64()?;
        let record = input.take(len)?;
        let inline = Some(input.row.clone()).filter(|_| flags & 2 != 0);
        if inline.is_none() && !input.row.is_empty() {
            return Err(input.damaged("has bytes after its end"));
        }
        Ok(Self {
            version,
            created_at,
            accessed_at,
            hits,
            expires_at,
            priority,
            epoch,
            rank,
            scoped: flags & 4 != 0,
            stored_size,
            blob: in_blob.then(|| BlobId::from_bytes(blob)),
            record,
            inline,
        })
    }

    /// The version of a row, whole or damaged; 0 for one that cannot be decoded.
    pub(super) fn version_of(row: &Bytes) -> Version {
        Self::decode(row).map_or(Version(0), |row| Version(row.version))
    }

    /// The length of the stored record.
    pub(super) fn record_bytes(&self) -> usize {
        self.record.len()
    }

    /// Puts the entry together; a listing leaves inline bytes out.
    pub(super) fn to_entry(&self, namespace: &Namespace, key: &str, omit_inline: bool) -> Result<Entry> {
        let (version, accessed_at) = (Version(self.version), Timestamp::from_nanos(self.accessed_at));
        let mut stored = StoredEntry::new(&self.record, namespace.clone(), key, version, accessed_at);
        stored.hits = self.hits;
        stored.expires_at = self.expires_at.map(Timestamp::from_nanos);
        stored.inline = self.inline.clone().filter(|_| !omit_inline);
        stored.inline_omitted = omit_inline && self.inline.is_some();
        stored.decode()
    }
}

/// When a superseded blob may be deleted, and how large it is.
pub(super) fn garbage(due: i64, bytes: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(16);
    out.put_i64(due);
    out.put_u64(bytes);
    out.freeze()
}

pub(super) fn read_garbage(row: &Bytes) -> Result<(i64, u64)> {
    let mut input = Fields { row: row.clone(), what: "garbage" };
    Ok((input.i64()?, input.u64()?))
}

pub(super) fn time(at: Timestamp) -> Bytes {
    Bytes::copy_from_slice(&at.as_nanos().to_be_bytes())
}

pub(super) fn read_time(row: &Bytes) -> Result<Timestamp> {
    Fields { row: row.clone(), what: "time" }.i64().map(Timestamp::from_nanos)
}

/// Reads the generation and key that a row of an index names.
pub(super) fn read_reference(row: &Bytes) -> Result<(u64, Key)> {
    let mut input = Fields { row: row.clone(), what: "index" };
    let generation = input.u64()?;
    Ok((
        generation,
        Key::new(text(&input.row)?).map_err(|error| input.damaged("names no key").with_source(error))?,
    ))
}

/// The part of a row's key after its first `skip` bytes, as a text.
pub(super) fn tail(key: &[u8], skip: usize) -> Result<&str> {
    text(key.get(skip..).unwrap_or_default())
}

/// The number in a row's key after its kind.
pub(super) fn number(key: &Bytes) -> Result<u64> {
    let mut input = Fields { row: key.clone(), what: "key" };
    input.u8()?;
    input.u64()
}

pub(super) fn read_namespace(name: &[u8]) -> Result<Namespace> {
    Namespace::new(text(name)?).map_err(|error| damage("the name of a namespace is none").with_source(error))
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| damage("a stored name is not UTF-8").with_source(error))
}

pub(super) fn damage(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupted, what)
}

fn put_limits(out: &mut BytesMut, limits: Option<&Limits>) {
    let most = limits.map_or((None, None), |limits| (limits.max_entries, limits.max_bytes));
    for limit in [most.0, most.1] {
        out.put_u8(limit.is_some().into());
        out.put_u64(limit.unwrap_or(0));
    }
}

/// Reads fields from the start of a row, each checked to be there.
struct Fields {
    row: Bytes,
    what: &'static str,
}

impl Fields {
    fn take(&mut self, len: u64) -> Result<Bytes> {
        match usize::try_from(len) {
            Ok(len) if len <= self.row.len() => Ok(self.row.split_to(len)),
            _ => Err(self.damaged("ends too early")),
        }
    }

    fn need(&self, len: usize) -> Result<()> {
        if self.row.len() < len { Err(self.damaged("ends too early")) } else { Ok(()) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.need(N)?;
        let mut out = [0; N];
        self.row.copy_to_slice(&mut out);
        Ok(out)
    }

    fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn optional(&mut self) -> Result<Option<u64>> {
        let there = self.u8()? != 0;
        Ok(Some(self.u64()?).filter(|_| there))
    }

    /// Limits without a policy.
    fn limits(&mut self) -> Result<Limits> {
        let mut limits = Limits::unbounded();
        limits.max_entries = self.optional()?;
        limits.max_bytes = self.optional()?;
        Ok(limits)
    }

    fn name(&mut self) -> Result<String> {
        let len = self.u8()?;
        let name = self.take(len.into())?;
        text(&name).map(str::to_owned)
    }

    fn damaged(&self, how: &str) -> Error {
        damage(format!("a stored row ({}) {how}", self.what))
    }
}
