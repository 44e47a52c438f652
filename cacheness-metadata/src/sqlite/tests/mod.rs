//! Tests of what only the SQLite backends do. What every backend must do is in the test kit's suite.

mod damage;
mod grouping;
mod limits;
mod opening;
mod order;
mod reading;
mod totals;

use std::path::Path;
use std::sync::Arc;

use cacheness_core::{
    Change, ConfigOptions, Durability, Env, Error, MetadataFactory, OpenContext, OpenMode, Result,
};
use cacheness_testkit::metadata::{MetadataSubject, Store};
use rusqlite::Connection;

use super::SqliteMetadataFactory;
use super::config::Settings;

/// Entries, a folder and a clock.
fn subject() -> MetadataSubject {
    MetadataSubject::new(SqliteMetadataFactory::new(), ConfigOptions::new())
}

fn context(folder: &Path) -> OpenContext {
    OpenContext::new(Env::new()).with_folder(folder)
}

/// Opens the store beneath a backend, on the calling thread.
fn open_store(folder: &Path) -> Result<super::store::Store> {
    let settings = Settings { readers: 2, busy_timeout_ms: 30_000, cache_size_kib: 1024, reserve: 1 << 20 };
    super::open::file(&folder.join("index.sqlite"), &settings, &context(folder))
}

async fn open_in(folder: &Path, mode: OpenMode) -> Result<Store> {
    let context = context(folder).with_mode(mode).with_durability(Durability::Process);
    Ok(Store::new(SqliteMetadataFactory::new().open(&ConfigOptions::new(), &context).await?))
}

async fn error_of_open(folder: &Path, mode: OpenMode) -> Error {
    match open_in(folder, mode).await {
        Ok(_) => panic!("opening must be an error"),
        Err(error) => error,
    }
}

/// A connection of a stranger to the index in a folder.
fn stranger(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("index.sqlite")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

fn put(subject: &MetadataSubject, key: &str) -> Vec<Change> {
    vec![subject.putting(subject.entry("default", key))]
}

fn shared(store: super::store::Store) -> Arc<super::store::Store> {
    Arc::new(store)
}
