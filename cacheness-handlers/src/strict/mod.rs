//! Holds serde formats to what they can bring back: a value that they would lose is refused when it is put, and stored
//! bytes decode within bounds.
//!
//! The wrappers lie between a type's own serde code and the format's: [`Guard`] around a serializer, [`Bounded`] around
//! a deserializer.

#[cfg(any(feature = "bincode", feature = "postcard"))]
mod decode;
mod encode;
mod format;

use std::cell::RefCell;
use std::fmt::Display;

#[cfg(any(feature = "bincode", feature = "postcard"))]
use self::decode::{Bounded, Bounds};
#[cfg(any(feature = "bincode", feature = "postcard"))]
pub(crate) use self::format::decode;
pub(crate) use self::format::{Format, FormatError, encode, read};

/// What a format can bring back.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// How deep values nest at most.
    pub(crate) max_depth: u32,
    /// What a level is.
    pub(crate) levels: Levels,
    /// False where a field is found by its position: one that is left out shifts all that follow.
    pub(crate) skipped_fields: bool,
    /// False where NaN and the infinities are written as something else.
    pub(crate) non_finite_floats: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Levels {
    /// All that holds another value, `Some` and newtypes too.
    #[cfg(any(feature = "bincode", feature = "postcard"))]
    All,
    /// The arrays and objects of the text.
    #[cfg(feature = "json")]
    Brackets,
}

/// Why a value or stored bytes are refused. Formats drop the text of an error, so it is kept here.
#[derive(Default)]
struct Refusal(RefCell<Option<String>>);

impl Refusal {
    /// Keeps the first reason; what follows is how it was handed on.
    fn note(&self, reason: impl Display) {
        self.0.borrow_mut().get_or_insert_with(|| reason.to_string());
    }

    fn take(&self) -> Option<String> {
        self.0.borrow_mut().take()
    }
}
