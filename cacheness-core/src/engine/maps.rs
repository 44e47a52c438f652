//! Blobs that are mapped into memory: how many at once, as the system lets a process have only so many maps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

/// The most maps that one cache holds at once; Linux gives a process 65,530. A value without copies holds its map as long as it
/// lives.
const MOST: usize = 16 * 1024;

/// The maps that are held.
#[derive(Clone, Debug)]
pub(super) struct Maps {
    held: Arc<AtomicUsize>,
    most: usize,
}

/// A map, counted as long as it is held.
struct Counted {
    map: Mmap,
    held: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Maps {
    fn default() -> Self {
        Self::at_most(MOST)
    }
}

impl Maps {
    fn at_most(most: usize) -> Self {
        Self { held: Arc::default(), most }
    }

    /// Maps a payload, of a file that has been found to be at least this long. `None` where too many are held already or the
    /// system refuses, so that it is to be read instead.
    pub(super) fn map(&self, file: &std::fs::File, len: u64) -> Option<Bytes> {
        let len = usize::try_from(len).ok()?;
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        // SAFETY: a blob never changes once it is written, and a deleted one lives on while it is mapped. Another
        // program that writes to it or cuts it short breaks that; `mmap(false)` is for those who cannot rule it out.
        match unsafe { MmapOptions::new().len(len).map(file) } {
            Ok(map) => Some(Bytes::from_owner(Counted { map, held: self.held.clone() })),
            Err(error) => {
                self.held.fetch_sub(1, Ordering::Relaxed);
                tracing::debug!(%error, "a blob cannot be mapped, and is read");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file() -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"value and trailer").unwrap();
        file
    }

    #[test]
    fn beyond_the_most_nothing_is_mapped_until_one_is_let_go() {
        let (maps, file) = (Maps::at_most(2), file());
        let first = maps.map(&file, 5).unwrap();
        let part = maps.map(&file, 5).unwrap().slice(1..3);
        assert_eq!((&first[..], &part[..]), (&b"value"[..], &b"al"[..]));
        assert!(maps.map(&file, 5).is_none());
        drop(part);
        assert!(maps.map(&file, 5).is_some());
    }

    #[test]
    fn a_map_that_the_system_refuses_is_no_error_and_is_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let folder = fs_err::File::open(folder.path()).unwrap().into_file();
        let maps = Maps::at_most(1);
        assert!(maps.map(&folder, 5).is_none());
        assert!(maps.map(&file(), 5).is_some());
    }
}
