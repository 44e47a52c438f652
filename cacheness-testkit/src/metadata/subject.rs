//! The backend under test, with what it needs to be opened: a folder of its own, a clock, and samples of entries.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cacheness_core::MetadataBackend;
use cacheness_core::{
    AccessLog, BlobId, Change, Checksums, Condition, ConfigOptions, Entry, Env, Format, Key, Location,
    MetadataFactory, Namespace, OpenContext, Registry, Timestamp, TypeClass,
};

use super::store::Store;
use crate::clock::TestClock;

/// A metadata backend that can be opened again and again on the same folder.
///
/// Cases that a backend adds for itself use it as the suite does:
///
/// ```no_run
/// # fn factory() -> std::sync::Arc<dyn cacheness_core::MetadataFactory> { unreachable!() }
/// # async fn case() {
/// use cacheness_core::ConfigOptions;
/// use cacheness_testkit::metadata::MetadataSubject;
///
/// let subject = MetadataSubject::shared(factory(), ConfigOptions::new());
/// let store = subject.open().await;
/// let outcome = store.put(subject.entry("default", "user:1")).await;
/// assert!(outcome.applied);
/// # }
/// ```
pub struct MetadataSubject {
    factory: Arc<dyn MetadataFactory>,
    options: ConfigOptions,
    folder: tempfile::TempDir,
    clock: Arc<TestClock>,
    env: Env,
    accesses: Arc<AccessLog>,
    is_swept: bool,
}

impl MetadataSubject {
    /// A subject that is opened by `factory` with `options`.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    #[must_use]
    pub fn new(factory: impl MetadataFactory, options: ConfigOptions) -> Self {
        Self::shared(Arc::new(factory), options)
    }

    /// As [`new`](Self::new), for a factory that is shared.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    #[must_use]
    pub fn shared(factory: Arc<dyn MetadataFactory>, options: ConfigOptions) -> Self {
        let clock = TestClock::new();
        Self {
            factory,
            options,
            folder: tempfile::tempdir().expect("a temporary folder for the test cannot be made"),
            env: clock.env(),
            clock,
            accesses: Arc::new(AccessLog::new(Duration::from_secs(60))),
            is_swept: true,
        }
    }

    /// Says that caches with this backend cannot be swept.
    #[must_use]
    pub fn without_sweeping(mut self) -> Self {
        self.is_swept = false;
        self
    }

    /// True unless it was said that caches with this backend cannot be swept.
    #[must_use]
    pub fn is_swept(&self) -> bool {
        self.is_swept
    }

    /// Opens the backend, on the same folder each time.
    ///
    /// # Panics
    /// Where the factory returns an error.
    pub async fn open(&self) -> Store {
        Store::new(self.open_backend().await)
    }

    /// Opens the backend in a program that knows the eviction policies of this registry, and no others.
    ///
    /// # Panics
    /// Where the factory returns an error.
    pub async fn open_knowing(&self, registry: &Registry) -> Store {
        let context = OpenContext::new(self.env.clone()).with_policies(registry);
        Store::new(self.open_in(context).await)
    }

    /// Opens the backend and returns it as it is.
    ///
    /// # Panics
    /// Where the factory returns an error.
    pub async fn open_backend(&self) -> Arc<dyn MetadataBackend> {
        self.open_in(OpenContext::new(self.env.clone())).await
    }

    /// Opens the backend by the operating system's clock, for what goes by the time of a server.
    ///
    /// # Panics
    /// Where the factory returns an error.
    pub async fn open_in_real_time(&self) -> Store {
        Store::new(self.open_in(OpenContext::new(Env::new())).await)
    }

    async fn open_in(&self, context: OpenContext) -> Arc<dyn MetadataBackend> {
        self.options.check(self.factory.name(), self.factory.options()).unwrap_or_else(|error| {
            panic!("the factory does not take the options that the suite was given: {error}")
        });
        let mut context = context.with_folder(self.folder.path());
        context.accesses = self.accesses.clone();
        self.factory
            .open(&self.options, &context)
            .await
            .unwrap_or_else(|error| panic!("opening `{}` failed: {error}", self.factory.name()))
    }

    /// Closes the store, and opens the backend anew.
    ///
    /// # Panics
    /// Where one of them fails.
    pub async fn reopen(&self, store: Store) -> Store {
        store.close().await.unwrap_or_else(|error| panic!("close failed: {error}"));
        drop(store);
        self.open().await
    }

    /// The clock by which the backend tells the time.
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// The present moment of the clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.env.now()
    }

    /// Moves the clock on.
    pub fn wait(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The log of uses that the backend consults before it evicts.
    #[must_use]
    pub fn accesses(&self) -> &AccessLog {
        &self.accesses
    }

    /// The folder that the backend keeps its files in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An entry of 10 stored bytes in a blob of its own, put now.
    ///
    /// # Panics
    /// Where the namespace or the key is none.
    #[must_use]
    pub fn entry(&self, namespace: &str, key: &str) -> Entry {
        self.entry_of_size(namespace, key, 10)
    }

    /// An entry of this many stored bytes in a blob of its own, put now.
    ///
    /// # Panics
    /// Where the namespace or the key is none.
    #[must_use]
    pub fn entry_of_size(&self, namespace: &str, key: &str, stored_size: u64) -> Entry {
        let location = Location::Blob(BlobId::new(self.now()));
        let mut entry = self.entry_at(namespace, key, location);
        entry.size = stored_size;
        entry.stored_size = stored_size;
        // A backend keeps checksums without reading them, so those of a huge value need not all be there.
        let sums = Checksums::chunks(stored_size).min(1000) as usize;
        entry.checksums = Checksums::from_stored(vec![7; sums * 8].into());
        entry
    }

    /// An entry that holds these bytes itself, put now.
    ///
    /// # Panics
    /// Where the namespace or the key is none.
    #[must_use]
    pub fn inline_entry(&self, namespace: &str, key: &str, bytes: &[u8]) -> Entry {
        self.entry_at(namespace, key, Location::Inline(bytes.to_vec().into()))
    }

    /// An entry that expires after `ttl`, put now.
    ///
    /// # Panics
    /// Where the namespace or the key is none.
    #[must_use]
    pub fn expiring_entry(&self, namespace: &str, key: &str, ttl: Duration) -> Entry {
        let mut entry = self.entry(namespace, key);
        entry.validity.start_ttl(Some(ttl), self.now());
        entry
    }

    /// An entry with this priority, put now.
    ///
    /// # Panics
    /// Where the namespace or the key is none.
    #[must_use]
    pub fn entry_of_priority(&self, namespace: &str, key: &str, priority: f32) -> Entry {
        let mut entry = self.entry(namespace, key);
        entry.priority = priority;
        entry
    }

    /// A change that puts the entry, whatever is there.
    #[must_use]
    pub fn putting(&self, entry: Entry) -> Change {
        Change::Put { now: self.now(), entry: Box::new(entry), condition: Condition::Always }
    }

    fn entry_at(&self, namespace: &str, key: &str, location: Location) -> Entry {
        let mut format = Format::named("sample", TypeClass::Native);
        format.type_name = "Sample".to_owned();
        Entry::new(self::namespace(namespace), self::key(key), format, location, self.now())
    }
}

/// The namespace of this name.
pub(super) fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap_or_else(|error| panic!("the suite names a namespace that is none: {error}"))
}

fn key(key: &str) -> Key {
    Key::new(key).unwrap_or_else(|error| panic!("the suite names a key that is none: {error}"))
}
