//! UTF-8 text as it is.

use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, CacheHandler, Error, ErrorKind, FormatMeta, HandlerContext,
    ReadOptions, Result, TypeClass, TypeTarget, ValueRef,
};

use crate::whole::{not_claimed, refuse_partial, write_all, wrong_target};

/// Stores text as it is.
///
/// - *Name* `text`, *class* text.
/// - *Claims* `&str` and `String`; *makes* `String` and `Box<str>`.
/// - *Format*: the text in UTF-8 and nothing else. It has no versions and cannot change.
///
/// ```
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::TextHandler;
///
/// let handler = TextHandler::new();
/// assert_eq!((handler.name(), handler.class()), ("text", TypeClass::Text));
/// assert!(handler.can_handle(&"grüß dich".to_owned().value_ref()));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct TextHandler;

impl TextHandler {
    /// The handler.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl CacheHandler for TextHandler {
    fn name(&self) -> &str {
        "text"
    }

    fn description(&self) -> &str {
        "UTF-8 text, as it is."
    }

    fn class(&self) -> TypeClass {
        TypeClass::Text
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        value.as_text().is_some()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is::<String>() || target.is::<Box<str>>()
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        let text = value.as_text().ok_or_else(|| not_claimed("text", value.type_name()))?;
        write_all(writer, text.as_bytes())?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        refuse_partial("text", options)?;
        if !self.can_decode(target) {
            return Err(wrong_target("text", target));
        }
        let text = String::from_utf8(Vec::from(reader.take_bytes()?)).map_err(|error| {
            Error::new(ErrorKind::Decode, "the stored text is not UTF-8").with_source(error)
        })?;
        Ok(if target.is::<String>() { Box::new(text) } else { Box::new(text.into_boxed_str()) })
    }
}
