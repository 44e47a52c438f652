//! Formats for which no code is compiled for each type: they see a type through an interface that is the same for all.

use std::io::{BufWriter, Write};

use cacheness_core::strict::{Bounded, Bounds, Encoding, FormatError};
use cacheness_core::{BoxedValue, Error, ErrorKind, TypeTarget, ValueRef};
use serde::Deserializer;
use serde::ser::Serialize;

/// The value as it has to be given to the serializer.
pub(super) fn guard<'a>(
    value: &ValueRef<'a>,
    encoding: &'a Encoding<'a>,
) -> Result<impl Serialize + 'a, FormatError> {
    let serde = value.as_serialize().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, format!("`{}` is no serde type", value.type_name()))
    })?;
    Ok(encoding.guard(serde))
}

/// Writes what is buffered of a whole value, and drops that of any other.
pub(super) fn finish<W: Write>(
    mut buffered: BufWriter<W>,
    encoded: Result<(), FormatError>,
) -> Result<(), FormatError> {
    let finished = encoded.and_then(|()| Ok(buffered.flush()?));
    drop(buffered.into_parts());
    finished
}

/// Makes the type asked for out of a format's deserializer.
pub(super) fn make<'de, D: Deserializer<'de>>(
    target: &TypeTarget,
    bounds: &Bounds,
    from: D,
) -> Result<BoxedValue, FormatError> {
    let mut from = <dyn erased_serde::Deserializer<'_>>::erase(Bounded::new(from, bounds));
    Ok(target.deserialize(&mut from)?)
}
