//! Arrays in NumPy's file format.

mod array;
mod header;
mod kind;

use cacheness_core::{
    Access, BlobReader, BlobWriter, BoxedValue, CacheHandler, FormatMeta, HandlerContext, ReadOptions,
    Result, TypeClass, TypeTarget, ValueRef,
};

pub use self::array::{Npy, NpyElement, ViaNpy};
use self::kind::KINDS;
use crate::whole::{not_claimed, refuse_partial, wrong_target};

/// Stores `ndarray` arrays in NumPy's `.npy` format.
///
/// - *Name* `npy`, *class* native.
/// - *Claims* and *makes* [`Npy`], an array of `f32`, `f64`, `i8` to `i64`, `u8` to `u64` or `bool` with any of
///   `ndarray`'s dimensions. Asking for another element type or another number of dimensions than was put is
///   a [`TypeMismatch`](cacheness_core::ErrorKind::TypeMismatch); `IxDyn` takes any number.
/// - *Format*: version 1.0, or 2.0 for a header that is too long for it, as the
///   [NumPy Enhancement Proposal 1](https://numpy.org/neps/nep-0001-npy-format.html) and the documentation of
///   [`numpy.lib.format`](https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html) say; `numpy.load`
///   reads it. Elements lie in the byte order of the machine that wrote them, and are read in either. An array in Fortran
///   order stays in it, and all others come back in C order. Bytes left over after the array are an error.
/// - *Refused* when it is put: more than 64 dimensions, which NumPy cannot read.
///
/// ```
/// use cacheness_core::{CacheHandler, CacheValue, TypeClass};
/// use cacheness_handlers::{Npy, NpyHandler};
/// use ndarray::array;
///
/// let handler = NpyHandler::new();
/// assert_eq!((handler.name(), handler.class()), ("npy", TypeClass::Native));
/// assert!(handler.can_handle(&Npy(array![[1.0, 2.0], [3.0, 4.0]]).value_ref()));
/// assert!(!handler.can_handle(&vec![1.0, 2.0].value_ref()));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct NpyHandler;

impl NpyHandler {
    /// The handler.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl CacheHandler for NpyHandler {
    fn name(&self) -> &str {
        "npy"
    }

    fn description(&self) -> &str {
        "Arrays of ndarray as NumPy .npy files."
    }

    fn class(&self) -> TypeClass {
        TypeClass::Native
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        KINDS.iter().any(|kind| (kind.is_value)(value.any()))
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        KINDS.iter().any(|kind| (kind.is_target)(target))
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        mut writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        let kind = KINDS.iter().find(|kind| (kind.is_value)(value.any()));
        let kind = kind.ok_or_else(|| not_claimed("npy", value.type_name()))?;
        (kind.write)(value.any(), &mut writer)?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        refuse_partial("npy", options)?;
        let kind = KINDS.iter().find(|kind| (kind.is_target)(target));
        let kind = kind.ok_or_else(|| wrong_target("npy", target))?;
        (kind.read)(&reader.bytes()?)
    }

    fn preferred_access(&self) -> Access {
        // The elements are copied once, out of the mapped file.
        Access::Map
    }
}
