//! The thread that writes counters down about a second after they have changed, access times when they are due, and queued
//! writes when they can be made, and that deletes garbage where that takes requests to a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::names::Timestamp;

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
        let mut again: Option<Duration> = None;
        loop {
            let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = |stop: &mut bool| !*stop && !self.dirty.load(Ordering::Acquire);
            // What could not be done yet is tried again after a while.
            let stop = if let Some(wait) = again {
                let waited = self.changed.wait_timeout_while(stop, wait, idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait_while(stop, idle).unwrap_or_else(PoisonError::into_inner)
            };
            let waited = self.changed.wait_timeout_while(stop, DELAY, |stop| !*stop);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            let Some(engine) = engine.upgrade() else { return };
            self.dirty.store(false, Ordering::Release);
            let flushed = engine.block_on(engine.flush(false));
            if let Err(error) = &flushed {
                // They are kept for the next time.
                engine.failed(None, None, "record_accesses", error);
            }
            // What fails is tried again; those who want to know are told when it is queued and when it is given up.
            let _ = engine.block_on(engine.write_queued(Timestamp::MAX));
            let collected = engine.block_on(async {
                engine.collect_in_background().await;
                Ok(())
            });
            let pending = flushed.and(collected).is_err() || engine.has_pending_accesses();
            again = if engine.has_queued_writes() { Some(TRY_AGAIN) } else { pending.then_some(LOOK_AGAIN) };
        }
    }
}
