//! Leases in a table, by the server's clock. Their tokens come from the sequence of versions.

use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{LeaseHolder, Leases, Namespace, Result, Version};

use super::backend::PostgresMetadata;
use super::deadline::Deadline;
use super::failure::Failure;
use super::statements::Sql;
use super::store::{Store, params};

/// The longest lease, a hundred years: beyond that the server's times end.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[async_trait]
impl Leases for PostgresMetadata {
    async fn acquire(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<Option<Version>> {
        let hash = hash(namespace, name);
        let (namespace, name) = (namespace.as_str().as_bytes().to_vec(), name.as_bytes().to_vec());
        let deadline = self.store.deadline();
        self.call(|store| async move {
            let token = store.acquire(hash, namespace, name, holder, ttl, deadline).await?;
            Ok(token.map(|token| Version(token.max(0).unsigned_abs())))
        })
        .await
    }

    async fn renew(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<bool> {
        let hash = hash(namespace, name);
        let deadline = self.store.deadline();
        self.call(|store| async move {
            let params = params![hash, holder.as_bytes().to_vec(), micros(ttl)];
            let rows = store.query_until(Sql::Renew, &params, deadline).await?;
            Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
        })
        .await
    }

    async fn release(&self, namespace: &Namespace, name: &str, holder: LeaseHolder) -> Result<bool> {
        let hash = hash(namespace, name);
        let deadline = self.store.deadline();
        self.call(|store| async move { store.release(hash, holder, deadline).await }).await
    }
}

impl Store {
    /// Takes a lease for so long, and returns its token.
    pub(super) async fn acquire(
        &self,
        hash: Vec<u8>,
        namespace: Vec<u8>,
        name: Vec<u8>,
        holder: LeaseHolder,
        ttl: Duration,
        deadline: Deadline,
    ) -> Result<Option<i64>, Failure> {
        let params = params![hash, namespace, name, holder.as_bytes().to_vec(), micros(ttl)];
        let rows = self.query_until(Sql::Acquire, &params, deadline).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?.flatten())
    }

    /// Gives a lease back.
    pub(super) async fn release(
        &self,
        hash: Vec<u8>,
        holder: LeaseHolder,
        deadline: Deadline,
    ) -> Result<bool, Failure> {
        let rows =
            self.query_until(Sql::Release, &params![hash, holder.as_bytes().to_vec()], deadline).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
    }
}

fn micros(ttl: Duration) -> i64 {
    i64::try_from(ttl.min(LONGEST).as_micros()).unwrap_or(i64::MAX)
}

/// The hash of a lease. Namespaces have at most 255 bytes, so the first byte says where the name begins.
fn hash(namespace: &Namespace, name: &str) -> Vec<u8> {
    let namespace = namespace.as_str().as_bytes();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[u8::try_from(namespace.len()).unwrap_or(u8::MAX)]);
    hasher.update(namespace);
    hasher.update(name.as_bytes());
    hasher.finalize().as_bytes()[..16].to_vec()
}
