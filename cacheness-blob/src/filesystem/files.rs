//! The files and folders of the layout: how they are opened, written, renamed and made durable.

use std::io::{ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use cacheness_core::{
    BlobKey, BlobSource, Durability, Error, ErrorKind, OpenContext, OpenMode, Permissions, Result, Timestamp,
};
use fs_err as fs;

/// The number of the layout that this version writes. A newer one is refused.
const LAYOUT: u32 = 1;

const MARKER: &str = "cacheness-blobs";

/// A staged file this old belongs to a process that has crashed: no put takes a day.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// How many staged files one open looks at, so that opening never takes long.
const CLEANED_AT_OPEN: usize = 1_000;

/// The folder of one blob store.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) staging: PathBuf,
    /// Each put waits for the disk.
    syncs: bool,
    permissions: Permissions,
    /// The permissions of blobs, where they are not for this user alone, as temporary files are: those of the marker.
    file_mode: Option<std::fs::Permissions>,
}

impl Folder {
    pub(super) fn open(root: PathBuf, context: &OpenContext) -> Result<Self> {
        let syncs = match context.durability {
            Durability::Process => false,
            Durability::Power => true,
            durability => {
                let message = format!("`filesystem` cannot promise the durability {durability:?}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        if context.mode == OpenMode::Create || root.is_dir() {
            context.prepare_folder(&root)?;
        }
        // Without links in it, the way to a blob can be opened by one call that follows none.
        let root = fs::canonicalize(&root).unwrap_or(root);
        let staging = root.join("staging");
        let permissions = context.permissions;
        let mut folder = Self { root, staging, syncs, permissions, file_mode: None };
        match folder.read_marker() {
            Ok(()) => {}
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Err(_) if context.mode == OpenMode::Create => folder.create()?,
            Err(_) => {
                let message = "there is no blob store here, and it was opened in a way that creates none";
                let path = folder.root.to_string_lossy();
                return Err(Error::new(ErrorKind::NotFound, message).with_context("path", path));
            }
        }
        if permissions == Permissions::Umask {
            let marker = fs::symlink_metadata(folder.root.join(MARKER));
            let marker = marker
                .map_err(|error| Error::io(error, "the marker of the blob store cannot be looked at"))?;
            folder.file_mode = Some(readable_and_writable(&marker.permissions()));
        }
        // On a read-only file system neither works, and reading does not need them.
        let _ = permissions.create_folder(&folder.staging);
        if folder.check_way(&folder.staging).is_ok() {
            folder.remove_abandoned(context.env.now());
        }
        Ok(folder)
    }

    fn create(&self) -> Result<()> {
        if self.write_marker(&self.root)? { Ok(()) } else { self.read_marker() }
    }

    /// Writes a marker into a folder; false where there was one.
    fn write_marker(&self, folder: &Path) -> Result<bool> {
        // Written aside and renamed, so that another process never reads half of it.
        let mut marker = self.temporary(folder)?;
        let written =
            marker.write_all(format!("{LAYOUT}\n").as_bytes()).and_then(|()| marker.as_file().sync_all());
        written.map_err(|error| Error::io(error, "the marker of the blob store cannot be written"))?;
        let to = folder.join(MARKER);
        match marker.persist_noclobber(&to) {
            // Whatever the durability: without it, a loss of power could leave a cache whose store does not know it.
            Ok(_) => sync_folder(folder).map(|()| true),
            Err(failed) if failed.error.kind() == Io::AlreadyExists => Ok(false),
            Err(failed) => Err(at(failed.error, "the marker of the blob store cannot be written", &to)),
        }
    }

    fn read_marker(&self) -> Result<()> {
        let path = self.root.join(MARKER);
        let mut content = Vec::new();
        fs::File::open(&path)
            .and_then(|file| file.take(64).read_to_end(&mut content))
            .map_err(|error| Error::io(error, "the marker of the blob store cannot be read"))?;
        let content = String::from_utf8_lossy(&content);
        let damage = |message: String, kind| {
            Err(Error::new(kind, message).with_context("path", path.to_string_lossy()))
        };
        match content.trim_end().parse::<u32>() {
            Ok(LAYOUT) => Ok(()),
            Ok(newer) => damage(
                format!(
                    "the blobs are in layout {newer}, and this version knows layout {LAYOUT}; use a newer one"
                ),
                ErrorKind::Unsupported,
            ),
            Err(_) => {
                damage("the marker of the blob store holds no layout number".into(), ErrorKind::Corrupted)
            }
        }
    }

    /// An error unless the store is there, so that what is not found in it is certainly missing.
    pub(super) fn check_present(&self) -> Result<()> {
        self.read_marker().map_err(|error| {
            let message = "the folder of the blobs is not there as it was; is a disk not mounted?";
            Error::new(ErrorKind::Unavailable, message)
                .with_context("path", self.root.to_string_lossy())
                .with_source(error)
        })
    }

    pub(super) fn cache_folder(&self, cache: cacheness_core::CacheId) -> PathBuf {
        self.root.join(cache.to_string())
    }

    /// True where the folder of a cache has a marker of its own.
    pub(super) fn knows(&self, cache: cacheness_core::CacheId) -> Result<bool> {
        let path = self.cache_folder(cache).join(MARKER);
        match fs::symlink_metadata(&path) {
            Ok(marker) => self.check_way(&path).map(|()| marker.is_file()),
            Err(error) if error.kind() == Io::NotFound => Ok(false),
            Err(error) => Err(Error::io(error, "the folder of a cache's blobs cannot be looked at")),
        }
    }

    /// Gives the folder of a cache its marker.
    pub(super) fn introduce(&self, cache: cacheness_core::CacheId) -> Result<()> {
        let folder = self.cache_folder(cache);
        self.check_way(&folder)?;
        self.create_shard(&folder)?;
        self.write_marker(&folder)?;
        sync_folder(&self.root)
    }

    pub(super) fn path_of(&self, key: &BlobKey) -> PathBuf {
        let name = key.blob.to_string();
        let (xx, yy) = shard_of(&name);
        let mut path = self.cache_folder(key.cache);
        path.extend([xx, yy, &name]);
        path
    }

    pub(super) fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let to = self.path_of(key);
        self.check_way(&self.staging)?;
        self.check_way(&to)?;
        match source {
            BlobSource::Bytes(bytes) => self.put_from(&mut &bytes[..], &to)?,
            BlobSource::File(file) if file.path().parent() == Some(&self.staging) => {
                if self.syncs {
                    file.as_file()
                        .sync_all()
                        .map_err(|error| at(error, "syncing a staged value", file.path()))?;
                }
                if let Some(mode) = &self.file_mode {
                    file.as_file()
                        .set_permissions(mode.clone())
                        .map_err(|error| at(error, "the permissions of a blob cannot be set", file.path()))?;
                }
                // A failed rename would consume the file, so the folder is there before.
                if let Some(shard) = to.parent()
                    && !shard.is_dir()
                {
                    self.create_shard(shard)?;
                }
                file.persist(&to)?;
            }
            BlobSource::File(file) => {
                // Perhaps on another file system, from where there is no rename that others see only when whole.
                let mut from = fs::File::open(file.path())
                    .map_err(|error| Error::io(error, "the staged value cannot be read"))?;
                self.put_from(&mut from, &to)?;
            }
            source => {
                let message = format!("`filesystem` cannot store a blob from {source:?}");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        }
        self.sync_folders(&to)
    }

    fn put_from(&self, from: &mut impl Read, to: &Path) -> Result<()> {
        let mut file = match self.temporary(&self.staging) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.check_present()?;
                self.permissions.create_folder(&self.staging)?;
                self.temporary(&self.staging)?
            }
            file => file?,
        };
        std::io::copy(from, file.as_file_mut())
            .and_then(|_| if self.syncs { file.as_file().sync_all() } else { Ok(()) })
            .map_err(|error| at(error, "a blob cannot be written", file.path()))?;
        let file = match file.persist_noclobber(to) {
            Ok(_) => return Ok(()),
            Err(failed) if failed.error.kind() == Io::NotFound => failed.file,
            Err(failed) => return Err(at(failed.error, "a blob cannot be moved to its place", to)),
        };
        if let Some(shard) = to.parent() {
            self.create_shard(shard)?;
        }
        file.persist_noclobber(to)
            .map(|_| ())
            .map_err(|failed| at(failed.error, "a blob cannot be moved to its place", to))
    }

    /// Makes a folder for blobs, but never in place of a store that has gone away.
    fn create_shard(&self, shard: &Path) -> Result<()> {
        self.check_present()?;
        self.permissions.create_folder(shard).inspect_err(|error| {
            // Without room for both folders, the one that was made would keep it from others. One that is in use stays.
            if error.kind() == ErrorKind::StorageFull {
                let _ = shard.parent().map(fs::remove_dir);
            }
        })
    }

    fn temporary(&self, folder: &Path) -> Result<tempfile::NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".put-");
        #[cfg(unix)]
        if self.permissions == Permissions::Umask {
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        }
        builder.tempfile_in(folder).map_err(|error| at(error, "a temporary file cannot be made", folder))
    }

    /// Makes the way to a blob durable. Another thread may have made any of its folders and not synced it yet, so
    /// all are synced; for those that are durable already that costs next to nothing.
    fn sync_folders(&self, blob: &Path) -> Result<()> {
        if !self.syncs {
            return Ok(());
        }
        let folders = blob.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        folders.into_iter().try_for_each(sync_folder)
    }

    fn remove_abandoned(&self, now: Timestamp) {
        let Ok(staged) = fs::read_dir(&self.staging) else { return };
        for file in staged.take(CLEANED_AT_OPEN).flatten() {
            // Others may have put files there that are none of ours.
            let ours = file
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(".put-") || name.starts_with(".tmp"));
            let old = ours
                && file.metadata().is_ok_and(|metadata| {
                    let modified = metadata.modified().map(Timestamp::from);
                    metadata.is_file() && modified.is_ok_and(|modified| now.since(modified) > ABANDONED)
                });
            if old {
                // Another process that opens the store may have been quicker.
                let _ = fs::remove_file(file.path());
            }
        }
    }

    /// Opens a blob; `None` where it is certainly not there.
    pub(super) fn open_blob(&self, key: &BlobKey) -> Result<Option<(fs::File, u64)>> {
        let path = self.path_of(key);
        let file = match open_no_link(&path) {
            Some(file) => file,
            None => {
                self.check_way(&path)?;
                match open_plain(&path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == Io::NotFound => {
                        return self.check_present().map(|()| None);
                    }
                    Err(_) if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) => {
                        return Err(not_a_blob(&path));
                    }
                    Err(error) => return Err(Error::io(error, "a blob cannot be opened")),
                }
            }
        };
        let metadata = file.metadata().map_err(|error| Error::io(error, "a blob cannot be opened"))?;
        if metadata.is_file() { Ok(Some((file, metadata.len()))) } else { Err(not_a_blob(&path)) }
    }

    /// An error where a folder on the way from the root to a path is a link: it could lead anywhere.
    pub(super) fn check_way(&self, path: &Path) -> Result<()> {
        for folder in path.ancestors().take_while(|folder| *folder != self.root) {
            match fs::symlink_metadata(folder) {
                Ok(metadata) if metadata.is_symlink() => return Err(not_a_blob(folder)),
                // What is missing leads nowhere, and what cannot be looked at cannot be opened either.
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn exists(&self, key: &BlobKey) -> Result<bool> {
        let path = self.path_of(key);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => {
                path.parent().map_or(Ok(()), |folder| self.check_way(folder)).map(|()| metadata.is_file())
            }
            Err(error) if error.kind() == Io::NotFound => self.check_present().map(|()| false),
            Err(error) => Err(Error::io(error, "a blob cannot be looked for")),
        }
    }

    pub(super) fn delete(&self, key: &BlobKey) -> Result<bool> {
        let path = self.path_of(key);
        // A link in place of the blob itself is removed, not followed.
        if let Some(folder) = path.parent() {
            self.check_way(folder)?;
        }
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Io::NotFound => self.check_present().map(|()| false),
            Err(error) => Err(Error::io(error, "a blob cannot be deleted")),
        }
    }
}

/// What a mode says of reading and writing, and nothing else.
#[cfg(unix)]
fn readable_and_writable(mode: &std::fs::Permissions) -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    std::fs::Permissions::from_mode(mode.mode() & 0o666)
}

#[cfg(not(unix))]
fn readable_and_writable(mode: &std::fs::Permissions) -> std::fs::Permissions {
    mode.clone()
}

/// Opens a file without following a link anywhere on the way to it, by one call. `None` where that fails for whatever reason, or
/// where the system has no such call.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_no_link(path: &Path) -> Option<fs::File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).ok()?;
    Some(fs::File::from_parts(std::fs::File::from(file), path))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_no_link(_: &Path) -> Option<fs::File> {
    None
}

/// Opens a file, and follows no link in its place.
fn open_plain(path: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt;
        use rustix::fs::OFlags;
        // A link in place of a blob could lead to any file, and a pipe would hold the call up.
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }
    #[cfg(not(unix))]
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(std::io::Error::other("not a file"));
    }
    options.open(path)
}

/// Reads up to `len` bytes from `start` on; fewer where the file ends before.
pub(super) fn read(mut file: fs::File, start: u64, len: u64) -> Result<Bytes> {
    let capacity = usize::try_from(len).map_err(|_| {
        let message = format!("a range of {len} bytes does not fit in memory");
        Error::new(ErrorKind::LimitExceeded, message).with_context("path", file.path().to_string_lossy())
    })?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(capacity).map_err(|error| {
        Error::new(ErrorKind::LimitExceeded, format!("no memory for {len} bytes of a blob"))
            .with_source(error)
    })?;
    let seek = if start == 0 { Ok(0) } else { file.seek(SeekFrom::Start(start)) };
    seek.and_then(|_| file.take(len).read_to_end(&mut bytes))
        .map_err(|error| Error::io(error, "a blob cannot be read"))?;
    Ok(Bytes::from(bytes))
}

/// The two folders of a blob: the last four digits of its id, which has 32 of them.
pub(super) fn shard_of(name: &str) -> (&str, &str) {
    let end = name.len();
    (&name[end - 4..end - 2], &name[end - 2..])
}

/// An error of `tempfile`, whose own message does not always name the path.
fn at(error: std::io::Error, message: &str, path: &Path) -> Error {
    Error::io(error, message).with_context("path", path.to_string_lossy())
}

fn not_a_blob(path: &Path) -> Error {
    let message = "in place of a blob there is a link, a folder or a device; it was not followed";
    Error::new(ErrorKind::Corrupted, message).with_context("path", path.to_string_lossy())
}

/// Only on Unix can a folder be opened and synced; elsewhere the file system sees to it by itself.
fn sync_folder(folder: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::io(error, "a folder of the blobs cannot be synced"))
}
