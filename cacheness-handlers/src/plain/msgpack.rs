//! MessagePack for every serde type.

use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, CacheHandler, FormatMeta, HandlerContext, ReadOptions, Result,
    TypeClass, TypeTarget, ValueRef,
};

use crate::whole::refuse_partial;

/// Stores serde values as MessagePack, structs as maps from field names.
///
/// - *Name* `msgpack`, *class* serde.
/// - *Claims* and *makes* every serde type. It belongs at the end of the registry's order, because text and bytes
///   are serde types too and have handlers of their own.
/// - *Format*: one value as the [MessagePack specification](https://msgpack.org) says. Fields are found by name, so
///   fields may be reordered, and added or removed as far as serde's defaults allow. Bytes left over after the
///   value are an error. Elements of tuple structs and tuple variants have no names: one that `skip_serializing_if`
///   left out, or that was added since, makes the value an error when it is read, because others would take its place.
///   (serde hides the length of a tuple inside an untagged or internally tagged enum or a flattened struct: there,
///   leave no element out.)
/// - *Refused* when it is put, and when it is read: nesting deeper than 256 levels, counting all that holds another value.
///
/// ```
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::MsgpackHandler;
///
/// let handler = MsgpackHandler::new();
/// assert_eq!((handler.name(), handler.class()), ("msgpack", TypeClass::Serde));
/// assert!(handler.can_handle(&(1_u8, "any serde type".to_owned()).value_ref()));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct MsgpackHandler;

impl MsgpackHandler {
    /// The handler.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl CacheHandler for MsgpackHandler {
    fn name(&self) -> &str {
        "msgpack"
    }

    fn description(&self) -> &str {
        "Any serde value as MessagePack with field names."
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
        value.encode_msgpack(&mut writer)?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        refuse_partial("msgpack", options)?;
        target.decode_msgpack(&reader.bytes()?)
    }
}
