//! A clock that stands still until a test turns it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cacheness_core::{Clock, Env, Timestamp};

/// A clock that starts at a fixed moment and moves only when it is told to. Whoever waits for it is woken by the
/// call that moves it past the deadline, on any runtime or none.
///
/// ```
/// use cacheness_testkit::TestClock;
/// use std::time::Duration;
///
/// let clock = TestClock::new();
/// let env = clock.env();
/// let before = env.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(env.now().since(before), Duration::from_secs(60));
/// ```
pub struct TestClock {
    state: Arc<Mutex<State>>,
}

struct State {
    now: Timestamp,
    next_sleeper: u64,
    sleepers: BTreeMap<u64, (Timestamp, Waker)>,
}

impl TestClock {
    /// Where every clock starts: 2026-01-01 00:00 UTC.
    pub const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);

    /// A clock that stands at [`START`](Self::START).
    #[must_use]
    pub fn new() -> Arc<Self> {
        let state = State { now: Self::START, next_sleeper: 0, sleepers: BTreeMap::new() };
        Arc::new(Self { state: Arc::new(Mutex::new(state)) })
    }

    /// Surroundings that tell the time by this clock.
    #[must_use]
    pub fn env(self: &Arc<Self>) -> Env {
        Env::with_clock(self.clone())
    }

    /// Moves the clock on, and wakes who has waited for the moments passed over.
    pub fn advance(&self, by: Duration) {
        let to = self.now() + by;
        self.set(to);
    }

    /// Sets the clock, forwards or back. Going back wakes nobody.
    pub fn set(&self, now: Timestamp) {
        let woken: Vec<Waker> = {
            let mut state = lock(&self.state);
            state.now = now;
            state.sleepers.extract_if(.., |_, (deadline, _)| *deadline <= now).map(|(_, (_, w))| w).collect()
        };
        // Outside the lock: a waker may poll at once, and the future asks the clock again.
        woken.into_iter().for_each(Waker::wake);
    }

    /// How many futures wait for the clock to move on. A test that turns the clock waits for this first where the
    /// one that sleeps runs on another thread.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        lock(&self.state).sleepers.len()
    }

    /// The earliest moment that somebody waits for. A test that moves the clock there, again and again, lets time pass as
    /// it would, without waiting for it.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        lock(&self.state).sleepers.values().map(|(deadline, _)| *deadline).min()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        lock(&self.state).now
    }

    fn sleep_until(&self, deadline: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Sleep { state: self.state.clone(), deadline, id: None })
    }
}

impl fmt::Debug for TestClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

struct Sleep {
    state: Arc<Mutex<State>>,
    deadline: Timestamp,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.get_mut();
        let mut state = lock(&sleep.state);
        if state.now >= sleep.deadline {
            return Poll::Ready(());
        }
        let id = *sleep.id.get_or_insert_with(|| {
            state.next_sleeper += 1;
            state.next_sleeper
        });
        state.sleepers.insert(id, (sleep.deadline, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.state).sleepers.remove(&id);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_sleep_ends_when_the_clock_reaches_its_deadline_and_not_before() {
        let clock = TestClock::new();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut context = Context::from_waker(&waker);
        let mut sleep = clock.sleep_until(TestClock::START + Duration::from_secs(10));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_nanos(9_999_999_999));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = TestClock::new();
        let mut sleep = clock.sleep_until(TestClock::START + Duration::from_secs(10));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(
            (clock.sleepers(), clock.next_wakeup()),
            (1, Some(TestClock::START + Duration::from_secs(10)))
        );
        drop(sleep);
        assert_eq!((clock.sleepers(), clock.next_wakeup()), (0, None));
    }

    #[test]
    fn a_thread_that_waits_in_a_runtime_is_woken() {
        let clock = TestClock::new();
        let env = clock.env();
        let sleeper = std::thread::spawn(move || {
            crate::run::on_one_thread(env.sleep(Duration::from_secs(3600)));
        });
        while clock.sleepers() == 0 {
            std::thread::yield_now();
        }
        clock.advance(Duration::from_secs(3600));
        sleeper.join().unwrap();
    }

    #[test]
    fn the_clock_can_be_set_back() {
        let clock = TestClock::new();
        let earlier = TestClock::START - Duration::from_secs(5);
        clock.set(earlier);
        assert_eq!(clock.env().now(), earlier);
    }
}
