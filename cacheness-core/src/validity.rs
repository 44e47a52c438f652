//! Validity: why an entry may be served. It holds until removed, until a time, while source files are unchanged,
//! or all of these at once; the first that fails decides.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::names::Timestamp;

/// How a change of a source file is noticed.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FileCheck {
    /// By its modification time, to the nanosecond, and its size. A rewrite of the same size with the old time put
    /// back is not noticed; a mere `touch` is. Nor is a rewrite of the same size within the same tick of the file system's
    /// clock as the one before, which many file systems let go on for some milliseconds and FAT for two seconds.
    #[default]
    Stat,
    /// By a BLAKE3 hash of its content, computed again only when time or size have changed. A `touch` is not a
    /// change. What [`Stat`](Self::Stat) does not notice is not noticed either.
    Content,
}

/// A file that an entry was made from, as it was then.
///
/// Capture it before the file is read: then a change while the value is being computed is noticed, too.
///
/// ```
/// use cacheness_core::FileSource;
///
/// # let folder = tempfile::tempdir().map_err(|e| cacheness_core::Error::io(e, "making a folder"))?;
/// # let path = folder.path().join("data.csv");
/// # fs_err::write(&path, "a,b\n").unwrap();
/// let source = FileSource::capture(&path)?;
/// assert_eq!(source.size(), 4);
/// assert!(FileSource::capture(folder.path().join("missing.csv")).is_err());
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSource {
    pub(crate) path: PathBuf,
    pub(crate) modified: Timestamp,
    pub(crate) size: u64,
    pub(crate) hash: Option<[u8; 32]>,
}

impl FileSource {
    /// Takes the file's modification time and size as they are now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such file; [`ErrorKind::InvalidInput`] where its path is not
    /// UTF-8; otherwise the error of the operating system.
    pub fn capture(path: impl AsRef<Path>) -> Result<Self> {
        Self::capture_by(path, FileCheck::Stat)
    }

    /// Takes the file as it is now, with a hash of its content where `check` asks for one.
    ///
    /// # Errors
    /// As [`capture`](Self::capture).
    pub fn capture_by(path: impl AsRef<Path>, check: FileCheck) -> Result<Self> {
        let path = path.as_ref();
        let absolute = std::path::absolute(path).map_err(|error| source_error(error, path))?;
        if absolute.to_str().is_none() {
            let message = "the path of a source file must be UTF-8; rename the file or one of its folders";
            return Err(
                Error::new(ErrorKind::InvalidInput, message).with_context("path", absolute.to_string_lossy())
            );
        }
        let stat = FileStat::read(&absolute).map_err(|error| source_error(error, &absolute))?;
        let hash = match check {
            FileCheck::Stat => None,
            FileCheck::Content => Some(hash_file(&absolute).map_err(|error| source_error(error, &absolute))?),
        };
        Ok(Self { path: absolute, modified: stat.modified, size: stat.size, hash })
    }

    /// The file's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's modification time when it was captured.
    #[must_use]
    pub fn modified(&self) -> Timestamp {
        self.modified
    }

    /// The file's size in bytes when it was captured.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The BLAKE3 hash of the file's content, where [`FileCheck::Content`] asked for it.
    #[must_use]
    pub fn hash(&self) -> Option<&[u8; 32]> {
        self.hash.as_ref()
    }
}

fn source_error(error: std::io::Error, path: &Path) -> Error {
    Error::io(error, "the source file cannot be read").with_context("path", path.to_string_lossy())
}

/// What decides, cheaply, whether a file may have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileStat {
    pub(crate) modified: Timestamp,
    pub(crate) size: u64,
}

impl FileStat {
    pub(crate) fn read(path: &Path) -> std::io::Result<Self> {
        let metadata = fs_err::metadata(path)?;
        Ok(Self { modified: metadata.modified()?.into(), size: metadata.len() })
    }
}

pub(crate) fn hash_file(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs_err::File::open(path)?)?;
    Ok(*hasher.finalize().as_bytes())
}

/// The conditions under which an entry may be served. All of them must hold.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Validity {
    /// From this moment on the entry is expired.
    pub expires_at: Option<Timestamp>,
    /// The TTL that `expires_at` was made from; `touch` starts it again.
    pub ttl: Option<Duration>,
    /// The files that must be as they were.
    pub sources: Vec<FileSource>,
}

impl Validity {
    /// True where the entry's TTL has run out at `now`. A TTL of zero has always run out.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Sets the TTL and counts it from `now`. A TTL of zero has run out by any clock, also by one that steps back.
    pub fn start_ttl(&mut self, ttl: Option<Duration>, now: Timestamp) {
        self.ttl = ttl;
        // Not the very first moment: what purges as of that one removes nothing that has expired.
        let long_ago = Timestamp::MIN + Duration::from_nanos(1);
        self.expires_at = ttl.map(|ttl| if ttl.is_zero() { long_ago } else { now + ttl });
    }

    /// Which of the three modes this is, for reports: the TTL or the files where there are any, else manual.
    #[must_use]
    pub fn mode(&self) -> ValidityMode {
        match (self.expires_at.is_some(), self.sources.is_empty()) {
            (false, true) => ValidityMode::Manual,
            (true, true) => ValidityMode::Ttl,
            (false, false) => ValidityMode::File,
            (true, false) => ValidityMode::FileAndTtl,
        }
    }
}

/// The kind of an entry's [`Validity`].
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ValidityMode {
    /// Valid until removed.
    Manual,
    /// Valid until a time.
    Ttl,
    /// Valid while its source files are unchanged.
    File,
    /// Valid until a time, while its source files are unchanged.
    FileAndTtl,
}

impl fmt::Display for ValidityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "manual",
            Self::Ttl => "ttl",
            Self::File => "file",
            Self::FileAndTtl => "file and ttl",
        })
    }
}
