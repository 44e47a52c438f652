//! Blob backends of the Cacheness cache: where the bytes of values lie.
//!
//! | name | feature | where |
//! |---|---|---|
//! | `memory` | always there | this process |
//! | `filesystem` | `filesystem` | files of this machine |
//! | `s3` | `s3` | S3, by Amazon's client |
//! | `object_store` | `object-store` | Google Cloud Storage, Azure, S3, WebDAV, by the crate `object_store` |
//!
//! Applications depend on the crate `cacheness`, which registers these. A backend of your own implements
//! [`BlobBackend`](cacheness_core::BlobBackend) and [`BlobFactory`](cacheness_core::BlobFactory) instead.

#[cfg(feature = "filesystem")]
pub mod filesystem;
pub mod memory;
#[cfg(feature = "object-store")]
pub mod object_store;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "s3")]
pub mod s3;
