//! Where handlers write: memory for small values, a staged file for large ones, compressed and checksummed on
//! the way.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::blob::{BlobSource, StagedFile};
use crate::encryption::{PayloadSealer, ValueCipher};
use crate::error::{Error, Result};
use crate::handler::BlobWriter;
use crate::stage::{ChecksumKind, Checksums, ChunkHasher, Compression, Encoder, Stage, compress};

/// What a value may occupy in memory while it is written; past this it goes to a file.
const SPILL: usize = 1024 * 1024;

/// Takes the bytes of one value.
pub(crate) struct ValueWriter<'a> {
    staging: Option<Cow<'a, Path>>,
    compression: Compression,
    checksums: ChecksumKind,
    /// Where values are encrypted.
    sealer: Option<PayloadSealer>,
    size: u64,
    state: State,
}

enum State {
    /// All bytes so far, as the handler wrote them.
    Memory(Vec<u8>),
    File(Spilled),
    /// Only while one state becomes another, and after an error in between.
    Failed,
}

/// A value that has outgrown memory: maybe through a compressor into a checksummed file.
enum Spilled {
    Plain(Box<HashedFile>),
    Compressed(Box<Encoder<HashedFile>>),
}

struct HashedFile {
    file: BufWriter<tempfile::NamedTempFile>,
    hasher: ChunkHasher,
    len: u64,
    sealing: Option<Sealing>,
}

/// Encrypts what goes to a file, chunk by chunk.
struct Sealing {
    sealer: PayloadSealer,
    /// What has come of the chunk that is next. A whole one waits, because it may be the last.
    chunk: Vec<u8>,
}

/// A value that has been written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The bytes, compressed where that made them smaller.
    pub(crate) payload: Payload,
    pub(crate) size: u64,
    pub(crate) stored_size: u64,
    pub(crate) checksums: Checksums,
    pub(crate) stages: Vec<Stage>,
    /// What decrypts it, where it is encrypted.
    pub(crate) cipher: Option<Arc<ValueCipher>>,
}

#[derive(Debug)]
pub(crate) enum Payload {
    Memory(Vec<u8>),
    File(tempfile::NamedTempFile),
}

impl Payload {
    /// The payload with what follows it in the blob.
    pub(crate) fn into_source(self, payload_len: u64, trailer: &[u8]) -> Result<BlobSource> {
        match self {
            Self::Memory(mut bytes) => {
                bytes.extend_from_slice(trailer);
                Ok(BlobSource::Bytes(Bytes::from(bytes)))
            }
            Self::File(mut file) => {
                file.write_all(trailer).and_then(|()| file.flush()).map_err(staging_error)?;
                Ok(BlobSource::File(StagedFile::new(file, payload_len + trailer.len() as u64)))
            }
        }
    }
}

impl<'a> ValueWriter<'a> {
    pub(crate) fn new(
        staging: Option<&'a Path>,
        compression: Compression,
        checksums: ChecksumKind,
        sealer: Option<PayloadSealer>,
    ) -> Self {
        let staging = staging.map(Cow::Borrowed);
        Self { staging, compression, checksums, sealer, size: 0, state: State::Memory(Vec::new()) }
    }

    /// The same, to be used on another thread.
    pub(super) fn into_owned(self) -> ValueWriter<'static> {
        let staging = self.staging.map(|folder| Cow::Owned(folder.into_owned()));
        let Self { compression, checksums, sealer, size, state, .. } = self;
        ValueWriter { staging, compression, checksums, sealer, size, state }
    }

    /// True where so many bytes more only go to memory.
    pub(super) fn holds(&self, more: usize) -> bool {
        matches!(&self.state, State::Memory(held) if held.len().saturating_add(more) <= SPILL)
    }

    /// True where finishing is no work: nothing was written to a file, and nothing is to be compressed.
    pub(super) fn is_simple(&self) -> bool {
        self.holds(0) && self.compression == Compression::None
    }

    pub(crate) fn finish(mut self) -> Result<Written> {
        let size = self.size;
        match self.state {
            State::Memory(bytes) => {
                let compressed = compress(&bytes, self.compression)?;
                let stages = compressed.is_some().then(|| self.compression.stage()).flatten();
                let mut payload = compressed.unwrap_or(bytes);
                let cipher = seal(self.sealer.take(), &mut payload)?;
                Ok(Written {
                    size,
                    stored_size: payload.len() as u64,
                    checksums: Checksums::of_kind(self.checksums, &payload),
                    stages: stages.into_iter().collect(),
                    payload: Payload::Memory(payload),
                    cipher,
                })
            }
            State::File(spilled) => {
                let (file, stage) = match spilled {
                    Spilled::Plain(file) => (*file, None),
                    Spilled::Compressed(encoder) => (encoder.finish()?, self.compression.stage()),
                };
                let mut file = file;
                let cipher = file.finish_sealing()?;
                let (stored_size, checksums) = (file.len, file.hasher.finish());
                let file = file.file.into_inner().map_err(|error| staging_error(error.into_error()))?;
                let stages = stage.into_iter().collect();
                Ok(Written { payload: Payload::File(file), size, stored_size, checksums, stages, cipher })
            }
            State::Failed => Err(lost()),
        }
    }

    /// Moves what is in memory to a file. Whether compression pays is decided here, by the first megabyte.
    fn spill(&mut self, bytes: &[u8]) -> Result<Spilled> {
        if let Some(folder) = self.staging.as_deref() {
            crate::permissions::refuse_link(folder)?;
        }
        let file = match self.staging.as_deref().map(tempfile::NamedTempFile::new_in) {
            // Somebody has deleted the empty folder, and not all of the store. The store copies what lies elsewhere, and makes
            // the folder anew.
            Some(Err(error))
                if error.kind() == std::io::ErrorKind::NotFound
                    && self.staging.as_deref().and_then(Path::parent).is_some_and(Path::is_dir) =>
            {
                tempfile::NamedTempFile::new()
            }
            Some(file) => file,
            None => tempfile::NamedTempFile::new(),
        };
        let file = BufWriter::with_capacity(128 * 1024, file.map_err(staging_error)?);
        let sealing = self.sealer.take().map(|sealer| Sealing { sealer, chunk: Vec::new() });
        let hashed = HashedFile { file, hasher: ChunkHasher::new(self.checksums), len: 0, sealing };
        let pays = compress(bytes, self.compression)?.is_some();
        let mut spilled = if pays {
            match Encoder::new(hashed, self.compression)? {
                Some(encoder) => Spilled::Compressed(Box::new(encoder)),
                None => return Err(lost()),
            }
        } else {
            Spilled::Plain(Box::new(hashed))
        };
        spilled.write_all(bytes).map_err(staging_error)?;
        Ok(spilled)
    }
}

impl Write for ValueWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.state {
            State::Memory(held) if held.len() + bytes.len() <= SPILL => held.extend_from_slice(bytes),
            State::Memory(_) => {
                let State::Memory(mut held) = std::mem::replace(&mut self.state, State::Failed) else {
                    return Err(lost().into());
                };
                // Filled up first, so that whether compression pays is judged by the value and not by a header.
                let (now, later) = bytes.split_at(SPILL.saturating_sub(held.len()).min(bytes.len()));
                held.extend_from_slice(now);
                let mut spilled = self.spill(&held)?;
                spilled.write_all(later)?;
                self.state = State::File(spilled);
            }
            State::File(spilled) => {
                if let Err(error) = spilled.write_all(bytes) {
                    // Whoever goes on nevertheless, as a buffer does that is dropped, writes nothing any more.
                    self.state = State::Failed;
                    return Err(error);
                }
            }
            State::Failed => return Err(lost().into()),
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for ValueWriter<'_> {
    fn position(&self) -> u64 {
        self.size
    }
}

impl Write for Spilled {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Compressed(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl HashedFile {
    fn add(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Encrypts what has come of a chunk, and writes it.
    fn add_sealed(&mut self, sealing: &mut Sealing, last: bool) -> std::io::Result<()> {
        sealing.sealer.seal(&mut sealing.chunk, last)?;
        self.add(&sealing.chunk)?;
        sealing.chunk.clear();
        Ok(())
    }

    /// Encrypts the last chunk, and gives what decrypts them all.
    fn finish_sealing(&mut self) -> Result<Option<Arc<ValueCipher>>> {
        let Some(mut sealing) = self.sealing.take() else { return Ok(None) };
        if !sealing.chunk.is_empty() {
            self.add_sealed(&mut sealing, true).map_err(staging_error)?;
        }
        Ok(Some(sealing.sealer.finish()))
    }
}

/// Encrypts a payload that lies in memory, where there is something to encrypt it with.
pub(super) fn seal(sealer: Option<PayloadSealer>, payload: &mut [u8]) -> Result<Option<Arc<ValueCipher>>> {
    let Some(mut sealer) = sealer else { return Ok(None) };
    sealer.seal_all(payload)?;
    Ok(Some(sealer.finish()))
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Some(mut sealing) = self.sealing.take() else { return self.add(bytes).map(|()| bytes.len()) };
        let mut rest = bytes;
        while !rest.is_empty() {
            if sealing.chunk.len() == Checksums::CHUNK as usize {
                self.add_sealed(&mut sealing, false)?;
            }
            let room = Checksums::CHUNK as usize - sealing.chunk.len();
            let (now, later) = rest.split_at(room.min(rest.len()));
            sealing.chunk.extend_from_slice(now);
            rest = later;
        }
        self.sealing = Some(sealing);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn staging_error(error: std::io::Error) -> Error {
    Error::io(error, "the value cannot be written to a temporary file")
}

fn lost() -> Error {
    Error::new(crate::ErrorKind::Encode, "the value was written on after writing it had failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8], piece: usize, compression: Compression) -> Written {
        let mut writer = ValueWriter::new(None, compression, ChecksumKind::default(), None);
        bytes.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap()
    }

    fn stored(written: Written) -> Vec<u8> {
        written.payload.into_source(written.stored_size, b"").unwrap().into_bytes().unwrap().to_vec()
    }

    #[test]
    fn a_large_value_goes_to_a_file_and_has_the_same_checksums() {
        let bytes: Vec<u8> =
            (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let large = written(&bytes, 70_000, Compression::None);
        assert!(matches!(large.payload, Payload::File(_)));
        assert_eq!((large.size, large.stored_size), (3_000_000, 3_000_000));
        assert_eq!(large.checksums, Checksums::of(&bytes));
        assert_eq!(stored(large), bytes);
    }

    #[test]
    fn a_large_value_is_compressed_only_where_its_beginning_shrinks() {
        let text = "over and over again ".repeat(200_000).into_bytes();
        assert_eq!(written(&text, text.len(), Compression::Lz4).stages, [Stage::Lz4], "written in one piece");
        let large = written(&text, 65_536, Compression::Zstd(3));
        assert_eq!(large.stages, [Stage::Zstd]);
        assert_eq!(large.size, text.len() as u64);
        assert!(large.stored_size < 100_000);
        let checksums = large.checksums.clone();
        let bytes = stored(large);
        checksums.verify(&bytes).unwrap();
        assert_eq!(crate::stage::decompress(Stage::Zstd, &bytes, text.len() as u64).unwrap(), text);
    }

    #[test]
    fn nothing_written_is_a_value_of_no_bytes() {
        let nothing = written(b"", 1, Compression::Lz4);
        assert_eq!((nothing.size, nothing.stored_size, nothing.stages.len()), (0, 0, 0));
        assert_eq!(stored(nothing), b"");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn after_a_failure_nothing_more_is_written() {
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
        let nowhere = tempfile::TempPath::try_from_path("/nonexistent/file").unwrap();
        let file = tempfile::NamedTempFile::from_parts(full, nowhere);
        let mut writer = ValueWriter::new(None, Compression::None, ChecksumKind::default(), None);
        writer.state = State::File(Spilled::Plain(Box::new(HashedFile {
            file: BufWriter::new(file),
            hasher: ChunkHasher::new(ChecksumKind::default()),
            len: 0,
            sealing: None,
        })));
        let piece = vec![0; 100_000];
        let error = writer.write_all(&piece).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        let error = writer.write_all(b"more").unwrap_err();
        assert!(error.to_string().contains("after writing it had failed"), "{error}");
        assert!(writer.finish().is_err());
    }
}
