//! The limits of the cache and of namespaces.

use std::sync::Arc;
use std::time::Instant;

use cacheness_core::{Limits, LimitsChange, Namespace, Result};

use super::deadline::late;
use super::rules::Rules;
use super::scripts;
use super::server::args;
use super::store::Store;

impl Store {
    pub(super) async fn change_limits(
        self: &Arc<Self>,
        until: Instant,
        namespace: Option<&Namespace>,
        change: &LimitsChange,
    ) -> Result<Limits> {
        loop {
            let rules = self.rules();
            let mut args = self.args();
            let (entries, bytes, policy, flag) = match namespace {
                None => of_cache(self, &rules, change)?,
                Some(_) => self.of_namespace(&rules, change)?,
            };
            let name = namespace.map_or("", Namespace::as_str);
            args.extend(args![rules.version.to_string(), name, entries, bytes]);
            if namespace.is_none() {
                args.extend(args![policy.clone()]);
            }
            args.extend(args![if flag { "1" } else { "0" }]);
            let (status, mut reply) = self.run(&scripts::LIMITS, &args, until).await?;
            let rules = Rules::read(reply.list()?)?;
            let ranking = rules.ranking;
            self.learn(rules);
            if status == "STALE" {
                if Instant::now() >= until {
                    return Err(late());
                }
                continue;
            }
            let mut limits = Limits::unbounded();
            (limits.max_entries, limits.max_bytes) = (reply.maybe()?, reply.maybe()?);
            if namespace.is_none() {
                limits.policy = Some(policy);
            }
            if ranking && self.policies.get(self.rules().policy()).is_ok() {
                self.rank_all().await?;
            }
            return Ok(limits);
        }
    }

    /// What becomes of a namespace's limits, and whether the policy refuses.
    fn of_namespace(&self, rules: &Rules, change: &LimitsChange) -> Result<(String, String, String, bool)> {
        let limit = |given: Option<Option<u64>>| match given {
            None => "keep".to_owned(),
            Some(limit) => limit.map_or_else(String::new, |limit| limit.to_string()),
        };
        let ranking = self.policies.get(rules.policy());
        let limits =
            [change.max_entries, change.max_bytes].iter().any(|given| matches!(given, Some(Some(_))));
        let refuses = match ranking {
            Ok(ranking) => ranking.refuses(),
            Err(error) if limits => return Err(error),
            Err(_) => false,
        };
        Ok((limit(change.max_entries), limit(change.max_bytes), String::new(), refuses))
    }

    /// The limits of a namespace.
    pub(super) async fn limits_of(&self, namespace: &Namespace) -> Result<Limits> {
        let mut args = self.args();
        args.extend(args![namespace.as_str()]);
        let mut limits = Limits::unbounded();
        let Some(mut reply) = self.read(&scripts::NAMES, &args).await? else { return Ok(limits) };
        (limits.max_entries, limits.max_bytes) = (reply.maybe()?, reply.maybe()?);
        Ok(limits)
    }
}

/// The limits of the cache after a change, and whether its entries are then to be ranked.
fn of_cache(store: &Store, rules: &Rules, change: &LimitsChange) -> Result<(String, String, String, bool)> {
    let limits = change.apply(rules.limits.as_ref());
    let policy = limits.policy_name().to_owned();
    let of_namespaces = rules.limited > 0;
    let is_limiting = limits.is_limited() || of_namespaces;
    let ranking = is_limiting.then(|| store.policies.get(&policy)).transpose()?;
    let ranked = ranking.is_some_and(|ranking| of_namespaces || !ranking.refuses());
    let text = |limit: Option<u64>| limit.map_or_else(String::new, |limit| limit.to_string());
    Ok((text(limits.max_entries), text(limits.max_bytes), policy, ranked))
}
