//! The parts of a list, a tuple, a struct or a map on their way into a format.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::Fields;
use super::encoding::Encoding;
use super::guard::Guarded;
use super::shapes::Place;
use super::trace::{Kind, Step};

/// The serializer of the parts of a value, which lie at `depth`.
pub(super) struct Parts<'a, S> {
    inner: S,
    encoding: &'a Encoding<'a>,
    depth: u32,
    /// The call that the parts belong to; of a list, the place of its elements.
    call: Option<Place>,
    declared: Option<usize>,
    written: usize,
    skipped: usize,
}

impl<'a, S> Parts<'a, S> {
    pub(super) fn new(
        encoding: &'a Encoding<'a>,
        inner: S,
        depth: u32,
        call: Option<Place>,
        declared: Option<usize>,
    ) -> Self {
        Self { inner, encoding, depth, call, declared, written: 0, skipped: 0 }
    }

    #[inline]
    fn at<'v, T: ?Sized>(&self, place: Option<Place>, value: &'v T) -> Guarded<'v, T>
    where
        'a: 'v,
    {
        Guarded::at(value, self.encoding, self.depth, place)
    }

    #[inline]
    fn element<'v, T: ?Sized>(&mut self, value: &'v T) -> Guarded<'v, T>
    where
        'a: 'v,
    {
        self.written += 1;
        self.at(self.call, value)
    }

    #[inline]
    fn field<'v, T: ?Sized>(&mut self, value: &'v T) -> Guarded<'v, T>
    where
        'a: 'v,
    {
        let place = self.encoding.below(self.call, self.written + self.skipped);
        self.written += 1;
        self.at(place, value)
    }

    fn skip<E: serde::ser::Error>(&mut self, field: &str) -> Result<(), E> {
        if self.encoding.rules.fields == Fields::ByPosition {
            let reason = format!("its field `{field}` is left out, and fields are found by their position");
            return Err(self.encoding.refuse(&reason));
        }
        let place = self.encoding.below(self.call, self.written + self.skipped);
        self.encoding.call(place, Step::of(Kind::Skipped));
        self.skipped += 1;
        Ok(())
    }

    /// A length that is not true leads the reader astray, in formats that write it.
    fn check_end<E: serde::ser::Error>(&self) -> Result<(), E> {
        self.encoding.trace(Step::counted(Kind::End, self.written));
        let written = self.written;
        match self.declared {
            Some(declared) if declared != written && declared != written + self.skipped => {
                let reason = format!("it says that it has {declared} parts somewhere, and has {written}");
                Err(self.encoding.refuse(&reason))
            }
            _ => Ok(()),
        }
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident as $part:ident;)*) => {
        $(impl<S: $trait> $trait for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.$part(value);
                self.inner.$method(&value)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.check_end()?;
                self.inner.end()
            }
        })*
    };
}

elements! {
    SerializeSeq::serialize_element as element;
    SerializeTuple::serialize_element as field;
    SerializeTupleStruct::serialize_field as field;
    SerializeTupleVariant::serialize_field as field;
}

macro_rules! fields {
    ($($trait:ident;)*) => {
        $(impl<S: $trait> $trait for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.field(value);
                self.inner.serialize_field(name, &value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                self.skip(name)?;
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.check_end()?;
                self.inner.end()
            }
        })*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

impl<S: SerializeMap> SerializeMap for Parts<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.written += 1;
        let key = self.at(self.encoding.below(self.call, 0), key);
        self.inner.serialize_key(&key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.at(self.encoding.below(self.call, 1), value);
        self.inner.serialize_value(&value)
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.check_end()?;
        self.inner.end()
    }
}
