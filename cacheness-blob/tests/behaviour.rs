//! The behaviour suite of the test kit, on each blob backend.

use cacheness_core::ConfigOptions;

// shows: rows 55, 58, 68
cacheness_testkit::blob_suite!(
    memory,
    cacheness_blob::memory::MemoryBlobFactory::new(),
    ConfigOptions::new()
);

#[cfg(feature = "filesystem")]
cacheness_testkit::blob_suite!(
    filesystem,
    cacheness_blob::filesystem::FilesystemBlobFactory::new(),
    ConfigOptions::new()
);

#[cfg(feature = "filesystem")]
cacheness_testkit::blob_suite!(
    filesystem_in_a_folder_of_its_own,
    cacheness_blob::filesystem::FilesystemBlobFactory::new(),
    ConfigOptions::new().with("path", "somewhere/else")
);

#[cfg(feature = "object-store")]
cacheness_testkit::blob_suite!(
    object_store_in_memory,
    cacheness_blob::object_store::ObjectStoreBlobFactory::new(),
    ConfigOptions::new().with("url", "memory:///some/where")
);

#[cfg(feature = "object-store")]
cacheness_testkit::blob_suite!(
    object_store_in_a_folder,
    cacheness_blob::object_store::ObjectStoreBlobFactory::new(),
    ConfigOptions::new().with("url", folder_url())
);

/// The url of a folder that no other test has.
#[cfg(feature = "object-store")]
fn folder_url() -> String {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    format!("file://{}", folder.join(cacheness_core::CacheId::random().to_string()).display())
}
