//! Opening a cache: which parts it is made of, and how they behave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcetera::BaseStrategy;

use crate::access::AccessLog;
use crate::blob::BlobCapabilities;
use crate::cache::Cache;
use crate::config::{Chosen, ConfigOptions, ConfigOrigin, Parts, UnknownOptions};
use crate::encryption::Encryption;
use crate::engine::{Engine, OnEncodeError, OnReadError, OnWriteError, Owner, Settings, Stores};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Listeners};
use crate::eviction::{Limits, LimitsChange};
use crate::fallback::Fallback;
use crate::local_tier::{Copies, LocalTier};
use crate::names::Namespace;
use crate::pair::{NewBlobs, OpenedPair, open_pair};
use crate::permissions::{Permissions, prepare_folder};
use crate::protection::{Keys, MissingKeys, Protection};
use crate::registry::{Durability, OpenContext, OpenMode, Registry};
use crate::resilience::{Guards, RemoteCalls};
use crate::signing::Signing;
use crate::stage::Compression;

/// Composes a cache of backends by name.
///
/// ```
/// use cacheness::{ConfigOptions, Limits, Cache};
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir().unwrap();
/// let cache = Cache::builder()
///     .folder(folder.path())
///     .metadata_with("sqlite", ConfigOptions::new().with("readers", 2))
///     .blobs("filesystem")
///     .ttl(Duration::from_secs(3600))
///     .limits(Limits::unbounded().max_entries(10_000))
///     .open_blocking()?;
/// cache.put("answer", &42)?;
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CacheBuilder {
    pub(crate) registry: Registry,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) mode: OpenMode,
    pub(crate) metadata: Chosen,
    pub(crate) blobs: Chosen,
    pub(crate) local_tier: Option<LocalTier>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) signing: Option<Signing>,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) durability: Durability,
    /// The limits that were given; what was not depends on what the cache has, or on the folder of a new one.
    pub(crate) limits: LimitsChange,
    /// Where the eviction policy was named.
    pub(crate) policy_origin: ConfigOrigin,
    pub(crate) permissions: Permissions,
    pub(crate) allow_other_owner: bool,
    pub(crate) new_blobs: NewBlobs,
    pub(crate) namespace_limits: BTreeMap<Namespace, LimitsChange>,
    pub(crate) access_interval: Duration,
    pub(crate) unknown_options: UnknownOptions,
    pub(crate) env: Env,
    pub(crate) settings: Settings,
    listeners: Listeners,
}

/// The bytes that a new cache in a folder holds at the most, unless told otherwise: 10 GiB.
const DEFAULT_MAX_BYTES: u64 = 10 << 30;

/// What queued writes may take in memory, unless told otherwise: 64 MiB.
const DEFAULT_WRITE_QUEUE: u64 = 64 << 20;

const UNKNOWN_CACHE: &str = "the backends have never answered on this machine, so it is not known which cache entries are to \
                             be signed or encrypted for; open the cache once while they answer";

impl CacheBuilder {
    /// Starts with metadata and blobs in memory and no limit, and the handlers and backends of this registry.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            folder: None,
            mode: OpenMode::Create,
            metadata: Chosen::default(),
            blobs: Chosen::default(),
            local_tier: None,
            fallback: None,
            signing: None,
            encryption: None,
            durability: Durability::Process,
            limits: LimitsChange::new(),
            policy_origin: ConfigOrigin::Program,
            permissions: Permissions::default(),
            allow_other_owner: false,
            new_blobs: NewBlobs::Refused,
            namespace_limits: BTreeMap::new(),
            access_interval: Duration::from_secs(60),
            unknown_options: UnknownOptions::Error,
            env: Env::new(),
            settings: Settings {
                ttl: None,
                namespace_ttls: BTreeMap::new(),
                compression: Compression::None,
                inline_limit: 32 * 1024,
                on_read_error: OnReadError::Miss,
                on_decode_error: OnReadError::Miss,
                on_encode_error: OnEncodeError::Error,
                on_write_error: OnWriteError::Error,
                write_queue: DEFAULT_WRITE_QUEUE,
                remote: RemoteCalls::new(),
                file_check_interval: Duration::ZERO,
                mmap: true,
            },
            listeners: Listeners::default(),
        }
    }

    /// Keeps the cache in this folder. Unless other calls, before or after this one, say otherwise: metadata in
    /// SQLite, blobs in files, and where the cache is a new one, 10 GiB at most, the least recently used evicted first.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// Says whether a cache that is not there is created (the default) or an error.
    #[must_use]
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Says who may read and write the files that the cache makes: only the user that the process runs as
    /// ([`Permissions::Private`], the default), or whoever the umask lets.
    #[must_use]
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Says whether a folder of the cache may belong to another user than the one that the process runs as. By default that is
    /// an error: its owner could put what he likes in place of what is cached.
    #[must_use]
    pub fn allow_other_owner(mut self, allow: bool) -> Self {
        self.allow_other_owner = allow;
        self
    }

    /// Says whether a cache that has entries may begin a new store of blobs. By default that is an error: where the place is
    /// the wrong one, or its disk is not mounted, every value that lies in a blob would seem to be lost, and its entry would be
    /// removed on all machines. Where the blobs are lost indeed, open the cache once so; an entry whose blob is missing is then
    /// removed when it is asked for.
    #[must_use]
    pub fn allow_new_blobs(mut self, allow: bool) -> Self {
        self.new_blobs = if allow { NewBlobs::Allowed } else { NewBlobs::Refused };
        self
    }

    /// Names the metadata backend.
    #[must_use]
    pub fn metadata(self, name: impl Into<String>) -> Self {
        self.metadata_with(name, ConfigOptions::new())
    }

    /// Names the metadata backend and gives its options.
    #[must_use]
    pub fn metadata_with(mut self, name: impl Into<String>, options: ConfigOptions) -> Self {
        self.metadata = Chosen { backend: Some((name.into(), ConfigOrigin::Program)), options };
        self
    }

    /// Names the blob backend.
    #[must_use]
    pub fn blobs(self, name: impl Into<String>) -> Self {
        self.blobs_with(name, ConfigOptions::new())
    }

    /// Names the blob backend and gives its options.
    #[must_use]
    pub fn blobs_with(mut self, name: impl Into<String>, options: ConfigOptions) -> Self {
        self.blobs = Chosen { backend: Some((name.into(), ConfigOrigin::Program)), options };
        self
    }

    /// Keeps blobs of a backend that is not local on this machine once they have been read. With a local backend it is an
    /// error. By default they are fetched for every read.
    #[must_use]
    pub fn local_tier(mut self, tier: LocalTier) -> Self {
        self.local_tier = Some(tier);
        self
    }

    /// Lets reads and writes go on, in a second pair of backends, while those of the cache cannot be reached: where a
    /// call to them fails with [`Unavailable`](ErrorKind::Unavailable), [`Timeout`](ErrorKind::Timeout) or another
    /// error that is [temporary](Error::is_temporary). What was put and removed meanwhile is brought to them once they
    /// answer again; the guide's page on fallbacks says how each operation fares.
    ///
    /// ```
    /// use cacheness::{Cache, Fallback};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// let cache = Cache::builder()
    ///     .folder(folder.path().join("cache"))
    ///     .fallback(Fallback::new(folder.path().join("spare")))
    ///     .open_blocking()?;
    /// # Ok::<(), cacheness::Error>(())
    /// ```
    #[must_use]
    pub fn fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Signs every entry that is stored, and serves none that was not signed so: one without a signature, one that was
    /// changed, and one that was moved from another key, namespace or cache is a miss, which is counted and logged, and
    /// is taken out. The guide's page on security says what that catches and what it does not.
    ///
    /// It needs the feature `signing`. By default nothing is signed.
    #[must_use]
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }

    /// Encrypts every value and what is private in its entry, and serves only what was encrypted so. The guide's page on
    /// security says what stays readable, and which queries that makes impossible.
    ///
    /// It needs the feature `encryption`. By default nothing is encrypted.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// Sets what a put that returned survives: the death of the process (the default), or a loss of power.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how much the cache may hold, and who is evicted first where a policy is named.
    ///
    /// Limits are stored with the cache, and hold in all processes that have it open. Without this call, a cache keeps
    /// those that it has. A new one has no limit, or 10 GiB in a folder, and the policy `lru`.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        let policy = limits.policy.clone().or_else(|| self.limits.policy.take());
        self.limits = LimitsChange { policy, ..limits.into() };
        self.policy_origin = ConfigOrigin::Program;
        self
    }

    /// Sets how much one namespace may hold. When that is reached, only entries of the namespace are evicted, by the
    /// policy of the cache; a policy named here is an error. Without this call, a namespace keeps the limits that it
    /// has, and a new one has none.
    #[must_use]
    pub fn namespace_limits(mut self, namespace: Namespace, limits: Limits) -> Self {
        self.namespace_limits.insert(namespace, limits.into());
        self
    }

    /// Sets the TTL of values that are put without one. By default they are valid until removed.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = Some(ttl);
        self
    }

    /// Sets the TTL of values that are put into this namespace without one.
    #[must_use]
    pub fn namespace_ttl(mut self, namespace: Namespace, ttl: Duration) -> Self {
        self.settings.namespace_ttls.insert(namespace, Some(ttl));
        self
    }

    /// Sets the compression of values that are put without one. By default none.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// Sets up to how many bytes a value is stored with its entry rather than as a blob: 32 KiB by default, and
    /// never more than the metadata backend allows.
    #[must_use]
    pub fn inline_limit(mut self, bytes: u64) -> Self {
        self.settings.inline_limit = bytes;
        self
    }

    /// Sets what a get does where a backend fails. By default it is a miss.
    #[must_use]
    pub fn on_read_error(mut self, policy: OnReadError) -> Self {
        self.settings.on_read_error = policy;
        self
    }

    /// Sets what a put, a remove or a touch does where a backend fails for a reason that may pass. By default it is an
    /// error.
    ///
    /// ```
    /// use cacheness::{Cache, OnWriteError, StoredState};
    ///
    /// let cache = Cache::builder().on_write_error(OnWriteError::Queue).open_blocking()?;
    /// let stored = cache.put("answer", &42)?;
    /// assert_eq!(stored.state, StoredState::Stored, "nothing has failed");
    /// # Ok::<(), cacheness::Error>(())
    /// ```
    #[must_use]
    pub fn on_write_error(mut self, policy: OnWriteError) -> Self {
        self.settings.on_write_error = policy;
        self
    }

    /// Sets how many bytes of memory queued writes may take: 64 MiB by default. A write that does not fit is an error.
    #[must_use]
    pub fn write_queue(mut self, bytes: u64) -> Self {
        self.settings.write_queue = bytes;
        self
    }

    /// Sets how calls to remote backends are made: how long they may take, how often they are repeated, how many are under
    /// way at once, and when they are not made at all.
    #[must_use]
    pub fn remote(mut self, calls: RemoteCalls) -> Self {
        self.settings.remote = calls;
        self
    }

    /// Sets what a get does where a value is whole but does not decode as the type asked for, because the program
    /// has changed since it was put. By default it is a miss.
    #[must_use]
    pub fn on_decode_error(mut self, policy: OnReadError) -> Self {
        self.settings.on_decode_error = policy;
        self
    }

    /// Sets what a put does where the format that is chosen for the value cannot encode it, as JSON cannot a map whose keys are
    /// no text. By default it is an error.
    #[must_use]
    pub fn on_encode_error(mut self, policy: OnEncodeError) -> Self {
        self.settings.on_encode_error = policy;
        self
    }

    /// Sets for how long a source file that was looked at is taken to be unchanged. By default it is looked at by
    /// every get.
    #[must_use]
    pub fn file_check_interval(mut self, interval: Duration) -> Self {
        self.settings.file_check_interval = interval;
        self
    }

    /// Sets how old a stored access time may grow before it is renewed: 60 s by default. Within one process
    /// eviction is exact whatever this is.
    #[must_use]
    pub fn access_interval(mut self, interval: Duration) -> Self {
        self.access_interval = interval;
        self
    }

    /// Says whether large blobs are mapped into memory (the default) or read. A mapped file that another program
    /// cuts short ends this process, so switch it off where others write to the cache's folder.
    #[must_use]
    pub fn mmap(mut self, mmap: bool) -> Self {
        self.settings.mmap = mmap;
        self
    }

    /// Says what is done about options that nobody knows: they are an error (the default), or are left out with a
    /// warning.
    #[must_use]
    pub fn unknown_options(mut self, policy: UnknownOptions) -> Self {
        self.unknown_options = policy;
        self
    }

    /// Adds a listener, which is told of what happens in this process's handles of the cache: puts, hits, misses,
    /// evictions and more.
    ///
    /// Listeners are called one after another on a thread of the cache's own, so that a slow one holds up nobody: where it
    /// falls behind by more than 8,192 events, further ones are dropped and counted. One that panics is logged and goes
    /// on. It may call the cache; where it keeps a handle, the cache stays open until somebody calls `close`.
    ///
    /// ```
    /// use cacheness::{Cache, Event};
    ///
    /// let (told, heard) = std::sync::mpsc::channel();
    /// let cache = Cache::builder()
    ///     .listener(move |event| {
    ///         if let Event::Miss { key, reason, .. } = event {
    ///             let _ = told.send(format!("{key}: {reason}"));
    ///         }
    ///     })
    ///     .open_blocking()?;
    /// let missing: Option<u32> = cache.get("answer")?;
    /// assert_eq!(heard.recv().unwrap(), "answer: absent");
    /// # assert_eq!(missing, None);
    /// # Ok::<(), cacheness::Error>(())
    /// ```
    #[must_use]
    pub fn listener(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.add(listener);
        self
    }

    /// Sets where time and threads come from; for tests that turn the clock.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Opens the cache for the async face.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] and [`ErrorKind::ConfigInvalid`] where the parts are unknown or their options
    /// wrong; [`ErrorKind::NotFound`] where the mode is [`OpenMode::Existing`] and there is no cache; the
    /// backends' errors.
    pub async fn open(self) -> Result<Cache> {
        let (limits, of_namespaces) = self.given_limits();
        let parts = (self.parts()?, self.fallback_parts()?);
        let engine = self.start(parts).await?;
        let owner = Owner::new(engine.clone());
        engine.adopt_limits(&limits, &of_namespaces).await?;
        Ok(Cache::bind(engine, owner, &Namespace::default()))
    }

    /// What to make of the limits that the cache has, and of those of its namespaces.
    pub(crate) fn given_limits(&self) -> (LimitsChange, BTreeMap<Namespace, LimitsChange>) {
        let mut new = Limits::unbounded().policy(Limits::DEFAULT_POLICY);
        new.max_bytes = self.folder.is_some().then_some(DEFAULT_MAX_BYTES);
        (self.limits.clone().otherwise(new), self.namespace_limits.clone())
    }

    /// Opens the parts, and starts the engine over them.
    async fn start(self, ((metadata, blobs), second): (Parts, Option<Parts>)) -> Result<Arc<Engine>> {
        self.settings.remote.check()?;
        let accesses = Arc::new(AccessLog::new(self.access_interval));
        let context = OpenContext {
            folder: self.folder.clone(),
            mode: self.mode,
            durability: self.durability,
            env: self.env.clone(),
            accesses: accesses.clone(),
            policies: self.registry.policies(),
            call_timeout: None,
            permissions: self.permissions,
            allow_other_owner: self.allow_other_owner,
        };
        if let Some(folder) = &self.folder {
            context.prepare_folder(folder)?;
        }
        let folder = self.folder.as_deref();
        let (signing, encryption) = (self.signing.as_ref(), self.encryption.as_ref());
        let protects = signing.is_some() || encryption.is_some();
        // Keys are made only for a cache whose index has no entries of keys that were there before.
        let missing = MissingKeys::find(signing, encryption, folder)?;
        let keys = if missing.is_none() { Keys::read(signing, encryption, folder)? } else { None };
        let (metadata_name, blob_name) =
            (metadata.factory.name().to_owned(), blobs.factory.name().to_owned());
        let calls = self.settings.remote;
        let mut first_id = None;
        let (metadata, blobs, guards) = match (&self.fallback, second) {
            (Some(fallback), Some(second)) => {
                let first = (metadata, blobs);
                let opened =
                    crate::fallback::open(fallback, first, second, context, calls, self.new_blobs, protects)
                        .await?;
                if protects && opened.first_id.is_none() {
                    return Err(Error::new(ErrorKind::Unavailable, UNKNOWN_CACHE));
                }
                first_id = opened.first_id;
                (opened.metadata, opened.blobs, opened.guards)
            }
            _ => {
                let parts = (metadata, blobs);
                let OpenedPair { metadata, blobs, guards } =
                    open_pair(parts, &context, calls, self.new_blobs).await?;
                (metadata, blobs, Guards::of(guards))
            }
        };
        let keys = match missing {
            Some(_) => MissingKeys::make(signing, encryption, folder, &*metadata).await,
            None => Ok(keys),
        };
        let tier = self.open_local_tier(blobs.capabilities(), &blob_name);
        let (keys, local_tier) = match async { Ok((keys?, tier.await?)) }.await {
            Ok(opened) => opened,
            Err(error) => {
                let _ = metadata.close().await;
                let _ = blobs.close().await;
                return Err(error);
            }
        };
        let id = first_id.unwrap_or_else(|| metadata.cache_id());
        let protection = keys.map(|keys| Protection::new(id, keys));
        let stores = Stores { metadata, metadata_name, blobs, blob_name, guards, local_tier, protection };
        Engine::start(self.registry, self.env, self.settings, stores, accesses, self.listeners, self.folder)
    }

    async fn open_local_tier(
        &self,
        blobs: BlobCapabilities,
        backend: &str,
    ) -> Result<Option<(Copies, bool)>> {
        let Some((tier, folder)) =
            self.local_tier.as_ref().and_then(|tier| tier.folder.as_ref().map(|at| (tier, at)))
        else {
            return Ok(None);
        };
        if blobs.local {
            let message = format!(
                "`local_tier` keeps copies of blobs that lie on another machine, and `{backend}` has them on this one; \
                 leave `local_tier` out"
            );
            return Err(Error::new(ErrorKind::ConfigInvalid, message));
        }
        let root = self.folder.as_ref().map_or_else(|| folder.clone(), |cache| cache.join(folder));
        let (options, now) = (tier.clone(), self.env.now());
        let (permissions, allow_other_owner) = (self.permissions, self.allow_other_owner);
        let open = move || {
            prepare_folder(&root, OpenMode::Create, permissions, allow_other_owner)?;
            Copies::open(root, &options, permissions, now)
        };
        match self.env.unblock(open).await {
            Ok(copies) => Ok(Some((copies, tier.write_through.unwrap_or(false)))),
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                tracing::warn!(%error, "the cache is opened without its local tier");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the cache for the blocking face.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_blocking(self) -> Result<crate::blocking::Cache> {
        let (env, (limits, of_namespaces)) = (self.env.clone(), self.given_limits());
        let parts = (self.parts()?, self.fallback_parts()?);
        let needs_runtime = [Some(&parts.0), parts.1.as_ref()]
            .into_iter()
            .flatten()
            .any(|(metadata, blobs)| metadata.factory.needs_runtime() || blobs.factory.needs_runtime());
        let engine = env.block_on(needs_runtime, self.start(parts))?;
        let owner = Owner::new(engine.clone());
        // Whether the opened parts need a runtime may depend on their options, so they are asked again.
        engine.block_on(engine.adopt_limits(&limits, &of_namespaces))?;
        Ok(Cache::bind(engine, owner, &Namespace::default()).into())
    }
}

/// The folder for an application's cache among the user's data: under `$XDG_DATA_HOME`, or where the operating
/// system keeps such things.
pub(crate) fn default_folder(application: &str) -> Result<PathBuf> {
    let one_name = Path::new(application).components().collect::<Vec<_>>();
    if application.contains(['/', '\\', '\0']) || !matches!(one_name[..], [std::path::Component::Normal(_)]) {
        let message = format!("an application's name becomes a folder's, so {application:?} cannot be one");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let strategy = etcetera::choose_base_strategy().map_err(|error| {
        Error::new(ErrorKind::NotFound, "the user's home folder is not known; use `open` with a path")
            .with_source(error)
    })?;
    Ok(strategy.data_dir().join(application).join("cacheness"))
}
