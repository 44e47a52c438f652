//! Entries in an SQLite database: the backend `sqlite` in a file that many processes share, and `sqlite_memory` in
//! the memory of this process.
//!
//! The schema stands in `schema.rs`, all statements in `statements.rs`. One connection writes; what concurrent
//! callers put is grouped into one commit by whoever gets the connection (`writer.rs`). A few connections read.

mod ages;
mod backend;
mod changes;
mod config;
mod connection;
mod eviction;
mod failure;
mod garbage;
mod limits;
mod listing;
mod maintenance;
mod open;
mod ranks;
mod reader;
mod reserve;
mod salvage;
mod schema;
mod statements;
mod store;
mod sweeping;
mod totals;
mod transaction;
mod writer;

pub use config::{SqliteMemoryMetadataFactory, SqliteMetadataFactory};

#[cfg(test)]
mod tests;
