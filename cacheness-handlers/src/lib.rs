//! The formats in which Cacheness stores values.
//!
//! | handler | name | class | claims | feature |
//! |---|---|---|---|---|
//! | [`BytesHandler`] | `bytes` | bytes | `&[u8]`, `Vec<u8>`, `Box<[u8]>`, `Bytes` | `serde-formats` |
//! | [`TextHandler`] | `text` | text | `&str`, `String` | `serde-formats` |
//! | [`ArrowIpcHandler`] | `arrow_ipc` | table | `RecordBatch`, `Vec<RecordBatch>` | `arrow` |
//! | [`ParquetHandler`] | `parquet` | table | the same | `arrow` |
//! | [`MsgpackHandler`] | `msgpack` | serde | every serde type | `serde-formats` |
//! | [`NpyHandler`] | `npy` | native | [`Npy`], an `ndarray` array | `npy` |
//! | [`JsonHandler`] | `json` | serde | every serde type | `json` |
//! | [`BincodeHandler`] | `bincode` | serde | every serde type | `bincode` |
//! | [`PostcardHandler`] | `postcard` | serde | every serde type | `postcard` |
//!
//! The registry asks handlers in order, and the first that claims a value writes it. The order above is the one to
//! register them in: `msgpack` comes after `bytes` and `text`, because text and bytes are serde types too, and
//! `arrow_ipc` comes before `parquet`, because a table is read back from it without copying.
//! `PutOptions::handler("parquet")` chooses Parquet for one value: it is smaller, and of a remote blob only the columns
//! asked for are fetched. `json`, `bincode` and `postcard` claim what `msgpack` claims, so they are used only where a put
//! names them, or where a registry has them first.

#[cfg(feature = "arrow")]
mod arrow_ipc;
#[cfg(feature = "npy")]
mod npy;
#[cfg(feature = "arrow")]
mod parquet;
#[cfg(feature = "serde-formats")]
mod plain;
#[cfg(any(feature = "json", feature = "bincode", feature = "postcard"))]
mod strict;
#[cfg(feature = "arrow")]
mod table;
#[cfg(any(
    feature = "serde-formats",
    feature = "json",
    feature = "bincode",
    feature = "postcard",
    feature = "npy"
))]
mod whole;

#[cfg(feature = "arrow")]
pub use self::arrow_ipc::ArrowIpcHandler;
#[cfg(feature = "npy")]
pub use self::npy::{Npy, NpyElement, NpyHandler, ViaNpy};
#[cfg(feature = "arrow")]
pub use self::parquet::ParquetHandler;
#[cfg(feature = "serde-formats")]
pub use self::plain::{BytesHandler, MsgpackHandler, TextHandler};
#[cfg(feature = "bincode")]
pub use self::strict::BincodeHandler;
#[cfg(feature = "json")]
pub use self::strict::JsonHandler;
#[cfg(feature = "postcard")]
pub use self::strict::PostcardHandler;
#[cfg(feature = "arrow")]
pub use self::table::ViaArrow;
