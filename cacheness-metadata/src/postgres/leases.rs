//! Leases in a table, by the server's clock. Their tokens come from the sequence of versions.

use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{LeaseHolder, Leases, Namespace, Result, Version};

use super::backend::PostgresMetadata;
use super::statements::Sql;
use super::store::params;

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
        self.call(|store| async move {
            let holder = holder.as_bytes().to_vec();
            let params = params![store.lock, hash, namespace, name, holder, micros(ttl)];
            let rows = store.query(Sql::Acquire, &params).await?;
            let token = rows.first().map(|row| row.try_get::<_, Option<i64>>(0)).transpose()?.flatten();
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
        self.call(|store| async move {
            let params = params![hash, holder.as_bytes().to_vec(), micros(ttl)];
            Ok(!store.query(Sql::Renew, &params).await?.is_empty())
        })
        .await
    }

    async fn release(&self, namespace: &Namespace, name: &str, holder: LeaseHolder) -> Result<bool> {
        let hash = hash(namespace, name);
        self.call(|store| async move {
            let rows = store.query(Sql::Release, &params![hash, holder.as_bytes().to_vec()]).await?;
            Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
        })
        .await
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
