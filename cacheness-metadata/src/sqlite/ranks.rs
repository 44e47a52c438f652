//! The table `ranks`, which holds the entries in the order in which they are evicted while there is a limit.
//!
//! What was put last may be missing there, so that a put changes one page less. Many of them enter at once, after
//! some puts or before an eviction, which thus sees all.

use cacheness_core::{EvictionOrder, Namespace};

use super::failure::Tried;
use super::maintenance::ENTRIES_PER_STEP;
use super::reader;
use super::schema::version_of;
use super::statements::Sql;
use super::transaction::{EntryRow, Transaction};

/// After how many puts new entries enter `ranks`.
const PUTS_AT_ONCE: i64 = 256;

/// How many puts there are for each namespace before their entries enter `ranks`: each costs a search there.
const PUTS_PER_NAMESPACE: i64 = 4;

impl Transaction<'_, '_> {
    /// Begins to rank all entries by `order`, unless they are ranked so already. A ranking by the same order that
    /// was interrupted goes on where it stopped.
    pub(super) fn begin_ranking(&mut self, order: EvictionOrder) -> Tried<()> {
        if self.head.order == Some(order) {
            return Ok(());
        }
        if self.head.order.is_none() {
            // By the ranks that they have from earlier: so an eviction finds each of them, however far the new
            // ranking has come.
            let sql = "DELETE FROM ranks;
                       INSERT INTO ranks SELECT priority, rank, id FROM entries ORDER BY priority, rank, id";
            self.session.connection.execute_batch(sql)?;
            self.head.ranked_up_to = self.head.sequence;
        }
        self.head.order = Some(order);
        self.head.age = 0;
        self.head.rank_next = Some(0);
        Ok(())
    }

    /// Empties `ranks`, which nobody needs without a limit.
    pub(super) fn end_ranking(&mut self) -> Tried<()> {
        if self.head.order.is_some() {
            self.head.order = None;
            self.head.rank_next = None;
            self.head.ranked_up_to = 0;
            self.session.connection.execute_batch("DELETE FROM ranks")?;
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
            let before = row.get_ref(8)?.as_i64().unwrap_or(0);
            ranks.push((id, row.get_ref(9)?.as_f64().unwrap_or(0.0), before, rank));
        }
        drop(rows);
        self.head.rank_next = match ranks.last() {
            Some((last, ..)) if ranks.len() == ENTRIES_PER_STEP => last.checked_add(1),
            _ => None,
        };
        for (id, priority, before, rank) in ranks {
            if rank != before {
                self.session.statement(Sql::SetRank)?.execute((id, rank))?;
                self.session.statement(Sql::MoveRank)?.execute((priority, before, id, rank))?;
            }
        }
        Ok(())
    }

    /// Sees to it that `ranks` holds every entry. All are ranked anew only where another process has lifted its
    /// limits since this one set its own.
    pub(super) fn rank_all(&mut self) -> Tried<()> {
        if self.head.order.is_none() {
            self.begin_ranking(self.limits.order)?;
            while self.head.rank_next.is_some() {
                self.rank_some()?;
            }
        }
        if self.head.ranked_up_to < self.head.sequence {
            self.session.statement(Sql::RankNew)?.execute((self.head.ranked_up_to,))?;
            self.head.ranked_up_to = self.head.sequence;
        }
        Ok(())
    }

    /// Enters what was just put into `ranks` if it is time to.
    pub(super) fn rank_put(&mut self, priority: f64, rank: i64, id: i64, size: i64) -> Tried<()> {
        if self.head.order.is_none() {
            return Ok(());
        }
        let missing = self.head.sequence - self.head.ranked_up_to;
        if self.is_over(self.head.entries / 16 + 1, (self.head.bytes / 16).saturating_add(size)) {
            // Soon each put evicts something. Then nothing is gained by waiting, and a search in each namespace
            // would be paid each time.
            if missing == 1 {
                self.session.statement(Sql::InsertRank)?.execute((priority, rank, id))?;
                self.head.ranked_up_to = self.head.sequence;
                return Ok(());
            }
            return self.rank_all();
        }
        if missing % PUTS_AT_ONCE == 0 {
            let count = self.session.statement(Sql::CountNamespaces)?;
            let namespaces: i64 = count.query_row((), |row| row.get(0))?;
            if missing >= namespaces.saturating_mul(PUTS_PER_NAMESPACE) {
                return self.rank_all();
            }
        }
        Ok(())
    }

    /// Gives an entry another rank.
    pub(super) fn set_rank(&mut self, row: &EntryRow, rank: i64) -> Tried<()> {
        if rank != row.rank {
            self.session.statement(Sql::SetRank)?.execute((row.id, rank))?;
            self.move_rank(row, rank)?;
        }
        Ok(())
    }

    /// Lets `ranks` know that an entry has another rank.
    pub(super) fn move_rank(&mut self, row: &EntryRow, rank: i64) -> Tried<()> {
        if rank != row.rank && self.is_ranked(row) {
            self.session.statement(Sql::MoveRank)?.execute((row.priority, row.rank, row.id, rank))?;
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
        version_of(row.id) <= self.head.ranked_up_to
    }
}
