//! What the decoder takes for granted: it calls itself for each level of a schema, and allocates for each page as much as
//! the page's header says.

use ::parquet::arrow::ARROW_SCHEMA_META_KEY;
use ::parquet::basic::Compression as Codec;
use ::parquet::file::metadata::ParquetMetaData;
use arrow_ipc::root_as_message;
use arrow_schema::{DataType, Field};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cacheness_core::Result;

use super::thrift::{Reader, Type};
use crate::table::{check_names, check_room, decode_error, not_a_table};

/// How deep a schema may nest. A list is three levels in Parquet, and the Arrow schema, which is kept beside it, nests
/// at most a third of this.
const MOST_LEVELS: usize = 256;

/// Fails unless a footer has the fields that the decoder reads in the types in which it reads them, no list claims more than it
/// holds, and the schema nests within bounds.
pub(super) fn check_footer(footer: &[u8]) -> Result<()> {
    let mut reader = Reader { bytes: footer };
    reader.check(file_metadata)?;
    if !reader.bytes.is_empty() {
        return Err(not_a_table("something follows the footer"));
    }
    let mut reader = Reader { bytes: footer };
    // The decoder reads fields in the order of the bytes and takes the first schema that it meets, so nothing may come
    // before it but the version.
    let malformed = || not_a_table("the footer does not begin with a schema");
    if reader.field(0)? != Some((1, Type::I32)) {
        return Err(malformed());
    }
    reader.i32()?;
    if reader.field(1)? != Some((2, Type::List)) {
        return Err(malformed());
    }
    // How many elements of each level are still to come, from the outermost in.
    let mut open = vec![1_usize];
    let elements = reader.structs()?;
    for left in (0..elements).rev() {
        let mut children = 0;
        reader.numbers(schema_element, |number, value| {
            if number == CHILDREN {
                children = value;
            }
        })?;
        let children = usize::try_from(children).ok().filter(|children| *children <= left);
        let children =
            children.ok_or_else(|| not_a_table("an element of the schema has impossible parts"))?;
        while open.last() == Some(&0) {
            open.pop();
        }
        match open.last_mut() {
            Some(siblings) => *siblings -= 1,
            None => return Err(not_a_table("the schema has more than one root")),
        }
        open.push(children);
        if open.len() > MOST_LEVELS {
            return Err(not_a_table(format!("the schema nests deeper than {MOST_LEVELS} levels")));
        }
    }
    Ok(())
}

/// Fails where the Arrow schema that is kept in the footer says more than it holds.
pub(super) fn check_kept_schema(metadata: &ParquetMetaData) -> Result<()> {
    let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    for text in
        entries.filter(|entry| entry.key == ARROW_SCHEMA_META_KEY).filter_map(|entry| entry.value.as_ref())
    {
        let bytes = BASE64_STANDARD.decode(text).map_err(decode_error)?;
        let message = bytes.strip_prefix(&[0xff; 4]).and_then(|rest| rest.get(4..)).unwrap_or(&bytes);
        let message = root_as_message(message).map_err(|_| not_a_table("the Arrow schema is malformed"))?;
        if let Some(schema) = message.header_as_schema() {
            check_names(schema, bytes.len())?;
        }
    }
    Ok(())
}

/// The least bytes that a row of a column of this type takes in memory.
pub(super) fn least_width(data_type: &DataType) -> usize {
    let of = |field: &Field| least_width(field.data_type());
    match data_type {
        DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..) => 4,
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) | DataType::ListView(_) => 8,
        DataType::Utf8View | DataType::BinaryView | DataType::LargeListView(_) => 16,
        DataType::FixedSizeBinary(len) => usize::try_from(*len).unwrap_or(0),
        DataType::FixedSizeList(field, len) => of(field).saturating_mul(usize::try_from(*len).unwrap_or(0)),
        DataType::Dictionary(keys, _) => least_width(keys),
        DataType::Struct(fields) => fields.iter().map(|field| of(field)).fold(0, usize::saturating_add),
        other => other.primitive_width().unwrap_or(0),
    }
}

/// The fields of a footer as far as the decoder knows them, by `parquet.thrift` of the format's version 2.12.
fn file_metadata(path: &[i16]) -> Option<Type> {
    match path {
        [1] => Some(Type::I32),
        [3] => Some(Type::I64),
        [6 | 9] => Some(Type::Binary),
        [2 | 4 | 5 | 7] => Some(Type::List),
        [8] | [2 | 4 | 5 | 7, 0] => Some(Type::Struct),
        [2, 0, element @ ..] => schema_element(element),
        [4, 0, group @ ..] => row_group(group),
        [5, 0, 1 | 2] => Some(Type::Binary),
        [7, 0, 1..=3] => Some(Type::Struct),
        _ => None,
    }
}

fn row_group(path: &[i16]) -> Option<Type> {
    match path {
        [1 | 4] => Some(Type::List),
        [2 | 3 | 5 | 6] => Some(Type::I64),
        [7] => Some(Type::I16),
        [1 | 4, 0] => Some(Type::Struct),
        [1, 0, chunk @ ..] => column_chunk(chunk),
        // By what the rows are sorted.
        [4, 0, 1] => Some(Type::I32),
        [4, 0, 2 | 3] => Some(Type::Bool),
        _ => None,
    }
}

fn column_chunk(path: &[i16]) -> Option<Type> {
    match path {
        [1 | 9] => Some(Type::Binary),
        [2 | 4 | 6] => Some(Type::I64),
        [5 | 7] => Some(Type::I32),
        [3 | 8] => Some(Type::Struct),
        [3, 1 | 4 | 15] => Some(Type::I32),
        [3, 5..=7 | 9..=11 | 14] => Some(Type::I64),
        [3, 2 | 3 | 8 | 13] => Some(Type::List),
        [3, 12 | 16 | 17] | [3, 8 | 13, 0] => Some(Type::Struct),
        [3, 2, 0] | [3, 13, 0, 1..=3] => Some(Type::I32),
        [3, 3, 0] | [3, 8, 0, 1 | 2] => Some(Type::Binary),
        // Statistics, of values, of sizes and of places.
        [3, 12, 1 | 2 | 5 | 6] => Some(Type::Binary),
        [3, 12, 3 | 4 | 9] => Some(Type::I64),
        [3, 12, 7 | 8] => Some(Type::Bool),
        [3, 16, 1] | [3, 16, 2 | 3, 0] => Some(Type::I64),
        [3, 16, 2 | 3] | [3, 17, 2] => Some(Type::List),
        [3, 17, 1] => Some(Type::Struct),
        [3, 17, 1, 1..=8] => Some(Type::Double),
        [3, 17, 2, 0] => Some(Type::I32),
        _ => None,
    }
}

const CHILDREN: i16 = 5;

/// The fields of an element of the schema.
fn schema_element(path: &[i16]) -> Option<Type> {
    match path {
        [4] => Some(Type::Binary),
        [1..=9] => Some(Type::I32),
        // The logical type: a struct in a struct, mostly without fields.
        [10] => Some(Type::Struct),
        // Decimals have a scale and a precision.
        [10, 5, 1 | 2] => Some(Type::I32),
        // Times and points in time have a unit, each a struct without fields.
        [10, 7 | 8, 1] => Some(Type::Bool),
        [10, 7 | 8, 2] | [10, 7 | 8, 2, 1..=3] => Some(Type::Struct),
        // Integers have a width and a sign.
        [10, 10, 1] => Some(Type::Byte),
        [10, 10, 2] => Some(Type::Bool),
        [10, 1..=15] => Some(Type::Struct),
        _ => None,
    }
}

/// Fails unless every page of a column chunk can be as large as it says. Returns how much is allocated for its pages at once.
pub(super) fn check_pages(chunk: &[u8], codec: Codec) -> Result<usize> {
    let most_growth = match codec {
        Codec::UNCOMPRESSED => return Ok(0),
        // A block of LZ4 grows at most 255 times. One of Zstandard has a header of 3 bytes and at most 128 KiB.
        Codec::LZ4_RAW => 255,
        Codec::ZSTD(_) => 128 * 1024 / 3,
        other => return Err(not_a_table(format!("this handler does not compress by {other}"))),
    };
    let impossible = || not_a_table("a page states an impossible length");
    let (mut dictionary, mut largest) = (0, 0);
    let mut reader = Reader { bytes: chunk };
    while !reader.bytes.is_empty() {
        let (mut page_type, mut claimed, mut stored) = (-1, -1, -1);
        reader.numbers(page_header, |number, value| match number {
            1 => page_type = value,
            2 => claimed = value,
            3 => stored = value,
            _ => {}
        })?;
        let claimed = usize::try_from(claimed).map_err(|_| impossible())?;
        let stored = usize::try_from(stored).map_err(|_| impossible())?;
        // The levels of a page of version 2 are not compressed, so what is stored holds them in any case.
        if claimed > stored.saturating_mul(most_growth) {
            return Err(impossible());
        }
        reader.skip(stored)?;
        let place = if page_type == DICTIONARY { &mut dictionary } else { &mut largest };
        *place = claimed.max(*place);
    }
    Ok(dictionary + largest)
}

const DICTIONARY: i32 = 2;

/// The fields of the header of a page.
fn page_header(path: &[i16]) -> Option<Type> {
    match path {
        [1..=4] => Some(Type::I32),
        // Of a page of data, an index, a dictionary, and a page of data of version 2.
        [5..=8] => Some(Type::Struct),
        [5, 1..=4] | [7, 1..=2] | [8, 1..=6] => Some(Type::I32),
        [7, 3] | [8, 7] => Some(Type::Bool),
        // Statistics: the least and the greatest value in two ways, counts, and whether they are exact.
        [5, 5] | [8, 8] => Some(Type::Struct),
        [5, 5, 1 | 2 | 5 | 6] | [8, 8, 1 | 2 | 5 | 6] => Some(Type::Binary),
        [5, 5, 3 | 4 | 9] | [8, 8, 3 | 4 | 9] => Some(Type::I64),
        [5, 5, 7 | 8] | [8, 8, 7 | 8] => Some(Type::Bool),
        _ => None,
    }
}

/// Fails where so many rows of values that have at least so many bytes are more than memory can hold. A page of a few
/// bytes may repeat one value any number of times.
pub(super) fn check_rows(rows: u64, least_width: usize) -> Result<()> {
    let claimed = usize::try_from(rows).unwrap_or(usize::MAX).saturating_mul(least_width);
    check_room(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of a column is a struct to the decoder whatever its type says. Where it were skipped as another one, what the
    /// decoder reads after it would not have been looked at: here, a list of 2,147,483,647 truth values.
    #[test]
    fn a_footer_that_the_decoder_would_read_otherwise_is_refused() {
        let before = [0x15, 2, 0x19, 0x2c, 0x48, 1, b's', 0x15, 2, 0, 0x15, 2, 0x25, 0, 0x18, 1, b'a', 0];
        let after = [0x16, 0, 0x19, 0x0c, 0x39];
        let whole = [&before[..], &after, &[0x1c, 0x3c, 0, 0, 0]].concat();
        check_footer(&whole).unwrap();
        let hidden = [0x88, 0, 0, 0x89, 0xf1, 0xff, 0xff, 0xff, 0xff, 7, 0];
        let unlike = [&before[..], &after, &[0x2c, 0x31, 0, 0], &hidden].concat();
        check_footer(&unlike).unwrap_err();
        check_footer(&[&whole[..], &hidden].concat()).unwrap_err();
    }
}
