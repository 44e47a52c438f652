//! What [`Registry::builtin`] knows: one line for each part that the features have compiled in.

use cacheness_core::{Builtin, Fifo, Lfu, Lru, NoEviction, Registry, Result, Size, Ttl};

inventory::submit! { Builtin(register) }

/// The order of the handlers is that in which they are asked: those that claim a type before those that take
/// everything.
fn parts(registry: Registry) -> Result<Registry> {
    let registry = registry.with_metadata_backend(cacheness_metadata::memory::MemoryMetadataFactory)?;
    #[cfg(feature = "sqlite")]
    let registry = registry.with_metadata_backend(cacheness_metadata::sqlite::SqliteMetadataFactory)?;
    #[cfg(feature = "sqlite")]
    let registry = registry.with_metadata_backend(cacheness_metadata::sqlite::SqliteMemoryMetadataFactory)?;
    #[cfg(feature = "json-metadata")]
    let registry = registry.with_metadata_backend(cacheness_metadata::json::JsonMetadataFactory)?;
    #[cfg(feature = "postgres")]
    let registry =
        registry.with_metadata_backend(cacheness_metadata::postgres::PostgresMetadataFactory::new())?;
    #[cfg(feature = "postgres")]
    let registry =
        registry.with_metadata_backend(cacheness_metadata::postgres::PostgresMetadataFactory::postgresql())?;
    #[cfg(feature = "redis")]
    let registry = registry.with_metadata_backend(cacheness_metadata::redis::RedisMetadataFactory)?;
    #[cfg(feature = "s3")]
    let registry = registry.with_blob_backend(cacheness_blob::s3::S3BlobFactory::new())?;
    #[cfg(feature = "object-store")]
    let registry = registry.with_blob_backend(cacheness_blob::object_store::ObjectStoreBlobFactory::new())?;
    let registry =
        registry.with_eviction_policy(Lru)?.with_eviction_policy(Lfu)?.with_eviction_policy(Fifo)?;
    let registry =
        registry.with_eviction_policy(Ttl)?.with_eviction_policy(Size)?.with_eviction_policy(NoEviction)?;
    let registry = registry.with_blob_backend(cacheness_blob::memory::MemoryBlobFactory)?;
    #[cfg(feature = "filesystem")]
    let registry = registry.with_blob_backend(cacheness_blob::filesystem::FilesystemBlobFactory)?;
    #[cfg(feature = "arrow")]
    let registry = registry.with_handler(cacheness_handlers::ArrowIpcHandler::new())?;
    #[cfg(feature = "arrow")]
    let registry = registry.with_handler(cacheness_handlers::ParquetHandler::new())?;
    #[cfg(feature = "serde-formats")]
    let registry = registry.with_handler(cacheness_handlers::BytesHandler::new())?;
    #[cfg(feature = "serde-formats")]
    let registry = registry.with_handler(cacheness_handlers::TextHandler::new())?;
    #[cfg(feature = "serde-formats")]
    let registry = registry.with_handler(cacheness_handlers::MsgpackHandler::new())?;
    #[cfg(feature = "npy")]
    let registry = registry.with_handler(cacheness_handlers::NpyHandler::new())?;
    // After `msgpack`, which takes all that they take: they are used where a put names them.
    #[cfg(feature = "json")]
    let registry = registry.with_handler(cacheness_handlers::JsonHandler::new())?;
    #[cfg(feature = "bincode")]
    let registry = registry.with_handler(cacheness_handlers::BincodeHandler::new())?;
    #[cfg(feature = "postcard")]
    let registry = registry.with_handler(cacheness_handlers::PostcardHandler::new())?;
    Ok(registry)
}

/// Adds the built-in parts to an empty registry. Their names differ, which a test holds to, so nothing fails.
fn register(registry: Registry) -> Registry {
    let before = registry.clone();
    parts(registry).unwrap_or(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_built_in_parts_differ() {
        let registry = parts(Registry::empty()).unwrap();
        assert_eq!(format!("{:?}", Registry::builtin()), format!("{registry:?}"));
    }
}
