//! Files and folders as parameters of a key: a hash of what lies there, never of where it lies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::encoding::length;
use crate::error::{Error, ErrorKind, Result};

const FILE_CONTEXT: &str = "cacheness key v1 file";
const FOLDER_CONTEXT: &str = "cacheness key v1 folder";

/// Hashes the content of the file at `path`.
pub(super) fn hash_file(path: &Path) -> Result<[u8; blake3::OUT_LEN]> {
    // Asked before it is opened: opening a named pipe would wait for a writer.
    let metadata = fs::metadata(path).map_err(|e| Error::io(e, "cannot read a file for a key"))?;
    if !metadata.is_file() {
        let advice = if metadata.is_dir() { "; pass a folder with `folder`" } else { "" };
        return Err(refuse(path, &format!("the path does not lead to a file{advice}")));
    }
    hash_content(path)
}

/// Hashes everything in the folder at `path`.
pub(super) fn hash_folder(path: &Path) -> Result<[u8; blake3::OUT_LEN]> {
    let metadata = fs::metadata(path).map_err(|e| Error::io(e, "cannot read a folder for a key"))?;
    if !metadata.is_dir() {
        return Err(refuse(path, "the path does not lead to a folder; pass a file with `file`"));
    }
    let mut hasher = blake3::Hasher::new_derive_key(FOLDER_CONTEXT);
    // What is still to be visited, the next one last. A stack of our own, as a folder may be nested deeply.
    let mut pending = Vec::new();
    list(path, "", &mut pending)?;
    while let Some(entry) = pending.pop() {
        let tag = match entry.kind {
            Kind::File => b'f',
            Kind::Folder => b'd',
            Kind::Link => b'l',
        };
        hasher.update(&[tag]);
        hasher.update(&length(entry.relative.len()));
        hasher.update(entry.relative.as_bytes());
        match entry.kind {
            Kind::File => {
                hasher.update(&hash_content(&entry.path)?);
            }
            Kind::Folder => list(&entry.path, &entry.relative, &mut pending)?,
            Kind::Link => {
                let target = link_target(&entry.path)?;
                hasher.update(&length(target.len()));
                hasher.update(target.as_bytes());
            }
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

enum Kind {
    File,
    Folder,
    Link,
}

struct Entry {
    kind: Kind,
    path: PathBuf,
    /// The path from the folder that is hashed, its parts joined by `/` on every platform.
    relative: String,
}

/// Puts what lies in the folder at `path` on the stack, so that the first in the order of names is on top.
fn list(path: &Path, relative: &str, pending: &mut Vec<Entry>) -> Result<()> {
    let failed = |e| Error::io(e, "cannot list a folder for a key");
    let first = pending.len();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let file_type = entry.file_type().map_err(failed)?;
        let kind = if file_type.is_symlink() {
            Kind::Link
        } else if file_type.is_dir() {
            Kind::Folder
        } else if file_type.is_file() {
            Kind::File
        } else {
            return Err(refuse(&path, "a socket, pipe, device or other special file has no content to hash"));
        };
        let name = utf8(entry.file_name(), &path, "the name of a file in a folder for a key")?;
        let relative = if relative.is_empty() { name } else { format!("{relative}/{name}") };
        pending.push(Entry { kind, path, relative });
    }
    if let Some(added) = pending.get_mut(first..) {
        // Their paths differ in the last part only, so that this is the order of the names, reversed.
        added.sort_unstable_by(|a, b| b.relative.cmp(&a.relative));
    }
    Ok(())
}

fn hash_content(path: &Path) -> Result<[u8; blake3::OUT_LEN]> {
    let failed = |e| Error::io(e, "cannot read a file for a key");
    let file = fs::File::open(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new_derive_key(FILE_CONTEXT);
    hasher.update_reader(file).map_err(failed)?;
    Ok(*hasher.finalize().as_bytes())
}

fn link_target(path: &Path) -> Result<String> {
    let target = fs::read_link(path).map_err(|e| Error::io(e, "cannot read a symbolic link for a key"))?;
    let target = utf8(target.into(), path, "the target of a symbolic link in a folder for a key")?;
    // Windows writes the same link with a backslash; elsewhere a backslash is a character like any other.
    Ok(if cfg!(windows) { target.replace('\\', "/") } else { target })
}

fn utf8(text: OsString, path: &Path, what: &str) -> Result<String> {
    text.into_string().map_err(|_| {
        refuse(
            path,
            &format!("{what} is not UTF-8, so that it has no form that is the same on every platform"),
        )
    })
}

fn refuse(path: &Path, message: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, message).with_context("path", path.to_string_lossy())
}
