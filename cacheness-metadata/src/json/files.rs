//! The files of an index and how they are replaced: always by a whole one that is on the disk before it gets its name.

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cacheness_core::{Error, Permissions, Result};
use fs_err::{File, OpenOptions};

use super::journal;
use super::snapshot::{self, Identity, Rows, Snapshot};

/// Where the files of one index are.
pub(super) struct Files {
    /// The snapshot. The others stand beside it.
    pub(super) index: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) permissions: Permissions,
    new_index: PathBuf,
    new_journal: PathBuf,
}

impl Files {
    pub(super) fn new(index: PathBuf, permissions: Permissions) -> Self {
        let beside = |suffix: &str| {
            let mut name = OsString::from(&index);
            name.push(suffix);
            PathBuf::from(name)
        };
        Self {
            journal: beside(".journal"),
            lock: beside(".lock"),
            new_index: beside(".new"),
            new_journal: beside(".journal.new"),
            permissions,
            index,
        }
    }

    /// Removes what a process left that died while it replaced a file.
    pub(super) fn remove_leftovers(&self) -> Result<()> {
        for path in [&self.new_index, &self.new_journal] {
            match fs_err::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(error, "a file that an interrupted write left cannot be removed"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The snapshot and the length of its file; `None` where there is none.
    pub(super) fn read_snapshot(&self) -> Result<Option<(Snapshot, u64)>> {
        match fs_err::read(&self.index) {
            Ok(json) => Ok(Some((snapshot::parse(&self.index, &json)?, json.len() as u64))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(error, "the index cannot be read")),
        }
    }

    /// True where the snapshot under the name is still this one.
    pub(super) fn snapshot_is(&self, identity: &Identity) -> Result<bool> {
        let expected = snapshot::first_line(identity);
        let mut found = Vec::with_capacity(expected.len());
        File::open(&self.index)
            .and_then(|file| file.take(expected.len() as u64).read_to_end(&mut found))
            .map_err(|error| Error::io(error, "the index cannot be read"))?;
        if found == expected.as_bytes() {
            return Ok(true);
        }
        // Another program may have laid out the same JSON in another way.
        Ok(self.read_snapshot()?.is_some_and(|(snapshot, _)| snapshot.identity == *identity))
    }

    /// Writes a snapshot that has no name yet, and returns its length.
    pub(super) fn prepare_snapshot(&self, identity: &Identity, rows: &Rows) -> Result<u64> {
        let json = snapshot::render(identity, rows);
        self.write_whole(&self.new_index, &json)?;
        Ok(json.len() as u64)
    }

    /// Writes a snapshot under its name, where nobody looks for it yet.
    pub(super) fn write_snapshot(&self, identity: &Identity, rows: &Rows) -> Result<()> {
        self.write_whole(&self.index, &snapshot::render(identity, rows))
    }

    /// Gives the prepared snapshot its name.
    pub(super) fn publish_snapshot(&self) -> Result<()> {
        fs_err::rename(&self.new_index, &self.index)
            .map_err(|error| Error::io(error, "the new snapshot of the index cannot take its place"))
    }

    /// Opens the journal; `None` where there is none.
    pub(super) fn open_journal(&self) -> Result<Option<File>> {
        // Not for appending: Windows lets nobody shorten a file that is open for that.
        match OpenOptions::new().read(true).write(true).open(&self.journal) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(error, "the journal of the index cannot be opened")),
        }
    }

    /// Begins a journal for the snapshot that has the name, in place of the one before, and returns its length.
    ///
    /// The snapshot's name is on the disk first: a journal newer than its snapshot could not be read. Then the
    /// journal's own is, or records that were synced could vanish with their file.
    pub(super) fn begin_journal(&self, identity: &Identity) -> Result<(File, u64)> {
        let line = journal::first_line(identity);
        self.write_whole(&self.new_journal, line.as_bytes())?;
        self.sync_folder()?;
        fs_err::rename(&self.new_journal, &self.journal)
            .map_err(|error| Error::io(error, "the new journal of the index cannot take its place"))?;
        self.sync_folder()?;
        match self.open_journal()? {
            Some(file) => Ok((file, line.len() as u64)),
            None => {
                let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
                Err(Error::io(gone, "the journal of the index was removed by somebody else")
                    .with_context("path", self.journal.to_string_lossy()))
            }
        }
    }

    fn sync_folder(&self) -> Result<()> {
        // Elsewhere a folder cannot be opened as a file, and names are on the disk with the file.
        if cfg!(unix) {
            let folder = match self.index.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| Error::io(error, "the index's folder cannot be written to the disk"))?;
        }
        Ok(())
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut options = OpenOptions::from_options(self.permissions.file_options());
        let written = options.write(true).create(true).truncate(true).open(path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|error| {
            // What was written so far takes room that a full disk needs, and means nothing.
            let _ = fs_err::remove_file(path);
            Error::io(error, "the index cannot be written anew")
        })
    }
}

/// True where the file that is open is still the one under its name.
pub(super) fn is_in_place(file: &File) -> Result<bool> {
    let named = match fs_err::metadata(file.path()) {
        Ok(named) => named,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(error, "a file of the index cannot be looked at")),
    };
    let open =
        file.metadata().map_err(|error| Error::io(error, "a file of the index cannot be looked at"))?;
    Ok(is_same(&open, &named))
}

#[cfg(unix)]
fn is_same(open: &std::fs::Metadata, named: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// Elsewhere the standard library does not say which file it is; another one was made at another time.
#[cfg(not(unix))]
fn is_same(open: &std::fs::Metadata, named: &std::fs::Metadata) -> bool {
    open.created().ok() == named.created().ok() && open.len() == named.len()
}

/// False where the file that is open is known to have lost its name.
#[cfg(unix)]
pub(super) fn has_name(open: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    open.nlink() > 0
}

#[cfg(not(unix))]
pub(super) fn has_name(_: &std::fs::Metadata) -> bool {
    true
}

/// What a journal holds from an offset on.
pub(super) fn read_from(mut journal: &File, offset: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    journal
        .seek(SeekFrom::Start(offset))
        .and_then(|_| journal.read_to_end(&mut bytes))
        .map_err(|error| Error::io(error, "the journal of the index cannot be read"))?;
    Ok(bytes)
}

/// Waits until all of a journal is on the disk.
pub(super) fn sync(journal: &File) -> Result<()> {
    let synced = journal.sync_data();
    synced.map_err(|error| Error::io(error, "the journal of the index cannot be written to the disk"))
}

/// Appends to a journal of `len` bytes. What could not be written or synced as a whole is cut off again, so that
/// nobody takes it for a write that was made.
pub(super) fn append(mut journal: &File, len: u64, bytes: &[u8], sync: bool) -> Result<()> {
    let written = journal
        .seek(SeekFrom::Start(len))
        .and_then(|_| journal.write_all(bytes))
        .and_then(|()| if sync { journal.sync_data() } else { Ok(()) });
    written.map_err(|error| {
        let _ = journal.set_len(len);
        Error::io(error, "the journal of the index cannot be written")
    })
}
