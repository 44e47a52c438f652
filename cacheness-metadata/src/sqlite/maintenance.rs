//! Work on whole namespaces: clearing one, and its counters.

use cacheness_core::{Counters, Namespace, Timestamp};

use super::ages::Ages;
use super::failure::Tried;
use super::statements::Sql;
use super::transaction::Transaction;

/// How many entries one transaction of a long work changes.
pub(super) const ENTRIES_PER_STEP: usize = 500;

impl Transaction<'_, '_> {
    /// Gives a namespace a generation without entries, or drops it, and leaves the old one to be taken back.
    /// Returns how many entries there were, or `None` where there was no such namespace.
    pub(super) fn clear(&mut self, name: &Namespace, now: Timestamp, drop: bool) -> Tried<Option<u64>> {
        let Some(at) = self.tenant(name)? else { return Ok(None) };
        let old = self.generation(at);
        let tenant = self.change(at);
        let removed = tenant.entries;
        let (bytes, blob_bytes) = (tenant.bytes, tenant.blob_bytes);
        (tenant.entries, tenant.bytes, tenant.blob_bytes) = (0, 0, 0);
        tenant.ages = Ages::default();
        self.totals.head.entries = (self.totals.head.entries - removed).max(0);
        self.totals.head.bytes = (self.totals.head.bytes - bytes).max(0);
        self.totals.head.garbage_bytes = self.totals.head.garbage_bytes.saturating_add(blob_bytes);
        if removed > 0 {
            self.session.statement(Sql::InsertCleared)?.execute((old, now.as_nanos()))?;
            self.totals.head.cleared += 1;
        }
        if drop || removed > 0 {
            self.session.statement(Sql::ForgetTotals)?.execute((old,))?;
        }
        if drop {
            let was_limited = self.totals.tenants[at].limits.is_limited();
            self.session.statement(Sql::DeleteNamespace)?.execute((name.as_str(),))?;
            self.forget(at);
            if was_limited {
                self.limits_dropped()?;
            }
        } else if removed > 0 {
            let generation = self.next_generation()?;
            self.session.statement(Sql::SetGeneration)?.execute((name.as_str(), generation))?;
            self.change(at).generation = generation;
        }
        Ok(Some(removed.unsigned_abs()))
    }

    pub(super) fn set_counters(&mut self, name: &Namespace, counters: &Counters) -> Tried<()> {
        // Half of the range is left free, so that no later addition leaves it.
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX).min(i64::MAX / 2);
        self.session.statement(Sql::SetCounters)?.execute((
            name.as_str(),
            number(counters.hits),
            number(counters.misses),
            number(counters.puts),
            number(counters.removals),
            number(counters.evictions),
            number(counters.expirations),
            number(counters.errors),
            number(counters.bytes_out),
            number(counters.bytes_in),
        ))?;
        Ok(())
    }

    pub(super) fn reset_counters(&mut self, name: Option<&Namespace>) -> Tried<()> {
        match name {
            Some(name) => self.set_counters(name, &Counters::default()),
            None => {
                self.session.statement(Sql::ResetAllCounters)?.execute(())?;
                Ok(())
            }
        }
    }
}
