//! Every metadata backend with every blob backend, through both faces, keeps every promise of a cache.

// shows: rows 60, 91, 95

use cacheness::Cache;
use cacheness_testkit::cache_suite;

#[cfg(feature = "sqlite")]
cache_suite!(sqlite_and_filesystem, |folder, env| Cache::builder().folder(folder).env(env));
#[cfg(feature = "sqlite")]
cache_suite!(sqlite_and_memory, |folder, env| Cache::builder().folder(folder).blobs("memory").env(env));
#[cfg(feature = "sqlite")]
cache_suite!(sqlite_memory_and_filesystem, |folder, env| {
    Cache::builder().folder(folder).metadata("sqlite_memory").env(env)
});
#[cfg(feature = "sqlite")]
cache_suite!(sqlite_memory_and_memory, |_, env| Cache::builder().metadata("sqlite_memory").env(env));
#[cfg(feature = "json-metadata")]
cache_suite!(json_and_filesystem, |folder, env| Cache::builder().folder(folder).metadata("json").env(env));
#[cfg(feature = "json-metadata")]
cache_suite!(json_and_memory, |folder, env| {
    Cache::builder().folder(folder).metadata("json").blobs("memory").env(env)
});
cache_suite!(memory_and_filesystem, |folder, env| Cache::builder()
    .folder(folder)
    .metadata("memory")
    .env(env));
cache_suite!(memory_and_memory, |_, env| Cache::builder().env(env));
#[cfg(all(feature = "sqlite", feature = "filesystem"))]
cache_suite!(files_with_a_fallback, |folder, env| {
    Cache::builder().folder(folder).fallback(cacheness::Fallback::new(folder.join("spare"))).env(env)
});
#[cfg(all(feature = "sqlite", feature = "filesystem"))]
cache_suite!(remote_blobs_with_a_local_tier, |folder, env| {
    use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};
    let registry = cacheness::Registry::builtin();
    let files = registry.blob_backend("filesystem").unwrap().clone();
    let remote = Chaos::new().slow(std::time::Duration::from_micros(1));
    let remote = ChaosBlobFactory::wrap_shared(files, remote).named("remote");
    cacheness::CacheBuilder::new(registry.with_blob_backend(remote).unwrap())
        .folder(folder)
        .blobs("remote")
        .local_tier(cacheness::LocalTier::new("tier").max_bytes(2_000_000).write_through(true))
        .env(env)
});
