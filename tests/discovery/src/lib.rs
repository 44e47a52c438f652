//! A crate with a part for other programs, which it submits. The tests beside it are two such programs.

use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, CacheHandler, Error, ErrorKind, FormatMeta, HandlerContext,
    ReadOptions, Register, Result, TypeClass, TypeTarget, ValueRef, submit_plugin,
};

submit_plugin!(|registry| registry.register_handler(Nothing, Register::new()));

/// A handler that stores nothing.
#[derive(Debug)]
pub struct Nothing;

impl CacheHandler for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn class(&self) -> TypeClass {
        TypeClass::Native
    }

    fn can_handle(&self, _: &ValueRef<'_>) -> bool {
        false
    }

    fn can_decode(&self, _: &TypeTarget) -> bool {
        false
    }

    fn put(&self, _: &ValueRef<'_>, _: &mut dyn BlobWriter, _: &HandlerContext) -> Result<FormatMeta> {
        Err(Error::new(ErrorKind::Encode, "`nothing` stores nothing"))
    }

    fn get(
        &self,
        _: &mut dyn BlobReader,
        _: &FormatMeta,
        _: &TypeTarget,
        _: &ReadOptions,
    ) -> Result<BoxedValue> {
        Err(Error::new(ErrorKind::Decode, "`nothing` stores nothing"))
    }
}
