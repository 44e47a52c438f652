//! The footer of an IPC file, checked before anything is read by it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, MessageHeader, MetadataVersion, root_as_footer, root_as_message};
use arrow_schema::SchemaRef;
use cacheness_core::Result;

use super::message::{check_batch, dictionary_schema, malformed, record_batch_rows};
use crate::table::{check_names, decode_error, not_a_table};

const MAGIC: &[u8] = b"ARROW1";
/// The length of the footer and the magic number.
const TAIL: usize = 4 + MAGIC.len();

/// An IPC file whose blocks are known to lie inside it.
pub(super) struct IpcFile {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<BatchBlock>,
    version: MetadataVersion,
    dictionaries: Vec<(Block, Buffer)>,
}

/// One batch of a file.
pub(super) struct BatchBlock {
    pub(super) rows: u64,
    block: Block,
    bytes: Buffer,
}

impl IpcFile {
    pub(super) fn open(bytes: &Buffer) -> Result<Self> {
        let slice = bytes.as_slice();
        let tail = slice.last_chunk::<TAIL>().filter(|_| slice.starts_with(MAGIC));
        let tail = tail.ok_or_else(|| not_a_table("the stored bytes are no Arrow IPC file"))?;
        let footer_len = read_footer_length(*tail).map_err(decode_error)?;
        let end = slice.len() - TAIL;
        let start =
            end.checked_sub(footer_len).ok_or_else(|| not_a_table("the footer is longer than the file"))?;

        let footer = root_as_footer(&slice[start..end]).map_err(malformed)?;
        let schema = footer.schema().ok_or_else(|| not_a_table("the footer has no schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(not_a_table("the file was written with another byte order"));
        }
        check_names(schema, footer_len)?;
        let schema: SchemaRef = Arc::new(try_fb_to_schema(schema).map_err(decode_error)?);
        let version = footer.version();

        let mut dictionaries = Vec::new();
        for block in footer.dictionaries().into_iter().flatten() {
            dictionaries.push((*block, block_bytes(bytes, block, start)?));
        }
        let mut batches = Vec::new();
        for block in footer.recordBatches().into_iter().flatten() {
            let bytes = block_bytes(bytes, block, start)?;
            batches.push(BatchBlock {
                rows: record_batch_rows(message_bytes(&bytes)?)?,
                block: *block,
                bytes,
            });
        }
        Ok(Self { schema, batches, version, dictionaries })
    }

    /// A decoder of these columns, which has read the dictionaries.
    pub(super) fn decoder(&self, columns: Vec<usize>) -> Result<FileDecoder> {
        let mut decoder = FileDecoder::new(self.schema.clone(), self.version);
        if columns.len() < self.schema.fields().len() {
            decoder = decoder.with_projection(columns);
        }
        for (block, bytes) in &self.dictionaries {
            let message = root_as_message(message_bytes(bytes)?).map_err(malformed)?;
            let batch = message.header_as_dictionary_batch();
            let batch = batch.ok_or_else(|| not_a_table("a dictionary block holds something else"))?;
            let values = batch.data().ok_or_else(|| not_a_table("a dictionary has no values"))?;
            let schema = dictionary_schema(&self.schema, batch.id())?;
            check_batch(&schema, values, message.version(), body(block, bytes))?;
            decoder.read_dictionary(block, bytes).map_err(decode_error)?;
        }
        Ok(decoder)
    }

    pub(super) fn read_batch(&self, decoder: &FileDecoder, block: &BatchBlock) -> Result<RecordBatch> {
        let message = root_as_message(message_bytes(&block.bytes)?).map_err(malformed)?;
        let batch =
            message.header_as_record_batch().filter(|_| message.header_type() == MessageHeader::RecordBatch);
        let batch = batch.ok_or_else(|| not_a_table("a batch block holds something else"))?;
        check_batch(&self.schema, batch, message.version(), body(&block.block, &block.bytes))?;
        let batch = decoder.read_record_batch(&block.block, &block.bytes).map_err(decode_error)?;
        batch.ok_or_else(|| not_a_table("a batch block is empty"))
    }
}

/// The bytes of a block: the message's prefix of eight bytes, the message, the body.
fn block_bytes(file: &Buffer, block: &Block, footer: usize) -> Result<Buffer> {
    let outside = || not_a_table("a block does not lie inside the file");
    let offset = usize::try_from(block.offset()).map_err(|_| outside())?;
    let metadata = usize::try_from(block.metaDataLength()).map_err(|_| outside())?;
    let body = usize::try_from(block.bodyLength()).map_err(|_| outside())?;
    let len = metadata.checked_add(body).ok_or_else(outside)?;
    if offset.checked_add(len).is_none_or(|end| end > footer) {
        return Err(outside());
    }
    Ok(file.slice_with_length(offset, len))
}

/// A block's message, without its prefix. The decoder skips the prefix in the same way.
fn message_bytes(block: &Buffer) -> Result<&[u8]> {
    const CONTINUATION: [u8; 4] = [0xff; 4];
    let bytes = block.as_slice();
    let message = if bytes.starts_with(&CONTINUATION) { bytes.get(8..) } else { bytes.get(4..) };
    message.ok_or_else(|| not_a_table("a block is too short for a message"))
}

fn body<'a>(block: &Block, bytes: &'a Buffer) -> &'a [u8] {
    // The length was found to be positive and inside the block when the file was opened.
    usize::try_from(block.metaDataLength())
        .ok()
        .and_then(|start| bytes.as_slice().get(start..))
        .unwrap_or_default()
}
