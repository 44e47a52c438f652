//! The formats in which Cacheness stores values.
//!
//! | handler | name | class | claims | feature |
//! |---|---|---|---|---|
//! | [`BytesHandler`] | `bytes` | bytes | `&[u8]`, `Vec<u8>`, `Box<[u8]>`, `Bytes` | `serde-formats` |
//! | [`TextHandler`] | `text` | text | `&str`, `String` | `serde-formats` |
//! | [`ArrowIpcHandler`] | `arrow_ipc` | table | `RecordBatch`, `Vec<RecordBatch>` | `arrow` |
//! | [`ParquetHandler`] | `parquet` | table | the same | `arrow` |
//! | [`MsgpackHandler`] | `msgpack` | serde | every serde type | `serde-formats` |
//!
//! The registry asks handlers in order, and the first that claims a value writes it. The order above is the one to
//! register them in: `msgpack` comes last, because text and bytes are serde types too, and `arrow_ipc` comes before
//! `parquet`, because a table is read back from it without copying. `PutOptions::handler("parquet")` chooses Parquet
//! for one value: it is smaller, and of a remote blob only the columns asked for are fetched.

#[cfg(feature = "arrow")]
mod arrow_ipc;
#[cfg(feature = "arrow")]
mod parquet;
#[cfg(feature = "serde-formats")]
mod plain;
#[cfg(feature = "arrow")]
mod table;

#[cfg(feature = "arrow")]
pub use self::arrow_ipc::ArrowIpcHandler;
#[cfg(feature = "arrow")]
pub use self::parquet::ParquetHandler;
#[cfg(feature = "serde-formats")]
pub use self::plain::{BytesHandler, MsgpackHandler, TextHandler};
#[cfg(feature = "arrow")]
pub use self::table::ViaArrow;
