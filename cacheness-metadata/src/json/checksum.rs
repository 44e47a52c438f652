//! The checksum of rows, by which damage is found. It covers what the rows say, not how the JSON is laid out.

use std::hash::Hasher;

use bytes::Bytes;
use twox_hash::XxHash3_64;

/// XXH3-64 of the generation, of the number of the record (0 for a snapshot) and of all rows; `None` for a row that
/// is deleted.
pub(super) fn of<'a>(
    generation: u64,
    record: u64,
    rows: impl ExactSizeIterator<Item = (&'a Bytes, Option<&'a Bytes>)>,
) -> u64 {
    let mut hash = XxHash3_64::new();
    hash.write(&generation.to_le_bytes());
    hash.write(&record.to_le_bytes());
    hash.write(&(rows.len() as u64).to_le_bytes());
    for (key, value) in rows {
        hash.write(&(key.len() as u64).to_le_bytes());
        hash.write(key);
        match value {
            None => hash.write(&[0]),
            Some(value) => {
                hash.write(&[1]);
                hash.write(&(value.len() as u64).to_le_bytes());
                hash.write(value);
            }
        }
    }
    hash.finish()
}
