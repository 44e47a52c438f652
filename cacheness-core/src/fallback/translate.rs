//! Changes that are made in the second store in place of the first: what conditions mean there, and what its answers
//! mean to the caller.

use super::Shared;
use super::pair::{of_second, shown};
use super::rows::{is_note, removal};
use crate::entry::Entry;
use crate::error::Result;
use crate::metadata::{Change, Condition, Outcome};
use crate::names::{Namespace, Version};

/// What becomes of one change.
enum Plan {
    /// It is not made; the version of the entry that is there.
    Skip(Option<Version>),
    /// It is made in the second store.
    Make {
        /// The version of the entry that is there, which a note does not count as.
        live: Option<Version>,
        /// True where the caller is told that it was made.
        counts: bool,
    },
}

impl Shared {
    /// Makes changes in the second store, which stands for the whole cache: a condition holds or not of what it has.
    pub(super) async fn apply_to_second(&self, changes: Vec<Change>) -> Result<Vec<Outcome>> {
        let rows = self.rows_of(&changes).await?;
        let blobs: Vec<_> = changes.iter().filter_map(blob_of).collect();
        let mut plans = Vec::with_capacity(changes.len());
        let mut made = Vec::with_capacity(changes.len());
        for (change, row) in changes.into_iter().zip(&rows) {
            let (plan, change) = translated(change, row.as_ref())?;
            plans.push(plan);
            made.extend(change);
        }
        let outcomes = if made.is_empty() { Vec::new() } else { self.second.metadata.apply(made).await? };
        self.signal.wake();
        {
            let mut fresh = self.fresh();
            fresh.retain(|blob| !blobs.contains(blob));
        }
        let mut outcomes = outcomes.into_iter();
        let told = plans.into_iter().map(|plan| match plan {
            Plan::Skip(previous) => Outcome::skipped(previous),
            Plan::Make { live, counts } => match outcomes.next() {
                Some(outcome) if outcome.applied && counts => {
                    Outcome::applied(live.map(shown), outcome.version.map(shown))
                }
                _ => Outcome::skipped(live.map(shown)),
            },
        });
        Ok(told.collect())
    }

    /// The rows of the keys that changes name, in their order.
    pub(super) async fn rows_of(&self, changes: &[Change]) -> Result<Vec<Option<Entry>>> {
        let places: Vec<(&Namespace, &str)> = changes.iter().map(place_of).collect();
        let mut rows: Vec<Option<Entry>> = vec![None; places.len()];
        let mut asked: Vec<&Namespace> = Vec::new();
        for (namespace, _) in &places {
            if asked.contains(namespace) {
                continue;
            }
            asked.push(namespace);
            let here: Vec<usize> = (0..places.len()).filter(|&at| places[at].0 == *namespace).collect();
            let keys: Vec<&str> = here.iter().map(|&at| places[at].1).collect();
            for (at, row) in here.into_iter().zip(self.second.metadata.get_entries(namespace, &keys).await?) {
                rows[at] = row;
            }
        }
        Ok(rows)
    }
}

/// The namespace and the key that a change is about.
pub(super) fn place_of(change: &Change) -> (&Namespace, &str) {
    match change {
        Change::Put { entry, .. } => (&entry.namespace, entry.key.as_str()),
        Change::Remove { namespace, key, .. } | Change::Touch { namespace, key, .. } => (namespace, key),
    }
}

pub(super) fn blob_of(change: &Change) -> Option<crate::names::BlobId> {
    match change {
        Change::Put { entry, .. } => entry.blob_id(),
        Change::Remove { .. } | Change::Touch { .. } => None,
    }
}

/// The condition as the second store is to check it; `None` where it does not hold of the row that is there.
fn condition_on(row: Option<&Entry>, condition: Condition) -> Option<Condition> {
    match (condition, row) {
        (Condition::Always, _) => Some(Condition::Always),
        (Condition::Absent, None) => Some(Condition::Absent),
        (Condition::Absent, Some(row)) => is_note(row).then_some(Condition::Version(row.version)),
        (Condition::Version(version), Some(row)) => {
            let own = of_second(version)?;
            (!is_note(row) && own == row.version).then_some(Condition::Version(own))
        }
        (Condition::Version(_), None) => None,
    }
}

fn translated(change: Change, row: Option<&Entry>) -> Result<(Plan, Option<Change>)> {
    let live = row.filter(|row| !is_note(row)).map(|row| row.version);
    let skip = || Ok((Plan::Skip(live.map(shown)), None));
    Ok(match change {
        Change::Put { entry, condition, now } => {
            let Some(condition) = condition_on(row, condition) else { return skip() };
            (Plan::Make { live, counts: true }, Some(Change::Put { entry, condition, now }))
        }
        Change::Remove { namespace, key, condition, now } => {
            // What the first store has under the key has to go, whether or not anything is known of it here.
            let counts = live.is_some();
            if !counts && condition != Condition::Always {
                return skip();
            }
            let Some(condition) = condition_on(row, condition) else { return skip() };
            (Plan::Make { live, counts }, Some(removal(namespace, &key, condition, now)?))
        }
        Change::Touch { namespace, key, condition, expiry, now } => {
            let (Some(version), Some(_)) = (live, condition_on(row, condition)) else { return skip() };
            let condition = Condition::Version(version);
            (
                Plan::Make { live, counts: true },
                Some(Change::Touch { namespace, key, condition, expiry, now }),
            )
        }
    })
}
