//! The behaviour suite on PostgreSQL.
//!
//! `scripts/test` starts the server. By hand: `eval "$(scripts/services up postgres)"` before, `scripts/services down`
//! after.
#![cfg(feature = "postgres")]

use cacheness_core::{CacheId, ConfigOptions};
use cacheness_metadata::postgres::PostgresMetadataFactory;

fn url() -> String {
    const NAME: &str = "TEST_POSTGRES";
    std::env::var(NAME).unwrap_or_else(|_| {
        panic!(
            "this test needs a server, and {NAME} does not say where it is: run scripts/test, which starts one, or \
             scripts/test --embedded-only, which leaves this test out"
        )
    })
}

/// A cache that no other test has.
fn fresh() -> ConfigOptions {
    ConfigOptions::new().with("url", url()).with("schema", format!("test_{}", CacheId::random()))
}

// shows: row 59
cacheness_testkit::metadata_suite!(postgres, PostgresMetadataFactory::new(), fresh());
