//! Where a damaged index is kept while and after it is rebuilt, and how the new one takes its place.
//!
//! A marker file says that an index is being rebuilt, and under which name the damaged one is kept. It is on the disk before
//! anything is moved, and goes when the new index has its name. So a crash at any moment leaves either the old state, or one
//! that nobody takes for an index, and from which the rebuild begins again.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use cacheness_core::{Error, ErrorKind, Permissions, Result};
use fs_err::{self as fs, File, OpenOptions};

/// The names that belong to one index.
#[derive(Clone)]
pub(crate) struct Aside {
    index: PathBuf,
    marker: PathBuf,
    /// Where the damaged index is kept.
    pub(crate) kept: PathBuf,
    /// Where the new one is made.
    pub(crate) new: PathBuf,
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn marker_of(index: &Path) -> PathBuf {
    beside(index, ".rebuilding")
}

/// Checks that an index is not being rebuilt, and was not when a process died.
pub(crate) fn check_whole(index: &Path) -> Result<()> {
    if !marker_of(index).exists() {
        return Ok(());
    }
    let message = "the rebuild of this index was not finished; rebuild it again: \
                   `Cache::builder().folder(..).rebuild_blocking(RebuildOptions::new())`";
    Err(Error::new(ErrorKind::Corrupted, message).with_context("path", index.to_string_lossy()))
}

impl Aside {
    /// Moves an index aside, with the files that stand beside it and end like this. Goes on where a process has begun to and
    /// died. To be called by one at a time.
    pub(crate) fn begin(index: &Path, suffixes: &[&str], permissions: Permissions) -> Result<Self> {
        let (marker, new) = (marker_of(index), beside(index, ".new"));
        let at =
            |kept: PathBuf| Self { index: index.to_owned(), marker: marker.clone(), kept, new: new.clone() };
        let begun = match fs::read_to_string(&marker) {
            Ok(name) => kept_as(index, &name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // Not even a text: it was being written.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => None,
            Err(error) => return Err(Error::io(error, "the marker of a rebuild cannot be read")),
        };
        // One that says something else than was written, or nothing, does not hide what was moved aside.
        let is_there = |path: &Path| suffixes.iter().any(|suffix| beside(path, suffix).exists());
        let begun = begun.filter(|kept| index.exists() || is_there(kept));
        let begun = begun.or_else(|| last_kept(index).filter(|_| marker.exists() && !index.exists()));
        let aside = match begun {
            Some(kept) => at(kept),
            None => {
                if !is_there(index) {
                    let message = "there is no index here that could be rebuilt";
                    return Err(Error::new(ErrorKind::NotFound, message)
                        .with_context("path", index.to_string_lossy()));
                }
                let kept = free_name(index, suffixes);
                let name = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
                write_whole(&marker, name.as_bytes(), permissions)?;
                sync_folder(index)?;
                at(kept)
            }
        };
        for suffix in suffixes {
            let (from, to) = (beside(index, suffix), beside(&aside.kept, suffix));
            // What stands under the name although it was moved is the new index, which nobody could open yet.
            if to.exists() {
                continue;
            }
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(error, "the damaged index cannot be moved aside"));
                }
                _ => {}
            }
        }
        sync_folder(index)?;
        Ok(aside)
    }

    /// Gives the new index its name, and lets it be opened. It has been written in full, into one file: none that ends like
    /// these stands beside it.
    pub(crate) fn finish(&self, beside_it: &[&str]) -> Result<()> {
        remove(beside_it.iter().map(|suffix| beside(&self.index, suffix)))?;
        let io = |error| Error::io(error, "the new index cannot take the place of the damaged one");
        File::open(&self.new).and_then(|file| file.sync_all()).map_err(io)?;
        fs::rename(&self.new, &self.index).map_err(io)?;
        sync_folder(&self.index)?;
        fs::remove_file(&self.marker).map_err(io)?;
        sync_folder(&self.index)
    }
}

/// The name that a marker says, where it is one that this module chose.
fn kept_as(index: &Path, name: &str) -> Option<PathBuf> {
    let own = index.file_name()?.to_string_lossy().into_owned();
    let number = name.strip_prefix(&*own)?.strip_prefix(".damaged-")?;
    number.parse::<u32>().ok()?;
    Some(index.with_file_name(name))
}

/// The last index that was moved aside.
fn last_kept(index: &Path) -> Option<PathBuf> {
    let folder = index.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = fs::read_dir(folder).ok()?.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let kept = names.filter_map(|name| {
        let number = name.rsplit_once(".damaged-")?.1.parse::<u32>().ok()?;
        Some((number, kept_as(index, &name)?))
    });
    kept.max().map(|(_, path)| path)
}

fn free_name(index: &Path, suffixes: &[&str]) -> PathBuf {
    let name = |number: u32| beside(index, &format!(".damaged-{number}"));
    let is_free = |path: &PathBuf| suffixes.iter().all(|suffix| !beside(path, suffix).exists());
    (1..u32::MAX).map(name).find(is_free).unwrap_or_else(|| name(u32::MAX))
}

fn write_whole(path: &Path, bytes: &[u8], permissions: Permissions) -> Result<()> {
    let mut options = OpenOptions::from_options(permissions.file_options());
    let written = options.write(true).create(true).truncate(true).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        Error::io(error, "the marker of a rebuild cannot be written")
    })
}

fn sync_folder(index: &Path) -> Result<()> {
    // Elsewhere a folder cannot be opened as a file, and names are on the disk with the file.
    if cfg!(unix) {
        let folder = index.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::io(error, "the index's folder cannot be written to the disk"))?;
    }
    Ok(())
}

/// Removes files that a rebuild left that was not finished, or that are no longer needed.
pub(crate) fn remove(paths: impl IntoIterator<Item = PathBuf>) -> Result<()> {
    for path in paths {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(error, "a file that a rebuild left cannot be removed"));
            }
            _ => {}
        }
    }
    Ok(())
}
