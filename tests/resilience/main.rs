//! What a cache does when a remote backend is slow, fails, loses answers or is gone.

mod breaker;
mod calls;
mod ending;
mod health;
mod modes;
mod opening;
mod queue;
mod writes;

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cacheness::{Cache, CacheBuilder, Error, ErrorKind, Event, OnReadError, Registry, blocking};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};

const SECOND: Duration = Duration::from_secs(1);

/// For how long nothing must have happened before the clock is moved: a busy machine may not get to a thread for a while.
const QUIET: Duration = Duration::from_millis(40);

/// Far longer than anything may take.
const HANGS: Duration = Duration::from_secs(100_000);

/// A cache over two remote backends, to which things happen, and a clock that the tests turn.
struct Remote {
    clock: Arc<TestClock>,
    metadata: Chaos,
    blobs: Chaos,
    told: Arc<Mutex<Vec<String>>>,
}

impl Remote {
    fn new() -> Self {
        let (metadata, blobs) = (Chaos::new().remote(), Chaos::new().remote());
        Self { clock: TestClock::new(), metadata, blobs, told: Arc::default() }
    }

    fn builder(&self) -> CacheBuilder {
        let builtin = Registry::builtin();
        let metadata = builtin.metadata_backend("memory").unwrap().clone();
        let blobs = builtin.blob_backend("memory").unwrap().clone();
        let metadata = ChaosMetadataFactory::wrap_shared(metadata, self.metadata.clone()).named("far");
        let blobs = ChaosBlobFactory::wrap_shared(blobs, self.blobs.clone()).named("away");
        let registry = builtin.with_metadata_backend(metadata).unwrap().with_blob_backend(blobs).unwrap();
        let told = self.told.clone();
        CacheBuilder::new(registry)
            .metadata("far")
            .blobs("away")
            .env(self.clock.env())
            .on_read_error(OnReadError::Error)
            .listener(move |event| {
                let line = match event {
                    Event::BackendState { role, backend, state, .. } => format!("{role} {backend} {state}"),
                    Event::WriteQueued { key, .. } | Event::WriteDropped { key, .. } => {
                        format!("{} {key}", event.name())
                    }
                    _ => return,
                };
                told.lock().unwrap().push(line);
            })
    }

    async fn open(&self) -> Cache {
        self.builder().open().await.unwrap()
    }

    /// Makes all calls fail, as those to a server that is gone; or none.
    fn gone(&self, gone: bool) {
        let error = gone.then(refused);
        self.metadata.fail_all(error.clone());
        self.blobs.fail_all(error);
    }

    /// Moves the clock on to what is waited for, whenever nothing else happens any more, until the work is done. Says how
    /// long that took by the clock.
    async fn turning<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let begun = self.clock.env().now();
        let mut work = pin!(work);
        let mut quiet = Instant::now();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return (done, self.clock.env().now().since(begun)),
                () = tokio::task::yield_now() => {}
            }
            self.turn(&mut quiet);
        }
    }

    /// As [`turning`](Self::turning), for work that blocks.
    fn turning_for<T: Send>(&self, work: impl FnOnce() -> T + Send) -> (T, Duration) {
        let begun = self.clock.env().now();
        let mut quiet = Instant::now();
        std::thread::scope(|scope| {
            let working = scope.spawn(work);
            while !working.is_finished() {
                std::thread::yield_now();
                self.turn(&mut quiet);
            }
            (working.join().unwrap(), self.clock.env().now().since(begun))
        })
    }

    fn turn(&self, quiet: &mut Instant) {
        if self.metadata.busy() + self.blobs.busy() > 0 {
            *quiet = Instant::now();
        }
        if quiet.elapsed() >= QUIET {
            // What hangs is not waited for.
            let soon = self.clock.env().now() + HANGS / 2;
            if let Some(next) = self.clock.next_wakeup().filter(|next| *next < soon) {
                self.clock.set(next);
            }
            *quiet = Instant::now();
        }
    }

    /// What the listener was told, once all of it has been delivered.
    async fn told(self, cache: Cache) -> Vec<String> {
        cache.close().await.unwrap();
        drop(cache);
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the server is down")
}

/// As [`down`], and nothing was sent.
fn refused() -> Error {
    down().with_outcome_unknown(false)
}

/// A value that is too large to lie with its entry.
fn large() -> Vec<u8> {
    (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Waits until something is so that a thread of the cache's brings about within a second or two.
fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < 20 * SECOND, "it did not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn blocking(cache: &Cache) -> blocking::Cache {
    cache.clone().into()
}
