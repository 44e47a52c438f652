//! What Cacheness is measured against. Each yardstick is a file of its own, and a workload picks the ones it needs.

mod raw_sqlite;

pub(crate) use raw_sqlite::{Map, RawSqlite};
