//! What a factory is told when a cache is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::access::AccessLog;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::EvictionPolicies;
use crate::permissions::{Permissions, prepare_folder};

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
    /// The eviction policies that are known, for a metadata backend to find the one that the stored limits name.
    pub policies: EvictionPolicies,
    /// For how long the cache waits for one call to this backend, counted from its beginning (`remote.timeout`); `None` where it
    /// was opened by itself, without a cache. A backend on this machine is not watched over, and need not heed it. Whoever
    /// called may have made other changes since, so a change must not be carried out later than that: a backend over a network
    /// has its *server* see to it, because what was sent cannot be taken back.
    pub call_timeout: Option<Duration>,
    /// Who may read and write the files that are made.
    pub permissions: Permissions,
    /// Whether a folder may belong to another user than the one that the process runs as.
    pub allow_other_owner: bool,
}

impl OpenContext {
    /// A context without a folder, that creates what is missing and knows the built-in eviction policies; for opening a backend by itself, in tests.
    #[must_use]
    pub fn new(env: Env) -> Self {
        let accesses = Arc::new(AccessLog::new(Duration::from_secs(60)));
        Self {
            folder: None,
            mode: OpenMode::Create,
            durability: Durability::Process,
            env,
            accesses,
            policies: EvictionPolicies::builtin(),
            call_timeout: None,
            permissions: Permissions::default(),
            allow_other_owner: false,
        }
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

    /// Sets the eviction policies that are known: those of a registry.
    #[must_use]
    pub fn with_policies(mut self, registry: &super::Registry) -> Self {
        self.policies = registry.policies();
        self
    }

    /// Sets for how long one call is waited for.
    #[must_use]
    pub fn with_call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// Sets who may read and write the files that are made.
    #[must_use]
    pub fn with_permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// Makes the folder of a backend where it may.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the folder is missing and may not be created; [`ErrorKind::PermissionDenied`] where it
    /// belongs to another user and that is not allowed; the operating system's error.
    pub fn prepare_folder(&self, path: &Path) -> Result<()> {
        prepare_folder(path, self.mode, self.permissions, self.allow_other_owner)
    }

    /// The path that an option gives, or else `name` in the cache's folder. A relative one counts from that folder, or
    /// without one from the working folder.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where neither is given; the message names `backend`.
    pub fn path(&self, backend: &str, given: Option<PathBuf>, name: &str) -> Result<PathBuf> {
        match (&self.folder, given) {
            (Some(folder), Some(path)) => Ok(folder.join(path)),
            (Some(folder), None) => Ok(folder.join(name)),
            (None, Some(path)) => Ok(path),
            (None, None) => {
                let message = format!(
                    "`{backend}` keeps files: give the cache a folder, or `{backend}` a path of its own"
                );
                Err(Error::new(ErrorKind::ConfigInvalid, message))
            }
        }
    }
}

/// Whether opening a cache may create it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OpenMode {
    /// What is missing is created.
    #[default]
    Create,
    /// A cache that is not there is an error, and nothing is created.
    Existing,
}

/// What a put that returned survives.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Durability {
    /// The death of the process. After a loss of power the newest puts may be missing, and a value that was cut
    /// short is a miss.
    #[default]
    Process,
    /// A loss of power. Each put waits for the disk.
    Power,
}
