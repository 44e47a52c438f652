//! The factories of the backends `sqlite` and `sqlite_memory`, and their options.

use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{
    ConfigOptions, MetadataBackend, MetadataFactory, OpenContext, OptionKind, OptionSpec, Result,
};

use super::backend::SqliteMetadata;
use super::open;

const NAME: &str = "sqlite";
const MEMORY_NAME: &str = "sqlite_memory";

/// The file in the cache's folder.
const FILE: &str = "index.sqlite";

const CACHE_SIZE: OptionSpec = OptionSpec::new(
    "cache_size_kib",
    OptionKind::Int { min: 64, max: 16 << 20 },
    Some("16384"),
    "How much of the index each connection may keep in memory, in KiB.",
);

const OPTIONS: [OptionSpec; 4] = [
    OptionSpec::new(
        "path",
        OptionKind::Path,
        Some("index.sqlite in the cache's folder"),
        "The database's file.",
    ),
    OptionSpec::new("readers", OptionKind::Int { min: 1, max: 64 }, Some("4"), "Connections that read."),
    OptionSpec::new(
        "busy_timeout_ms",
        OptionKind::Int { min: 0, max: 3_600_000 },
        Some("60000"),
        "How long a call waits for other processes that write, in milliseconds.",
    ),
    CACHE_SIZE,
];

const MEMORY_OPTIONS: [OptionSpec; 1] = [CACHE_SIZE];

/// What the options say.
pub(super) struct Settings {
    pub(super) readers: usize,
    pub(super) busy_timeout_ms: u64,
    pub(super) cache_size_kib: i64,
}

impl Settings {
    fn new(options: &ConfigOptions) -> Self {
        let number = |name: &str, default: i64| options.int(name).unwrap_or(default);
        Self {
            readers: usize::try_from(number("readers", 4)).map_or(4, |readers| readers.clamp(1, 64)),
            busy_timeout_ms: u64::try_from(number("busy_timeout_ms", 60_000)).unwrap_or(0),
            cache_size_kib: number("cache_size_kib", 16 << 10).clamp(64, 16 << 20),
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

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let path = context.path(NAME, options.path("path"), FILE)?;
        let (settings, env, context) = (Settings::new(options), context.env.clone(), context.clone());
        let store = env.unblock(move || open::file(&path, &settings, &context)).await?;
        Ok(Arc::new(SqliteMetadata::new(store)))
    }

    fn needs_runtime(&self) -> bool {
        false
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
