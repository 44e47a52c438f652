//! What becomes of a write where a backend fails for a reason that may pass: an error, a write that is dropped, or one
//! that is queued and made later.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::{join, join_all};

use super::counting::{Tenant, add};
use super::put::Encoded;
use super::write_queue::{QueuedPut, Write};
use super::writer::Payload;
use super::{Engine, Stored, StoredState};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::names::Namespace;
use crate::protection::check_plain;
use crate::resilience::{BackendHealth, BackendRole, Health, HealthState, LastError, UnmadeWrites};

/// What a put, a remove or a touch does where a backend fails for a reason that may pass, as a server that is not there.
///
/// `docs/failures.md` says for each operation what that means.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnWriteError {
    /// It is an error.
    #[default]
    Error,
    /// The write is given up and counted, and the program goes on. What was stored under the key before may still be
    /// served.
    Drop,
    /// The write is kept in memory and made as soon as it can be. Until then this process serves the queued value, or
    /// misses where the key was removed; other processes see what is stored. What is queued is lost with the process. A
    /// touch is not worth a place in the queue: it is given up, and the entry expires when it would have.
    Queue,
}

/// A value that is kept until it is sure that it was stored.
pub(super) struct Kept {
    entry: Box<Entry>,
    payload: KeptPayload,
    inline: Option<bool>,
}

enum KeptPayload {
    Memory(Bytes),
    /// The staged file, which stays readable when it has been moved or deleted.
    File(std::fs::File),
}

impl Kept {
    fn of(value: &Encoded) -> Result<Self> {
        let payload = match &value.written.payload {
            Payload::Memory(bytes) => KeptPayload::Memory(Bytes::copy_from_slice(bytes)),
            Payload::File(file) => KeptPayload::File(
                file.reopen().map_err(|error| Error::io(error, "the staged value cannot be opened again"))?,
            ),
        };
        Ok(Self { entry: value.entry.clone(), payload, inline: value.inline })
    }

    fn into_queued(self) -> Result<QueuedPut> {
        let len = self.entry.stored_size;
        let bytes = match self.payload {
            KeptPayload::Memory(bytes) => bytes,
            KeptPayload::File(mut file) => {
                let mut bytes = Vec::new();
                file.seek(SeekFrom::Start(0))
                    .and_then(|_| file.take(len).read_to_end(&mut bytes))
                    .map_err(|error| Error::io(error, "the staged value cannot be read again"))?;
                Bytes::from(bytes)
            }
        };
        Ok(QueuedPut::new(*self.entry, bytes, self.inline))
    }
}

impl Engine {
    /// Looks an entry up: what waits to be written first, then what is stored.
    pub(super) async fn look_up(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>> {
        match self.queued_entry(namespace, key) {
            Some(queued) => Ok(queued),
            None => {
                let found = self.metadata.get_entry(namespace, key).await.map_err(newer)?;
                if self.protection.is_some() {
                    return self.trusted(namespace, key, found).await;
                }
                found.as_ref().map_or(Ok(()), check_plain)?;
                Ok(found)
            }
        }
    }

    /// Looks several entries up, as [`look_up`](Self::look_up) does. What is wrong with one of them, its own answer says.
    pub(super) async fn look_up_all(
        &self,
        namespace: &Namespace,
        keys: &[&str],
    ) -> Result<Vec<Result<Option<Entry>>>> {
        if self.queue.is_empty() {
            return self.stored_entries(namespace, keys).await;
        }
        let queued: Vec<Option<Option<Entry>>> =
            keys.iter().map(|key| self.queued_entry(namespace, key)).collect();
        let stored: Vec<&str> =
            keys.iter().zip(&queued).filter(|(_, queued)| queued.is_none()).map(|(&key, _)| key).collect();
        let stored =
            if stored.is_empty() { Vec::new() } else { self.stored_entries(namespace, &stored).await? };
        let mut stored = stored.into_iter();
        let entries =
            queued.into_iter().map(|queued| queued.map_or_else(|| stored.next().unwrap_or(Ok(None)), Ok));
        Ok(entries.collect())
    }

    /// Looks several stored entries up. One that is damaged, or that a newer version wrote, takes none of the others with it.
    async fn stored_entries(
        &self,
        namespace: &Namespace,
        keys: &[&str],
    ) -> Result<Vec<Result<Option<Entry>>>> {
        let of_one = |error: &Error| matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported);
        let found: Vec<Result<Option<Entry>>> = match self.metadata.get_entries(namespace, keys).await {
            Ok(found) => found.into_iter().map(Ok).collect(),
            // Which it is, a look at each by itself tells.
            Err(error) if of_one(&error) => {
                let mut found = Vec::with_capacity(keys.len());
                for key in keys {
                    match self.metadata.get_entry(namespace, key).await {
                        Err(error) if !of_one(&error) => return Err(error),
                        entry => found.push(entry.map_err(newer)),
                    }
                }
                found
            }
            Err(error) => return Err(error),
        };
        let mut entries = Vec::with_capacity(keys.len());
        for (key, entry) in keys.iter().zip(found) {
            entries.push(match entry {
                Ok(entry) => self.trusted(namespace, key, entry).await,
                Err(error) => Err(error),
            });
        }
        Ok(entries)
    }

    /// Keeps copies of values that may have to be queued.
    pub(super) fn keep(&self, values: &[Encoded]) -> Result<Vec<Kept>> {
        match self.settings.on_write_error {
            OnWriteError::Queue => values.iter().map(Kept::of).collect(),
            OnWriteError::Error | OnWriteError::Drop => Ok(Vec::new()),
        }
    }

    /// The write that waits of a key, if one does, as an answer to a lookup.
    pub(super) fn queued_entry(&self, namespace: &Namespace, key: &str) -> Option<Option<Entry>> {
        match self.queue.get(namespace, key)? {
            Write::Put(put) => Some(Some(put.entry.clone())),
            Write::Remove => Some(None),
        }
    }

    /// Decides what becomes of puts that failed with `error`. It has been counted.
    pub(super) async fn settle_puts(
        &self,
        tenant: &Tenant,
        kept: Vec<Kept>,
        puts: Vec<Stored>,
        error: Error,
    ) -> Result<Vec<Stored>> {
        let keys: Vec<Key> = puts.iter().map(|put| put.key.clone()).collect();
        let state = match self.settings.on_write_error {
            _ if !error.is_temporary() => return Err(error),
            OnWriteError::Error => return Err(error),
            OnWriteError::Drop => {
                keys.iter().for_each(|key| self.dropped(&tenant.namespace, key.as_str(), &error));
                StoredState::Dropped
            }
            OnWriteError::Queue => {
                let size = kept.iter().fold(0_u64, |sum, kept| sum.saturating_add(kept.entry.stored_size));
                if size > self.queue.most() {
                    return Err(self.queue_full(&error));
                }
                let queued = self.env.unblock(move || {
                    let writes = kept.into_iter().map(|kept| {
                        let put = kept.into_queued()?;
                        Ok((put.entry.key.as_str().to_owned(), Write::Put(Arc::new(put))))
                    });
                    writes.collect::<Result<Vec<_>>>()
                });
                self.enqueue(tenant, queued.await?, &error)?;
                StoredState::Queued
            }
        };
        Ok(puts.into_iter().map(|put| Stored { state, ..put }).collect())
    }

    /// Decides what becomes of a removal that failed with `error`. It has been counted. How many entries there were
    /// nobody knows: of a removal that is queued, each key counts that is not queued to be removed already.
    pub(super) fn settle_removals(&self, tenant: &Tenant, keys: &[&str], error: Error) -> Result<u64> {
        match self.settings.on_write_error {
            _ if !error.is_temporary() => Err(error),
            OnWriteError::Error => Err(error),
            OnWriteError::Drop => {
                keys.iter().for_each(|key| self.dropped(&tenant.namespace, key, &error));
                Ok(0)
            }
            OnWriteError::Queue => self.queue_removals(tenant, keys, &error),
        }
    }

    pub(super) fn queue_removals(&self, tenant: &Tenant, keys: &[&str], error: &Error) -> Result<u64> {
        let is_new = |key: &&&str| !matches!(self.queue.get(&tenant.namespace, key), Some(Write::Remove));
        let new = keys.iter().filter(is_new).count() as u64;
        let writes = keys.iter().map(|&key| (key.to_owned(), Write::Remove)).collect();
        self.enqueue(tenant, writes, error)?;
        Ok(new)
    }

    /// Decides what becomes of a touch that failed with `error`. It has been counted.
    pub(super) fn settle_touch(&self, tenant: &Tenant, key: &str, error: Error) -> Result<bool> {
        match self.settings.on_write_error {
            _ if !error.is_temporary() => Err(error),
            OnWriteError::Error => Err(error),
            OnWriteError::Drop | OnWriteError::Queue => {
                self.dropped(&tenant.namespace, key, &error);
                Ok(false)
            }
        }
    }

    fn enqueue(&self, tenant: &Tenant, writes: Vec<(String, Write)>, error: &Error) -> Result<()> {
        let keys: Vec<String> = writes.iter().map(|(key, _)| key.clone()).collect();
        let not_before = self.in_doubt_until(error);
        if !self.queue.add(&tenant.namespace, writes, not_before, || self.closed.load(Ordering::Acquire)) {
            self.check_open()?;
            return Err(self.queue_full(error));
        }
        keys.iter().for_each(|key| self.queued(&tenant.namespace, key, error));
        self.flusher.mark();
        Ok(())
    }

    fn queue_full(&self, error: &Error) -> Error {
        let (writes, bytes) = self.queue.size();
        let message = format!(
            "a backend fails, and the write does not fit into the queue: {writes} writes wait with {bytes} bytes, the most \
             is {}; raise `write_queue`, or wait until the backend answers",
            self.queue.most()
        );
        Error::new(error.kind(), message)
            .with_temporary(true)
            .with_outcome_unknown(error.is_outcome_unknown())
            .with_source(error.clone())
    }

    pub(super) fn has_queued_writes(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn lost(&self, namespace: &Namespace, key: &str, error: &Error) {
        add(&self.writes_lost, 1);
        let told = error.without_key();
        tracing::warn!(target: super::TARGET, %namespace, error = %told, "a queued write is lost");
        self.told_dropped(namespace, key, error);
    }

    /// Counts and tells of a value that could not be encoded and is dropped.
    pub(super) fn not_encoded(&self, namespace: &Namespace, key: &str, error: &Error) {
        add(&self.writes_dropped, 1);
        let told = error.without_key();
        tracing::warn!(target: super::TARGET, %namespace, error = %told, "a value cannot be encoded and is not stored");
        self.told_dropped(namespace, key, error);
    }

    fn dropped(&self, namespace: &Namespace, key: &str, error: &Error) {
        add(&self.writes_dropped, 1);
        let told = error.without_key();
        tracing::debug!(target: super::TARGET, %namespace, key, error = %told, "a write is dropped");
        self.told_dropped(namespace, key, error);
    }

    /// How the backends fare, and what became of writes.
    pub(crate) async fn health(&self) -> Result<Health> {
        self.check_open()?;
        let health_of = |role| async move {
            match self.guards.with_role(role) {
                guards if guards.is_empty() => vec![self.health_of_local(role).await],
                guards => join_all(guards.iter().map(|guard| guard.health())).await,
            }
        };
        let (metadata, blobs) = join(health_of(BackendRole::Metadata), health_of(BackendRole::Blobs)).await;
        let backends = metadata.into_iter().chain(blobs).collect();
        let (queued, queued_bytes) = self.queue.size();
        let writes = UnmadeWrites {
            queued,
            queued_bytes,
            dropped: self.writes_dropped.load(Ordering::Relaxed),
            lost: self.writes_lost.load(Ordering::Relaxed),
        };
        Ok(Health::new(backends, writes))
    }

    /// A backend in this process or on its disks is not watched: it works, unless it says now that it does not.
    async fn health_of_local(&self, role: BackendRole) -> BackendHealth {
        let (backend, pinged) = match role {
            BackendRole::Metadata => (&self.metadata_name, self.metadata.ping().await),
            BackendRole::Blobs => (&self.blob_name, self.blobs.ping().await),
        };
        let now = self.env.now();
        let (state, since) = match pinged {
            Ok(()) => (HealthState::Ok, self.opened_at),
            Err(_) => (HealthState::Down, now),
        };
        let last_error = pinged.err().map(|error| LastError::new(now, &error));
        BackendHealth { role, backend: backend.clone(), state, since, last_error, last_answer: None }
    }
}

/// What a newer version wrote is to this one what bytes are that do not decode: the program has changed since.
fn newer(error: Error) -> Error {
    if error.kind() == ErrorKind::Unsupported {
        return Error::new(ErrorKind::Decode, "the entry cannot be read by this version").with_source(error);
    }
    error
}

/// A put that has not been made, for now.
pub(super) fn not_stored(value: &Encoded) -> Stored {
    Stored {
        key: value.entry.key.clone(),
        version: None,
        size: value.entry.size,
        stored_size: value.entry.stored_size,
        evicted: 0,
        state: StoredState::Stored,
    }
}

/// Why a write is queued without being tried.
pub(super) fn earlier_write_waits() -> Error {
    let message = "an earlier write of the same key waits in the queue, and a later one does not overtake it";
    Error::new(ErrorKind::Unavailable, message).with_outcome_unknown(false)
}
