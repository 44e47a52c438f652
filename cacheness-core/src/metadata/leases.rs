//! Leases: who works on something, among all processes that share a metadata backend.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::names::{LeaseHolder, Namespace, Version};

/// What a metadata backend that many processes share can offer: leases, each held by one of them at most.
///
/// # What an implementer must keep
/// - Time is the store's own: holders' clocks play no part. A lease that is not renewed ends by itself.
/// - From the moment that a call gives a lease to a holder until its time is over, or it is released, no other holder
///   gets it, in no process.
/// - Tokens come from the sequence that versions come from: the one a later holder gets is higher.
/// - Names follow the rules of keys, and are data. Leases are apart from entries: nothing that happens to entries, not
///   even dropping the namespace, touches them.
///
/// # Errors
/// As for [`MetadataBackend`](crate::MetadataBackend). After an error of a call that did not reach an answer, the lease
/// may be held: asking again with the same holder tells.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes a lease for `ttl`, which is over zero. `None` where another holds it. A holder that has it already keeps it,
    /// with the same token, for `ttl` from now on.
    async fn acquire(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<Option<Version>>;

    /// Keeps a lease for `ttl` from now on. False where this holder does not hold it any more; then it is not taken
    /// anew.
    async fn renew(
        &self,
        namespace: &Namespace,
        name: &str,
        holder: LeaseHolder,
        ttl: Duration,
    ) -> Result<bool>;

    /// Ends a lease. False where this holder did not hold it any more.
    async fn release(&self, namespace: &Namespace, name: &str, holder: LeaseHolder) -> Result<bool>;
}
