//! Values of any size in bounded memory: written from a reader, and read chunk by chunk.

mod ahead;
mod async_read;
mod decompressed;

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::Instrument;

use super::counting::{Tenant, add};
use super::get::Stored;
use super::observe::{Lookup, PutSpan};
use super::put::{Begun, Encoded, Prepared};
use super::{Engine, Owner};
use crate::blob::Blob;
use crate::entry::{Entry, Format};
use crate::env::foreign;
use crate::error::{Error, ErrorKind, Result};
use crate::events::MissReason;
use crate::handler::FormatMeta;
use crate::names::BlobKey;
use crate::options::PutOptions;
use crate::stage::Checksums;

use ahead::Ahead;
pub use async_read::AsyncValueReader;
use decompressed::{Decompressed, StoredRead};

/// The handler under whose name streamed values are stored: their bytes as they are.
const STREAM_HANDLER: &str = "bytes";

/// How much is taken from a source at once, in bytes.
const PIECE: usize = 64 * 1024;

/// How much of an asynchronous source is gathered before it is written, away from the worker, in bytes.
const GATHERED: usize = 256 * 1024;

/// Reads one value piece by piece. Every piece has been verified. Memory is bounded by a few chunks of 256 KiB, for a value
/// that lies on another machine by 8 MiB that are fetched at once, or by the range asked for.
///
/// What it reads are the bytes that the value's handler wrote: for a value put as bytes, those bytes.
pub struct ValueReader {
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    /// Keeps the cache open while it is read from.
    owner: Option<Arc<Owner>>,
    entry: Entry,
    chunks: Chunks,
    position: u64,
    /// What has been fetched of a remote blob before it was asked for.
    ahead: Ahead,
    /// The chunk that was read last, with its number: small sequential reads come out of it.
    last: Option<(u64, Bytes)>,
    /// For a compressed value, its decompressed bytes; shared with the thread that may block on them.
    decompressed: Option<Arc<Mutex<Decompressed>>>,
}

/// Where the stored chunks of a value come from.
#[derive(Clone)]
pub(super) enum Chunks {
    Bytes(Bytes),
    File(Arc<Mutex<std::fs::File>>),
    /// A copy of this blob in the local tier.
    Copy(Arc<Mutex<std::fs::File>>, BlobKey),
    Remote(BlobKey),
}

impl Engine {
    /// Takes a value from a reader, on the calling thread.
    pub(crate) fn prepare_reader(
        &self,
        tenant: &Tenant,
        key: &str,
        mut from: impl Read,
        options: PutOptions,
    ) -> Result<Prepared> {
        let observed = PutSpan::begin(tenant, key);
        let encoded = self.begin_stream(tenant, key, options).and_then(|(begun, format, mut writer)| {
            let mut piece = vec![0; PIECE];
            loop {
                match foreign(|| from.read(&mut piece)) {
                    Ok(0) => break,
                    Ok(n) => writer.write_all(&piece[..n.min(PIECE)]).map_err(stream_error)?,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(source_error(error)),
                }
            }
            self.assemble(tenant, begun, format, writer.finish()?)
        });
        self.prepared(tenant, key, "put_reader", encoded, observed)
    }

    /// Takes a value from an asynchronous reader.
    pub(crate) async fn prepare_async_reader(
        &self,
        tenant: &Tenant,
        key: &str,
        mut from: impl AsyncRead + Unpin,
        options: PutOptions,
    ) -> Result<Prepared> {
        let observed = PutSpan::begin(tenant, key);
        let started = self.begin_stream(tenant, key, options);
        let encoding = async {
            let (begun, format, writer) = started?;
            let (mut writer, mut gathered) = (writer.into_owned(), Vec::with_capacity(GATHERED));
            loop {
                let n = from.read_buf(&mut gathered).await.map_err(source_error)?;
                if n > 0 && gathered.len() < gathered.capacity() {
                    continue;
                }
                let simple = writer.holds(gathered.len());
                let write = move || {
                    writer.write_all(&gathered).map_err(stream_error)?;
                    gathered.clear();
                    Ok((writer, gathered))
                };
                // Compressing and writing files is no work for the caller's worker.
                (writer, gathered) = if simple { write()? } else { self.env.unblock(write).await? };
                if n == 0 {
                    break;
                }
            }
            let written = match writer.is_simple() {
                true => writer.finish()?,
                false => self.env.unblock(move || writer.finish()).await?,
            };
            self.assemble(tenant, begun, format, written)
        };
        let encoded: Result<Encoded> = encoding.instrument(observed.span.clone()).await;
        self.prepared(tenant, key, "put_reader", encoded, observed)
    }

    fn begin_stream(
        &self,
        tenant: &Tenant,
        key: &str,
        options: PutOptions,
    ) -> Result<(Begun, Format, super::writer::ValueWriter<'_>)> {
        let begun = self.begin(tenant, key, options)?;
        let options = &begun.options;
        if let Some(name) = options.handler.as_deref().filter(|&name| name != STREAM_HANDLER) {
            let message =
                format!("a stream is stored by the handler `{STREAM_HANDLER}`; `{name}` was asked for");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let handler = self.registry.handler(STREAM_HANDLER)?;
        let format = Format::new(handler.as_ref(), FormatMeta::default(), "[u8]");
        let writer = self.writer(options.compression.unwrap_or(self.settings.compression))?;
        Ok((begun, format, writer))
    }

    /// Opens a value for reading, and counts the lookup.
    pub(crate) async fn reader(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        key: &str,
    ) -> Result<Option<ValueReader>> {
        self.check_open()?;
        let key = &*self.stored_key(tenant, key)?;
        let opened = self.open_reader(tenant, key).await;
        match self.settle(tenant, key, opened)? {
            Ok(reader) => {
                self.hit(tenant, &reader.entry, 0);
                Ok(Some(reader))
            }
            Err(reason) => {
                self.miss(tenant, key, reason);
                Ok(None)
            }
        }
    }

    async fn open_reader(self: &Arc<Self>, tenant: &Arc<Tenant>, key: &str) -> Result<Lookup<ValueReader>> {
        let mut next = self.look_up(&tenant.namespace, key).await?;
        loop {
            let Some(entry) = next else { return Ok(Err(MissReason::Absent)) };
            if let Some(reason) = self.invalid(&entry).await {
                return Ok(Err(reason));
            }
            self.check_sizes(&entry).await?;
            let Some(mut reader) = self.start_reader(tenant, &entry).await? else {
                next = self.next_after_missing(tenant, key, &entry).await?;
                continue;
            };
            // Whether a remote blob is there, the first chunk of it tells.
            if matches!(reader.chunks, Chunks::Remote(_)) && entry.stored_size > 0 {
                let first = reader.ahead.chunk(self, &reader.chunks, &entry, 0, 1).await;
                match self.repairing(&entry, first).await? {
                    Some(chunk) => reader.last = Some((0, chunk)),
                    None => {
                        next = self.next_after_missing(tenant, key, &entry).await?;
                        continue;
                    }
                }
            }
            return Ok(Ok(reader));
        }
    }

    /// Refuses an entry whose sizes and checksums contradict each other: what it says about its value is damaged.
    pub(super) async fn check_sizes(&self, entry: &Entry) -> Result<()> {
        let checked = super::raw::check_size(entry, entry.stored_size)
            .and_then(|()| entry.checksums.check_count(entry.stored_size));
        self.repairing(entry, checked).await
    }

    /// Removes an entry that turned out to be damaged, on the error's way to the caller.
    pub(super) async fn repairing<T>(&self, entry: &Entry, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.kind() == ErrorKind::Corrupted
        {
            self.repair(entry).await;
        }
        result
    }

    async fn start_reader(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        entry: &Entry,
    ) -> Result<Option<ValueReader>> {
        let stage = match entry.format.stages[..] {
            [] => None,
            [stage] => Some(stage),
            _ => {
                let message = "a newer version stored the value in several stages";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        let Some(chunks) = self.open_chunks(entry).await? else { return Ok(None) };
        let decompressed = stage.map(|stage| {
            let source = StoredRead::new(self.clone(), chunks.clone(), entry.clone());
            Arc::new(Mutex::new(Decompressed::new(stage, source)))
        });
        let (engine, tenant, entry) = (self.clone(), tenant.clone(), entry.clone());
        Ok(Some(ValueReader {
            engine,
            tenant,
            owner: None,
            entry,
            chunks,
            position: 0,
            ahead: Ahead::default(),
            last: None,
            decompressed,
        }))
    }

    pub(super) async fn open_chunks(&self, entry: &Entry) -> Result<Option<Chunks>> {
        if let Some(blob) = entry.blob_id().filter(|_| !self.blobs.capabilities().local) {
            let key = self.blob_key(blob);
            return Ok(Some(match self.open_copy(entry) {
                Some(Blob::File(file, _)) => Chunks::Copy(Arc::new(Mutex::new(file)), key),
                _ => Chunks::Remote(key),
            }));
        }
        Ok(self.open_stored(entry, None).await?.map(|stored| match stored {
            Stored::Local(bytes) | Stored::Mapped(bytes, _) => Chunks::Bytes(bytes),
            Stored::File(file, ..) => Chunks::File(Arc::new(Mutex::new(file))),
            Stored::Remote(blob) => Chunks::Remote(self.blob_key(blob)),
        }))
    }
}

impl Chunks {
    /// One chunk, verified and decrypted. `None` where the backend is sure that the blob is not there.
    pub(super) async fn fetch(&self, engine: &Engine, entry: &Entry, index: u64) -> Result<Option<Bytes>> {
        fetch_chunk(engine, self, entry, index).await
    }
}

impl ValueReader {
    pub(crate) fn keep_open(mut self, owner: Arc<Owner>) -> Self {
        self.owner = Some(owner);
        self
    }

    /// The entry that is read.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The value's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entry.size
    }

    /// True for a value of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entry.size == 0
    }

    /// The bytes in `range`; what lies past the end is left out.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a compressed value, which is read from front to back by
    /// [`next_piece`](Self::next_piece); [`ErrorKind::Corrupted`] where the bytes are not those that were
    /// written; [`ErrorKind::Conflict`] where the value is on another machine and was replaced or removed so long ago that
    /// its bytes are gone; the backend's error where it cannot read.
    pub async fn read_at(&mut self, range: Range<u64>) -> Result<Bytes> {
        if self.decompressed.is_some() {
            let message =
                "a compressed value is read from front to back; put it without compression to seek in it";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let end = range.end.min(self.len());
        let bytes = self.read_stored(range.start.min(end)..end).await;
        let bytes = self.told(bytes).await?;
        self.count(&bytes);
        Ok(bytes)
    }

    /// The next bytes in order, 256 KiB at most; `None` at the end. Dropping the future before it is ready loses
    /// nothing: the next call gives these bytes.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), but compressed values are read, too.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let end = self.len().min(self.position.saturating_add(Checksums::CHUNK));
        self.next_up_to(end - self.position.min(end)).await
    }

    async fn next_up_to(&mut self, most: u64) -> Result<Option<Bytes>> {
        // A seek may lead to any place past the end.
        if self.position >= self.len() || most == 0 {
            return Ok(None);
        }
        // A piece ends where a chunk ends, so that each chunk is fetched once.
        let in_chunk = Checksums::CHUNK - self.position % Checksums::CHUNK;
        let wanted = most.min(in_chunk).min(self.len() - self.position);
        let piece = self.read_piece(wanted).await;
        let piece = self.told(piece).await?;
        self.position += piece.len() as u64;
        self.count(&piece);
        Ok(Some(piece))
    }

    /// One to `wanted` bytes from the present position on.
    async fn read_piece(&mut self, wanted: u64) -> Result<Bytes> {
        let at = self.position;
        let piece = match self.decompressed.clone() {
            None => self.read_stored(at..at + wanted).await?,
            Some(decompressed) => {
                let work = move || {
                    decompressed.lock().unwrap_or_else(PoisonError::into_inner).read(at, wanted as usize)
                };
                self.engine.env.clone().unblock(work).await?
            }
        };
        if piece.is_empty() {
            return Err(Error::new(ErrorKind::Corrupted, format!("the value ends at byte {at}, too early")));
        }
        Ok(piece)
    }

    /// Repairs and tells of what goes wrong while the value is read.
    async fn told<T>(&self, read: Result<T>) -> Result<T> {
        let read = self.engine.repairing(&self.entry, read).await;
        let key = self.entry.key.as_str();
        match &read {
            // The value that was read is not damaged, it is no longer there.
            Err(error) if error.kind() == ErrorKind::Conflict => read,
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                self.engine.corrupt(&self.tenant, key, error);
                self.engine.count_error(&self.tenant, read)
            }
            Err(_) => self.engine.count_failure(&self.tenant, Some(key), "read", read),
            Ok(_) => read,
        }
    }

    fn count(&self, piece: &Bytes) {
        add(&self.tenant.counts.bytes_out, piece.len() as u64);
        self.tenant.meters.read(piece.len() as u64);
        self.engine.flusher.mark();
    }

    /// Stored bytes, which the caller has checked to lie within the blob.
    async fn read_stored(&mut self, range: Range<u64>) -> Result<Bytes> {
        let mut out = BytesMut::new();
        let end = range.end.div_ceil(Checksums::CHUNK);
        for index in range.start / Checksums::CHUNK..end {
            let chunk = self.chunk(index, end).await?;
            let base = index * Checksums::CHUNK;
            let start = range.start.saturating_sub(base) as usize;
            let end = (range.end - base).min(chunk.len() as u64) as usize;
            let part = chunk.slice(start.min(end)..end);
            if part.len() as u64 == range.end - range.start {
                return Ok(part);
            }
            out.extend_from_slice(&part);
        }
        Ok(out.freeze())
    }

    async fn chunk(&mut self, index: u64, end: u64) -> Result<Bytes> {
        if let Some((number, chunk)) = &self.last
            && *number == index
        {
            return Ok(chunk.clone());
        }
        let found = self.ahead.chunk(&self.engine, &self.chunks, &self.entry, index, end).await?;
        let Some(chunk) = found else { return Err(went_away(&self.engine, &self.entry).await) };
        self.last = Some((index, chunk.clone()));
        Ok(chunk)
    }

    /// Fills `out` from the present position, for the blocking face.
    pub(crate) fn read_blocking(&mut self, out: &mut [u8]) -> Result<usize> {
        let engine = self.engine.clone();
        let most = out.len() as u64;
        let piece = engine.block_on(self.next_up_to(most))?.unwrap_or_default();
        let n = piece.len().min(out.len());
        out[..n].copy_from_slice(&piece[..n]);
        Ok(n)
    }

    /// Moves the present position, for the blocking face.
    pub(crate) fn seek_blocking(&mut self, to: SeekFrom) -> Result<u64> {
        if self.decompressed.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "a compressed value is read from front to back"));
        }
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a seek to before the value's beginning"))?;
        Ok(self.position)
    }
}

impl std::fmt::Debug for ValueReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValueReader")
            .field("key", &self.entry.key)
            .field("position", &self.position)
            .field("len", &self.entry.size)
            .field("keeps_open", &self.owner.is_some())
            .finish_non_exhaustive()
    }
}

/// Fetches one chunk and verifies it. `None` where the backend is sure that the blob is not there.
async fn fetch_chunk(engine: &Engine, chunks: &Chunks, entry: &Entry, index: u64) -> Result<Option<Bytes>> {
    let start = index.saturating_mul(Checksums::CHUNK);
    let end = entry.stored_size.min(start.saturating_add(Checksums::CHUNK));
    let chunk = match chunks {
        Chunks::Bytes(bytes) => {
            // Inline bytes may be fewer than a damaged entry says; the checksum tells.
            let within = |at: u64| at.min(bytes.len() as u64) as usize;
            bytes.slice(within(start.min(end))..within(end))
        }
        Chunks::File(file) => {
            let file = file.clone();
            engine.env.unblock(move || read_file(&file, start, end - start.min(end))).await?
        }
        Chunks::Copy(file, key) => {
            let (copy, checksums) = (file.clone(), entry.checksums.clone());
            let read = engine.env.unblock(move || {
                let chunk = read_file(&copy, start, end - start.min(end))?;
                checksums.verify_chunk(index, &chunk).map(|()| chunk)
            });
            match read.await {
                Ok(chunk) => return entry.opened(index, chunk).map(Some),
                Err(_) => {
                    engine.discard_copy(entry);
                    match engine.blobs.get_range(key, start..end).await? {
                        Some(chunk) => chunk,
                        None => return Ok(None),
                    }
                }
            }
        }
        Chunks::Remote(key) => match engine.blobs.get_range(key, start..end).await? {
            Some(chunk) => chunk,
            None => return Ok(None),
        },
    };
    entry.checksums.verify_chunk(index, &chunk)?;
    entry.opened(index, chunk).map(Some)
}

fn read_file(file: &Mutex<std::fs::File>, start: u64, len: u64) -> Result<Bytes> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = Vec::with_capacity(len.min(Checksums::CHUNK) as usize);
    file.seek(SeekFrom::Start(start))
        .and_then(|_| (&mut *file).take(len).read_to_end(&mut bytes))
        .map_err(|error| Error::io(error, "the value's blob cannot be read"))?;
    Ok(Bytes::from(bytes))
}

fn source_error(error: std::io::Error) -> Error {
    Error::io(error, "the reader that the value comes from failed")
}

fn stream_error(error: std::io::Error) -> Error {
    Error::io(error, "the value cannot be staged")
}

/// Why a blob is gone that was there when the reading of it began.
async fn went_away(engine: &Engine, entry: &Entry) -> Error {
    match engine.look_up(&entry.namespace, entry.key.as_str()).await {
        // A touch gives the entry another version and leaves it its blob.
        Ok(Some(now)) if now.blob_id() == entry.blob_id() => match engine.check_missing().await {
            Ok(()) => Error::new(ErrorKind::Corrupted, "the value's blob went away while it was read"),
            Err(error) => error,
        },
        Ok(_) => {
            let message = "the value was replaced or removed while it was read, and what it was is kept for a minute only; \
                           open a reader of it again";
            Error::new(ErrorKind::Conflict, message)
        }
        Err(error) => error,
    }
}
