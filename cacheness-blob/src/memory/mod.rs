//! Blobs in the memory of this process, for caches without a folder and for tests.

mod backend;
mod config;

pub use backend::MemoryBlobs;
pub use config::MemoryBlobFactory;

#[cfg(test)]
mod tests;
