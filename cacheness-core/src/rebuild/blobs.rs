//! What stands at the end of a blob, read without an entry that says how long it is.

use std::io::{Read, Seek, SeekFrom};

use crate::blob::{Blob, BlobBackend};
use crate::entry::Entry;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::names::BlobKey;
use crate::trailer::{TAIL_LEN, Tail, read_trailer};

/// A blob of another machine up to this length is fetched to be looked at by one request.
const FETCHED_AT_ONCE: u64 = 1 << 20;

/// The longest record that is read, in bytes: far more than options and formats allow.
const LONGEST_RECORD: u64 = 64 << 20;

/// The entry that a blob's trailer describes. `None` where there is no such blob, or its trailer is damaged or another's.
///
/// # Errors
/// Those of a store that cannot be reached.
pub(super) async fn entry_of(blobs: &dyn BlobBackend, env: &Env, key: &BlobKey) -> Result<Option<Entry>> {
    let read = match read(blobs, env, key).await {
        Ok(read) => read,
        Err(error)
            if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported | ErrorKind::Io) =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    Ok(read
        .filter(|(cache, entry)| *cache == key.cache && entry.blob_id() == Some(key.blob))
        .map(|(_, entry)| entry))
}

async fn read(
    blobs: &dyn BlobBackend,
    env: &Env,
    key: &BlobKey,
) -> Result<Option<(crate::names::CacheId, Entry)>> {
    if !blobs.capabilities().local {
        let Some(bytes) = blobs.get_range(key, 0..FETCHED_AT_ONCE).await? else { return Ok(None) };
        if (bytes.len() as u64) < FETCHED_AT_ONCE {
            return read_trailer(&bytes).map(Some);
        }
    }
    match blobs.get(key).await? {
        None => Ok(None),
        Some(Blob::Bytes(bytes)) => read_trailer(&bytes).map(Some),
        Some(Blob::File(file, len)) => env.unblock(move || read_file(file, len)).await.map(Some),
    }
}

fn read_file(mut file: std::fs::File, len: u64) -> Result<(crate::names::CacheId, Entry)> {
    let io = |error| Error::io(error, "the end of a blob cannot be read");
    let damaged = |what: &str| Error::new(ErrorKind::Corrupted, format!("the blob {what}"));
    let at = len.checked_sub(TAIL_LEN as u64).ok_or_else(|| damaged("is too short to have a tail"))?;
    let mut tail = [0; TAIL_LEN];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut tail)).map_err(io)?;
    let tail = Tail::read(&tail, len)?;
    if tail.record_len > LONGEST_RECORD {
        return Err(damaged("has a record longer than any that is written"));
    }
    let mut record = Vec::new();
    file.seek(SeekFrom::Start(tail.payload_len))
        .and_then(|_| (&mut file).take(tail.record_len).read_to_end(&mut record))
        .map_err(io)?;
    tail.record(&record)
}
