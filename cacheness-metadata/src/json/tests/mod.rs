//! Tests of what only the JSON backend does. What every backend must do is in the test kit's suite.

mod damage;
mod format;
mod processes;
mod replacing;
mod waiting;

use std::path::Path;

use bytes::Bytes;
use cacheness_core::{
    ConfigOptions, Env, Error, MetadataBackend, MetadataFactory, OpenContext, OpenMode, Result,
};
use cacheness_testkit::metadata::MetadataSubject;

use super::JsonMetadataFactory;
use super::config::Settings;
use super::store::Store;
use crate::kv::WriteBatch;

/// Entries, a folder and a clock.
fn subject() -> MetadataSubject {
    MetadataSubject::new(JsonMetadataFactory::new(), ConfigOptions::new())
}

fn context(folder: &Path) -> OpenContext {
    OpenContext::new(Env::new()).with_folder(folder)
}

/// Opens the rows beneath a backend.
fn open_rows(folder: &Path) -> Result<Store> {
    Store::open(
        folder.join("index.json"),
        &Settings { busy_timeout: std::time::Duration::from_secs(30) },
        &context(folder),
    )
}

async fn open_in(folder: &Path, mode: OpenMode) -> Result<std::sync::Arc<dyn MetadataBackend>> {
    JsonMetadataFactory::new().open(&ConfigOptions::new(), &context(folder).with_mode(mode)).await
}

async fn error_of_open(folder: &Path, mode: OpenMode) -> Error {
    match open_in(folder, mode).await {
        Ok(_) => panic!("opening must be an error"),
        Err(error) => error,
    }
}

/// One row that is stored, whatever there was.
fn setting(key: &str, value: &str) -> WriteBatch {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    WriteBatch { conditions: Vec::new(), changes: vec![(key, Some(value))] }
}

/// The value of a row, as a call of the store finds it.
fn value(store: &Store, key: &str) -> Option<String> {
    if store.read_current(|_| ()).unwrap().is_none() {
        store.catch_up().unwrap();
    }
    let value = store.read_known(|rows| rows.get(key.as_bytes()).cloned()).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn names_in(folder: &Path) -> Vec<String> {
    let files = fs_err::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
