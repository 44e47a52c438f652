//! An entry with its stored bytes, uninterpreted: for copying between caches without decoding.

use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::counting::Tenant;
use super::get::{Stored, read_whole};
use super::observe::Lookup;
use super::put::Encoded;
use super::writer::{Payload, Written, seal};
use crate::entry::{Entry, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::events::MissReason;
use crate::handler::{Access, FormatMeta};
use crate::key::Key;
use crate::options::PutOptions;
use crate::stage::Checksums;

/// An entry and its stored bytes, as they are: compressed if they were compressed, in the format of their handler.
///
/// It can be put into another cache, which need not know the handler. All of the bytes lie in memory.
#[derive(Clone, PartialEq, Debug)]
pub struct RawEntry {
    /// The record about the value. `put_raw` takes all of it over but the namespace, the version and the place.
    pub entry: Entry,
    /// The stored bytes, verified.
    pub bytes: Bytes,
}

impl RawEntry {
    /// Checks that the bytes are the entry's and that a put could have made it, and prepares to store them under
    /// the tenant's namespace.
    pub(super) fn into_encoded(self, engine: &Engine, tenant: &Tenant) -> Result<Encoded> {
        let Self { mut entry, bytes } = self;
        check_options(&mut entry)?;
        entry.namespace = tenant.namespace.clone();
        // Where it will lie here is known when it is written.
        entry.location = Location::InlineOmitted;
        check_size(&entry, bytes.len() as u64)?;
        entry.checksums.verify(&bytes)?;
        let (mut bytes, kind, sealer) = (Vec::from(bytes), engine.checksum_kind(), engine.sealer()?);
        // What another cache did to it is no business of this one.
        (entry.signature, entry.sealed) = (Bytes::new(), Bytes::new());
        entry.cipher = seal(sealer, &mut bytes)?;
        if entry.cipher.is_some() {
            entry.format.access = entry.format.access.min(Access::Range);
        }
        if entry.cipher.is_some() || entry.checksums.kind() != kind {
            entry.checksums = Checksums::of_kind(kind, &bytes);
        }
        entry.key = Key::new(&*engine.stored_key(tenant, entry.key.as_str())?)?;
        let written = Written {
            size: entry.size,
            stored_size: bytes.len() as u64,
            checksums: entry.checksums.clone(),
            stages: entry.format.stages.clone(),
            payload: Payload::Memory(bytes),
            cipher: None,
        };
        entry.stored_size = written.stored_size;
        Ok(Encoded { entry: Box::new(entry), written, inline: None })
    }
}

impl Engine {
    /// An entry with its stored bytes, verified and uninterpreted. It is no lookup: nothing is counted.
    pub(crate) async fn get_raw(self: &Arc<Self>, tenant: &Tenant, key: &str) -> Result<Option<RawEntry>> {
        self.check_open()?;
        let stored = &*self.stored_key(tenant, key)?;
        let read = self.read_raw(tenant, stored).await;
        let mut found = self.settle(tenant, stored, read)?.ok();
        if let Some(raw) = &mut found {
            // Another cache does not know what stands for it here, where keys are hashed.
            raw.entry.key = Key::new(key)?;
        }
        Ok(found)
    }

    async fn read_raw(&self, tenant: &Tenant, key: &str) -> Result<Lookup<RawEntry>> {
        let mut next = self.look_up(&tenant.namespace, key).await?;
        let mut distrusted = false;
        loop {
            let Some(mut entry) = next else { return Ok(Err(MissReason::Absent)) };
            if let Some(reason) = self.invalid(&entry).await {
                return Ok(Err(reason));
            }
            self.check_sizes(&entry).await?;
            let Some(stored) = self.open_stored(&entry, None).await? else {
                next = self.next_after_missing(tenant, key, &entry).await?;
                continue;
            };
            let checksums = entry.checksums.clone();
            let verified = move |bytes: Bytes| checksums.verify(&bytes).map(|()| bytes);
            let bytes = match stored {
                Stored::Local(bytes) | Stored::Mapped(bytes, _) => verified(bytes),
                Stored::File(file, len) => {
                    self.env.unblock(move || read_whole(&file, len).and_then(verified)).await
                }
                // Only a handler that reads by ranges is given such a blob.
                Stored::Remote(_) => Err(Error::new(ErrorKind::Unexpected, "a remote blob was not fetched")),
            };
            if bytes.as_ref().is_err_and(Self::may_be_the_copy) && !distrusted && self.discard_copy(&entry) {
                distrusted = true;
                next = Some(entry);
                continue;
            }
            let mut bytes = self.repairing(&entry, bytes).await?;
            if let Some(cipher) = entry.cipher.take() {
                bytes = self.repairing(&entry, cipher.open_all(&bytes)).await?;
                entry.checksums = Checksums::of(&bytes);
            }
            return Ok(Ok(RawEntry { entry, bytes }));
        }
    }
}

/// Checks that an entry gives one size for bytes of which `stored` are stored: compression alone makes two of it.
pub(crate) fn check_size(entry: &Entry, stored: u64) -> Result<()> {
    let contradicts = |what: &str, len: u64| {
        let message = format!("{what} is said to have {len} bytes, and {stored} are stored");
        Err(Error::new(ErrorKind::Corrupted, message))
    };
    match &entry.location {
        _ if entry.format.stages.is_empty() && entry.size != stored => {
            contradicts("a value without compression", entry.size)
        }
        Location::Inline(bytes) if bytes.len() as u64 != stored => {
            contradicts("an inline value", bytes.len() as u64)
        }
        _ => Ok(()),
    }
}

/// Holds the public fields of an entry to the rules of a put.
fn check_options(entry: &mut Entry) -> Result<()> {
    entry.tags.sort_unstable();
    entry.tags.dedup();
    let mut options = PutOptions::new().priority(entry.priority);
    options.tags.clone_from(&entry.tags);
    options.description.clone_from(&entry.description);
    options.type_tag.clone_from(&entry.format.type_tag);
    options.custom.clone_from(&entry.custom);
    options.check()?;
    let format = &mut entry.format;
    let meta = format.meta.as_bytes().len();
    if meta > FormatMeta::MAX_LEN {
        let message =
            format!("the format keeps {meta} bytes with the entry, the most is {}", FormatMeta::MAX_LEN);
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    match format.stages[..] {
        [] => {}
        // Compressed bytes can be neither mapped nor read by ranges, whatever the entry says.
        [_] => format.access = Access::Whole,
        _ => {
            let message = format!("a value has one stage at most, this one has {}", format.stages.len());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    }
    Ok(())
}
