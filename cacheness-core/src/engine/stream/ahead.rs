//! The chunks of a value for a reader that goes from one to the next: those of a remote blob are fetched many at once.

use bytes::Bytes;

use super::{Chunks, fetch_chunk};
use crate::engine::Engine;
use crate::entry::Entry;
use crate::error::Result;
use crate::stage::Checksums;

/// The most chunks that are fetched by one request: 8 MiB.
const MOST: u64 = 32;

/// By how much a run is longer than the one that it follows: 256 KiB first, then 2 MiB, then 8 MiB, so that whoever wants
/// the beginning only does not pay for much more.
const GROWTH: u64 = 8;

/// A run of stored chunks that have been fetched, and not verified yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead {
    first: u64,
    run: Bytes,
}

impl Ahead {
    /// One chunk, verified and decrypted, for a caller who wants those up to `end` soon. `None` where the backend is sure
    /// that the blob is not there.
    pub(super) async fn chunk(
        &mut self,
        engine: &Engine,
        chunks: &Chunks,
        entry: &Entry,
        index: u64,
        end: u64,
    ) -> Result<Option<Bytes>> {
        let Chunks::Remote(key) = chunks else { return fetch_chunk(engine, chunks, entry, index).await };
        let held = Checksums::chunks(self.run.len() as u64);
        if !(self.first..self.first + held).contains(&index) {
            let follows = held > 0 && index == self.first + held;
            let grown = if follows { held.saturating_mul(GROWTH) } else { 1 };
            let count = grown.max(end.saturating_sub(index)).min(MOST);
            let start = index.saturating_mul(Checksums::CHUNK);
            let until = entry.stored_size.min(start.saturating_add(count * Checksums::CHUNK));
            let Some(run) = engine.blobs.get_range(key, start.min(until)..until).await? else {
                return Ok(None);
            };
            (self.first, self.run) = (index, run);
        }
        let within = |chunk: u64| (chunk * Checksums::CHUNK).min(self.run.len() as u64) as usize;
        let at = index - self.first;
        let chunk = self.run.slice(within(at)..within(at + 1));
        entry.checksums.verify_chunk(index, &chunk)?;
        entry.opened(index, chunk).map(Some)
    }
}
