//! Serde code compiled for each type behind a vtable, so that handlers are not generic and still fast.

use std::any::Any;
use std::io::Write;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "bincode")]
use crate::strict::{Bounds, Encoding, FormatError};
#[cfg(feature = "bincode")]
use crate::value::bincode;
use crate::value::nesting::{LEVELS, LEVELS_BESIDE_BRACKETS, Nested};
use crate::value::whole_tuples::Whole;
use crate::value::{BoxedValue, CacheValue, ValueRef};

/// What a serde value can do. Its methods are compiled for the value's type.
pub(crate) trait SerdeValue: Send + Sync {
    fn msgpack(&self, writer: &mut dyn Write) -> Result<()>;
    #[cfg(feature = "bincode")]
    fn bincode(&self, writer: &mut dyn Write, encoding: &Encoding<'_>) -> Result<(), FormatError>;
    fn erased(&self) -> &dyn erased_serde::Serialize;
}

impl<T: Serialize + Send + Sync> SerdeValue for T {
    fn msgpack(&self, writer: &mut dyn Write) -> Result<()> {
        // A buffer on this side of the vtable lets the encoder's many small writes be inlined.
        let mut buffered = std::io::BufWriter::new(writer);
        let value = Nested::new(self, LEVELS);
        rmp_serde::encode::write_named(&mut buffered, &value).map_err(|error| encode_error::<T>(error))?;
        buffered.flush().map_err(|error| Error::io(error, "writing the encoded value"))
    }

    #[cfg(feature = "bincode")]
    fn bincode(&self, writer: &mut dyn Write, encoding: &Encoding<'_>) -> Result<(), FormatError> {
        bincode::encode(self, writer, encoding)
    }

    fn erased(&self) -> &dyn erased_serde::Serialize {
        self
    }
}

fn encode_error<T>(error: rmp_serde::encode::Error) -> Error {
    use rmp_serde::encode::Error as Rmp;
    match error {
        Rmp::InvalidValueWrite(rmp_error) => {
            let io: std::io::Error = rmp_error.into();
            Error::io(io, "writing the encoded value")
        }
        other => {
            let message = format!("`{}` does not serialise", std::any::type_name::<T>());
            Error::new(ErrorKind::Encode, message).with_source(other)
        }
    }
}

/// What a serde type can be made from. Implemented by a marker of the type, which has no value yet.
pub(crate) trait SerdeTarget: Send + Sync {
    fn msgpack(&self, bytes: &[u8]) -> Result<BoxedValue>;
    #[cfg(feature = "bincode")]
    fn bincode(&self, bytes: &[u8], bounds: &Bounds) -> Result<(BoxedValue, usize), FormatError>;
    fn erased(&self, from: &mut dyn erased_serde::Deserializer<'_>) -> Result<BoxedValue>;
    fn value_ref<'a>(&self, value: &'a (dyn Any + Send + Sync)) -> Option<ValueRef<'a>>;
}

impl<T: Serialize + DeserializeOwned + Any + Send + Sync> SerdeTarget for PhantomData<fn() -> T> {
    fn msgpack(&self, bytes: &[u8]) -> Result<BoxedValue> {
        // Serde bounds what is reserved by a stated length.
        let mut input = bytes;
        let mut from = rmp_serde::Deserializer::new(&mut input);
        let value =
            T::deserialize(Whole::new(&mut from, LEVELS)).map_err(|error| decode_error::<T>(error))?;
        drop(from);
        if !input.is_empty() {
            let message =
                format!("{} bytes are left over after a `{}`", input.len(), std::any::type_name::<T>());
            return Err(Error::new(ErrorKind::Decode, message));
        }
        Ok(Box::new(value))
    }

    #[cfg(feature = "bincode")]
    fn bincode(&self, bytes: &[u8], bounds: &Bounds) -> Result<(BoxedValue, usize), FormatError> {
        let (value, left) = bincode::decode::<T>(bytes, bounds)?;
        Ok((Box::new(value), left))
    }

    fn erased(&self, from: &mut dyn erased_serde::Deserializer<'_>) -> Result<BoxedValue> {
        let from = Whole::new(from, LEVELS_BESIDE_BRACKETS);
        let value = T::deserialize(from).map_err(|error| decode_error::<T>(error))?;
        Ok(Box::new(value))
    }

    fn value_ref<'a>(&self, value: &'a (dyn Any + Send + Sync)) -> Option<ValueRef<'a>> {
        value.downcast_ref::<T>().map(CacheValue::value_ref)
    }
}

fn decode_error<T>(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message = format!("the stored bytes are no `{}`", std::any::type_name::<T>());
    Error::new(ErrorKind::Decode, message).with_source(error)
}
