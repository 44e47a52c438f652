//! Encoding and decoding any serde value in one format.

use std::cell::RefCell;
use std::error::Error as StdError;
use std::io::{self, BufWriter, Write};

use cacheness_core::{BlobReader, BoxedValue, Error, ErrorKind, ReadOptions, Result, TypeTarget, ValueRef};
use serde::de::{DeserializeSeed, Deserializer, Error as _};
use serde::ser::Serialize;

use super::Rules;
use super::encode::Encoding;
#[cfg(any(feature = "bincode", feature = "postcard"))]
use super::{Bounded, Bounds, Levels};
use crate::whole::{not_claimed, refuse_partial, wrong_target};

/// An error of a format's crate.
pub(crate) type FormatError = Box<dyn StdError + Send + Sync>;

/// A serde format.
pub(crate) trait Format {
    /// The name of its handler.
    const NAME: &'static str;
    const RULES: Rules;

    fn encode<T: Serialize>(value: &T, writer: &mut dyn Write) -> Result<(), FormatError>;

    /// Decodes one value, and says how many bytes follow it.
    fn decode<'de, S: DeserializeSeed<'de>>(
        seed: S,
        bytes: &'de [u8],
    ) -> Result<(S::Value, usize), FormatError>;
}

/// Writes a value.
pub(crate) fn encode<F: Format>(value: &ValueRef<'_>, writer: &mut dyn Write) -> Result<()> {
    let serde = value.as_serialize().ok_or_else(|| not_claimed(F::NAME, value.type_name()))?;
    let encoding = Encoding::new(F::RULES);
    let mut kept = KeepsError { writer, error: None };
    // Formats write a few bytes at a time.
    let mut buffered = BufWriter::new(&mut kept);
    let encoded = F::encode(&encoding.guard(serde), &mut buffered)
        .and_then(|()| buffered.flush().map_err(FormatError::from));
    // What is still buffered then belongs to a value that is not complete.
    drop(buffered.into_parts());
    let Err(error) = encoded else { return Ok(()) };
    if let Some(error) = kept.error {
        return Err(Error::io(error, "writing the encoded value"));
    }
    let (name, type_name) = (F::NAME, value.type_name());
    let why = encoding.take_refusal().unwrap_or_else(|| error.to_string());
    let message =
        format!("`{name}` cannot store this `{type_name}`: {why}; put it with the handler `msgpack`");
    Err(Error::new(ErrorKind::Encode, message))
}

/// Reads a value of the type asked for, which all of the bytes must be.
pub(crate) fn decode<F: Format>(bytes: &[u8], target: &TypeTarget) -> Result<BoxedValue> {
    if !target.is_serde() {
        return Err(wrong_target(F::NAME, target));
    }
    let type_name = target.type_name();
    #[cfg(any(feature = "bincode", feature = "postcard"))]
    let bounds = Bounds::new(F::RULES.max_depth, bytes.len());
    let kept = RefCell::new(None);
    let seed = TargetSeed {
        target,
        error: &kept,
        #[cfg(any(feature = "bincode", feature = "postcard"))]
        bounds: (F::RULES.levels == Levels::All).then_some(&bounds),
    };
    let (value, left) = F::decode(seed, bytes).map_err(|error| {
        #[cfg(any(feature = "bincode", feature = "postcard"))]
        if let Some(why) = bounds.take_refusal() {
            let message = format!("the stored bytes are no `{type_name}`: {why}");
            return Error::new(ErrorKind::Decode, message);
        }
        kept.take().unwrap_or_else(|| {
            let message = format!("the stored bytes are no `{type_name}`");
            Error::new(ErrorKind::Decode, message).with_source(error)
        })
    })?;
    if left > 0 {
        let message = format!("{left} bytes are left over after a `{type_name}`");
        return Err(Error::new(ErrorKind::Decode, message));
    }
    Ok(value)
}

/// The `get` of a handler of this format.
pub(crate) fn read<F: Format>(
    reader: &mut dyn BlobReader,
    target: &TypeTarget,
    options: &ReadOptions,
) -> Result<BoxedValue> {
    refuse_partial(F::NAME, options)?;
    decode::<F>(&reader.bytes()?, target)
}

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

/// Makes the type asked for out of a format's deserializer.
struct TargetSeed<'a> {
    target: &'a TypeTarget,
    error: &'a RefCell<Option<Error>>,
    #[cfg(any(feature = "bincode", feature = "postcard"))]
    bounds: Option<&'a Bounds>,
}

impl TargetSeed<'_> {
    fn make<'de, D: Deserializer<'de>>(&self, from: D) -> Result<BoxedValue, D::Error> {
        let mut from = <dyn erased_serde::Deserializer<'_>>::erase(from);
        self.target.deserialize(&mut from).map_err(|error| {
            let text = D::Error::custom(&error);
            *self.error.borrow_mut() = Some(error);
            text
        })
    }
}

impl<'de> DeserializeSeed<'de> for TargetSeed<'_> {
    type Value = BoxedValue;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<BoxedValue, D::Error> {
        #[cfg(any(feature = "bincode", feature = "postcard"))]
        if let Some(bounds) = self.bounds {
            return self.make(Bounded::new(from, bounds)).map_err(D::Error::custom);
        }
        self.make(from)
    }
}
