//! How calls to remote backends are made: for how long, how often, how many at once, and when they are not made at all.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How calls to remote backends are made. A backend is remote where it says that other machines
/// [share](crate::MetadataCapabilities::shared) it or that it [needs a runtime](crate::MetadataCapabilities::needs_runtime),
/// and a blob backend also where its blobs are not [local](crate::BlobCapabilities::local). The others are called as they are.
///
/// ```
/// use cacheness::{Cache, RemoteCalls};
/// use std::time::Duration;
///
/// let calls = RemoteCalls::new().timeout(Duration::from_secs(2)).deadline(Duration::from_secs(5)).attempts(3);
/// let cache = Cache::builder().remote(calls).open_blocking()?;
/// # Ok::<(), cacheness::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteCalls {
    /// How long one attempt of a call may take: 10 s. For a blob, so long again for every 8 MiB of it. Not 0.
    pub timeout: Duration,
    /// How long a call may take with all its attempts, the pauses between them and the wait for its turn: 30 s. For a
    /// blob, so long again for every 8 MiB of it. Not 0.
    pub deadline: Duration,
    /// How often a call is made that fails for a reason that may pass, the first time included: 4. At least 1.
    pub attempts: u32,
    /// The longest pause before the second attempt: 100 ms. It doubles with each further one, up to 10 s. Each pause is
    /// drawn at random between nothing and the longest, so that many processes do not come back all at once.
    pub backoff: Duration,
    /// How many calls to one backend may be under way: 64. Further ones wait for their turn. At least 1. Calls that took
    /// too long and whose work in the backend has not ended yet are not among them, up to as many again.
    pub in_flight: u32,
    /// After how many failures in a row a backend's circuit breaker opens, and calls fail at once: 5. At least 1. A call
    /// is one failure when its last attempt has failed, and each attempt that takes longer than `timeout` is one.
    pub breaker_failures: u32,
    /// How long an open circuit breaker stays so before one call may try again: 5 s.
    pub breaker_pause: Duration,
}

impl RemoteCalls {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            attempts: 4,
            backoff: Duration::from_millis(100),
            in_flight: 64,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(5),
        }
    }

    /// How long backends are told that one call may take: never all of the deadline, so that there is a first attempt that has
    /// this long also when it had to wait a little for its turn.
    pub(crate) fn told_to_backends(&self) -> Duration {
        self.timeout.min(self.deadline / 2)
    }

    /// Checks what setters cannot have checked: with no time at all every call would fail, and what is counted begins at 1.
    pub(crate) fn check(&self) -> Result<()> {
        let none = Duration::ZERO;
        let given = [
            ("timeout", self.timeout > none, "longer than nothing"),
            ("deadline", self.deadline > none, "longer than nothing"),
            ("attempts", self.attempts > 0, "at least 1"),
            ("in_flight", self.in_flight > 0, "at least 1"),
            ("breaker_failures", self.breaker_failures > 0, "at least 1"),
        ];
        match given.iter().find(|(_, is_right, _)| !is_right) {
            None => Ok(()),
            Some((name, _, wanted)) => {
                let message = format!("the option `remote.{name}` is 0 and must be {wanted}");
                Err(Error::new(ErrorKind::ConfigInvalid, message))
            }
        }
    }

    /// Sets how long one attempt of a call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a call may take with all its attempts.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how often a call is made, the first time included; 0 counts as 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets the longest pause before the second attempt.
    #[must_use]
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how many calls may be under way; 0 counts as 1.
    #[must_use]
    pub fn in_flight(mut self, calls: u32) -> Self {
        self.in_flight = calls.max(1);
        self
    }

    /// Sets after how many failures in a row the circuit breaker opens; 0 counts as 1.
    #[must_use]
    pub fn breaker_failures(mut self, failures: u32) -> Self {
        self.breaker_failures = failures.max(1);
        self
    }

    /// Sets how long an open circuit breaker stays so.
    #[must_use]
    pub fn breaker_pause(mut self, pause: Duration) -> Self {
        self.breaker_pause = pause;
        self
    }
}

impl Default for RemoteCalls {
    fn default() -> Self {
        Self::new()
    }
}

/// The longest pause between two attempts, however many there were before.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pause after so many failed attempts, from 1: between nothing and the longest, as `random` has it. An attempt is
/// then equally likely at each moment, which spreads the load of many callers best ("full jitter").
pub(super) fn pause(calls: &RemoteCalls, failed: u32, random: u64) -> Duration {
    let doublings = failed.saturating_sub(1).min(31);
    let longest = calls.backoff.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
    // The upper half of the product is evenly spread from 0 to `nanos`.
    Duration::from_nanos(((u128::from(random) * (u128::from(nanos) + 1)) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn the_longest_pause_doubles_up_to_ten_seconds() {
        let calls = RemoteCalls::new();
        let longest = |failed| pause(&calls, failed, u64::MAX);
        assert_eq!([1, 2, 3, 7].map(longest), [100, 200, 400, 6400].map(|n| n * MILLI));
        assert_eq!([8, 9, 40, u32::MAX].map(longest), [LONGEST_PAUSE; 4]);
        assert_eq!(pause(&calls.backoff(Duration::MAX), 3, u64::MAX), LONGEST_PAUSE);
        assert_eq!(pause(&calls.backoff(Duration::ZERO), 3, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_pause_is_anything_from_nothing_to_the_longest() {
        let calls = RemoteCalls::new();
        assert_eq!(pause(&calls, 1, 0), Duration::ZERO);
        assert_eq!(pause(&calls, 1, 1 << 63).as_millis(), 50);
        let mut tenths = [0; 10];
        for _ in 0..2_000 {
            let drawn = pause(&calls, 1, super::super::random());
            tenths[(drawn.as_nanos() / 10_000_001) as usize] += 1;
        }
        assert!(tenths.iter().all(|&n| (120..280).contains(&n)), "{tenths:?}");
    }
}
