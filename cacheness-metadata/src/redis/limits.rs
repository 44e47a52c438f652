//! Changing limits, and ranking entries anew by another policy.

use cacheness_core::{Limits, LimitsChange, Namespace, Result};

use super::failure::gone;
use super::layout::{self, Stored};
use super::rules::Rules;
use super::scripts;
use super::server::args;
use super::store::Store;
use super::writing::ENTRIES_PER_STEP;

impl Store {
    pub(super) async fn change_limits(
        &self,
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
            let (status, mut reply) = self.run(&scripts::LIMITS, &args).await?;
            let rules = Rules::read(reply.list()?)?;
            let ranking = rules.ranking;
            self.learn(rules);
            if status == "STALE" {
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

    /// Ranks the entries that have no rank in the present epoch, step by step. It ends early where another process has
    /// begun a new epoch, or has ended this one.
    pub(super) async fn rank_all(&self) -> Result<()> {
        let rules = self.rules();
        let ranking = self.policies.get(rules.policy())?;
        let epoch = rules.epoch.to_string();
        loop {
            let (mut name, mut after, mut missed) = (String::new(), String::new(), 0);
            loop {
                let mut args = self.args();
                let step = ENTRIES_PER_STEP.to_string();
                args.extend(args!["*", name, after, "", step.clone(), step, "*", "", epoch.clone()]);
                let mut reply = self.read(&scripts::LIST, &args).await?.ok_or_else(gone)?;
                let more = reply.flag()?;
                (name, after) = (reply.text()?, reply.text()?);
                let mut rows = reply.list()?;
                let mut ranks = Vec::new();
                while rows.left() > 0 {
                    let (namespace, id, _, bytes) =
                        (rows.text()?, rows.bytes()?, rows.bytes()?, rows.bytes()?);
                    // What cannot be read at all cannot be ranked, either. What can be in part goes first.
                    let Ok(stored) = Stored::read(bytes) else { continue };
                    let entry = stored.to_entry(Namespace::new(namespace)?, true);
                    let rank = entry.map_or(i64::MIN, |entry| ranking.rank(&entry, rules.age));
                    ranks.extend(args![id, stored.state(), layout::ordered(rank)]);
                }
                let is_end = !more && missed == 0;
                if is_end || !ranks.is_empty() {
                    let mut args = self.args();
                    args.extend(args![epoch.clone(), if is_end { "1" } else { "0" }]);
                    args.extend(ranks);
                    let (status, mut reply) = self.run(&scripts::RANK, &args).await?;
                    if status != "OK" {
                        return Ok(());
                    }
                    missed += reply.number()?;
                }
                if !more {
                    break;
                }
            }
            if missed == 0 {
                return Ok(());
            }
        }
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
