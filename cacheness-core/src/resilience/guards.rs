//! What watches over the remote backends of one cache. With a fallback, a backend may come long after the cache was opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{BackendRole, Guard};
use crate::error::Result;
use crate::events::Delivery;

/// The guards of a cache's backends. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    guards: Mutex<Vec<Arc<Guard>>>,
    /// True where a backend is remote, or is to be expected to be once it is there.
    remote: AtomicBool,
    /// True where something else takes the place of a backend that is down.
    replaced: bool,
    events: OnceLock<Arc<Delivery>>,
    closing: AtomicBool,
}

impl Guards {
    /// Those of backends that have been opened.
    pub(crate) fn of(guards: impl IntoIterator<Item = Arc<Guard>>) -> Self {
        let all = Self::default();
        all.add(guards);
        all
    }

    /// None yet, for backends whose place something else takes while they are down. `remote` says whether they will be.
    pub(crate) fn of_replaced(remote: bool) -> Self {
        Self(Arc::new(Inner { remote: AtomicBool::new(remote), replaced: true, ..Inner::default() }))
    }

    /// Adds those of backends that have just been opened.
    pub(crate) fn add(&self, guards: impl IntoIterator<Item = Arc<Guard>>) {
        let mut all = self.lock();
        for guard in guards {
            self.0.remote.store(true, Ordering::Release);
            if let Some(events) = self.0.events.get() {
                guard.set_events(events.clone());
            }
            if self.0.closing.load(Ordering::Acquire) {
                guard.begin_closing();
            }
            all.push(guard);
        }
    }

    /// True where a backend may be away.
    pub(crate) fn is_remote(&self) -> bool {
        self.0.remote.load(Ordering::Acquire)
    }

    /// Says who is told of changes of the backends' states.
    pub(crate) fn set_events(&self, events: &Arc<Delivery>) {
        let all = self.lock();
        let _ = self.0.events.set(events.clone());
        all.iter().for_each(|guard| guard.set_events(events.clone()));
    }

    /// From now on calls are made once; see [`Guard::begin_closing`].
    pub(crate) fn begin_closing(&self) {
        let all = self.lock();
        self.0.closing.store(true, Ordering::Release);
        all.iter().for_each(|guard| guard.begin_closing());
    }

    /// True while no breaker keeps calls from being made.
    pub(crate) fn let_all_calls_through(&self) -> bool {
        self.lock().iter().all(|guard| guard.lets_calls_through())
    }

    /// True while none of the metadata does.
    pub(crate) fn let_metadata_calls_through(&self) -> bool {
        let all = self.lock();
        all.iter()
            .filter(|guard| guard.role() == BackendRole::Metadata)
            .all(|guard| guard.lets_calls_through())
    }

    /// Those of the backends with this role.
    pub(crate) fn with_role(&self, role: BackendRole) -> Vec<Arc<Guard>> {
        self.lock().iter().filter(|guard| guard.role() == role).cloned().collect()
    }

    /// Asks the metadata backend, where its breaker is open and the pause is over, whether it answers: before work that comes
    /// to nothing where it does not. Where something takes its place there is nothing to ask.
    ///
    /// # Errors
    /// That of a call that is not made.
    pub(crate) async fn metadata_is_ready(&self) -> Result<()> {
        if self.0.replaced {
            return Ok(());
        }
        for guard in self.with_role(BackendRole::Metadata) {
            guard.is_ready().await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Guard>>> {
        self.0.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
