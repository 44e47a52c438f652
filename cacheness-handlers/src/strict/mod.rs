//! Serde formats that are chosen by name, each held to what it can bring back.
//!
//! Some types encode in them and never decode, and some decode as another value. So a value whose shape its type has not
//! shown before is decoded back when it is put, and compared.

#[cfg(feature = "bincode")]
mod bincode;
#[cfg(any(feature = "json", feature = "postcard"))]
mod erased;
mod format;
mod handler;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "postcard")]
mod postcard;
mod proofs;

#[cfg(feature = "bincode")]
pub use self::bincode::BincodeHandler;
#[cfg(feature = "json")]
pub use self::json::JsonHandler;
#[cfg(feature = "postcard")]
pub use self::postcard::PostcardHandler;
