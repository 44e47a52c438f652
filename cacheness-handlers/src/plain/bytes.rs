//! Bytes as they are.

use ::bytes::Bytes;
use cacheness_core::{
    Access, BlobReader, BlobWriter, BoxedValue, CacheHandler, FormatMeta, HandlerContext, ReadOptions,
    Result, TypeClass, TypeTarget, ValueRef,
};

use crate::whole::{not_claimed, refuse_partial, write_all, wrong_target};

/// Stores bytes as they are.
///
/// - *Name* `bytes`, *class* bytes.
/// - *Claims* `&[u8]`, `Vec<u8>`, `Box<[u8]>` and `Bytes`; *makes* the last three. `Bytes` of a local file are the
///   mapped file itself, uncopied.
/// - *Format*: the value's bytes and nothing else. It has no versions and cannot change.
///
/// ```
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::BytesHandler;
///
/// let handler = BytesHandler::new();
/// assert_eq!((handler.name(), handler.class()), ("bytes", TypeClass::Bytes));
/// assert!(handler.can_handle(&vec![1_u8, 2, 3].value_ref()));
/// assert!(!handler.can_handle(&vec![1_u16, 2, 3].value_ref()));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesHandler;

impl BytesHandler {
    /// The handler.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl CacheHandler for BytesHandler {
    fn name(&self) -> &str {
        "bytes"
    }

    fn description(&self) -> &str {
        "Bytes, as they are."
    }

    fn class(&self) -> TypeClass {
        TypeClass::Bytes
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        value.as_bytes().is_some()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is::<Vec<u8>>() || target.is::<Bytes>() || target.is::<Box<[u8]>>()
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        let bytes = value.as_bytes().ok_or_else(|| not_claimed("bytes", value.type_name()))?;
        write_all(writer, bytes)?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        refuse_partial("bytes", options)?;
        if !self.can_decode(target) {
            return Err(wrong_target("bytes", target));
        }
        let bytes = reader.take_bytes()?;
        Ok(if target.is::<Vec<u8>>() {
            Box::new(Vec::from(bytes))
        } else if target.is::<Bytes>() {
            Box::new(bytes)
        } else {
            Box::new(Vec::from(bytes).into_boxed_slice())
        })
    }

    fn preferred_access(&self) -> Access {
        Access::Map
    }
}
