//! Work that holds one of the engine's locks while it waits for a backend: it must go on whatever its caller does, since others
//! wait for the lock.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Engine;
use crate::error::{Error, ErrorKind, Result};

impl Engine {
    /// Does work that holds a lock. Where a backend may have to be waited for, the async face does it on the cache's own
    /// runtime: a caller that is not polled, because the other face occupies its thread or it was left unfinished, would
    /// keep the lock from everybody, also from the one that occupies the thread.
    pub(super) async fn apart<T, F>(&self, work: impl FnOnce(Arc<Self>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let engine = self.this.upgrade().ok_or_else(Self::closed_error)?;
        if self.waits { self.env.apart(work(engine)).await } else { self.env.carry_out(work(engine)).await }
    }

    /// As [`apart`](Self::apart), and it goes on to its end also where its caller does not wait for it any more.
    pub(super) async fn to_the_end<T, F>(&self, work: impl FnOnce(Arc<Self>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let engine = self.this.upgrade().ok_or_else(Self::closed_error)?;
        if self.waits {
            self.env.apart_to_the_end(work(engine)).await
        } else {
            self.env.carry_out(work(engine)).await
        }
    }

    /// Takes a lock. Over remote backends it is waited for as long as a call may take, because whoever has it may be waiting
    /// for calls of his own.
    pub(super) async fn taking(&self, lock: &Arc<Mutex<()>>) -> Result<OwnedMutexGuard<()>> {
        if let Ok(guard) = lock.clone().try_lock_owned() {
            return Ok(guard);
        }
        if !self.is_remote() {
            return Ok(lock.clone().lock_owned().await);
        }
        let (lock, env, limit) = (lock.clone(), self.env.clone(), self.settings.remote.deadline);
        // There, timers are to be had on both faces.
        let taken = self.env.on_io(async move {
            match select(pin!(lock.lock_owned()), pin!(env.sleep(limit))).await {
                Either::Left((guard, _)) => Ok(guard),
                Either::Right(_) => {
                    let message = format!(
                        "other calls of this cache, which this one must not overtake, did not end within {limit:?}; see why \
                         its backends are slow, or raise `remote.deadline`"
                    );
                    Err(Error::new(ErrorKind::Timeout, message).with_outcome_unknown(false))
                }
            }
        });
        taken.await
    }
}
