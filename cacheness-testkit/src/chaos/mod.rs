//! Wrappers that make a backend slow, faulty or damaged, so that a cache over it can be tested against all three.

mod blobs;
mod factory;
mod metadata;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cacheness_core::{Clock, Env, Error, Result, SystemClock};

use crate::calls::Call;

pub use blobs::ChaosBlobs;
pub use factory::{ChaosBlobFactory, ChaosMetadataFactory};
pub use metadata::ChaosMetadata;

/// What goes wrong. Clones share it, so that a test can change it, and count the calls, while a cache is open.
///
/// Calls are counted from 1, those of all methods that return a future together. Their names are those of the
/// methods.
///
/// ```
/// use cacheness_core::{Error, ErrorKind};
/// use cacheness_testkit::chaos::Chaos;
///
/// let chaos = Chaos::new();
/// chaos.fail_call(3, Error::new(ErrorKind::Unavailable, "the server went away"));
/// chaos.fail_next("put", Error::new(ErrorKind::StorageFull, "the disk is full"));
/// assert_eq!(chaos.calls(), 0);
/// ```
#[derive(Clone)]
pub struct Chaos(Arc<Mutex<State>>);

struct State {
    calm: bool,
    calls: u64,
    busy: usize,
    log: BTreeMap<&'static str, u64>,
    delay: Option<Delay>,
    remote: bool,
    fail_calls: BTreeMap<u64, Error>,
    fail_calls_of: BTreeMap<(&'static str, u64), Error>,
    fail_next: Vec<(&'static str, Error)>,
    fail_all: Option<Error>,
    fail_at_random: Option<(f64, Error)>,
    random: u64,
    lose_answers: bool,
    damage: Option<Damage>,
    /// What the callers of a metadata backend asked for, where someone wants to know.
    record: Option<Vec<Call>>,
}

#[derive(Clone, Copy)]
enum Delay {
    Real(Duration),
    ByClock(Duration),
}

/// What happens to the bytes of each value that is read.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// It is cut to this many bytes.
    CutTo(usize),
    /// This bit is flipped, counted from 0 at the lowest bit of the first byte, where there are that many.
    FlipBit(usize),
    /// It is replaced by as many zeros.
    Zeros,
}

impl Chaos {
    /// Nothing goes wrong yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            calm: false,
            calls: 0,
            busy: 0,
            log: BTreeMap::new(),
            delay: None,
            remote: false,
            fail_calls: BTreeMap::new(),
            fail_calls_of: BTreeMap::new(),
            fail_next: Vec::new(),
            fail_all: None,
            fail_at_random: None,
            random: 0,
            lose_answers: false,
            damage: None,
            record: None,
        })))
    }

    /// Every call takes this long, in real time, as a call over a network does. The wrapped backend then says that
    /// it needs a runtime and is not local; set it before the cache is opened, which asks once.
    #[must_use]
    pub fn slow(self, by: Duration) -> Self {
        self.state().delay = Some(Delay::Real(by));
        self
    }

    /// Every call takes this long by the cache's own clock, so that a test's clock must be turned for it to end.
    /// The wrapped backend then says that it is not local.
    #[must_use]
    pub fn slow_by_clock(self, by: Duration) -> Self {
        self.state().delay = Some(Delay::ByClock(by));
        self
    }

    /// The wrapped backend says that it is on another machine, so that the cache bounds, repeats and refuses calls to it as
    /// [`RemoteCalls`](cacheness_core::RemoteCalls) has it. Set it before the cache is opened.
    ///
    /// ```
    /// use cacheness::{CacheBuilder, Error, ErrorKind, Registry};
    /// use cacheness_testkit::chaos::{Chaos, ChaosMetadataFactory};
    ///
    /// let chaos = Chaos::new().remote();
    /// let builtin = Registry::builtin();
    /// let memory = builtin.metadata_backend("memory")?.clone();
    /// let registry =
    ///     builtin.with_metadata_backend(ChaosMetadataFactory::wrap_shared(memory, chaos.clone()).named("remote"))?;
    /// let cache = CacheBuilder::new(registry).metadata("remote").open_blocking()?;
    /// chaos.fail_next("apply", Error::new(ErrorKind::Unavailable, "the connection broke"));
    /// cache.put("answer", &42)?; // the second attempt succeeds
    /// assert_eq!(chaos.calls_of("apply"), 2);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn remote(self) -> Self {
        self.state().remote = true;
        self
    }

    /// The call of this number, counted from 1 since the beginning, fails with `error`.
    pub fn fail_call(&self, number: u64, error: Error) {
        self.state().fail_calls.insert(number, error);
    }

    /// The call of this number of one method, counted from 1 as of now, fails with `error`.
    pub fn fail_call_of(&self, method: &'static str, number: u64, error: Error) {
        let mut state = self.state();
        let made = state.log.get(method).copied().unwrap_or(0);
        state.fail_calls_of.insert((method, made.saturating_add(number)), error);
    }

    /// The next call of the method of this name fails with `error`; called twice, the next two.
    pub fn fail_next(&self, method: &'static str, error: Error) {
        self.state().fail_next.push((method, error));
    }

    /// Every call fails with `error`, as those to a server that is down; `None` ends it.
    pub fn fail_all(&self, error: Option<Error>) {
        self.state().fail_all = error;
    }

    /// Each call fails with `error` with this probability, from 0 to 1. The same `seed` and the same calls give the
    /// same failures.
    pub fn fail_at_random(&self, probability: f64, seed: u64, error: Error) {
        let mut state = self.state();
        state.fail_at_random = Some((probability, error));
        state.random = seed;
    }

    /// With `true`, a call that fails is made all the same and only its answer is lost, as when a connection breaks
    /// after a commit. By default it is not made.
    pub fn lose_answers(&self, lose: bool) {
        self.state().lose_answers = lose;
    }

    /// Damages the bytes of each value that is read, from its blob or its entry; `None` ends it. What is stored stays
    /// whole, unless the cache finds the damage and removes the entry.
    pub fn damage(&self, damage: Option<Damage>) {
        self.state().damage = damage;
    }

    /// With `true`, nothing goes wrong until `false`: calls are still counted, and failures planned by their number
    /// pass over.
    pub fn calm(&self, calm: bool) {
        self.state().calm = calm;
    }

    /// How many calls were made so far, those that failed included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many calls of the method of this name were made so far.
    #[must_use]
    pub fn calls_of(&self, method: &str) -> u64 {
        self.state().log.get(method).copied().unwrap_or(0)
    }

    /// How many calls are being made at the moment, those left out that wait for the clock or for real time to pass. A test that
    /// turns the clock waits until there are none.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.state().busy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is asked of a metadata backend from now on.
    pub(crate) fn record(&self) {
        self.state().record.get_or_insert_default();
    }

    /// What was asked of a metadata backend since [`record`](Self::record).
    pub(crate) fn recorded(&self) -> Vec<Call> {
        self.state().record.clone().unwrap_or_default()
    }

    /// Forgets what was recorded so far.
    pub(crate) fn forget_recorded(&self) {
        if let Some(record) = &mut self.state().record {
            record.clear();
        }
    }

    fn note(&self, calls: impl IntoIterator<Item = Call>) {
        if let Some(record) = &mut self.state().record {
            for call in calls {
                Call::push(record, call);
            }
        }
    }

    fn is_remote(&self) -> bool {
        self.state().remote
    }

    fn delay(&self) -> Option<Delay> {
        self.state().delay
    }

    /// Makes a call as the rules want it.
    async fn call<T>(
        &self,
        env: &Env,
        method: &'static str,
        made: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (delay, error, lose) = self.state().next(method);
        match delay {
            Some(Delay::Real(by)) => SystemClock.sleep_until(SystemClock.now() + by).await,
            Some(Delay::ByClock(by)) => env.sleep(by).await,
            None => {}
        }
        let _busy = Busy::of(self);
        match error {
            None => made.await,
            Some(error) => {
                if lose {
                    made.await?;
                }
                Err(error.with_operation(method))
            }
        }
    }

    fn damaged(&self, bytes: Bytes) -> Bytes {
        let state = self.state();
        match state.damage.filter(|_| !state.calm) {
            None => bytes,
            Some(Damage::CutTo(len)) => bytes.slice(..len.min(bytes.len())),
            Some(Damage::Zeros) => vec![0; bytes.len()].into(),
            Some(Damage::FlipBit(bit)) => {
                let mut flipped = bytes.to_vec();
                if let Some(byte) = flipped.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
                flipped.into()
            }
        }
    }

    fn damages(&self) -> bool {
        let state = self.state();
        state.damage.is_some() && !state.calm
    }
}

/// A call that is being made.
struct Busy<'a>(&'a Chaos);

impl<'a> Busy<'a> {
    fn of(chaos: &'a Chaos) -> Self {
        chaos.state().busy += 1;
        Self(chaos)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
    }
}

impl Default for Chaos {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

impl State {
    fn next(&mut self, method: &'static str) -> (Option<Delay>, Option<Error>, bool) {
        self.calls += 1;
        let of_method = self.log.entry(method).or_default();
        *of_method += 1;
        let by_method = self.fail_calls_of.remove(&(method, *of_method));
        let by_number = self.fail_calls.remove(&self.calls).or(by_method);
        if self.calm {
            return (None, None, false);
        }
        let by_name = self.fail_next.iter().position(|(name, _)| *name == method);
        let error = by_number
            .or_else(|| by_name.map(|at| self.fail_next.remove(at).1))
            .or_else(|| self.fail_all.clone())
            .or_else(|| self.at_random());
        (self.delay, error, self.lose_answers)
    }

    fn at_random(&mut self) -> Option<Error> {
        let (probability, error) = self.fail_at_random.clone()?;
        // SplitMix64; its upper 53 bits make a number from 0 to 1.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let drawn = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        (drawn < probability).then_some(error)
    }
}
