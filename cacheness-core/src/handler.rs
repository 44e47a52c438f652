//! Handlers: formats that turn the values they claim into bytes and back.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::error::Result;
use crate::options::ReadOptions;
use crate::stage::Compression;
use crate::value::{BoxedValue, TypeTarget, ValueRef};

/// What kind of value a handler stores. It is kept with each entry: a value put as one class and asked for as
/// another is a [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TypeClass {
    /// Any serde value.
    Serde,
    /// Bytes, as they are.
    Bytes,
    /// UTF-8 text, as it is.
    Text,
    /// A table of columns.
    Table,
    /// A type that only its own handler knows.
    Native,
}

impl TypeClass {
    /// The stable number by which the class is stored.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Serde => 1,
            Self::Bytes => 2,
            Self::Text => 3,
            Self::Table => 4,
            Self::Native => 5,
        }
    }

    /// The class that a stored number stands for; `None` for a number from a newer version.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::Serde, Self::Bytes, Self::Text, Self::Table, Self::Native]
            .into_iter()
            .find(|c| c.code() == code)
    }
}

impl fmt::Display for TypeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serde => "serde",
            Self::Bytes => "bytes",
            Self::Text => "text",
            Self::Table => "table",
            Self::Native => "native",
        })
    }
}

/// How a handler or a stage reads a blob. Ordered from the one that needs least: whatever allows `Map` also
/// allows `Range` and `Whole`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Access {
    /// From the first byte to the last.
    Whole,
    /// By ranges of bytes.
    Range,
    /// As one piece of memory that may be a map of the file.
    Map,
}

/// What a handler keeps with the entry for its own use when it reads: at most 64 KiB, opaque to the cache.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FormatMeta(Bytes);

impl FormatMeta {
    /// The most bytes that an entry keeps for its handler.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Keeps these bytes. The engine refuses more than [`MAX_LEN`](Self::MAX_LEN) of them.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes that `put` returned.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Where a handler writes a value. It is a plain [`Write`](std::io::Write): small values stay in memory, larger
/// ones go to a staged file of the blob backend, and nothing seeks back.
pub trait BlobWriter: std::io::Write + Send {
    /// How many bytes have been written so far.
    fn position(&self) -> u64;
}

/// Where a handler reads a value from. All bytes that it returns have been verified against their checksums.
///
/// Reading never waits for the network on an async worker thread: the engine runs a handler where the call is
/// only if the bytes are at hand, else on the blocking pool.
pub trait BlobReader: Send {
    /// The value's length in bytes.
    fn len(&self) -> u64;

    /// True for a value of no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of the value. For a local file this is the mapped file itself: nothing is copied, and the bytes begin
    /// at an address that is a multiple of 64.
    ///
    /// # Errors
    /// [`Corrupted`](crate::ErrorKind::Corrupted) where a checksum differs; the backend's error where it cannot
    /// read.
    fn bytes(&mut self) -> Result<Bytes>;

    /// As [`bytes`](Self::bytes), for a handler that reads nothing after it: the reader may give its bytes away, so
    /// that they become a `Vec` without a copy, and have none left.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    fn take_bytes(&mut self) -> Result<Bytes> {
        self.bytes()
    }

    /// The bytes in `range`, which must lie inside the value. Only the 256 KiB chunks that the range touches are
    /// fetched and verified.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); [`Decode`](crate::ErrorKind::Decode) for a range outside the value, because a
    /// handler takes its ranges from what is stored.
    fn read_at(&mut self, range: Range<u64>) -> Result<Bytes>;

    /// Says which ranges will be read next, so that a remote backend can fetch them all at once.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    fn prefetch(&mut self, ranges: &[Range<u64>]) -> Result<()>;
}

/// What the engine tells a handler about a put.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default)]
pub struct HandlerContext {
    /// The compression that the caller or the cache asks for. Only a format that
    /// [`compresses`](CacheHandler::compresses) looks at it; for all others the engine does it.
    pub compression: Option<Compression>,
}

/// A format: turns the values that it claims into bytes and back.
///
/// A handler is CPU work: it does no I/O but through the writer and the reader, and keeps no state between
/// calls. It may be called from any thread, and from several at once.
///
/// # What the engine guarantees
/// - `put` is called only with a value for which `can_handle` returned true.
/// - `get` is called only for an entry that a handler with this [`name`](Self::name) wrote, with the
///   [`FormatMeta`] that it returned then. The bytes are those that were written, verified; they may have been
///   written by another version of the handler, or by someone who wanted to harm the reader.
/// - A panic is caught and becomes [`HandlerPanicked`](crate::ErrorKind::HandlerPanicked).
///
/// # What an implementer must keep
/// - `get` returns the type that the target names, or an error; never a panic, and no allocation by a length that
///   it has not checked against what is there.
/// - The name stays the same for ever, and what one version wrote, later ones read.
///
/// ```
/// use cacheness_core::*;
///
/// /// Stores a `char` as its four bytes.
/// struct CharHandler;
///
/// impl CacheHandler for CharHandler {
///     fn name(&self) -> &str { "char" }
///     fn class(&self) -> TypeClass { TypeClass::Native }
///     fn can_handle(&self, value: &ValueRef<'_>) -> bool { value.any().is::<char>() }
///     fn can_decode(&self, target: &TypeTarget) -> bool { target.is::<char>() }
///
///     fn put(&self, value: &ValueRef<'_>, out: &mut dyn BlobWriter, _: &HandlerContext) -> Result<FormatMeta> {
///         let Some(&c) = value.any().downcast_ref::<char>() else {
///             return Err(Error::new(ErrorKind::Encode, "not a char"));
///         };
///         out.write_all(&u32::from(c).to_le_bytes()).map_err(|e| Error::io(e, "writing a char"))?;
///         Ok(FormatMeta::default())
///     }
///
///     fn get(&self, from: &mut dyn BlobReader, _: &FormatMeta, _: &TypeTarget, _: &ReadOptions) -> Result<BoxedValue> {
///         let bytes: [u8; 4] = from.bytes()?.as_ref().try_into()
///             .map_err(|_| Error::new(ErrorKind::Decode, "a char has four bytes"))?;
///         let c = char::from_u32(u32::from_le_bytes(bytes))
///             .ok_or_else(|| Error::new(ErrorKind::Decode, "no such character"))?;
///         Ok(Box::new(c))
///     }
/// }
/// ```
pub trait CacheHandler: Send + Sync + 'static {
    /// The name that is stored with each entry. It is chosen once and never changes.
    fn name(&self) -> &str;

    /// What it stores and how, in one sentence, for listings.
    fn description(&self) -> &str {
        ""
    }

    /// The class of the values that this handler stores.
    fn class(&self) -> TypeClass;

    /// True where this handler can write the value. The registry asks in priority order, and the first wins.
    fn can_handle(&self, value: &ValueRef<'_>) -> bool;

    /// True where this handler can make the type, given the right bytes.
    fn can_decode(&self, target: &TypeTarget) -> bool;

    /// Writes the value and returns what `get` will need to know.
    ///
    /// # Errors
    /// [`Encode`](crate::ErrorKind::Encode) where the value cannot be written in this format. Errors of the
    /// writer are handed on by [`Error::io`](crate::Error::io).
    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        context: &HandlerContext,
    ) -> Result<FormatMeta>;

    /// Reads a value of the type that `target` names.
    ///
    /// # Errors
    /// [`Decode`](crate::ErrorKind::Decode) where the bytes hold no such value,
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where `options` ask for what the format cannot do. Errors
    /// of the reader are handed on unchanged.
    fn get(
        &self,
        reader: &mut dyn BlobReader,
        meta: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue>;

    /// How this handler reads best. Blobs are mapped or fetched by ranges only for handlers that ask for it.
    fn preferred_access(&self) -> Access {
        Access::Whole
    }

    /// True where the format compresses inside itself. The engine then adds no compression of its own, which
    /// would hide the ranges.
    fn compresses(&self) -> bool {
        false
    }
}
