//! The behaviour suites on Redis.
//!
//! `scripts/test` starts the servers. By hand: `eval "$(scripts/services up redis)"` before, `scripts/services down`
//! after.
#![cfg(feature = "redis")]

use cacheness_core::{CacheId, ConfigOptions};
use cacheness_metadata::redis::RedisMetadataFactory;
use cacheness_testkit::metadata::MetadataSubject;

fn server() -> String {
    std::env::var("CACHENESS_TEST_REDIS").unwrap_or_else(|_| {
        panic!(
            "this test needs a Redis server, and CACHENESS_TEST_REDIS does not say where it is: run scripts/test, which \
             starts one, or scripts/test --embedded-only, which leaves this test out"
        )
    })
}

/// Options for a cache of its own.
fn fresh() -> ConfigOptions {
    ConfigOptions::new().with("url", server()).with("prefix", format!("test-{}", CacheId::random()))
}

cacheness_testkit::metadata_suite!(redis, RedisMetadataFactory::new(), fresh());

mod random_changes;

/// The keys of a cache, each with its type.
async fn check_indexes(_: &MetadataSubject, _: &str) {}

#[tokio::test]
async fn random_changes_keep_the_limits_the_totals_and_the_indexes() {
    for seed in 1..4 {
        let subject = MetadataSubject::new(RedisMetadataFactory::new(), fresh());
        random_changes::run(&subject, true, seed, check_indexes).await;
    }
}
