//! The factory of the backend `json`, and its options.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{
    ConfigOptions, MetadataBackend, MetadataFactory, OpenContext, OptionKind, OptionSpec, Result,
    SalvageIndex,
};

use super::backend::JsonStore;
use super::store::Store;
use crate::kv::KvMetadata;

pub(super) const NAME: &str = "json";

/// The file in the cache's folder.
pub(super) const FILE: &str = "index.json";

const OPTIONS: [OptionSpec; 2] = [
    OptionSpec::new(
        "path",
        OptionKind::Path,
        Some(FILE),
        "The index's file, on a file system of this machine.",
    )
    .in_folder()
    .example("/var/cache/index.json"),
    OptionSpec::new(
        "busy_timeout",
        OptionKind::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
        Some("1m"),
        "How long a call waits for other processes that write.",
    ),
];

/// What the options say.
pub(super) struct Settings {
    pub(super) busy_timeout: Duration,
}

impl Settings {
    /// The options have been checked; what another caller may have left out has its default.
    fn new(options: &ConfigOptions) -> Self {
        let options = options.with_defaults(&OPTIONS);
        Self { busy_timeout: options.duration("busy_timeout").unwrap_or_default() }
    }
}

/// Makes a metadata backend in a JSON file, `index.json` in the cache's folder unless the option `path` names another
/// one. Many processes may have it open at once, on a local file system. It is for development and for caches of up
/// to ten thousand entries: see the [module](super).
///
/// ```
/// use cacheness_core::Registry;
/// use cacheness_metadata::json::JsonMetadataFactory;
///
/// let registry = Registry::empty().with_metadata_backend(JsonMetadataFactory::new())?;
/// assert_eq!(registry.metadata_backend("json")?.options()[0].name, "path");
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonMetadataFactory;

impl JsonMetadataFactory {
    /// The factory. It has nothing to be set.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl MetadataFactory for JsonMetadataFactory {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "Entries in a JSON file that one can read, for development and small caches."
    }

    fn options(&self) -> &[OptionSpec] {
        &OPTIONS
    }

    fn needs(&self) -> &[&'static str] {
        &["a folder of this machine: the cache's, or the one of the file that `path` names"]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let path = context.path(NAME, options.path("path"), FILE)?;
        let settings = Settings::new(options);
        let (env, opened) = (context.env.clone(), context.clone());
        let shown = path.to_string_lossy().into_owned();
        let store = env.unblock(move || Store::open(path, &settings, &opened)).await?;
        let entries = KvMetadata::open(JsonStore::new(store, env), context).await;
        Ok(Arc::new(entries.map_err(|error| error.with_context("path", shown))?))
    }

    fn needs_runtime(&self) -> bool {
        false
    }

    fn salvage(&self) -> Option<&dyn SalvageIndex> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_reaches_the_settings() {
        assert_eq!(Settings::new(&ConfigOptions::new()).busy_timeout, Duration::from_secs(60));
        let options = ConfigOptions::new().with("busy_timeout", "1500ms");
        options.check(NAME, &OPTIONS).unwrap();
        assert_eq!(Settings::new(&options).busy_timeout, Duration::from_millis(1500));
    }
}
