//! The table `ranks`: entries in the order in which they are evicted.
//!
//! It is filled bit by bit once the cache comes near its limits, so that a cache that stays far from them does not pay
//! for it, and no single put pays for all that went before. An eviction by limit that finds it incomplete has it
//! filled first, in transactions that are each short.

use cacheness_core::{EvictionOrder, Namespace};

use super::failure::{Failure, Tried};
use super::maintenance::ENTRIES_PER_STEP;
use super::reader;
use super::statements::Sql;
use super::transaction::{EntryRow, Transaction};

/// How many entries each put ranks while they are to be ranked. A put is near the limits when a sixteenth more than
/// there is would be over them, so with this all entries are ranked before that, unless a few large values reach them.
pub(super) const RANKED_PER_PUT: usize = 32;

/// Which part of what there is would reach the limits when ranking begins.
const NEAR: i64 = 16;

/// All entries are ranked when they are so up to this id.
const ALL: i64 = i64::MAX;

impl Transaction<'_, '_> {
    /// Makes `order` the one by which entries are ranked. What was ranked by another is forgotten.
    pub(super) fn begin_ranking(&mut self, order: EvictionOrder) -> Tried<()> {
        if self.totals.head.order != Some(order) {
            self.end_ranking()?;
            self.totals.head.order = Some(order);
        }
        Ok(())
    }

    /// Empties `ranks`, which nobody needs without a limit.
    pub(super) fn end_ranking(&mut self) -> Tried<()> {
        if self.totals.head.ranked_to.is_some() {
            self.session.connection.execute_batch("DELETE FROM ranks")?;
        }
        self.totals.head.order = None;
        self.totals.head.ranked_to = None;
        self.totals.head.age = 0;
        Ok(())
    }

    /// True where there are entries to be ranked, because the cache with so many more bytes in it is near its limits.
    pub(super) fn is_to_be_ranked(&self, bytes: i64) -> bool {
        let (entries, bytes) =
            (self.totals.head.entries / NEAR + 1, (self.totals.head.bytes / NEAR).saturating_add(bytes));
        self.limits.is_limited() && self.totals.head.ranked_to != Some(ALL) && self.is_over(entries, bytes)
    }

    /// Ranks the next entries, `most` at the most, by the present order.
    pub(super) fn rank_some(&mut self, most: usize) -> Tried<()> {
        // None where another process has lifted its limits since this one set its own.
        let order = self.totals.head.order.unwrap_or(self.limits.order);
        self.begin_ranking(order)?;
        let from = self.totals.head.ranked_to.unwrap_or(0);
        let mut ranks = Vec::with_capacity(most);
        let mut rows = self.session.statement(Sql::Unranked)?.query((from, most as i64))?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(7)?.as_str().ok().and_then(|name| Namespace::new(name).ok());
            // What was cleared needs no rank; what cannot be read is of no use and goes first.
            let rank = name.map(|name| {
                let entry = reader::entry_of(row, name, None);
                entry.map_or(i64::MIN, |entry| order.rank(&entry, self.totals.head.age))
            });
            let before = row.get_ref(8)?.as_i64().unwrap_or(0);
            let priority = row.get_ref(9)?.as_f64().unwrap_or(0.0);
            ranks.push((row.get::<_, i64>(10)?, priority, before, rank));
        }
        drop(rows);
        self.totals.head.ranked_to = match ranks.last() {
            Some((last, ..)) if ranks.len() == most => Some(last.saturating_add(1)),
            _ => Some(ALL),
        };
        for (id, priority, before, rank) in ranks {
            let Some(rank) = rank else { continue };
            if rank != before {
                self.session.statement(Sql::SetRank)?.execute((id, rank))?;
            }
            self.session.statement(Sql::InsertRank)?.execute((priority, rank, id))?;
        }
        Ok(())
    }

    /// Sees to it that `ranks` holds every entry, if few are missing.
    ///
    /// # Errors
    /// `Unprepared` if more are.
    pub(super) fn rank_all(&mut self) -> Tried<()> {
        if self.totals.head.ranked_to != Some(ALL) {
            self.rank_some(ENTRIES_PER_STEP)?;
        }
        if self.totals.head.ranked_to == Some(ALL) { Ok(()) } else { Err(Failure::Unprepared) }
    }

    /// Does a part of what an eviction needs done before it. True where there is more.
    pub(super) fn prepare(&mut self) -> Tried<bool> {
        if self.totals.head.ranked_to == Some(ALL) {
            self.reclaim(ENTRIES_PER_STEP)?;
        } else {
            self.rank_some(ENTRIES_PER_STEP)?;
        }
        Ok(self.totals.head.ranked_to != Some(ALL) || self.totals.head.cleared > 0)
    }

    /// Enters a new entry into `ranks` if it belongs there.
    pub(super) fn insert_rank(&mut self, row: &EntryRow) -> Tried<()> {
        if self.is_ranked(row) {
            self.session.statement(Sql::InsertRank)?.execute((row.priority, row.rank, row.id))?;
        }
        Ok(())
    }

    /// Gives an entry another rank.
    pub(super) fn set_rank(&mut self, row: &EntryRow, rank: i64) -> Tried<()> {
        if rank != row.rank {
            self.session.statement(Sql::SetRank)?.execute((row.id, rank))?;
            self.move_rank(row, row.priority, rank)?;
        }
        Ok(())
    }

    /// Lets `ranks` know that an entry has another rank.
    pub(super) fn move_rank(&mut self, row: &EntryRow, priority: f64, rank: i64) -> Tried<()> {
        if self.is_ranked(row) && (rank != row.rank || priority != row.priority) {
            let to = self.session.statement(Sql::MoveRank)?;
            to.execute((row.priority, row.rank, row.id, priority, rank))?;
        }
        Ok(())
    }

    /// Takes an entry out of `ranks`.
    pub(super) fn delete_rank(&mut self, row: &EntryRow) -> Tried<()> {
        if self.is_ranked(row) {
            self.session.statement(Sql::DeleteRank)?.execute((row.priority, row.rank, row.id))?;
        }
        Ok(())
    }

    fn is_ranked(&self, row: &EntryRow) -> bool {
        self.totals.head.ranked_to.is_some_and(|to| row.id < to)
    }
}
