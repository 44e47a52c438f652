//! What is particular to the backend over a key-value store: several writers on one store, victims, damage, and the
//! rows that stay behind.

mod eviction;
mod sharing;
mod storage;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cacheness_core::{
    BlobId, Change, Condition, Entry, Env, Format, Key, Location, MetadataBackend, Namespace, OpenContext,
    Outcome, Timestamp, TypeClass,
};

use super::{KvMetadata, KvStore};
use crate::memory::MemoryStore;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(0) + Duration::from_secs(seconds as u64)
}

fn entry_in(namespace: &str, key: &str, now: Timestamp, location: Location) -> Entry {
    let format = Format::named("sample", TypeClass::Native);
    let (namespace, key) = (Namespace::new(namespace).unwrap(), Key::new(key).unwrap());
    let in_blob = matches!(location, Location::Blob(_));
    let mut entry = Entry::new(namespace, key, format, location, now);
    if in_blob {
        (entry.size, entry.stored_size) = (10, 10);
    }
    entry
}

/// An entry of 10 bytes in a blob.
fn entry(key: &str, now: Timestamp) -> Entry {
    entry_in("default", key, now, Location::Blob(BlobId::new(now)))
}

fn putting(entry: Entry) -> Change {
    Change::Put { now: entry.created_at, entry: Box::new(entry), condition: Condition::Always }
}

async fn put(store: &KvMetadata, entry: Entry) -> Outcome {
    store.apply(vec![putting(entry)]).await.unwrap().remove(0)
}

async fn has(store: &KvMetadata, key: &str) -> bool {
    store.get_entry(&Namespace::default(), key).await.unwrap().is_some()
}

fn context() -> OpenContext {
    OpenContext::new(Env::new())
}

async fn open() -> (KvMetadata, Arc<MemoryStore>) {
    let rows = Arc::new(MemoryStore::default());
    (KvMetadata::open(rows.clone(), &context()).await.unwrap(), rows)
}

/// The rows of one kind.
async fn rows_of(store: &MemoryStore, kind: u8) -> Vec<(Bytes, Bytes)> {
    store.scan(super::layout::all(kind), usize::MAX).await.unwrap()
}
