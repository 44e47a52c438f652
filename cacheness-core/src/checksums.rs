//! The checksums that every stored value has, one for each 256 KiB, so that a range verifies what it touches.

use std::hash::Hasher;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::error::{Error, ErrorKind, Result};

/// The checksums of a stored value: one of each 256 KiB of it, in order.
///
/// XXH3-64, as <https://github.com/Cyan4973/xxHash> has it with seed 0, finds damage, not forgery. A cache that signs its
/// entries uses BLAKE3, so that nobody finds other bytes with the same checksums.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Checksums {
    kind: ChecksumKind,
    table: Bytes,
}

/// What a checksum of a stored value is.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum ChecksumKind {
    /// XXH3-64, 8 bytes: fast, against damage.
    #[default]
    Xxh3,
    /// BLAKE3, 32 bytes: nobody can make bytes that have a given one.
    Blake3,
}

impl ChecksumKind {
    /// The stable number by which the kind is stored.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Xxh3 => 0,
            Self::Blake3 => 1,
        }
    }

    /// The kind that a stored number stands for; `None` for a number from a newer version.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::Xxh3),
            1 => Some(Self::Blake3),
            _ => None,
        }
    }

    /// The length of one checksum in bytes.
    fn width(self) -> usize {
        match self {
            Self::Xxh3 => 8,
            Self::Blake3 => 32,
        }
    }

    fn add(self, chunk: &[u8], table: &mut Vec<u8>) {
        match self {
            Self::Xxh3 => table.extend_from_slice(&XxHash3_64::oneshot(chunk).to_le_bytes()),
            Self::Blake3 => table.extend_from_slice(blake3::hash(chunk).as_bytes()),
        }
    }

    fn is_of(self, stored: &[u8], chunk: &[u8]) -> bool {
        match self {
            Self::Xxh3 => stored == XxHash3_64::oneshot(chunk).to_le_bytes(),
            Self::Blake3 => stored == blake3::hash(chunk).as_bytes(),
        }
    }
}

impl Checksums {
    /// The bytes that one checksum covers. The last one of a blob covers what is left.
    pub const CHUNK: u64 = 256 * 1024;

    /// The checksums, XXH3-64, of bytes that lie in memory.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        Self::of_kind(ChecksumKind::Xxh3, payload)
    }

    /// The checksums of this kind of bytes that lie in memory.
    #[must_use]
    pub fn of_kind(kind: ChecksumKind, payload: &[u8]) -> Self {
        let mut table = Vec::with_capacity(payload.len().div_ceil(Self::CHUNK as usize) * kind.width());
        payload.chunks(Self::CHUNK as usize).for_each(|chunk| kind.add(chunk, &mut table));
        Self::from_stored_of(kind, Bytes::from(table))
    }

    /// Takes checksums, XXH3-64, as they are stored: eight bytes each, least significant first.
    #[must_use]
    pub fn from_stored(bytes: Bytes) -> Self {
        Self::from_stored_of(ChecksumKind::Xxh3, bytes)
    }

    /// Takes checksums of this kind as they are stored.
    #[must_use]
    pub fn from_stored_of(kind: ChecksumKind, bytes: Bytes) -> Self {
        // What there is nothing of is of no kind, so that two such tables are equal.
        Self { kind: if bytes.is_empty() { ChecksumKind::Xxh3 } else { kind }, table: bytes }
    }

    /// The form in which they are stored.
    #[must_use]
    pub fn as_stored(&self) -> &Bytes {
        &self.table
    }

    /// What each of them is. A value of no bytes has none, and their kind is the first one.
    #[must_use]
    pub fn kind(&self) -> ChecksumKind {
        self.kind
    }

    /// How many chunks a payload of `len` bytes has.
    #[must_use]
    pub fn chunks(len: u64) -> u64 {
        len.div_ceil(Self::CHUNK)
    }

    /// Checks that there is one checksum for each chunk of `len` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`] where there are more or fewer.
    pub fn check_count(&self, len: u64) -> Result<()> {
        if self.table.len() as u64 == Self::chunks(len).saturating_mul(self.kind.width() as u64) {
            return Ok(());
        }
        let message = format!(
            "{len} bytes need {} checksums, {} bytes of them are stored",
            Self::chunks(len),
            self.table.len()
        );
        Err(Error::new(ErrorKind::Corrupted, message))
    }

    /// Checks chunk number `index`, which holds `chunk`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`] where the bytes are not those that were written.
    pub fn verify_chunk(&self, index: u64, chunk: &[u8]) -> Result<()> {
        let width = self.kind.width();
        let at = usize::try_from(index).ok().and_then(|index| index.checked_mul(width));
        let stored = at.and_then(|at| self.table.get(at..at.checked_add(width)?));
        if stored.is_some_and(|stored| self.kind.is_of(stored, chunk)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupted, format!("chunk {index} does not match its checksum")))
    }

    /// Checks a whole payload.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`] where the bytes are not those that were written.
    pub fn verify(&self, payload: &[u8]) -> Result<()> {
        self.check_count(payload.len() as u64)?;
        let chunks = payload.chunks(Self::CHUNK as usize);
        chunks.enumerate().try_for_each(|(index, chunk)| self.verify_chunk(index as u64, chunk))
    }
}

/// Computes [`Checksums`] of a payload that comes in pieces.
pub(crate) struct ChunkHasher {
    kind: ChecksumKind,
    done: Vec<u8>,
    current: Current,
    filled: u64,
}

/// A chunk of which a part has come.
enum Current {
    Xxh3(Box<XxHash3_64>),
    Blake3(Box<blake3::Hasher>),
}

impl Current {
    fn new(kind: ChecksumKind) -> Self {
        match kind {
            ChecksumKind::Xxh3 => Self::Xxh3(Box::default()),
            ChecksumKind::Blake3 => Self::Blake3(Box::default()),
        }
    }
}

impl ChunkHasher {
    pub(crate) fn new(kind: ChecksumKind) -> Self {
        Self { kind, done: Vec::new(), current: Current::new(kind), filled: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (Checksums::CHUNK - self.filled) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            bytes = later;
            if self.filled == 0 && now.len() as u64 == Checksums::CHUNK {
                // Whole chunks take the one-shot path, which is faster than the streaming one.
                self.kind.add(now, &mut self.done);
                continue;
            }
            match &mut self.current {
                Current::Xxh3(hasher) => hasher.write(now),
                Current::Blake3(hasher) => drop(hasher.update(now)),
            }
            self.filled += now.len() as u64;
            if self.filled == Checksums::CHUNK {
                self.close_chunk();
            }
        }
    }

    fn close_chunk(&mut self) {
        match std::mem::replace(&mut self.current, Current::new(self.kind)) {
            Current::Xxh3(hasher) => self.done.extend_from_slice(&hasher.finish().to_le_bytes()),
            Current::Blake3(hasher) => self.done.extend_from_slice(hasher.finalize().as_bytes()),
        }
        self.filled = 0;
    }

    pub(crate) fn finish(mut self) -> Checksums {
        if self.filled > 0 {
            self.close_chunk();
        }
        Checksums::from_stored_of(self.kind, Bytes::from(self.done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ChecksumKind; 2] = [ChecksumKind::Xxh3, ChecksumKind::Blake3];

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(len)
        .collect()
    }

    #[test]
    fn checksums_are_the_same_however_the_bytes_come() {
        let payload = noise(600_000);
        for kind in KINDS {
            let whole = Checksums::of_kind(kind, &payload);
            assert_eq!(whole.as_stored().len(), 3 * kind.width());
            let mut hasher = ChunkHasher::new(kind);
            payload.chunks(777).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), whole);
            whole.verify(&payload).unwrap();
            assert_eq!(ChecksumKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(ChecksumKind::from_code(2), None);
    }

    #[test]
    fn checksums_find_a_changed_bit_and_a_changed_length() {
        let mut payload = noise(300_000);
        for kind in KINDS {
            let sums = Checksums::of_kind(kind, &payload);
            payload[299_999] ^= 1;
            assert_eq!(sums.verify(&payload).unwrap_err().kind(), ErrorKind::Corrupted);
            payload[299_999] ^= 1;
            assert!(sums.verify(&payload[..262_144]).is_err());
            assert!(sums.verify(b"").is_err());
            let nothing = Checksums::of_kind(kind, b"");
            nothing.verify(b"").unwrap();
            assert_eq!(Checksums::from_stored_of(kind, nothing.as_stored().clone()), Checksums::default());
        }
    }
}
