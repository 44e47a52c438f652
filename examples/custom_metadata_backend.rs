//! A metadata backend of your own, over an embedded store: entries in a [redb](https://www.redb.org) file.
//!
//! `cargo run --example custom_metadata_backend`
//!
//! `KvMetadata` makes the backend out of an ordered key-value store, which is five methods. redb locks its file, so one
//! process has it open at a time; within that process, all who open it share it.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

// shows: row 53

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::metadata::kv::{KvMetadata, KvStore, WriteBatch};
use cacheness::*;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

struct RedbStore {
    database: Arc<Database>,
    env: Env,
}

impl RedbStore {
    async fn open(path: PathBuf, mode: OpenMode, env: Env) -> Result<Self> {
        let database = env.unblock(move || shared(&path, mode)).await?;
        Ok(Self { database, env })
    }
}

#[async_trait]
impl KvStore for RedbStore {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::persistent()
    }

    /// A lookup takes microseconds, less than the way to the pool for blocking work and back.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let rows = self.database.begin_read().map_err(failed)?.open_table(ROWS).map_err(failed)?;
        let value = rows.get(key).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        let database = self.database.clone();
        let scan = move || {
            let rows = database.begin_read().map_err(failed)?.open_table(ROWS).map_err(failed)?;
            let found = rows.range(&*range.start..&*range.end).map_err(failed)?;
            let copied = found.take(limit).map(|row| {
                let (key, value) = row.map_err(failed)?;
                Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
            });
            copied.collect()
        };
        self.env.unblock(scan).await
    }

    /// One transaction: conditions and changes, on disk when it returns.
    async fn write(&self, batch: WriteBatch) -> Result<bool> {
        let database = self.database.clone();
        let write = move || {
            let transaction = database.begin_write().map_err(failed)?;
            {
                let mut rows = transaction.open_table(ROWS).map_err(failed)?;
                for (key, expected) in &batch.conditions {
                    let found = rows.get(&**key).map_err(failed)?;
                    if found.as_ref().map(|value| value.value()) != expected.as_deref() {
                        return Ok(false);
                    }
                }
                for (key, value) in &batch.changes {
                    match value {
                        Some(value) => rows.insert(&**key, &**value).map(drop).map_err(failed)?,
                        None => rows.remove(&**key).map(drop).map_err(failed)?,
                    }
                }
            }
            transaction.commit().map_err(failed)?;
            Ok(true)
        };
        self.env.unblock(write).await
    }

    /// The file is closed when the last who shares it is dropped.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// The database of this file, which is opened once for all of this process. One that another process is about to
/// close is waited for.
fn shared(path: &Path, mode: OpenMode) -> Result<Arc<Database>> {
    static OPEN: Mutex<BTreeMap<PathBuf, Weak<Database>>> = Mutex::new(BTreeMap::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(database) = open.get(path).and_then(Weak::upgrade) {
        return Ok(database);
    }
    if mode == OpenMode::Existing && !path.is_file() {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no index {}", path.display())));
    }
    let mut attempts = 0;
    let database = loop {
        // Whatever the file holds, opening it must not panic.
        match Database::builder().set_check_integrity_on_open(true).create(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) if attempts < 100 => attempts += 1,
            opened => break Arc::new(opened.map_err(failed)?),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    // Readers expect the table to be there.
    let transaction = database.begin_write().map_err(failed)?;
    transaction.open_table(ROWS).map(drop).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    open.insert(path.to_owned(), Arc::downgrade(&database));
    Ok(database)
}

fn failed(error: impl Into<redb::Error>) -> Error {
    let error = error.into();
    let kind = match &error {
        redb::Error::Corrupted(_) => ErrorKind::Corrupted,
        redb::Error::DatabaseAlreadyOpen => ErrorKind::Unavailable,
        redb::Error::Io(_) => ErrorKind::Io,
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, "the redb index failed").with_source(error)
}

struct RedbFactory;

#[async_trait]
impl MetadataFactory for RedbFactory {
    fn name(&self) -> &str {
        "redb"
    }

    fn description(&self) -> &str {
        "Entries in a redb file, which one process has open at a time."
    }

    fn options(&self) -> &[OptionSpec] {
        const { &[OptionSpec::new("path", OptionKind::Path, Some("index.redb"), "The index's file.").in_folder()] }
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let path = context.path("redb", options.path("path"), "index.redb")?;
        let store = RedbStore::open(path, context.mode, context.env.clone()).await?;
        Ok(Arc::new(KvMetadata::open(store, context).await?))
    }

    fn needs_runtime(&self) -> bool {
        false
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let registry = Registry::builtin().with_metadata_backend(RedbFactory)?;
    for run in 1..=2 {
        let cache =
            CacheBuilder::new(registry.clone()).folder(folder.path()).metadata("redb").open_blocking()?;
        let runs = cache.get("runs")?.unwrap_or(0) + 1;
        cache.put("runs", &runs)?;
        println!("opened {run} times, counted {runs}; {} entries in `redb`", cache.stats()?.entries);
        cache.close()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // shows: rows 47, 51, 68
    cacheness_testkit::metadata_suite!(redb_index, RedbFactory, ConfigOptions::new());
}
