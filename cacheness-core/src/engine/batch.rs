//! Several keys in one call: one lookup, one transaction.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::stream::{StreamExt, TryStreamExt, iter};

use super::Engine;
use super::counting::Tenant;
use crate::error::Result;
use crate::events::MissReason;
use crate::options::ReadOptions;
use crate::value::{BoxedValue, TypeTarget};

/// How many blobs of a remote backend one call fetches or stores at once.
const REMOTE_AT_ONCE: usize = 16;

impl Engine {
    /// How many blobs one call fetches or stores at once: those of this machine one after another, since it is not waiting that
    /// takes their time.
    pub(super) fn blobs_at_once(&self) -> usize {
        if self.blobs.capabilities().local { 1 } else { REMOTE_AT_ONCE }
    }

    /// Looks several values up, with one question to the metadata backend. The answers stand in the keys' order.
    pub(crate) async fn get_many(
        self: &Arc<Self>,
        tenant: &Tenant,
        keys: &[&str],
        target: TypeTarget,
        options: &ReadOptions,
    ) -> Result<Vec<Option<BoxedValue>>> {
        self.check_open()?;
        let keys = self.stored_keys(tenant, keys)?;
        let keys: &[&str] = &keys.iter().map(|key| &**key).collect::<Vec<_>>();
        let entries = match self.look_up_all(&tenant.namespace, keys).await {
            Ok(entries) => entries,
            Err(error) => {
                // A backend that fails is a miss for each key but those that wait to be written, or an error for all.
                let reason = self.settle::<()>(tenant, "", Err(error))?.err();
                let mut values = Vec::with_capacity(keys.len());
                for key in keys {
                    values.push(match self.queued_entry(&tenant.namespace, key) {
                        Some(entry) => self.serve(tenant, key, Ok(entry), target, options).await?,
                        None => {
                            self.miss(tenant, key, reason.unwrap_or(MissReason::BackendError));
                            None
                        }
                    });
                }
                return Ok(values);
            }
        };
        let found = keys.iter().zip(entries);
        let mut served = found.map(|(key, entry)| self.serve(tenant, key, entry, target, options));
        if self.blobs_at_once() > 1 {
            return iter(served).buffered(self.blobs_at_once()).try_collect().await;
        }
        let mut values = Vec::with_capacity(keys.len());
        for value in &mut served {
            values.push(value.await?);
        }
        Ok(values)
    }

    fn stored_keys<'a>(&self, tenant: &Tenant, keys: &[&'a str]) -> Result<Vec<Cow<'a, str>>> {
        keys.iter().map(|key| self.stored_key(tenant, key)).collect()
    }

    /// Removes several keys in one transaction, and returns how many entries there were.
    pub(crate) async fn remove_many(&self, tenant: &Tenant, keys: &[&str]) -> Result<u64> {
        self.check_open()?;
        let keys = self.stored_keys(tenant, keys)?;
        if keys.is_empty() {
            return Ok(0);
        }
        self.remove_keys(tenant, keys.iter().map(|key| &**key)).await
    }
}
