//! Changing the limits of the cache and of namespaces, with what the indexes need for them.

use cacheness_core::{Limits, LimitsChange, Namespace, Result};

use super::layout;
use super::transaction::Transaction;

/// What became of a change of limits.
pub(super) enum LimitsStep {
    /// They are these now.
    Done(Limits),
    /// Entries are to be ranked in this epoch; then the change is to be made again, or where none had been made before,
    /// all of these limits are to be set.
    Rank(u32, Option<Limits>),
}

impl Transaction<'_> {
    pub(super) async fn change_limits(
        &mut self,
        namespace: Option<&Namespace>,
        change: &LimitsChange,
    ) -> Result<LimitsStep> {
        match namespace {
            None => self.change_limits_of_cache(change),
            Some(name) => self.change_limits_of(name, change).await,
        }
    }

    fn change_limits_of_cache(&mut self, change: &LimitsChange) -> Result<LimitsStep> {
        let mut limits = change.apply(self.head.limits.as_ref());
        limits.policy = Some(limits.policy_name().to_owned());
        let of_namespaces = self.head.limited > 0;
        if limits.is_limited() || of_namespaces {
            let same = limits.policy_name() == self.head.policy();
            let ranking = self.policies.get(limits.policy_name())?;
            if (of_namespaces || !ranking.refuses()) && !(same && self.head.ranked && !self.head.ranking) {
                let epoch = self.begin_ranking(same);
                if self.head.entries > 0 {
                    let first = self.head.limits.is_none().then(|| limits.clone());
                    self.head.limits.get_or_insert_default().policy = limits.policy;
                    return Ok(LimitsStep::Rank(epoch, first));
                }
                self.head.ranking = false;
            }
        }
        self.head.limits = Some(limits.clone());
        self.keep_ranks_if_needed()?;
        Ok(LimitsStep::Done(limits))
    }

    async fn change_limits_of(&mut self, name: &Namespace, change: &LimitsChange) -> Result<LimitsStep> {
        let known = self.namespace(name).await?;
        if change.is_empty() {
            return Ok(LimitsStep::Done(known.map(|namespace| namespace.limits).unwrap_or_default()));
        }
        let mut namespace = match known {
            Some(namespace) => namespace,
            None => self.new_namespace(name)?,
        };
        let mut limits = change.apply(Some(&namespace.limits));
        limits.policy = None;
        if limits.is_limited() {
            self.ranking()?;
            let ready = self.head.ranked && !self.head.ranking;
            if !(namespace.indexed && ready) {
                let joins = namespace.indexed && self.head.ranked;
                namespace.indexed = true;
                let epoch = self.begin_ranking(joins);
                if self.head.entries > 0 {
                    self.set(layout::namespace(name.as_str()), namespace.encode());
                    return Ok(LimitsStep::Rank(epoch, None));
                }
                self.head.ranking = false;
            }
        }
        match (namespace.limits.is_limited(), limits.is_limited()) {
            (false, true) => self.head.limited = self.head.limited.saturating_add(1),
            (true, false) => self.head.limited = self.head.limited.saturating_sub(1),
            _ => {}
        }
        // Without a limit, the rows that there are stay until their entries change.
        namespace.indexed &= limits.is_limited();
        namespace.limits = limits.clone();
        self.set(layout::namespace(name.as_str()), namespace.encode());
        self.keep_ranks_if_needed()?;
        Ok(LimitsStep::Done(limits))
    }

    /// Lets later puts rank no entries where nobody needs that. A policy that refuses needs it only to find what has
    /// expired in a namespace.
    fn keep_ranks_if_needed(&mut self) -> Result<()> {
        if !self.head.is_limited() || (self.head.limited == 0 && self.ranking()?.refuses()) {
            self.head.ranked = false;
            self.head.ranking = false;
        }
        Ok(())
    }
}
