//! What an open cache tells of its backends.

use cacheness::blocking;

// shows: row 50
#[test]
fn an_open_cache_names_its_backends_and_counts_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = blocking::Cache::open(folder.path()).unwrap();
    assert_eq!((on_disk.metadata_backend(), on_disk.blob_backend()), ("sqlite", "filesystem"));
    let in_memory = blocking::Cache::memory().unwrap();
    assert_eq!((in_memory.metadata_backend(), in_memory.blob_backend()), ("memory", "memory"));
    for cache in [on_disk, in_memory] {
        assert_eq!(cache.stats().unwrap().entries, 0);
        cache.put("user", "Ada").unwrap();
        assert_eq!(cache.stats().unwrap().entries, 1);
    }
}

#[tokio::test]
async fn the_async_face_names_them_too() {
    let cache = cacheness::Cache::memory().await.unwrap();
    assert_eq!((cache.metadata_backend(), cache.blob_backend()), ("memory", "memory"));
}
