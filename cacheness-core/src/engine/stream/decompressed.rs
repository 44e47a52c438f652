//! The decompressed bytes of a stored value, piece by piece, for a caller who may give up waiting for one.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::ahead::Ahead;
use super::{Chunks, went_away};
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::stage::{Checksums, Stage, decoder};

/// The decompressed bytes of a value. They come in order, and the last piece again: a caller who gave up waiting
/// for it asks once more.
pub(super) struct Decompressed {
    stage: Stage,
    /// What a decoder reads, from its beginning.
    source: StoredRead,
    /// The decoder with its own position. There is none before the first read and after a failed one.
    decoder: Option<(u64, Box<dyn Read + Send>)>,
    /// The piece that was read last, with its position.
    last: (u64, Bytes),
}

impl Decompressed {
    pub(super) fn new(stage: Stage, source: StoredRead) -> Self {
        Self { stage, source, decoder: None, last: (0, Bytes::new()) }
    }

    /// Up to `wanted` bytes from `at` on; none at the end.
    pub(super) fn read(&mut self, at: u64, wanted: usize) -> Result<Bytes> {
        let (start, piece) = &self.last;
        if let Some(within) = at.checked_sub(*start)
            && within < piece.len() as u64
        {
            let rest = piece.slice(within as usize..);
            return Ok(rest.slice(..rest.len().min(wanted)));
        }
        let mut decoder = match self.decoder.take() {
            Some((position, decoder)) if position == at => decoder,
            _ => self.decoder_at(at)?,
        };
        let mut bytes = Vec::with_capacity(wanted);
        (&mut decoder).take(wanted as u64).read_to_end(&mut bytes).map_err(decompress_error)?;
        let piece = Bytes::from(bytes);
        self.decoder = Some((at + piece.len() as u64, decoder));
        self.last = (at, piece.clone());
        Ok(piece)
    }

    fn decoder_at(&self, at: u64) -> Result<Box<dyn Read + Send>> {
        let mut decoder = decoder(self.stage, self.source.clone())?;
        let skipped = std::io::copy(&mut (&mut decoder).take(at), &mut std::io::sink());
        // What is before `at` was read once already; that it is less now shows with the next read, which is empty.
        skipped.map_err(decompress_error)?;
        Ok(decoder)
    }
}

/// The stored bytes of a value in order, for a decompressor.
#[derive(Clone)]
pub(super) struct StoredRead {
    engine: Arc<Engine>,
    chunks: Chunks,
    entry: Entry,
    ahead: Ahead,
    next: u64,
    rest: Bytes,
}

impl StoredRead {
    pub(super) fn new(engine: Arc<Engine>, chunks: Chunks, entry: Entry) -> Self {
        Self { engine, chunks, entry, ahead: Ahead::default(), next: 0, rest: Bytes::new() }
    }
}

impl Read for StoredRead {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() && self.next < Checksums::chunks(self.entry.stored_size) {
            let Self { engine, chunks, entry, ahead, next, .. } = self;
            let fetched = async {
                match ahead.chunk(engine, chunks, entry, *next, *next + 1).await? {
                    Some(chunk) => Ok(chunk),
                    None => Err(went_away(engine, entry).await),
                }
            };
            self.rest = engine.block_on(fetched)?;
            self.next += 1;
        }
        let n = out.len().min(self.rest.len());
        out[..n].copy_from_slice(&self.rest.split_to(n));
        Ok(n)
    }
}

/// What the decoder itself finds wrong is damage; what it was given comes through as it is.
fn decompress_error(error: std::io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return Error::io(error, "the value cannot be read");
    }
    Error::new(ErrorKind::Corrupted, "the compressed bytes are damaged").with_source(error)
}
