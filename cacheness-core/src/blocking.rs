//! The blocking face: the same cache, for programs without a runtime and for any thread of one.

mod sharing;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::builder::{CacheBuilder, default_folder};
use crate::engine::{
    EntryInfo, EntryPage, ListOptions, PurgeReport, RawEntry, RotateReport, Stored, SweepReport,
    VerifyOptions, VerifyReport,
};
use crate::entry::Entry;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::eviction::Limits;
use crate::names::{CacheId, Namespace};
use crate::options::{PutOptions, ReadOptions};
use crate::registry::{OpenMode, Registry};
use crate::resilience::Health;
use crate::stats::Stats;
use crate::value::{CacheValue, PutValue, SerializeOnly};

pub use sharing::{Changes, Lease};

/// A cache, bound to one namespace. Clones and other namespaces share everything else.
///
/// Every method does its work on the calling thread and returns when it is done. It may be called on any thread:
/// a plain one, a worker of a Tokio runtime (which it keeps busy meanwhile), or one for blocking work.
/// [`crate::Cache`] is the same cache for async programs; either can be made from the other.
///
/// ```
/// use cacheness::blocking::Cache;
///
/// let cache = Cache::memory()?;
/// cache.put("answer", &42)?;
/// let answer: Option<i32> = cache.get("answer")?;
/// assert_eq!(answer, Some(42));
/// # Ok::<(), cacheness::Error>(())
/// ```
///
/// Keys and errors are those of [`crate::Cache`].
#[derive(Clone, Debug)]
pub struct Cache {
    inner: crate::Cache,
}

impl From<crate::Cache> for Cache {
    fn from(inner: crate::Cache) -> Self {
        Self { inner }
    }
}

impl From<Cache> for crate::Cache {
    fn from(cache: Cache) -> Self {
        cache.inner
    }
}

impl Cache {
    /// Opens the cache in a folder, and creates it where there is none: metadata in SQLite, blobs in files, 10 GiB
    /// at the most, the least recently used evicted first.
    ///
    /// Any number of processes may have the same folder open.
    ///
    /// # Errors
    /// [`NotRegistered`](ErrorKind::NotRegistered) where the features `sqlite` and `filesystem` are off;
    /// [`Corrupted`](ErrorKind::Corrupted) where the folder's index is damaged;
    /// [`Unsupported`](ErrorKind::Unsupported) where a newer version wrote it; the operating system's error.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().folder(path.as_ref()).open_blocking()
    }

    /// Opens the cache in a folder. Never creates anything.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no cache; otherwise as [`open`](Self::open).
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().folder(path.as_ref()).mode(OpenMode::Existing).open_blocking()
    }

    /// Opens the cache of an application in the user's data folder, and creates it where there is none: on Linux
    /// `$XDG_DATA_HOME/APPLICATION/cacheness`, where `XDG_DATA_HOME` is `~/.local/share` unless set.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where the name cannot be a folder's;
    /// [`NotFound`](ErrorKind::NotFound) where the user's home is not known; otherwise as [`open`](Self::open).
    pub fn open_default(application: &str) -> Result<Self> {
        Self::open(default_folder(application)?)
    }

    /// Makes a cache in memory, without a limit. It ends with its last handle.
    ///
    /// # Errors
    /// [`NotRegistered`](ErrorKind::NotRegistered) in a program that depends on `cacheness-core` alone.
    pub fn memory() -> Result<Self> {
        Self::builder().open_blocking()
    }

    /// Opens the cache that a configuration file describes, in TOML or JSON, with the variables of this process laid
    /// over it. `docs/configuration.md` lists all options.
    ///
    /// # Errors
    /// As [`CacheBuilder::from_file`], [`CacheBuilder::config`] and [`CacheBuilder::open_blocking`].
    #[cfg(feature = "config")]
    pub fn from_config(path: impl AsRef<Path>) -> Result<Self> {
        CacheBuilder::from_file(path)?.open_blocking()
    }

    /// Composes a cache of the parts that are built in.
    #[must_use]
    pub fn builder() -> CacheBuilder {
        CacheBuilder::new(Registry::builtin())
    }

    /// The same cache, bound to another namespace, which is created by the first write to it.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an empty name, [`LimitExceeded`](ErrorKind::LimitExceeded) for
    /// one over 255 bytes.
    pub fn namespace(&self, name: impl AsRef<str>) -> Result<Self> {
        Ok(Self { inner: self.inner.namespace(name)? })
    }

    /// The namespace that this handle is bound to.
    #[must_use]
    pub fn bound_to(&self) -> &Namespace {
        self.inner.bound_to()
    }

    /// The folder of the cache, where it has one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.inner.folder()
    }

    /// The random id that was given to the cache when it was created.
    #[must_use]
    pub fn id(&self) -> CacheId {
        self.inner.id()
    }

    /// The handlers and backends that the cache was opened with.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        self.inner.registry()
    }

    /// The name of the metadata backend that keeps the entries, such as `"sqlite"`.
    #[must_use]
    pub fn metadata_backend(&self) -> &str {
        self.inner.metadata_backend()
    }

    /// The name of the blob backend that keeps the values, such as `"filesystem"`.
    #[must_use]
    pub fn blob_backend(&self) -> &str {
        self.inner.blob_backend()
    }

    /// Stores a value under a key, in place of what is there.
    ///
    /// The value is `&T` of any serde type or of a type that a registered handler knows, `&str` or `&[u8]`.
    ///
    /// # Errors
    /// [`NoHandler`](ErrorKind::NoHandler) where no handler takes the value, [`Encode`](ErrorKind::Encode) where it
    /// cannot be encoded, [`LimitExceeded`](ErrorKind::LimitExceeded) where it is larger than the whole limit.
    /// What was stored before is still there then.
    pub fn put<'a, Via>(&self, key: impl AsRef<str>, value: impl PutValue<'a, Via>) -> Result<Stored> {
        self.put_with(key, value, PutOptions::new())
    }

    /// Stores a value under a key, with options.
    ///
    /// # Errors
    /// As [`put`](Self::put); [`InvalidInput`](ErrorKind::InvalidInput) and
    /// [`LimitExceeded`](ErrorKind::LimitExceeded) for options out of their range,
    /// [`NotFound`](ErrorKind::NotFound) for a source file that is not there,
    /// [`NotRegistered`](ErrorKind::NotRegistered) for a handler that is not known.
    pub fn put_with<'a, Via>(
        &self,
        key: impl AsRef<str>,
        value: impl PutValue<'a, Via>,
        options: PutOptions,
    ) -> Result<Stored> {
        let (engine, tenant) = (&self.inner.engine, &self.inner.tenant);
        let prepared = engine.prepare(tenant, key.as_ref(), &value.value_ref(), options)?;
        engine.block_on(engine.store(tenant, prepared))
    }

    /// Stores a value that can be serialised but perhaps not deserialised: borrowed, unsized, or of another shape
    /// than the type that will read it.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub fn put_serialize<T: Serialize + Sync + ?Sized>(
        &self,
        key: impl AsRef<str>,
        value: &T,
        options: PutOptions,
    ) -> Result<Stored> {
        let value = SerializeOnly(value);
        let (engine, tenant) = (&self.inner.engine, &self.inner.tenant);
        let prepared = engine.prepare(tenant, key.as_ref(), &value.value_ref(), options)?;
        engine.block_on(engine.store(tenant, prepared))
    }

    /// Stores a shared value; for programs that share code with the async face.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub fn put_shared<T: CacheValue<Via>, Via>(
        &self,
        key: impl AsRef<str>,
        value: Arc<T>,
        options: PutOptions,
    ) -> Result<Stored> {
        self.inner.engine.block_on(self.inner.put_shared(key.as_ref(), value, options))
    }

    /// Stores bytes of any number from a reader, in bounded memory. They come back as bytes.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with); the reader's own error.
    pub fn put_reader(&self, key: impl AsRef<str>, reader: impl Read, options: PutOptions) -> Result<Stored> {
        let (engine, tenant) = (&self.inner.engine, &self.inner.tenant);
        let prepared = engine.prepare_reader(tenant, key.as_ref(), reader, options)?;
        engine.block_on(engine.store(tenant, prepared))
    }

    /// Stores several values in one transaction: all of them, or none.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub fn put_many<'a, K, V, Via>(
        &self,
        values: impl IntoIterator<Item = (K, V), IntoIter: Send> + Send,
        options: PutOptions,
    ) -> Result<Vec<Stored>>
    where
        K: AsRef<str> + Send,
        V: PutValue<'a, Via>,
    {
        // The caller's iterator is not run inside the engine.
        let values = values.into_iter().map(|(key, value)| (key, value, options.clone()));
        let prepared = self.inner.prepare_many(values)?;
        self.inner.engine.block_on(self.inner.store_prepared(prepared))
    }

    /// Stores several values in one transaction, each with options of its own: all of them, or none.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub fn put_many_with<'a, K, V, Via>(
        &self,
        values: impl IntoIterator<Item = (K, V, PutOptions)>,
    ) -> Result<Vec<Stored>>
    where
        K: AsRef<str>,
        V: PutValue<'a, Via>,
    {
        // The caller's iterator is not run inside the engine.
        let prepared = self.inner.prepare_many(values)?;
        self.inner.engine.block_on(self.inner.store_prepared(prepared))
    }

    /// Stores an entry with its stored bytes, as [`get_raw`](Self::get_raw) gives them, under its own key.
    ///
    /// # Errors
    /// [`Corrupted`](ErrorKind::Corrupted) where the bytes do not match the entry's checksums; as
    /// [`put`](Self::put).
    pub fn put_raw(&self, raw: RawEntry) -> Result<Stored> {
        self.inner.engine.block_on(self.inner.put_raw(raw))
    }

    /// Gets a value; `None` where there is none that may be served.
    ///
    /// # Errors
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where a value of another class is stored;
    /// [`NotRegistered`](ErrorKind::NotRegistered) where its handler is not known to this program.
    pub fn get<V: CacheValue<Via>, Via>(&self, key: impl AsRef<str>) -> Result<Option<V>> {
        self.inner.engine.block_on(self.inner.get(key.as_ref()))
    }

    /// Gets a value, or a part of a table.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`TypeMismatch`](ErrorKind::TypeMismatch) where another type tag was put;
    /// [`Unsupported`](ErrorKind::Unsupported) where the format cannot give a part;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a column that is not there.
    pub fn get_with<V: CacheValue<Via>, Via>(
        &self,
        key: impl AsRef<str>,
        options: &ReadOptions,
    ) -> Result<Option<V>> {
        self.inner.engine.block_on(self.inner.get_with(key.as_ref(), options))
    }

    /// Gets a value without a trace: nothing is counted, and its access time stays.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn peek<V: CacheValue<Via>, Via>(&self, key: impl AsRef<str>) -> Result<Option<V>> {
        self.inner.engine.block_on(self.inner.peek(key.as_ref()))
    }

    /// Gets several values; the answers stand in the order of the keys. On a server, one round trip for the
    /// entries.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many<V: CacheValue<Via>, Via>(
        &self,
        keys: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<Option<V>>> {
        self.inner.engine.block_on(self.inner.get_many(keys))
    }

    /// Gets several values, or the same part of several tables; the answers stand in the order of the keys.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with).
    pub fn get_many_with<V: CacheValue<Via>, Via>(
        &self,
        keys: &[impl AsRef<str> + Sync],
        options: &ReadOptions,
    ) -> Result<Vec<Option<V>>> {
        self.inner.engine.block_on(self.inner.get_many_with(keys, options))
    }

    /// Opens a value for reading piece by piece, in bounded memory.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn reader(&self, key: impl AsRef<str>) -> Result<Option<ValueReader>> {
        let reader = self.inner.engine.block_on(self.inner.reader(key.as_ref()))?;
        Ok(reader.map(|inner| ValueReader { inner }))
    }

    /// Gets an entry with its stored bytes, uninterpreted. Nothing is counted.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_raw(&self, key: impl AsRef<str>) -> Result<Option<RawEntry>> {
        self.inner.engine.block_on(self.inner.get_raw(key.as_ref()))
    }

    /// Looks at an entry without its value, valid or not. Nothing is counted.
    ///
    /// # Errors
    /// As the type's.
    pub fn get_entry(&self, key: impl AsRef<str>) -> Result<Option<EntryInfo>> {
        self.inner.engine.block_on(self.inner.get_entry(key.as_ref()))
    }

    /// True where there is an entry that may be served. Nothing is counted.
    ///
    /// # Errors
    /// As the type's.
    pub fn contains(&self, key: impl AsRef<str>) -> Result<bool> {
        self.inner.engine.block_on(self.inner.contains(key.as_ref()))
    }

    /// Removes an entry, valid or not. False where there was none.
    ///
    /// # Errors
    /// As the type's.
    #[doc(alias = "invalidate")]
    #[doc(alias = "delete")]
    pub fn remove(&self, key: impl AsRef<str>) -> Result<bool> {
        self.inner.engine.block_on(self.inner.remove(key.as_ref()))
    }

    /// Another name of [`remove`](Self::remove).
    ///
    /// # Errors
    /// As the type's.
    pub fn invalidate(&self, key: impl AsRef<str>) -> Result<bool> {
        self.remove(key)
    }

    /// Removes several entries in one transaction, and returns how many there were.
    ///
    /// # Errors
    /// As the type's.
    pub fn remove_many(&self, keys: &[impl AsRef<str> + Sync]) -> Result<u64> {
        self.inner.engine.block_on(self.inner.remove_many(keys))
    }

    /// Starts an entry's TTL again, and counts as a use of it. False where there is no valid entry.
    ///
    /// # Errors
    /// As the type's.
    pub fn touch(&self, key: impl AsRef<str>) -> Result<bool> {
        self.inner.engine.block_on(self.inner.touch(key.as_ref()))
    }

    /// Lets an entry expire so much later. False where there is no valid entry; one without a TTL stays as it is.
    ///
    /// # Errors
    /// As the type's.
    pub fn extend_ttl(&self, key: impl AsRef<str>, by: Duration) -> Result<bool> {
        self.inner.engine.block_on(self.inner.extend_ttl(key.as_ref(), by))
    }

    /// Lists the entries that the options ask for, valid or not, by default in the order of their keys. Each page is
    /// read for itself: what is put, removed or, in another order, used meanwhile may or may not be listed; everything
    /// else is, once.
    ///
    /// A page may be short or even empty and yet have a `next`: one call looks at a million entries or so at the most.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a limit of 0 or over 1,000, a glob or a path to a custom field that
    /// is malformed, or a cursor of a listing in another order; [`LimitExceeded`](ErrorKind::LimitExceeded) for a glob or
    /// a path over 1,024 bytes; [`Unsupported`](ErrorKind::Unsupported) where the metadata backend cannot answer a part
    /// of the query.
    pub fn list(&self, options: ListOptions) -> Result<EntryPage> {
        self.inner.engine.block_on(self.inner.list(options))
    }

    /// Counts the entries that the options ask for, on all pages: their limit, order and cursor have no say. It reads
    /// every entry that may match; [`stats`](Self::stats) knows the number of all.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn count_matching(&self, options: ListOptions) -> Result<u64> {
        self.inner.engine.block_on(self.inner.count_matching(options))
    }

    /// Removes the entries that the options ask for, on all pages, and returns how many there were: by prefix, pattern,
    /// tag, age or whatever else can be listed. With a limit at most so many, the first ones in the order of the options.
    ///
    /// It goes on in small transactions: a failure leaves what it has not reached. An entry that is replaced meanwhile
    /// stays. Without any condition all entries of the namespace go, for which [`clear`](Self::clear) is much faster.
    ///
    /// # Errors
    /// As [`list`](Self::list); [`InvalidInput`](ErrorKind::InvalidInput) for options that ask for all namespaces, which is
    /// what [`remove_matching_everywhere`](Self::remove_matching_everywhere) is for.
    #[doc(alias = "invalidate_matching")]
    #[doc(alias = "clear_matching")]
    pub fn remove_matching(&self, options: ListOptions) -> Result<u64> {
        self.inner.engine.block_on(self.inner.remove_matching(options))
    }

    /// As [`remove_matching`](Self::remove_matching), in all namespaces, whichever the handle is bound to.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub fn remove_matching_everywhere(&self, options: ListOptions) -> Result<u64> {
        self.inner.engine.block_on(self.inner.remove_matching_everywhere(options))
    }

    /// Removes all entries of the namespace, and returns how many there were. The statistics stay.
    ///
    /// # Errors
    /// As the type's.
    pub fn clear(&self) -> Result<u64> {
        self.inner.engine.block_on(self.inner.clear())
    }

    /// Removes what is no longer valid from all namespaces, takes back what cleared ones left behind, and deletes
    /// superseded blobs that are due.
    ///
    /// # Errors
    /// As the type's.
    pub fn purge(&self) -> Result<PurgeReport> {
        self.inner.engine.block_on(self.inner.purge())
    }

    /// The statistics of the namespace.
    ///
    /// # Errors
    /// As the type's.
    pub fn stats(&self) -> Result<Stats> {
        self.inner.engine.block_on(self.inner.stats())
    }

    /// The statistics of all namespaces together.
    ///
    /// # Errors
    /// As the type's.
    pub fn total_stats(&self) -> Result<Stats> {
        self.inner.engine.block_on(self.inner.total_stats())
    }

    /// Sets the counters of the namespace to zero.
    ///
    /// # Errors
    /// As the type's.
    pub fn reset_stats(&self) -> Result<()> {
        self.inner.engine.block_on(self.inner.reset_stats())
    }

    /// The namespaces that have been written to, or read from, sorted by name.
    ///
    /// # Errors
    /// As the type's.
    pub fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.inner.engine.block_on(self.inner.namespaces())
    }

    /// Removes a namespace with its entries and its statistics. Returns how many entries there were, or `None`
    /// where there was no such namespace.
    ///
    /// # Errors
    /// As [`namespace`](Self::namespace).
    pub fn drop_namespace(&self, name: impl AsRef<str>) -> Result<Option<u64>> {
        self.inner.engine.block_on(self.inner.drop_namespace(name.as_ref()))
    }

    /// Changes how much the cache may hold, and who is evicted first where a policy is named; evicts until that holds,
    /// and returns how many entries that were. It is stored, and holds in all processes that have the cache open.
    ///
    /// # Errors
    /// [`NotRegistered`](ErrorKind::NotRegistered) where the policy is not known; otherwise as the type's.
    pub fn set_limits(&self, limits: Limits) -> Result<u64> {
        self.inner.engine.block_on(self.inner.set_limits(limits))
    }

    /// Changes how much the namespace of this handle may hold, beside what the cache may, evicts entries of it until
    /// that holds, and returns how many those were. It is stored, and holds in all processes.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where a policy is named, which only the cache has; otherwise as the
    /// type's.
    pub fn set_namespace_limits(&self, limits: Limits) -> Result<u64> {
        self.inner.engine.block_on(self.inner.set_namespace_limits(limits))
    }

    /// How much the cache may hold at the moment, and the policy by which it evicts.
    ///
    /// # Errors
    /// As the type's.
    pub fn limits(&self) -> Result<Limits> {
        self.inner.engine.block_on(self.inner.limits())
    }

    /// How much the namespace of this handle may hold at the moment, beside what the cache may.
    ///
    /// # Errors
    /// As the type's.
    pub fn namespace_limits(&self) -> Result<Limits> {
        self.inner.engine.block_on(self.inner.namespace_limits())
    }

    /// How the backends of the cache fare, and how many writes wait or were given up; see
    /// [`Cache::health`](crate::Cache::health).
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) after [`close`](Self::close). A backend that is down is no error.
    pub fn health(&self) -> Result<Health> {
        self.inner.engine.block_on(self.inner.health())
    }

    /// Looks whether every entry can be served, and changes nothing; see [`crate::Cache::verify`].
    ///
    /// # Errors
    /// As the async [`verify`](crate::Cache::verify).
    pub fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        self.inner.engine.block_on(self.inner.verify(options))
    }

    /// Removes the entries that certainly cannot be served; see [`crate::Cache::repair`].
    ///
    /// # Errors
    /// As the async [`repair`](crate::Cache::repair).
    pub fn repair(&self, options: VerifyOptions) -> Result<VerifyReport> {
        self.inner.engine.block_on(self.inner.repair(options))
    }

    /// Deletes blobs older than `min_age` that no entry names; see [`crate::Cache::sweep`].
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the metadata backend cannot tell which blobs are named.
    pub fn sweep(&self, min_age: Duration) -> Result<SweepReport> {
        self.inner.engine.block_on(self.inner.sweep(min_age))
    }

    /// Counts what [`sweep`](Self::sweep) would delete, and deletes nothing.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep).
    pub fn sweep_dry_run(&self, min_age: Duration) -> Result<SweepReport> {
        self.inner.engine.block_on(self.inner.sweep_dry_run(min_age))
    }

    /// Encrypts what has an older key anew; see [`crate::Cache::rotate_keys`].
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where the cache does not encrypt; the error of a backend.
    pub fn rotate_keys(&self) -> Result<RotateReport> {
        self.inner.engine.block_on(self.inner.rotate_keys())
    }

    /// How many events the listeners were too slow for since the cache was opened; 0 where there is no listener.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        self.inner.events_dropped()
    }

    /// Closes the cache for all its handles: writes everything down and lets go of files and connections, and waits
    /// up to 5 s for the listeners. The last handle that is dropped does the same, but cannot report an error.
    ///
    /// # Errors
    /// The first error of a backend; everything else is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.inner.engine.block_on(self.inner.close())
    }
}

/// Reads one value piece by piece, verified; see [`crate::ValueReader`].
///
/// A compressed value is read from front to back: seeking in it is [`Unsupported`](crate::ErrorKind::Unsupported).
#[derive(Debug)]
pub struct ValueReader {
    inner: crate::ValueReader,
}

impl ValueReader {
    /// The entry that is read.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        self.inner.entry()
    }

    /// The value's length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.inner.len()
    }

    /// True for a value of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }
}

impl Read for ValueReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        Ok(self.inner.read_blocking(out)?)
    }
}

impl Seek for ValueReader {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        Ok(self.inner.seek_blocking(to)?)
    }
}
