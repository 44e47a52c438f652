//! The factories of the backends `sqlite` and `sqlite_memory`, and their options.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{
    ConfigOptions, MetadataBackend, MetadataFactory, OpenContext, OptionKind, OptionSpec, Result,
    SalvageIndex,
};

use super::backend::SqliteMetadata;
use super::open;

const NAME: &str = "sqlite";
const MEMORY_NAME: &str = "sqlite_memory";

/// The file in the cache's folder.
const FILE: &str = "index.sqlite";

const CACHE_SIZE: OptionSpec = OptionSpec::new(
    "cache_size",
    OptionKind::Size { min: 64 << 10, max: 16 << 30 },
    Some("16 MiB"),
    "How much of the index each connection may keep in memory.",
);

const OPTIONS: [OptionSpec; 5] = [
    OptionSpec::new(
        "path",
        OptionKind::Path,
        Some(FILE),
        "The database's file, on a file system of this machine.",
    )
    .in_folder()
    .example("/var/cache/index.sqlite"),
    OptionSpec::new("readers", OptionKind::Int { min: 1, max: 64 }, Some("4"), "Connections that read."),
    OptionSpec::new(
        "busy_timeout",
        OptionKind::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
        Some("1m"),
        "How long a call waits for other processes that write.",
    ),
    CACHE_SIZE,
    OptionSpec::new(
        "reserve",
        OptionKind::Size { min: 0, max: 1 << 30 },
        Some("1 MiB"),
        "How much room a file beside the index keeps on the disk, so that entries can be removed when it is full.",
    ),
];

const MEMORY_OPTIONS: [OptionSpec; 1] = [CACHE_SIZE];

/// What the options say.
pub(super) struct Settings {
    pub(super) readers: usize,
    pub(super) busy_timeout_ms: u64,
    pub(super) cache_size_kib: i64,
    /// In bytes.
    pub(super) reserve: u64,
}

impl Settings {
    /// The options have been checked; what another caller may have left out has its default.
    pub(super) fn new(options: &ConfigOptions) -> Self {
        let options = options.with_defaults(&OPTIONS);
        let kib = options.size("cache_size").unwrap_or_default() >> 10;
        Self {
            readers: options.int("readers").and_then(|n| usize::try_from(n).ok()).unwrap_or(1).clamp(1, 64),
            busy_timeout_ms: options
                .duration("busy_timeout")
                .map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            cache_size_kib: i64::try_from(kib).unwrap_or(i64::MAX).clamp(64, 16 << 20),
            reserve: options.size("reserve").unwrap_or_default(),
        }
    }
}

/// Makes a metadata backend in an SQLite file, `index.sqlite` in the cache's folder unless the option `path` names
/// another one. Many processes may have it open at once, on a local file system.
///
/// ```
/// use cacheness_core::Registry;
/// use cacheness_metadata::sqlite::SqliteMetadataFactory;
///
/// let registry = Registry::empty().with_metadata_backend(SqliteMetadataFactory::new())?;
/// assert_eq!(registry.metadata_backend("sqlite")?.options()[1].name, "readers");
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteMetadataFactory;

impl SqliteMetadataFactory {
    /// The factory. It has nothing to be set.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl MetadataFactory for SqliteMetadataFactory {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "Entries in an SQLite file that many processes share."
    }

    fn options(&self) -> &[OptionSpec] {
        &OPTIONS
    }

    fn needs(&self) -> &[&'static str] {
        &["a folder of this machine: the cache's, or the one of the file that `path` names"]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let path = context.path(NAME, options.path("path"), FILE)?;
        let (settings, env, context) = (Settings::new(options), context.env.clone(), context.clone());
        let store = env.unblock(move || open::file(&path, &settings, &context)).await?;
        Ok(Arc::new(SqliteMetadata::new(store)))
    }

    fn needs_runtime(&self) -> bool {
        false
    }

    fn salvage(&self) -> Option<&dyn SalvageIndex> {
        Some(self)
    }
}

/// Makes a metadata backend in an SQLite database in the memory of this process; each open makes one of its own,
/// which is empty.
///
/// ```
/// use cacheness_core::Registry;
/// use cacheness_metadata::sqlite::SqliteMemoryMetadataFactory;
///
/// let registry = Registry::empty().with_metadata_backend(SqliteMemoryMetadataFactory::new())?;
/// assert!(registry.metadata_backend("sqlite_memory").is_ok());
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SqliteMemoryMetadataFactory;

impl SqliteMemoryMetadataFactory {
    /// The factory. It has nothing to be set.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl MetadataFactory for SqliteMemoryMetadataFactory {
    fn name(&self) -> &str {
        MEMORY_NAME
    }

    fn description(&self) -> &str {
        "Entries in an SQLite database in the memory of this process; nothing is kept when it ends."
    }

    fn options(&self) -> &[OptionSpec] {
        &MEMORY_OPTIONS
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        Ok(Arc::new(SqliteMetadata::new(open::memory(&Settings::new(options), context)?)))
    }

    fn needs_runtime(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_reaches_the_settings() {
        let default = Settings::new(&ConfigOptions::new());
        assert_eq!((default.readers, default.busy_timeout_ms, default.cache_size_kib), (4, 60_000, 16 << 10));
        assert_eq!(default.reserve, 1 << 20);
        let options = ConfigOptions::new()
            .with("readers", 7)
            .with("busy_timeout", "1500ms")
            .with("cache_size", "1 MiB")
            .with("reserve", "2 MiB");
        options.check(NAME, &OPTIONS).unwrap();
        let given = Settings::new(&options);
        assert_eq!((given.readers, given.busy_timeout_ms, given.cache_size_kib), (7, 1500, 1024));
        assert_eq!(given.reserve, 2 << 20);
    }
}
