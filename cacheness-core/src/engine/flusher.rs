//! The thread that writes counters down about a second after they have changed, access times when they are due, and queued
//! writes when they can be made, and that deletes garbage where that takes requests to a server.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result, panic_message};

/// How long counters may lie in memory.
const DELAY: Duration = Duration::from_secs(1);

/// After how long writes that could not be made are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// After how long access times that were not due are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(super) struct Flusher {
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Signal {
    dirty: AtomicBool,
    stop: Mutex<bool>,
    changed: Condvar,
}

impl Flusher {
    /// Starts the thread. It ends when the engine is closed or gone.
    pub(super) fn start(&self, engine: Weak<Engine>) -> Result<()> {
        let signal = self.signal.clone();
        std::thread::Builder::new()
            .name("cacheness-flush".into())
            .spawn(move || signal.run(&engine))
            .map(drop)
            .map_err(|error| Error::io(error, "the thread that writes statistics down cannot be started"))
    }

    /// Says that there is something to write down. Cheap when that is known already.
    pub(super) fn mark(&self) {
        if !self.signal.dirty.load(Ordering::Relaxed) && !self.signal.dirty.swap(true, Ordering::AcqRel) {
            // The lock makes sure that the thread is not between looking at the flag and going to sleep.
            drop(self.signal.stop.lock());
            self.signal.changed.notify_one();
        }
    }

    /// Ends the thread, without waiting for it.
    pub(super) fn stop(&self) {
        *self.signal.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.signal.changed.notify_one();
    }
}

impl Signal {
    fn run(&self, engine: &Weak<Engine>) {
        let mut next = Next::WhenMarked;
        loop {
            let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = |stop: &mut bool| !*stop && !self.dirty.load(Ordering::Acquire);
            let stop = match next {
                Next::WhenMarked => {
                    self.changed.wait_while(stop, idle).unwrap_or_else(PoisonError::into_inner)
                }
                // What could not be done yet is tried again after a while.
                Next::After(wait) => {
                    let waited = self.changed.wait_timeout_while(stop, wait, idle);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Next::AtOnce => stop,
            };
            let delay = if matches!(next, Next::AtOnce) { Duration::ZERO } else { DELAY };
            let waited = self.changed.wait_timeout_while(stop, delay, |stop| !*stop);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            let Some(engine) = engine.upgrade() else { return };
            self.dirty.store(false, Ordering::Release);
            // Whatever goes wrong once must not keep the cache from being kept up from then on.
            next = catch_unwind(AssertUnwindSafe(|| round(&engine))).unwrap_or_else(|panic| {
                let message = format!("the cache's upkeep panicked: {}", panic_message(panic.as_ref()));
                engine.failed(None, None, "upkeep", &Error::new(ErrorKind::Unexpected, message));
                Next::After(LOOK_AGAIN)
            });
        }
    }
}

/// When the next round is due.
enum Next {
    /// When something has happened.
    WhenMarked,
    /// Then, or so much later.
    After(Duration),
    /// Now: there is more to do.
    AtOnce,
}

fn round(engine: &Engine) -> Next {
    let flushed = engine.block_on(engine.flush(false));
    if let Err(error) = &flushed {
        // They are kept for the next time.
        engine.failed(None, None, "record_accesses", error);
    }
    // What fails is tried again; those who want to know are told when it is queued and when it is given up. Where there is
    // much to write, counters and garbage have their turn in between.
    let written = engine.block_on(engine.write_small_queued_first(engine.env().now() + DELAY));
    let collected = engine.block_on(async {
        engine.collect_in_background().await;
        Ok(())
    });
    let pending = flushed.and(collected).is_err() || engine.has_pending_accesses();
    match written {
        Ok(false) => Next::AtOnce,
        _ if engine.has_queued_writes() => Next::After(TRY_AGAIN),
        _ if pending => Next::After(LOOK_AGAIN),
        _ => Next::WhenMarked,
    }
}
