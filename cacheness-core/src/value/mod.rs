//! How any type becomes a cacheable value: serde types by themselves, other types through a marker of the crate
//! that teaches the cache about them.

#[cfg(feature = "bincode")]
mod bincode;
mod erased;
mod nesting;
mod put_value;
mod whole_tuples;

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "bincode")]
use crate::strict::{Bounds, Encoding, FormatError};
use erased::{SerdeTarget, SerdeValue};

pub use put_value::PutValue;
pub(crate) use put_value::SerializeOnly;

/// A decoded value on its way from a handler to the caller.
pub type BoxedValue = Box<dyn Any + Send + Sync>;

/// Marks values that reach the cache through serde. Nobody needs to name it: the compiler infers it.
#[derive(Debug)]
pub enum ViaSerde {}

/// Marks borrowed text, `&str`.
#[derive(Debug)]
pub enum ViaText {}

/// Marks borrowed bytes, `&[u8]`.
#[derive(Debug)]
pub enum ViaBytes {}

/// A type that can be put into a cache and got back.
///
/// Every type with `Serialize` and `DeserializeOwned` is one already. A crate that teaches the cache about a
/// type without serde implements this for it, with a marker type of its own as `Via`, and registers a
/// [`CacheHandler`](crate::CacheHandler) that claims it:
///
/// ```
/// use cacheness_core::{CacheValue, TypeTarget, ValueRef};
///
/// pub struct Matrix { rows: usize, cells: Vec<f64> }
/// pub enum ViaMatrix {}
///
/// impl CacheValue<ViaMatrix> for Matrix {
///     fn value_ref(&self) -> ValueRef<'_> { ValueRef::native(self) }
///     fn target() -> TypeTarget { TypeTarget::native::<Self>() }
/// }
/// ```
///
/// Do not give a marker to a type that has serde, or could get it by a feature of its crate: every `put` of it
/// would become ambiguous. Wrap such a type, or put it as [`As::new`]`(value)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached",
    label = "this type is neither a serde type nor known to a handler's crate",
    note = "derive both `serde::Serialize` and `serde::Deserialize` for `{Self}`",
    note = "for an Arrow table, enable the feature `arrow` of `cacheness`",
    note = "for borrowed data that only implements `Serialize`, use `put_serialize`",
    note = "for a foreign type, implement `CacheValue<YourMarker>` and register a handler for it"
)]
pub trait CacheValue<Via>: Any + Send + Sync + Sized {
    /// This value as handlers see it.
    fn value_ref(&self) -> ValueRef<'_>;

    /// This type as handlers see it when they decode.
    fn target() -> TypeTarget;

    /// Takes the value out of what a handler decoded; `None` where the handler made another type.
    fn from_boxed(value: BoxedValue) -> Option<Self> {
        value.downcast().ok().map(|value| *value)
    }
}

impl<T> CacheValue<ViaSerde> for T
where
    T: Serialize + DeserializeOwned + Any + Send + Sync,
{
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef {
            any: self,
            borrowed: Borrowed::No,
            type_name: std::any::type_name::<T>(),
            serde: Some(self),
            target: Some(<T as CacheValue<ViaSerde>>::target),
        }
    }

    fn target() -> TypeTarget {
        TypeTarget {
            id: TypeId::of::<T>(),
            type_name: std::any::type_name::<T>(),
            serde: Some(const { &PhantomData::<fn() -> T> }),
        }
    }
}

/// Says by which way a value enters the cache, where the compiler cannot tell or where a family of types needs
/// one marker.
///
/// ```
/// use cacheness_core::{As, CacheValue, ViaSerde};
///
/// let wrapped: As<ViaSerde, u32> = As::new(7);
/// assert_eq!(wrapped.value_ref().type_name(), "u32");
/// assert_eq!(wrapped.into_inner(), 7);
/// ```
pub struct As<Via, T>(pub T, PhantomData<fn() -> Via>);

impl<Via, T> As<Via, T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value, PhantomData)
    }

    /// Takes the value out again.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<Via, T: fmt::Debug> fmt::Debug for As<Via, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("As").field(&self.0).finish()
    }
}

/// Marks [`As`].
#[derive(Debug)]
pub struct ViaAs<Via>(PhantomData<fn() -> Via>);

impl<Via: 'static, T: CacheValue<Via>> CacheValue<ViaAs<Via>> for As<Via, T> {
    fn value_ref(&self) -> ValueRef<'_> {
        self.0.value_ref()
    }

    fn target() -> TypeTarget {
        T::target()
    }

    fn from_boxed(value: BoxedValue) -> Option<Self> {
        T::from_boxed(value).map(Self::new)
    }
}

#[derive(Clone, Copy)]
enum Borrowed<'a> {
    No,
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// A value on its way to a handler.
#[derive(Clone, Copy)]
pub struct ValueRef<'a> {
    any: &'a (dyn Any + Send + Sync),
    borrowed: Borrowed<'a>,
    type_name: &'static str,
    serde: Option<&'a (dyn SerdeValue + 'a)>,
    target: Option<fn() -> TypeTarget>,
}

impl<'a> ValueRef<'a> {
    /// A value that only a handler which knows its type can write.
    pub fn native<T: Any + Send + Sync>(value: &'a T) -> Self {
        Self {
            any: value,
            borrowed: Borrowed::No,
            type_name: std::any::type_name::<T>(),
            serde: None,
            target: Some(TypeTarget::native::<T>),
        }
    }

    pub(crate) fn text(text: &'a str) -> Self {
        Self { any: &(), borrowed: Borrowed::Text(text), type_name: "str", serde: None, target: None }
    }

    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        Self { any: &(), borrowed: Borrowed::Bytes(bytes), type_name: "[u8]", serde: None, target: None }
    }

    pub(crate) fn serialize_only<T: Serialize + Send + Sync>(value: &'a T) -> Self {
        Self {
            any: &(),
            borrowed: Borrowed::No,
            type_name: std::any::type_name::<T>(),
            serde: Some(value),
            target: None,
        }
    }

    /// The value, for a handler that claims it by its type: `value.any().is::<Matrix>()`. Borrowed text, bytes
    /// and values put by `put_serialize` show `()` here.
    #[must_use]
    pub fn any(&self) -> &'a (dyn Any + Send + Sync) {
        self.any
    }

    /// The text of a `&str` or a `String`.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match self.borrowed {
            Borrowed::Text(text) => Some(text),
            _ => self.any.downcast_ref::<String>().map(String::as_str),
        }
    }

    /// The bytes of a `&[u8]`, a `Vec<u8>`, a `Box<[u8]>` or a `Bytes`.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        if let Borrowed::Bytes(bytes) = self.borrowed {
            return Some(bytes);
        }
        if let Some(bytes) = self.any.downcast_ref::<Vec<u8>>() {
            return Some(bytes);
        }
        if let Some(bytes) = self.any.downcast_ref::<bytes::Bytes>() {
            return Some(bytes);
        }
        self.any.downcast_ref::<Box<[u8]>>().map(AsRef::as_ref)
    }

    /// The type's name, for messages only; it is not stable and never compared.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The value's type as a target, for a handler that decodes what it has encoded to prove that it can. `None` for
    /// borrowed text and bytes and for values put by `put_serialize`, which no type is known to come back from.
    ///
    /// ```
    /// use cacheness_core::CacheValue;
    ///
    /// let target = 7_u32.value_ref().target().unwrap();
    /// assert!(target.is::<u32>() && target.is_serde());
    /// ```
    #[must_use]
    pub fn target(&self) -> Option<TypeTarget> {
        self.target.map(|target| target())
    }

    /// True for a value that serde can serialise.
    #[must_use]
    pub fn is_serde(&self) -> bool {
        self.serde.is_some()
    }

    /// Writes the value as MessagePack with field names, by code compiled for its type.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] where the type's `Serialize` fails; [`ErrorKind::Unsupported`] where
    /// [`is_serde`](Self::is_serde) is false; the writer's own error where writing fails.
    pub fn encode_msgpack(&self, writer: &mut dyn std::io::Write) -> Result<()> {
        self.serde.ok_or_else(|| self.not_serde())?.msgpack(writer)
    }

    /// Writes the value as bincode, by code compiled for its type; for the handler `bincode`, which knows what to
    /// refuse.
    #[cfg(feature = "bincode")]
    #[doc(hidden)]
    pub fn encode_bincode(
        &self,
        writer: &mut dyn std::io::Write,
        encoding: &Encoding<'_>,
    ) -> Result<(), FormatError> {
        self.serde.ok_or_else(|| self.not_serde())?.bincode(writer, encoding)
    }

    /// The value for any other serde format, by `erased_serde`. This is several times slower on large values
    /// than code compiled for the type.
    #[must_use]
    pub fn as_serialize(&self) -> Option<&'a dyn erased_serde::Serialize> {
        self.serde.map(SerdeValue::erased)
    }

    fn not_serde(&self) -> Error {
        let message = format!("`{}` did not come through serde", self.type_name);
        Error::new(ErrorKind::Unsupported, message)
    }
}

impl fmt::Debug for ValueRef<'_> {
    /// Shows the type, never the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueRef")
            .field("type_name", &self.type_name)
            .field("serde", &self.is_serde())
            .finish()
    }
}

/// The type that a caller asks for, as handlers see it when they decode.
#[derive(Clone, Copy)]
pub struct TypeTarget {
    id: TypeId,
    type_name: &'static str,
    serde: Option<&'static dyn SerdeTarget>,
}

impl TypeTarget {
    /// A type that only a handler which knows it can make.
    #[must_use]
    pub fn native<T: Any + Send + Sync>() -> Self {
        Self { id: TypeId::of::<T>(), type_name: std::any::type_name::<T>(), serde: None }
    }

    /// True where the caller asks for a `T`.
    #[must_use]
    pub fn is<T: Any>(&self) -> bool {
        self.id == TypeId::of::<T>()
    }

    /// The type's identity in this process, for a handler that remembers something about a type. It is never stored.
    ///
    /// ```
    /// use cacheness_core::CacheValue;
    ///
    /// assert_eq!(<u32 as CacheValue<_>>::target().id(), std::any::TypeId::of::<u32>());
    /// ```
    #[must_use]
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// The type's name, for messages only; it is not stable and never compared.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// A decoded value of this type as handlers see it when they encode. `None` where it is of another type, or where
    /// [`is_serde`](Self::is_serde) is false.
    ///
    /// ```
    /// use cacheness_core::{BoxedValue, CacheValue};
    ///
    /// let decoded: BoxedValue = Box::new(7_u32);
    /// assert!(<u32 as CacheValue<_>>::target().value_ref(decoded.as_ref()).is_some());
    /// assert!(<u64 as CacheValue<_>>::target().value_ref(decoded.as_ref()).is_none());
    /// // The box itself is a value of any type, too; it is seen through.
    /// assert!(<u32 as CacheValue<_>>::target().value_ref(&decoded).is_some());
    /// ```
    #[must_use]
    pub fn value_ref<'a>(&self, value: &'a (dyn Any + Send + Sync)) -> Option<ValueRef<'a>> {
        let value = value.downcast_ref::<BoxedValue>().map_or(value, AsRef::as_ref);
        self.serde?.value_ref(value)
    }

    /// True for a type that serde can deserialise.
    #[must_use]
    pub fn is_serde(&self) -> bool {
        self.serde.is_some()
    }

    /// Reads the type from MessagePack, by code compiled for it. All of `bytes` must be used up.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] where the bytes do not hold this type; [`ErrorKind::Unsupported`] where
    /// [`is_serde`](Self::is_serde) is false.
    pub fn decode_msgpack(&self, bytes: &[u8]) -> Result<BoxedValue> {
        self.serde.ok_or_else(|| self.not_serde())?.msgpack(bytes)
    }

    /// Reads the type from bincode, by code compiled for it, and says how many bytes are left; for the handler
    /// `bincode`, which knows the bounds.
    #[cfg(feature = "bincode")]
    #[doc(hidden)]
    pub fn decode_bincode(&self, bytes: &[u8], bounds: &Bounds) -> Result<(BoxedValue, usize), FormatError> {
        self.serde.ok_or_else(|| self.not_serde())?.bincode(bytes, bounds)
    }

    /// Reads the type from any other serde format, by `erased_serde`.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] where the bytes do not hold this type; [`ErrorKind::Unsupported`] where
    /// [`is_serde`](Self::is_serde) is false.
    pub fn deserialize(&self, from: &mut dyn erased_serde::Deserializer<'_>) -> Result<BoxedValue> {
        self.serde.ok_or_else(|| self.not_serde())?.erased(from)
    }

    fn not_serde(&self) -> Error {
        Error::new(ErrorKind::Unsupported, format!("`{}` is no serde type", self.type_name))
    }
}

impl fmt::Debug for TypeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeTarget")
            .field("type_name", &self.type_name)
            .field("serde", &self.is_serde())
            .finish()
    }
}
