//! Reading entries around damaged pages: by id from the first to the last, stepping over what cannot be read; then backwards
//! into each gap; then, by the index over keys, one by one what is still missing in the gaps.

use std::collections::VecDeque;

use bytes::Bytes;
use cacheness_core::{BlobId, Location, Namespace, SalvagedRow, StoredEntry, Timestamp, Version};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::source::Source;
use crate::sqlite::schema::{MAX_VERSION, generation_of};
use crate::sqlite::transaction::lenient;

/// How many rows are read at once.
const AT_ONCE: usize = 500;

macro_rules! columns {
    () => {
        "SELECT id, version, generation, key, accessed_at, hits, expires_at, blob_id, record, inline FROM entries NOT INDEXED "
    };
}

const UP: &str = concat!(columns!(), "WHERE id > ?1 ORDER BY id LIMIT 500");
const DOWN: &str = concat!(columns!(), "WHERE id < ?1 ORDER BY id DESC LIMIT 500");
const ONE: &str = concat!(columns!(), "WHERE id = ?1");
const IDS: &str = "SELECT id, version FROM entries NOT INDEXED WHERE id > ?1 ORDER BY id LIMIT 10000";
const KEYS_UP: &str = "SELECT generation, key, id FROM entries INDEXED BY entries_by_key \
                       WHERE (generation, key) > (?1, ?2) ORDER BY generation, key LIMIT 500";
const KEYS_DOWN: &str = "SELECT generation, key, id FROM entries INDEXED BY entries_by_key \
                         WHERE (generation, key) < (?1, ?2) ORDER BY generation DESC, key DESC LIMIT 500";

/// Ids between which rows may be that were not read, both left out.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: i64,
    to: i64,
}

/// How far the reading has come.
#[derive(Default)]
pub(super) struct Walk {
    phase: Phase,
    ready: VecDeque<SalvagedRow>,
    gaps: Vec<Gap>,
}

enum Phase {
    Up(Steps),
    /// The gap that is being read backwards.
    Down(usize),
    Keys(Keys),
    Done,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Up(Steps::default())
    }
}

impl Walk {
    /// The next rows; none when all have been read.
    pub(super) fn next(&mut self, source: &mut Source) -> Vec<SalvagedRow> {
        while self.ready.is_empty() {
            match &mut self.phase {
                Phase::Up(steps) => {
                    let (rows, gap, more) =
                        steps.take(|after| batch(source, UP, after, |id, last| id > last));
                    self.ready.extend(rows);
                    self.gaps.extend(gap);
                    if !more {
                        self.phase = Phase::Down(0);
                    }
                }
                Phase::Down(at) => {
                    let Some(gap) = self.gaps.get_mut(*at) else {
                        let missing = self.gaps.iter().any(|gap| gap.from.saturating_add(1) < gap.to);
                        self.phase = if missing { Phase::Keys(Keys::default()) } else { Phase::Done };
                        continue;
                    };
                    let (from, mut reached) = (gap.from, false);
                    let (rows, last, whole) = batch(source, DOWN, gap.to, |id, last| {
                        reached |= id <= from;
                        id < last && !reached
                    });
                    // Where it read on to the beginning, nothing is missing.
                    let at_end = reached || (whole && last == gap.to);
                    gap.to = if at_end { from } else { last.min(gap.to) };
                    if at_end || !whole {
                        *at += 1;
                    }
                    self.ready.extend(rows);
                }
                Phase::Keys(keys) => {
                    let Some(found) = keys.next(&source.connection) else {
                        self.phase = Phase::Done;
                        continue;
                    };
                    for (generation, key, id) in found {
                        if self.gaps.iter().any(|gap| gap.from < id && id < gap.to) {
                            self.ready.extend(one(source, generation, key, id));
                        }
                    }
                }
                Phase::Done => break,
            }
        }
        self.ready.drain(..).collect()
    }
}

/// A walk upwards that steps over what cannot be read: by one, two, four and so on, until something can.
#[derive(Default)]
struct Steps {
    last: i64,
    step: i64,
}

impl Steps {
    /// Reads the next batch: what was read, the gap before it, and whether there is more to try.
    fn take<T>(&mut self, read: impl FnOnce(i64) -> (Vec<T>, i64, bool)) -> (Vec<T>, Option<Gap>, bool) {
        let from = self.last.saturating_add(self.step);
        let (found, last, whole) = read(from);
        if found.is_empty() && last <= from {
            if !whole {
                // Nothing could be read from here on.
                self.step = if self.step == 0 { 1 } else { self.step.saturating_mul(2) };
                let end = self.step > i64::MAX / 4;
                return (found, end.then_some(Gap { from: self.last, to: i64::MAX }), !end);
            }
            let gap = (self.step > 0).then_some(Gap { from: self.last, to: i64::MAX });
            return (found, gap, false);
        }
        // Everything between where it failed and where it could read again is to be looked for. What was read is read once
        // more at the worst.
        let gap = (self.step > 0).then_some(Gap { from: self.last, to: from.saturating_add(1) });
        self.last = last.max(from);
        self.step = i64::from(!whole);
        (found, gap, true)
    }
}

/// Reads up to 500 rows from an id on: what they are, the last id, and whether nothing failed.
fn batch(
    source: &Source,
    sql: &str,
    from: i64,
    mut goes_on: impl FnMut(i64, i64) -> bool,
) -> (Vec<SalvagedRow>, i64, bool) {
    let (mut found, mut last) = (Vec::new(), from);
    let whole = (|| {
        let mut statement = source.connection.prepare(sql)?;
        let mut rows = statement.query((from,))?;
        while let Some(row) = rows.next()? {
            let id = row.get::<_, i64>(0)?;
            if !goes_on(id, last) {
                // The pages are out of order, or what comes next is known.
                return Ok(false);
            }
            last = id;
            found.extend(decode(source, row, id));
        }
        Ok::<_, rusqlite::Error>(true)
    })();
    (found, last, whole.unwrap_or(false))
}

/// Looks one entry up that the index over keys names.
fn one(source: &Source, generation: i64, key: String, id: i64) -> Option<SalvagedRow> {
    let read = (|| {
        let mut statement = source.connection.prepare(ONE)?;
        let mut rows = statement.query((id,))?;
        match rows.next()? {
            Some(row) => Ok(decode(source, row, id)),
            None => Ok(None),
        }
    })();
    match read {
        Ok(Some(row)) => Some(row),
        Ok(None) | Err(rusqlite::Error::SqliteFailure(..)) => {
            let namespace = source.names.get(&generation)?.clone();
            Some(SalvagedRow::Lost { namespace: Some(namespace), key: Some(key) })
        }
        Err(_) => None,
    }
}

/// What a row says. `None` for one of a generation that was cleared.
fn decode(source: &Source, row: &Row<'_>, id: i64) -> Option<SalvagedRow> {
    let number = |index: usize| row.get_ref(index).map_or(0, lenient);
    let bytes = |index: usize| row.get_ref(index).ok().and_then(|value| value.as_bytes().ok());
    let generation = generation_of(id);
    if source.cleared.as_ref().is_some_and(|all| all.contains(&generation)) {
        return None;
    }
    let lost = |namespace: Option<&Namespace>, key: Option<&str>| {
        Some(SalvagedRow::Lost { namespace: namespace.cloned(), key: key.map(str::to_owned) })
    };
    let key = match row.get_ref(3) {
        Ok(ValueRef::Text(key)) => std::str::from_utf8(key).ok(),
        _ => None,
    };
    let known = source.names.get(&generation);
    let Some(key) = key.filter(|_| number(2) == generation) else { return lost(known, None) };
    let version = Version(number(1).clamp(0, MAX_VERSION).unsigned_abs());
    let blob = bytes(7).and_then(BlobId::from_slice);
    let inline = match bytes(9) {
        Some(bytes) => Some(Bytes::copy_from_slice(bytes)),
        None if blob.is_none() => long_value(&source.connection, number(1)),
        None => None,
    };
    let read = |namespace: &Namespace| {
        let at = Timestamp::from_nanos(number(4));
        let mut entry = StoredEntry::new(bytes(8).unwrap_or_default(), namespace.clone(), key, version, at);
        entry.hits = number(5).max(0).unsigned_abs();
        entry.expires_at = row.get_ref(6).ok().and_then(|at| at.as_i64().ok()).map(Timestamp::from_nanos);
        entry.inline_omitted = inline.is_none();
        entry.inline.clone_from(&inline);
        entry.decode().ok().filter(|entry| entry.location != Location::InlineOmitted)
    };
    let entry = match known {
        Some(namespace) => read(namespace),
        // A generation that was certainly not cleared is shown by the namespace that the record is tied to.
        None if source.cleared.is_some() => source.candidates.iter().find_map(read),
        None => None,
    };
    if let Some(entry) = entry {
        return Some(SalvagedRow::Entry(Box::new(entry)));
    }
    match (known, blob) {
        (Some(namespace), Some(blob)) => {
            Some(SalvagedRow::Blob { namespace: namespace.clone(), key: key.to_owned(), version, blob })
        }
        (known, _) => lost(known, Some(key)),
    }
}

/// A value that is too long to stand in the row of its entry.
fn long_value(connection: &Connection, version: i64) -> Option<Bytes> {
    let mut statement = connection.prepare("SELECT bytes FROM inline_values WHERE version = ?1").ok()?;
    statement
        .query_row((version,), |row| Ok(row.get_ref(0)?.as_blob().ok().map(Bytes::copy_from_slice)))
        .ok()
        .flatten()
}

/// The keys that the index over them names, with their ids: upwards to where it cannot be read, then from the end down.
#[derive(Default)]
struct Keys {
    at: (i64, String),
    down: bool,
    done: bool,
}

impl Keys {
    fn next(&mut self, connection: &Connection) -> Option<Vec<(i64, String, i64)>> {
        if self.done {
            return None;
        }
        let (mut found, mut last) = (Vec::new(), self.at.clone());
        let (sql, down) = (if self.down { KEYS_DOWN } else { KEYS_UP }, self.down);
        let whole = (|| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query((last.0, &last.1))?;
            while let Some(row) = rows.next()? {
                let place = (row.get::<_, i64>(0)?, row.get::<_, String>(1)?);
                if (place < last) != down || place == last {
                    return Ok(false);
                }
                found.push((place.0, place.1.clone(), row.get(2)?));
                last = place;
            }
            Ok::<_, rusqlite::Error>(true)
        })();
        let whole = whole.unwrap_or(false);
        self.at = last;
        if !whole && !self.down {
            // No key is as high as this one.
            (self.at, self.down) = ((i64::MAX, String::new()), true);
        } else if !whole || found.len() < AT_ONCE {
            self.done = true;
        }
        Some(found)
    }
}

/// The versions and generations of all entries that can be read.
#[derive(Default)]
pub(super) struct Ids {
    steps: Steps,
    ready: VecDeque<(i64, i64)>,
    done: bool,
}

impl Ids {
    /// How many entries can be read.
    pub(super) fn count(connection: &Connection) -> usize {
        let mut walk = Self::default();
        std::iter::from_fn(|| walk.next(connection)).count()
    }

    pub(super) fn next(&mut self, connection: &Connection) -> Option<(i64, i64)> {
        while self.ready.is_empty() && !self.done {
            let (found, _, more) = self.steps.take(|from| {
                let (mut found, mut last) = (Vec::new(), from);
                let whole = (|| {
                    let mut statement = connection.prepare(IDS)?;
                    let mut rows = statement.query((from,))?;
                    while let Some(row) = rows.next()? {
                        let id = row.get::<_, i64>(0)?;
                        if id <= last {
                            return Ok(false);
                        }
                        last = id;
                        found.push((generation_of(id), lenient(row.get_ref(1)?).clamp(0, MAX_VERSION)));
                    }
                    Ok::<_, rusqlite::Error>(true)
                })();
                (found, last, whole.unwrap_or(false))
            });
            self.ready.extend(found);
            self.done = !more;
        }
        self.ready.pop_front()
    }
}
