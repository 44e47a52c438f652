//! Whether a call may be made, and what the breaker learns from it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::breaker::Admission;
use super::Guard;
use crate::error::{Error, ErrorKind, Result};

/// After how long it is asked again, while the cache is being closed, whether calls are made.
const ASK_AGAIN: Duration = Duration::from_millis(20);

impl Guard {
    /// Says at once whether a call may be made.
    pub(super) fn admit(&self) -> Result<Admitted<'_>> {
        let hurry = self.closing.load(Ordering::Acquire);
        match self.change(|breaker, now| breaker.admit(now, hurry)) {
            Admission::Free => Ok(Admitted { guard: self, is_probe: false, settled: false }),
            Admission::Probe => Ok(Admitted { guard: self, is_probe: true, settled: false }),
            Admission::Refused => Err(self.refusal()),
        }
    }

    /// Says whether a call may be made; where it is the last moment for it, once somebody else has tried.
    pub(super) async fn admitted(&self, left: impl Fn() -> Duration) -> Result<Admitted<'_>> {
        loop {
            let refused = match self.admit() {
                Ok(admitted) => return Ok(admitted),
                Err(refused) => refused,
            };
            let decided_soon = self.closing.load(Ordering::Acquire) && self.breaker().is_half_open();
            if !decided_soon || left() <= ASK_AGAIN {
                return Err(refused);
            }
            self.env.sleep(ASK_AGAIN).await;
        }
    }
}

/// A call that may be made. What becomes of it is told to the breaker; where it comes to nothing, as by a panic, a probe
/// has failed.
pub(super) struct Admitted<'a> {
    guard: &'a Guard,
    pub(super) is_probe: bool,
    settled: bool,
}

impl Admitted<'_> {
    pub(super) fn succeeded(mut self) {
        self.settled = true;
        self.guard.change(|breaker, now| breaker.succeeded(now));
    }

    pub(super) fn failed(mut self, error: Error) {
        self.settled = true;
        self.guard.change(|breaker, now| breaker.failed(now, error));
    }

    /// The backend answers its ping, so that all calls are made again; this is one of them.
    pub(super) fn answered(mut self) -> Self {
        self.guard.change(|breaker, now| breaker.answers(now));
        self.is_probe = false;
        self
    }

    /// The call goes on.
    pub(super) fn undecided(mut self) {
        self.settled = true;
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.settled {
            let error = Error::new(ErrorKind::Unexpected, "a call to the backend did not come to an end");
            self.guard.change(|breaker, now| breaker.failed(now, error));
        }
    }
}
