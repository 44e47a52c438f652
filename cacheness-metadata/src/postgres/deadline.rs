//! Until when a change may be made. Its caller gives up then and may have made another one since, which this one must not
//! follow. What was sent cannot be taken back, so the server is told, by its own clock.

use std::time::{Duration, Instant};

use cacheness_core::{Error, ErrorKind};

use super::failure::Failure;

/// So long a connection goes by what it knows of the server's clock before it asks again along with a change.
const FRESH: Duration = Duration::from_secs(60);

/// So long at most: clocks of machines differ by 0.1 ms in a second at the worst.
const KEPT: Duration = Duration::from_secs(600);

/// The end of a call's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// The call takes as long as it takes; each of its statements has a limit of its own.
    pub(super) const NONE: Self = Self(None);

    /// So long from now on.
    pub(super) fn after(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    /// What is left.
    pub(super) fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()))
    }

    /// # Errors
    /// Where nothing is left: what the call was to change was not changed.
    pub(super) fn check(self) -> Result<(), Failure> {
        if self.left().is_zero() { Err(Failure::Late(late())) } else { Ok(()) }
    }
}

/// The error where the server came to a change too late, or what had to be done before it took too long.
pub(super) fn late() -> Error {
    let message = "the server came to the change too late, and did not make it; see whether the server is busy, or raise \
                   `remote.timeout` and the option `timeout`";
    Error::new(ErrorKind::Timeout, message).with_outcome_unknown(false)
}

/// What a connection knows of the server's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    micros: i64,
    at: Instant,
}

impl ServerClock {
    /// The server has just said that it is so many microseconds after 1970. It said so before its answer came here, so that
    /// by this its clock is never ahead of what it is, and no deadline is too late.
    pub(super) fn said(micros: i64) -> Self {
        Self { micros, at: Instant::now() }
    }

    /// True where it may be gone by.
    pub(super) fn is_known(&self) -> bool {
        self.at.elapsed() < KEPT
    }

    /// True where it need not be asked again.
    pub(super) fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }

    /// The deadline by the server's clock, in microseconds; `None` where there is none.
    pub(super) fn of(&self, deadline: Deadline) -> Option<i64> {
        let end = deadline.0?;
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let after = micros(end.saturating_duration_since(self.at));
        let before = micros(self.at.saturating_duration_since(end));
        Some(self.micros.saturating_add(after).saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_by_the_servers_clock_is_as_far_from_now_as_by_ours() {
        let clock = ServerClock::said(1_000_000);
        let deadline = Deadline::after(Duration::from_secs(7));
        let by_server = clock.of(deadline).unwrap();
        assert!((7_990_000..=8_010_000).contains(&by_server), "{by_server}");
        assert!(deadline.check().is_ok() && deadline.left() > Duration::from_secs(6));
        let over = Deadline::after(Duration::ZERO);
        let error = over.check().err().unwrap().told();
        assert!(error.kind() == ErrorKind::Timeout && !error.is_outcome_unknown(), "{error}");
        assert_eq!(clock.of(Deadline::NONE), None);
    }
}
