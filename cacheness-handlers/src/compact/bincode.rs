//! bincode for every serde type.

use std::io::Write;

use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, CacheHandler, FormatMeta, HandlerContext, ReadOptions, Result,
    TypeClass, TypeTarget, ValueRef,
};
use serde::de::DeserializeSeed;
use serde::ser::Serialize;

use super::proof::Proofs;
use crate::strict::{self, Format, FormatError, Rules};

/// Stores serde values in the bincode format: values without field names.
///
/// - *Name* `bincode`, *class* serde.
/// - *Claims* and *makes* every serde type, like `msgpack`, which comes before it: `PutOptions::handler("bincode")`
///   chooses it.
/// - *Format*: one value as [bincode 2](https://docs.rs/bincode/2.0.1/bincode/spec/index.html) writes it with `config::standard()`.
///   Fields are found by their position, so a type whose fields are added, removed or
///   reordered no longer reads what was stored, or reads other values: give such a type a version with
///   `PutOptions::type_tag`. Bytes left over after the value are an error.
/// - *Refused* when it is put: a type that the format writes but cannot read, such as an untagged or internally tagged
///   enum, a flattened struct or a `serde_json::Value`. The first value of each type is decoded back to find out, so a
///   type is held to be readable by what its first value shows: where others of its values differ in that (an
///   enum of which one variant is such a type), use [`prove_every_put`](BincodeHandler::prove_every_put). Fields
///   of structs that `skip_serializing_if` leaves out are refused at every put. In a tuple struct or a tuple variant
///   only the first put of the type may notice it, and later values can come back as others: use `msgpack` for such
///   types. Refused is also nesting deeper than 256 levels, counting all
///   that holds another value. More than 65,536 elements that take no bytes, such as those of a `Vec<()>`, do not come
///   back.
///
/// ```
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::BincodeHandler;
///
/// let handler = BincodeHandler::new();
/// assert_eq!((handler.name(), handler.class()), ("bincode", TypeClass::Serde));
/// assert!(handler.can_handle(&(1_u8, "any serde type".to_owned()).value_ref()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct BincodeHandler {
    proofs: Proofs,
}

impl BincodeHandler {
    /// The handler. A clone of it knows the types that either has proved.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes every value back when it is put, not only the first of its type. A put then takes about as long as a put
    /// and a get.
    ///
    /// ```
    /// use cacheness_core::Registry;
    /// use cacheness_handlers::BincodeHandler;
    ///
    /// let registry = Registry::empty().with_handler(BincodeHandler::new().prove_every_put())?;
    /// assert!(registry.handler("bincode").is_ok());
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    #[must_use]
    pub fn prove_every_put(self) -> Self {
        Self { proofs: Proofs::at_every_put() }
    }
}

impl CacheHandler for BincodeHandler {
    fn name(&self) -> &str {
        Bincode::NAME
    }

    fn description(&self) -> &str {
        "Any serde value as bincode: compact, read only by the very type that was put."
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
        writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        super::put::<Bincode>(value, writer, &self.proofs)
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        strict::read::<Bincode>(reader, target, options)
    }
}

struct Bincode;

impl Format for Bincode {
    const NAME: &'static str = "bincode";
    const RULES: Rules = super::RULES;

    fn encode<T: Serialize>(value: &T, mut writer: &mut dyn Write) -> Result<(), FormatError> {
        ::bincode::serde::encode_into_std_write(value, &mut writer, ::bincode::config::standard())?;
        Ok(())
    }

    fn decode<'de, S: DeserializeSeed<'de>>(
        seed: S,
        bytes: &'de [u8],
    ) -> Result<(S::Value, usize), FormatError> {
        let config = ::bincode::config::standard();
        let (value, read) = ::bincode::serde::seed_decode_from_slice(seed, bytes, config)?;
        Ok((value, bytes.len().saturating_sub(read)))
    }
}
