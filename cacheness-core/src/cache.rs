//! The async face of the cache.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncRead;
use tracing::field::Empty;

use crate::builder::{CacheBuilder, default_folder};
use crate::engine::{
    Engine, EntryInfo, EntryPage, ListOptions, Owner, Prepared, PurgeReport, RawEntry, Stored, Tenant,
    ValueReader, observed, prepare_shared,
};
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::Limits;
use crate::metadata::Expiry;
use crate::names::{CacheId, Namespace, Timestamp};
use crate::options::{PutOptions, ReadOptions};
use crate::registry::{OpenMode, Registry};
use crate::resilience::Health;
use crate::stats::Stats;
use crate::value::{CacheValue, PutValue, SerializeOnly};

/// A cache, bound to one namespace. Clones and other namespaces share everything else.
///
/// This face is asynchronous and runs on Tokio. [`blocking::Cache`](crate::blocking::Cache) is the same cache for
/// programs without a runtime, and on any thread of one.
///
/// ```
/// use cacheness::Cache;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cacheness::Error> {
/// let cache = Cache::memory().await?;
/// cache.put("answer", &42).await?;
/// let answer: Option<i32> = cache.get("answer").await?;
/// assert_eq!(answer, Some(42));
/// # Ok(())
/// # }
/// ```
///
/// # Keys
/// A key is any non-empty UTF-8 text of up to 64 KiB. `cache_key!` makes one from parameters.
///
/// # Errors
/// Beside what each method names, any method may fail with
/// - [`InvalidInput`](ErrorKind::InvalidInput) for an empty key and [`LimitExceeded`](ErrorKind::LimitExceeded) for
///   one over 64 KiB,
/// - [`Closed`](ErrorKind::Closed) after [`close`](Self::close),
/// - the error of a backend: [`Io`](ErrorKind::Io), [`StorageFull`](ErrorKind::StorageFull),
///   [`PermissionDenied`](ErrorKind::PermissionDenied), [`Timeout`](ErrorKind::Timeout),
///   [`Unavailable`](ErrorKind::Unavailable). Where a get cannot be served because of one, the cache's
///   [`on_read_error`](CacheBuilder::on_read_error) decides; by default that is a miss.
///
/// # Dropped futures
/// A future that is dropped before it is ready leaves the cache as before the call or as after it. Over remote backends, which of the
/// two may not be decided at once: an attempt that is under way can be carried out until [`remote.timeout`](crate::RemoteCalls::timeout)
/// has passed since it was begun, also over a later put of the same key that has returned. Whoever gives up on a put and must not
/// see its value again waits for that long before he puts another.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) owner: Arc<Owner>,
}

impl Cache {
    pub(crate) fn bind(engine: Arc<Engine>, owner: Arc<Owner>, namespace: &Namespace) -> Self {
        Self { tenant: engine.tenant(namespace), engine, owner }
    }

    /// Opens the cache in a folder, and creates it where there is none: metadata in SQLite, blobs in files, 10 GiB
    /// at the most, the least recently used evicted first.
    ///
    /// Any number of processes may have the same folder open.
    ///
    /// # Errors
    /// [`NotRegistered`](ErrorKind::NotRegistered) where the features `sqlite` and `filesystem` are off;
    /// [`Corrupted`](ErrorKind::Corrupted) where the folder's index is damaged;
    /// [`Unsupported`](ErrorKind::Unsupported) where a newer version wrote it; the operating system's error.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().folder(path.as_ref()).open().await
    }

    /// Opens the cache in a folder. Never creates anything.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) where there is no cache; otherwise as [`open`](Self::open).
    pub async fn open_existing(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().folder(path.as_ref()).mode(OpenMode::Existing).open().await
    }

    /// Opens the cache of an application in the user's data folder, and creates it where there is none: on Linux
    /// `$XDG_DATA_HOME/APPLICATION/cacheness`, where `XDG_DATA_HOME` is `~/.local/share` unless set.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where the name cannot be a folder's;
    /// [`NotFound`](ErrorKind::NotFound) where the user's home is not known; otherwise as [`open`](Self::open).
    pub async fn open_default(application: &str) -> Result<Self> {
        Self::open(default_folder(application)?).await
    }

    /// Makes a cache in memory, without a limit. It ends with its last handle.
    ///
    /// # Errors
    /// [`NotRegistered`](ErrorKind::NotRegistered) in a program that depends on `cacheness-core` alone.
    pub async fn memory() -> Result<Self> {
        Self::builder().open().await
    }

    /// Opens the cache that a configuration file describes, in TOML or JSON, with the variables of this process laid
    /// over it. `docs/configuration.md` lists all options.
    ///
    /// # Errors
    /// As [`CacheBuilder::from_file`], [`CacheBuilder::config`] and [`CacheBuilder::open`].
    #[cfg(feature = "config")]
    pub async fn from_config(path: impl AsRef<Path>) -> Result<Self> {
        CacheBuilder::from_file(path)?.open().await
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
        Ok(Self::bind(self.engine.clone(), self.owner.clone(), &Namespace::new(name)?))
    }

    /// The namespace that this handle is bound to.
    #[must_use]
    pub fn bound_to(&self) -> &Namespace {
        &self.tenant.namespace
    }

    /// The folder of the cache, where it has one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.engine.folder()
    }

    /// The random id that was given to the cache when it was created.
    #[must_use]
    pub fn id(&self) -> CacheId {
        self.engine.cache_id()
    }

    /// The handlers and backends that the cache was opened with.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        self.engine.registry()
    }

    /// The name of the metadata backend that keeps the entries, such as `"sqlite"`.
    #[must_use]
    pub fn metadata_backend(&self) -> &str {
        self.engine.metadata_name()
    }

    /// The name of the blob backend that keeps the values, such as `"filesystem"`.
    #[must_use]
    pub fn blob_backend(&self) -> &str {
        self.engine.blob_name()
    }

    /// Stores a value under a key, in place of what is there.
    ///
    /// The value is `&T` of any serde type or of a type that a registered handler knows, `&str` or `&[u8]`. It is
    /// encoded on the calling thread; see [`put_shared`](Self::put_shared) for large values.
    ///
    /// # Errors
    /// [`NoHandler`](ErrorKind::NoHandler) where no handler takes the value, [`Encode`](ErrorKind::Encode) where it
    /// cannot be encoded, [`LimitExceeded`](ErrorKind::LimitExceeded) where it is larger than the whole limit.
    /// What was stored before is still there then.
    pub async fn put<'a, Via>(
        &self,
        key: impl AsRef<str> + Send,
        value: impl PutValue<'a, Via>,
    ) -> Result<Stored> {
        self.put_with(key, value, PutOptions::new()).await
    }

    /// Stores a value under a key, with options.
    ///
    /// # Errors
    /// As [`put`](Self::put); [`InvalidInput`](ErrorKind::InvalidInput) and
    /// [`LimitExceeded`](ErrorKind::LimitExceeded) for options out of their range,
    /// [`NotFound`](ErrorKind::NotFound) for a source file that is not there,
    /// [`NotRegistered`](ErrorKind::NotRegistered) for a handler that is not known.
    pub async fn put_with<'a, Via>(
        &self,
        key: impl AsRef<str> + Send,
        value: impl PutValue<'a, Via>,
        options: PutOptions,
    ) -> Result<Stored> {
        let prepared = self.engine.prepare(&self.tenant, key.as_ref(), &value.value_ref(), options)?;
        self.engine.store(&self.tenant, prepared).await
    }

    /// Stores a value that can be serialised but perhaps not deserialised: borrowed, unsized, or of another shape
    /// than the type that will read it.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub async fn put_serialize<T: Serialize + Sync + ?Sized>(
        &self,
        key: impl AsRef<str> + Send,
        value: &T,
        options: PutOptions,
    ) -> Result<Stored> {
        let value = SerializeOnly(value);
        let prepared = self.engine.prepare(&self.tenant, key.as_ref(), &value.value_ref(), options)?;
        self.engine.store(&self.tenant, prepared).await
    }

    /// Stores a shared value, and encodes it off the worker thread.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub async fn put_shared<T: CacheValue<Via>, Via>(
        &self,
        key: impl AsRef<str> + Send,
        value: Arc<T>,
        options: PutOptions,
    ) -> Result<Stored> {
        let (tenant, key) = (self.tenant.clone(), key.as_ref().to_owned());
        let encode = move |engine: &Engine| engine.prepare(&tenant, &key, &value.value_ref(), options);
        let prepared = prepare_shared(self.engine.clone(), encode).await?;
        self.engine.store(&self.tenant, prepared).await
    }

    /// Stores bytes of any number from a reader, in bounded memory. They come back as bytes.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with); the reader's own error.
    pub async fn put_reader(
        &self,
        key: impl AsRef<str> + Send,
        reader: impl AsyncRead + Unpin + Send,
        options: PutOptions,
    ) -> Result<Stored> {
        let prepared = self.engine.prepare_async_reader(&self.tenant, key.as_ref(), reader, options).await?;
        self.engine.store(&self.tenant, prepared).await
    }

    /// Stores several values in one transaction: all of them, or none.
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub async fn put_many<'a, K, V, Via>(
        &self,
        values: impl IntoIterator<Item = (K, V), IntoIter: Send> + Send,
        options: PutOptions,
    ) -> Result<Vec<Stored>>
    where
        K: AsRef<str> + Send,
        V: PutValue<'a, Via>,
    {
        let values = values.into_iter().map(|(key, value)| (key, value, options.clone()));
        self.store_prepared(self.prepare_many(values)?).await
    }

    /// Stores several values in one transaction, each with options of its own: all of them, or none.
    ///
    /// ```
    /// use cacheness::{Cache, PutOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cacheness::Error> {
    /// let cache = Cache::memory().await?;
    /// let values = [("a", &1, PutOptions::new().tag("odd")), ("b", &2, PutOptions::new().tag("even"))];
    /// assert_eq!(cache.put_many_with(values).await?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`put_with`](Self::put_with).
    pub async fn put_many_with<'a, K, V, Via>(
        &self,
        values: impl IntoIterator<Item = (K, V, PutOptions), IntoIter: Send> + Send,
    ) -> Result<Vec<Stored>>
    where
        K: AsRef<str> + Send,
        V: PutValue<'a, Via>,
    {
        self.store_prepared(self.prepare_many(values)?).await
    }

    pub(crate) fn prepare_many<'a, K: AsRef<str>, V: PutValue<'a, Via>, Via>(
        &self,
        values: impl IntoIterator<Item = (K, V, PutOptions)>,
    ) -> Result<Vec<Prepared>> {
        let prepare = |(key, value, options): (K, V, PutOptions)| {
            self.engine.prepare(&self.tenant, key.as_ref(), &value.value_ref(), options)
        };
        values.into_iter().map(prepare).collect()
    }

    pub(crate) async fn store_prepared(&self, prepared: Vec<Prepared>) -> Result<Vec<Stored>> {
        if prepared.is_empty() {
            return Ok(Vec::new());
        }
        observed!("put_many", { namespace = %self.tenant.namespace, keys = prepared.len() }, |_| "stored", self.engine.store_all(&self.tenant, prepared))
    }

    /// Stores an entry with its stored bytes, as [`get_raw`](Self::get_raw) gives them, under its own key.
    ///
    /// # Errors
    /// [`Corrupted`](ErrorKind::Corrupted) where the bytes do not match the entry's checksums; as
    /// [`put`](Self::put).
    pub async fn put_raw(&self, raw: RawEntry) -> Result<Stored> {
        self.engine.put_raw(&self.tenant, raw).await
    }

    /// Gets a value; `None` where there is none that may be served.
    ///
    /// # Errors
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where a value of another class is stored;
    /// [`NotRegistered`](ErrorKind::NotRegistered) where its handler is not known to this program.
    pub async fn get<V: CacheValue<Via>, Via>(&self, key: impl AsRef<str> + Send) -> Result<Option<V>> {
        self.get_with(key, &ReadOptions::new()).await
    }

    /// Gets a value, or a part of a table.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`TypeMismatch`](ErrorKind::TypeMismatch) where another type tag was put;
    /// [`Unsupported`](ErrorKind::Unsupported) where the format cannot give a part;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a column that is not there.
    pub async fn get_with<V: CacheValue<Via>, Via>(
        &self,
        key: impl AsRef<str> + Send,
        options: &ReadOptions,
    ) -> Result<Option<V>> {
        let found = observed!("get", { namespace = %self.tenant.namespace, key = key.as_ref(), handler = Empty, bytes = Empty }, |found| if found.is_some() { "hit" } else { "miss" }, self.engine.get(&self.tenant, key.as_ref(), V::target(), options))?;
        found.map(unbox::<V, Via>).transpose()
    }

    /// Gets a value without a trace: nothing is counted, and its access time stays.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn peek<V: CacheValue<Via>, Via>(&self, key: impl AsRef<str> + Send) -> Result<Option<V>> {
        let found = observed!("peek", { namespace = %self.tenant.namespace, key = key.as_ref(), handler = Empty, bytes = Empty }, |found| if found.is_some() { "hit" } else { "miss" }, self.engine.peek(&self.tenant, key.as_ref(), V::target(), &ReadOptions::new()))?;
        found.map(unbox::<V, Via>).transpose()
    }

    /// Gets several values; the answers stand in the order of the keys. On a server, one round trip for the
    /// entries.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many<V: CacheValue<Via>, Via>(
        &self,
        keys: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<Option<V>>> {
        self.get_many_with(keys, &ReadOptions::new()).await
    }

    /// Gets several values, or the same part of several tables; the answers stand in the order of the keys.
    ///
    /// # Errors
    /// As [`get_with`](Self::get_with).
    pub async fn get_many_with<V: CacheValue<Via>, Via>(
        &self,
        keys: &[impl AsRef<str> + Sync],
        options: &ReadOptions,
    ) -> Result<Vec<Option<V>>> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        let found = observed!("get_many", { namespace = %self.tenant.namespace, keys = keys.len() }, |_| "done", self.engine.get_many(&self.tenant, &keys, V::target(), options))?;
        found.into_iter().map(|value| value.map(unbox::<V, Via>).transpose()).collect()
    }

    /// Opens a value for reading piece by piece, in bounded memory.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn reader(&self, key: impl AsRef<str> + Send) -> Result<Option<ValueReader>> {
        let reader = observed!("reader", { namespace = %self.tenant.namespace, key = key.as_ref(), handler = Empty, bytes = Empty }, |found| if found.is_some() { "hit" } else { "miss" }, self.engine.reader(&self.tenant, key.as_ref()))?;
        Ok(reader.map(|reader| reader.keep_open(self.owner.clone())))
    }

    /// Gets an entry with its stored bytes, uninterpreted. Nothing is counted.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_raw(&self, key: impl AsRef<str> + Send) -> Result<Option<RawEntry>> {
        observed!("get_raw", { namespace = %self.tenant.namespace, key = key.as_ref(), handler = Empty, bytes = Empty }, |found| if found.is_some() { "hit" } else { "miss" }, self.engine.get_raw(&self.tenant, key.as_ref()))
    }

    /// Looks at an entry without its value, valid or not. Nothing is counted.
    ///
    /// # Errors
    /// As the type's.
    pub async fn get_entry(&self, key: impl AsRef<str> + Send) -> Result<Option<EntryInfo>> {
        observed!("get_entry", { namespace = %self.tenant.namespace, key = key.as_ref() }, |found| if found.is_some() { "found" } else { "absent" }, self.engine.entry(&self.tenant, key.as_ref()))
    }

    /// True where there is an entry that may be served. Nothing is counted.
    ///
    /// # Errors
    /// As the type's.
    pub async fn contains(&self, key: impl AsRef<str> + Send) -> Result<bool> {
        observed!("contains", { namespace = %self.tenant.namespace, key = key.as_ref() }, |&valid| if valid { "found" } else { "absent" }, self.engine.contains(&self.tenant, key.as_ref()))
    }

    /// Removes an entry, valid or not. False where there was none.
    ///
    /// # Errors
    /// As the type's.
    #[doc(alias = "invalidate")]
    #[doc(alias = "delete")]
    pub async fn remove(&self, key: impl AsRef<str> + Send) -> Result<bool> {
        observed!("remove", { namespace = %self.tenant.namespace, key = key.as_ref() }, |&removed| if removed { "removed" } else { "absent" }, self.engine.remove(&self.tenant, key.as_ref()))
    }

    /// Another name of [`remove`](Self::remove).
    ///
    /// # Errors
    /// As the type's.
    pub async fn invalidate(&self, key: impl AsRef<str> + Send) -> Result<bool> {
        self.remove(key).await
    }

    /// Removes several entries in one transaction, and returns how many there were.
    ///
    /// # Errors
    /// As the type's.
    pub async fn remove_many(&self, keys: &[impl AsRef<str> + Sync]) -> Result<u64> {
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        observed!("remove_many", { namespace = %self.tenant.namespace, keys = keys.len() }, |_| "done", self.engine.remove_many(&self.tenant, &keys))
    }

    /// Starts an entry's TTL again, and counts as a use of it. False where there is no valid entry.
    ///
    /// # Errors
    /// As the type's.
    pub async fn touch(&self, key: impl AsRef<str> + Send) -> Result<bool> {
        let restart = |entry: &crate::Entry, now: Timestamp| {
            let mut validity = entry.validity.clone();
            validity.start_ttl(validity.ttl, now);
            Expiry::Set(validity.expires_at)
        };
        observed!("touch", { namespace = %self.tenant.namespace, key = key.as_ref() }, |&touched| if touched { "done" } else { "absent" }, self.engine.touch(&self.tenant, key.as_ref(), restart))
    }

    /// Lets an entry expire so much later. False where there is no valid entry; one without a TTL stays as it is.
    ///
    /// # Errors
    /// As the type's.
    pub async fn extend_ttl(&self, key: impl AsRef<str> + Send, by: Duration) -> Result<bool> {
        let extend = |_: &crate::Entry, _: Timestamp| Expiry::Extend(by);
        observed!("extend_ttl", { namespace = %self.tenant.namespace, key = key.as_ref() }, |&touched| if touched { "done" } else { "absent" }, self.engine.touch(&self.tenant, key.as_ref(), extend))
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
    pub async fn list(&self, options: ListOptions) -> Result<EntryPage> {
        observed!("list", { namespace = %self.tenant.namespace }, |_| "done", self.engine.list(&self.tenant, options))
    }

    /// Counts the entries that the options ask for, on all pages: their limit, order and cursor have no say. It reads
    /// every entry that may match; [`stats`](Self::stats) knows the number of all.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn count_matching(&self, options: ListOptions) -> Result<u64> {
        let counted = self.engine.count_matching(&self.tenant, options);
        observed!("count_matching", { namespace = %self.tenant.namespace }, |_| "done", counted)
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
    pub async fn remove_matching(&self, options: ListOptions) -> Result<u64> {
        options.check_own_namespace()?;
        let removed = self.engine.remove_matching(&self.tenant, options);
        observed!("remove_matching", { namespace = %self.tenant.namespace }, |_| "done", removed)
    }

    /// As [`remove_matching`](Self::remove_matching), in all namespaces, whichever the handle is bound to.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn remove_matching_everywhere(&self, options: ListOptions) -> Result<u64> {
        let removed = self.engine.remove_matching(&self.tenant, options.all_namespaces());
        observed!("remove_matching_everywhere", {}, |_| "done", removed)
    }

    /// Removes all entries of the namespace, and returns how many there were. The statistics stay.
    ///
    /// # Errors
    /// As the type's.
    pub async fn clear(&self) -> Result<u64> {
        observed!("clear", { namespace = %self.tenant.namespace }, |_| "done", self.engine.clear(&self.tenant))
    }

    /// Removes what is no longer valid from all namespaces, takes back what cleared ones left behind, and deletes
    /// superseded blobs that are due.
    ///
    /// # Errors
    /// As the type's.
    pub async fn purge(&self) -> Result<PurgeReport> {
        observed!("purge", {}, |_| "done", self.engine.purge())
    }

    /// The statistics of the namespace.
    ///
    /// # Errors
    /// As the type's.
    pub async fn stats(&self) -> Result<Stats> {
        observed!("stats", { namespace = %self.tenant.namespace }, |_| "done", self.engine.stats(Some(&self.tenant.namespace)))
    }

    /// The statistics of all namespaces together.
    ///
    /// # Errors
    /// As the type's.
    pub async fn total_stats(&self) -> Result<Stats> {
        observed!("total_stats", {}, |_| "done", self.engine.stats(None))
    }

    /// Sets the counters of the namespace to zero.
    ///
    /// # Errors
    /// As the type's.
    pub async fn reset_stats(&self) -> Result<()> {
        observed!("reset_stats", { namespace = %self.tenant.namespace }, |_| "done", self.engine.reset_stats(Some(&self.tenant.namespace)))
    }

    /// The namespaces that have been written to, or read from, sorted by name.
    ///
    /// # Errors
    /// As the type's.
    pub async fn namespaces(&self) -> Result<Vec<Namespace>> {
        observed!("namespaces", {}, |_| "done", self.engine.namespaces())
    }

    /// Removes a namespace with its entries and its statistics. Returns how many entries there were, or `None`
    /// where there was no such namespace.
    ///
    /// # Errors
    /// As [`namespace`](Self::namespace).
    pub async fn drop_namespace(&self, name: impl AsRef<str> + Send) -> Result<Option<u64>> {
        let name = Namespace::new(name)?;
        observed!("drop_namespace", { namespace = %name }, |_| "done", self.engine.drop_namespace(&name))
    }

    /// Changes how much the cache may hold, and who is evicted first where a policy is named; evicts until that holds,
    /// and returns how many entries that were. It is stored, and holds in all processes that have the cache open.
    ///
    /// # Errors
    /// [`NotRegistered`](ErrorKind::NotRegistered) where the policy is not known; otherwise as the type's.
    pub async fn set_limits(&self, limits: Limits) -> Result<u64> {
        let change = limits.into();
        observed!("set_limits", {}, |_| "done", self.engine.change_limits(None, &change))
    }

    /// Changes how much the namespace of this handle may hold, beside what the cache may, evicts entries of it until
    /// that holds, and returns how many those were. It is stored, and holds in all processes.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) where a policy is named, which only the cache has; otherwise as the
    /// type's.
    pub async fn set_namespace_limits(&self, limits: Limits) -> Result<u64> {
        let (name, change) = (&self.tenant.namespace, limits.into());
        observed!(
            "set_namespace_limits",
            { namespace = %name },
            |_| "done",
            self.engine.change_limits(Some(name), &change)
        )
    }

    /// How much the cache may hold at the moment, and the policy by which it evicts.
    ///
    /// # Errors
    /// As the type's.
    pub async fn limits(&self) -> Result<Limits> {
        self.engine.limits(None).await
    }

    /// How much the namespace of this handle may hold at the moment, beside what the cache may.
    ///
    /// # Errors
    /// As the type's.
    pub async fn namespace_limits(&self) -> Result<Limits> {
        self.engine.limits(Some(&self.tenant.namespace)).await
    }

    /// How the backends of the cache fare, as far as the calls of this process have shown, and how many writes wait or were
    /// given up. A remote backend that nobody has called in the last `remote.breaker_pause` is asked, for a second at the
    /// most, so this is an answer for a monitor that asks every few seconds.
    ///
    /// ```
    /// use cacheness::{Cache, HealthState};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cacheness::Error> {
    /// let cache = Cache::memory().await?;
    /// assert_eq!(cache.health().await?.state, HealthState::Ok);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) after [`close`](Self::close). A backend that is down is no error.
    pub async fn health(&self) -> Result<Health> {
        self.engine.health().await
    }

    /// How many events the listeners were too slow for since the cache was opened; 0 where there is no listener.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        self.engine.events_dropped()
    }

    /// Closes the cache for all its handles: writes everything down and lets go of files and connections, and waits
    /// up to 5 s for the listeners. The last handle that is dropped does the same, but cannot report an error.
    ///
    /// # Errors
    /// The first error of a backend; everything else is closed all the same.
    pub async fn close(&self) -> Result<()> {
        observed!("close", {}, |_| "done", self.engine.close())
    }
}

/// Takes the value out of what a handler decoded.
fn unbox<V: CacheValue<Via>, Via>(value: crate::BoxedValue) -> Result<V> {
    V::from_boxed(value).ok_or_else(|| {
        let message =
            format!("a handler was asked for a `{}` and made another type", std::any::type_name::<V>());
        Error::new(ErrorKind::Unexpected, message)
    })
}
