//! The factory of the backend `memory`.

use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{BlobBackend, BlobFactory, ConfigOptions, OpenContext, OptionSpec, Result};

use super::MemoryBlobs;

/// Makes [`MemoryBlobs`]; each open makes a store of its own, which is empty.
///
/// ```
/// use cacheness_blob::memory::MemoryBlobFactory;
/// use cacheness_core::Registry;
///
/// let registry = Registry::empty().with_blob_backend(MemoryBlobFactory::new())?;
/// assert_eq!(registry.blob_backend("memory")?.options().len(), 0);
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryBlobFactory;

impl MemoryBlobFactory {
    /// The factory. It has nothing to be set.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl BlobFactory for MemoryBlobFactory {
    fn name(&self) -> &str {
        "memory"
    }

    fn description(&self) -> &str {
        "Blobs in the memory of this process; nothing is kept when it ends."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, _: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        Ok(Arc::new(MemoryBlobs::new(context.env.clone())))
    }

    fn needs_runtime(&self) -> bool {
        false
    }
}
