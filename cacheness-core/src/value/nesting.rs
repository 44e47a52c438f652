//! Counts the levels of a value while it is written, as [`Whole`](super::whole_tuples::Whole) counts them while it is
//! read: lists, maps, structs, tuples, `Some`, newtypes, and variants that hold something. So what is put is not too deep to be got,
//! in `msgpack`; the other formats of ours have checks of their own.

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// How many levels of anything that holds another value a value may have.
pub(super) const LEVELS: u32 = 256;

/// The same where brackets are counted by the format, and anything else is not.
pub(super) const LEVELS_BESIDE_BRACKETS: u32 = 384;

/// What is said of a value with more.
pub(super) const TOO_DEEP: &str = "it is nested deeper than this format allows";

/// A value, a serializer, or what it gives for the parts of a value, with how many levels there may be below.
pub(super) struct Nested<T> {
    inner: T,
    levels: u32,
}

impl<T> Nested<T> {
    pub(super) fn new(inner: T, levels: u32) -> Self {
        Self { inner, levels }
    }
}

impl<S: Serializer> Nested<S> {
    #[inline]
    fn below(&self) -> Result<u32, S::Error> {
        self.levels.checked_sub(1).ok_or_else(|| S::Error::custom(TOO_DEEP))
    }

    fn two_below(&self) -> Result<u32, S::Error> {
        self.levels.checked_sub(2).ok_or_else(|| S::Error::custom(TOO_DEEP))
    }
}

impl<T: Serialize> Serialize for Nested<T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.inner.serialize(Nested::new(serializer, self.levels))
    }
}

macro_rules! pass_on {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {
        $(#[inline]
        fn $method(self, $($name: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($name),*)
        })*
    };
}

macro_rules! below {
    ($($method:ident($($name:ident: $type:ty),*) -> $parts:ident;)*) => {
        $(#[inline]
        fn $method(self, $($name: $type),*) -> Result<Self::$parts, S::Error> {
            let levels = self.below()?;
            Ok(Nested::new(self.inner.$method($($name),*)?, levels))
        })*
    };
}

impl<S: Serializer> Serializer for Nested<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Nested<S::SerializeSeq>;
    type SerializeTuple = Nested<S::SerializeTuple>;
    type SerializeTupleStruct = Nested<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Nested<S::SerializeTupleVariant>;
    type SerializeMap = Nested<S::SerializeMap>;
    type SerializeStruct = Nested<S::SerializeStruct>;
    type SerializeStructVariant = Nested<S::SerializeStructVariant>;

    pass_on! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    below! {
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
    }

    // These two are a map around a list or a map where serde reads them before it knows of which type they are, as in
    // untagged enums.
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let levels = self.two_below()?;
        Ok(Nested::new(self.inner.serialize_tuple_variant(name, index, variant, len)?, levels))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let levels = self.two_below()?;
        Ok(Nested::new(self.inner.serialize_struct_variant(name, index, variant, len)?, levels))
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = Nested::new(value, self.below()?);
        self.inner.serialize_some(&value)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = Nested::new(value, self.below()?);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = Nested::new(value, self.below()?);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    #[inline]
    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, elements: I) -> Result<S::Ok, S::Error> {
        let levels = self.below()?;
        if is_number(std::any::type_name::<I::Item>()) {
            return self.inner.collect_seq(elements);
        }
        self.inner.collect_seq(elements.into_iter().map(|element| Nested::new(element, levels)))
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// True for a reference to a number, which holds no other value: lists of them are long, and their encoding is a loop that
/// must stay as short as it is. A name that is spelt otherwise one day costs that, and nothing else.
#[inline]
fn is_number(type_name: &str) -> bool {
    matches!(
        type_name,
        "&f64" | "&f32" | "&u64" | "&i64" | "&u32" | "&i32" | "&u16" | "&i16" | "&u8" | "&i8" | "&bool"
    )
}

macro_rules! parts {
    ($($trait:ident { $($method:ident($($name:ident: $type:ty)?)),* })*) => {
        $(impl<S: $trait> $trait for Nested<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $($name: $type,)? value: &T) -> Result<(), S::Error> {
                let value = Nested::new(value, self.levels);
                self.inner.$method($($name,)? &value)
            })*

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

parts! {
    SerializeSeq { serialize_element() }
    SerializeTuple { serialize_element() }
    SerializeTupleStruct { serialize_field() }
    SerializeTupleVariant { serialize_field() }
    SerializeMap { serialize_key(), serialize_value() }
    SerializeStruct { serialize_field(name: &'static str) }
    SerializeStructVariant { serialize_field(name: &'static str) }
}
