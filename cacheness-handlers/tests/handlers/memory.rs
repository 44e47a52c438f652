//! A blob in memory, and what was read of it.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;
use cacheness_core::{
    BlobReader, BlobWriter, CacheHandler, CacheValue, Compression, Error, ErrorKind, FormatMeta,
    HandlerContext, ReadOptions, Result,
};

/// A stored value.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Bytes,
    pub(crate) meta: FormatMeta,
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for Writer {
    fn position(&self) -> u64 {
        self.0.len() as u64
    }
}

/// A writer that has room for so many bytes.
pub(crate) struct FullDisk(pub(crate) usize);

impl Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| Error::new(ErrorKind::StorageFull, "full"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for FullDisk {
    fn position(&self) -> u64 {
        0
    }
}

/// Reads a stored value and counts.
pub(crate) struct Reader {
    bytes: Bytes,
    pub(crate) read: u64,
    pub(crate) whole: usize,
    pub(crate) prefetched: Vec<Range<u64>>,
}

impl Reader {
    pub(crate) fn new(stored: &Stored) -> Self {
        Self { bytes: stored.bytes.clone(), read: 0, whole: 0, prefetched: Vec::new() }
    }
}

impl BlobReader for Reader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn bytes(&mut self) -> Result<Bytes> {
        self.whole += 1;
        self.read += self.len();
        Ok(self.bytes.clone())
    }

    fn read_at(&mut self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.len() {
            return Err(Error::new(ErrorKind::Decode, "outside the value"));
        }
        self.read += range.end - range.start;
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }

    fn prefetch(&mut self, ranges: &[Range<u64>]) -> Result<()> {
        self.prefetched.extend_from_slice(ranges);
        Ok(())
    }
}

/// Bytes at an address that is a multiple of 64, as those of a mapped file are, plus `shift`.
pub(crate) fn aligned(bytes: &[u8], shift: usize) -> Bytes {
    let mut room = vec![0_u8; bytes.len() + 128];
    let start = room.as_ptr().align_offset(64) + shift;
    room[start..start + bytes.len()].copy_from_slice(bytes);
    Bytes::from(room).slice(start..start + bytes.len())
}

pub(crate) fn context(compression: Option<Compression>) -> HandlerContext {
    let mut context = HandlerContext::default();
    context.compression = compression;
    context
}

pub(crate) fn put<Via, T: CacheValue<Via>>(handler: &dyn CacheHandler, value: &T) -> Result<Stored> {
    put_with(handler, value, None)
}

pub(crate) fn put_with<Via, T: CacheValue<Via>>(
    handler: &dyn CacheHandler,
    value: &T,
    compression: Option<Compression>,
) -> Result<Stored> {
    let value = value.value_ref();
    assert!(handler.can_handle(&value));
    let mut writer = Writer::default();
    let meta = handler.put(&value, &mut writer, &context(compression))?;
    assert!(meta.as_bytes().len() <= FormatMeta::MAX_LEN);
    Ok(Stored { bytes: aligned(&writer.0, 0), meta })
}

pub(crate) fn get<T: CacheValue<Via>, Via>(handler: &dyn CacheHandler, stored: &Stored) -> Result<T> {
    get_with(handler, stored, &ReadOptions::new())
}

pub(crate) fn get_with<T: CacheValue<Via>, Via>(
    handler: &dyn CacheHandler,
    stored: &Stored,
    options: &ReadOptions,
) -> Result<T> {
    read(handler, stored, &mut Reader::new(stored), options)
}

pub(crate) fn read<T: CacheValue<Via>, Via>(
    handler: &dyn CacheHandler,
    stored: &Stored,
    reader: &mut Reader,
    options: &ReadOptions,
) -> Result<T> {
    let boxed = handler.get(reader, &stored.meta, &T::target(), options)?;
    Ok(T::from_boxed(boxed).expect("the handler makes the type that was asked for"))
}

/// Bytes that no handler wrote.
pub(crate) fn plain_stored(bytes: &[u8]) -> Stored {
    Stored { bytes: aligned(bytes, 0), meta: FormatMeta::default() }
}
