//! A blob reader in memory.

use std::ops::Range;

use bytes::Bytes;
use cacheness_core::{BlobReader, Error, ErrorKind, Result};

/// Reads a value from memory, and counts what is read. The bytes begin at an address that is a multiple of 64, as
/// those of a mapped blob do.
///
/// ```
/// use cacheness_core::BlobReader;
/// use cacheness_testkit::handler::MemoryReader;
///
/// let mut reader = MemoryReader::new(b"a value");
/// assert_eq!(reader.read_at(2..7)?, "value");
/// assert_eq!(reader.bytes_read(), 5);
/// assert!(reader.read_at(2..8).is_err());
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryReader {
    bytes: Bytes,
    bytes_read: u64,
    prefetched: Vec<Range<u64>>,
    /// The reads that are still answered before the reader fails.
    answers: Option<u64>,
    failed: bool,
}

const ALIGNMENT: usize = 64;

impl MemoryReader {
    /// A reader of these bytes.
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        let mut room: Vec<u8> = Vec::with_capacity(bytes.len() + ALIGNMENT);
        let begin = room.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        room.resize(begin, 0);
        room.extend_from_slice(bytes);
        let bytes = Bytes::from(room).slice(begin..);
        Self { bytes, bytes_read: 0, prefetched: Vec::new(), answers: None, failed: false }
    }

    /// Answers this many calls and then fails with [`Unavailable`](ErrorKind::Unavailable), as a store that goes
    /// away.
    #[must_use]
    pub fn failing_after(mut self, calls: u64) -> Self {
        self.answers = Some(calls);
        self
    }

    /// How many bytes were read so far; bytes read twice count twice.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The ranges that were announced by `prefetch`.
    #[must_use]
    pub fn prefetched(&self) -> &[Range<u64>] {
        &self.prefetched
    }

    /// True once a call was made after the last that was to be answered.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    fn answer(&mut self) -> Result<()> {
        match &mut self.answers {
            Some(0) => {
                self.failed = true;
                Err(Error::new(ErrorKind::Unavailable, "the reader fails, as it was told to"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn inside(&self, range: &Range<u64>) -> Result<Range<usize>> {
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        match (start, end) {
            (Ok(start), Ok(end)) if start <= end && end <= self.bytes.len() => Ok(start..end),
            _ => {
                let message =
                    format!("the range {range:?} is not inside a value of {} bytes", self.bytes.len());
                Err(Error::new(ErrorKind::Decode, message))
            }
        }
    }
}

impl BlobReader for MemoryReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn bytes(&mut self) -> Result<Bytes> {
        self.answer()?;
        self.bytes_read += self.bytes.len() as u64;
        Ok(self.bytes.clone())
    }

    fn read_at(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.answer()?;
        let range = self.inside(&range)?;
        self.bytes_read += range.len() as u64;
        Ok(self.bytes.slice(range))
    }

    fn prefetch(&mut self, ranges: &[Range<u64>]) -> Result<()> {
        self.answer()?;
        for range in ranges {
            self.inside(range)?;
        }
        self.prefetched.extend_from_slice(ranges);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_at_a_multiple_of_64() {
        for len in [1, 7, 64, 4097] {
            let bytes = MemoryReader::new(vec![1; len]).bytes().unwrap();
            assert_eq!((bytes.as_ptr() as usize % ALIGNMENT, bytes.len()), (0, len));
        }
    }

    #[test]
    fn a_range_that_is_not_inside_is_a_decode_error() {
        let mut reader = MemoryReader::new(b"abc");
        for range in [2..4, 4..4, 0..u64::MAX, Range { start: 2, end: 1 }] {
            assert_eq!(reader.read_at(range).unwrap_err().kind(), ErrorKind::Decode);
        }
        assert_eq!(reader.bytes_read(), 0);
    }

    #[test]
    fn it_fails_when_it_was_told_to() {
        let mut reader = MemoryReader::new(b"abc").failing_after(1);
        assert!(reader.bytes().is_ok());
        assert_eq!(reader.read_at(0..1).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
