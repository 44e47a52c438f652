//! Caches over Redis keep every promise of a cache, through both faces.
//!
//! `scripts/test` starts the server. By hand: `eval "$(scripts/services up redis)"` before, `scripts/services down` after.

// shows: rows 91, 95

use std::path::Path;

use cacheness::{Cache, CacheBuilder, ConfigOptions, Env};
use cacheness_testkit::cache_suite;

/// The entries of the cache in this folder.
fn in_redis(folder: &Path) -> CacheBuilder {
    let server = std::env::var("CACHENESS_TEST_REDIS").unwrap_or_else(|_| {
        panic!(
            "this test needs a Redis server, and CACHENESS_TEST_REDIS does not say where it is: run scripts/test, which \
             starts one, or scripts/test --embedded-only, which leaves this test out"
        )
    });
    let options = ConfigOptions::new().with("url", server).with("prefix", folder.to_string_lossy().into_owned());
    Cache::builder().folder(folder).metadata_with("redis", options)
}

cache_suite!(redis_and_filesystem, |folder: &Path, env: Env| in_redis(folder).env(env));
cache_suite!(redis_and_memory, |folder: &Path, env: Env| in_redis(folder).blobs("memory").env(env));
