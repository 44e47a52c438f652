//! Tables in the Arrow IPC file format: read back without copying.

mod file;
mod message;

use std::io::{BufWriter, Write};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use cacheness_core::{
    Access, BlobReader, BlobWriter, BoxedValue, CacheHandler, Compression, Error, ErrorKind, FormatMeta,
    HandlerContext, ReadOptions, Result, TypeClass, TypeTarget, ValueRef,
};

use self::file::IpcFile;
use crate::table::{
    ReadTable, Selection, batches_of, catch_panics, check_target, encode_error, has_type, into_target,
    is_table, table_of,
};

/// Stores Arrow tables in the Arrow IPC file format, also known as Feather version 2.
///
/// - *Name* `arrow_ipc`, *class* table.
/// - *Claims* and *makes* `RecordBatch` and `Vec<RecordBatch>`. The batches of a list have one schema. They come
///   back as they were put; as a `RecordBatch` they come back joined, which copies them.
/// - *Format*: the [IPC file format](https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format), metadata
///   version 5, from the value's first byte on, every buffer at a multiple of 64. It is stable, and other Arrow
///   libraries read it. All Arrow types, and the metadata of the schema and of its fields, are kept.
/// - *Zero copy*: the columns lie in the mapped file. Text is checked for UTF-8 and offsets for their bounds,
///   so reading costs time, but no memory.
/// - *Compression* inside the file, by buffer, only where the caller asks for it. Compressed columns are copied.
/// - *Options*: columns, rows and filters. They save memory and time; of a remote blob all bytes are fetched.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::ArrowIpcHandler;
///
/// let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let table = RecordBatch::try_from_iter([("id", ids)])?;
/// let handler = ArrowIpcHandler::new();
/// assert_eq!((handler.name(), handler.class()), ("arrow_ipc", TypeClass::Table));
/// assert!(handler.can_handle(&table.value_ref()));
/// # Ok::<(), arrow_schema::ArrowError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct ArrowIpcHandler;

impl ArrowIpcHandler {
    /// The handler.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl CacheHandler for ArrowIpcHandler {
    fn name(&self) -> &str {
        "arrow_ipc"
    }

    fn description(&self) -> &str {
        "Tables as Arrow IPC files: read back without copying, columns by ranges."
    }

    fn class(&self) -> TypeClass {
        TypeClass::Table
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        batches_of(value).is_some()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        is_table(target)
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        context: &HandlerContext,
    ) -> Result<FormatMeta> {
        let (schema, batches) = table_of("arrow_ipc", value)?;
        let options = write_options(context.compression)?;
        let buffered = BufWriter::new(writer);
        let mut file = FileWriter::try_new_with_options(buffered, &schema, options).map_err(encode_error)?;
        for batch in with_one_dictionary(&schema, batches)?.as_deref().unwrap_or(batches) {
            file.write(batch).map_err(encode_error)?;
        }
        file.finish().map_err(encode_error)?;
        file.get_mut().flush().map_err(|error| Error::io(error, "writing a table"))?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        check_target("arrow_ipc", target)?;
        let bytes = reader.bytes()?;
        catch_panics(|| into_target(target, read(bytes, options)?))
    }

    fn preferred_access(&self) -> Access {
        Access::Map
    }

    fn compresses(&self) -> bool {
        true
    }
}

fn write_options(compression: Option<Compression>) -> Result<IpcWriteOptions> {
    let (codec, level) = match compression {
        None | Some(Compression::None) => (None, None),
        Some(Compression::Lz4) => (Some(CompressionType::LZ4_FRAME), None),
        Some(Compression::Zstd(level)) => (Some(CompressionType::ZSTD), Some(level)),
        Some(other) => {
            let message = format!("Arrow IPC has no compression {other:?}");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    IpcWriteOptions::default()
        .try_with_compression(codec)
        .and_then(|options| options.try_with_compression_level(level))
        .map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "the compression is not possible").with_source(error)
        })
}

/// A file has one dictionary for each field. Batches that may each have their own are joined, which merges the
/// dictionaries, and cut again at the same rows.
fn with_one_dictionary(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Option<Vec<RecordBatch>>> {
    if batches.len() < 2
        || !has_type(&schema.fields, |data_type| matches!(data_type, DataType::Dictionary(..)))
    {
        return Ok(None);
    }
    let whole = concat_batches(schema, batches).map_err(encode_error)?;
    let mut first = 0;
    let cut = batches.iter().map(|batch| {
        let part = whole.slice(first, batch.num_rows());
        first += batch.num_rows();
        part
    });
    Ok(Some(cut.collect()))
}

fn read(bytes: Bytes, options: &ReadOptions) -> Result<ReadTable> {
    // Columns lie where the bytes lie, so bytes that begin at an odd address are moved once, rather than column by
    // column.
    const WIDEST_VALUE: usize = 16;
    let buffer = if bytes.as_ptr().addr().is_multiple_of(WIDEST_VALUE) {
        Buffer::from(bytes)
    } else {
        Buffer::from_slice_ref(&bytes[..])
    };
    let file = IpcFile::open(&buffer)?;
    let selection = Selection::new(&file.schema, options)?;
    let decoder = file.decoder(selection.read.clone())?;

    let mut batches = Vec::with_capacity(file.batches.len());
    let mut first = 0_u64;
    for block in &file.batches {
        let rows = selection.rows_within(first, block.rows);
        // Each batch has at most 2^48 rows, and a file fewer than 2^32 of them in a footer of at most 2 GiB.
        first = first.saturating_add(block.rows);
        if selection.is_partial && rows.is_empty() {
            continue;
        }
        let mut batch = file.read_batch(&decoder, block)?;
        if selection.is_partial {
            batch = batch.slice(rows.start as usize, (rows.end - rows.start) as usize);
            batch = selection.filter_and_project(batch)?;
        }
        batches.push(batch);
    }
    Ok(ReadTable { schema: selection.schema.clone(), batches, keep_empty: !selection.is_partial })
}
