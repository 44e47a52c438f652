//! Limits of the cache and of its namespaces: what the builder and the handles change, for all processes.

use std::collections::BTreeMap;

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{Limits, LimitsChange};
use crate::names::Namespace;

/// How many entries are evicted in one call, when a limit was lowered.
const EVICTED_PER_CALL: usize = 500;

impl Engine {
    /// Makes the limits those that were given when the cache was opened, and leaves the others as they are.
    pub(crate) async fn adopt_limits(
        &self,
        cache: &LimitsChange,
        namespaces: &BTreeMap<Namespace, LimitsChange>,
    ) -> Result<()> {
        self.change_limits(None, cache).await?;
        for (namespace, change) in namespaces {
            self.change_limits(Some(namespace), change).await?;
        }
        Ok(())
    }

    /// Changes limits, and evicts until they hold. Returns how many entries were evicted.
    pub(crate) async fn change_limits(
        &self,
        namespace: Option<&Namespace>,
        change: &LimitsChange,
    ) -> Result<u64> {
        self.check_open()?;
        // What a policy that refuses has left over the limits of namespaces goes when another one takes its place.
        let mut refused = false;
        match (&change.policy, namespace) {
            (Some(policy), Some(namespace)) => {
                let message = format!(
                    "the limits of the namespace `{namespace}` name the eviction policy `{policy}`, but a cache has one \
                     policy for all its namespaces; name it in the limits of the cache"
                );
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            // The one that is stored is found by the backend, or not.
            (Some(policy), None) => {
                self.registry.eviction_policy(policy).map(drop)?;
                let policies = self.registry.policies();
                if !policies.get(policy)?.refuses() {
                    let unchanged = LimitsChange::new().otherwise(change.otherwise.clone());
                    // One that is not known here has to be replaced all the same.
                    let before = self.metadata.change_limits(None, &unchanged).await;
                    refused = before.is_ok_and(|before| {
                        policies.get(before.policy_name()).is_ok_and(|policy| policy.refuses())
                    });
                }
            }
            _ => {}
        }
        self.metadata.change_limits(namespace, change).await?;
        let mut count = 0;
        if !change.is_empty() {
            count += self.evict_until_they_hold(namespace).await?;
        }
        if refused {
            for namespace in self.metadata.namespaces().await? {
                count += self.evict_until_they_hold(Some(&namespace)).await?;
            }
        }
        Ok(count)
    }

    async fn evict_until_they_hold(&self, namespace: Option<&Namespace>) -> Result<u64> {
        let mut count = 0;
        loop {
            let step = self.metadata.evict(namespace, self.env.now(), EVICTED_PER_CALL).await?;
            self.evicted(&step.evicted);
            self.collect_fresh_garbage().await;
            count += step.evicted.len() as u64;
            if !step.more {
                return Ok(count);
            }
        }
    }

    pub(crate) async fn limits(&self, namespace: Option<&Namespace>) -> Result<Limits> {
        self.check_open()?;
        self.metadata.change_limits(namespace, &LimitsChange::new()).await
    }
}
