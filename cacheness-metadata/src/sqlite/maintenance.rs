//! Work on many entries at once: ranking by another order, and clearing a namespace.

use cacheness_core::{Counters, EvictionOrder, Namespace, Timestamp};

use super::failure::Tried;
use super::reader;
use super::statements::Sql;
use super::transaction::Transaction;

/// How many entries one transaction of a long work changes.
pub(super) const ENTRIES_PER_STEP: usize = 500;

impl Transaction<'_, '_> {
    /// Begins to rank all entries by `order`, unless they are ranked so already. A ranking by the same order that
    /// was interrupted goes on where it stopped.
    pub(super) fn begin_ranking(&mut self, order: EvictionOrder) -> Tried<()> {
        if self.head.order != Some(order) {
            self.head.order = Some(order);
            self.head.age = 0;
            self.head.rank_next = Some(0);
        }
        // Another process may have dropped the index, or been killed before it was made.
        let sql = "CREATE INDEX IF NOT EXISTS entries_by_rank ON entries (priority, rank)";
        Ok(self.session.connection.execute_batch(sql)?)
    }

    /// Drops the index of ranks, which nobody needs without a limit.
    pub(super) fn end_ranking(&mut self) -> Tried<()> {
        if self.head.order.is_some() {
            self.head.order = None;
            self.head.rank_next = None;
            self.session.connection.execute_batch("DROP INDEX IF EXISTS entries_by_rank")?;
        }
        Ok(())
    }

    /// Ranks everything in this transaction. It is needed only where another process has lifted its limits since
    /// this one set its own.
    pub(super) fn rank_at_once(&mut self) -> Tried<()> {
        self.begin_ranking(self.limits.order)?;
        while self.head.rank_next.is_some() {
            self.rank_some()?;
        }
        Ok(())
    }

    /// Ranks the next entries by the present order.
    pub(super) fn rank_some(&mut self) -> Tried<()> {
        let (Some(from), Some(order)) = (self.head.rank_next, self.head.order) else { return Ok(()) };
        let mut ranks = Vec::with_capacity(ENTRIES_PER_STEP);
        let mut rows = self.session.statement(Sql::Unranked)?.query((from, ENTRIES_PER_STEP as i64))?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let name = row.get_ref(7)?.as_str().ok().and_then(|name| Namespace::new(name).ok());
            // What cannot be read is of no use and goes first; what was cleared needs no rank.
            let rank = match name {
                Some(name) => reader::entry_of(row, name, None)
                    .map_or(i64::MIN, |entry| order.rank(&entry, self.head.age)),
                None => 0,
            };
            ranks.push((id, rank));
        }
        drop(rows);
        self.head.rank_next = match ranks.last() {
            Some((last, _)) if ranks.len() == ENTRIES_PER_STEP => last.checked_add(1),
            _ => None,
        };
        let update = self.session.statement(Sql::Rank)?;
        for rank in ranks {
            update.execute(rank)?;
        }
        Ok(())
    }

    /// Gives a namespace a generation without entries, or drops it, and leaves the old one to be taken back.
    /// Returns how many entries there were, or `None` where there was no such namespace.
    pub(super) fn clear(&mut self, name: &Namespace, now: Timestamp, drop: bool) -> Tried<Option<u64>> {
        let Some(at) = self.tenant(name)? else { return Ok(None) };
        let old = self.generation(at);
        let tenant = self.change(at);
        let removed = tenant.entries;
        let (bytes, blob_bytes) = (tenant.bytes, tenant.blob_bytes);
        (tenant.entries, tenant.bytes, tenant.blob_bytes) = (0, 0, 0);
        self.head.entries = (self.head.entries - removed).max(0);
        self.head.bytes = (self.head.bytes - bytes).max(0);
        self.head.garbage_bytes = self.head.garbage_bytes.saturating_add(blob_bytes);
        if removed > 0 {
            self.session.statement(Sql::InsertCleared)?.execute((old, now.as_nanos()))?;
            self.head.cleared += 1;
        }
        if drop {
            self.session.statement(Sql::DeleteNamespace)?.execute((name.as_str(),))?;
            self.forget(at);
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
