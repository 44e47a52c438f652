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

use super::Refusal;

/// How many elements that take no bytes a value may have in its lists and maps.
const EMPTY_ELEMENTS: usize = 1 << 16;

/// What is known of one value on its way out of a format.
pub(super) struct Bounds {
    max_depth: u32,
    /// The length of the stored bytes.
    len: usize,
    /// Every element of a list that takes any bytes has one that no other element has.
    elements_left: Cell<usize>,
    refusal: Refusal,
}

impl Bounds {
    pub(super) fn new(max_depth: u32, len: usize) -> Self {
        let elements_left = Cell::new(len.saturating_add(EMPTY_ELEMENTS));
        Self { max_depth, len, elements_left, refusal: Refusal::default() }
    }

    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.take()
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
pub(super) struct Failed;

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
pub(super) struct Bounded<'a, T> {
    inner: T,
    bounds: &'a Bounds,
    depth: u32,
    /// True inside a list or a map, whose length the bytes state; that of a tuple or a struct comes from its type.
    counted: bool,
}

impl<'a, T> Bounded<'a, T> {
    pub(super) fn new(inner: T, bounds: &'a Bounds) -> Self {
        Self { inner, bounds, depth: 0, counted: false }
    }

    fn here<U>(&self, inner: U) -> Bounded<'a, U> {
        Bounded { inner, bounds: self.bounds, depth: self.depth, counted: self.counted }
    }

    fn below<U, E: Error>(&self, inner: U, counted: bool) -> Result<Bounded<'a, U>, E> {
        if self.depth >= self.bounds.max_depth {
            let most = self.bounds.max_depth;
            return Err(self.bounds.refuse(format!("they are nested deeper than {most} levels")));
        }
        Ok(Bounded { inner, bounds: self.bounds, depth: self.depth + 1, counted })
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            self.inner.$method(visitor).map_err(|error| self.bounds.failed(error))
        })*
    };
}

macro_rules! compounds {
    ($($method:ident($($name:ident: $type:ty),*), counted: $counted:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Failed> {
            let visitor = self.below(visitor, $counted)?;
            self.inner.$method($($name,)* visitor).map_err(|error| self.bounds.failed(error))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = Failed;

    scalars! {
        deserialize_any deserialize_bool
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_bytes
        deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    compounds! {
        deserialize_seq(), counted: true;
        deserialize_map(), counted: true;
        deserialize_newtype_struct(name: &'static str), counted: false;
        deserialize_tuple(len: usize), counted: false;
        deserialize_tuple_struct(name: &'static str, len: usize), counted: false;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]), counted: false;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]), counted: false;
    }

    // For owned text and bytes bincode allocates as much as the bytes state before it looks whether it is there. As
    // borrowed ones they are a piece of what is stored, and the type copies them.

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.inner.deserialize_str(visitor).map_err(|error| self.bounds.failed(error))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.inner.deserialize_bytes(visitor).map_err(|error| self.bounds.failed(error))
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

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        let from = self.below(from, false)?;
        self.inner.visit_some(from).map_err(D::Error::custom)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        let from = self.here(from);
        self.inner.visit_newtype_struct(from).map_err(D::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let elements = self.here(elements);
        self.inner.visit_seq(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let entries = self.here(entries);
        self.inner.visit_map(entries)
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

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.here(seed);
        let element = self.inner.next_element_seed(seed)?;
        if self.counted && element.is_some() {
            self.bounds.count_element()?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|len| len.min(self.bounds.len))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.here(seed);
        let key = self.inner.next_key_seed(seed)?;
        if self.counted && key.is_some() {
            self.bounds.count_element()?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.here(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|len| len.min(self.bounds.len))
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'a, A> {
    type Error = A::Error;
    type Variant = Bounded<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (bounds, depth, counted) = (self.bounds, self.depth, self.counted);
        let (tag, inner) = self.inner.variant_seed(seed)?;
        Ok((tag, Bounded { inner, bounds, depth, counted }))
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
        let visitor = self.here(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.here(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
