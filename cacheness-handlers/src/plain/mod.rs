//! Formats that are written and read in one piece: bytes, text and MessagePack.

mod bytes;
mod msgpack;
mod text;

use cacheness_core::{BlobWriter, Error, ErrorKind, ReadOptions, Result, TypeTarget};

pub use self::bytes::BytesHandler;
pub use self::msgpack::MsgpackHandler;
pub use self::text::TextHandler;

fn write_all(writer: &mut dyn BlobWriter, bytes: &[u8]) -> Result<()> {
    writer.write_all(bytes).map_err(|error| Error::io(error, "writing the value"))
}

/// Refuses columns, rows and filters, which these formats do not have.
fn refuse_partial(handler: &str, options: &ReadOptions) -> Result<()> {
    if options.is_partial() {
        let message =
            format!("the handler `{handler}` has no columns or rows; get the value without such options");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

fn wrong_target(handler: &str, target: &TypeTarget) -> Error {
    let message = format!("the handler `{handler}` cannot make a `{}`", target.type_name());
    Error::new(ErrorKind::Decode, message)
}

fn not_claimed(handler: &str, type_name: &str) -> Error {
    Error::new(ErrorKind::Encode, format!("the handler `{handler}` cannot write a `{type_name}`"))
}
