//! bincode, within the bounds that a handler sets.

use std::io::{BufWriter, Write};
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _};
use serde::ser::Serialize;

use crate::strict::{Bounded, Bounds, Encoding, FormatError};

pub(super) fn encode<T: Serialize>(
    value: &T,
    writer: &mut dyn Write,
    encoding: &Encoding<'_>,
) -> Result<(), FormatError> {
    // A buffer on this side of the vtable lets the encoder's many small writes be inlined.
    let mut buffered = BufWriter::new(writer);
    let value = encoding.guard(value);
    let encoded =
        ::bincode::serde::encode_into_std_write(&value, &mut buffered, ::bincode::config::standard());
    let encoded = match encoded {
        Ok(_) => buffered.flush().map_err(FormatError::from),
        Err(error) => Err(error.into()),
    };
    // What is still buffered after a failure belongs to a value that is not complete.
    drop(buffered.into_parts());
    encoded
}

/// Decodes one value, and says how many bytes follow it.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], bounds: &Bounds) -> Result<(T, usize), FormatError> {
    let seed = Within { bounds, made: PhantomData };
    let (value, read) = ::bincode::serde::seed_decode_from_slice(seed, bytes, ::bincode::config::standard())?;
    Ok((value, bytes.len().saturating_sub(read)))
}

struct Within<'a, T> {
    bounds: &'a Bounds,
    made: PhantomData<fn() -> T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Within<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        T::deserialize(Bounded::new(from, self.bounds)).map_err(D::Error::custom)
    }
}
