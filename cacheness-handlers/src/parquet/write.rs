//! Writing a table, and keeping its footer.

use std::io::{self, Write};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression as Codec, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use cacheness_core::{BlobWriter, Compression, Error, ErrorKind, FormatMeta, Result};

use super::read::{BATCH_ROWS, FOOTER_TAIL};
use crate::table::has_type;

pub(super) fn write(
    schema: SchemaRef,
    batches: &[RecordBatch],
    writer: &mut dyn BlobWriter,
    compression: Option<Compression>,
    row_group_rows: usize,
) -> Result<FormatMeta> {
    // Parquet's writer panics on a union, where it reports other types that it lacks.
    if has_type(&schema.fields, |data_type| matches!(data_type, DataType::Union(..))) {
        let message = "Parquet has no unions; put the table by the handler `arrow_ipc`";
        return Err(Error::new(ErrorKind::Encode, message));
    }
    let properties = WriterProperties::builder()
        .set_compression(codec(compression)?)
        .set_max_row_group_row_count(Some(row_group_rows))
        // Reads go by whole column chunks, so an index of pages would only make the footer's surroundings larger.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .build();
    let keeps_rows = batches.len() == 1 && !schema.fields().is_empty();
    let tail = Tail { writer, last: Vec::new() };
    let mut file = ArrowWriter::try_new(tail, schema, Some(properties)).map_err(encode_error)?;
    for batch in batches.iter().filter(|batch| batch.num_columns() > 0) {
        file.write(batch).map_err(encode_error)?;
    }
    if !keeps_rows {
        let rows: Vec<_> = batches.iter().map(|batch| batch.num_rows().to_string()).collect();
        file.append_key_value_metadata(KeyValue::new(BATCH_ROWS.to_owned(), rows.join(",")));
    }
    file.finish().map_err(encode_error)?;
    Ok(FormatMeta::new(file.inner().footer().to_vec()))
}

fn codec(compression: Option<Compression>) -> Result<Codec> {
    match compression {
        None | Some(Compression::Lz4) => Ok(Codec::LZ4_RAW),
        Some(Compression::None) => Ok(Codec::UNCOMPRESSED),
        Some(Compression::Zstd(level)) => ZstdLevel::try_new(level).map(Codec::ZSTD).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the compression is not possible").with_source(error)
        }),
        Some(other) => {
            Err(Error::new(ErrorKind::Unsupported, format!("Parquet has no compression {other:?}")))
        }
    }
}

fn encode_error(error: ParquetError) -> Error {
    let error = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => return Error::io(*error, "writing a table"),
            Err(inner) => ParquetError::External(inner),
        },
        other => other,
    };
    Error::new(ErrorKind::Encode, "the table cannot be written as Parquet").with_source(error)
}

/// Writes through, and keeps the last bytes, because the footer is the last that is written.
struct Tail<'a> {
    writer: &'a mut dyn BlobWriter,
    last: Vec<u8>,
}

impl Tail<'_> {
    const KEPT: usize = FormatMeta::MAX_LEN + FOOTER_TAIL;

    /// The footer without the tail that states its length, or nothing where it is too long to be kept.
    fn footer(&self) -> &[u8] {
        let Some((before, tail)) = self.last.split_last_chunk::<FOOTER_TAIL>() else { return &[] };
        let len = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
        if len > FormatMeta::MAX_LEN {
            return &[];
        }
        before.len().checked_sub(len).map_or(&[], |start| &before[start..])
    }
}

impl Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        let new = &bytes[written.saturating_sub(Self::KEPT)..written];
        self.last.extend_from_slice(new);
        // Room for twice as much means that bytes are moved once for many writes.
        if self.last.len() > 2 * Self::KEPT {
            self.last.drain(..self.last.len() - Self::KEPT);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
