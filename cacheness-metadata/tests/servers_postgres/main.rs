//! The metadata backend on PostgreSQL servers: the behaviour suite, and what is its own.
//!
//! `scripts/test` starts the server. By hand: `eval "$(scripts/services up postgres)"` before, `scripts/services down`
//! after.
#![cfg(feature = "postgres")]

mod batches;
mod faults;
mod late;
mod limits;
mod locks;
mod newer;
mod opening;
mod proxy;
#[path = "../random_changes/mod.rs"]
mod random_changes;
mod repeats;
mod server;
mod tls;
mod trips;

use cacheness_metadata::postgres::PostgresMetadataFactory;

// shows: row 54
cacheness_testkit::metadata_suite!(postgres, PostgresMetadataFactory::new(), server::fresh());
