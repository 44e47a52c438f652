//! JSON for every serde type.

use std::io::{BufWriter, Write};

use cacheness_core::strict::{Bounds, Encoding, Fields, FormatError, Levels, Rules};
use cacheness_core::{BoxedValue, TypeTarget, ValueRef};

use super::erased;
use super::format::Format;
use super::handler::strict_handler;

strict_handler! {
    /// Stores serde values as JSON text, for other programs and for people to read.
    ///
    /// - *Name* `json`, *class* serde.
    /// - *Claims* and *makes* every serde type, like `msgpack`, which comes before it: `PutOptions::handler("json")`
    ///   chooses it.
    /// - *Format*: one JSON text as [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259) says, in UTF-8 without spaces.
    ///   Anything but white space after it is an error.
    /// - *Refused* when it is put, because JSON has no way to write it: NaN and the infinities, `Some(None)` and
    ///   `Some(())`, maps whose keys are not text, numbers, characters or booleans, and arrays and objects nested deeper
    ///   than 127 levels. Refused is also what comes back as something else, such as a map with numbers as keys that
    ///   is flattened into a struct. A value that does something for the first time of its type, such as taking
    ///   another variant, is decoded back and compared, which makes its put as slow as a put and a get. Types that
    ///   take whatever text there is are decoded back at every put: untagged and internally tagged enums,
    ///   flattened structs and `serde_json::Value`. What an untagged enum wrote comes back as the first variant that
    ///   reads it; of two that write and read the same, that is the first.
    ///
    /// ```
    /// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
    /// use cacheness_handlers::JsonHandler;
    ///
    /// let handler = JsonHandler::new();
    /// assert_eq!((handler.name(), handler.class()), ("json", TypeClass::Serde));
    /// assert!(handler.can_handle(&(1_u8, "any serde type".to_owned()).value_ref()));
    /// ```
    JsonHandler: Json
}

#[derive(Debug)]
struct Json;

impl Format for Json {
    const NAME: &'static str = "json";
    const DESCRIPTION: &'static str = "Any serde value as JSON, which other programs can read.";

    const RULES: Rules = Rules {
        // The parser stops at the 128th opening bracket.
        max_depth: 127,
        levels: Levels::Brackets,
        fields: Fields::ByName,
        non_finite_floats: false,
        nested_options: false,
    };

    fn encode(
        value: &ValueRef<'_>,
        encoding: &Encoding<'_>,
        writer: &mut dyn Write,
    ) -> Result<(), FormatError> {
        let mut buffered = BufWriter::new(writer);
        let encoded = serde_json::to_writer(&mut buffered, &erased::guard(value, encoding)?);
        erased::finish(buffered, encoded.map_err(FormatError::from))
    }

    fn decode(
        target: &TypeTarget,
        bounds: &Bounds,
        bytes: &[u8],
    ) -> Result<(BoxedValue, usize), FormatError> {
        let mut from = serde_json::Deserializer::from_slice(bytes);
        let value = erased::make(target, bounds, &mut from)?;
        from.end()?;
        Ok((value, 0))
    }
}
