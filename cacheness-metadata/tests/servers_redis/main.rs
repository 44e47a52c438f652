//! The behaviour suite on Redis, random changes, and what becomes of entries when the server fails.
//!
//! `scripts/test` starts the servers. By hand: `eval "$(scripts/services up redis)"` before, `scripts/services down`
//! after. Where a test stops its server, or sets it up otherwise, it starts one of its own.
#![cfg(feature = "redis")]

mod faults;
mod feeds;
mod late;
mod newer;
mod opening;
// It is for tests of whole caches, which do more to a connection.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../tests/network/proxy.rs"]
mod proxy;
#[path = "../random_changes/mod.rs"]
mod random_changes;
mod server;
mod writing;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cacheness_core::{
    CacheId, Change, ChangeFeed, Changed, Condition, ConfigOptions, Env, ErrorKind, Expiry, GARBAGE_DELAY,
    LeaseHolder, Limits, ListQuery, MetadataBackend, MetadataFactory, Namespace, OpenContext, OpenMode,
    Result, Stats, Version,
};
use cacheness_metadata::redis::RedisMetadataFactory;
use cacheness_testkit::metadata::{MetadataSubject, Store};
use redis::aio::MultiplexedConnection;
use server::{OwnServer, client, run, server};

// shows: rows 47, 51, 68
cacheness_testkit::metadata_suite!(on_redis, RedisMetadataFactory::new(), fresh());

/// Options for a cache of its own on the server that all tests share.
fn fresh() -> ConfigOptions {
    ConfigOptions::new().with("url", server()).with("prefix", format!("test-{}", CacheId::random()))
}

fn subject(options: ConfigOptions) -> MetadataSubject {
    MetadataSubject::new(RedisMetadataFactory::new(), options)
}

async fn open(options: &ConfigOptions, mode: OpenMode) -> Result<Arc<dyn MetadataBackend>> {
    let context = OpenContext::new(Env::new()).with_mode(mode);
    RedisMetadataFactory::new().open(options, &context).await
}

async fn refused(options: &ConfigOptions) -> cacheness_core::Error {
    let Err(error) = open(options, OpenMode::Create).await else { panic!("it was opened") };
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    error
}

fn name(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

/// Compares the indexes of a cache with its entries, and the totals with both.
async fn check_indexes(own: &OwnServer, context: &str) {
    const CHECK: &str = include_str!("check.lua");
    let mut connection = client(&own.url()).await;
    let head = "{cacheness}:h";
    let wrong: Vec<String> =
        redis::cmd("EVAL").arg(CHECK).arg(1).arg(head).query_async(&mut connection).await.unwrap();
    assert!(wrong.is_empty(), "{context}: {wrong:?}");
}

async fn wait(millis: u64) {
    Env::new().sleep(Duration::from_millis(millis)).await;
}

async fn subscribe(backend: &dyn MetadataBackend) -> Box<dyn ChangeFeed> {
    backend.changes().unwrap().subscribe().await.unwrap()
}
