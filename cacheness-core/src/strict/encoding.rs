//! What is known of a value while it is encoded.

use std::cell::{Cell, RefCell};

use super::guard::Guarded;
use super::shapes::Place;
use super::trace::Step;
use super::{Refusal, Rules, Shapes, Trace};

/// What is known of one value on its way into a format.
#[derive(Debug)]
pub struct Encoding<'s> {
    pub(super) rules: Rules,
    refusal: Refusal,
    mode: Mode<'s>,
    /// False once the value did something that its type has not done before.
    known: Cell<bool>,
}

#[derive(Debug)]
enum Mode<'s> {
    /// Nothing says which type the value comes back as.
    OneWay,
    Known(&'s Shapes),
    Learning(Box<Learning>),
}

#[derive(Debug)]
struct Learning {
    shapes: Option<RefCell<Shapes>>,
    trace: Trace,
}

impl<'s> Encoding<'s> {
    /// For a value that no type is known to come back from.
    #[must_use]
    pub fn one_way(rules: Rules) -> Self {
        Self::new(rules, Mode::OneWay)
    }

    /// For a value of a type whose values had these shapes so far.
    #[must_use]
    pub fn known(rules: Rules, shapes: &'s Shapes) -> Self {
        Self::new(rules, Mode::Known(shapes))
    }

    /// For a value that is decoded back afterwards. Its shapes are added to these.
    #[must_use]
    pub fn learning(rules: Rules, shapes: Shapes) -> Self {
        let learning = Learning { shapes: Some(RefCell::new(shapes)), trace: Trace::default() };
        Self::new(rules, Mode::Learning(Box::new(learning)))
    }

    /// As [`learning`](Self::learning), without shapes.
    #[must_use]
    pub fn tracing(rules: Rules) -> Self {
        Self::new(rules, Mode::Learning(Box::new(Learning { shapes: None, trace: Trace::default() })))
    }

    fn new(rules: Rules, mode: Mode<'s>) -> Self {
        Self { rules, refusal: Refusal::default(), mode, known: Cell::new(true) }
    }

    /// The value as it has to be given to the serializer.
    pub fn guard<'a, T: ?Sized>(&'a self, value: &'a T) -> Guarded<'a, T> {
        Guarded::new(value, self)
    }

    /// Why the value was refused, where it was.
    pub fn take_refusal(&self) -> Option<String> {
        self.refusal.take()
    }

    /// True where the value did nothing that is not among the shapes given to [`known`](Self::known).
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known.get()
    }

    /// The shapes given to [`learning`](Self::learning) and those of the value, with the trace of the value.
    #[must_use]
    pub fn into_learned(self) -> (Shapes, Trace) {
        match self.mode {
            Mode::Learning(learning) => {
                (learning.shapes.map(RefCell::into_inner).unwrap_or_default(), learning.trace)
            }
            Mode::OneWay | Mode::Known(_) => (Shapes::default(), Trace::default()),
        }
    }

    pub(super) fn refuse<E: serde::ser::Error>(&self, reason: &str) -> E {
        self.refusal.note(reason);
        E::custom(reason)
    }

    #[inline]
    pub(super) fn call(&self, place: Option<Place>, step: Step) -> Option<Place> {
        match &self.mode {
            Mode::OneWay => None,
            Mode::Known(shapes) => {
                let call = place.and_then(|place| shapes.find(place, step));
                if call.is_none() {
                    self.known.set(false);
                }
                call
            }
            Mode::Learning(learning) => learning.shapes.as_ref()?.borrow_mut().learn(place?, step),
        }
    }

    #[inline]
    pub(super) fn below(&self, call: Option<Place>, slot: usize) -> Option<Place> {
        match &self.mode {
            Mode::OneWay => None,
            Mode::Known(shapes) => shapes.below(call?, slot),
            Mode::Learning(learning) => learning.shapes.as_ref()?.borrow_mut().learn_below(call?, slot),
        }
    }

    #[inline]
    pub(super) fn trace(&self, step: Step) {
        if let Mode::Learning(learning) = &self.mode {
            learning.trace.add(step);
        }
    }
    /// Takes note of what only a writer knows.
    pub(super) fn trace_unread(&self, step: Step) {
        if let Mode::Learning(learning) = &self.mode {
            learning.trace.add_unread(step);
        }
    }

    /// True where nothing says which type the value comes back as.
    pub(super) fn is_one_way(&self) -> bool {
        matches!(self.mode, Mode::OneWay)
    }
}
