//! The wrapper around a serializer.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{Levels, Refusal, Rules};

/// What is known of one value on its way into a format.
pub(super) struct Encoding {
    rules: Rules,
    refusal: Refusal,
}

impl Encoding {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, refusal: Refusal::default() }
    }

    pub(super) fn guard<'a, T: ?Sized>(&'a self, value: &'a T) -> Guarded<'a, T> {
        Guarded { value, encoding: self, depth: 0 }
    }

    pub(super) fn take_refusal(&self) -> Option<String> {
        self.refusal.take()
    }

    fn refuse<E: serde::ser::Error>(&self, reason: &str) -> E {
        self.refusal.note(reason);
        E::custom(reason)
    }
}

/// A value that reaches the format through a [`Guard`].
pub(super) struct Guarded<'a, T: ?Sized> {
    value: &'a T,
    encoding: &'a Encoding,
    depth: u32,
}

impl<T: Serialize + ?Sized> Serialize for Guarded<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Guard { inner: serializer, encoding: self.encoding, depth: self.depth })
    }
}

/// A serializer, or what one makes for the parts of a value; they lie at `depth`.
struct Guard<'a, S> {
    inner: S,
    encoding: &'a Encoding,
    depth: u32,
}

impl<'a, S> Guard<'a, S> {
    fn part<'v, T: ?Sized>(&self, value: &'v T) -> Guarded<'v, T>
    where
        'a: 'v,
    {
        Guarded { value, encoding: self.encoding, depth: self.depth }
    }

    /// The depth of the parts of a value that takes so many levels.
    fn below<E: serde::ser::Error>(&self, levels: u32) -> Result<u32, E> {
        let depth = self.depth + levels;
        if depth > self.encoding.rules.max_depth {
            let most = self.encoding.rules.max_depth;
            return Err(self.encoding.refuse(&format!("it is nested deeper than {most} levels")));
        }
        Ok(depth)
    }

    /// How many levels a wrapper around one value takes, such as `Some`.
    fn wrapper(&self) -> u32 {
        u32::from(!self.in_brackets())
    }

    /// How many levels a variant with fields takes: in brackets its name is an object of its own.
    fn variant(&self) -> u32 {
        1 + u32::from(self.in_brackets())
    }

    fn in_brackets(&self) -> bool {
        match self.encoding.rules.levels {
            #[cfg(feature = "json")]
            Levels::Brackets => true,
            #[cfg(any(feature = "bincode", feature = "postcard"))]
            Levels::All => false,
        }
    }

    fn check_float<E: serde::ser::Error>(&self, finite: bool) -> Result<(), E> {
        if !finite && !self.encoding.rules.non_finite_floats {
            return Err(self.encoding.refuse("it holds a float that is not a number or infinite"));
        }
        Ok(())
    }

    fn check_skipped<E: serde::ser::Error>(&self, field: &str) -> Result<(), E> {
        if !self.encoding.rules.skipped_fields {
            let reason = format!("its field `{field}` is left out, and fields are found by their position");
            return Err(self.encoding.refuse(&reason));
        }
        Ok(())
    }
}

macro_rules! scalars {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        })*
    };
}

impl<'a, S: Serializer> Serializer for Guard<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Guard<'a, S::SerializeSeq>;
    type SerializeTuple = Guard<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Guard<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Guard<'a, S::SerializeTupleVariant>;
    type SerializeMap = Guard<'a, S::SerializeMap>;
    type SerializeStruct = Guard<'a, S::SerializeStruct>;
    type SerializeStructVariant = Guard<'a, S::SerializeStructVariant>;

    scalars! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_unit_struct(&'static str);
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.check_float(value.is_finite())?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.check_float(value.is_finite())?;
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let depth = self.below(self.wrapper())?;
        self.inner.serialize_some(&Guarded { value, encoding: self.encoding, depth })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let depth = self.below(self.wrapper())?;
        self.inner.serialize_newtype_struct(name, &Guarded { value, encoding: self.encoding, depth })
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.below(self.wrapper())?;
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = Guarded { value, encoding: self.encoding, depth: self.below(1)? };
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        let depth = self.below(1)?;
        Ok(Guard { inner: self.inner.serialize_seq(len)?, encoding: self.encoding, depth })
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        let depth = self.below(1)?;
        Ok(Guard { inner: self.inner.serialize_tuple(len)?, encoding: self.encoding, depth })
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        let depth = self.below(1)?;
        Ok(Guard { inner: self.inner.serialize_tuple_struct(name, len)?, encoding: self.encoding, depth })
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let depth = self.below(self.variant())?;
        let inner = self.inner.serialize_tuple_variant(name, index, variant, len)?;
        Ok(Guard { inner, encoding: self.encoding, depth })
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        let depth = self.below(1)?;
        Ok(Guard { inner: self.inner.serialize_map(len)?, encoding: self.encoding, depth })
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let depth = self.below(1)?;
        Ok(Guard { inner: self.inner.serialize_struct(name, len)?, encoding: self.encoding, depth })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let depth = self.below(self.variant())?;
        let inner = self.inner.serialize_struct_variant(name, index, variant, len)?;
        Ok(Guard { inner, encoding: self.encoding, depth })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident;)*) => {
        $(impl<S: $trait> $trait for Guard<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.part(value);
                self.inner.$method(&value)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! fields {
    ($($trait:ident;)*) => {
        $(impl<S: $trait> $trait for Guard<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.part(value);
                self.inner.serialize_field(name, &value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.check_skipped(name)?;
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl<S: SerializeMap> SerializeMap for Guard<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        let key = self.part(key);
        self.inner.serialize_key(&key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.part(value);
        self.inner.serialize_value(&value)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}
