//! Blobs in S3, of Amazon or of another server that speaks its protocol, by Amazon's own client.

mod config;
mod requests;

pub use config::S3BlobFactory;

#[cfg(test)]
mod tests;
