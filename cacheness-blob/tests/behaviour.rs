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
