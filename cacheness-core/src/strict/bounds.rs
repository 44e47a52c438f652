//! What is known of a value while it is decoded from a format that does not describe itself.
//!
//! Such bytes are believed: a length or a tag that they state is acted on. So nesting is bounded, because each level
//! takes stack; a stated length is handed on only as far as there are bytes for it, because types reserve memory by
//! it; and elements that take no bytes are counted, because nothing else ends a list of them.
//!
//! An error is written down where it arises and goes up as [`Failed`], which has no text: at each level it would be put
//! into an error of the format as text, and those of bincode double what they quote.

use std::cell::Cell;
use std::fmt;

use serde::de::Error;

use super::trace::Step;
use super::{Refusal, Trace};

/// How many elements that take no bytes a value may have in its lists and maps.
const EMPTY_ELEMENTS: usize = 1 << 16;

/// What is known of one value on its way out of a format.
#[derive(Debug)]
pub struct Bounds {
    pub(super) max_depth: u32,
    /// The length of the stored bytes.
    pub(super) len: usize,
    /// Every element of a list that takes any bytes has one that no other element has.
    elements_left: Cell<usize>,
    refusal: Refusal,
    observed: Option<Observed>,
}

/// How a type reads what was written.
#[derive(Debug, Default)]
pub struct Observed {
    /// The calls.
    pub trace: Trace,
    /// True where the type took or left whatever came, so that what it makes depends on the value and not only on its
    /// shape.
    pub took_any: Cell<bool>,
    /// True where a tuple had fewer elements than its type has.
    pub tuple_was_short: Cell<bool>,
}

impl Bounds {
    /// For `len` stored bytes of a format that does not describe itself.
    #[must_use]
    pub fn new(max_depth: u32, len: usize) -> Self {
        let elements_left = Cell::new(len.saturating_add(EMPTY_ELEMENTS));
        Self { max_depth, len, elements_left, refusal: Refusal::default(), observed: None }
    }

    /// For stored bytes of a format that has bounds of its own.
    #[must_use]
    pub fn none() -> Self {
        Self::new(u32::MAX, usize::MAX)
    }

    /// Watches how the type reads.
    #[must_use]
    pub fn observing(self) -> Self {
        Self { observed: Some(Observed::default()), ..self }
    }

    /// What was seen after [`observing`](Self::observing).
    #[must_use]
    pub fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// Why the bytes were refused, where they were.
    pub fn take_refusal(&self) -> Option<String> {
        self.refusal.take()
    }

    #[inline]
    pub(super) fn note(&self, step: Step) {
        if let Some(observed) = &self.observed {
            observed.trace.add(step);
        }
    }

    pub(super) fn note_any(&self) {
        if let Some(observed) = &self.observed {
            observed.took_any.set(true);
        }
    }

    pub(super) fn failed(&self, error: impl fmt::Display) -> Failed {
        self.refusal.note(error);
        Failed
    }

    pub(super) fn refuse<E: Error>(&self, reason: String) -> E {
        let error = E::custom(&reason);
        self.refusal.note(reason);
        error
    }

    pub(super) fn count_element<E: Error>(&self) -> Result<(), E> {
        match self.elements_left.get().checked_sub(1) {
            Some(left) => self.elements_left.set(left),
            None => {
                let reason = format!("it has more than {EMPTY_ELEMENTS} elements that take no bytes");
                return Err(self.refuse(reason));
            }
        }
        Ok(())
    }
}

/// The error of a bounded deserializer. What happened is noted in its [`Bounds`].
#[derive(Debug)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("it cannot be decoded")
    }
}

impl std::error::Error for Failed {}

impl Error for Failed {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}
