//! Until when a change may be made. Whoever asked for it stops waiting then, and may make other changes, which it must not
//! follow; what was sent cannot be taken back, so it is the server that looks, by its own clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cacheness_core::{Error, ErrorKind};

/// After how long the server's clock is learned anew: until then, two clocks come apart by some milliseconds at most.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// The server's clock, as a connection has heard of it.
#[derive(Default)]
pub(super) struct ServerClock(Mutex<Option<(u64, Instant)>>);

impl ServerClock {
    /// Takes note of the time, in microseconds, that an answer has just told. It was later by then, so that a moment made
    /// of it is early rather than late.
    pub(super) fn learn(&self, micros: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((micros, Instant::now()));
    }

    /// A moment of ours by the server's clock. Where that is not known, it is one that is long over, and the server's
    /// refusal tells the time.
    pub(super) fn at(&self, moment: Instant) -> u64 {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((micros, learned)) = known.filter(|(_, learned)| learned.elapsed() < GOOD_FOR) else {
            return 0;
        };
        let micros_of = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let before = micros_of(learned.saturating_duration_since(moment));
        micros.saturating_add(micros_of(moment.saturating_duration_since(learned))).saturating_sub(before)
    }
}

/// The error of a change whose time was over before it was made.
pub(super) fn late() -> Error {
    let message = "the change was not made in time, and is not made any more; see whether the server has too much to do, \
                   or raise `timeout` and `remote.timeout`";
    Error::new(ErrorKind::Timeout, message).with_outcome_unknown(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_by_the_servers_clock_is_early_rather_than_late() {
        let clock = ServerClock::default();
        let before = Instant::now();
        assert_eq!(clock.at(before + Duration::from_secs(5)), 0, "nothing is known yet");
        clock.learn(1_000_000_000);
        let at = clock.at(before + Duration::from_secs(5));
        assert!((1_000_000_000..=1_005_000_000).contains(&at), "{at}");
        assert!(clock.at(before) <= 1_000_000_000);
    }
}
