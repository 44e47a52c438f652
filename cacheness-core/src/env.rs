//! What the engine and the backends take from their surroundings: the time, a pool for blocking work and, where
//! a backend needs one, a runtime.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, SystemTime};

use futures_util::future::Either;
use tokio::runtime::{Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

use crate::error::{Error, ErrorKind, Result};
use crate::names::Timestamp;

/// Tells the time. Tests hand in one that they turn.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Completes when the clock has reached `deadline`.
    fn sleep_until(&self, deadline: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the runtime's timer")]
    fn sleep_until(&self, deadline: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let wait = deadline.since(self.now());
        Box::pin(async move { tokio::time::sleep(wait).await })
    }
}

/// The surroundings of one cache, handed to every factory. Clones share them.
#[derive(Clone)]
pub struct Env(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    runtime: Mutex<Option<Runtime>>,
}

impl Env {
    /// Surroundings with the operating system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// Surroundings with this clock.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { clock, runtime: Mutex::new(None) }))
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Waits until the clock has moved on by `wait`.
    pub async fn sleep(&self, wait: Duration) {
        self.0.clock.sleep_until(self.now() + wait).await;
    }

    /// Runs blocking work: on the calling thread where that belongs to the blocking face, else on the runtime's
    /// pool for blocking work.
    ///
    /// Work on the pool runs to its end even when the future is dropped, so it must leave things consistent by
    /// itself.
    ///
    /// # Errors
    /// The work's own; [`ErrorKind::Unavailable`] where the runtime is being shut down;
    /// [`ErrorKind::Unexpected`] where the work panics.
    pub async fn unblock<T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce() -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        if BLOCKING.get() {
            return work();
        }
        match self.handle()?.spawn_blocking(work).await {
            Ok(result) => result,
            Err(failed) if failed.is_panic() => {
                Err(Error::new(ErrorKind::Unexpected, "blocking work panicked").with_source(failed))
            }
            Err(failed) => {
                let message = "the Tokio runtime is being shut down";
                Err(Error::new(ErrorKind::Unavailable, message).with_source(failed))
            }
        }
    }

    /// Runs work that uses sockets or timers on the cache's own runtime, to its end also when the caller no longer
    /// waits for it. Connections that are made and used here outlive the runtimes of callers, and serve the blocking
    /// face as well, so a backend that does all its I/O here does not need a runtime from its callers.
    ///
    /// The work must end by itself: nothing stops it but the end of the cache.
    ///
    /// # Errors
    /// The work's own; [`ErrorKind::Io`] where the runtime cannot be started; [`ErrorKind::Unexpected`] where the
    /// work panics.
    pub async fn on_io<T, F>(&self, work: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        // Work that is set off for a call keeps the call's place until it has ended, whoever waits for it.
        let work = match PLACE.try_with(Clone::clone) {
            Ok(place) => Either::Left(PLACE.scope(place, work)),
            Err(_) => Either::Right(work),
        };
        ended(self.own_handle()?.spawn(work).await)
    }

    /// Runs work of the async face on the cache's own runtime, so that it goes on also where its caller is not polled, as
    /// where a call of the blocking face occupies the only thread of the caller's runtime. It ends when the caller no
    /// longer waits for it. On the blocking face, which waits for nothing else, the calling thread does it.
    pub(crate) async fn apart<T, F>(&self, work: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        if BLOCKING.get() {
            return work.await;
        }
        let mut task = Aborted(self.own_handle()?.spawn(work.in_current_span()));
        ended((&mut task.0).await)
    }

    /// As [`apart`](Self::apart), to its end.
    pub(crate) async fn apart_to_the_end<T, F>(&self, work: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        if BLOCKING.get() {
            return work.await;
        }
        ended(self.own_handle()?.spawn(work.in_current_span()).await)
    }

    /// Does work that holds a lock for which others wait. It begins on the calling thread; what then has to wait goes on on the
    /// cache's own runtime, to its end. So a caller whose future is not polled any more, as the loser of a `select!` that is
    /// kept, does not keep the lock. On the blocking face, which waits for nothing else, the calling thread does it all.
    ///
    /// Work that never waits costs no more than by itself, but for a box.
    ///
    /// # Errors
    /// The work's own; [`ErrorKind::Io`] where the runtime cannot be started; [`ErrorKind::Unexpected`] where the work
    /// panics on it.
    pub async fn carry_out<T, F>(&self, work: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        if BLOCKING.get() {
            return work.await;
        }
        let mut work = match PLACE.try_with(Clone::clone) {
            Ok(place) => Box::pin(Either::Left(PLACE.scope(place, work))),
            Err(_) => Box::pin(Either::Right(work)),
        };
        // A task that has used up its turn would seem to wait.
        let mut first = tokio::task::unconstrained(work.as_mut());
        match poll_fn(|context| Poll::Ready(Pin::new(&mut first).poll(context))).await {
            Poll::Ready(result) => result,
            Poll::Pending => ended(self.own_handle()?.spawn(work.in_current_span()).await),
        }
    }

    /// Sets work off on the cache's own runtime that nobody waits for. Without a runtime it is not done.
    pub(crate) fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Ok(handle) = self.own_handle() {
            drop(handle.spawn(work));
        }
    }

    /// The runtime that the caller is in; without one, the cache's own, which is started when first needed.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where a runtime cannot be started.
    pub fn handle(&self) -> Result<Handle> {
        match Handle::try_current() {
            Ok(handle) => Ok(handle),
            Err(_) => self.own_handle(),
        }
    }

    fn own_handle(&self) -> Result<Handle> {
        let mut runtime = self.0.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*runtime {
            return Ok(runtime.handle().clone());
        }
        let started = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cacheness")
            .enable_all()
            .build()
            .map_err(|error| Error::io(error, "the cache's own runtime cannot be started"))?;
        let handle = started.handle().clone();
        *runtime = Some(started);
        Ok(handle)
    }

    /// Drives a future on the calling thread, which may be any thread: one without a runtime, a runtime's worker,
    /// or one of its blocking pool. Work handed to [`unblock`](Self::unblock) meanwhile runs on this thread.
    ///
    /// `needs_runtime` says that the future uses Tokio's sockets or timers; they then belong to the cache's own
    /// runtime, which goes on while this thread is parked.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where a runtime is needed and cannot be started; else the future's own.
    pub(crate) fn block_on<T>(
        &self,
        needs_runtime: bool,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let handle = if needs_runtime { Some(self.own_handle()?) } else { None };
        let _entered = handle.as_ref().map(Handle::enter);
        let mut future = pin!(tokio::task::unconstrained(future));
        // Most futures are ready at once; only one that is not needs a waker that unparks.
        if let Poll::Ready(result) = poll_marked(future.as_mut(), Waker::noop()) {
            return result;
        }
        let signal = Arc::new(Unpark { thread: std::thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(signal.clone());
        loop {
            if let Poll::Ready(result) = poll_marked(future.as_mut(), &waker) {
                return result;
            }
            // Calls nest, and an inner one may have used up the thread's token: the flag is each call's own.
            while !signal.woken.swap(false, Ordering::Acquire) {
                std::thread::park();
            }
        }
    }
}

/// A task that is ended when this is dropped.
struct Aborted<T>(JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What became of a task on the cache's own runtime.
fn ended<T>(task: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    match task {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => {
            Err(Error::new(ErrorKind::Unexpected, "a backend's call panicked").with_source(failed))
        }
        Err(failed) => {
            let message = "the cache was dropped while one of its calls was under way";
            Err(Error::new(ErrorKind::Unavailable, message).with_source(failed))
        }
    }
}

/// The place that a call to a remote backend takes among those under way. It is free when the last clone is gone.
pub(crate) type Place = Arc<dyn Any + Send + Sync>;

tokio::task_local! {
    static PLACE: Place;
}

/// Does work of a call that has this place.
pub(crate) async fn in_place<T>(place: Place, work: impl Future<Output = T>) -> T {
    PLACE.scope(place, work).await
}

impl Default for Env {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last handle may go away on a worker of some runtime, where waiting for ours to end is forbidden.
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

thread_local! {
    /// True while this thread drives a future for the blocking face.
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
}

/// Sets the mark of this thread, and puts back what was there when dropped, also by a panic.
struct Mark(bool);

impl Mark {
    fn set(mark: bool) -> Self {
        Self(BLOCKING.replace(mark))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        BLOCKING.set(self.0);
    }
}

fn poll_marked<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    let _mark = Mark::set(true);
    future.poll(&mut Context::from_waker(waker))
}

/// Calls code that is not ours, such as a handler or a listener: what that code does with a runtime of its own
/// must not be taken for the blocking face's.
pub(crate) fn foreign<T>(call: impl FnOnce() -> T) -> T {
    let _mark = Mark::set(false);
    call()
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
