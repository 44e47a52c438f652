//! What handlers read from: bytes at hand, or a remote blob fetched by ranges. Either way only verified bytes
//! come out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join_all;

use crate::blob::BlobBackend;
use crate::encryption::ValueCipher;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::BlobReader;
use crate::names::BlobKey;
use crate::stage::Checksums;

/// Reads bytes that lie in memory or in a map.
pub(super) struct LocalReader {
    payload: Bytes,
    checksums: Checksums,
    verified: Verified,
    /// How many bytes were handed out.
    pub(super) taken: u64,
}

/// What of a payload has been found whole.
enum Verified {
    All,
    /// One flag per chunk.
    Chunks(Vec<bool>),
}

impl LocalReader {
    /// Reads a payload of which nothing has been verified yet.
    pub(super) fn new(payload: Bytes, checksums: Checksums) -> Result<Self> {
        let len = payload.len() as u64;
        checksums.check_count(len)?;
        let chunks = usize::try_from(Checksums::chunks(len)).unwrap_or(usize::MAX);
        Ok(Self { payload, checksums, verified: Verified::Chunks(vec![false; chunks]), taken: 0 })
    }

    /// Reads a payload that has been verified before.
    pub(super) fn trusted(payload: Bytes) -> Self {
        Self { payload, checksums: Checksums::default(), verified: Verified::All, taken: 0 }
    }

    /// True once all of the payload has been verified.
    pub(super) fn is_verified(&self) -> bool {
        match &self.verified {
            Verified::All => true,
            Verified::Chunks(chunks) => chunks.iter().all(|&chunk| chunk),
        }
    }

    fn verify(&mut self, range: Range<u64>) -> Result<()> {
        let Verified::Chunks(done) = &mut self.verified else { return Ok(()) };
        for index in chunks_of(&range) {
            // The caller has checked the range against the payload, so both casts and the index are in bounds.
            let start = (index * Checksums::CHUNK) as usize;
            let end = self.payload.len().min(start + Checksums::CHUNK as usize);
            if !done[index as usize] {
                self.checksums.verify_chunk(index, &self.payload[start..end])?;
                done[index as usize] = true;
            }
        }
        Ok(())
    }
}

impl BlobReader for LocalReader {
    fn len(&self) -> u64 {
        self.payload.len() as u64
    }

    fn bytes(&mut self) -> Result<Bytes> {
        self.verify(0..self.len())?;
        self.taken += self.len();
        Ok(self.payload.clone())
    }

    fn take_bytes(&mut self) -> Result<Bytes> {
        self.verify(0..self.len())?;
        self.taken += self.len();
        // What is left is verified, too: nothing of it is unverified.
        Ok(std::mem::take(&mut self.payload))
    }

    fn read_at(&mut self, range: Range<u64>) -> Result<Bytes> {
        check_range(&range, self.len())?;
        self.verify(range.clone())?;
        self.taken += range.end - range.start;
        Ok(self.payload.slice(range.start as usize..range.end as usize))
    }

    fn prefetch(&mut self, _: &[Range<u64>]) -> Result<()> {
        Ok(())
    }
}

/// Reads encrypted bytes that lie in memory or in a map, and decrypts the chunks that are asked for.
pub(super) struct SealedReader {
    payload: Bytes,
    checksums: Checksums,
    cipher: Arc<ValueCipher>,
    /// Chunks that have been verified and decrypted, by number.
    chunks: BTreeMap<u64, Bytes>,
    /// How many bytes were decrypted.
    pub(super) taken: u64,
}

impl SealedReader {
    pub(super) fn new(payload: Bytes, checksums: Checksums, cipher: Arc<ValueCipher>) -> Result<Self> {
        checksums.check_count(payload.len() as u64)?;
        Ok(Self { payload, checksums, cipher, chunks: BTreeMap::new(), taken: 0 })
    }
}

impl BlobReader for SealedReader {
    fn len(&self) -> u64 {
        self.payload.len() as u64
    }

    /// All of it at once, without chunks that would be kept as well.
    fn bytes(&mut self) -> Result<Bytes> {
        self.checksums.verify(&self.payload)?;
        self.taken += self.len();
        self.cipher.open_all(&self.payload)
    }

    fn read_at(&mut self, range: Range<u64>) -> Result<Bytes> {
        check_range(&range, self.len())?;
        for index in chunks_of(&range) {
            if self.chunks.contains_key(&index) {
                continue;
            }
            // The range lies within the payload, so both casts are in bounds.
            let start = (index * Checksums::CHUNK) as usize;
            let chunk = &self.payload[start..self.payload.len().min(start + Checksums::CHUNK as usize)];
            self.checksums.verify_chunk(index, chunk)?;
            self.chunks.insert(index, self.cipher.open_chunk(index, chunk)?);
            self.taken += chunk.len() as u64;
        }
        put_together(&self.chunks, &range)
    }

    fn prefetch(&mut self, _: &[Range<u64>]) -> Result<()> {
        Ok(())
    }
}

/// Reads a blob of a remote backend, chunk by chunk. It runs on a thread that may block.
pub(super) struct RemoteReader {
    pub(super) env: Env,
    pub(super) blobs: Arc<dyn BlobBackend>,
    pub(super) key: BlobKey,
    pub(super) len: u64,
    pub(super) checksums: Checksums,
    /// What decrypts the chunks, where they are encrypted.
    pub(super) cipher: Option<Arc<ValueCipher>>,
    /// Chunks that have been fetched, verified and decrypted, by number.
    pub(super) chunks: BTreeMap<u64, Bytes>,
    /// How many bytes were fetched.
    pub(super) taken: u64,
    /// True once the backend has said that the blob is not there.
    pub(super) missing: bool,
}

impl RemoteReader {
    /// Fetches what is missing of these chunks: neighbours by one request, and all requests at once.
    fn fetch(&mut self, wanted: impl Iterator<Item = u64>) -> Result<()> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for chunk in wanted.filter(|chunk| !self.chunks.contains_key(chunk)) {
            match runs.last_mut() {
                Some(run) if run.end == chunk => run.end += 1,
                Some(run) if chunk < run.end => {}
                _ => runs.push(chunk..chunk + 1),
            }
        }
        if runs.is_empty() {
            return Ok(());
        }
        let (blobs, key, len) = (&self.blobs, &self.key, self.len);
        let requests = runs.iter().map(|run| async move {
            let range = run.start * Checksums::CHUNK..len.min(run.end * Checksums::CHUNK);
            let Some(bytes) = blobs.get_range(key, range.clone()).await? else { return Ok(None) };
            if bytes.len() as u64 != range.end - range.start {
                let message = format!("the blob ends before offset {}", range.end);
                return Err(Error::new(ErrorKind::Corrupted, message));
            }
            Ok(Some((run.start, bytes)))
        });
        let needs_runtime = blobs.capabilities().needs_runtime;
        let fetched = self.env.block_on(needs_runtime, try_join_all(requests))?;
        for part in fetched {
            let Some((first, mut bytes)) = part else {
                self.missing = true;
                return Err(missing());
            };
            self.taken += bytes.len() as u64;
            let mut index = first;
            while !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(Checksums::CHUNK as usize));
                self.checksums.verify_chunk(index, &chunk)?;
                let plain = match &self.cipher {
                    None => chunk,
                    Some(cipher) => cipher.open_chunk(index, &chunk)?,
                };
                self.chunks.insert(index, plain);
                index += 1;
            }
        }
        Ok(())
    }
}

impl BlobReader for RemoteReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn bytes(&mut self) -> Result<Bytes> {
        self.read_at(0..self.len)
    }

    fn read_at(&mut self, range: Range<u64>) -> Result<Bytes> {
        check_range(&range, self.len)?;
        self.fetch(chunks_of(&range))?;
        put_together(&self.chunks, &range)
    }

    fn prefetch(&mut self, ranges: &[Range<u64>]) -> Result<()> {
        ranges.iter().try_for_each(|range| check_range(range, self.len))?;
        let mut wanted: Vec<u64> = ranges.iter().flat_map(chunks_of).collect();
        wanted.sort_unstable();
        wanted.dedup();
        self.fetch(wanted.into_iter())
    }
}

/// The bytes of a range, all of whose chunks are there.
fn put_together(chunks: &BTreeMap<u64, Bytes>, range: &Range<u64>) -> Result<Bytes> {
    let mut out = BytesMut::new();
    for index in chunks_of(range) {
        let chunk = chunks.get(&index).ok_or_else(missing)?;
        let base = index * Checksums::CHUNK;
        let start = range.start.saturating_sub(base) as usize;
        let end = (range.end - base).min(chunk.len() as u64) as usize;
        if (start, end) == (0, chunk.len()) && range.end - range.start == chunk.len() as u64 {
            return Ok(chunk.clone());
        }
        out.extend_from_slice(&chunk[start..end]);
    }
    Ok(out.freeze())
}

fn chunks_of(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() { 0..0 } else { range.start / Checksums::CHUNK..range.end.div_ceil(Checksums::CHUNK) }
}

fn check_range(range: &Range<u64>, len: u64) -> Result<()> {
    if range.start <= range.end && range.end <= len {
        return Ok(());
    }
    let message = format!("bytes {} to {} were asked for, the value has {len}", range.start, range.end);
    Err(Error::new(ErrorKind::Decode, message))
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "the blob is not there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_verifies_only_the_chunks_that_it_touches() {
        let mut payload = vec![7; 600_000];
        let checksums = Checksums::of(&payload);
        payload[599_999] = 8;
        let mut reader = LocalReader::new(Bytes::from(payload), checksums).unwrap();
        assert_eq!(reader.read_at(10..300_000).unwrap().len(), 299_990);
        assert_eq!(reader.read_at(599_000..599_001).unwrap_err().kind(), ErrorKind::Corrupted);
        assert!(reader.bytes().is_err());
        assert!(!reader.is_verified());
    }

    #[test]
    fn a_range_outside_the_value_is_an_error() {
        let mut reader = LocalReader::new(Bytes::from_static(b"abc"), Checksums::of(b"abc")).unwrap();
        assert_eq!(reader.read_at(1..3).unwrap(), "bc");
        assert_eq!(reader.read_at(3..3).unwrap(), "");
        #[expect(clippy::reversed_empty_ranges, reason = "what a damaged footer may ask for")]
        for range in [2..4, 3..2, u64::MAX..u64::MAX] {
            assert_eq!(reader.read_at(range).unwrap_err().kind(), ErrorKind::Decode);
        }
    }
}
