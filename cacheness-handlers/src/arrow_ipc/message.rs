//! Checks of one IPC message that the decoder leaves out: it slices by stored offsets and allocates by stored lengths.

use std::collections::VecDeque;

use arrow_ipc::{CompressionType, MetadataVersion, RecordBatch, root_as_message};
use arrow_schema::{ArrowError, DataType, Field, Schema, UnionMode};
use cacheness_core::{Error, Result};

use crate::table::{check_room, decode_error, not_a_table};

/// No table has as many rows. Up to here no arithmetic with lengths overflows.
const MOST_ROWS: i64 = 1 << 48;

/// An error of the verifier, which is no `std::error::Error` in this build of its crate.
pub(super) fn malformed(error: impl std::fmt::Debug) -> Error {
    decode_error(ArrowError::ParseError(format!("malformed metadata: {error:?}")))
}

/// The number of rows that a batch says it has.
pub(super) fn record_batch_rows(message: &[u8]) -> Result<u64> {
    let message = root_as_message(message).map_err(malformed)?;
    let batch = message.header_as_record_batch();
    check_len(batch.ok_or_else(|| not_a_table("a batch block holds something else"))?.length())
}

fn check_len(len: i64) -> Result<u64> {
    let possible = (0..=MOST_ROWS).contains(&len);
    if possible { Ok(len as u64) } else { Err(not_a_table(format!("a stored length is {len}"))) }
}

/// The schema by which the values of a dictionary are stored.
pub(super) fn dictionary_schema(schema: &Schema, id: i64) -> Result<Schema> {
    #[expect(deprecated, reason = "it is how the decoder finds the type")]
    let fields = schema.fields_with_dict_id(id);
    match fields.first().map(|field| field.data_type()) {
        Some(DataType::Dictionary(_, values)) => {
            Ok(Schema::new(vec![Field::new("", values.as_ref().clone(), true)]))
        }
        _ => Err(not_a_table(format!("no column has the dictionary {id}"))),
    }
}

/// Fails unless every buffer that a batch of this schema names lies in `body`, and no length is impossible.
pub(super) fn check_batch(
    schema: &Schema,
    batch: RecordBatch<'_>,
    version: MetadataVersion,
    body: &[u8],
) -> Result<()> {
    check_len(batch.length())?;
    let mut buffers = VecDeque::new();
    let mut claimed = 0_usize;
    for buffer in batch.buffers().into_iter().flatten() {
        let checked = check_buffer(buffer, batch.compression().map(|c| c.codec()), body)?;
        claimed = claimed.saturating_add(checked.claimed);
        buffers.push_back(checked);
    }
    check_room(claimed)?;

    let mut nodes = VecDeque::new();
    for node in batch.nodes().into_iter().flatten() {
        let len = check_len(node.length())?;
        if check_len(node.null_count())? > len {
            return Err(not_a_table("a column has more nulls than rows"));
        }
        nodes.push_back(len);
    }
    let variadic = batch.variadicBufferCounts().into_iter().flatten().collect();
    let mut walk = Walk { buffers, nodes, variadic, version };
    schema.fields().iter().try_for_each(|field| walk.field(field))
}

struct Stored {
    /// The length after decompression.
    len: usize,
    /// What decompression would allocate.
    claimed: usize,
}

fn check_buffer(buffer: &arrow_ipc::Buffer, codec: Option<CompressionType>, body: &[u8]) -> Result<Stored> {
    let outside = || not_a_table("a buffer does not lie inside its message");
    let offset = usize::try_from(buffer.offset()).map_err(|_| outside())?;
    let len = usize::try_from(buffer.length()).map_err(|_| outside())?;
    let end = offset.checked_add(len).ok_or_else(outside)?;
    let bytes = body.get(offset..end).ok_or_else(outside)?;
    // The format demands multiples of eight, and the decoder does not align all buffers that break it.
    if len > 0 && !bytes.as_ptr().addr().is_multiple_of(8) {
        return Err(not_a_table("a buffer does not begin at a multiple of eight"));
    }
    let Some(codec) = codec.filter(|_| len > 0) else { return Ok(Stored { len, claimed: 0 }) };

    let impossible = || not_a_table("a compressed buffer states an impossible length");
    let (prefix, compressed) = bytes.split_first_chunk::<8>().ok_or_else(impossible)?;
    // A block of LZ4 grows at most 255 times. A block of Zstandard has a header of 3 bytes and at most 128 KiB.
    let most_growth = if codec == CompressionType::LZ4_FRAME { 255 } else { 128 * 1024 / 3 };
    match i64::from_le_bytes(*prefix) {
        -1 => Ok(Stored { len: compressed.len(), claimed: 0 }),
        stated => {
            let stated = usize::try_from(stated).map_err(|_| impossible())?;
            if stated > compressed.len().saturating_mul(most_growth) {
                return Err(impossible());
            }
            Ok(Stored { len: stated, claimed: stated })
        }
    }
}

/// Takes the nodes and buffers of a batch in the order of its fields, as the decoder does, to find those that the
/// decoder takes for granted: buffers of unions, which it slices, and buffers that end inside a value.
struct Walk {
    buffers: VecDeque<Stored>,
    nodes: VecDeque<u64>,
    variadic: VecDeque<i64>,
    version: MetadataVersion,
}

impl Walk {
    fn field(&mut self, field: &Field) -> Result<()> {
        let rows = self.nodes.pop_front().ok_or_else(|| not_a_table("a batch has too few columns"))?;
        match field.data_type() {
            DataType::Null => Ok(()),
            DataType::Utf8 | DataType::Binary => {
                self.values_of(4)?;
                self.skip(1)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.values_of(8)?;
                self.skip(1)
            }
            DataType::Utf8View | DataType::BinaryView => {
                let count = self.variadic.pop_front().and_then(|count| usize::try_from(count).ok());
                let count = count.filter(|count| *count <= self.buffers.len());
                let count = count.ok_or_else(|| not_a_table("a count of buffers is impossible"))?;
                self.values_of(16)?;
                self.skip(count)
            }
            DataType::List(inner) | DataType::Map(inner, _) => {
                self.values_of(4)?;
                self.field(inner)
            }
            DataType::LargeList(inner) => {
                self.values_of(8)?;
                self.field(inner)
            }
            DataType::ListView(inner) => {
                self.values_of(4)?;
                self.multiple_of(4)?;
                self.field(inner)
            }
            DataType::LargeListView(inner) => {
                self.values_of(8)?;
                self.multiple_of(8)?;
                self.field(inner)
            }
            DataType::Dictionary(keys, _) => self.values_of(keys.primitive_width().unwrap_or(1)),
            DataType::FixedSizeList(inner, _) => {
                self.skip(1)?;
                self.field(inner)
            }
            DataType::Struct(fields) => {
                self.skip(1)?;
                fields.iter().try_for_each(|field| self.field(field))
            }
            DataType::RunEndEncoded(ends, values) => {
                self.field(ends)?;
                self.field(values)
            }
            DataType::Union(fields, mode) => {
                if self.version < MetadataVersion::V5 {
                    self.skip(1)?;
                }
                let type_ids = self.next()?;
                let short = (type_ids.len as u64) < rows;
                let offsets = if *mode == UnionMode::Dense { Some(self.next()?) } else { None };
                if short || offsets.is_some_and(|offsets| (offsets.len as u64) < 4 * rows) {
                    return Err(not_a_table("a buffer of a union is too short"));
                }
                fields.iter().try_for_each(|(_, field)| self.field(field))
            }
            other => self.values_of(other.primitive_width().unwrap_or(1)),
        }
    }

    /// Takes a buffer of nulls, and one of values that have this width.
    fn values_of(&mut self, width: usize) -> Result<()> {
        self.skip(1)?;
        self.multiple_of(width)
    }

    /// Takes a buffer of whole values. The decoder takes it for granted that no part of one is left over.
    fn multiple_of(&mut self, width: usize) -> Result<()> {
        if self.next()?.len.is_multiple_of(width) {
            return Ok(());
        }
        Err(not_a_table("a buffer ends inside a value"))
    }

    fn next(&mut self) -> Result<Stored> {
        self.buffers.pop_front().ok_or_else(|| not_a_table("a batch has too few buffers"))
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| self.next().map(drop))
    }
}
