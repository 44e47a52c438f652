//! The queue of events and the thread that hands them to the listeners.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use super::{Event, Listeners};
use crate::error::{Error, Result};

/// How many events wait at the most. Further ones are dropped and counted.
const CAPACITY: usize = 8192;

/// How many bytes of keys and namespaces they have at the most: a key may be 64 KiB long.
const BYTES: usize = 16 * 1024 * 1024;

/// How long closing waits for the listeners.
const CLOSING: Duration = Duration::from_secs(5);

/// Takes events from any thread and hands them to the listeners on one.
#[derive(Debug)]
pub(crate) struct Delivery {
    queue: Mutex<Queue>,
    changed: Condvar,
    dropped: AtomicU64,
    thread: OnceLock<ThreadId>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// How many bytes their keys and namespaces have.
    bytes: usize,
    /// The thread waits for events, and must be woken.
    idle: bool,
    /// No more events are taken; the thread delivers those that are there and ends.
    closing: bool,
    /// Closing has waited long enough; the thread ends after the event at hand.
    abandoned: bool,
    /// The thread will call no listener any more.
    done: bool,
}

impl Delivery {
    /// Starts the thread. It ends when [`close`](Self::close) is called.
    pub(crate) fn start(listeners: Listeners) -> Result<Arc<Self>> {
        let delivery = Arc::new(Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
            thread: OnceLock::new(),
        });
        let shared = delivery.clone();
        std::thread::Builder::new()
            .name("cacheness-events".into())
            .spawn(move || shared.run(&listeners))
            .map_err(|error| Error::io(error, "the thread that delivers events cannot be started"))?;
        Ok(delivery)
    }

    /// Queues an event. It never waits for a listener.
    pub(crate) fn send(&self, event: Event) {
        let mut queue = self.queue();
        let bytes = named_by(&event);
        if queue.closing || queue.events.len() >= CAPACITY || queue.bytes + bytes > BYTES {
            drop(queue);
            self.count_dropped(1);
            return;
        }
        queue.events.push_back(event);
        queue.bytes += bytes;
        if std::mem::take(&mut queue.idle) {
            self.changed.notify_all();
        }
    }

    /// How many events were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything that is queued has been delivered, or for a few seconds. A listener that closes the
    /// cache does not wait for itself.
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closing = true;
        self.changed.notify_all();
        if self.is_this_thread() {
            return;
        }
        let waited = self.changed.wait_timeout_while(queue, CLOSING, |queue| !queue.done);
        let (mut queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            queue.abandoned = true;
            let left = std::mem::take(&mut queue.events).len();
            drop(queue);
            self.count_dropped(left as u64);
            tracing::warn!("listeners were too slow; the events that still waited for them are dropped");
        }
    }

    /// True in a listener.
    pub(crate) fn is_this_thread(&self) -> bool {
        self.thread.get() == Some(&std::thread::current().id())
    }

    fn run(&self, listeners: &Listeners) {
        // Nobody else sets it.
        let _ = self.thread.set(std::thread::current().id());
        while let Some(event) = self.next() {
            listeners.0.iter().for_each(|listener| tell(listener.as_ref(), &event));
        }
        self.queue().done = true;
        self.changed.notify_all();
        // The listeners go with this thread: one that holds a handle of the cache lets go of it here.
    }

    /// Waits for an event. `None` where there will be none.
    fn next(&self) -> Option<Event> {
        let mut queue = self.queue();
        while queue.events.is_empty() && !queue.closing {
            queue.idle = true;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.idle = false;
        if queue.abandoned {
            return None;
        }
        let event = queue.events.pop_front()?;
        queue.bytes = queue.bytes.saturating_sub(named_by(&event));
        Some(event)
    }

    fn count_dropped(&self, events: u64) {
        if events > 0 {
            self.dropped.fetch_add(events, Ordering::Relaxed);
            crate::metric::events_dropped(events);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes an event's key and namespace have.
fn named_by(event: &Event) -> usize {
    let key = event.key().map_or(0, |key| key.as_str().len());
    key + event.namespace().map_or(0, |namespace| namespace.as_str().len())
}

/// Calls a listener. A panic of it is logged, and the next event comes all the same.
fn tell(listener: &dyn Fn(&Event), event: &Event) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| listener(event))) {
        let what = crate::error::panic_message(panic.as_ref());
        tracing::error!(
            event = event.name(),
            panic = what,
            "a listener panicked; it goes on with the next event"
        );
    }
}
