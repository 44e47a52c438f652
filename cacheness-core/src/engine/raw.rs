//! An entry with its stored bytes, uninterpreted: for copying between caches without decoding.

use bytes::Bytes;

use super::counting::Tenant;
use super::put::Prepared;
use super::writer::{Payload, Written};
use crate::entry::{Entry, Location};
use crate::error::Result;
use crate::names::{BlobId, Timestamp};

/// An entry and its stored bytes, as they are: compressed if they were compressed, in the format of their handler.
///
/// It can be put into another cache, which need not know the handler. The bytes of a large value may be a map of
/// its file.
#[derive(Clone, PartialEq, Debug)]
pub struct RawEntry {
    /// The record about the value. `put_raw` takes all of it over but the namespace, the version and the place.
    pub entry: Entry,
    /// The stored bytes, verified.
    pub bytes: Bytes,
}

impl RawEntry {
    /// Checks that the bytes are the entry's, and prepares to store them under the tenant's namespace.
    pub(super) fn into_prepared(self, tenant: &Tenant, now: Timestamp) -> Result<Prepared> {
        let Self { mut entry, bytes } = self;
        entry.checksums.verify(&bytes)?;
        entry.namespace = tenant.namespace.clone();
        entry.location = Location::Blob(BlobId::new(now));
        let written = Written {
            size: entry.size,
            stored_size: bytes.len() as u64,
            checksums: entry.checksums.clone(),
            stages: entry.format.stages.clone(),
            payload: Payload::Memory(bytes.into()),
        };
        entry.stored_size = written.stored_size;
        Ok(Prepared::new(entry, written))
    }
}
