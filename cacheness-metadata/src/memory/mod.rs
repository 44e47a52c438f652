//! Entries in the memory of this process, for caches without a folder and for tests.

mod backend;
mod config;

pub(crate) use backend::MemoryStore;
pub use config::MemoryMetadataFactory;
