//! What stands at the end of a blob, read without an entry that says how long it is.

use std::io::{Read, Seek, SeekFrom};

use crate::blob::{Blob, BlobBackend};
use crate::entry::Entry;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::names::BlobKey;
use crate::trailer::{TAIL_LEN, Tail, read_trailer};

/// How much of the end of a blob on another machine is fetched by one request.
const FETCHED_AT_ONCE: u64 = 1 << 20;

/// The longest record that is read, in bytes: far more than options and formats allow.
const LONGEST_RECORD: u64 = 64 << 20;

/// The entry that a blob's trailer describes. `None` where there is no such blob, or its trailer is damaged or another's.
///
/// # Errors
/// Those of a store that cannot be reached, or in which a blob is and cannot be read: that would be no entry that is lost.
pub(super) async fn entry_of(blobs: &dyn BlobBackend, env: &Env, key: &BlobKey) -> Result<Option<Entry>> {
    let read = match read(blobs, env, key).await {
        Ok(read) => read,
        Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported) => None,
        Err(error) => return Err(error.with_context("blob", key.blob.to_string())),
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
        return read_remote(blobs, key).await;
    }
    match blobs.get(key).await? {
        None => Ok(None),
        Some(Blob::Bytes(bytes)) => read_trailer(&bytes).map(Some),
        Some(Blob::File(file, len)) => env.unblock(move || read_file(file, len)).await.map(Some),
    }
}

/// Reads the end of a blob whose length no request tells, by a number of small ones that grows with the logarithm of it.
async fn read_remote(
    blobs: &dyn BlobBackend,
    key: &BlobKey,
) -> Result<Option<(crate::names::CacheId, Entry)>> {
    let Some(start) = blobs.get_range(key, 0..FETCHED_AT_ONCE).await? else { return Ok(None) };
    if (start.len() as u64) < FETCHED_AT_ONCE {
        return read_trailer(&start).map(Some);
    }
    // It has all bytes before `from`, and ends at or before `to`.
    let (mut from, mut to) = (FETCHED_AT_ONCE, FETCHED_AT_ONCE * 2);
    while let Some(byte) = blobs.get_range(key, to - 1..to).await?
        && !byte.is_empty()
        && to <= u64::MAX / 4
    {
        (from, to) = (to, to * 2);
    }
    while to - from > FETCHED_AT_ONCE {
        let middle = from + (to - from) / 2;
        match blobs.get_range(key, middle - 1..middle).await? {
            None => return Ok(None),
            Some(byte) if byte.is_empty() => to = middle,
            Some(_) => from = middle,
        }
    }
    let at = from - TAIL_LEN as u64;
    let Some(end) = blobs.get_range(key, at..to).await? else { return Ok(None) };
    let len = at + end.len() as u64;
    let tail = end.len().checked_sub(TAIL_LEN).and_then(|at| end.get(at..)).unwrap_or_default();
    let tail = Tail::read(tail, len)?;
    check_record_len(&tail)?;
    let record = tail.payload_len..tail.payload_len + tail.record_len;
    let Some(record) = blobs.get_range(key, record).await? else { return Ok(None) };
    tail.record(&record).map(Some)
}

fn check_record_len(tail: &Tail) -> Result<()> {
    if tail.record_len <= LONGEST_RECORD {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupted, "the blob has a record longer than any that is written"))
}

fn read_file(mut file: std::fs::File, len: u64) -> Result<(crate::names::CacheId, Entry)> {
    let io = |error| Error::io(error, "the end of a blob cannot be read");
    let damaged = |what: &str| Error::new(ErrorKind::Corrupted, format!("the blob {what}"));
    let at = len.checked_sub(TAIL_LEN as u64).ok_or_else(|| damaged("is too short to have a tail"))?;
    let mut tail = [0; TAIL_LEN];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut tail)).map_err(io)?;
    let tail = Tail::read(&tail, len)?;
    check_record_len(&tail)?;
    let mut record = Vec::new();
    file.seek(SeekFrom::Start(tail.payload_len))
        .and_then(|_| (&mut file).take(tail.record_len).read_to_end(&mut record))
        .map_err(io)?;
    tail.record(&record)
}
