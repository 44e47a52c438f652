//! The thread that brings what the second store holds to the first, as soon as that answers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Shared;
use crate::error::{Error, ErrorKind, Result};

/// How long it waits before it tries again.
const WAIT: Duration = Duration::from_secs(1);

/// Says that there is something to bring, or to stop.
#[derive(Clone, Default)]
pub(super) struct Signal(Arc<(Mutex<State>, Condvar)>);

#[derive(Clone, Copy, Default)]
struct State {
    work: bool,
    stop: bool,
}

impl Signal {
    pub(super) fn wake(&self) {
        self.set(|state| state.work = true);
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Waits for work, and at most so long where that is given. False where the thread is to stop.
    fn wait(&self, most: Option<Duration>) -> bool {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = match most {
            // Work that is there already waits, too: the first store is not asked more often than that.
            Some(most) => {
                let waited = self.0.1.wait_timeout_while(state, most, |state| !state.stop);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.0.1.wait_while(state, |state| !state.work && !state.stop);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        state.work = false;
        !state.stop
    }
}

impl Shared {
    /// Starts the thread. It ends when the stores are closed or gone.
    pub(super) fn start_driver(shared: &Arc<Self>) -> Result<()> {
        let (signal, shared) = (shared.signal.clone(), Arc::downgrade(shared));
        std::thread::Builder::new()
            .name("cacheness-fallback".into())
            .spawn(move || run(&signal, &shared))
            .map(drop)
            .map_err(|error| {
                Error::io(error, "the thread that brings values back from the fallback cannot be started")
            })
    }

    pub(super) fn close_driver(&self) {
        self.closed.store(true, Ordering::Release);
        self.signal.set(|state| state.stop = true);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.signal.set(|state| state.stop = true);
    }
}

fn run(signal: &Signal, shared: &Weak<Shared>) {
    // At the start there may be something from the time before.
    let mut wait = Some(Duration::ZERO);
    while signal.wait(wait) {
        let Some(shared) = shared.upgrade() else { return };
        let met = shared.env.block_on(shared.opener.needs_runtime(), shared.meet());
        wait = match met {
            Ok(false) => None,
            Ok(true) => Some(WAIT),
            Err(error) => {
                if !error.is_temporary() && error.kind() != ErrorKind::Closed {
                    let error = error.without_key();
                    tracing::warn!(%error, "the fallback cannot bring its values to the first store yet");
                }
                Some(WAIT)
            }
        };
    }
}
