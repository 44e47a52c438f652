//! A written file beside the index that keeps some room on the disk: on a full one SQLite cannot even delete, because what it
//! deletes it first writes into its log. The file goes when that happens, and is made again once there is room.

use std::path::{Path, PathBuf};

use cacheness_core::Permissions;
use fs_err as fs;

/// The reserve of one index. Every process that has the index open shares it.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    /// Its length in bytes; 0 for none.
    len: u64,
    permissions: Permissions,
}

impl Reserve {
    /// The reserve of the index in this file.
    pub(super) fn beside(index: &Path, len: u64, permissions: Permissions) -> Self {
        // Beside the log, whose name is made in the same way.
        let mut path = index.as_os_str().to_owned();
        path.push("-reserve");
        Self { path: path.into(), len, permissions }
    }

    /// Makes the file as long as it is to be. On a disk without so much room it becomes as long as it can be.
    pub(super) fn make(&self) {
        let found = fs::symlink_metadata(&self.path).map_or(0, |metadata| metadata.len());
        if found > self.len || self.len == 0 {
            self.release();
        }
        if found != self.len {
            // Without it, the next full disk is one that has to be made room on by other means.
            let _ = self.lengthen();
        }
    }

    fn lengthen(&self) -> std::io::Result<()> {
        let mut options = fs::OpenOptions::from_options(self.permissions.file_options());
        let mut file = options.append(true).create(true).open(&self.path)?;
        let missing = self.len.saturating_sub(file.metadata()?.len());
        // Zeros could be left out by the file system.
        std::io::copy(&mut std::io::Read::take(std::io::repeat(0xca), missing), &mut file)?;
        Ok(())
    }

    /// Gives the room back to the disk. True where there was some.
    pub(super) fn release(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}
