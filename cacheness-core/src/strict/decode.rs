//! The wrapper around a deserializer.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::bounds::{Bounds, Failed};
use super::elements::Elements;
use super::trace::{Kind, Step};

/// A part of a format's decoder: a deserializer, what it gives access to, or the visitor and the seed that it calls.
#[derive(Debug)]
pub struct Bounded<'a, T> {
    pub(super) inner: T,
    pub(super) bounds: &'a Bounds,
    pub(super) depth: u32,
    pub(super) parts: Parts,
}

/// What a value consists of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parts {
    /// A list or a map, whose length the bytes state.
    Stated,
    /// As many as the type says.
    Fixed,
    /// A tuple of a type of its own, with its length. Types leave elements out of these.
    Tuple(usize),
}

impl<'a, T> Bounded<'a, T> {
    /// Around a deserializer.
    pub fn new(inner: T, bounds: &'a Bounds) -> Self {
        Self { inner, bounds, depth: 0, parts: Parts::Fixed }
    }

    #[inline]
    pub(super) fn here<U>(&self, inner: U) -> Bounded<'a, U> {
        Bounded { inner, bounds: self.bounds, depth: self.depth, parts: self.parts }
    }

    #[inline]
    fn below<U, E: Error>(&self, inner: U, parts: Parts) -> Result<Bounded<'a, U>, E> {
        if self.depth >= self.bounds.max_depth {
            let most = self.bounds.max_depth;
            return Err(self.bounds.refuse(format!("they are nested deeper than {most} levels")));
        }
        Ok(Bounded { inner, bounds: self.bounds, depth: self.depth + 1, parts })
    }
}

macro_rules! scalars {
    ($($method:ident: $kind:ident;)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            self.bounds.note(Step::of(Kind::$kind));
            self.inner.$method(visitor).map_err(|error| self.bounds.failed(error))
        })*
    };
}

macro_rules! compounds {
    ($($method:ident($($name:ident: $type:ty),*): $kind:expr, $parts:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Failed> {
            self.bounds.note(Step::of($kind));
            let visitor = self.below(visitor, $parts)?;
            self.inner.$method($($name,)* visitor).map_err(|error| self.bounds.failed(error))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = Failed;

    scalars! {
        deserialize_bool: Bool;
        deserialize_i8: I8;
        deserialize_i16: I16;
        deserialize_i32: I32;
        deserialize_i64: I64;
        deserialize_i128: I128;
        deserialize_u8: U8;
        deserialize_u16: U16;
        deserialize_u32: U32;
        deserialize_u64: U64;
        deserialize_u128: U128;
        deserialize_f32: F32;
        deserialize_f64: F64;
        deserialize_char: Char;
        deserialize_str: Text;
        deserialize_bytes: Text;
    }

    compounds! {
        deserialize_seq(): Kind::Seq, Parts::Stated;
        deserialize_map(): Kind::Map, Parts::Stated;
        deserialize_tuple(len: usize): Kind::Group, Parts::Fixed;
        deserialize_tuple_struct(name: &'static str, len: usize): Kind::Group, Parts::Tuple(len);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]): Kind::Group, Parts::Fixed;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]): Kind::Variant, Parts::Fixed;
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        if matches!(self.parts, Parts::Stated) {
            // A struct with a flattened part: which entry is a field depends on what the keys are.
            self.bounds.note_any();
        }
        self.inner.deserialize_identifier(visitor).map_err(|error| self.bounds.failed(error))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        // What is not read comes back only as long as it is what the type puts in its place.
        self.bounds.note_any();
        self.inner.deserialize_ignored_any(visitor).map_err(|error| self.bounds.failed(error))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.bounds.note_any();
        let visitor = self.below(visitor, Parts::Stated)?;
        self.inner.deserialize_any(visitor).map_err(|error| self.bounds.failed(error))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.inner.deserialize_unit(visitor).map_err(|error| self.bounds.failed(error))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let visitor = self.below(visitor, Parts::Fixed)?;
        self.inner.deserialize_newtype_struct(name, visitor).map_err(|error| self.bounds.failed(error))
    }

    // For owned text and bytes bincode allocates as much as the bytes state before it looks whether it is there. As
    // borrowed ones they are a piece of what is stored, and the type copies them.

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        // Only `Some` is a level, which the visitor sees.
        let visitor = self.here(visitor);
        self.inner.deserialize_option(visitor).map_err(|error| self.bounds.failed(error))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.inner.deserialize_unit_struct(name, visitor).map_err(|error| self.bounds.failed(error))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! pass_on {
    ($($method:ident($($type:ty)?);)*) => {
        $(pass_on!(@ $method $($type)?);)*
    };
    (@ $method:ident $type:ty) => {
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    };
    (@ $method:ident) => {
        fn $method<E: Error>(self) -> Result<V::Value, E> {
            self.inner.$method()
        }
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.bounds.note(Step::of(Kind::None));
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.bounds.note(Step::of(Kind::Some));
        let from = self.below(from, Parts::Fixed)?;
        self.inner.visit_some(from).map_err(D::Error::custom)
    }

    pass_on! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
        visit_unit();
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        let from = self.here(from);
        self.inner.visit_newtype_struct(from).map_err(D::Error::custom)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let mut read = 0;
        let elements = Elements::new(self.here(elements), &mut read);
        let value = self.inner.visit_seq(elements)?;
        self.bounds.note(Step::counted(Kind::End, read));
        if let (Some(observed), Parts::Tuple(len)) = (self.bounds.observed(), self.parts) {
            observed.tuple_was_short.set(observed.tuple_was_short.get() || read < len);
        }
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let mut read = 0;
        let entries = Elements::new(self.here(entries), &mut read);
        let value = self.inner.visit_map(entries)?;
        self.bounds.note(Step::counted(Kind::End, read));
        Ok(value)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let variant = self.here(variant);
        self.inner.visit_enum(variant)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        let from = self.here(from);
        self.inner.deserialize(from).map_err(D::Error::custom)
    }
}
