//! A circuit breaker: after failures in a row calls are not made any more, until one that is let through succeeds.

use std::time::Duration;

use super::health::HealthState;
use crate::error::Error;
use crate::names::Timestamp;

/// What a breaker knows. It has no clock of its own: each question brings the time.
#[derive(Debug)]
pub(super) struct Breaker {
    /// After how many failures in a row it opens.
    failures: u32,
    /// How long it stays open before one call is let through.
    pause: Duration,
    state: State,
    /// Failures since the last success.
    in_a_row: u32,
    /// Since when [`health`](Self::health) is what it is.
    since: Timestamp,
    last_failure: Option<(Timestamp, Error)>,
    last_success: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Calls are made.
    Closed,
    /// They are not, until so long after this moment.
    Open(Timestamp),
    /// One call is on its way that decides which of the two it will be.
    HalfOpen,
}

/// Whether a call may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// It may.
    Free,
    /// It may, and what becomes of it decides for all.
    Probe,
    /// It may not.
    Refused,
}

impl Breaker {
    pub(super) fn new(failures: u32, pause: Duration, now: Timestamp) -> Self {
        Self {
            failures: failures.max(1),
            pause,
            state: State::Closed,
            in_a_row: 0,
            since: now,
            last_failure: None,
            last_success: None,
        }
    }

    /// Asks for a call to be made. One that is let through as a probe must be reported, whatever becomes of it. With
    /// `hurry`, it is not waited for the end of the pause.
    pub(super) fn admit(&mut self, now: Timestamp, hurry: bool) -> Admission {
        match self.state {
            State::Closed => Admission::Free,
            State::HalfOpen => Admission::Refused,
            // A clock that was set back must not keep it open.
            State::Open(since) if hurry || now < since || now.since(since) >= self.pause => {
                self.change(now, |breaker| breaker.state = State::HalfOpen);
                Admission::Probe
            }
            State::Open(_) => Admission::Refused,
        }
    }

    /// Takes note of a call that the backend answered.
    pub(super) fn succeeded(&mut self, now: Timestamp) {
        self.last_success = Some(now);
        if self.state == State::Closed && self.in_a_row == 0 {
            return;
        }
        self.change(now, |breaker| {
            breaker.state = State::Closed;
            breaker.in_a_row = 0;
        });
    }

    /// Takes note that the backend answers its ping: calls are made again, and the next one that fails opens it anew.
    pub(super) fn answers(&mut self, now: Timestamp) {
        self.last_success = Some(now);
        self.change(now, |breaker| {
            breaker.state = State::Closed;
            breaker.in_a_row = breaker.failures - 1;
        });
    }

    /// True where calls are made.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// True while a call decides whether others are made.
    pub(super) fn is_half_open(&self) -> bool {
        self.state == State::HalfOpen
    }

    /// Takes note of a call that the backend did not answer, or could not.
    pub(super) fn failed(&mut self, now: Timestamp, error: Error) {
        self.last_failure = Some((now, error));
        self.change(now, |breaker| {
            breaker.in_a_row = breaker.in_a_row.saturating_add(1);
            // Where it is open already, a call that was made before that tells nothing new.
            let opens = match breaker.state {
                State::Closed => breaker.in_a_row >= breaker.failures,
                State::HalfOpen => true,
                State::Open(_) => false,
            };
            if opens {
                breaker.state = State::Open(now);
            }
        });
    }

    fn change(&mut self, now: Timestamp, change: impl FnOnce(&mut Self)) {
        let before = self.health();
        change(self);
        if self.health() != before {
            self.since = now;
        }
    }

    /// How the backend fares, from what became of the calls to it.
    pub(super) fn health(&self) -> HealthState {
        match self.state {
            State::Closed if self.in_a_row == 0 => HealthState::Ok,
            State::Closed | State::HalfOpen => HealthState::Degraded,
            State::Open(_) => HealthState::Down,
        }
    }

    /// Since when that is so.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// When the next call may be let through, where none may be now.
    pub(super) fn next_try(&self) -> Option<Timestamp> {
        match self.state {
            State::Open(since) => Some(since + self.pause),
            State::Closed | State::HalfOpen => None,
        }
    }

    pub(super) fn last_failure(&self) -> Option<&(Timestamp, Error)> {
        self.last_failure.as_ref()
    }

    pub(super) fn last_success(&self) -> Option<Timestamp> {
        self.last_success
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const PAUSE: Duration = Duration::from_secs(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn breaker() -> Breaker {
        Breaker::new(3, PAUSE, at(0))
    }

    fn down() -> Error {
        Error::new(ErrorKind::Unavailable, "the server is down")
    }

    fn open_at(seconds: i64) -> Breaker {
        let mut breaker = breaker();
        (0..3).for_each(|_| breaker.failed(at(seconds), down()));
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_before() {
        let mut breaker = breaker();
        for round in 0..3 {
            breaker.failed(at(round), down());
            breaker.failed(at(round), down());
            assert_eq!(
                (breaker.admit(at(round), false), breaker.health()),
                (Admission::Free, HealthState::Degraded)
            );
            breaker.succeeded(at(round));
            assert_eq!(breaker.health(), HealthState::Ok);
        }
        (0..3).for_each(|_| breaker.failed(at(9), down()));
        assert_eq!((breaker.admit(at(9), false), breaker.health()), (Admission::Refused, HealthState::Down));
        assert_eq!((breaker.since(), breaker.next_try()), (at(9), Some(at(14))));
    }

    #[test]
    fn after_the_pause_one_call_is_let_through_and_no_other_meanwhile() {
        let mut breaker = open_at(10);
        assert_eq!(breaker.admit(at(14), false), Admission::Refused);
        assert_eq!(breaker.admit(at(15), false), Admission::Probe);
        assert_eq!(
            (breaker.admit(at(15), false), breaker.health()),
            (Admission::Refused, HealthState::Degraded)
        );
        assert_eq!(breaker.admit(at(99), true), Admission::Refused);
    }

    #[test]
    fn a_probe_decides_whether_it_closes_or_stays_open_for_another_pause() {
        let mut breaker = open_at(10);
        assert_eq!(breaker.admit(at(15), false), Admission::Probe);
        breaker.failed(at(16), down());
        assert_eq!(breaker.admit(at(20), false), Admission::Refused);
        assert_eq!(breaker.admit(at(21), false), Admission::Probe);
        breaker.succeeded(at(22));
        assert_eq!((breaker.admit(at(22), false), breaker.health()), (Admission::Free, HealthState::Ok));
        // It has forgotten the failures before.
        breaker.failed(at(23), down());
        assert_eq!(breaker.admit(at(23), false), Admission::Free);
    }

    #[test]
    fn a_ping_that_is_answered_lets_all_calls_through_and_one_failure_ends_that() {
        let mut breaker = open_at(10);
        assert_eq!(breaker.admit(at(15), false), Admission::Probe);
        breaker.answers(at(15));
        assert_eq!(
            (breaker.admit(at(15), false), breaker.health()),
            (Admission::Free, HealthState::Degraded)
        );
        breaker.failed(at(16), down());
        assert_eq!(breaker.admit(at(16), false), Admission::Refused);
        assert_eq!(breaker.admit(at(21), false), Admission::Probe);
        breaker.answers(at(21));
        breaker.succeeded(at(22));
        breaker.failed(at(23), down());
        assert_eq!(breaker.admit(at(23), false), Admission::Free);
    }

    #[test]
    fn who_is_in_a_hurry_and_a_clock_that_was_set_back_do_not_wait() {
        assert_eq!(open_at(10).admit(at(10), true), Admission::Probe);
        assert_eq!(open_at(10).admit(at(1), false), Admission::Probe);
    }

    #[test]
    fn failures_of_calls_that_were_made_before_it_opened_do_not_lengthen_the_pause() {
        let mut breaker = open_at(10);
        breaker.failed(at(14), down());
        assert_eq!(breaker.admit(at(15), false), Admission::Probe);
    }

    #[test]
    fn it_remembers_the_last_failure_and_the_last_success() {
        let mut breaker = breaker();
        assert!(breaker.last_failure().is_none() && breaker.last_success().is_none());
        breaker.failed(at(1), down());
        breaker.succeeded(at(2));
        breaker.succeeded(at(3));
        assert_eq!(breaker.last_failure().map(|(when, _)| *when), Some(at(1)));
        assert_eq!((breaker.last_success(), breaker.since()), (Some(at(3)), at(2)));
    }
}
