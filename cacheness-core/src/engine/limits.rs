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
        match (&change.policy, namespace) {
            (Some(policy), Some(namespace)) => {
                let message = format!(
                    "the limits of the namespace `{namespace}` name the eviction policy `{policy}`, but a cache has one \
                     policy for all its namespaces; name it in the limits of the cache"
                );
                return Err(Error::new(ErrorKind::InvalidInput, message));
            }
            // The one that is stored is found by the backend, or not.
            (Some(policy), None) => drop(self.registry.eviction_policy(policy)?),
            _ => {}
        }
        self.metadata.change_limits(namespace, change).await?;
        let mut count = 0;
        let mut more = !change.is_empty();
        while more {
            let step = self.metadata.evict(namespace, self.env.now(), EVICTED_PER_CALL).await?;
            self.evicted(&step.evicted);
            count += step.evicted.len() as u64;
            more = step.more;
        }
        Ok(count)
    }

    pub(crate) async fn limits(&self, namespace: Option<&Namespace>) -> Result<Limits> {
        self.check_open()?;
        self.metadata.change_limits(namespace, &LimitsChange::new()).await
    }
}
