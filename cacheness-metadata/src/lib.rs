//! Metadata backends of the Cacheness cache: where the entries lie, the records about values.
//!
//! | name | feature | where |
//! |---|---|---|
//! | `memory` | always there | this process |
//! | `sqlite`, `sqlite_memory` | `sqlite` | an SQLite database |
//! | `redis` | `redis` | Redis or Valkey, shared by many machines |
//! | `json` | `json` | JSON files that one can read, for development and small caches |
//! | `postgres`, `postgresql` | `postgres` | a PostgreSQL database that many machines share |
//!
//! Applications depend on the crate `cacheness`, which registers these. For a backend of your own over an ordered
//! key-value store, see [`kv`].

#[cfg(any(feature = "json", feature = "sqlite"))]
mod aside;
#[cfg(feature = "json")]
pub mod json;
pub mod kv;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod trust;
#[cfg(any(feature = "json", feature = "sqlite"))]
mod users;
