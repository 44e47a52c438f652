//! What the second argument of `put` may be: a reference to any cacheable value, borrowed text or borrowed bytes.

use serde::Serialize;

use crate::value::{CacheValue, ValueRef, ViaBytes, ViaText};

/// A value as it is handed to `put`: `&T` for any [`CacheValue`], `&str`, `&[u8]` or `&[u8; N]`-like arrays by
/// slicing them.
///
/// The engine implements it; applications only use it as a bound:
///
/// ```
/// use cacheness_core::PutValue;
///
/// fn type_of<'a, Via>(value: impl PutValue<'a, Via>) -> &'static str {
///     value.value_ref().type_name()
/// }
/// assert_eq!(type_of(&7_u32), "u32");
/// assert_eq!(type_of("text"), "str");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be put into a cache",
    label = "expected `&value` of a cacheable type, `&str` or `&[u8]`",
    note = "pass a reference: `cache.put(key, &value)`",
    note = "the type needs both `serde::Serialize` and `serde::Deserialize`, or a handler of its own",
    note = "for borrowed data that only implements `Serialize`, use `put_serialize`"
)]
pub trait PutValue<'a, Via>: Send {
    /// The value as handlers see it.
    fn value_ref(&self) -> ValueRef<'_>;
}

impl<'a, Via, T: CacheValue<Via>> PutValue<'a, Via> for &'a T {
    fn value_ref(&self) -> ValueRef<'_> {
        T::value_ref(self)
    }
}

impl<'a> PutValue<'a, ViaText> for &'a str {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::text(self)
    }
}

impl<'a> PutValue<'a, ViaBytes> for &'a [u8] {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::bytes(self)
    }
}

/// Carries a value that can be serialised but need not be deserialisable, sized or owned.
pub(crate) struct SerializeOnly<'a, T: ?Sized>(pub(crate) &'a T);

impl<'a, T: Serialize + Sync + ?Sized> SerializeOnly<'a, T> {
    pub(crate) fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::serialize_only(&self.0)
    }
}
