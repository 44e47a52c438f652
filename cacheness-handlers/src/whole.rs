//! What formats share that are written and read in one piece.

#[cfg(any(feature = "serde-formats", feature = "json", feature = "bincode", feature = "postcard"))]
use cacheness_core::BlobWriter;
use cacheness_core::{Error, ErrorKind, ReadOptions, Result, TypeTarget};

#[cfg(any(feature = "serde-formats", feature = "json", feature = "bincode", feature = "postcard"))]
pub(crate) fn write_all(writer: &mut dyn BlobWriter, bytes: &[u8]) -> Result<()> {
    writer.write_all(bytes).map_err(|error| Error::io(error, "writing the value"))
}

/// Refuses columns, rows and filters, which these formats do not have.
pub(crate) fn refuse_partial(handler: &str, options: &ReadOptions) -> Result<()> {
    if options.is_partial() {
        let message =
            format!("the handler `{handler}` has no columns or rows; get the value without such options");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

pub(crate) fn wrong_target(handler: &str, target: &TypeTarget) -> Error {
    let message = format!("the handler `{handler}` cannot make a `{}`", target.type_name());
    Error::new(ErrorKind::Decode, message)
}

pub(crate) fn not_claimed(handler: &str, type_name: &str) -> Error {
    Error::new(ErrorKind::Encode, format!("the handler `{handler}` cannot write a `{type_name}`"))
}
