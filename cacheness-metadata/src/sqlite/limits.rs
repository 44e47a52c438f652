//! Limits: how those of the cache and of its namespaces are changed.

use cacheness_core::{Limits, LimitsChange, Namespace};

use super::failure::Tried;
use super::statements::Sql;
use super::totals::columns;
use super::transaction::Transaction;

impl Transaction<'_, '_> {
    /// Changes the limits of the cache, and returns what they are now.
    pub(super) fn change_limits(&mut self, change: &LimitsChange) -> Tried<Limits> {
        let rules = &self.totals.rules;
        let mut limits = change.apply(rules.limits.as_ref());
        limits.policy = Some(limits.policy_name().to_owned());
        if limits.is_limited() || rules.limited > 0 {
            rules.known(limits.policy_name())?;
        }
        if self.totals.rules.limits.as_ref() != Some(&limits) {
            let same =
                limits.policy == self.totals.rules.limits.as_ref().and_then(|before| before.policy.clone());
            let limited = self.count_limited()?;
            self.totals.rules.set(Some(limits.clone()), limited);
            if !same || !self.totals.rules.are_ranking() {
                self.end_ranking()?;
            }
        }
        Ok(limits)
    }

    /// Changes the limits of a namespace, and returns what they are now.
    pub(super) fn change_limits_of(&mut self, name: &Namespace, change: &LimitsChange) -> Tried<Limits> {
        if change.is_empty() {
            let known = self.tenant(name)?;
            return Ok(known.map(|at| self.totals.tenants[at].limits.clone()).unwrap_or_default());
        }
        let at = self.tenant_or_new(name)?;
        let before = self.totals.tenants[at].limits.clone();
        let mut limits = change.apply(Some(&before));
        limits.policy = None;
        if limits.is_limited() {
            self.totals.rules.ranking()?;
        }
        if limits != before {
            let [entries, bytes] = columns(Some(&limits));
            self.session.statement(Sql::LimitNamespace)?.execute((name.as_str(), entries, bytes))?;
            self.totals.tenants[at].limits = limits.clone();
            let limited = self.count_limited()?;
            let of_cache = self.totals.rules.limits.clone();
            self.totals.rules.set(of_cache, limited);
            if limits.is_limited() != before.is_limited() {
                // Its entries are to be in lists of their own, or no longer.
                self.end_ranking()?;
            }
        }
        Ok(limits)
    }

    /// Takes note that a namespace that had limits is gone.
    pub(super) fn limits_dropped(&mut self) -> Tried<()> {
        let limited = self.count_limited()?;
        let of_cache = self.totals.rules.limits.clone();
        self.totals.rules.set(of_cache, limited);
        // With the last such namespace, nobody looks after the lists by namespace any more.
        if limited == 0 { self.end_ranking() } else { Ok(()) }
    }

    /// How many namespaces have limits.
    fn count_limited(&mut self) -> Tried<i64> {
        Ok(self.session.statement(Sql::CountLimited)?.query_row((), |row| row.get(0))?)
    }
}
