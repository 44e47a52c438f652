//! The wrapper around a serializer.

use serde::ser::{Serialize, Serializer};

use super::encoding::Encoding;
use super::parts::Parts;
use super::shapes::Place;
use super::trace::{Kind, Step};
use super::{Fields, Levels, Shapes};

/// A value that reaches the format through a guard.
#[derive(Debug)]
pub struct Guarded<'a, T: ?Sized> {
    value: &'a T,
    encoding: &'a Encoding<'a>,
    depth: u32,
    place: Option<Place>,
    in_some: bool,
}

impl<'a, T: ?Sized> Guarded<'a, T> {
    /// The value as a whole.
    pub(super) fn new(value: &'a T, encoding: &'a Encoding<'a>) -> Self {
        Self::at(value, encoding, 0, Some(Shapes::ROOT))
    }

    /// A part of the value, which lies at `depth`.
    #[inline]
    pub(super) fn at(value: &'a T, encoding: &'a Encoding<'a>, depth: u32, place: Option<Place>) -> Self {
        Self { value, encoding, depth, place, in_some: false }
    }
}

impl<T: Serialize + ?Sized> Serialize for Guarded<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Guard {
            inner: serializer,
            encoding: self.encoding,
            depth: self.depth,
            place: self.place,
            in_some: self.in_some,
        })
    }
}

/// The serializer of one value, which lies at `depth`.
struct Guard<'a, S> {
    inner: S,
    encoding: &'a Encoding<'a>,
    depth: u32,
    place: Option<Place>,
    /// True for what `Some` holds.
    in_some: bool,
}

impl<'a, S> Guard<'a, S> {
    /// Takes note of a call that writes something, and says where it is known.
    #[inline]
    fn call(&self, step: Step) -> Option<Place> {
        self.encoding.trace(step);
        self.encoding.call(self.place, step)
    }

    /// The depth of the parts of a value that takes so many levels.
    #[inline]
    fn deeper<E: serde::ser::Error>(&self, levels: u32) -> Result<u32, E> {
        let depth = self.depth + levels;
        let most = self.encoding.rules.max_depth;
        if depth > most {
            return Err(self.encoding.refuse(&format!("it is nested deeper than {most} levels")));
        }
        Ok(depth)
    }

    /// How many levels a wrapper around one value takes, such as `Some`.
    fn wrapper(&self) -> u32 {
        u32::from(self.encoding.rules.levels == Levels::All)
    }

    /// How many levels a variant with fields takes: in brackets its name is an object of its own.
    fn variant(&self) -> u32 {
        1 + u32::from(self.encoding.rules.levels == Levels::Brackets)
    }

    fn inside<'v, T: ?Sized>(&self, value: &'v T, depth: u32, call: Option<Place>) -> Guarded<'v, T>
    where
        'a: 'v,
    {
        let place = self.encoding.below(call, 0);
        Guarded::at(value, self.encoding, depth, place)
    }

    /// Takes note of as many values as the type says, which is what a tuple and a struct are.
    #[inline]
    fn group_call(&self, place: Option<Place>, len: usize) -> Option<Place> {
        self.encoding.trace(Step::of(Kind::Group));
        self.encoding.call(place, Step::counted(Kind::Group, len))
    }

    fn variant_call(&self, kind: Kind, index: u32) -> Option<Place> {
        self.encoding.trace(Step::of(Kind::Variant));
        let step = Step::new(kind, u64::from(index));
        // A reader finds a variant by its name, and another one may have the same.
        self.encoding.trace_unread(step);
        self.encoding.call(self.place, step)
    }

    fn check_float<E: serde::ser::Error>(&self, finite: bool) -> Result<(), E> {
        if !finite && !self.encoding.rules.non_finite_floats {
            return Err(self.encoding.refuse("it holds a float that is not a number or infinite"));
        }
        Ok(())
    }

    fn check_nothing<E: serde::ser::Error>(&self) -> Result<(), E> {
        if self.in_some && !self.encoding.rules.nested_options {
            return Err(self.encoding.refuse("it holds `Some` of nothing, which would come back as `None`"));
        }
        Ok(())
    }

    /// Types leave elements out of such tuples without a word, so how many there must be is known only from reading.
    fn check_tuple<E: serde::ser::Error>(&self, name: &str) -> Result<(), E> {
        if self.encoding.is_one_way() && self.encoding.rules.fields == Fields::ByPosition {
            let reason = format!("nothing says how many elements its tuple `{name}` must have");
            return Err(self.encoding.refuse(&reason));
        }
        Ok(())
    }
}

macro_rules! scalars {
    ($($method:ident($type:ty): $kind:ident;)*) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.call(Step::of(Kind::$kind));
            self.inner.$method(value)
        })*
    };
}

impl<'a, S: Serializer> Serializer for Guard<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'a, S::SerializeSeq>;
    type SerializeTuple = Parts<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'a, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'a, S::SerializeMap>;
    type SerializeStruct = Parts<'a, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'a, S::SerializeStructVariant>;

    scalars! {
        serialize_bool(bool): Bool;
        serialize_i8(i8): I8;
        serialize_i16(i16): I16;
        serialize_i32(i32): I32;
        serialize_i64(i64): I64;
        serialize_i128(i128): I128;
        serialize_u8(u8): U8;
        serialize_u16(u16): U16;
        serialize_u32(u32): U32;
        serialize_u64(u64): U64;
        serialize_u128(u128): U128;
        serialize_char(char): Char;
        serialize_str(&str): Text;
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        // Read they are as text is, but bytes that come back prove nothing of text, nor the other way round.
        self.encoding.trace(Step::of(Kind::Text));
        self.encoding.call(self.place, Step::of(Kind::Bytes));
        self.inner.serialize_bytes(value)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.check_float(value.is_finite())?;
        self.call(Step::of(Kind::F32));
        self.inner.serialize_f32(value)
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.check_float(value.is_finite())?;
        self.call(Step::of(Kind::F64));
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.check_nothing()?;
        self.call(Step::of(Kind::None));
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.check_nothing()?;
        self.encoding.call(self.place, Step::of(Kind::Unit));
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.check_nothing()?;
        self.encoding.call(self.place, Step::of(Kind::Unit));
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let depth = self.deeper(self.wrapper())?;
        let call = self.call(Step::of(Kind::Some));
        let value = Guarded { in_some: true, ..self.inside(value, depth, call) };
        self.inner.serialize_some(&value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.deeper(self.wrapper())?;
        // Nothing is written for it, so what it holds is at the same place.
        let (encoding, place, in_some) = (self.encoding, self.place, self.in_some);
        self.inner.serialize_newtype_struct(name, &Guarded { value, encoding, depth, place, in_some })
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.deeper(self.wrapper())?;
        self.variant_call(Kind::UnitVariant, index);
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.deeper(1)?;
        let call = self.variant_call(Kind::NewtypeVariant, index);
        let value = self.inside(value, depth, call);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let depth = self.deeper(1)?;
        let call = self.call(Step::of(Kind::Seq));
        // All elements have one place, which is looked up once.
        let elements = self.encoding.below(call, 0);
        Ok(Parts::new(self.encoding, self.inner.serialize_seq(len)?, depth, elements, len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let depth = self.deeper(1)?;
        let call = self.group_call(self.place, len);
        let inner = self.inner.serialize_tuple(len)?;
        Ok(Parts::new(self.encoding, inner, depth, call, Some(len)))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.check_tuple(name)?;
        let depth = self.deeper(1)?;
        let call = self.group_call(self.place, len);
        let inner = self.inner.serialize_tuple_struct(name, len)?;
        Ok(Parts::new(self.encoding, inner, depth, call, Some(len)))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.check_tuple(variant)?;
        let depth = self.deeper(self.variant())?;
        let call = self.variant_call(Kind::TupleVariant, index);
        let call = self.group_call(self.encoding.below(call, 0), len);
        let inner = self.inner.serialize_tuple_variant(name, index, variant, len)?;
        Ok(Parts::new(self.encoding, inner, depth, call, Some(len)))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let depth = self.deeper(1)?;
        let call = self.call(Step::of(Kind::Map));
        Ok(Parts::new(self.encoding, self.inner.serialize_map(len)?, depth, call, len))
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let depth = self.deeper(1)?;
        let call = self.group_call(self.place, len);
        let inner = self.inner.serialize_struct(name, len)?;
        Ok(Parts::new(self.encoding, inner, depth, call, Some(len)))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let depth = self.deeper(self.variant())?;
        let call = self.variant_call(Kind::StructVariant, index);
        let call = self.group_call(self.encoding.below(call, 0), len);
        let inner = self.inner.serialize_struct_variant(name, index, variant, len)?;
        Ok(Parts::new(self.encoding, inner, depth, call, Some(len)))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}
