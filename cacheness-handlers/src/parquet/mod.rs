//! Tables in the Parquet format: small, and read by column.

mod bounds;
mod prune;
mod read;
mod thrift;
mod write;

use cacheness_core::{
    Access, BlobReader, BlobWriter, BoxedValue, CacheHandler, FormatMeta, HandlerContext, ReadOptions,
    Result, TypeClass, TypeTarget, ValueRef,
};

use crate::table::{batches_of, check_target, into_target, is_table, table_of};

/// Stores Arrow tables as Parquet.
///
/// - *Name* `parquet`, *class* table.
/// - *Claims* and *makes* `RecordBatch` and `Vec<RecordBatch>`. The batches of a list have one schema, and come back
///   cut at the same rows.
/// - *Format*: an [Apache Parquet](https://parquet.apache.org/docs/file-format/) file, version 1 pages. It is stable,
///   and other Parquet readers read it. The Arrow schema is kept beside Parquet's own, so that types, and the metadata
///   of the schema and of its fields, come back as they were. Types that Parquet lacks, such as unions, cannot be put.
///   The entry of the file's metadata named `cacheness.batch_rows` holds the rows of each batch of a list.
/// - *Ranges*: the footer is kept with the entry where it has at most 64 KiB, and of the blob only the column chunks
///   asked for are fetched, all at once.
/// - *Compression* inside the file: LZ4 by default, or what the caller asks for, or none.
/// - *Bounds*: at most 60 fields lie inside one another; a page is not larger than its compressed bytes can be, and a table not
///   larger than memory.
/// - *Options*: columns, rows and filters. Row groups whose statistics contradict a filter are not fetched.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::ParquetHandler;
///
/// let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let table = RecordBatch::try_from_iter([("id", ids)])?;
/// let handler = ParquetHandler::new().row_group_rows(100_000);
/// assert_eq!((handler.name(), handler.class()), ("parquet", TypeClass::Table));
/// assert!(handler.can_handle(&table.value_ref()));
/// # Ok::<(), arrow_schema::ArrowError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ParquetHandler {
    row_group_rows: usize,
}

impl ParquetHandler {
    /// The handler. A row group has up to 131,072 rows: few enough that a filter can leave most of a table unread,
    /// and enough that the footer of ten million rows of five columns fits into the entry.
    #[must_use]
    pub const fn new() -> Self {
        Self { row_group_rows: 128 * 1024 }
    }

    /// Sets the most rows of a row group, at least 1.
    #[must_use]
    pub const fn row_group_rows(mut self, rows: usize) -> Self {
        self.row_group_rows = if rows == 0 { 1 } else { rows };
        self
    }
}

impl Default for ParquetHandler {
    fn default() -> Self {
        Self::new()
    }
}

impl CacheHandler for ParquetHandler {
    fn name(&self) -> &str {
        "parquet"
    }

    fn description(&self) -> &str {
        "Tables as Parquet: small, columns and row groups read by ranges."
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
        let (schema, batches) = table_of("parquet", value)?;
        write::write(schema, batches, writer, context.compression, self.row_group_rows)
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        meta: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        check_target("parquet", target)?;
        into_target(target, read::read(reader, meta, options)?)
    }

    fn preferred_access(&self) -> Access {
        Access::Range
    }

    fn compresses(&self) -> bool {
        true
    }
}
