//! postcard for every serde type.

use std::io::{BufWriter, Write};

use cacheness_core::strict::{Bounds, Encoding, FormatError, Rules};
use cacheness_core::{BoxedValue, TypeTarget, ValueRef};

use super::erased;
use super::format::{BY_POSITION, Format};
use super::handler::strict_handler;

strict_handler! {
    /// Stores serde values in the postcard format: values without field names.
    ///
    /// - *Name* `postcard`, *class* serde.
    /// - *Claims* and *makes* every serde type, like `msgpack`, which comes before it: `PutOptions::handler("postcard")`
    ///   chooses it.
    /// - *Format*: one value as the [postcard specification](https://postcard.jamesmunns.com) says.
    ///   Fields are found by their position, so a type whose fields are added, removed or
    ///   reordered no longer reads what was stored, or reads other values: give such a type a version with
    ///   `PutOptions::type_tag`. Bytes left over after the value are an error.
    #[doc = include_str!("by_position.md")]
    ///
    /// ```
    /// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
    /// use cacheness_handlers::PostcardHandler;
    ///
    /// let handler = PostcardHandler::new();
    /// assert_eq!((handler.name(), handler.class()), ("postcard", TypeClass::Serde));
    /// assert!(handler.can_handle(&(1_u8, "any serde type".to_owned()).value_ref()));
    /// ```
    PostcardHandler: Postcard
}

#[derive(Debug)]
struct Postcard;

impl Format for Postcard {
    const NAME: &'static str = "postcard";
    const DESCRIPTION: &'static str =
        "Any serde value as postcard: the most compact, read only by the very type that was put.";
    const RULES: Rules = BY_POSITION;

    fn encode(
        value: &ValueRef<'_>,
        encoding: &Encoding<'_>,
        writer: &mut dyn Write,
    ) -> Result<(), FormatError> {
        let mut buffered = BufWriter::new(writer);
        let encoded = match ::postcard::to_io(&erased::guard(value, encoding)?, &mut buffered) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        };
        erased::finish(buffered, encoded)
    }

    fn decode(
        target: &TypeTarget,
        bounds: &Bounds,
        bytes: &[u8],
    ) -> Result<(BoxedValue, usize), FormatError> {
        let mut from = ::postcard::Deserializer::from_bytes(bytes);
        let value = erased::make(target, bounds, &mut from)?;
        Ok((value, from.finalize()?.len()))
    }
}
