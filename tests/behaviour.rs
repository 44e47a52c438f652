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
