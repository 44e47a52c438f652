//! What a value was written as, and what was read of it, made comparable.

use std::cell::Cell;

/// One call of serde's data model: its kind, and a number that belongs to it, such as a length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step(u64);

impl Step {
    pub(super) const fn new(kind: Kind, number: u64) -> Self {
        Self((number << 8) | kind as u64)
    }

    pub(super) const fn of(kind: Kind) -> Self {
        Self::new(kind, 0)
    }

    pub(super) fn counted(kind: Kind, number: usize) -> Self {
        Self::new(kind, number as u64)
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// No call, which is what no value is.
    Nothing,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    /// Text and bytes, which formats write alike.
    Text,
    /// Bytes where they are to be told from text.
    Bytes,
    Unit,
    None,
    Some,
    UnitVariant,
    NewtypeVariant,
    TupleVariant,
    StructVariant,
    Variant,
    Seq,
    Map,
    /// Tuples, tuple structs and structs: as many values as the type says.
    Group,
    Skipped,
    /// The end of a list, a map or a group.
    End,
}

/// A fingerprint of all calls that wrote or read a value.
///
/// Of two equal traces the calls were the same, each with the same lengths. Newtypes and units leave none, because no
/// format writes anything for them.
#[derive(Debug, Default)]
pub struct Trace {
    in_order: Cell<u64>,
    in_any_order: Cell<u64>,
}

impl Trace {
    #[inline]
    pub(super) fn add(&self, step: Step) {
        let mixed = mix(step.0);
        self.in_order.set(mix(self.in_order.get() ^ mixed));
        self.in_any_order.set(self.in_any_order.get().wrapping_add(mixed));
    }

    /// Takes note of what only a writer knows.
    pub(super) fn add_unread(&self, step: Step) {
        self.in_any_order.set(self.in_any_order.get().wrapping_add(mix(step.0)));
    }

    /// True where both are of the same calls in the same order.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.in_order == other.in_order
    }

    /// True where both are of the same calls. The order is left out, because a `HashMap` that comes back has another one.
    #[must_use]
    pub fn is_same_in_any_order(&self, other: &Self) -> bool {
        self.in_any_order == other.in_any_order
    }
}

/// The finisher of SplitMix64, which spreads each bit over all others.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
