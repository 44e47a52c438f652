//! A cache for the tests of applications: a real one, in memory, that keeps count of what is asked of it and goes by
//! a clock that the test turns.

use std::sync::Arc;

use cacheness_core::{Cache, CacheBuilder, Counters, Register, Registry, Result, blocking};

use crate::calls::{Call, Operation};
use crate::chaos::{Chaos, ChaosBlobFactory, ChaosMetadataFactory};
use crate::clock::TestClock;

/// A cache in memory for an application's tests. It is empty, has no limit, and no TTL but that of each put.
///
/// ```
/// # use cacheness as _;
/// use cacheness_core::{PutOptions, blocking::Cache};
/// use std::time::Duration;
///
/// // What is to be tested takes a cache, as it does in production.
/// fn greeting(cache: &Cache, name: &str) -> cacheness_core::Result<String> {
///     if let Some(known) = cache.get(name)? {
///         return Ok(known);
///     }
///     let made = format!("hello {name}");
///     cache.put_with(name, &made, PutOptions::ttl(Duration::from_secs(60)))?;
///     Ok(made)
/// }
///
/// let test = cacheness_testkit::cache();
/// for _ in 0..3 {
///     assert_eq!(greeting(&test.blocking(), "Ada")?, "hello Ada");
/// }
/// assert_eq!((test.hits(), test.misses()), (2, 1));
///
/// test.clock().advance(Duration::from_secs(61));
/// greeting(&test.blocking(), "Ada")?;
/// assert_eq!((test.hits(), test.misses()), (2, 2));
///
/// let calls: Vec<String> = test.calls().iter().map(ToString::to_string).collect();
/// assert_eq!(calls[..3], ["lookup default/Ada", "put default/Ada", "lookup default/Ada"]);
/// # Ok::<(), cacheness_core::Error>(())
/// ```
///
/// # Panics
/// Where the program is linked without the crate `cacheness`, which brings the parts: the application under test
/// names it, and in a test of something else `use cacheness as _;` does.
// shows: row U44
#[must_use]
pub fn cache() -> TestCache {
    TestCache::compose(Registry::builtin(), |builder| builder)
        .unwrap_or_else(|error| panic!("a cache in memory needs the parts of `cacheness`, so the test has to name that crate, by `use cacheness as _;`: {error}"))
}

/// A cache whose calls are counted, with the clock that it goes by and the faults that a test may wish for. See
/// [`cache`].
///
/// Clones of it, and both faces, share everything.
#[derive(Clone, Debug)]
pub struct TestCache {
    cache: Cache,
    clock: Arc<TestClock>,
    chaos: Chaos,
}

impl TestCache {
    /// A cache with other handlers or options. The registry's backends `memory` are wrapped, so that calls are
    /// counted; of a cache that `build` gives other backends, only its hits and misses are known. `build` gets a builder
    /// that has the clock.
    ///
    /// ```
    /// use cacheness::Registry;
    /// use cacheness_testkit::TestCache;
    /// use std::time::Duration;
    ///
    /// let test = TestCache::compose(Registry::builtin(), |builder| builder.ttl(Duration::from_secs(60)))?;
    /// test.blocking().put("token", "abc")?;
    /// test.clock().advance(Duration::from_secs(61));
    /// assert!(!test.blocking().contains("token")?);
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotRegistered`](cacheness_core::ErrorKind::NotRegistered) for a registry without the backends `memory`, and
    /// the errors of [`CacheBuilder::open_blocking`].
    pub fn compose(mut registry: Registry, build: impl FnOnce(CacheBuilder) -> CacheBuilder) -> Result<Self> {
        let (clock, chaos) = (TestClock::new(), Chaos::new());
        let metadata = registry.metadata_backend(MEMORY)?.clone();
        let blobs = registry.blob_backend(MEMORY)?.clone();
        let replaced = Register::new().named(MEMORY).replace();
        registry.register_metadata_backend(
            ChaosMetadataFactory::wrap_shared(metadata, chaos.clone()),
            replaced.clone(),
        )?;
        registry.register_blob_backend(ChaosBlobFactory::wrap_shared(blobs, chaos.clone()), replaced)?;
        let cache = build(CacheBuilder::new(registry).env(clock.env())).open_blocking()?;
        chaos.record();
        Ok(Self { cache: cache.into(), clock, chaos })
    }

    /// The cache's async face.
    #[must_use]
    pub fn cache(&self) -> Cache {
        self.cache.clone()
    }

    /// The cache's blocking face.
    #[must_use]
    pub fn blocking(&self) -> blocking::Cache {
        self.cache.clone().into()
    }

    /// The clock that the cache goes by. It stands still until the test moves it.
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// What can go wrong: `test.chaos().fail_next("get_entry", error)` makes a lookup fail.
    ///
    /// ```
    /// # use cacheness as _;
    /// use cacheness_core::{Error, ErrorKind};
    ///
    /// let test = cacheness_testkit::cache();
    /// test.blocking().put("answer", &42)?;
    /// test.chaos().fail_all(Some(Error::new(ErrorKind::Unavailable, "the cache is down")));
    /// assert_eq!(test.blocking().get::<i32, _>("answer")?, None);
    /// assert!(test.blocking().put("answer", &43).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn chaos(&self) -> &Chaos {
        &self.chaos
    }

    /// Everything that was asked so far, in order; what threads ask at once stands in some order. Statistics and the
    /// cache's own upkeep are not in it.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.chaos.recorded()
    }

    /// The keys that one operation was called with, in order, of all namespaces.
    #[must_use]
    pub fn keys(&self, operation: Operation) -> Vec<String> {
        self.calls()
            .into_iter()
            .filter(|call| call.operation == operation)
            .filter_map(|call| call.key)
            .collect()
    }

    /// How often one operation was called.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.calls().iter().filter(|call| call.operation == operation).count()
    }

    /// Forgets the calls so far; hits and misses stay.
    pub fn forget_calls(&self) {
        self.chaos.forget_recorded();
    }

    /// How many lookups found a valid value, in all namespaces. Only those count that are to give the value: `get`,
    /// `get_many`, `reader`.
    ///
    /// # Panics
    /// Where the statistics cannot be read: the cache is closed, or the test made all calls fail.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.counters().hits
    }

    /// How many lookups found no valid value, in all namespaces; the counterpart of [`hits`](Self::hits).
    ///
    /// # Panics
    /// As [`hits`](Self::hits).
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.counters().misses
    }

    fn counters(&self) -> Counters {
        let stats = self.blocking().total_stats();
        stats.unwrap_or_else(|error| panic!("the statistics cannot be read: {error}")).counters
    }
}

const MEMORY: &str = "memory";
