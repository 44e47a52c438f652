//! Leases: one key each, which ends by itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{LeaseHolder, Leases, Namespace, Result, Version};

use super::failure::unexpected;
use super::layout::read_hex;
use super::scripts;
use super::server::args;
use super::store::Store;

pub(super) struct RedisLeases(Arc<Store>);

impl RedisLeases {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Runs the script. The token where the lease is held after `acquire` and `renew`; any where `release` ended it.
    async fn run(
        &self,
        what: &'static str,
        (namespace, name): (&Namespace, &str),
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<Option<Version>> {
        let store = self.0.clone();
        // The length of the first name keeps the two apart.
        let name = format!("{}:{}{name}", namespace.as_str().len(), namespace.as_str());
        // Part of a millisecond counts as a whole one, so that a lease does not end early. The server takes no more.
        let millis = ttl.as_nanos().div_ceil(1_000_000).clamp(1, 1 << 50);
        let until = self.0.until();
        self.0
            .server
            .env
            .on_io(async move {
                let mut args = store.args();
                args.extend(args![what, name, holder.to_string(), millis.to_string()]);
                let (_, mut reply) = store.run(&scripts::LEASE, &args, until).await?;
                if !reply.flag()? {
                    return Ok(None);
                }
                if reply.left() == 0 {
                    return Ok(Some(Version::default()));
                }
                read_hex(&reply.bytes()?).map(|token| Some(Version(token))).ok_or_else(unexpected)
            })
            .await
    }
}

#[async_trait]
impl Leases for RedisLeases {
    async fn acquire(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<Option<Version>> {
        self.run("acquire", (namespace, name), holder, ttl).await
    }

    async fn renew(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<bool> {
        Ok(self.run("renew", (namespace, name), holder, ttl).await?.is_some())
    }

    async fn release(&self, namespace: &Namespace, name: &str, holder: LeaseHolder) -> Result<bool> {
        Ok(self.run("release", (namespace, name), holder, Duration::ZERO).await?.is_some())
    }
}
