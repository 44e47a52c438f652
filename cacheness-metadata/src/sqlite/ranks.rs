//! The table `ranks`: entries in the order in which they are evicted.
//!
//! It is filled bit by bit once the cache comes near its limits, so that a cache that stays far from them does not pay
//! for it, and no single put pays for all that went before. An eviction by limit that finds it incomplete has it
//! filled first, in transactions that are each short.

use cacheness_core::Namespace;

use super::failure::{Failure, Tried};
use super::maintenance::ENTRIES_PER_STEP;
use super::reader;
use super::schema::generation_of;
use super::statements::Sql;
use super::transaction::{EntryRow, Transaction, lenient};

/// How many entries each put ranks while they are to be ranked. A put is near the limits when a sixteenth more than
/// there is would be over them, so with this all entries are ranked before that, unless a few large values reach them.
pub(super) const RANKED_PER_PUT: usize = 32;

/// Which part of what there is would reach the limits when ranking begins.
const NEAR: i64 = 16;

/// All entries are ranked when they are so up to this id.
const ALL: i64 = i64::MAX;

impl Transaction<'_, '_> {
    /// Empties `ranks`: nobody needs it any more, or it is to be filled anew.
    pub(super) fn end_ranking(&mut self) -> Tried<()> {
        if self.totals.head.ranked_to.is_some() {
            self.session.connection.execute_batch("DELETE FROM ranks")?;
        }
        self.totals.head.ranked_to = None;
        self.totals.head.age = 0;
        Ok(())
    }

    /// True where there are entries to be ranked, because a namespace has limits, or the cache with so many more bytes in
    /// it is near its own.
    pub(super) fn is_to_be_ranked(&self, bytes: i64) -> bool {
        let (head, rules) = (&self.totals.head, &self.totals.rules);
        if head.ranked_to == Some(ALL) || !rules.are_ranking() {
            return false;
        }
        let (entries, bytes) = (head.entries / NEAR + 1, (head.bytes / NEAR).saturating_add(bytes));
        rules.limited > 0 || self.is_over(None, (entries, bytes))
    }

    /// Ranks the next entries, `most` at the most, by the present order.
    pub(super) fn rank_some(&mut self, most: usize) -> Tried<()> {
        let ranking = self.totals.rules.ranking()?;
        let (from, age) = (self.totals.head.ranked_to.unwrap_or(0), self.totals.head.age);
        let mut found = Vec::with_capacity(most);
        let mut rows = self.session.statement(Sql::Unranked)?.query((from, most as i64))?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(7)?.as_str().ok().and_then(|name| Namespace::new(name).ok());
            let id = row.get::<_, i64>(10)?;
            // What was cleared needs no rank; what cannot be read is of no use and goes first.
            found.push((
                id,
                name.map(|name| {
                    let before = row.get_ref(8).map(lenient).unwrap_or_default();
                    let priority = row.get_ref(9).ok().and_then(|value| value.as_f64().ok()).unwrap_or(0.0);
                    let expires_at = row.get_ref(4).ok().and_then(|value| value.as_i64().ok());
                    let entry = reader::entry_of(row, (name.clone(), None), None);
                    let rank = entry.map_or(i64::MIN, |entry| ranking.rank(&entry, age));
                    (name, Place { id, priority, rank, expires_at }, before)
                }),
            ));
        }
        drop(rows);
        self.totals.head.ranked_to = match found.last() {
            Some((last, _)) if found.len() == most => Some(last.saturating_add(1)),
            _ => Some(ALL),
        };
        for (_, entry) in found {
            let Some((name, place, before)) = entry else { continue };
            if place.rank != before {
                self.session.statement(Sql::SetRank)?.execute((place.id, place.rank))?;
            }
            if self.totals.rules.limited > 0 {
                self.tenant(&name)?;
            }
            self.insert_place(&place)?;
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
            self.insert_place(&Place::of(row))?;
        }
        Ok(())
    }

    fn insert_place(&mut self, place: &Place) -> Tried<()> {
        let Place { id, priority, rank, expires_at } = *place;
        self.session.statement(Sql::InsertRank)?.execute((0, priority, rank, id))?;
        if self.is_in_lists(id) {
            let list = generation_of(id);
            self.session.statement(Sql::InsertRank)?.execute((list, priority, rank, id))?;
            if let Some(at) = expires_at {
                self.session.statement(Sql::InsertRank)?.execute((-list, 0.0, at, id))?;
            }
        }
        Ok(())
    }

    /// Lets `ranks` know that an entry has another rank.
    pub(super) fn move_rank(&mut self, row: &EntryRow, priority: f64, rank: i64) -> Tried<()> {
        if self.is_ranked(row) && (rank != row.rank || priority != row.priority) {
            let to = self.session.statement(Sql::MoveRank)?;
            to.execute((0, row.priority, row.rank, row.id, priority, rank))?;
            if self.is_in_lists(row.id) {
                let to = self.session.statement(Sql::MoveRank)?;
                to.execute((generation_of(row.id), row.priority, row.rank, row.id, priority, rank))?;
            }
        }
        Ok(())
    }

    /// Lets `ranks` know that an entry expires at another time.
    pub(super) fn move_expiry(&mut self, row: &EntryRow, expires_at: Option<i64>) -> Tried<()> {
        if self.is_ranked(row) && expires_at != row.expires_at && self.is_in_lists(row.id) {
            let list = -generation_of(row.id);
            if let Some(at) = row.expires_at {
                self.session.statement(Sql::DeleteRank)?.execute((list, 0.0, at, row.id))?;
            }
            if let Some(at) = expires_at {
                self.session.statement(Sql::InsertRank)?.execute((list, 0.0, at, row.id))?;
            }
        }
        Ok(())
    }

    /// Takes an entry out of `ranks`.
    pub(super) fn delete_rank(&mut self, row: &EntryRow) -> Tried<()> {
        if !self.is_ranked(row) {
            return Ok(());
        }
        let Place { id, priority, rank, expires_at } = Place::of(row);
        self.session.statement(Sql::DeleteRank)?.execute((0, priority, rank, id))?;
        // Whether a generation that was cleared was in lists of its own is not known any more.
        if self.totals.rules.limited > 0 {
            let list = generation_of(id);
            self.session.statement(Sql::DeleteRank)?.execute((list, priority, rank, id))?;
            if let Some(at) = expires_at {
                self.session.statement(Sql::DeleteRank)?.execute((-list, 0.0, at, id))?;
            }
        }
        Ok(())
    }

    fn is_ranked(&self, row: &EntryRow) -> bool {
        self.totals.head.ranked_to.is_some_and(|to| row.id < to)
    }

    /// True for an entry of a namespace that has limits. The namespace must be known already.
    fn is_in_lists(&self, id: i64) -> bool {
        self.totals.rules.limited > 0 && {
            let generation = generation_of(id);
            let mut tenants = self.totals.tenants.iter();
            tenants.any(|tenant| tenant.generation == generation && tenant.limits.is_limited())
        }
    }
}

/// Where an entry stands in the lists.
struct Place {
    id: i64,
    priority: f64,
    rank: i64,
    expires_at: Option<i64>,
}

impl Place {
    fn of(row: &EntryRow) -> Self {
        Self { id: row.id, priority: row.priority, rank: row.rank, expires_at: row.expires_at }
    }
}
