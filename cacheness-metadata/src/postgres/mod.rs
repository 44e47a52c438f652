//! Entries in a PostgreSQL database that many machines share: the backend `postgres`.
//!
//! The tables stand in `sql/tables.sql`; what changes entries are functions in the database (`sql/`), so that each call is
//! one round trip and one transaction, with its limits, evictions, garbage and totals. A few connections are shared by
//! all calls, which do not wait for each other's answers (`pool.rs`).

mod backend;
mod batch;
mod changes;
mod config;
mod connection;
mod deadline;
mod eviction;
mod failure;
mod feed;
mod hosts;
mod leases;
mod listing;
mod pool;
mod ranking;
mod reading;
mod rules;
mod schema;
mod statements;
mod store;
mod sweeping;
mod tls;
mod url;
mod uses;

pub use config::PostgresMetadataFactory;
