//! The traits, the registry and the engine of the Cacheness cache.
//!
//! Applications use the crate `cacheness`, which adds the built-in backends. Crates that add a handler or a
//! backend depend on this one.

mod access;
mod blob;
pub mod blocking;
mod builder;
mod cache;
mod checksums;
mod config;
mod encryption;
mod engine;
mod entry;
mod env;
mod error;
mod events;
mod eviction;
mod fallback;
mod feed;
mod handler;
mod key;
mod lease;
mod local_tier;
mod metadata;
mod metric;
mod names;
mod options;
mod pair;
mod permissions;
mod protection;
mod rebuild;
mod registry;
mod resilience;
mod signing;
mod stage;
mod stats;
#[cfg(feature = "strict")]
#[doc(hidden)]
pub mod strict;
pub mod trailer;
mod upkeep;
mod validity;
mod value;

pub use access::{AccessLog, PendingAccess};
pub use blob::{Blob, BlobBackend, BlobCapabilities, BlobPage, BlobSource, StagedFile};
pub use builder::CacheBuilder;
pub use cache::Cache;
pub use config::{
    CACHE_OPTIONS, ConfigOptions, ConfigOrigin, ConfigValue, ENCRYPTION_KEY_OPTIONS, NAMESPACE_OPTIONS,
    OptionKind, OptionSpec, Secret, UnknownOptions,
};
#[cfg(feature = "config")]
pub use config::{Config, Variables};
pub use encryption::{Encryption, EncryptionKey};
pub use engine::{
    AsyncValueReader, Damage, EntryInfo, EntryPage, EntryState, Finding, ListOptions, OnEncodeError,
    OnReadError, OnWriteError, PurgeReport, RawEntry, RotateReport, Stored, StoredState, SweepReport,
    ValueReader, VerifyOptions, VerifyReport,
};
pub use entry::{Entry, Format, Location, StoredEntry};
pub use env::{Clock, Env, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, ExpireReason, MissReason};
pub use eviction::{
    EntryUse, EvictionPolicies, EvictionPolicy, Fifo, Lfu, Limits, LimitsChange, Lru, NoEviction, Ranking,
    Size, Ttl,
};
pub use fallback::Fallback;
pub use feed::Changes;
pub use handler::{Access, BlobReader, BlobWriter, CacheHandler, FormatMeta, HandlerContext, TypeClass};
pub use key::{Key, KeyBuilder, Unordered};
pub use lease::Lease;
pub use local_tier::LocalTier;
pub use metadata::{
    AccessBatch, CONDEMNED_FOR, Change, ChangeFeed, ChangeFeeds, Changed, Condition, Cursor, DamagedEntry,
    Direction, EntryAccess, EntryFilter, Evicted, EvictionReason, Evictions, Expiry, Field, FieldComparison,
    FieldCondition, FieldPath, FieldStep, GARBAGE_DELAY, Glob, Leases, ListOrder, ListQuery, MetadataBackend,
    MetadataCapabilities, Outcome, Page, Purged, QuerySupport, field,
};
pub use names::{BlobId, BlobKey, CacheId, LeaseHolder, Namespace, Timestamp, Version};
pub use options::{Column, Comparison, Literal, Operator, Predicate, PutOptions, ReadOptions, column};
pub use permissions::Permissions;
pub use rebuild::{RebuildOptions, RebuildReport, Salvage, SalvageIndex, SalvagedIndex, SalvagedRow};
pub use registry::{
    BlobFactory, Builtin, Durability, MetadataFactory, OpenContext, OpenMode, PartInfo, Plugin, Register,
    Registry,
};
pub use resilience::{BackendHealth, BackendRole, Health, HealthState, LastError, RemoteCalls, UnmadeWrites};
pub use signing::{Signing, SigningAlgorithm};
pub use stage::{ChecksumKind, Checksums, Compression, Stage};
pub use stats::{Counters, Stats};
pub use validity::{FileCheck, FileSource, Validity, ValidityMode};
pub use value::{
    As, BoxedValue, CacheValue, PutValue, TypeTarget, ValueRef, ViaAs, ViaBytes, ViaSerde, ViaText,
};

/// What the macros of this crate refer to.
#[doc(hidden)]
pub mod __private {
    pub use crate::entry::blob_in_record;
    pub use crate::metadata::condemned;
    pub use inventory;
}
