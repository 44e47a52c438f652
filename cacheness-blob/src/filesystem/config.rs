//! The factory of the backend `filesystem`.

use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{BlobBackend, BlobFactory, ConfigOptions, OpenContext, OptionKind, OptionSpec, Result};

use super::FilesystemBlobs;

const NAME: &str = "filesystem";

const OPTIONS: [OptionSpec; 1] = [OptionSpec::new(
    "path",
    OptionKind::Path,
    Some("blobs"),
    "The folder that holds the blobs; several caches may share it.",
)
.in_folder()
.example("/var/cache/blobs")];

/// Makes [`FilesystemBlobs`].
///
/// ```
/// use cacheness_blob::filesystem::FilesystemBlobFactory;
/// use cacheness_core::Registry;
///
/// let registry = Registry::empty().with_blob_backend(FilesystemBlobFactory::new())?;
/// assert_eq!(registry.blob_backend("filesystem")?.options()[0].name, "path");
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FilesystemBlobFactory;

impl FilesystemBlobFactory {
    /// The factory. What it makes is set by options.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl BlobFactory for FilesystemBlobFactory {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "Blobs in files of this machine."
    }

    fn options(&self) -> &[OptionSpec] {
        &OPTIONS
    }

    fn needs(&self) -> &[&'static str] {
        &["a folder: the cache's, or one that `path` names"]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        let path = context.path(NAME, options.path("path"), "blobs")?;
        Ok(Arc::new(FilesystemBlobs::open(path, context).await?))
    }

    fn needs_runtime(&self) -> bool {
        false
    }
}
