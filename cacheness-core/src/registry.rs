//! The registry: names to handlers and to the factories of backends. It is a value, not a global.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::access::AccessLog;
use crate::blob::BlobBackend;
use crate::config::{ConfigOptions, OptionSpec, list, nearest};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::CacheHandler;
use crate::metadata::MetadataBackend;

/// Makes a metadata backend from its options.
#[async_trait]
pub trait MetadataFactory: Send + Sync + 'static {
    /// The name by which configurations choose it.
    fn name(&self) -> &str;

    /// What it is, in one sentence.
    fn description(&self) -> &str;

    /// The options that it takes. The engine checks what is given against them before `open` is called.
    fn options(&self) -> &[OptionSpec];

    /// Opens the backend. Many processes may do so at once.
    ///
    /// # Errors
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid) where options do not go together or a folder is needed and
    /// none was given; [`NotFound`](ErrorKind::NotFound) where [`OpenMode::Existing`] finds nothing; the
    /// store's own error.
    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>>;

    /// True where `open` uses Tokio's sockets or timers. The blocking face then provides a runtime.
    fn needs_runtime(&self) -> bool {
        true
    }
}

/// Makes a blob backend from its options.
#[async_trait]
pub trait BlobFactory: Send + Sync + 'static {
    /// The name by which configurations choose it.
    fn name(&self) -> &str;

    /// What it is, in one sentence.
    fn description(&self) -> &str;

    /// The options that it takes. The engine checks what is given against them before `open` is called.
    fn options(&self) -> &[OptionSpec];

    /// Opens the backend. Many processes may do so at once.
    ///
    /// # Errors
    /// As [`MetadataFactory::open`].
    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>>;

    /// True where `open` uses Tokio's sockets or timers. The blocking face then provides a runtime.
    fn needs_runtime(&self) -> bool {
        true
    }
}

/// What a factory is told when a cache is opened.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct OpenContext {
    /// The cache's folder, where it has one.
    pub folder: Option<PathBuf>,
    /// Whether something may be created.
    pub mode: OpenMode,
    /// What a put that returned survives.
    pub durability: Durability,
    /// Time, blocking work and the runtime.
    pub env: Env,
    /// The uses of entries that are not recorded yet, for a metadata backend to consult before it evicts.
    pub accesses: Arc<AccessLog>,
}

impl OpenContext {
    /// A context without a folder, that creates what is missing; for opening a backend by itself, in tests.
    #[must_use]
    pub fn new(env: Env) -> Self {
        let accesses = Arc::new(AccessLog::new(std::time::Duration::from_secs(60)));
        Self { folder: None, mode: OpenMode::Create, durability: Durability::Process, env, accesses }
    }

    /// Sets the cache's folder.
    #[must_use]
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets whether something may be created.
    #[must_use]
    pub fn with_mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets what a put that returned survives.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The path that an option gives, or else `name` in the cache's folder.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where neither is given; the message names `backend`.
    pub fn path(&self, backend: &str, given: Option<PathBuf>, name: &str) -> Result<PathBuf> {
        match (&self.folder, given) {
            (Some(folder), Some(path)) => Ok(folder.join(path)),
            (Some(folder), None) => Ok(folder.join(name)),
            (None, Some(path)) => Ok(path),
            (None, None) => {
                let message =
                    format!("`{backend}` keeps files: give the cache a folder, or the option `path`");
                Err(Error::new(ErrorKind::ConfigInvalid, message))
            }
        }
    }
}

/// Whether opening a cache may create it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OpenMode {
    /// What is missing is created.
    #[default]
    Create,
    /// A cache that is not there is an error, and nothing is created.
    Existing,
}

/// What a put that returned survives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Durability {
    /// The death of the process. After a loss of power the newest puts may be missing, and a value that was cut
    /// short is a miss.
    #[default]
    Process,
    /// A loss of power. Each put waits for the disk.
    Power,
}

/// Names to handlers, in the order in which they are asked, and to the factories of backends.
///
/// A cache keeps the registry that it was opened with: later changes to another copy do not reach it.
#[derive(Clone, Default)]
pub struct Registry {
    handlers: Vec<Arc<dyn CacheHandler>>,
    metadata: BTreeMap<String, Arc<dyn MetadataFactory>>,
    blobs: BTreeMap<String, Arc<dyn BlobFactory>>,
}

impl Registry {
    /// A registry that knows nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A registry that knows what is built in: what the features of the crate `cacheness` have switched on. It is
    /// empty in a program that depends on `cacheness-core` alone.
    #[must_use]
    pub fn builtin() -> Self {
        let mut registry = Self::empty();
        for builtin in inventory::iter::<Builtin> {
            registry = (builtin.0)(registry);
        }
        registry
    }

    /// Adds a handler, to be asked after all that are there.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where a handler of that name is there already.
    pub fn with_handler(mut self, handler: impl CacheHandler) -> Result<Self> {
        if self.handlers.iter().any(|known| known.name() == handler.name()) {
            return Err(taken("handler", handler.name()));
        }
        self.handlers.push(Arc::new(handler));
        Ok(self)
    }

    /// Adds a metadata backend.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where one of that name is there already.
    pub fn with_metadata_backend(mut self, factory: impl MetadataFactory) -> Result<Self> {
        let name = factory.name().to_owned();
        if self.metadata.contains_key(&name) {
            return Err(taken("metadata backend", &name));
        }
        self.metadata.insert(name, Arc::new(factory));
        Ok(self)
    }

    /// Adds a blob backend.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where one of that name is there already.
    pub fn with_blob_backend(mut self, factory: impl BlobFactory) -> Result<Self> {
        let name = factory.name().to_owned();
        if self.blobs.contains_key(&name) {
            return Err(taken("blob backend", &name));
        }
        self.blobs.insert(name, Arc::new(factory));
        Ok(self)
    }

    /// The handlers, in the order in which they are asked.
    pub fn handlers(&self) -> impl Iterator<Item = &dyn CacheHandler> {
        self.handlers.iter().map(AsRef::as_ref)
    }

    /// The factories of metadata backends, sorted by name.
    pub fn metadata_backends(&self) -> impl Iterator<Item = &dyn MetadataFactory> {
        self.metadata.values().map(AsRef::as_ref)
    }

    /// The factories of blob backends, sorted by name.
    pub fn blob_backends(&self) -> impl Iterator<Item = &dyn BlobFactory> {
        self.blobs.values().map(AsRef::as_ref)
    }

    /// The handler of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest.
    pub fn handler(&self, name: &str) -> Result<&Arc<dyn CacheHandler>> {
        self.handlers.iter().find(|handler| handler.name() == name).ok_or_else(|| {
            let known: Vec<&str> = self.handlers().map(CacheHandler::name).collect();
            not_registered("handler", name, &known)
        })
    }

    /// The factory of the metadata backend of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest.
    pub fn metadata_backend(&self, name: &str) -> Result<&Arc<dyn MetadataFactory>> {
        let known = || self.metadata.keys().map(String::as_str).collect::<Vec<_>>();
        self.metadata.get(name).ok_or_else(|| not_registered("metadata backend", name, &known()))
    }

    /// The factory of the blob backend of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest.
    pub fn blob_backend(&self, name: &str) -> Result<&Arc<dyn BlobFactory>> {
        let known = || self.blobs.keys().map(String::as_str).collect::<Vec<_>>();
        self.blobs.get(name).ok_or_else(|| not_registered("blob backend", name, &known()))
    }
}

/// How the crate `cacheness` tells [`Registry::builtin`] what there is. Other crates register what they bring
/// with the methods of [`Registry`].
#[doc(hidden)]
pub struct Builtin(pub fn(Registry) -> Registry);

inventory::collect!(Builtin);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("handlers", &self.handlers().map(CacheHandler::name).collect::<Vec<_>>())
            .field("metadata", &self.metadata.keys())
            .field("blobs", &self.blobs.keys())
            .finish()
    }
}

fn taken(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("a {what} named `{name}` is registered already"))
}

fn not_registered(what: &str, name: &str, known: &[&str]) -> Error {
    let message = if known.is_empty() {
        format!("no {what} is registered, so not `{name}` either; switch on a feature that brings one")
    } else {
        format!("no {what} named `{name}`; known are {}{}", list(known), nearest(name, known))
    };
    Error::new(ErrorKind::NotRegistered, message)
}

/// Makes a cache's folder where it may, and says what is wrong where it may not.
///
/// # Errors
/// [`ErrorKind::NotFound`] where the folder is missing and may not be created; the operating system's error.
pub fn prepare_folder(path: &Path, mode: OpenMode) -> Result<()> {
    match mode {
        OpenMode::Create => fs_err::create_dir_all(path)
            .map_err(|error| Error::io(error, "the cache's folder cannot be created")),
        OpenMode::Existing if path.is_dir() => Ok(()),
        OpenMode::Existing => {
            let message = "there is no cache here, and `open_existing` creates none";
            Err(Error::new(ErrorKind::NotFound, message).with_context("path", path.to_string_lossy()))
        }
    }
}
