//! Who may read the files of a cache, and whose folders it takes.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::registry::OpenMode;

/// Who may read and write the files that a cache makes. It has no effect on systems other than Unix, where a folder hands its
/// own rules on to what is made in it.
///
/// What is there already stays as it is.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Permissions {
    /// The user that the process runs as, and nobody else: folders get mode 0700 and files 0600.
    #[default]
    Private,
    /// Whoever the process's umask lets: folders get mode 0777 and files 0666 but for the bits of the umask. For caches
    /// that several users share: run their processes with a umask such as 007, in a folder that hands its group on (`chmod
    /// g+s`).
    Umask,
}

impl Permissions {
    /// Makes a folder, and those above it that are missing.
    ///
    /// ```
    /// use cacheness::Permissions;
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("reports").join("cache");
    /// Permissions::Private.create_folder(&path)?;
    /// # #[cfg(unix)] {
    /// use std::os::unix::fs::PermissionsExt;
    /// assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    /// # }
    /// # Ok::<(), cacheness::Error>(())
    /// ```
    ///
    /// # Errors
    /// The operating system's, with the path.
    pub fn create_folder(self, path: &Path) -> Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        if self == Self::Private {
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        }
        builder.create(path).map_err(|error| {
            Error::io(error, "the folder cannot be created").with_context("path", path.to_string_lossy())
        })
    }

    /// Options with which files are opened, that give a file its permissions where they create it, and follow no link in its
    /// place.
    #[must_use]
    #[cfg_attr(not(unix), allow(unused_mut))]
    pub fn file_options(self) -> std::fs::OpenOptions {
        let mut options = std::fs::OpenOptions::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
            if self == Self::Private {
                options.mode(0o600);
            }
        }
        options
    }
}

/// Makes the folder of a cache or of a backend where it may, and says what is wrong where it may not.
pub(crate) fn prepare_folder(
    path: &Path,
    mode: OpenMode,
    permissions: Permissions,
    allow_other_owner: bool,
) -> Result<()> {
    match mode {
        OpenMode::Create => permissions.create_folder(path)?,
        OpenMode::Existing if path.is_dir() => {}
        OpenMode::Existing => {
            let message = "there is no cache here, and `open_existing` creates none";
            return Err(Error::new(ErrorKind::NotFound, message).with_context("path", path.to_string_lossy()));
        }
    }
    if allow_other_owner { Ok(()) } else { check_owner(path) }
}

/// An error where there is a link in place of a folder to which files are going to be written.
pub(crate) fn refuse_link(folder: &Path) -> Result<()> {
    if !fs_err::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_symlink()) {
        return Ok(());
    }
    let message = "in place of a folder of the cache there is a link; it was not followed";
    Err(Error::new(ErrorKind::Corrupted, message).with_context("path", folder.to_string_lossy()))
}

/// Whoever owns a folder can put what he likes in place of what is in it.
#[cfg(unix)]
fn check_owner(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let metadata =
        fs_err::metadata(path).map_err(|error| Error::io(error, "the folder cannot be looked at"))?;
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    // In one with the sticky bit, as /tmp, others cannot touch what is not theirs.
    if owner == own && metadata.mode() & 0o1002 == 0o002 {
        let message = "everybody may write to the folder, and so change what is cached in it; take that away (`chmod o-w`), use \
                       another one, or set `allow_other_owner = true`";
        let error = Error::new(ErrorKind::PermissionDenied, message);
        return Err(error.with_context("path", path.to_string_lossy()));
    }
    if owner == own {
        return Ok(());
    }
    let message = format!(
        "the folder belongs to user {owner} and this process runs as user {own}; whoever owns a folder can change what is \
         cached in it, so use one of your own, or set `allow_other_owner = true` if you trust that user"
    );
    Err(Error::new(ErrorKind::PermissionDenied, message).with_context("path", path.to_string_lossy()))
}

#[cfg(not(unix))]
fn check_owner(_: &Path) -> Result<()> {
    Ok(())
}
