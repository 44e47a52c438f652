//! The one error type: what was being done, to what, what was found, and what to do next.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong, in a form that a program can act on.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A configuration has an unknown, malformed or impossible option.
    ConfigInvalid,
    /// An argument breaks a documented rule, such as an empty key.
    InvalidInput,
    /// A handler, backend or policy was named that the registry does not know.
    NotRegistered,
    /// Something that must exist does not, such as the folder given to `open_existing`.
    NotFound,
    /// The backend or the handler cannot do what was asked.
    Unsupported,
    /// No registered handler takes a value of this type.
    NoHandler,
    /// The entry holds another class or type tag than was asked for.
    TypeMismatch,
    /// A value could not be turned into bytes.
    Encode,
    /// Bytes could not be turned into the value asked for.
    Decode,
    /// Stored bytes are not the ones that were written.
    Corrupted,
    /// The signature of an entry is missing or is not that of what it says: somebody else wrote, changed or moved it.
    Untrusted,
    /// An entry is encrypted with a key that this cache was not given.
    UnknownKey,
    /// A condition on an operation did not hold.
    Conflict,
    /// A value or key is larger than a limit allows.
    LimitExceeded,
    /// The disk or the store has no room left.
    StorageFull,
    /// The operating system or the server refused access.
    PermissionDenied,
    /// The operation did not finish within its bound.
    Timeout,
    /// A backend cannot be reached or does not answer.
    Unavailable,
    /// The cache has been closed.
    Closed,
    /// A handler panicked; the cache goes on working.
    HandlerPanicked,
    /// The function that computes a missing value failed.
    Compute,
    /// A computation asked for the key that it is computing.
    Recursion,
    /// The operating system reported another I/O error.
    Io,
    /// A state that should not occur; please report it.
    Unexpected,
}

impl ErrorKind {
    /// True where the source of such an error is what a decoder, an encoder or a handler said.
    fn may_quote_the_value(self) -> bool {
        matches!(self, Self::Decode | Self::Encode | Self::HandlerPanicked)
    }

    fn describe(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "invalid configuration",
            Self::InvalidInput => "invalid input",
            Self::NotRegistered => "not registered",
            Self::NotFound => "not found",
            Self::Unsupported => "unsupported",
            Self::NoHandler => "no handler",
            Self::TypeMismatch => "type mismatch",
            Self::Encode => "cannot encode",
            Self::Decode => "cannot decode",
            Self::Corrupted => "corrupted",
            Self::Untrusted => "untrusted",
            Self::UnknownKey => "unknown key",
            Self::Conflict => "conflict",
            Self::LimitExceeded => "limit exceeded",
            Self::StorageFull => "storage full",
            Self::PermissionDenied => "permission denied",
            Self::Timeout => "timed out",
            Self::Unavailable => "unavailable",
            Self::Closed => "closed",
            Self::HandlerPanicked => "handler panicked",
            Self::Compute => "computation failed",
            Self::Recursion => "recursive computation",
            Self::Io => "I/O error",
            Self::Unexpected => "unexpected state",
        }
    }
}

impl ErrorKind {
    /// The kind in metrics, such as `"storage_full"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "config_invalid",
            Self::InvalidInput => "invalid_input",
            Self::NotRegistered => "not_registered",
            Self::NotFound => "not_found",
            Self::Unsupported => "unsupported",
            Self::NoHandler => "no_handler",
            Self::TypeMismatch => "type_mismatch",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::Corrupted => "corrupted",
            Self::Untrusted => "untrusted",
            Self::UnknownKey => "unknown_key",
            Self::Conflict => "conflict",
            Self::LimitExceeded => "limit_exceeded",
            Self::StorageFull => "storage_full",
            Self::PermissionDenied => "permission_denied",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Closed => "closed",
            Self::HandlerPanicked => "handler_panicked",
            Self::Compute => "compute",
            Self::Recursion => "recursion",
            Self::Io => "io",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the cache, a handler or a backend.
///
/// It is cheap to clone, so that one failure can be handed to every waiting caller.
///
/// ```
/// use cacheness_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "the server closed the connection")
///     .with_operation("get")
///     .with_context("key", "user:1");
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert!(error.is_temporary());
/// assert_eq!(error.to_string(), "unavailable in get: the server closed the connection (key: user:1)");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    temporary: bool,
    outcome_unknown: bool,
}

impl Error {
    /// Makes an error of `kind`; `message` says what was found and what to do about it.
    ///
    /// [`ErrorKind::Timeout`] and [`ErrorKind::Unavailable`] start out as temporary, the others do not. Those two,
    /// [`ErrorKind::Io`] and [`ErrorKind::Unexpected`] start out with an [unknown outcome](Self::is_outcome_unknown).
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let temporary = matches!(kind, ErrorKind::Timeout | ErrorKind::Unavailable);
        let outcome_unknown = temporary || matches!(kind, ErrorKind::Io | ErrorKind::Unexpected);
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            context: Vec::new(),
            source: None,
            temporary,
            outcome_unknown,
        }))
    }

    /// Wraps an operating system error: its kind follows the error's own, `message` says what was being done.
    #[must_use]
    pub fn io(error: std::io::Error, message: impl Into<String>) -> Self {
        use std::io::ErrorKind as Io;
        // An error of ours that travelled through a `Write` or `Read` comes out as it went in.
        if let Some(inner) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
            return inner.clone();
        }
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::StorageFull,
            Io::TimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Io,
        };
        Self::new(kind, message).with_source(error)
    }

    /// Names the operation that failed, unless one closer to the failure has been named already.
    #[must_use]
    pub fn with_operation(self, operation: &'static str) -> Self {
        self.change(|inner| {
            inner.operation.get_or_insert(operation);
        })
    }

    /// Adds one fact about what was acted on, such as the key, the path or the server. A name that is already
    /// there keeps its first value.
    #[must_use]
    pub fn with_context(self, name: &'static str, value: impl Into<String>) -> Self {
        self.change(|inner| {
            if !inner.context.iter().any(|(known, _)| *known == name) {
                inner.context.push((name, shorten(value.into())));
            }
        })
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = Arc::from(source.into());
        self.change(|inner| inner.source = Some(source))
    }

    /// Says whether trying again later may succeed.
    #[must_use]
    pub fn with_temporary(self, temporary: bool) -> Self {
        self.change(|inner| inner.temporary = temporary)
    }

    /// Says whether the call that failed may have changed something all the same. A backend that knows that its request
    /// was never sent, as one that cannot connect, says `false`: then the call is made again, whatever it was to change.
    #[must_use]
    pub fn with_outcome_unknown(self, unknown: bool) -> Self {
        self.change(|inner| inner.outcome_unknown = unknown)
    }

    /// The error as logs show it: without the key, and without what a decoder or a handler said, which may quote the
    /// value.
    pub(crate) fn without_key(&self) -> WithoutKey<'_> {
        WithoutKey(self)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, whole: bool) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(inner.kind.describe())?;
        if let Some(operation) = inner.operation {
            write!(f, " in {operation}")?;
        }
        write!(f, ": {}", inner.message)?;
        let mut before = " (";
        for (name, value) in inner.context.iter().filter(|(name, _)| whole || *name != "key") {
            write!(f, "{before}{name}: {}", value.escape_debug())?;
            before = ", ";
        }
        if before != " (" {
            f.write_str(")")?;
        }
        let Some(source) = &inner.source else { return Ok(()) };
        match (whole, source.downcast_ref::<Self>()) {
            (true, _) => write!(f, ": {source}"),
            (false, Some(source)) => write!(f, ": {}", source.without_key()),
            (false, None) if inner.kind.may_quote_the_value() => Ok(()),
            (false, None) => write!(f, ": {source}"),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// True where the same call may succeed later without a change to it.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.0.temporary
    }

    /// True where the call that failed may have changed something all the same, as a commit whose answer was lost. It says
    /// nothing of calls that change nothing.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.0.outcome_unknown
    }

    /// The operation that failed, such as `"put"`.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// What was acted on: pairs of a name and a value.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// What a panic said, where it said something.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// A key may be 64 KiB long; a message shows its beginning.
fn shorten(mut value: String) -> String {
    const LONGEST: usize = 200;
    if value.len() > LONGEST {
        let length = value.len();
        value.truncate(value.floor_char_boundary(LONGEST));
        value.push_str(&format!("… ({length} bytes)"));
    }
    value
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, true)
    }
}

/// An error for logs.
pub(crate) struct WithoutKey<'a>(&'a Error);

impl fmt::Display for WithoutKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, false)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

impl From<Error> for std::io::Error {
    /// Lets a handler hand a cache error through `std::io::Write`; [`Error::io`] takes it out again.
    fn from(error: Error) -> Self {
        std::io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_shows_neither_the_key_nor_what_a_decoder_quotes() {
        let quoting = std::io::Error::other("invalid type: string \"hunter2\"");
        let decode = Error::new(ErrorKind::Decode, "the stored bytes are no `u8`").with_source(quoting);
        let error = Error::new(ErrorKind::TypeMismatch, "put as another class")
            .with_operation("get")
            .with_context("key", "user:1")
            .with_context("path", "/cache")
            .with_source(decode.with_context("key", "user:1"));
        assert_eq!(
            error.without_key().to_string(),
            "type mismatch in get: put as another class (path: /cache): cannot decode: the stored bytes are no `u8`"
        );
        let whole = error.to_string();
        assert!(whole.contains("(key: user:1, path: /cache)") && whole.contains("hunter2"), "{whole}");
        for kind in [ErrorKind::Decode, ErrorKind::Encode, ErrorKind::HandlerPanicked] {
            let error = Error::new(kind, "of a value").with_source(std::io::Error::other("hunter2"));
            assert!(!error.without_key().to_string().contains("hunter2"), "{kind:?}");
        }
    }
}
