//! Giving entries the key that is written now: each value is decrypted and encrypted anew, while the cache is in use.

use std::io::Write;
use std::sync::Arc;

use super::Engine;
use super::put::Encoded;
use crate::encryption::ValueCipher;
use crate::entry::{Entry, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{Change, Condition, ListQuery, yield_now};
use crate::stage::{Checksums, Compression};

/// What a rotation of keys found and did.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RotateReport {
    /// The entries that were looked at, of all namespaces.
    pub entries: u64,
    /// Those that had an older key, and have the one that is written now.
    pub rotated: u64,
    /// Those that were removed or replaced by somebody else meanwhile. What replaced them has that one's key.
    pub replaced: u64,
    /// Those that could not be read: damaged, not given back by the disk, or encrypted with a key that the cache was not given.
    pub unreadable: u64,
    /// Those that still have an older key, because somebody changed them again and again meanwhile, or because the limits
    /// leave no room for them. Rotate once more.
    pub unfinished: u64,
}

/// How often an entry is tried that somebody changes meanwhile.
const ATTEMPTS: usize = 8;

/// An entry whose value was to be encrypted anew.
enum Anew {
    Encoded(Encoded),
    /// Its blob is gone.
    Gone,
    /// Its value cannot be read.
    Unreadable(Error),
}

/// What became of one entry.
enum Became {
    Rotated,
    Replaced,
    Unreadable,
    Unfinished,
}

impl Engine {
    /// Goes through all entries, and encrypts those anew that have another key than the one that is written.
    pub(crate) async fn rotate_keys(self: &Arc<Self>) -> Result<RotateReport> {
        self.check_open()?;
        if self.protection.as_ref().and_then(|protection| protection.encryptor()).is_none() {
            let message =
                "keys of a cache that does not encrypt cannot be rotated; open it with `encryption`";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let (mut query, mut report) = (ListQuery::new(), RotateReport::default());
        loop {
            let page = crate::fallback::whole(self.metadata.list_entries(&query)).await?;
            for listed in page.entries {
                report.entries += 1;
                let mut opened = listed.clone();
                let admitted =
                    self.protection.as_ref().map_or(Ok(()), |protection| protection.admit(&mut opened));
                if admitted.is_ok() && !self.needs_rotation(opened.cipher.as_deref()) {
                    continue;
                }
                self.check_open()?;
                match self.rotate_entry(&listed).await? {
                    Became::Rotated => report.rotated += 1,
                    Became::Replaced => report.replaced += 1,
                    Became::Unreadable => report.unreadable += 1,
                    Became::Unfinished => report.unfinished += 1,
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            yield_now().await;
        }
        self.collect_some_garbage(self.env.now()).await;
        let RotateReport { entries, rotated, replaced, unreadable, unfinished } = report;
        tracing::info!(target: super::TARGET, entries, rotated, replaced, unreadable, unfinished, "rotated keys");
        Ok(report)
    }

    fn needs_rotation(&self, cipher: Option<&ValueCipher>) -> bool {
        let encryptor = self.protection.as_ref().and_then(|protection| protection.encryptor());
        encryptor.zip(cipher).is_some_and(|(encryptor, cipher)| !encryptor.is_written(cipher))
    }

    /// Encrypts one entry anew. Only a backend that fails is an error.
    async fn rotate_entry(self: &Arc<Self>, listed: &Entry) -> Result<Became> {
        let (namespace, key) = (&listed.namespace, listed.key.as_str());
        let tenant = self.tenants.get(namespace);
        let mut without_blob = None;
        for _ in 0..ATTEMPTS {
            // As it is now, and with its inline bytes.
            let found = self.metadata.get_entry(namespace, key).await?;
            let entry = match self.trusted(namespace, key, found).await {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(Became::Replaced),
                Err(error) => {
                    let _ = self.count_error(&tenant, Err::<(), _>(error));
                    return Ok(Became::Unreadable);
                }
            };
            // A touch gives it another version and keeps its key; a put gives it the key that is written.
            if !self.needs_rotation(entry.cipher.as_deref()) {
                return Ok(if entry.version == listed.version { Became::Rotated } else { Became::Replaced });
            }
            if without_blob == Some(entry.version) {
                return Ok(Became::Unreadable);
            }
            let encoded = match self.encrypt_anew(&entry).await {
                Ok(Anew::Encoded(encoded)) => encoded,
                Ok(Anew::Gone) => {
                    without_blob = Some(entry.version);
                    continue;
                }
                Ok(Anew::Unreadable(error)) => {
                    // What the disk does not give back today it may give back tomorrow.
                    if error.kind() == ErrorKind::Corrupted {
                        self.repair(&entry).await;
                        self.corrupt(&tenant, key, &error);
                    }
                    let _ = self.count_error(&tenant, Err::<(), _>(error));
                    return Ok(Became::Unreadable);
                }
                Err(error) => return Err(error.with_operation("rotate_keys").with_context("key", key)),
            };
            let version = entry.version;
            let entry = self.write_blob(encoded).await?;
            let (blob, condition, now) = (entry.blob_id(), Condition::Version(version), self.env.now());
            let outcomes = match self.metadata.apply(vec![Change::Put { entry, condition, now }]).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    if !error.is_outcome_unknown() {
                        self.discard(blob.as_slice()).await;
                    }
                    // By the policy `none`, over limits that were lowered.
                    if error.kind() == ErrorKind::LimitExceeded {
                        let _ = self.count_error(&tenant, Err::<(), _>(error));
                        return Ok(Became::Unfinished);
                    }
                    return Err(error.with_operation("rotate_keys").with_context("key", key));
                }
            };
            outcomes.iter().for_each(|outcome| self.evicted(&outcome.evicted));
            if outcomes.iter().any(|outcome| outcome.applied) {
                return Ok(Became::Rotated);
            }
            self.discard(blob.as_slice()).await;
        }
        Ok(Became::Unfinished)
    }

    /// The entry with its value encrypted by a fresh key, in bounded memory.
    async fn encrypt_anew(self: &Arc<Self>, entry: &Entry) -> Result<Anew> {
        let sizes = super::raw::check_size(entry, entry.stored_size)
            .and_then(|()| entry.checksums.check_count(entry.stored_size));
        if let Err(error) = sizes {
            return self.unreadable(error);
        }
        let chunks = match self.open_chunks(entry).await {
            Ok(Some(chunks)) => chunks,
            Ok(None) => return Ok(Anew::Gone),
            Err(error) => return self.unreadable(error),
        };
        // What is stored may be compressed, and stays so.
        let mut writer = self.writer(Compression::None)?;
        for index in 0..Checksums::chunks(entry.stored_size) {
            let chunk = match chunks.fetch(self, entry, index).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Anew::Gone),
                Err(error) => return self.unreadable(error),
            };
            writer.write_all(&chunk).map_err(|error| Error::io(error, "the value cannot be staged"))?;
        }
        let mut written = writer.finish()?;
        let mut anew = Box::new(self.with_pending_uses(entry.clone()));
        anew.checksums = std::mem::take(&mut written.checksums);
        anew.cipher = written.cipher.take();
        let inline = matches!(entry.location, Location::Inline(_));
        anew.location = Location::InlineOmitted;
        Ok(Anew::Encoded(Encoded { entry: anew, written, inline: Some(inline) }))
    }

    /// Tells what is wrong with one value, which must not keep the others from their new key, from what is wrong with the store.
    fn unreadable(&self, error: Error) -> Result<Anew> {
        let of_one = match error.kind() {
            ErrorKind::Corrupted => true,
            ErrorKind::Io | ErrorKind::PermissionDenied => {
                self.blobs.capabilities().local && !error.is_temporary()
            }
            _ => false,
        };
        if of_one { Ok(Anew::Unreadable(error)) } else { Err(error) }
    }
}
