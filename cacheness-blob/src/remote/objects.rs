//! What a store of objects must be able to do.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cacheness_core::{Error, Result, StagedFile};

/// The bytes of one request. Larger objects are sent and fetched in parts of this length, so that memory is bounded and
/// each request can be given a time.
pub(crate) const PART: u64 = 8 * 1024 * 1024;

/// The most parts that a store takes for one object.
const PARTS: u64 = 10_000;

/// The length of the parts in which an object of this length is sent: [`PART`], unless they were too many then.
pub(crate) fn part_len(len: u64) -> u64 {
    PART.max(len.div_ceil(PARTS))
}

/// A page of a listing: the last parts of names, and where the next page begins.
pub(crate) struct Listed {
    pub(crate) names: Vec<String>,
    /// What only the store understands; `None` at the end. A page may have no names and yet not be the last.
    pub(crate) next: Option<String>,
}

/// The requests of a store. Paths are made of letters, digits, `-`, `_`, `.` and `/`, and of what the user's prefix has.
///
/// That an object was not found is no error here, also where that may be because its bucket is missing.
#[async_trait]
pub(crate) trait Objects: Send + Sync + 'static {
    /// The object's bytes in `range`, which is not empty, and the length of the whole object. Where the range begins at
    /// the end or after it, no bytes.
    async fn get(&self, path: &str, range: Range<u64>) -> Result<Option<(Bytes, u64)>>;

    /// True where there is such an object.
    async fn head(&self, path: &str) -> Result<bool>;

    /// Stores an object of up to [`PART`] bytes.
    async fn put(&self, path: &str, bytes: Bytes) -> Result<()>;

    /// Stores a file as an object, in parts. What failed leaves nothing that `get` finds, and takes back what it can.
    async fn put_file(&self, path: &str, file: Arc<StagedFile>) -> Result<()>;

    /// Deletes objects; those that are not there count as deleted.
    async fn delete(&self, paths: Vec<String>) -> Result<()>;

    /// The next names under `folder`, which ends with a `/`, in an order of the store's: those after `after`, which is the
    /// `next` of the page before, `limit` at most.
    async fn list(&self, folder: &str, after: Option<&str>, limit: usize) -> Result<Listed>;
}

/// Reads a part of a staged file on a thread that may block.
pub(crate) async fn read_part(file: Arc<StagedFile>, range: Range<u64>) -> Result<Bytes> {
    let read = move || {
        use std::io::{Read, Seek, SeekFrom};
        let io = |error| Error::io(error, "the staged value cannot be read");
        // By its path: the open file's position is shared.
        let mut from = fs_err::File::open(file.path()).map_err(io)?;
        from.seek(SeekFrom::Start(range.start)).map_err(io)?;
        let mut bytes = BytesMut::zeroed(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
        from.read_exact(&mut bytes).map_err(io)?;
        Ok(bytes.freeze())
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        Err(failed) => {
            Err(Error::new(cacheness_core::ErrorKind::Unexpected, "reading the staged value failed")
                .with_source(failed))
        }
    }
}
