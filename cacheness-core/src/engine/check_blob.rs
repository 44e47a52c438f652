//! Looking whether a blob is the one that its entry means, in bounded memory.

use std::io::Read;

use super::Engine;
use super::verify::Damage;
use crate::blob::{Blob, BlobBackend};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::names::BlobKey;
use crate::stage::Checksums;
use crate::trailer::{self, TAIL_LEN, Tail};

/// How many bytes of a remote blob are fetched at once; whole chunks.
const FETCHED_AT_ONCE: u64 = 16 * Checksums::CHUNK;

/// By how much the record of a trailer may be longer than the one that the index would make of the entry now.
const RECORD_SLACK: u64 = 256;

/// What was found of a blob: how many bytes were verified, and what is wrong with it.
pub(super) type Looked = (u64, Option<(Damage, Error)>);

impl Engine {
    /// Looks at the blob of an entry; at every byte of it where `full` is asked for or its trailer is not as it should be.
    ///
    /// # Errors
    /// Those of a store that cannot be reached: they say nothing about the blob.
    pub(super) async fn check_blob(&self, entry: &Entry, full: bool) -> Result<Looked> {
        let Some(blob) = entry.blob_id() else { return Ok((0, None)) };
        let key = self.blob_key(blob);
        let trailer = match check_trailer(self.blobs.as_ref(), &key, entry).await {
            Ok(trailer) => trailer,
            Err(error) => return as_finding(error),
        };
        let trailer = match trailer {
            Some(Ok(())) if !full => return Ok((0, None)),
            Some(trailer) => trailer,
            None => return Ok((0, Some(missing()))),
        };
        match self.check_payload(&key, entry).await {
            Ok((bytes, None)) => Ok((bytes, trailer.err().map(|error| (Damage::DamagedTrailer, error)))),
            Ok(found) => Ok(found),
            Err(error) => as_finding(error),
        }
    }

    async fn check_payload(&self, key: &BlobKey, entry: &Entry) -> Result<Looked> {
        let (stored, checksums) = (entry.stored_size, &entry.checksums);
        if let Err(error) = checksums.check_count(stored) {
            return Ok((0, Some((Damage::DamagedRecord, error))));
        }
        if self.blobs.capabilities().local {
            return match self.blobs.get(key).await? {
                None => Ok((0, Some(missing()))),
                Some(Blob::Bytes(bytes)) if (bytes.len() as u64) < stored => {
                    Ok((0, Some(truncated(bytes.len() as u64, stored))))
                }
                Some(Blob::Bytes(bytes)) => {
                    // The cast is in bounds: the blob is at least this long.
                    let whole = checksums.verify(&bytes.slice(..stored as usize));
                    Ok((stored, whole.err().map(|error| (Damage::DamagedBlob, error))))
                }
                Some(Blob::File(_, len)) if len < stored => Ok((0, Some(truncated(len, stored)))),
                Some(Blob::File(file, _)) => {
                    let checksums = checksums.clone();
                    self.env.unblock(move || check_file(file, stored, &checksums)).await
                }
            };
        }
        let (mut at, mut index) = (0, 0);
        while at < stored {
            let end = stored.min(at + FETCHED_AT_ONCE);
            let Some(bytes) = self.blobs.get_range(key, at..end).await? else {
                return Ok((at, Some(missing())));
            };
            if (bytes.len() as u64) < end - at {
                return Ok((at, Some(truncated(at + bytes.len() as u64, stored))));
            }
            for chunk in bytes.chunks(Checksums::CHUNK as usize) {
                if let Err(error) = checksums.verify_chunk(index, chunk) {
                    return Ok((at, Some((Damage::DamagedBlob, error))));
                }
                index += 1;
            }
            at = end;
        }
        Ok((stored, None))
    }
}

/// Looks whether a blob ends as the one of this entry does: `None` where there is no blob, and inside an error that says in
/// what it differs.
///
/// # Errors
/// Those of the store.
pub(crate) async fn check_trailer(
    blobs: &dyn BlobBackend,
    key: &BlobKey,
    entry: &Entry,
) -> Result<Option<Result<()>>> {
    let most = trailer::encode(entry, key.cache).len() as u64 + RECORD_SLACK;
    let range = entry.stored_size..entry.stored_size.saturating_add(most);
    let Some(bytes) = blobs.get_range(key, range).await? else { return Ok(None) };
    Ok(Some(is_trailer_of(&bytes, key, entry)))
}

fn is_trailer_of(bytes: &[u8], key: &BlobKey, entry: &Entry) -> Result<()> {
    let differs = |what: &str| Error::new(ErrorKind::Corrupted, format!("the blob's trailer {what}"));
    let split = bytes.len().checked_sub(TAIL_LEN);
    let (record, tail) =
        split.and_then(|at| bytes.split_at_checked(at)).ok_or_else(|| differs("is cut short"))?;
    let len = entry.stored_size.saturating_add(bytes.len() as u64);
    let (cache, found) = Tail::read(tail, len)?.record(record)?;
    if cache != key.cache || found.blob_id() != Some(key.blob) {
        return Err(differs("is that of another blob"));
    }
    if found.namespace != entry.namespace || found.key != entry.key {
        return Err(differs("is that of another entry"));
    }
    Ok(())
}

fn check_file(file: std::fs::File, stored: u64, checksums: &Checksums) -> Result<Looked> {
    let mut file = file.take(stored);
    let mut chunk = vec![0; stored.min(Checksums::CHUNK) as usize];
    let (mut read, mut index) = (0, 0);
    while read < stored {
        // At most a chunk, so the cast is in bounds.
        let part = &mut chunk[..(stored - read).min(Checksums::CHUNK) as usize];
        match file.read_exact(part) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Ok((read, Some(truncated(read, stored))));
            }
            Err(error) => return Err(Error::io(error, "the value's blob cannot be read")),
        }
        if let Err(error) = checksums.verify_chunk(index, part) {
            return Ok((read, Some((Damage::DamagedBlob, error))));
        }
        read += part.len() as u64;
        index += 1;
    }
    Ok((stored, None))
}

/// Decides whether an error tells something of the blob.
fn as_finding(error: Error) -> Result<Looked> {
    match error.kind() {
        ErrorKind::Corrupted => Ok((0, Some((Damage::DamagedBlob, error)))),
        ErrorKind::Io | ErrorKind::PermissionDenied if !error.is_temporary() => {
            Ok((0, Some((Damage::UnreadableBlob, error))))
        }
        _ => Err(error),
    }
}

fn missing() -> (Damage, Error) {
    (Damage::MissingBlob, Error::new(ErrorKind::Corrupted, "the value's blob is missing"))
}

fn truncated(len: u64, stored: u64) -> (Damage, Error) {
    let message = format!("the blob has {len} bytes, {stored} were stored");
    (Damage::TruncatedBlob, Error::new(ErrorKind::Corrupted, message))
}
