//! JSON for every serde type.

use std::io::Write;

use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, CacheHandler, FormatMeta, HandlerContext, ReadOptions, Result,
    TypeClass, TypeTarget, ValueRef,
};
use serde::de::DeserializeSeed;
use serde::ser::Serialize;

use crate::strict::{self, Format, FormatError, Levels, Rules};

/// Stores serde values as JSON text, for other programs and for people to read.
///
/// - *Name* `json`, *class* serde.
/// - *Claims* and *makes* every serde type, like `msgpack`, which comes before it: `PutOptions::handler("json")`
///   chooses it.
/// - *Format*: one JSON text as [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259) says, in UTF-8 without spaces.
///   Anything but white space after it is an error.
/// - *Refused* when it is put, because JSON has no way to write it: NaN and the infinities, maps whose keys are not
///   text, numbers, characters or booleans, and arrays and objects nested deeper than 127 levels. `Some(None)` and
///   `Some(())` are written as `null` and come back as `None`.
///
/// ```
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::JsonHandler;
///
/// let handler = JsonHandler::new();
/// assert_eq!((handler.name(), handler.class()), ("json", TypeClass::Serde));
/// assert!(handler.can_handle(&(1_u8, "any serde type".to_owned()).value_ref()));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonHandler;

impl JsonHandler {
    /// The handler.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl CacheHandler for JsonHandler {
    fn name(&self) -> &str {
        Json::NAME
    }

    fn description(&self) -> &str {
        "Any serde value as JSON, which other programs can read."
    }

    fn class(&self) -> TypeClass {
        TypeClass::Serde
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        value.is_serde()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is_serde()
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        mut writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        strict::encode::<Json>(value, &mut writer)?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        strict::read::<Json>(reader, target, options)
    }
}

struct Json;

impl Format for Json {
    const NAME: &'static str = "json";

    const RULES: Rules = Rules {
        // The parser stops at the 128th opening bracket.
        max_depth: 127,
        levels: Levels::Brackets,
        skipped_fields: true,
        non_finite_floats: false,
    };

    fn encode<T: Serialize>(value: &T, writer: &mut dyn Write) -> Result<(), FormatError> {
        Ok(serde_json::to_writer(writer, value)?)
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        seed: S,
        bytes: &'de [u8],
    ) -> Result<(S::Value, usize), FormatError> {
        let mut from = serde_json::Deserializer::from_slice(bytes);
        let value = seed.deserialize(&mut from)?;
        from.end()?;
        Ok((value, 0))
    }
}
