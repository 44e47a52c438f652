//! The parts of a list, a map or a variant on their way out of a format.

use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::decode::{Bounded, Parts};
use super::trace::{Kind, Step};

/// The elements of a list or the entries of a map, and how many of them were read.
pub(super) struct Elements<'a, 'r, A> {
    inner: Bounded<'a, A>,
    read: &'r mut usize,
}

impl<'a, 'r, A> Elements<'a, 'r, A> {
    pub(super) fn new(inner: Bounded<'a, A>, read: &'r mut usize) -> Self {
        Self { inner, read }
    }

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
