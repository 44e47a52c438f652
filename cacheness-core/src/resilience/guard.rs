//! What stands between the engine and a remote backend: it bounds, repeats, limits and refuses calls.

mod admitted;
mod health;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::breaker::Breaker;
use super::call::Call;
use super::health::{BackendRole, HealthState};
use super::options::{RemoteCalls, pause};
use super::{Refused, random};
use crate::env::{Env, Place, in_place};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Delivery, Event};
use crate::metadata::GARBAGE_DELAY;
use crate::metric;
use crate::names::Timestamp;

/// What an attempt must have left of its time to be made.
const LEAST: Duration = Duration::from_millis(10);

/// Watches over the calls to one backend.
pub(crate) struct Guard {
    role: BackendRole,
    /// The name that the backend is registered under.
    name: String,
    env: Env,
    calls: RemoteCalls,
    permits: Arc<Semaphore>,
    /// For calls that were given up and whose work has not ended: as many again.
    given_up: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    ping: OnceLock<Ping>,
    /// Who is told when the backend's state changes, where somebody listens.
    events: OnceLock<Arc<Delivery>>,
    /// True once the cache is being closed: then nothing is repeated or waited for.
    closing: AtomicBool,
    /// Held while [`health`](Self::health) asks the backend.
    asking: tokio::sync::Mutex<()>,
}

type Ping = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

impl Guard {
    pub(super) fn new(role: BackendRole, name: &str, env: Env, calls: RemoteCalls) -> Arc<Self> {
        let permits =
            usize::try_from(calls.in_flight.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let breaker = Breaker::new(calls.breaker_failures, calls.breaker_pause, env.now());
        Arc::new(Self {
            role,
            name: name.to_owned(),
            env,
            calls,
            permits: Arc::new(Semaphore::new(permits)),
            given_up: Arc::new(Semaphore::new(permits)),
            breaker: Mutex::new(breaker),
            ping: OnceLock::new(),
            events: OnceLock::new(),
            closing: AtomicBool::new(false),
            asking: tokio::sync::Mutex::new(()),
        })
    }

    pub(crate) fn role(&self) -> BackendRole {
        self.role
    }

    /// Says how the backend is asked whether it answers.
    pub(super) fn set_ping(
        &self,
        ping: impl Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync + 'static,
    ) {
        // It is set once, when the backend has been opened.
        let _ = self.ping.set(Box::new(ping));
    }

    /// Says who is told of changes of the backend's state.
    pub(crate) fn set_events(&self, events: Arc<Delivery>) {
        let _ = self.events.set(events);
    }

    /// Shows the state before anything has changed it.
    pub(super) fn set_metric(&self) {
        metric::backend_state(self.role, &self.name, self.breaker().health());
    }

    /// False while the breaker keeps calls from being made.
    pub(crate) fn lets_calls_through(&self) -> bool {
        self.breaker().is_closed()
    }

    /// From now on a call is made once, and one that would be refused is tried: there is no later.
    pub(crate) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Makes a call: on the cache's own runtime, an attempt to its end also where nobody waits for it any more. It ends
    /// within the deadline.
    pub(super) async fn call<T, A, F>(self: &Arc<Self>, call: Call, attempt: A) -> Result<T>
    where
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let (guard, waits) = (self.clone(), Waits::default());
        let nobody_waits = waits.0.clone();
        let made = self.env.on_io(async move { guard.attempts(call, attempt, &nobody_waits).await }).await;
        drop(waits);
        made.map_err(|error| error.with_context("backend", self.name.as_str()))
    }

    /// Closes the backend: whatever its state, and without waiting for a turn. It is not waited for longer than one attempt
    /// may take.
    pub(super) async fn close(
        self: &Arc<Self>,
        close: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        let guard = self.clone();
        let closed = self.env.on_io(async move {
            let limit = guard.calls.timeout;
            guard.within(limit, close).await.unwrap_or_else(|| Err(guard.timed_out(limit)))
        });
        closed.await.map_err(|error| error.with_context("backend", self.name.as_str()))
    }

    async fn attempts<T, A, F>(&self, call: Call, mut attempt: A, nobody_waits: &AtomicBool) -> Result<T>
    where
        A: FnMut() -> F,
        F: Future<Output = Result<T>>,
    {
        let limit = self.calls.deadline.saturating_mul(call.units);
        let deadline = self.env.now() + limit;
        // Not more than all of it, where the clock is set back.
        let left = || deadline.since(self.env.now()).min(limit);
        // Whoever gave up on a change may have made another since, which this one must not follow; and what nobody waits for
        // must not keep places from those who do.
        let is_abandoned = || nobody_waits.load(Ordering::Acquire);
        let mut last: Option<Error> = None;
        let mut unknown = false;
        // A backend has its server refuse a change that comes later than the time of a call: with less left than that, it
        // could still be made when nobody waits for it any more.
        let told = self.calls.told_to_backends();
        let needed = if call.is_a_change() { told } else { LEAST.min(self.calls.timeout / 2).min(limit / 2) };
        let first = self.env.now();
        for made in 1.. {
            let Some(Ok(permit)) = self.within(left(), self.permits.clone().acquire_owned()).await else {
                return Err(last.unwrap_or_else(|| self.no_turn(limit)));
            };
            if is_abandoned() {
                return Err(last.unwrap_or_else(|| self.no_turn(limit)));
            }
            let admitted = match self.admitted(left).await {
                Ok(admitted) => admitted,
                Err(refused) => return Err(last.unwrap_or(refused)),
            };
            let probing = admitted.is_probe;
            let one = if call.in_one_attempt { limit } else { self.calls.timeout.saturating_mul(call.units) };
            let admitted = if probing {
                match self.pinged(self.calls.timeout.min(left())).await {
                    Ok(()) => admitted.answered(),
                    Err(error) => {
                        admitted.failed(error);
                        return Err(last.unwrap_or_else(|| self.refusal()));
                    }
                }
            } else {
                admitted
            };
            let timeout = one.min(left());
            if timeout < needed {
                // It would be sent, and nobody would wait to hear what became of it.
                return Err(match last {
                    Some(error) => {
                        admitted.failed(error.clone());
                        error
                    }
                    None => {
                        admitted.undecided();
                        self.no_turn(limit)
                    }
                });
            }
            // Waiting for a place and the question whether it answers take time, too.
            if is_abandoned() {
                admitted.undecided();
                return Err(last.unwrap_or_else(|| self.no_turn(limit)));
            }
            let begun = self.env.now();
            let place = Arc::new(Mutex::new(permit));
            let held: Place = place.clone();
            let (error, gave_up) = match self.within(timeout, in_place(held, attempt())).await {
                Some(Ok(value)) => {
                    admitted.succeeded();
                    return Ok(value);
                }
                // The backend works; it is the call that does not.
                Some(Err(error)) if !error.is_temporary() => {
                    admitted.succeeded();
                    // Of an attempt before this one nobody may know what became of it.
                    unknown |= error.is_outcome_unknown();
                    return Err(self.explained(call, error, unknown));
                }
                Some(Err(error)) => (error, false),
                None => (self.timed_out(timeout), true),
            };
            if gave_up {
                self.let_go(&place);
            }
            drop(place);
            unknown |= error.is_outcome_unknown();
            let error = self.explained(call, error, unknown);
            let mut pause = pause(&self.calls, made, random());
            let mut too_late = pause >= left();
            if call.is_a_change() {
                if error.is_outcome_unknown() {
                    // What lies between may have cut the connection, and the server go on: until it refuses the attempt, that one
                    // could be made after what is put next.
                    pause = pause.max(told.saturating_sub(self.env.now().since(begun)));
                }
                // A blob that others have replaced meanwhile is kept for so long, and not longer.
                let age = self.env.now().since(first) + pause;
                too_late = left() < needed.saturating_add(pause) || age >= GARBAGE_DELAY / 2;
            }
            let last_one = probing
                || made >= self.calls.attempts
                || self.closing.load(Ordering::Acquire)
                || is_abandoned()
                || too_late
                || !call.may_be_repeated(&error, gave_up);
            if last_one {
                admitted.failed(error.clone());
                return Err(error);
            }
            if gave_up {
                // It has cost so much that the next callers had better know.
                admitted.failed(error.clone());
            } else {
                admitted.undecided();
            }
            tracing::debug!(
                role = self.role.name(), backend = self.name, call = call.name, attempt = made, ?pause,
                error = %error.without_key(), "a call failed and is made again"
            );
            last = Some(error);
            self.env.sleep(pause).await;
        }
        Err(last.unwrap_or_else(|| self.no_turn(limit)))
    }

    /// Gives the place of a call that took too long to others, though its work may not have ended: up to as many such calls
    /// as may be under way otherwise. Beyond that, a place is free when its work has ended.
    fn let_go(&self, place: &Mutex<OwnedSemaphorePermit>) {
        if let Ok(other) = self.given_up.clone().try_acquire_owned() {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = other;
        }
    }

    /// What the work gives, or `None` where it takes longer.
    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(self.env.sleep(limit))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Changes the breaker, and tells of it where the backend's state is another then.
    fn change<T>(&self, change: impl FnOnce(&mut Breaker, Timestamp) -> T) -> T {
        let now = self.env.now();
        let (result, before, after, error) = {
            let mut breaker = self.breaker();
            let before = breaker.health();
            let result = change(&mut breaker, now);
            let after = breaker.health();
            let error = breaker.last_failure().map(|(_, error)| error.clone()).filter(|_| before != after);
            (result, before, after, error)
        };
        if before != after {
            self.tell(before, after, error);
        }
        result
    }

    fn tell(&self, before: HealthState, state: HealthState, error: Option<Error>) {
        let (role, backend) = (self.role, self.name.as_str());
        let error = error.filter(|_| state != HealthState::Ok);
        let said = error.as_ref().map(|error| error.without_key().to_string());
        match (before, state) {
            (_, HealthState::Down) => tracing::warn!(
                target: crate::engine::TARGET, role = role.name(), backend, error = said,
                "a backend is down; calls to it fail at once until it answers again"
            ),
            (_, HealthState::Ok) => {
                tracing::info!(target: crate::engine::TARGET, role = role.name(), backend, "a backend answers again");
            }
            _ => tracing::debug!(
                target: crate::engine::TARGET, role = role.name(), backend, error = said, "a backend is degraded"
            ),
        }
        metric::backend_state(role, backend, state);
        if let Some(events) = self.events.get() {
            events.send(Event::BackendState { role, backend: backend.to_owned(), state, error });
        }
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a call that is not made because the breaker is open.
    fn refusal(&self) -> Error {
        let breaker = self.breaker();
        let now = self.env.now();
        let (role, name) = (self.role, &self.name);
        let next = breaker.next_try().map_or_else(
            || "it is being tried out now".to_owned(),
            |at| format!("it is tried again in {:.1} s", at.since(now).as_secs_f64()),
        );
        let message =
            format!("the {role} backend `{name}` has failed several times, so it is not called; {next}");
        let why = breaker.last_failure().map(|(_, error)| error.clone());
        Error::new(ErrorKind::Unavailable, message).with_outcome_unknown(false).with_source(Refused(why))
    }

    fn no_turn(&self, limit: Duration) -> Error {
        let message = format!(
            "{} calls to the {} backend were under way, and none of them ended within {limit:?}; raise `remote.in_flight` \
             or `remote.deadline`, or see why it is slow",
            self.calls.in_flight, self.role
        );
        Error::new(ErrorKind::Timeout, message).with_outcome_unknown(false)
    }

    fn timed_out(&self, limit: Duration) -> Error {
        let message = format!(
            "the {} backend did not answer within {limit:?}; see whether it can be reached, or raise `remote.timeout`",
            self.role
        );
        Error::new(ErrorKind::Timeout, message)
    }

    /// Says what is not known of a call that was to change something.
    fn explained(&self, call: Call, error: Error, unknown: bool) -> Error {
        let error = error.with_outcome_unknown(unknown);
        if unknown && call.is_a_change() {
            return error.with_context("outcome", "unknown, it may have been carried out");
        }
        error
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("role", &self.role).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Somebody who waits for a call, until it is dropped.
#[derive(Default)]
struct Waits(Arc<AtomicBool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
