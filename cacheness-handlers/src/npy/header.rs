//! What precedes the elements of an array.

use cacheness_core::{Error, ErrorKind, Result};
use ndarray_npy::npy::header::Header;

/// NumPy 2 has no array of more dimensions.
pub(super) const MOST_DIMENSIONS: usize = 64;

/// NumPy reads no longer header either, unless it is told to (`max_header_size`).
const LONGEST: usize = 10_000;

/// A header of ours has two opening brackets. The parser takes stack for each.
const MOST_BRACKETS: usize = 16;

/// Parses the header, and returns it with the bytes that follow it.
pub(super) fn parse(bytes: &[u8]) -> Result<(Header, &[u8])> {
    let text = text_of(bytes).ok_or_else(|| not_an_array("the header is not complete"))?;
    if text.len() > LONGEST {
        let message = format!("the header has {} bytes; it may have {LONGEST}", text.len());
        return Err(not_an_array(&message));
    }
    if text.iter().filter(|&&byte| matches!(byte, b'(' | b'[' | b'{')).count() > MOST_BRACKETS {
        return Err(not_an_array("the header is no description of an array"));
    }
    let mut rest = bytes;
    let header = Header::from_reader(&mut rest)
        .map_err(|error| not_an_array("the header cannot be read").with_source(error))?;
    if header.shape.len() > MOST_DIMENSIONS {
        return Err(not_an_array("the header has too many dimensions"));
    }
    Ok((header, rest))
}

/// The Rust name of the element type.
pub(super) fn element_name(header: &Header) -> Option<&'static str> {
    let code = header.type_descriptor.as_string()?;
    // The first character is the byte order.
    Some(match code.strip_prefix(['<', '>', '|', '='])? {
        "f4" => "f32",
        "f8" => "f64",
        "i1" => "i8",
        "i2" => "i16",
        "i4" => "i32",
        "i8" => "i64",
        "u1" => "u8",
        "u2" => "u16",
        "u4" => "u32",
        "u8" => "u64",
        "b1" => "bool",
        _ => return None,
    })
}

pub(super) fn not_an_array(message: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("the stored bytes are no array: {message}"))
}

/// The description of the array. `None` where the bytes end before it does.
fn text_of(bytes: &[u8]) -> Option<&[u8]> {
    // Six bytes of magic, two of the version; version 1 has a length of two bytes, the later ones have four.
    let (len, start) = if *bytes.get(6)? == 1 {
        (u32::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?)), 10)
    } else {
        (u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?), 12)
    };
    bytes.get(start..)?.get(..usize::try_from(len).ok()?)
}
