//! Formats that are written and read in one piece: bytes, text and MessagePack.

mod bytes;
mod msgpack;
mod text;

pub use self::bytes::BytesHandler;
pub use self::msgpack::MsgpackHandler;
pub use self::text::TextHandler;
