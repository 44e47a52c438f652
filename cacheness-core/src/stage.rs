//! Stages between a handler and a blob backend: compression, where it pays.

use std::io::{Read, Write};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

pub(crate) use crate::checksums::ChunkHasher;
pub use crate::checksums::{ChecksumKind, Checksums};

/// How a value is compressed before it is stored. What does not shrink is stored as it is.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all: the value can be read by ranges and mapped.
    #[default]
    None,
    /// LZ4 in its frame format: fast, halves typical text.
    Lz4,
    /// Zstandard at this level, 1 to 22; 3 is the usual one. Smaller than LZ4 and slower.
    Zstd(i32),
}

impl Compression {
    /// The stage that this compression stores, or none.
    #[must_use]
    pub fn stage(self) -> Option<Stage> {
        match self {
            Self::None => None,
            Self::Lz4 => Some(Stage::Lz4),
            Self::Zstd(_) => Some(Stage::Zstd),
        }
    }
}

/// A step that a stored value went through after its handler, by the number that is stored for it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// LZ4 frame format.
    Lz4,
    /// Zstandard frame format.
    Zstd,
}

impl Stage {
    /// The stable number by which the stage is stored.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Lz4 => 1,
            Self::Zstd => 2,
        }
    }

    /// The stage that a stored number stands for; `None` for a number from a newer version.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Compresses all of `bytes`; `None` where the result would not be smaller.
pub(crate) fn compress(bytes: &[u8], compression: Compression) -> Result<Option<Vec<u8>>> {
    let Some(mut encoder) = Encoder::new(Vec::new(), compression)? else { return Ok(None) };
    encoder.write_all(bytes).map_err(|error| Error::io(error, "compressing a value"))?;
    let compressed = encoder.finish()?;
    Ok((compressed.len() < bytes.len()).then_some(compressed))
}

/// Compresses what is written to it into another writer.
pub(crate) enum Encoder<W: Write> {
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(out: W, compression: Compression) -> Result<Option<Self>> {
        Ok(match compression {
            Compression::None => None,
            Compression::Lz4 => Some(Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(out)))),
            Compression::Zstd(level) => {
                let encoder = zstd::stream::write::Encoder::new(out, level)
                    .map_err(|error| Error::io(error, "starting Zstandard compression"))?;
                Some(Self::Zstd(Box::new(encoder)))
            }
        })
    }

    pub(crate) fn finish(self) -> Result<W> {
        match self {
            Self::Lz4(encoder) => encoder.finish().map_err(|error| {
                Error::new(ErrorKind::Encode, "finishing LZ4 compression").with_source(error)
            }),
            Self::Zstd(encoder) => {
                encoder.finish().map_err(|error| Error::io(error, "finishing Zstandard compression"))
            }
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Lz4(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Lz4(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Reads the decompressed form of `input`, in order.
pub(crate) fn decoder<'a>(stage: Stage, input: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>> {
    Ok(match stage {
        Stage::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(input)),
        Stage::Zstd => Box::new(
            zstd::stream::read::Decoder::new(input)
                .map_err(|error| Error::io(error, "starting Zstandard decompression"))?,
        ),
    })
}

/// Decompresses all of `bytes`, which must become exactly `size` bytes.
///
/// What is reserved grows with what was really decompressed, so a false `size` costs nothing.
pub(crate) fn decompress(stage: Stage, bytes: &[u8], size: u64) -> Result<Bytes> {
    let damaged = |what: String| Error::new(ErrorKind::Corrupted, what);
    let expected =
        usize::try_from(size).map_err(|_| damaged(format!("{size} bytes do not fit in memory")))?;
    let mut out = Vec::with_capacity(expected.min(bytes.len().saturating_mul(8)));
    decoder(stage, bytes)?
        .take(size.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|error| damaged("the compressed bytes are damaged".into()).with_source(error))?;
    if out.len() != expected {
        return Err(damaged(format!("decompression gave {} bytes, {expected} were stored", out.len())));
    }
    Ok(Bytes::from(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(len)
        .collect()
    }

    #[test]
    fn compression_returns_what_went_in_or_declines() {
        let text = "the same words again and again. ".repeat(1000).into_bytes();
        for (compression, stage) in [(Compression::Lz4, Stage::Lz4), (Compression::Zstd(3), Stage::Zstd)] {
            let small = compress(&text, compression).unwrap().expect("text shrinks");
            assert!(small.len() < text.len() / 10);
            assert_eq!(decompress(stage, &small, text.len() as u64).unwrap(), text);
            assert_eq!(compress(&noise(10_000), compression).unwrap(), None);
            assert_eq!(compress(b"", compression).unwrap(), None);
        }
    }

    #[test]
    fn decompression_stops_at_the_stated_size() {
        let zeros = vec![0; 64 << 20];
        for (compression, stage) in [(Compression::Lz4, Stage::Lz4), (Compression::Zstd(3), Stage::Zstd)] {
            let bomb = compress(&zeros, compression).unwrap().expect("zeros shrink");
            let error = decompress(stage, &bomb, 1000).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted);
            // One byte more than was stated tells enough.
            let said = error.to_string();
            assert!(said.contains("decompression gave 1001 bytes, 1000 were stored"), "{said}");
        }
    }

    #[test]
    fn damaged_compressed_bytes_are_an_error() {
        let zeros = vec![0; 1 << 20];
        for (compression, stage) in [(Compression::Lz4, Stage::Lz4), (Compression::Zstd(3), Stage::Zstd)] {
            let whole = compress(&zeros, compression).unwrap().expect("zeros shrink");
            for (bytes, size) in [(&whole[..20], 1 << 20), (b"garbage", 1 << 20), (b"garbage", u64::MAX)] {
                assert_eq!(decompress(stage, bytes, size).unwrap_err().kind(), ErrorKind::Corrupted);
            }
        }
    }
}
