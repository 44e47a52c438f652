//! An entry as it is stored: a header of fixed width that scripts read and change in part, then the key, the record, and
//! inline bytes. `scripts/common.lua` reads the same.

use bytes::Bytes;
use cacheness_core::{
    BlobId, Entry, Error, ErrorKind, Location, Namespace, Result, StoredEntry, Timestamp, Version,
};

use super::failure::{NAME, damaged};

/// The length of the header.
const HEADER: usize = 177;

/// The highest number that scripts count with. Larger sizes count as this one: 8 PiB.
const LARGEST: u64 = (1 << 53) - 1;

/// What stands for no expiry time, and twice for no blob.
pub(super) const NEVER: &str = "----------------";

const SIGN: u64 = 1 << 63;

/// A signed number as 16 digits in the order of the numbers.
pub(super) fn ordered(number: i64) -> String {
    format!("{:016x}", number.cast_unsigned() ^ SIGN)
}

/// A moment as 16 digits.
pub(super) fn moment(at: Timestamp) -> String {
    ordered(at.as_nanos())
}

pub(super) fn expiry(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), moment)
}

pub(super) fn version(version: Version) -> String {
    format!("{:014x}", version.0)
}

/// Reads what [`ordered`] wrote.
pub(super) fn read_ordered(digits: &[u8]) -> Option<i64> {
    read_hex(digits).map(|number| (number ^ SIGN).cast_signed())
}

pub(super) fn read_expiry(digits: &[u8]) -> Option<Option<Timestamp>> {
    if digits == NEVER.as_bytes() {
        Some(None)
    } else {
        Some(Some(Timestamp::from_nanos(read_ordered(digits)?)))
    }
}

/// Reads hexadecimal digits.
pub(super) fn read_hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits[0] == b'+' {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// An entry to be stored: its header, with places for what the server fills in, and the rest.
pub(super) struct Row {
    pub(super) header: String,
    pub(super) tail: Vec<u8>,
}

impl Row {
    /// Writes an entry down with this rank.
    ///
    /// # Errors
    /// `InvalidInput` where its inline bytes were left out, `Unsupported` for a value that lies elsewhere.
    pub(super) fn new(entry: &Entry, rank: i64) -> Result<Self> {
        let inline: Option<&[u8]> = match &entry.location {
            Location::Inline(bytes) => Some(bytes),
            Location::Blob(_) => None,
            Location::InlineOmitted => {
                let message =
                    "an entry whose inline bytes a listing left out cannot be put; look it up first";
                let error = Error::new(ErrorKind::InvalidInput, message);
                return Err(error.with_context("key", entry.key.as_str()));
            }
            location => {
                let message = format!("`{NAME}` cannot store an entry whose value lies in {location:?}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        let (key, record) = (entry.key.as_str(), entry.to_stored());
        let priority = if entry.priority.is_finite() { entry.priority } else { 0.0 };
        let blob = entry.blob_id().map_or_else(|| NEVER.repeat(2), |blob| blob.to_string());
        let header = format!(
            "{:014x}{:014x}{}{}{:014x}{}{}{:<16}{:08}0{blob}{}{:05x}{:08x}",
            0,
            entry.stored_size.min(LARGEST),
            moment(entry.created_at),
            moment(entry.accessed_at),
            entry.hits.min(LARGEST),
            expiry(entry.validity.expires_at),
            ordered(rank),
            format!("{priority:e}"),
            0,
            u8::from(inline.is_some()),
            key.len(),
            record.len(),
        );
        let inline = inline.unwrap_or_default();
        let mut tail = Vec::with_capacity(key.len() + record.len() + inline.len());
        tail.extend_from_slice(key.as_bytes());
        tail.extend_from_slice(&record);
        tail.extend_from_slice(inline);
        Ok(Self { header, tail })
    }
}

/// A stored entry that was read.
pub(super) struct Stored {
    bytes: Bytes,
    version: Version,
    accessed_at: Timestamp,
    hits: u64,
    pub(super) expires_at: Option<Timestamp>,
    created_at: Timestamp,
    has_inline: bool,
    key: usize,
    record: usize,
}

impl Stored {
    /// Reads an entry, with or without its inline bytes.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self> {
        Self::parse(bytes.into()).ok_or_else(|| damaged("an entry has another form than was written"))
    }

    fn parse(bytes: Bytes) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let time = |at: usize| read_ordered(&header[at..at + 16]).map(Timestamp::from_nanos);
        let stored = Self {
            version: Version(read_hex(&header[..14])?),
            created_at: time(28)?,
            accessed_at: time(44)?,
            hits: read_hex(&header[60..74])?,
            expires_at: read_expiry(&header[74..90])?,
            has_inline: header[163] == b'1',
            key: usize::try_from(read_hex(&header[164..169])?).ok()?,
            record: usize::try_from(read_hex(&header[169..177])?).ok()?,
            bytes: bytes.clone(),
        };
        let end = HEADER.checked_add(stored.key)?.checked_add(stored.record)?;
        (end <= bytes.len()).then_some(stored)
    }

    /// The version of a stored entry, whole or damaged; 0 where it cannot be read.
    pub(super) fn version_of(bytes: &[u8]) -> Version {
        Version(bytes.get(..14).and_then(read_hex).unwrap_or(0))
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[HEADER..HEADER + self.key]
    }

    pub(super) fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// How long the key and the record are.
    pub(super) fn length(&self) -> usize {
        self.key + self.record
    }

    /// What a script compares to see whether the entry is still as it was read.
    pub(super) fn state(&self) -> Vec<u8> {
        [&self.bytes[..14], &self.bytes[60..106]].concat()
    }

    /// Puts the entry together; a listing has left inline bytes out.
    pub(super) fn to_entry(&self, namespace: Namespace, without_inline: bool) -> Result<Entry> {
        let key = std::str::from_utf8(self.key()).map_err(|_| damaged("a key is not UTF-8"))?;
        let (start, end) = (HEADER + self.key, HEADER + self.key + self.record);
        let record = &self.bytes[start..end];
        let mut stored = StoredEntry::new(record, namespace, key, self.version, self.accessed_at);
        stored.hits = self.hits;
        stored.expires_at = self.expires_at;
        stored.inline_omitted = self.has_inline && without_inline;
        stored.inline = (self.has_inline && !without_inline).then(|| self.bytes.slice(end..));
        stored.decode().map_err(|error| match error.kind() {
            // What a newer version wrote is no damage.
            ErrorKind::Corrupted | ErrorKind::Unsupported => error,
            _ => damaged(&error),
        })
    }
}

/// Reads a blob's id.
pub(super) fn read_blob(digits: &[u8]) -> Result<BlobId> {
    let blob = std::str::from_utf8(digits).ok().and_then(BlobId::parse);
    blob.ok_or_else(|| damaged("a blob's id is none"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_sort_as_the_numbers_do_and_are_read_back(a: i64, b: i64) {
            prop_assert_eq!(ordered(a).cmp(&ordered(b)), a.cmp(&b));
            prop_assert_eq!(read_ordered(ordered(a).as_bytes()), Some(a));
        }

        #[test]
        fn any_bytes_are_an_entry_or_an_error(bytes: Vec<u8>, digits in "[0-9a-f-]{170,200}", rest: Vec<u8>) {
            for bytes in [bytes, [digits.as_bytes(), &rest].concat()] {
                if let Ok(stored) = Stored::read(bytes) {
                    let _ = stored.to_entry(Namespace::default(), false);
                }
            }
        }
    }
}
