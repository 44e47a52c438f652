//! What a cache tells of itself: events to listeners, and spans and events to a subscriber of `tracing`.

mod events;
mod logs;

use std::sync::{Arc, Mutex};

use cacheness::{Cache, CacheBuilder, Event, Registry};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};

/// A cache in memory whose backends can be made to fail, whose clock is turned, and what its listener was told.
struct Watched {
    clock: Arc<TestClock>,
    metadata: Chaos,
    blobs: Chaos,
    heard: Arc<Mutex<Vec<Event>>>,
    builder: CacheBuilder,
}

impl Watched {
    fn new() -> Self {
        let (clock, metadata, blobs) = (TestClock::new(), Chaos::new(), Chaos::new());
        let builtin = Registry::builtin();
        let inner = (
            builtin.metadata_backend("memory").unwrap().clone(),
            builtin.blob_backend("memory").unwrap().clone(),
        );
        let registry = builtin
            .with_metadata_backend(
                ChaosMetadataFactory::wrap_shared(inner.0, metadata.clone()).named("chaos"),
            )
            .unwrap()
            .with_blob_backend(ChaosBlobFactory::wrap_shared(inner.1, blobs.clone()).named("chaos"))
            .unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        let builder = CacheBuilder::new(registry)
            .metadata("chaos")
            .blobs("chaos")
            .inline_limit(0)
            .env(clock.env())
            .listener(move |event| told.lock().unwrap().push(event.clone()));
        Self { clock, metadata, blobs, heard, builder }
    }

    async fn open(&self) -> Cache {
        self.builder.clone().open().await.unwrap()
    }

    /// Closes the cache, so that everything has been delivered, and gives what was told, one line an event.
    async fn told(&self, cache: Cache) -> Vec<String> {
        // A backend that fails when it is closed is another test's matter.
        let _ = cache.close().await;
        self.heard.lock().unwrap().iter().map(line).collect()
    }
}

fn line(event: &Event) -> String {
    let key = event.key().map_or("-", |key| key.as_str());
    let detail = match event {
        Event::Put { replaced, handler, size, stored_size, .. } => {
            format!(" {handler} {size} {stored_size} {replaced}")
        }
        Event::Hit { handler, bytes, .. } => format!(" {handler} {bytes}"),
        Event::Miss { reason, .. } => format!(" {reason}"),
        Event::Evict { reason, .. } => format!(" {}", reason.name()),
        Event::Expire { reason, .. } => format!(" {reason}"),
        Event::Clear { entries, .. } => format!(" {entries}"),
        Event::Corrupt { error, .. } => format!(" {}", error.kind().name()),
        Event::BackendError { operation, error, .. } => format!(" {operation} {}", error.kind().name()),
        _ => String::new(),
    };
    let namespace = event.namespace().map_or("-", |namespace| namespace.as_str());
    format!("{} {namespace}/{key}{detail}", event.name())
}
