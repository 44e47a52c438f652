//! A pluggable cache: put any value under a key and get it back, from memory, from disk, or from another process.
//!
//! ```
//! use cacheness::PutOptions;
//! use cacheness::blocking::Cache;
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct User { name: String, age: u32 }
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("cache");
//! let cache = Cache::open(&path)?;
//! let ada = User { name: "Ada".into(), age: 36 };
//! cache.put("user:1", &ada)?;
//! cache.put_with("greeting", "hello", PutOptions::ttl(Duration::from_secs(60)))?;
//!
//! let user: Option<User> = cache.get("user:1")?;
//! assert_eq!(user, Some(ada));
//! # Ok::<(), cacheness::Error>(())
//! ```
//!
//! [`blocking::Cache`] works on any thread; [`Cache`] is its async twin. The guide is in the repository's `docs/`.
//!
//! # Features
//! | feature | default | brings |
//! |---|---|---|
//! | `sqlite` | yes | metadata backends `sqlite` and `sqlite_memory` |
//! | `json-metadata` | no | metadata backend `json`, for development and small caches |
//! | `postgres` | no | metadata backend `postgres`, also named `postgresql`, for many machines |
//! | `redis` | no | metadata backend `redis`, in Redis or Valkey, for many machines |
//! | `filesystem` | yes | blob backend `filesystem` |
//! | `s3` | no | blob backend `s3`, by Amazon's client |
//! | `object-store` | no | blob backend `object_store`: Google Cloud Storage, Azure, S3, WebDAV |
//! | `serde-formats` | yes | handlers `bytes`, `text` and `msgpack` |
//! | `config` | yes | `Cache::from_config`: configuration files in TOML and JSON, and variables |
//! | `arrow` | no | handlers `arrow_ipc` and `parquet` for `RecordBatch` and lists of them |
//! | `json` | no | handler `json` |
//! | `bincode` | no | handler `bincode` |
//! | `postcard` | no | handler `postcard` |
//! | `metrics` | no | counters and times through the facade `metrics` |
//! | `signing` | no | signed entries, the table `signing` of configurations |
//! | `npy` | no | handler `npy` for `ndarray` arrays in a [`handlers::Npy`] |
//!
//! The metadata backend `memory` and the blob backend `memory` are always there.

mod builtin;

pub use cacheness_core::*;

pub use cacheness_blob as blobs;
pub use cacheness_handlers as handlers;
pub use cacheness_metadata as metadata;

/// The guide's pages, so that every snippet in them is compiled and run.
#[cfg(doctest)]
mod pages {
    macro_rules! pages {
        ($($name:ident => $path:literal),* $(,)?) => {
            $(#[doc = include_str!($path)] pub struct $name;)*
        };
    }

    pages! {
        Readme => "../README.md",
        GettingStarted => "../docs/getting-started.md",
        Concepts => "../docs/concepts.md",
        EvictionPolicies => "../docs/writing-an-eviction-policy.md",
        Configuration => "../docs/configuration.md",
        Fallbacks => "../docs/fallback.md",
        Handlers => "../docs/handlers.md",
        Backends => "../docs/backends.md",
        BackendPostgres => "../docs/backends/postgres.md",
        BackendRedis => "../docs/backends/redis.md",
        WritingAHandler => "../docs/writing-a-handler.md",
        WritingAMetadataBackend => "../docs/writing-a-metadata-backend.md",
        WritingABlobBackend => "../docs/writing-a-blob-backend.md",
        ComingFrom => "../docs/coming-from.md",
        Queries => "../docs/queries.md",
        Observability => "../docs/observability.md",
        Failures => "../docs/failures.md",
        Reliability => "../docs/reliability.md",
        Architecture => "../docs/architecture.md",
        KeyEncoding => "../docs/key-encoding.md",
        OnDiskFormat => "../docs/on-disk-format.md",
        Security => "../docs/security.md",
        Testing => "../docs/testing.md",
    }
}
