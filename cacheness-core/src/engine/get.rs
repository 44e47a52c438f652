//! Looking a value up: entry, valid, blob, verify, decode. What cannot be served is a miss that is counted.

use std::sync::Arc;

use bytes::Bytes;

use super::counting::Tenant;
use super::encode::call;
use super::observe::Lookup;
use super::reader::{LocalReader, RemoteReader, SealedReader};
use super::{Engine, EntryState};
use crate::blob::Blob;
use crate::entry::{Entry, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::events::MissReason;
use crate::handler::{Access, BlobReader, CacheHandler};
use crate::metadata::{Change, Condition};
use crate::metric::Started;
use crate::names::BlobId;
use crate::options::ReadOptions;
use crate::pair::outlives;
use crate::stage::{Checksums, decompress};
use crate::value::{BoxedValue, TypeTarget};

/// What a get does where a value cannot be had.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnReadError {
    /// It is a miss, counted as an error and logged.
    #[default]
    Miss,
    /// The error is returned.
    Error,
}

/// Blobs up to this size are read on the calling thread; larger ones on the pool for blocking work.
const READ_AT_ONCE: u64 = 32 * 1024;

/// A value from a remote backend is fetched by ranges only from this size on, or where a part is asked for.
const FETCH_WHOLE: u64 = 1024 * 1024;

/// The bytes of a value, before they are decoded.
pub(super) enum Stored {
    Local(Bytes),
    /// A map of a blob that may have been verified before.
    Mapped(Bytes, BlobId),
    File(std::fs::File, u64),
    Remote(BlobId),
}

impl Engine {
    /// Looks a value up and counts it.
    pub(crate) async fn get(
        self: &Arc<Self>,
        tenant: &Tenant,
        key: &str,
        target: TypeTarget,
        options: &ReadOptions,
    ) -> Result<Option<BoxedValue>> {
        self.check_open()?;
        let key = &*self.stored_key(tenant, key).map_err(|error| error.with_operation("get"))?;
        let started = Started::now();
        let looked_up = self.look_up(&tenant.namespace, key).await;
        let served = self.serve(tenant, key, looked_up, target, options).await;
        tenant.meters.got(started);
        served
    }

    /// Serves an entry that was looked up, and counts the lookup.
    pub(super) async fn serve(
        self: &Arc<Self>,
        tenant: &Tenant,
        key: &str,
        looked_up: Result<Option<Entry>>,
        target: TypeTarget,
        options: &ReadOptions,
    ) -> Result<Option<BoxedValue>> {
        let found = self.find(tenant, key, looked_up, target, options).await;
        match self.settle(tenant, key, found)? {
            Ok((entry, value, taken)) => {
                self.hit(tenant, &entry, taken);
                Ok(Some(value))
            }
            Err(reason) => {
                self.miss(tenant, key, reason);
                Ok(None)
            }
        }
    }

    /// Looks a value up without a trace in the statistics.
    pub(crate) async fn peek(
        self: &Arc<Self>,
        tenant: &Tenant,
        key: &str,
        target: TypeTarget,
        options: &ReadOptions,
    ) -> Result<Option<BoxedValue>> {
        self.check_open()?;
        let key = &*self.stored_key(tenant, key).map_err(|error| error.with_operation("peek"))?;
        let looked_up = self.look_up(&tenant.namespace, key).await;
        let found = self.find(tenant, key, looked_up, target, options).await;
        Ok(self.settle(tenant, key, found)?.ok().map(|(_, value, _)| value))
    }

    /// The entry, the value, and how many bytes were read for it.
    async fn find(
        self: &Arc<Self>,
        tenant: &Tenant,
        key: &str,
        looked_up: Result<Option<Entry>>,
        target: TypeTarget,
        options: &ReadOptions,
    ) -> Result<Lookup<(Entry, BoxedValue, u64)>> {
        let mut next = looked_up?;
        let mut distrusted = false;
        loop {
            let Some(mut entry) = next else { return Ok(Err(MissReason::Absent)) };
            if let Some(reason) = self.invalid(&entry).await {
                return Ok(Err(reason));
            }
            if !self.check_tag(&entry, options)? {
                return Ok(Err(MissReason::TypeVersion));
            }
            let handler = self.registry.handler(&entry.format.handler)?;
            if !call(handler.as_ref(), || Ok(handler.can_decode(&target)))? {
                return Err(mismatch(&entry, target));
            }
            let stored = match &mut entry.location {
                // Nobody else asks for them, and bytes with one owner can become the value.
                Location::Inline(bytes) => Some(Stored::Local(std::mem::take(bytes))),
                _ => self.open_stored(&entry, Some((handler.as_ref(), options))).await?,
            };
            let Some(stored) = stored else {
                next = self.next_after_missing(tenant, key, &entry).await?;
                continue;
            };
            return match self.decode(handler, &entry, stored, target, options).await {
                Ok(Some((value, taken))) => Ok(Ok((entry, value, taken))),
                Ok(None) => {
                    next = self.next_after_missing(tenant, key, &entry).await?;
                    continue;
                }
                Err(error) if Self::may_be_the_copy(&error) && !distrusted && self.discard_copy(&entry) => {
                    distrusted = true;
                    next = Some(entry);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Corrupted => {
                    self.repair(&entry).await;
                    Err(error)
                }
                Err(error) if error.kind() == ErrorKind::Decode && self.is_other_class(&entry, target) => {
                    Err(mismatch(&entry, target).with_source(error))
                }
                Err(error) => Err(error),
            };
        }
    }

    /// Whether an entry may be served now.
    pub(super) async fn state(&self, entry: &Entry) -> EntryState {
        if entry.validity.expires_at.is_none() && entry.validity.sources.is_empty() {
            return EntryState::Valid;
        }
        self.file_checks.state(&self.env, entry, self.env.now()).await
    }

    /// Why an entry may not be served now, where it may not.
    pub(super) async fn invalid(&self, entry: &Entry) -> Option<MissReason> {
        match self.state(entry).await {
            EntryState::Valid => None,
            EntryState::Expired => Some(MissReason::Expired),
            EntryState::SourceChanged(_) | EntryState::SourceMissing(_) => Some(MissReason::SourceChanged),
        }
    }

    /// False where the entry was put as another version of the type, which is a miss.
    fn check_tag(&self, entry: &Entry, options: &ReadOptions) -> Result<bool> {
        if let Some(wanted) = &options.type_tag
            && entry.format.type_tag.as_ref() != Some(wanted)
        {
            let stored = entry.format.type_tag.as_deref().unwrap_or("no type tag");
            let message = format!("the value was put as `{stored}` and asked for as `{wanted}`");
            return Err(Error::new(ErrorKind::TypeMismatch, message));
        }
        Ok(options.type_version.is_none() || options.type_version == entry.format.type_version)
    }

    /// True where a value of the type asked for would have been put by a handler of another class.
    fn is_other_class(&self, entry: &Entry, target: TypeTarget) -> bool {
        let natural = self
            .registry
            .handlers()
            .find(|&handler| call(handler, || Ok(handler.can_decode(&target))).unwrap_or(false));
        natural.is_some_and(|handler| handler.class() != entry.format.class)
    }

    /// Finds the bytes of an entry. `None` where its blob is certainly not there.
    pub(super) async fn open_stored(
        &self,
        entry: &Entry,
        reading: Option<(&dyn CacheHandler, &ReadOptions)>,
    ) -> Result<Option<Stored>> {
        let blob = match &entry.location {
            Location::Inline(bytes) => return Ok(Some(Stored::Local(bytes.clone()))),
            Location::InlineOmitted => {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "the metadata backend left the inline value out",
                ));
            }
            Location::Blob(blob) => *blob,
        };
        let by_ranges = |(handler, options): (&dyn CacheHandler, &ReadOptions)| {
            handler.preferred_access() == Access::Range
                && (options.is_partial() || entry.stored_size > FETCH_WHOLE && self.tier.is_none())
        };
        let found = if !self.blobs.capabilities().local
            && entry.format.access >= Access::Range
            && reading.is_some_and(by_ranges)
        {
            match self.open_copy(entry) {
                Some(copy) => copy,
                // Whether the blob is there, the first read of it will tell.
                None => return Ok(Some(Stored::Remote(blob))),
            }
        } else {
            let Some(found) = self.get_blob(entry, blob).await? else { return Ok(None) };
            found
        };
        let (len, stored) = match found {
            Blob::Bytes(bytes) => (bytes.len() as u64, Stored::Local(bytes)),
            Blob::File(file, len) => (len, Stored::File(file, len)),
        };
        if len < entry.stored_size {
            self.repair(entry).await;
            let message = format!("the blob has {len} bytes, {} were stored", entry.stored_size);
            return Err(Error::new(ErrorKind::Corrupted, message));
        }
        let payload_len = entry.stored_size;
        Ok(Some(match stored {
            // What follows the payload is the trailer.
            Stored::Local(bytes) => Stored::Local(bytes.slice(..payload_len as usize)),
            Stored::File(file, ..) => {
                let mapped = reading.is_some_and(|(handler, _)| handler.preferred_access() >= Access::Range);
                let wanted = self.settings.mmap
                    && mapped
                    && payload_len > READ_AT_ONCE
                    && entry.format.access >= Access::Range
                    // A map shows what others write into the file after it was verified, and where entries are
                    // protected, they are not to be trusted.
                    && self.protection.is_none();
                match if wanted { self.maps.map(&file, payload_len) } else { None } {
                    Some(map) => Stored::Mapped(map, blob),
                    None => Stored::File(file, payload_len),
                }
            }
            other => other,
        }))
    }

    /// Turns stored bytes into the value, on a thread that may block where that can take long. `None` where the blob
    /// turns out to be missing.
    async fn decode(
        self: &Arc<Self>,
        handler: &Arc<dyn CacheHandler>,
        entry: &Entry,
        stored: Stored,
        target: TypeTarget,
        options: &ReadOptions,
    ) -> Result<Option<(BoxedValue, u64)>> {
        let at_once = match &stored {
            Stored::Local(bytes) => bytes.len() as u64 <= READ_AT_ONCE,
            Stored::File(_, len) => *len <= READ_AT_ONCE,
            Stored::Mapped(..) | Stored::Remote(_) => false,
        };
        if at_once {
            return self.decode_here(handler.as_ref(), entry, stored, target, options);
        }
        let (engine, handler, entry, options) =
            (self.clone(), handler.clone(), entry.clone(), options.clone());
        self.env.unblock(move || engine.decode_here(handler.as_ref(), &entry, stored, target, &options)).await
    }

    fn decode_here(
        &self,
        handler: &dyn CacheHandler,
        entry: &Entry,
        stored: Stored,
        target: TypeTarget,
        options: &ReadOptions,
    ) -> Result<Option<(BoxedValue, u64)>> {
        let meta = &entry.format.meta;
        if let Stored::Remote(blob) = stored {
            entry.checksums.check_count(entry.stored_size)?;
            let mut reader = RemoteReader {
                env: self.env.clone(),
                blobs: self.blobs.clone(),
                key: self.blob_key(blob),
                len: entry.stored_size,
                checksums: entry.checksums.clone(),
                cipher: entry.cipher.clone(),
                chunks: Default::default(),
                taken: 0,
                missing: false,
            };
            let value = call(handler, || handler.get(&mut reader, meta, &target, options));
            // Only the reader knows that the blob is gone; an error of that kind may mean something else.
            return if reader.missing { Ok(None) } else { Ok(Some((value?, reader.taken))) };
        }
        if let Some(cipher) = &entry.cipher {
            let payload = match stored {
                Stored::File(file, len) => read_whole(&file, len)?,
                Stored::Local(bytes) | Stored::Mapped(bytes, _) => bytes,
                Stored::Remote(_) => Bytes::new(),
            };
            let mut sealed = SealedReader::new(payload, entry.checksums.clone(), cipher.clone())?;
            let mut plain;
            let reader: &mut dyn BlobReader = match self.decompressed(entry, &mut sealed)? {
                None => &mut sealed,
                Some(bytes) => {
                    plain = LocalReader::trusted(bytes);
                    &mut plain
                }
            };
            let value = call(handler, || handler.get(reader, meta, &target, options))?;
            return Ok(Some((value, sealed.taken)));
        }
        let mapped = if let Stored::Mapped(_, blob) = &stored { Some(*blob) } else { None };
        let mut reader = match stored {
            Stored::Mapped(bytes, blob) if self.is_verified(blob) => LocalReader::trusted(bytes),
            // One chunk is verified at once, which needs no account of what has been.
            Stored::Local(bytes) if entry.stored_size <= Checksums::CHUNK => {
                entry.checksums.verify(&bytes)?;
                LocalReader::trusted(bytes)
            }
            Stored::Mapped(bytes, _) | Stored::Local(bytes) => {
                LocalReader::new(bytes, entry.checksums.clone())?
            }
            Stored::File(file, len) => LocalReader::new(read_whole(&file, len)?, entry.checksums.clone())?,
            Stored::Remote(_) => {
                return Err(Error::new(ErrorKind::Unexpected, "a remote blob is no local one"));
            }
        };
        if let Some(bytes) = self.decompressed(entry, &mut reader)? {
            reader = LocalReader::trusted(bytes);
        }
        let value = call(handler, || handler.get(&mut reader, meta, &target, options))?;
        if let Some(blob) = mapped
            && reader.is_verified()
        {
            self.set_verified(blob);
        }
        // A compressed value is read as a whole, whatever is taken of it then.
        let taken = if entry.format.stages.is_empty() { reader.taken } else { entry.stored_size };
        Ok(Some((value, taken)))
    }

    /// The bytes that the handler wrote, where they are stored in another form.
    fn decompressed(&self, entry: &Entry, stored: &mut dyn BlobReader) -> Result<Option<Bytes>> {
        match entry.format.stages[..] {
            [] => Ok(None),
            [stage] => decompress(stage, &stored.bytes()?, entry.size).map(Some),
            _ => {
                let message = "a newer version stored the value in several stages";
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    /// The entry that now stands where `entry` was, if it is another; removes `entry` if it still stands there
    /// although its blob does not exist.
    pub(super) async fn next_after_missing(
        &self,
        tenant: &Tenant,
        key: &str,
        entry: &Entry,
    ) -> Result<Option<Entry>> {
        match self.look_up(&tenant.namespace, key).await? {
            Some(now) if now.version == entry.version => {
                self.check_missing().await?;
                self.repair(entry).await;
                Err(Error::new(ErrorKind::Corrupted, "the value's blob is missing"))
            }
            other => Ok(other),
        }
    }

    /// An error where that a blob was not found says nothing: the store does not know this cache, so it is another one than
    /// the cache's own, or was emptied.
    pub(super) async fn check_missing(&self) -> Result<()> {
        if !outlives(self.metadata.capabilities()) || self.blobs.knows(self.cache_id).await? {
            return Ok(());
        }
        let message = format!(
            "the store of the blob backend `{}` has been replaced or emptied: it does not know this cache, so nothing that is \
             not found in it counts as lost; see whether it is the right one and is mounted. Where the blobs are lost for \
             good, close the cache and open the cache once with `allow_new_blobs = true`",
            self.blob_name
        );
        Err(Error::new(ErrorKind::Unavailable, message).with_temporary(false))
    }

    /// Removes an entry whose value is lost, unless a newer one has taken its place.
    pub(super) async fn repair(&self, entry: &Entry) {
        let change = Change::Remove {
            namespace: entry.namespace.clone(),
            key: entry.key.as_str().to_owned(),
            condition: Condition::Version(entry.version),
            now: self.env.now(),
        };
        if let Err(error) = self.metadata.apply(vec![change]).await {
            self.failed(Some(&entry.namespace), Some(entry.key.as_str()), "repair", &error);
        }
    }
}

fn mismatch(entry: &Entry, target: TypeTarget) -> Error {
    let message = format!(
        "the value was put as {} (`{}`, by the handler `{}`) and asked for as `{}`",
        entry.format.class,
        entry.format.type_name,
        entry.format.handler,
        target.type_name()
    );
    Error::new(ErrorKind::TypeMismatch, message)
}

/// Reads a payload into memory. The file has been found to be at least this long.
pub(super) fn read_whole(file: &std::fs::File, len: u64) -> Result<Bytes> {
    use std::io::Read;
    let too_large = || {
        let message = format!("a value of {len} bytes does not fit this machine's memory");
        Error::new(ErrorKind::LimitExceeded, message)
    };
    let mut bytes = Vec::new();
    let capacity = usize::try_from(len).map_err(|_| too_large())?;
    bytes.try_reserve_exact(capacity).map_err(|error| too_large().with_source(error))?;
    file.take(len)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(error, "the value's blob cannot be read"))?;
    Ok(Bytes::from(bytes))
}
