//! Factories: how a registry makes a backend from its options.

use std::sync::Arc;

use async_trait::async_trait;

use super::OpenContext;
#[cfg(doc)]
use super::OpenMode;
use crate::blob::BlobBackend;
use crate::config::{ConfigOptions, OptionSpec};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::metadata::MetadataBackend;
use crate::rebuild::SalvageIndex;

/// Makes a metadata backend from its options.
#[async_trait]
pub trait MetadataFactory: Send + Sync + 'static {
    /// The name by which configurations choose it.
    fn name(&self) -> &str;

    /// What it is, in one sentence.
    fn description(&self) -> &str;

    /// The options that it takes. What is given is checked against them before `open` is called.
    fn options(&self) -> &[OptionSpec];

    /// What must be there for it to work, in words, such as a folder or a server. For listings.
    fn needs(&self) -> &[&'static str] {
        &[]
    }

    /// Checks options that must go together; each by itself is checked already, and those not given have their
    /// defaults. It must not touch the store.
    ///
    /// # Errors
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid); the message names the options and says what would do.
    fn check(&self, options: &ConfigOptions) -> Result<()> {
        let _ = options;
        Ok(())
    }

    /// Opens the backend. Many processes may do so at once, and one process several times. The engine has checked the
    /// options and filled in the defaults of those that were not given, but for paths in the cache's folder, which
    /// [`OpenContext::path`] makes.
    ///
    /// # Errors
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid) where options do not go together or a folder is needed and
    /// none was given; [`NotFound`](ErrorKind::NotFound) where [`OpenMode::Existing`] finds nothing; the
    /// store's own error.
    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>>;

    /// True where `open` uses Tokio's sockets or timers. Then it runs on the cache's own runtime, has the time of one call to
    /// a [remote](crate::RemoteCalls) backend, and is made again where it fails for a reason that may pass.
    fn needs_runtime(&self) -> bool {
        true
    }

    /// How what is left of a damaged index is saved, for [`CacheBuilder::rebuild`](crate::CacheBuilder::rebuild), where this
    /// backend keeps an index in files of its own. Where it does not, nothing can be rebuilt.
    fn salvage(&self) -> Option<&dyn SalvageIndex> {
        None
    }
}

/// Makes a blob backend from its options.
#[async_trait]
pub trait BlobFactory: Send + Sync + 'static {
    /// The name by which configurations choose it.
    fn name(&self) -> &str;

    /// What it is, in one sentence.
    fn description(&self) -> &str;

    /// The options that it takes. What is given is checked against them before `open` is called.
    fn options(&self) -> &[OptionSpec];

    /// What must be there for it to work, in words, such as a folder or a server. For listings.
    fn needs(&self) -> &[&'static str] {
        &[]
    }

    /// Checks options that must go together; each by itself is checked already, and those not given have their
    /// defaults. It must not touch the store.
    ///
    /// # Errors
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid); the message names the options and says what would do.
    fn check(&self, options: &ConfigOptions) -> Result<()> {
        let _ = options;
        Ok(())
    }

    /// Opens the backend. Many processes may do so at once, and one process several times. The engine has checked the
    /// options and filled in the defaults of those that were not given, but for paths in the cache's folder, which
    /// [`OpenContext::path`] makes.
    ///
    /// # Errors
    /// As [`MetadataFactory::open`].
    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>>;

    /// True where `open` uses Tokio's sockets or timers. Then it runs on the cache's own runtime, has the time of one call to
    /// a [remote](crate::RemoteCalls) backend, and is made again where it fails for a reason that may pass.
    fn needs_runtime(&self) -> bool {
        true
    }
}
