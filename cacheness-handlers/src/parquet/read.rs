//! Reading a table by the ranges of its column chunks.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::Compression as Codec;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader};
use ::parquet::file::reader::{ChunkReader, Length};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use bytes::{Buf, Bytes};
use cacheness_core::{BlobReader, FormatMeta, ReadOptions, Result};

use super::bounds::{check_footer, check_kept_schema, check_pages, check_rows, least_width};
use super::prune::may_match;
use crate::table::{ReadTable, Selection, catch_panics, check_room, decode_error, not_a_table};

/// The name in the file's metadata of the rows of each batch of a list, as decimal numbers with commas between.
pub(super) const BATCH_ROWS: &str = "cacheness.batch_rows";
/// The length of the footer and the magic number.
pub(super) const FOOTER_TAIL: usize = 8;

/// How many rows are decoded at once. What is allocated ahead follows this number, never a stored one.
const DECODED_ROWS: usize = 64 * 1024;

pub(super) fn read(
    reader: &mut dyn BlobReader,
    meta: &FormatMeta,
    options: &ReadOptions,
) -> Result<ReadTable> {
    let footer = read_footer(reader, meta)?;
    let blob_len = reader.len();
    let table = catch_panics(|| open(&footer, blob_len))?;
    let selection = Selection::new(&table.schema, options)?;
    let plan = catch_panics(|| plan(&table, &selection))?;

    let ranges: Vec<_> = plan.chunks.iter().map(|chunk| chunk.range.clone()).collect();
    reader.prefetch(&ranges)?;
    let mut chunks = Vec::with_capacity(plan.chunks.len());
    // Of each column the pages of one row group are decoded at once.
    let mut claimed = HashMap::new();
    for chunk in &plan.chunks {
        let bytes = reader.read_at(chunk.range.clone())?;
        let of_pages = check_pages(&bytes, chunk.codec)?;
        let most = claimed.entry(chunk.leaf).or_insert(0);
        *most = of_pages.max(*most);
        chunks.push((chunk.range.start, bytes));
    }
    check_room(claimed.into_values().fold(0, usize::saturating_add))?;
    chunks.sort_by_key(|(start, _)| *start);
    let chunks = Chunks { len: blob_len, chunks };
    catch_panics(|| decode(table, &selection, plan, chunks))
}

fn read_footer(reader: &mut dyn BlobReader, meta: &FormatMeta) -> Result<Bytes> {
    if !meta.as_bytes().is_empty() {
        return Ok(meta.as_bytes().clone());
    }
    let too_short = || not_a_table("the stored bytes are too short for Parquet");
    let end = reader.len().checked_sub(FOOTER_TAIL as u64).ok_or_else(too_short)?;
    let tail = reader.read_at(end..reader.len())?;
    let tail = FooterTail::try_new(tail.first_chunk().ok_or_else(too_short)?).map_err(decode_error)?;
    let start = end.checked_sub(tail.metadata_length() as u64).ok_or_else(too_short)?;
    reader.read_at(start..end)
}

struct Table {
    arrow: ArrowReaderMetadata,
    /// The schema that was put, without what this handler added to its metadata.
    schema: SchemaRef,
    /// The rows of each batch that was put; `None` for one batch.
    batch_rows: Option<Vec<u64>>,
}

fn open(footer: &[u8], blob_len: u64) -> Result<Table> {
    check_footer(footer)?;
    let metadata = ParquetMetaDataReader::decode_metadata(footer).map_err(decode_error)?;
    let rows = check(&metadata, blob_len)?;
    let batch_rows = batch_rows(&metadata)?;
    check_kept_schema(&metadata)?;
    let arrow =
        ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(decode_error)?;
    let mut schema = Schema::clone(arrow.schema());
    schema.metadata.remove(BATCH_ROWS);
    if let Some(of_batches) = batch_rows.as_ref().filter(|_| !schema.fields().is_empty()) {
        let sum = of_batches.iter().try_fold(0_u64, |sum, rows| sum.checked_add(*rows));
        if sum != Some(rows) {
            return Err(not_a_table("the rows of the batches do not add up"));
        }
    }
    Ok(Table { arrow, schema: schema.into(), batch_rows })
}

/// Fails unless all column chunks lie inside the blob, which the decoder takes for granted. Returns the number of rows.
fn check(metadata: &ParquetMetaData, blob_len: u64) -> Result<u64> {
    let mut rows = 0_u64;
    for group in metadata.row_groups() {
        let more = u64::try_from(group.num_rows()).ok();
        rows = more
            .and_then(|more| rows.checked_add(more))
            .filter(|rows| *rows < 1 << 48)
            .ok_or_else(|| not_a_table("a number of rows is impossible"))?;
        for column in group.columns() {
            chunk_range(column)
                .filter(|range| range.end <= blob_len)
                .ok_or_else(|| not_a_table("a column chunk does not lie inside the blob"))?;
        }
    }
    Ok(rows)
}

fn chunk_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let start = u64::try_from(start).ok()?;
    let len = u64::try_from(column.compressed_size()).ok()?;
    Some(start..start.checked_add(len)?)
}

fn batch_rows(metadata: &ParquetMetaData) -> Result<Option<Vec<u64>>> {
    let mut entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let Some(text) = entries.find(|entry| entry.key == BATCH_ROWS).and_then(|entry| entry.value.as_deref())
    else {
        return Ok(None);
    };
    if text.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let rows: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
    let rows = rows.map_err(decode_error)?;
    let sum = rows.iter().try_fold(0_u64, |sum, rows| sum.checked_add(*rows));
    sum.filter(|sum| *sum < 1 << 48).ok_or_else(|| not_a_table("a number of rows is impossible"))?;
    Ok(Some(rows))
}

/// What is to be read.
struct Plan {
    columns: ProjectionMask,
    row_groups: Vec<usize>,
    /// Which rows of these row groups, counted over all of them. The decoder could skip the others itself, but does
    /// not end where damaged bytes hold too few.
    rows: Range<u64>,
    /// The column chunks that hold them.
    chunks: Vec<Chunk>,
}

struct Chunk {
    leaf: usize,
    range: Range<u64>,
    codec: Codec,
}

fn plan(table: &Table, selection: &Selection<'_>) -> Result<Plan> {
    let metadata = table.arrow.metadata();
    let columns = ProjectionMask::roots(table.arrow.parquet_schema(), selection.read.iter().copied());
    let may_match = may_match(&table.arrow, selection);
    let mut row_groups = Vec::new();
    let mut chunks = Vec::new();
    let mut first = 0_u64;
    // The rows of all groups up to the current one that are read.
    let mut read = 0_u64;
    let mut wanted_rows: Option<Range<u64>> = None;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        // `check` has seen that all numbers of rows are positive and their sum is small.
        let len = group.num_rows() as u64;
        let rows = selection.rows_within(first, len);
        first += len;
        if rows.is_empty() || !may_match.get(index).copied().unwrap_or(true) {
            continue;
        }
        row_groups.push(index);
        // Only the first group is cut at its start and only the last at its end, so the rows stay one range.
        let start = wanted_rows.map_or(read + rows.start, |before| before.start);
        wanted_rows = Some(start..read + rows.end);
        read += len;
        let wanted = group.columns().iter().enumerate().filter(|(leaf, _)| columns.leaf_included(*leaf));
        chunks.extend(wanted.filter_map(|(leaf, column)| {
            Some(Chunk { leaf, range: chunk_range(column)?, codec: column.compression() })
        }));
    }
    let rows = wanted_rows.unwrap_or(0..0);
    if selection.filter.is_empty() {
        // All of them are in memory in the end.
        let width = selection.read.iter().map(|index| least_width(table.schema.field(*index).data_type()));
        check_rows(rows.end - rows.start, width.fold(0, usize::saturating_add))?;
    }
    Ok(Plan { columns, row_groups, rows, chunks })
}

fn decode(table: Table, selection: &Selection<'_>, plan: Plan, chunks: Chunks) -> Result<ReadTable> {
    let schema = selection.schema.clone();
    if table.schema.fields().is_empty() {
        return Ok(without_columns(schema, table.batch_rows, selection));
    }
    let mut batches = Vec::new();
    if !plan.row_groups.is_empty() {
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, table.arrow.clone())
            .with_projection(plan.columns)
            .with_row_groups(plan.row_groups)
            .with_batch_size(DECODED_ROWS)
            .build()
            .map_err(decode_error)?;
        let mut first = 0_u64;
        for batch in reader {
            let batch = batch.map_err(decode_error)?;
            let len = batch.num_rows() as u64;
            let start = plan.rows.start.saturating_sub(first).min(len);
            let end = plan.rows.end.saturating_sub(first).min(len);
            if start < end {
                let wanted = batch.slice(start as usize, (end - start) as usize);
                batches.push(selection.filter_and_project(wanted)?);
            }
            first += len;
            if first >= plan.rows.end {
                break;
            }
        }
    }
    if selection.is_partial {
        return Ok(ReadTable { schema, batches, keep_empty: false });
    }
    let rows = table.batch_rows.unwrap_or_else(|| vec![batches.iter().map(|b| b.num_rows() as u64).sum()]);
    let batches = cut(&schema, batches, &rows)?;
    Ok(ReadTable { schema, batches, keep_empty: true })
}

/// A table without columns: all there is are numbers of rows.
fn without_columns(schema: SchemaRef, batch_rows: Option<Vec<u64>>, selection: &Selection<'_>) -> ReadTable {
    let mut first = 0_u64;
    let mut batches = Vec::new();
    for rows in batch_rows.unwrap_or_default() {
        let within = selection.rows_within(first, rows);
        first += rows;
        let options = RecordBatchOptions::new().with_row_count(Some((within.end - within.start) as usize));
        // Without columns there is nothing that could contradict the number of rows.
        batches.extend(RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options));
    }
    ReadTable { schema, batches, keep_empty: !selection.is_partial }
}

/// Joins and cuts batches, so that they have these numbers of rows.
fn cut(schema: &SchemaRef, batches: Vec<RecordBatch>, rows: &[u64]) -> Result<Vec<RecordBatch>> {
    let mut decoded = batches.into_iter();
    let mut rest = RecordBatch::new_empty(schema.clone());
    let mut cut = Vec::with_capacity(rows.len());
    for wanted in rows {
        let mut missing = usize::try_from(*wanted).map_err(decode_error)?;
        let mut parts = Vec::new();
        while missing > 0 {
            if rest.num_rows() == 0 {
                rest = decoded.next().ok_or_else(|| not_a_table("the table has too few rows"))?;
            }
            let taken = missing.min(rest.num_rows());
            parts.push(rest.slice(0, taken));
            rest = rest.slice(taken, rest.num_rows() - taken);
            missing -= taken;
        }
        cut.push(match parts.len() {
            1 => parts.swap_remove(0),
            _ => concat_batches(schema, &parts).map_err(decode_error)?,
        });
    }
    Ok(cut)
}

/// The column chunks that were fetched, in the order of their offsets.
struct Chunks {
    len: u64,
    chunks: Vec<(u64, Bytes)>,
}

impl Chunks {
    /// The fetched bytes from `start` to the end of their chunk.
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let after = self.chunks.partition_point(|(first, _)| *first <= start);
        let found =
            after.checked_sub(1).and_then(|index| self.chunks.get(index)).and_then(|(first, bytes)| {
                let skipped =
                    usize::try_from(start - first).ok().filter(|skipped| *skipped <= bytes.len())?;
                Some(bytes.slice(skipped..))
            });
        found.ok_or_else(|| ParquetError::EOF(format!("the bytes at {start} are of no column asked for")))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Chunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("a page at {start} is longer than its column chunk")));
        }
        Ok(bytes.slice(..length))
    }
}
