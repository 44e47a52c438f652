//! CBOR for the Cacheness cache: every serde value as [RFC 8949](https://www.rfc-editor.org/rfc/rfc8949) says, which
//! programs in other languages can read.
//!
//! A program registers it itself:
//!
//! ```
//! use cacheness::{CacheBuilder, PutOptions, Registry};
//! use cacheness_cbor::CborHandler;
//!
//! let registry = Registry::builtin().with_handler(CborHandler)?;
//! let cache = CacheBuilder::new(registry).open_blocking()?;
//! cache.put_with("answer", &42, PutOptions::new().handler("cbor"))?;
//! assert_eq!(cache.get("answer")?, Some(42));
//! # Ok::<(), cacheness::Error>(())
//! ```
//!
//! or finds it by `Registry::discover`, where it names this crate: `use cacheness_cbor as _;`.

use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, CacheHandler, Error, ErrorKind, FormatMeta, HandlerContext,
    ReadOptions, Register, Result, TypeClass, TypeTarget, ValueRef, submit_plugin,
};

submit_plugin!(|registry| registry.register_handler(CborHandler, Register::new()));

/// Stores serde values as CBOR, with the names of fields. Asked after the handlers that are built in, so a put names
/// it, `PutOptions::handler("cbor")`, or the program registers it first.
#[derive(Clone, Copy, Debug, Default)]
pub struct CborHandler;

impl CacheHandler for CborHandler {
    fn name(&self) -> &str {
        "cbor"
    }

    fn description(&self) -> &str {
        "Any serde value as CBOR."
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
        let value = value.as_serialize().ok_or_else(|| Error::new(ErrorKind::Encode, "not a serde value"))?;
        let bytes = cbor4ii::serde::to_vec(Vec::new(), &value).map_err(|error| {
            Error::new(ErrorKind::Encode, format!("the value does not become CBOR: {error}"))
        })?;
        writer.write_all(&bytes).map_err(|error| Error::io(error, "writing CBOR"))?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        if options.is_partial() {
            return Err(Error::new(ErrorKind::Unsupported, "CBOR has no columns or rows"));
        }
        let bytes = reader.bytes()?;
        // The reader stops at 256 levels of nesting, so that hostile bytes cannot use up the stack.
        let mut cbor = cbor4ii::serde::Deserializer::new(cbor4ii::core::utils::SliceReader::new(&bytes));
        target.deserialize(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut cbor))
    }
}
