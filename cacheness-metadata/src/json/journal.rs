//! The journal: a line that says to which snapshot it belongs, then one line for each write since, and one that ends
//! it when the next snapshot is made.

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use cacheness_core::Result;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::checksum;
use super::failure::{FORMAT, check_format, damaged, unreadable};
use super::snapshot::{Identity, is_id};
use super::text::{self, Text};

/// The changes of one write: keys, and their new values, or `None` for a row that is deleted.
pub(super) type Changes = Vec<(Bytes, Option<Bytes>)>;

/// The line with which a journal begins.
pub(super) fn first_line(identity: &Identity) -> String {
    let Identity { id, generation } = identity;
    format!("{{\"cacheness_journal\":{FORMAT},\"id\":\"{id}\",\"generation\":{generation}}}\n")
}

/// The line of the `number`th write, counted from 1.
pub(super) fn record(generation: u64, number: u64, changes: &Changes) -> Vec<u8> {
    let mut out = format!("{{\"n\":{number},\"changes\":{{").into_bytes();
    for (i, (key, value)) in changes.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        text::write(&mut out, key);
        out.push(b':');
        match value {
            Some(value) => text::write(&mut out, value),
            None => out.extend(b"null"),
        }
    }
    let sum = checksum_of(generation, number, changes);
    out.extend(format!("}},\"checksum\":\"{sum:016x}\"}}\n").bytes());
    out
}

/// The line that ends a journal of so many records: the next snapshot holds all of them.
pub(super) fn last_line(records: u64) -> String {
    format!("{{\"end\":{records}}}\n")
}

/// Reads the first line, and says how long it is.
pub(super) fn parse_first_line(path: &Path, journal: &[u8]) -> Result<(Identity, usize)> {
    let end = journal.iter().position(|&byte| byte == b'\n').map_or(journal.len(), |at| at + 1);
    let line = &journal[..end];
    let read: Header = serde_json::from_slice(line).map_err(|error| unreadable(path, line, error))?;
    check_format(path, read.cacheness_journal)?;
    if !is_id(&read.id) || !line.ends_with(b"\n") {
        return Err(damaged(path, "the journal's first line is none of this program's"));
    }
    Ok((Identity { id: read.id, generation: read.generation }, end))
}

/// What was read of a journal.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Records {
    /// The changes of each write, in order.
    pub(super) writes: Vec<Changes>,
    /// How many bytes hold these writes. What follows is the line that ends the journal, or the rest of a write that
    /// was not finished.
    pub(super) len: usize,
    /// True where the line that ends the journal was read.
    pub(super) ended: bool,
}

/// Reads the records that follow the first `known` ones.
///
/// A write that was interrupted leaves a last line without its end: it is left out. Nothing else is, because whatever
/// has an end may be a write that was made, and that something has damaged since.
pub(super) fn parse(path: &Path, generation: u64, known: u64, journal: &[u8]) -> Result<Records> {
    let mut read = Records::default();
    for line in journal.split_inclusive(|&byte| byte == b'\n') {
        let number = known + read.writes.len() as u64 + 1;
        let is_last = read.len + line.len() == journal.len();
        match line_at(generation, number, line) {
            Ok(Line::Write(changes)) => read.writes.push(changes),
            Ok(Line::End) if is_last => {
                read.ended = true;
                break;
            }
            Err(_) if !line.ends_with(b"\n") => break,
            Ok(Line::End) => return Err(damaged(path, "in the journal, something follows its end")),
            Err(what) => return Err(damaged(path, &format!("in the journal, at write {number}, {what}"))),
        }
        read.len += line.len();
    }
    Ok(read)
}

/// The number and the changes of a write, where the line is one of a journal of this generation.
pub(super) fn write_of(generation: u64, line: &[u8]) -> Option<(u64, Changes)> {
    let Record { n, end: None, changes: Some(Ordered(changes)), checksum } =
        serde_json::from_slice(line).ok()?
    else {
        return None;
    };
    let number = n?;
    (checksum? == format!("{:016x}", checksum_of(generation, number, &changes))).then_some((number, changes))
}

/// True for the line with which a journal ends.
pub(super) fn is_last_line(line: &[u8]) -> bool {
    matches!(
        serde_json::from_slice(line),
        Ok(Record { n: None, end: Some(_), changes: None, checksum: None })
    )
}

enum Line {
    Write(Changes),
    End,
}

fn line_at(generation: u64, number: u64, line: &[u8]) -> std::result::Result<Line, &'static str> {
    if !line.ends_with(b"\n") {
        return Err("the line has no end");
    }
    let read: Record = serde_json::from_slice(line).map_err(|_| "the line is not one of this program's")?;
    match read {
        Record { end: Some(end), n: None, changes: None, .. } if end == number - 1 => Ok(Line::End),
        Record { end: None, n: Some(n), changes: Some(Ordered(changes)), checksum: Some(sum) } => {
            if n != number {
                return Err("the line has the number of another one");
            }
            if sum != format!("{:016x}", checksum_of(generation, number, &changes)) {
                return Err("the line does not match its checksum");
            }
            Ok(Line::Write(changes))
        }
        _ => Err("the line is not one of this program's"),
    }
}

fn checksum_of(generation: u64, number: u64, changes: &Changes) -> u64 {
    checksum::of(generation, number, changes.iter().map(|(key, value)| (key, value.as_ref())))
}

#[derive(serde::Deserialize)]
struct Header {
    cacheness_journal: u64,
    id: String,
    generation: u64,
}

#[derive(serde::Deserialize)]
struct Record {
    n: Option<u64>,
    end: Option<u64>,
    changes: Option<Ordered>,
    checksum: Option<String>,
}

/// Changes in the order in which they stand.
struct Ordered(Changes);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("changes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Ordered, A::Error> {
                let mut changes = Changes::new();
                while let Some((Text(key), value)) = map.next_entry::<Text, Option<Text>>()? {
                    changes.push((key, value.map(|Text(value)| value)));
                }
                Ok(Ordered(changes))
            }
        }

        deserializer.deserialize_map(Read)
    }
}
