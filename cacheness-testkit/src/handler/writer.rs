//! A blob writer in memory.

use std::io::{self, Write};

use cacheness_core::{BlobWriter, Error, ErrorKind};

/// Keeps what a handler writes; it can run out of room.
///
/// ```
/// use cacheness_core::BlobWriter;
/// use cacheness_testkit::handler::MemoryWriter;
/// use std::io::Write;
///
/// let mut writer = MemoryWriter::new();
/// writer.write_all(b"value")?;
/// assert_eq!(writer.position(), 5);
/// assert_eq!(writer.into_bytes(), b"value");
///
/// let mut full = MemoryWriter::with_room_for(3);
/// assert!(full.write_all(b"value").is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryWriter {
    bytes: Vec<u8>,
    room: Option<usize>,
}

impl MemoryWriter {
    /// A writer that takes everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that fails with [`StorageFull`](ErrorKind::StorageFull) once it holds this many bytes.
    #[must_use]
    pub fn with_room_for(bytes: usize) -> Self {
        Self { bytes: Vec::new(), room: Some(bytes) }
    }

    /// What was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.map_or(usize::MAX, |room| room.saturating_sub(self.bytes.len()));
        if room == 0 && !bytes.is_empty() {
            return Err(Error::new(ErrorKind::StorageFull, "the writer has no room left").into());
        }
        let taken = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn position(&self) -> u64 {
        self.bytes.len() as u64
    }
}
