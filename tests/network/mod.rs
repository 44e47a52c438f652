//! Where the servers are, and how a test uses them: each in a place of its own, so that all can run at once.
#![allow(dead_code, unreachable_pub, reason = "each test binary needs other parts of this")]

pub mod hosts;
pub mod proxy;
pub mod rig;
pub mod services;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::Path;

use cacheness::ConfigOptions;

/// Where a server is. `scripts/test` starts the servers and says so in variables.
pub fn server(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "this test needs a server, and {name} does not say where it is: run scripts/test, which starts one, or \
             scripts/test --embedded-only, which leaves this test out"
        )
    })
}

/// A name of a test's own, the same for all caches that it opens in one folder.
pub fn place(folder: &Path) -> String {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((folder, std::process::id()));
    format!("t{hash:016x}")
}

pub fn postgres(folder: &Path) -> ConfigOptions {
    ConfigOptions::new().with("url", server("TEST_POSTGRES")).with("schema", place(folder))
}

pub fn redis(folder: &Path) -> ConfigOptions {
    ConfigOptions::new().with("url", server("TEST_REDIS")).with("prefix", place(folder))
}

/// A prefix in the bucket of the server that runs beside the tests.
pub fn s3(folder: &Path) -> ConfigOptions {
    s3_at(&server("TEST_S3"), &place(folder))
}

/// The same by the backend `object_store`.
pub fn object_store(folder: &Path) -> ConfigOptions {
    let options = [
        ("aws_endpoint", server("TEST_S3")),
        ("aws_allow_http", "true".into()),
        ("aws_region", "us-east-1".into()),
        ("aws_access_key_id", server("TEST_S3_ACCESS_KEY")),
        ("aws_secret_access_key", server("TEST_S3_SECRET_KEY")),
    ];
    let options: Vec<String> = options.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let url = format!("s3://{}/{}", server("TEST_S3_BUCKET"), place(folder));
    ConfigOptions::new().with("url", url).with("options", options.join("\n"))
}

pub fn s3_at(endpoint: &str, prefix: &str) -> ConfigOptions {
    ConfigOptions::new()
        .with("bucket", server("TEST_S3_BUCKET"))
        .with("prefix", prefix)
        .with("endpoint", endpoint)
        .with("region", "us-east-1")
        .with("access_key_id", server("TEST_S3_ACCESS_KEY"))
        .with("secret_access_key", server("TEST_S3_SECRET_KEY"))
}
