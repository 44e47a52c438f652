//! Values of any size in bounded memory: written from a reader, and read chunk by chunk.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::counting::{Tenant, add};
use super::get::Stored;
use super::put::Prepared;
use super::{Engine, EntryState};
use crate::entry::{Entry, Format};
use crate::env::foreign;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::FormatMeta;
use crate::key::Key;
use crate::names::BlobKey;
use crate::options::PutOptions;
use crate::stage::{Checksums, decoder};

/// The handler under whose name streamed values are stored: their bytes as they are.
const STREAM_HANDLER: &str = "bytes";

/// How much is taken from a source at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Reads one value piece by piece. Every piece has been verified. Memory is bounded by one chunk of 256 KiB, or by
/// the range asked for.
///
/// What it reads are the bytes that the value's handler wrote: for a value put as bytes, those bytes.
pub struct ValueReader {
    engine: Arc<Engine>,
    tenant: Arc<Tenant>,
    entry: Entry,
    chunks: Chunks,
    position: u64,
    /// The chunk that was read last, with its number: small sequential reads come out of it.
    last: Option<(u64, Bytes)>,
    /// For a compressed value, its decompressed bytes in order.
    decompressed: Option<Decompressor>,
}

/// Gives the decompressed bytes of a value in order; shared with the thread that may block on it.
type Decompressor = Arc<Mutex<Box<dyn Read + Send>>>;

/// Where the stored chunks of a value come from.
#[derive(Clone)]
enum Chunks {
    Bytes(Bytes),
    File(Arc<Mutex<std::fs::File>>),
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
        let prepared = self.begin_stream(key, options).and_then(|(key, options, format, mut writer)| {
            let mut piece = vec![0; PIECE];
            loop {
                match foreign(|| from.read(&mut piece)) {
                    Ok(0) => break,
                    Ok(n) => writer.write_all(&piece[..n.min(PIECE)]).map_err(stream_error)?,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(source_error(error)),
                }
            }
            self.assemble(tenant, key, format, writer.finish()?, options)
        });
        self.count_error(
            tenant,
            prepared.map_err(|error| error.with_operation("put_reader").with_context("key", key)),
        )
    }

    /// Takes a value from an asynchronous reader.
    pub(crate) async fn prepare_async_reader(
        &self,
        tenant: &Tenant,
        key: &str,
        mut from: impl AsyncRead + Unpin,
        options: PutOptions,
    ) -> Result<Prepared> {
        let started = self.begin_stream(key, options);
        let prepared = async {
            let (key, options, format, mut writer) = started?;
            let mut piece = vec![0; PIECE];
            loop {
                let n = from.read(&mut piece).await.map_err(source_error)?;
                if n == 0 {
                    break;
                }
                writer.write_all(&piece[..n]).map_err(stream_error)?;
            }
            self.assemble(tenant, key, format, writer.finish()?, options)
        };
        let prepared: Result<Prepared> = prepared.await;
        self.count_error(
            tenant,
            prepared.map_err(|error| error.with_operation("put_reader").with_context("key", key)),
        )
    }

    fn begin_stream(
        &self,
        key: &str,
        options: PutOptions,
    ) -> Result<(Key, PutOptions, Format, super::writer::ValueWriter)> {
        let (key, options) = self.begin(key, options)?;
        if let Some(name) = options.handler.as_deref().filter(|&name| name != STREAM_HANDLER) {
            let message =
                format!("a stream is stored by the handler `{STREAM_HANDLER}`; `{name}` was asked for");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let handler = self.registry.handler(STREAM_HANDLER)?;
        let format = Format::new(handler.as_ref(), FormatMeta::default(), "[u8]");
        let writer = self.writer(options.compression.unwrap_or(self.settings.compression));
        Ok((key, options, format, writer))
    }

    /// Opens a value for reading, and counts the lookup.
    pub(crate) async fn reader(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        key: &str,
    ) -> Result<Option<ValueReader>> {
        self.check_open()?;
        Key::check(key)?;
        let opened = self.open_reader(tenant, key).await;
        let Some(reader) = self.settle(tenant, key, opened)? else {
            self.count_miss(tenant);
            return Ok(None);
        };
        self.count_hit(tenant, &reader.entry);
        Ok(Some(reader))
    }

    async fn open_reader(self: &Arc<Self>, tenant: &Arc<Tenant>, key: &str) -> Result<Option<ValueReader>> {
        let mut next = self.metadata.get_entry(&tenant.namespace, key).await?;
        loop {
            let Some(entry) = next else { return Ok(None) };
            if self.state(&entry) != EntryState::Valid {
                return Ok(None);
            }
            entry.checksums.check_count(entry.stored_size)?;
            let chunks = match self.open_chunks(&entry).await? {
                Some(chunks) => chunks,
                None => {
                    next = self.next_after_missing(tenant, key, &entry).await?;
                    continue;
                }
            };
            let mut reader = ValueReader {
                engine: self.clone(),
                tenant: tenant.clone(),
                entry,
                chunks,
                position: 0,
                last: None,
                decompressed: None,
            };
            // Whether a remote blob is there, the first chunk of it tells.
            if matches!(reader.chunks, Chunks::Remote(_)) && reader.entry.stored_size > 0 {
                match reader.chunk(0).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        next = self.next_after_missing(tenant, key, &reader.entry).await?;
                        continue;
                    }
                    first => drop(first?),
                }
            }
            reader.decompressed = reader.decompressor()?;
            return Ok(Some(reader));
        }
    }

    async fn open_chunks(&self, entry: &Entry) -> Result<Option<Chunks>> {
        if let Some(blob) = entry.blob_id().filter(|_| !self.blobs.capabilities().local) {
            return Ok(Some(Chunks::Remote(self.blob_key(blob))));
        }
        Ok(self.open_stored(entry, None).await?.map(|stored| match stored {
            Stored::Local(bytes) | Stored::Mapped(bytes, _) => Chunks::Bytes(bytes),
            Stored::File(file, ..) => Chunks::File(Arc::new(Mutex::new(file))),
            Stored::Remote(blob) => Chunks::Remote(self.blob_key(blob)),
        }))
    }

    /// An entry with its stored bytes, verified and uninterpreted. It is no lookup: nothing is counted.
    pub(crate) async fn get_raw(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        key: &str,
    ) -> Result<Option<super::RawEntry>> {
        self.check_open()?;
        Key::check(key)?;
        let opened = self.open_reader(tenant, key).await;
        let Some(mut reader) = self.settle(tenant, key, opened)? else { return Ok(None) };
        let stored = 0..reader.entry.stored_size;
        let read = reader.read_stored(stored).await;
        let Some(bytes) = self.settle(tenant, key, read.map(Some))? else { return Ok(None) };
        Ok(Some(super::RawEntry { entry: reader.entry.clone(), bytes }))
    }
}

impl ValueReader {
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
    /// written; the backend's error where it cannot read.
    pub async fn read_at(&mut self, range: Range<u64>) -> Result<Bytes> {
        if self.decompressed.is_some() {
            let message =
                "a compressed value is read from front to back; put it without compression to seek in it";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let end = range.end.min(self.len());
        let bytes = self.read_stored(range.start.min(end)..end).await?;
        add(&self.tenant.counts.bytes_out, bytes.len() as u64);
        Ok(bytes)
    }

    /// The next bytes in order, 256 KiB at most; `None` at the end.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at), but compressed values are read, too.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        let end = self.len().min(self.position.saturating_add(Checksums::CHUNK));
        self.next_up_to(end - self.position.min(end)).await
    }

    async fn next_up_to(&mut self, most: u64) -> Result<Option<Bytes>> {
        // A piece ends where a chunk ends, so that each chunk is fetched once.
        let chunk_end = (self.position / Checksums::CHUNK + 1) * Checksums::CHUNK;
        let end = self.len().min(chunk_end).min(self.position.saturating_add(most));
        if self.position >= self.len() || end <= self.position {
            return Ok(None);
        }
        let range = self.position..end;
        let piece = match self.decompressed.clone() {
            None => self.read_stored(range).await?,
            Some(decompressed) => {
                let wanted = (range.end - range.start) as usize;
                self.engine.env.clone().unblock(move || read_piece(&decompressed, wanted)).await?
            }
        };
        self.position += piece.len() as u64;
        add(&self.tenant.counts.bytes_out, piece.len() as u64);
        Ok(Some(piece))
    }

    /// Stored bytes, which the caller has checked to lie within the blob.
    async fn read_stored(&mut self, range: Range<u64>) -> Result<Bytes> {
        let mut out = BytesMut::new();
        for index in range.start / Checksums::CHUNK..range.end.div_ceil(Checksums::CHUNK) {
            let chunk = self.chunk(index).await?;
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

    async fn chunk(&mut self, index: u64) -> Result<Bytes> {
        if let Some((number, chunk)) = &self.last
            && *number == index
        {
            return Ok(chunk.clone());
        }
        let chunk = fetch_chunk(&self.engine, &self.chunks, &self.entry, index).await?;
        self.last = Some((index, chunk.clone()));
        Ok(chunk)
    }

    fn decompressor(&self) -> Result<Option<Decompressor>> {
        let [stage] = self.entry.format.stages[..] else { return Ok(None) };
        let stored = StoredRead {
            engine: self.engine.clone(),
            chunks: self.chunks.clone(),
            entry: self.entry.clone(),
            next: 0,
            rest: Bytes::new(),
        };
        Ok(Some(Arc::new(Mutex::new(decoder(stage, stored)?))))
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
            .finish_non_exhaustive()
    }
}

/// Fetches one chunk and verifies it.
async fn fetch_chunk(engine: &Engine, chunks: &Chunks, entry: &Entry, index: u64) -> Result<Bytes> {
    let start = index.saturating_mul(Checksums::CHUNK);
    let end = entry.stored_size.min(start.saturating_add(Checksums::CHUNK));
    let chunk = match chunks {
        Chunks::Bytes(bytes) => bytes.slice(start.min(end) as usize..end as usize),
        Chunks::File(file) => {
            let file = file.clone();
            engine.env.unblock(move || read_file(&file, start, end - start.min(end))).await?
        }
        Chunks::Remote(key) => engine.blobs.get_range(key, start..end).await?.ok_or_else(|| {
            Error::new(ErrorKind::Corrupted, "the value's blob went away while it was read")
        })?,
    };
    entry.checksums.verify_chunk(index, &chunk)?;
    Ok(chunk)
}

fn read_file(file: &Mutex<std::fs::File>, start: u64, len: u64) -> Result<Bytes> {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = Vec::with_capacity(len.min(Checksums::CHUNK) as usize);
    file.seek(SeekFrom::Start(start))
        .and_then(|_| (&mut *file).take(len).read_to_end(&mut bytes))
        .map_err(|error| Error::io(error, "the value's blob cannot be read"))?;
    Ok(Bytes::from(bytes))
}

fn read_piece(from: &Mutex<Box<dyn Read + Send>>, wanted: usize) -> Result<Bytes> {
    let mut from = from.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = Vec::with_capacity(wanted);
    (&mut *from)
        .take(wanted as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(error, "the value cannot be decompressed"))?;
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::Corrupted, "the compressed value ends too early"));
    }
    Ok(Bytes::from(bytes))
}

/// The stored bytes of a value in order, for a decompressor.
struct StoredRead {
    engine: Arc<Engine>,
    chunks: Chunks,
    entry: Entry,
    next: u64,
    rest: Bytes,
}

impl Read for StoredRead {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() && self.next < Checksums::chunks(self.entry.stored_size) {
            let fetched = fetch_chunk(&self.engine, &self.chunks, &self.entry, self.next);
            self.rest = self.engine.block_on(fetched)?;
            self.next += 1;
        }
        let n = out.len().min(self.rest.len());
        out[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}

fn source_error(error: std::io::Error) -> Error {
    Error::io(error, "the reader that the value comes from failed")
}

fn stream_error(error: std::io::Error) -> Error {
    Error::io(error, "the value cannot be staged")
}
