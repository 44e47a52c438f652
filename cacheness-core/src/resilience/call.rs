//! A call to a remote backend: how long it may take, and whether it may be made again.

use crate::error::{Error, ErrorKind};

/// A call that is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    repeat: Repeat,
    /// How many times the time of one call it may take.
    pub(super) units: u32,
    /// Whether one attempt may take all of that.
    pub(super) in_one_attempt: bool,
}

/// When a call may be made again after it has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Repeat {
    /// Whenever it failed: it changes nothing, or twice is the same as once.
    Always,
    /// Where the backend itself has given up on it, and not because it took too long. Twice is the same as once, but not
    /// where a first attempt that is still under way is carried out late, after what others have done since.
    AfterFailure,
    /// Where it certainly changed nothing: twice is not the same as once, or the answer to the second would be wrong.
    IfUnchanged,
}

impl Call {
    /// A call that changes nothing, or may be made any number of times at any time.
    pub(super) const fn read(name: &'static str) -> Self {
        Self { name, repeat: Repeat::Always, units: 1, in_one_attempt: false }
    }

    /// A call that changes the same if it is made twice, one after the other.
    pub(super) const fn harmless(name: &'static str) -> Self {
        Self { repeat: Repeat::AfterFailure, ..Self::read(name) }
    }

    /// A call that must not be made twice.
    pub(super) const fn once(name: &'static str) -> Self {
        Self { repeat: Repeat::IfUnchanged, ..Self::read(name) }
    }

    /// A call that is several in one, so that an attempt gets the time of the whole.
    pub(super) const fn composed(name: &'static str) -> Self {
        Self { in_one_attempt: true, ..Self::read(name) }
    }

    /// Gives it the time for so many bytes.
    pub(super) fn of_bytes(self, bytes: u64) -> Self {
        let units = u32::try_from(bytes / BYTES_PER_UNIT).unwrap_or(u32::MAX).saturating_add(1);
        Self { units, ..self }
    }

    /// Gives it so many times the time of one call.
    pub(super) const fn of_units(self, units: u32) -> Self {
        Self { units, ..self }
    }

    /// Whether the call may be made again after this error, by which we gave up on it or the backend did.
    pub(super) fn may_be_repeated(self, error: &Error, gave_up: bool) -> bool {
        match self.repeat {
            Repeat::Always => true,
            // A backend that stopped waiting by a clock of its own has sent the call, and cannot take it back.
            Repeat::AfterFailure => {
                let may_come_late = error.kind() == ErrorKind::Timeout && error.is_outcome_unknown();
                !gave_up && !may_come_late
            }
            Repeat::IfUnchanged => !gave_up && !error.is_outcome_unknown(),
        }
    }

    /// Whether the call changes what others see.
    pub(super) fn is_a_change(&self) -> bool {
        self.repeat != Repeat::Always
    }
}

/// So many bytes of a blob are given the time of one call.
const BYTES_PER_UNIT: u64 = 8 * 1024 * 1024;
