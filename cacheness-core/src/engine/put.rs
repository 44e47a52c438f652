//! Storing a value: encode, write the blob, then put the entry. The entry is the commit point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::{StreamExt, iter};
use tracing::Instrument;

use super::counting::Tenant;
use super::degraded::{OnWriteError, earlier_write_waits, not_stored};
use super::observe::{Made, PutSpan, fail};
use super::queued::{Committed, Turn};
use super::stored::{Stored, StoredState};
use super::sweep::swept_by_now;
use super::writer::{ValueWriter, Written};
use super::{Engine, raw::RawEntry};
use crate::entry::{DEFAULT_PRIORITY, Entry, Format, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::Access;
use crate::key::Key;
use crate::metadata::{Change, Condition};
use crate::names::{BlobId, Version};
use crate::options::{PutOptions, Source, TtlOption};
use crate::stage::Compression;
use crate::trailer;
use crate::validity::FileSource;
use crate::value::ValueRef;

/// A put whose options have been checked, and whose source files have been captured.
pub(super) struct Begun {
    pub(super) key: Key,
    pub(super) options: PutOptions,
    sources: Vec<FileSource>,
}

/// A value that has been encoded, and the entry that it will have.
pub(super) struct Encoded {
    pub(super) entry: Box<Entry>,
    pub(super) written: Written,
    /// Whether it must lie with its entry, or must not.
    pub(super) inline: Option<bool>,
}

/// A put whose value has been encoded but is not stored yet, or could not be encoded and is dropped.
pub(crate) struct Prepared {
    encoded: std::result::Result<Encoded, Stored>,
    observed: PutSpan,
}

impl Engine {
    /// Encodes a value on the calling thread.
    pub(crate) fn prepare(
        &self,
        tenant: &Tenant,
        key: &str,
        value: &ValueRef<'_>,
        options: PutOptions,
    ) -> Result<Prepared> {
        let observed = PutSpan::begin(tenant, key);
        let encoded = observed.span.in_scope(|| self.encode(tenant, key, value, options));
        self.prepared(tenant, key, "put", encoded, observed)
    }

    /// Counts what failed before anything was stored, and tells of it.
    pub(super) fn prepared(
        &self,
        tenant: &Tenant,
        key: &str,
        operation: &'static str,
        encoded: Result<Encoded>,
        observed: PutSpan,
    ) -> Result<Prepared> {
        let encoded = encoded.map_err(|error| error.with_operation(operation));
        match self.count_error(tenant, encoded) {
            Ok(encoded) => Ok(Prepared { encoded: Ok(encoded), observed }),
            Err(error) if self.drops(&error) => {
                let key = Key::new(&*self.stored_key(tenant, key)?)?;
                // Listeners are told what stands in its place where keys are hashed.
                let error = error.with_context("key", key.as_str());
                self.not_encoded(&tenant.namespace, key.as_str(), &error);
                observed.span.record("outcome", StoredState::Dropped.name());
                let state = StoredState::Dropped;
                let dropped = Stored { key, version: None, size: 0, stored_size: 0, evicted: 0, state };
                Ok(Prepared { encoded: Err(dropped), observed })
            }
            Err(error) => {
                let error = error.with_context("key", key);
                fail(&observed.span, operation, &error);
                Err(error)
            }
        }
    }

    /// Checks what a put was given, and captures its source files before the value is looked at: a file that changes
    /// meanwhile makes the entry invalid.
    pub(super) fn begin(&self, tenant: &Tenant, key: &str, mut options: PutOptions) -> Result<Begun> {
        self.check_open()?;
        let key = Key::new(&*self.stored_key(tenant, key)?)?;
        options.check()?;
        let sources = std::mem::take(&mut options.sources).into_iter().map(|source| match source {
            Source::Captured(source) => Ok(source),
            Source::Path(path, check) => FileSource::capture_by(path, check),
        });
        let sources = sources.collect::<Result<_>>()?;
        Ok(Begun { key, options, sources })
    }

    pub(super) fn writer(&self, compression: Compression) -> Result<ValueWriter<'_>> {
        let sealer = self.sealer()?;
        Ok(ValueWriter::new(self.blobs.staging_dir(), compression, self.checksum_kind(), sealer))
    }

    /// Makes the entry of a value that has been written.
    pub(super) fn assemble(
        &self,
        tenant: &Tenant,
        begun: Begun,
        mut format: Format,
        mut written: Written,
    ) -> Result<Encoded> {
        let Begun { key, options, sources } = begun;
        let now = self.env.now();
        format.type_tag = options.type_tag;
        format.type_version = options.type_version;
        format.stages = std::mem::take(&mut written.stages);
        if !format.stages.is_empty() {
            format.access = Access::Whole;
        }
        if written.cipher.is_some() {
            // A map would show what is encrypted.
            format.access = format.access.min(Access::Range);
        }
        let mut tags = options.tags;
        tags.sort_unstable();
        tags.dedup();
        // Where the value will lie is known when it is written.
        let location = Location::InlineOmitted;
        let mut entry = Box::new(Entry::new(tenant.namespace.clone(), key, format, location, now));
        entry.size = written.size;
        entry.stored_size = written.stored_size;
        entry.checksums = std::mem::take(&mut written.checksums);
        entry.cipher = written.cipher.take();
        entry.validity.start_ttl(self.ttl(tenant, options.ttl), now);
        entry.validity.sources = sources;
        entry.tags = tags;
        entry.priority = options.priority.unwrap_or(DEFAULT_PRIORITY);
        entry.description = options.description;
        entry.custom = options.custom;
        Ok(Encoded { entry, written, inline: options.inline })
    }

    fn ttl(&self, tenant: &Tenant, asked: TtlOption) -> Option<Duration> {
        match asked {
            TtlOption::Never => None,
            TtlOption::After(ttl) => Some(ttl),
            TtlOption::Inherit => {
                self.settings.namespace_ttls.get(&tenant.namespace).copied().unwrap_or(self.settings.ttl)
            }
        }
    }

    /// Stores a value that has been encoded.
    pub(crate) async fn store(&self, tenant: &Tenant, prepared: Prepared) -> Result<Stored> {
        self.check_open()?;
        let key = match &prepared.encoded {
            Ok(encoded) => encoded.entry.key.clone(),
            Err(dropped) => return Ok(dropped.clone()),
        };
        let span = prepared.observed.span.clone();
        let stored = self.store_all(tenant, vec![prepared]).instrument(span.clone()).await;
        let mut stored = stored.inspect_err(|error| fail(&span, "put", error))?;
        // One value goes in, so one outcome comes out.
        stored.pop().ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "the metadata backend gave no outcome")
                .with_context("key", key.as_str())
        })
    }

    /// Stores several values in one transaction: all of them, or none.
    pub(crate) async fn store_all(&self, tenant: &Tenant, values: Vec<Prepared>) -> Result<Vec<Stored>> {
        let mut spans = Vec::with_capacity(values.len());
        let mut encoded = Vec::with_capacity(values.len());
        let mut dropped = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            match value.encoded {
                Ok(value_encoded) => {
                    spans.push(value.observed);
                    encoded.push(value_encoded);
                }
                Err(stored) => dropped.push((at, stored)),
            }
        }
        let mut stored = self.store_encoded(tenant, encoded, spans).await?;
        // From the first to the last, so that each finds its place.
        dropped.into_iter().for_each(|(at, put)| stored.insert(at.min(stored.len()), put));
        Ok(stored)
    }

    async fn store_encoded(
        &self,
        tenant: &Tenant,
        encoded: Vec<Encoded>,
        spans: Vec<PutSpan>,
    ) -> Result<Vec<Stored>> {
        self.check_open()?;
        if encoded.is_empty() {
            return Ok(Vec::new());
        }
        let first = encoded.first().map(|value| value.entry.key.clone());
        let key = first.as_ref().map(Key::as_str);
        let turn = self.turn_of(tenant, encoded.iter().map(|value| value.entry.key.as_str()));
        let kept = self.count_error(tenant, self.keep(&encoded))?;
        let unmade: Vec<Stored> = match self.settings.on_write_error {
            OnWriteError::Error => Vec::new(),
            OnWriteError::Drop | OnWriteError::Queue => encoded.iter().map(not_stored).collect(),
        };
        let committed = match turn {
            Turn::Free => self.count_failure(tenant, key, "put", self.commit(encoded).await),
            Turn::Next => self.count_failure(tenant, key, "put", self.commit_in_turn(tenant, encoded).await),
            Turn::Waits => Err(earlier_write_waits()),
        };
        let (made, evicted, now) = match committed {
            Ok(done) => done,
            Err(error) => {
                let settled = self.settle_puts(tenant, kept, unmade, error).await?;
                for (stored, observed) in settled.iter().zip(&spans) {
                    observed.span.record("outcome", stored.state.name());
                }
                return Ok(settled);
            }
        };
        let mut stored = Vec::with_capacity(made.len());
        for (made, observed) in made.into_iter().zip(spans) {
            stored.push(Stored {
                key: made.key.clone(),
                version: Some(made.version),
                size: made.size,
                stored_size: made.stored_size,
                evicted: made.evicted,
                state: StoredState::Stored,
            });
            self.made(tenant, made, &observed);
        }
        self.evicted(&evicted);
        self.flusher.mark();
        self.collect_some_garbage(now).await;
        Ok(stored)
    }

    /// Writes the blobs, of a remote store many at once. After a failure `entries` are those whose blobs were written.
    #[expect(clippy::vec_box, reason = "changes take entries in boxes")]
    async fn write_blobs(&self, values: Vec<Encoded>, entries: &mut Vec<Box<Entry>>) -> Result<()> {
        if values.len() == 1 || self.blobs_at_once() == 1 {
            for value in values {
                entries.push(self.write_blob(value).await?);
            }
            return Ok(());
        }
        let failed = AtomicBool::new(false);
        // After a failure nothing more is begun, and what is under way is waited for: it is to be taken back as well.
        let begun = iter(values).take_while(|_| ready(!failed.load(Ordering::Relaxed)));
        let mut writing = begun.map(|value| self.write_blob(value)).buffered(self.blobs_at_once());
        let mut first = None;
        while let Some(written) = writing.next().await {
            match written {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    first.get_or_insert(error);
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Writes the blobs, then puts the entries. Returns what was made and what was evicted for it, and when.
    pub(super) async fn commit(&self, values: Vec<Encoded>) -> Result<Committed> {
        let mut entries = Vec::with_capacity(values.len());
        let failed = self.write_blobs(values, &mut entries).await.err();
        let blobs: Vec<BlobId> = entries.iter().filter_map(|entry| entry.blob_id()).collect();
        if let Some(error) = failed {
            self.discard(&blobs).await;
            // Whatever became of the blobs, no entry names them.
            return Err(error.with_outcome_unknown(false).with_operation("put"));
        }
        // Not before: a blob that takes long to write must not make those that it supersedes due at once.
        let now = self.env.now();
        if let Some(error) = blobs.iter().find_map(|&blob| swept_by_now(blob, now)) {
            self.discard(&blobs).await;
            return Err(error.with_operation("put"));
        }
        let put = |entry| Change::Put { entry, condition: Condition::Always, now };
        let changes: Vec<Change> = entries.into_iter().map(put).collect();
        let watched = self.is_watched();
        let mut made: Vec<Made> = changes.iter().filter_map(|change| made_by(change, watched)).collect();
        let outcomes = match self.metadata.apply(changes).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // Where it is not sure that nothing was committed, or will be yet, the blobs stay for the sweeper to decide.
                if !error.is_outcome_unknown() {
                    self.discard(&blobs).await;
                }
                let context = made.first().map(|made| made.key.as_str().to_owned()).unwrap_or_default();
                return Err(error.with_operation("put").with_context("key", context));
            }
        };
        made.truncate(outcomes.len());
        let mut evicted = Vec::new();
        for (made, outcome) in made.iter_mut().zip(outcomes) {
            made.version = outcome.version.unwrap_or_default();
            made.replaced = outcome.previous.is_some();
            made.evicted = outcome.evicted.len();
            evicted.extend(outcome.evicted);
        }
        Ok((made, evicted, now))
    }

    /// Writes the value to where it will lie, and says so in its entry.
    pub(super) async fn write_blob(&self, value: Encoded) -> Result<Box<Entry>> {
        let Encoded { mut entry, written, inline } = value;
        let wanted = self.inline_limit(inline);
        let payload = match written.payload {
            super::writer::Payload::Memory(bytes)
                if inline != Some(false) && bytes.len() as u64 <= wanted =>
            {
                entry.location = Location::Inline(Bytes::from(bytes));
                self.protect(&mut entry)?;
                return Ok(entry);
            }
            payload => payload,
        };
        // Without the metadata a blob is written for nothing.
        self.guards
            .metadata_is_ready()
            .await
            .map_err(|error| error.with_context("key", entry.key.as_str()))?;
        self.garbage.is_possible();
        let blob = BlobId::new(self.env.now());
        entry.location = Location::Blob(blob);
        self.protect(&mut entry)?;
        let source = payload.into_source(entry.stored_size, &trailer::encode(&entry, self.cache_id))?;
        self.put_blob(&self.blob_key(blob), source)
            .await
            .map_err(|error| error.with_context("key", entry.key.as_str()))?;
        Ok(entry)
    }

    /// Up to how many bytes a value lies with its entry, where that is wanted so.
    pub(super) fn inline_limit(&self, inline: Option<bool>) -> u64 {
        let most = self.metadata.capabilities().inline_limit;
        match inline {
            Some(true) => most,
            Some(false) => 0,
            None => most.min(self.settings.inline_limit),
        }
    }

    /// Deletes blobs that no entry will name. What cannot be deleted now is an orphan that a sweep finds.
    pub(super) async fn discard(&self, blobs: &[BlobId]) {
        if !blobs.is_empty()
            && let Err(error) = self.delete_blobs(blobs).await
        {
            let error = error.without_key();
            tracing::warn!(%error, "the blobs of a failed put could not be deleted");
        }
    }

    pub(crate) async fn put_raw(&self, tenant: &Tenant, raw: RawEntry) -> Result<Stored> {
        let key = raw.entry.key.clone();
        let observed = PutSpan::begin(tenant, key.as_str());
        let encoded = raw.into_encoded(self, tenant);
        let prepared = self.prepared(tenant, key.as_str(), "put_raw", encoded, observed)?;
        self.store(tenant, prepared).await
    }
}

/// Encodes a shared value off the calling thread; see `put_shared` of the faces.
pub(crate) async fn prepare_shared<T, F>(engine: Arc<Engine>, work: F) -> Result<T>
where
    F: FnOnce(&Engine) -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    let env = engine.env.clone();
    env.unblock(move || work(&engine)).await
}

/// What a change makes, but for what its outcome says. The handler's name is copied only where it is told.
fn made_by(change: &Change, watched: bool) -> Option<Made> {
    match change {
        Change::Put { entry, .. } => Some(Made {
            key: entry.key.clone(),
            version: Version::default(),
            replaced: false,
            handler: if watched { entry.format.handler.clone() } else { String::new() },
            size: entry.size,
            stored_size: entry.stored_size,
            evicted: 0,
        }),
        _ => None,
    }
}
