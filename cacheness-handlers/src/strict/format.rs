//! Encoding and decoding any serde value in one format.

use std::io::{self, Write};

#[cfg(any(feature = "bincode", feature = "postcard"))]
use cacheness_core::strict::Fields;
use cacheness_core::strict::{Bounds, Encoding, FormatError, Levels, Rules};
use cacheness_core::{BoxedValue, Error, ErrorKind, Result, TypeTarget, ValueRef};

use crate::whole::wrong_target;

/// The rules of formats that do not describe themselves: the bytes say nothing but the values, and only the type knows
/// which values they are.
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(super) const BY_POSITION: Rules = Rules {
    max_depth: 256,
    levels: Levels::All,
    fields: Fields::ByPosition,
    non_finite_floats: true,
    nested_options: true,
};

/// A serde format.
pub(super) trait Format {
    /// The name of its handler.
    const NAME: &'static str;
    /// What its handler says of itself.
    const DESCRIPTION: &'static str;
    const RULES: Rules;

    fn encode(
        value: &ValueRef<'_>,
        encoding: &Encoding<'_>,
        writer: &mut dyn Write,
    ) -> Result<(), FormatError>;

    /// Decodes one value, and says how many bytes follow it.
    fn decode(target: &TypeTarget, bounds: &Bounds, bytes: &[u8])
    -> Result<(BoxedValue, usize), FormatError>;
}

/// Writes a value.
pub(super) fn encode<F: Format>(
    value: &ValueRef<'_>,
    encoding: &Encoding<'_>,
    writer: &mut dyn Write,
) -> Result<()> {
    let mut kept = KeepsError { writer, error: None };
    let Err(error) = F::encode(value, encoding, &mut kept) else { return Ok(()) };
    if let Some(error) = kept.error {
        return Err(Error::io(error, "writing the encoded value"));
    }
    let (name, type_name) = (F::NAME, value.type_name());
    let why = encoding.take_refusal().unwrap_or_else(|| error.to_string());
    let message =
        format!("`{name}` cannot store this `{type_name}`: {why}; put it with the handler `msgpack`");
    Err(Error::new(ErrorKind::Encode, message))
}

/// What bounds a value in so many bytes.
pub(super) fn bounds<F: Format>(len: usize) -> Bounds {
    match F::RULES.levels {
        Levels::All => Bounds::new(F::RULES.max_depth, len),
        // The parser of a text counts brackets itself, and takes no length from it.
        Levels::Brackets => Bounds::none(),
    }
}

/// Reads a value of the type asked for, which all of the bytes must be.
pub(super) fn decode<F: Format>(bytes: &[u8], target: &TypeTarget, bounds: &Bounds) -> Result<BoxedValue> {
    if !target.is_serde() {
        return Err(wrong_target(F::NAME, target));
    }
    let type_name = target.type_name();
    let (value, left) = F::decode(target, bounds, bytes).map_err(|error| {
        // What a decoder says may quote the value. As a source it stays out of logs.
        let why = bounds.take_refusal().map_or(error, FormatError::from);
        Error::new(ErrorKind::Decode, format!("the stored bytes are no `{type_name}`"))
            .with_source(Unread(why))
    })?;
    if left > 0 {
        let message = format!("{left} bytes are left over after a `{type_name}`");
        return Err(Error::new(ErrorKind::Decode, message));
    }
    Ok(value)
}

/// An error of a format's crate as a source of ours.
#[derive(Debug)]
struct Unread(FormatError);

impl std::fmt::Display for Unread {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for Unread {}

/// Keeps the error of a writer, because formats drop it.
struct KeepsError<'a> {
    writer: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl KeepsError<'_> {
    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                // The caller tries again.
                return error;
            }
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }
}

impl Write for KeepsError<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes);
        self.keep(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.writer.flush();
        self.keep(flushed)
    }
}
