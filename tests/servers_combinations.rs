//! Every combination of a metadata backend with a blob backend that needs a server keeps every promise of a cache, through
//! both faces.

// shows: rows 54, 59, 60, 61, 95

mod network;

use cacheness::Cache;
use cacheness_testkit::cache_suite;

use network::{object_store, postgres, redis, s3};

cache_suite!(postgres_and_filesystem, |folder, env| {
    Cache::builder().folder(folder).metadata_with("postgres", postgres(folder)).env(env)
});
cache_suite!(postgres_and_s3, |folder, env| {
    Cache::builder().metadata_with("postgres", postgres(folder)).blobs_with("s3", s3(folder)).env(env)
});
cache_suite!(postgres_and_object_store, |folder, env| {
    let blobs = object_store(folder);
    Cache::builder().metadata_with("postgres", postgres(folder)).blobs_with("object_store", blobs).env(env)
});
cache_suite!(sqlite_and_s3, |folder, env| Cache::builder()
    .folder(folder)
    .blobs_with("s3", s3(folder))
    .env(env));
cache_suite!(redis_and_s3, |folder, env| {
    Cache::builder().metadata_with("redis", redis(folder)).blobs_with("s3", s3(folder)).env(env)
});
cache_suite!(redis_and_memory, |folder, env| Cache::builder().metadata_with("redis", redis(folder)).env(env));
