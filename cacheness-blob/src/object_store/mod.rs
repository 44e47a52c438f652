//! Blobs in any store that the crate `object_store` knows: Google Cloud Storage, Azure, S3, WebDAV, a folder, memory.

mod config;
mod requests;
mod url;

pub use config::ObjectStoreBlobFactory;

#[cfg(test)]
mod tests;
