//! The end of every blob: a record that describes it, and a tail of 64 bytes that finds the record. A damaged
//! index can be rebuilt from these. The payload comes first, from offset 0, so that a mapped table is aligned.

use twox_hash::XxHash3_64;

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::names::CacheId;

/// The format of blobs that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;

/// The length of a tail in bytes.
pub const TAIL_LEN: usize = 64;

const MAGIC: [u8; 8] = *b"CACHNESS";

/// The bytes that follow the payload of the blob that `entry` names.
pub(crate) fn encode(entry: &Entry, cache: CacheId) -> Vec<u8> {
    let mut bytes = entry.to_trailer(cache);
    let record_len = bytes.len() as u64;
    let record_sum = XxHash3_64::oneshot(&bytes);
    let tail_start = bytes.len();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&entry.stored_size.to_le_bytes());
    bytes.extend_from_slice(&record_len.to_le_bytes());
    bytes.extend_from_slice(&record_sum.to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    let tail_sum = XxHash3_64::oneshot(&bytes[tail_start..]);
    bytes.extend_from_slice(&tail_sum.to_le_bytes());
    bytes
}

/// What a tail says about its blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    /// The payload's length in bytes; it begins at offset 0.
    pub payload_len: u64,
    /// The length of the record that follows the payload, in bytes.
    pub record_len: u64,
    record_sum: u64,
}

impl Tail {
    /// Reads the last 64 bytes of a blob that is `blob_len` bytes long.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`] where they are no tail or do not fit the length; [`ErrorKind::Unsupported`] where
    /// a newer version wrote the blob.
    pub fn read(tail: &[u8], blob_len: u64) -> Result<Self> {
        let damaged = |what: &str| Error::new(ErrorKind::Corrupted, format!("the blob's tail {what}"));
        let tail: &[u8; TAIL_LEN] = tail.try_into().map_err(|_| damaged("is cut short"))?;
        let (fields, sum) = tail.split_at(TAIL_LEN - 8);
        if fields[..8] != MAGIC || sum != XxHash3_64::oneshot(fields).to_le_bytes() {
            return Err(damaged("is damaged"));
        }
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&fields[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let format = number(8) as u32;
        if format > FORMAT {
            let message = format!("the blob has format {format}; this version reads up to {FORMAT}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let read = Self { payload_len: number(16), record_len: number(24), record_sum: number(32) };
        let expected =
            read.payload_len.checked_add(read.record_len).and_then(|n| n.checked_add(TAIL_LEN as u64));
        if expected != Some(blob_len) {
            return Err(damaged("does not fit the blob's length"));
        }
        Ok(read)
    }

    /// Reads the record that the tail describes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`] where it is not the one that was written.
    pub fn record(&self, record: &[u8]) -> Result<(CacheId, Entry)> {
        if record.len() as u64 != self.record_len || XxHash3_64::oneshot(record) != self.record_sum {
            return Err(Error::new(ErrorKind::Corrupted, "the blob's trailer is damaged"));
        }
        Entry::from_trailer(record)
    }
}

/// Reads the trailer of a blob that lies in memory.
///
/// # Errors
/// As [`Tail::read`] and [`Tail::record`].
pub fn read_trailer(blob: &[u8]) -> Result<(CacheId, Entry)> {
    let split = blob.len().checked_sub(TAIL_LEN);
    let Some((before, tail)) = split.and_then(|at| blob.split_at_checked(at)) else {
        return Err(Error::new(ErrorKind::Corrupted, "the blob is too short to have a tail"));
    };
    let tail = Tail::read(tail, blob.len() as u64)?;
    let record = usize::try_from(tail.payload_len).ok().and_then(|at| before.get(at..));
    tail.record(record.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Format, Location};
    use crate::names::{BlobId, Namespace, Timestamp};

    #[test]
    fn a_blob_of_a_newer_format_is_unsupported_and_not_damaged() {
        let (now, key) = (Timestamp::from_nanos(1), crate::key::Key::new("key").unwrap());
        let location = Location::Blob(BlobId::new(now));
        let entry = Entry::new(
            Namespace::default(),
            key,
            Format::named("text", crate::TypeClass::Text),
            location,
            now,
        );
        let mut blob = encode(&entry, CacheId::random());
        assert_eq!(read_trailer(&blob).unwrap().1.key, entry.key);
        let tail = blob.len() - TAIL_LEN;
        let with_format = |blob: &mut Vec<u8>, format: u32| {
            blob[tail + 8..tail + 12].copy_from_slice(&format.to_le_bytes());
            let sum = XxHash3_64::oneshot(&blob[tail..tail + TAIL_LEN - 8]);
            blob[tail + TAIL_LEN - 8..].copy_from_slice(&sum.to_le_bytes());
        };
        for newer in [FORMAT + 1, u32::MAX] {
            with_format(&mut blob, newer);
            let error = read_trailer(&blob).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let (newer, known) = (format!("format {newer}"), format!("up to {FORMAT}"));
            assert!(error.to_string().contains(&newer) && error.to_string().contains(&known), "{error}");
        }
        with_format(&mut blob, FORMAT);
        assert!(read_trailer(&blob).is_ok());
    }
}
