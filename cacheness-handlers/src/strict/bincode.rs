//! bincode for every serde type.

use std::io::Write;

use cacheness_core::strict::{Bounds, Encoding, FormatError, Rules};
use cacheness_core::{BoxedValue, TypeTarget, ValueRef};

use super::format::{BY_POSITION, Format};
use super::handler::strict_handler;

strict_handler! {
    /// Stores serde values in the bincode format: values without field names, by code compiled for each type.
    ///
    /// - *Name* `bincode`, *class* serde.
    /// - *Claims* and *makes* every serde type, like `msgpack`, which comes before it: `PutOptions::handler("bincode")`
    ///   chooses it.
    /// - *Format*: one value as [bincode 2](https://docs.rs/bincode/2.0.1/bincode/spec/index.html) writes it with `config::standard()`.
    ///   Fields are found by their position, so a type whose fields are added, removed or
    ///   reordered no longer reads what was stored, or reads other values: give such a type a version with
    ///   `PutOptions::type_tag`. Bytes left over after the value are an error.
    #[doc = include_str!("by_position.md")]
    ///
    /// ```
    /// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
    /// use cacheness_handlers::BincodeHandler;
    ///
    /// let handler = BincodeHandler::new();
    /// assert_eq!((handler.name(), handler.class()), ("bincode", TypeClass::Serde));
    /// assert!(handler.can_handle(&(1_u8, "any serde type".to_owned()).value_ref()));
    /// ```
    BincodeHandler: Bincode
}

#[derive(Debug)]
struct Bincode;

impl Format for Bincode {
    const NAME: &'static str = "bincode";
    const DESCRIPTION: &'static str =
        "Any serde value as bincode: compact, read only by the very type that was put.";
    const RULES: Rules = BY_POSITION;

    fn encode(
        value: &ValueRef<'_>,
        encoding: &Encoding<'_>,
        writer: &mut dyn Write,
    ) -> Result<(), FormatError> {
        value.encode_bincode(writer, encoding)
    }

    fn decode(
        target: &TypeTarget,
        bounds: &Bounds,
        bytes: &[u8],
    ) -> Result<(BoxedValue, usize), FormatError> {
        target.decode_bincode(bytes, bounds)
    }
}
