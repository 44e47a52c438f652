//! Holds serde formats to what they can bring back: a value that they would lose is refused when it is put, and stored
//! bytes decode within bounds.
//!
//! [`Encoding`] lies between a type's serde code and a serializer, [`Bounds`] between it and a deserializer. It is for
//! Cacheness's own handlers, and lies here because code compiled for each type has to be where the types enter.
//!
//! What a type does in a format that does not describe itself shows only when it is decoded back. That costs as much as
//! a get, so it is done for the first value of each shape: [`Shapes`] are what the values of a type were so far.

mod bounds;
mod decode;
mod elements;
mod encoding;
mod guard;
mod parts;
mod shapes;
mod trace;

use std::cell::RefCell;
use std::fmt::Display;

pub use self::bounds::Bounds;
pub use self::decode::Bounded;
pub use self::encoding::Encoding;
pub use self::guard::Guarded;
pub use self::shapes::Shapes;
pub use self::trace::Trace;

/// An error of a format's crate.
pub type FormatError = Box<dyn std::error::Error + Send + Sync>;

/// What a format can bring back.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// How deep values nest at most.
    pub max_depth: u32,
    /// What a level is.
    pub levels: Levels,
    /// Where a field is found by its position, one that is left out shifts all that follow.
    pub fields: Fields,
    /// False where NaN and the infinities are written as something else.
    pub non_finite_floats: bool,
    /// False where `Some(None)` is written as `None` is.
    pub nested_options: bool,
}

/// What counts as a level of nesting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// All that holds another value, `Some` and newtypes too.
    All,
    /// The arrays and objects of the text.
    Brackets,
}

/// How a format finds a field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// By its place among the others.
    ByPosition,
    /// By its name.
    ByName,
}

/// Why a value or stored bytes are refused. Formats drop the text of an error, so it is kept here.
#[derive(Debug, Default)]
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
