//! The wrapper around a deserializer of a format that does not describe itself.
//!
//! Such bytes are believed: a length or a tag that they state is acted on. So nesting is bounded, because each level
//! takes stack; a stated length is handed on only as far as there are bytes for it, because types reserve memory by
//! it; and elements that take no bytes are counted, because nothing else ends a list of them.
//!
//! An error is written down where it arises and goes up as [`Failed`], which has no text: at each level it would be put
//! into an error of the format as text, and those of bincode double what they quote.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::trace::{Kind, Step};
use super::{Refusal, Trace};

/// How many elements that take no bytes a value may have in its lists and maps.
const EMPTY_ELEMENTS: usize = 1 << 16;

/// What is known of one value on its way out of a format.
#[derive(Debug)]
pub struct Bounds {
    max_depth: u32,
    /// The length of the stored bytes.
    len: usize,
    /// Every element of a list that takes any bytes has one that no other element has.
    elements_left: Cell<usize>,
    refusal: Refusal,
    observed: Option<Observed>,
}

/// How a type reads what was written.
#[derive(Debug, Default)]
pub struct Observed {
    /// The calls.
    pub trace: Trace,
    /// True where the type took whatever came, so that what it makes depends on the value and not only on its shape.
    pub took_any: Cell<bool>,
    /// True where a tuple had fewer elements than its type has.
    pub tuple_was_short: Cell<bool>,
}

impl Bounds {
    /// For `len` stored bytes of a format that does not describe itself.
    #[must_use]
    pub fn new(max_depth: u32, len: usize) -> Self {
        let elements_left = Cell::new(len.saturating_add(EMPTY_ELEMENTS));
        Self { max_depth, len, elements_left, refusal: Refusal::default(), observed: None }
    }

    /// For stored bytes of a format that has bounds of its own.
    #[must_use]
    pub fn none() -> Self {
        Self::new(u32::MAX, usize::MAX)
    }

    /// Watches how the type reads.
    #[must_use]
    pub fn observing(self) -> Self {
        Self { observed: Some(Observed::default()), ..self }
    }

    /// What was seen after [`observing`](Self::observing).
    #[must_use]
    pub fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// Why the bytes were refused, where they were.
    pub fn take_refusal(&self) -> Option<String> {
        self.refusal.take()
    }

    #[inline]
    fn note(&self, step: Step) {
        if let Some(observed) = &self.observed {
            observed.trace.add(step);
        }
    }

    fn failed(&self, error: impl fmt::Display) -> Failed {
        self.refusal.note(error);
        Failed
    }

    fn refuse<E: Error>(&self, reason: String) -> E {
        let error = E::custom(&reason);
        self.refusal.note(reason);
        error
    }

    fn count_element<E: Error>(&self) -> Result<(), E> {
        match self.elements_left.get().checked_sub(1) {
            Some(left) => self.elements_left.set(left),
            None => {
                let reason = format!("it has more than {EMPTY_ELEMENTS} elements that take no bytes");
                return Err(self.refuse(reason));
            }
        }
        Ok(())
    }
}

/// The error of a bounded deserializer. What happened is noted in its [`Bounds`].
#[derive(Debug)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("it cannot be decoded")
    }
}

impl std::error::Error for Failed {}

impl Error for Failed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// A part of a format's decoder: a deserializer, what it gives access to, or the visitor and the seed that it calls.
#[derive(Debug)]
pub struct Bounded<'a, T> {
    inner: T,
    bounds: &'a Bounds,
    depth: u32,
    parts: Parts,
}

/// What a value consists of.
#[derive(Clone, Copy, Debug)]
enum Parts {
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
    fn here<U>(&self, inner: U) -> Bounded<'a, U> {
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
        deserialize_identifier: Nothing;
        deserialize_ignored_any: Nothing;
    }

    compounds! {
        deserialize_seq(): Kind::Seq, Parts::Stated;
        deserialize_map(): Kind::Map, Parts::Stated;
        deserialize_tuple(len: usize): Kind::Group, Parts::Fixed;
        deserialize_tuple_struct(name: &'static str, len: usize): Kind::Group, Parts::Tuple(len);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]): Kind::Group, Parts::Fixed;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]): Kind::Variant, Parts::Fixed;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        if let Some(observed) = &self.bounds.observed {
            observed.took_any.set(true);
        }
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
        let elements = Elements { inner: self.here(elements), read: &mut read };
        let value = self.inner.visit_seq(elements)?;
        self.bounds.note(Step::counted(Kind::End, read));
        if let (Some(observed), Parts::Tuple(len)) = (&self.bounds.observed, self.parts) {
            observed.tuple_was_short.set(observed.tuple_was_short.get() || read < len);
        }
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let mut read = 0;
        let entries = Elements { inner: self.here(entries), read: &mut read };
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

/// The elements of a list or the entries of a map, and how many of them were read.
struct Elements<'a, 'r, A> {
    inner: Bounded<'a, A>,
    read: &'r mut usize,
}

impl<A> Elements<'_, '_, A> {
    #[inline]
    fn count<E: Error>(&mut self) -> Result<(), E> {
        *self.read += 1;
        match self.inner.parts {
            Parts::Stated => self.inner.bounds.count_element(),
            Parts::Fixed | Parts::Tuple(_) => Ok(()),
        }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, '_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.inner.here(seed);
        let element = self.inner.inner.next_element_seed(seed)?;
        if element.is_some() {
            self.count()?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.inner.size_hint().map(|len| len.min(self.inner.bounds.len))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'_, '_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.inner.here(seed);
        let key = self.inner.inner.next_key_seed(seed)?;
        if key.is_some() {
            self.count()?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.inner.here(seed);
        self.inner.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.inner.size_hint().map(|len| len.min(self.inner.bounds.len))
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'a, A> {
    type Error = A::Error;
    type Variant = Bounded<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (bounds, depth, parts) = (self.bounds, self.depth, self.parts);
        let (tag, inner) = self.inner.variant_seed(seed)?;
        Ok((tag, Bounded { inner, bounds, depth, parts }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.here(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.bounds.note(Step::of(Kind::Group));
        let visitor = Bounded { parts: Parts::Tuple(len), ..self.here(visitor) };
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.bounds.note(Step::of(Kind::Group));
        let visitor = self.here(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
