//! The factory of the backend `memory`.

use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{ConfigOptions, MetadataBackend, MetadataFactory, OpenContext, OptionSpec, Result};

use super::MemoryStore;
use crate::kv::KvMetadata;

/// Makes a metadata backend in the memory of this process; each open makes one of its own, which is empty.
///
/// ```
/// use cacheness_core::Registry;
/// use cacheness_metadata::memory::MemoryMetadataFactory;
///
/// let registry = Registry::empty().with_metadata_backend(MemoryMetadataFactory::new())?;
/// assert_eq!(registry.metadata_backend("memory")?.options().len(), 0);
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryMetadataFactory;

impl MemoryMetadataFactory {
    /// The factory. It has nothing to be set.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl MetadataFactory for MemoryMetadataFactory {
    fn name(&self) -> &str {
        "memory"
    }

    fn description(&self) -> &str {
        "Entries in the memory of this process; nothing is kept when it ends."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, _: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let context = context.clone().with_mode(cacheness_core::OpenMode::Create);
        Ok(Arc::new(KvMetadata::open(MemoryStore::default(), &context).await?))
    }

    fn needs_runtime(&self) -> bool {
        false
    }
}
