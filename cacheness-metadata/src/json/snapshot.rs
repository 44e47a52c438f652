//! The snapshot: all rows as one JSON document, with one row a line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use cacheness_core::Result;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::failure::{check_format, damaged, unreadable};
use super::text::{self, Text};
use super::{checksum, failure};

/// All rows, in the order of their keys.
pub(super) type Rows = BTreeMap<Bytes, Bytes>;

/// Which snapshot and journal belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    /// Drawn when the index is created; text without anything that JSON would escape.
    pub(super) id: String,
    /// How many snapshots there have been, this one included.
    pub(super) generation: u64,
}

/// A snapshot that was read.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) identity: Identity,
    pub(super) rows: Rows,
}

/// The line with which a snapshot begins.
pub(super) fn first_line(identity: &Identity) -> String {
    let (format, Identity { id, generation }) = (failure::FORMAT, identity);
    format!("{{\"cacheness_index\":{format},\"id\":\"{id}\",\"generation\":{generation},\"rows\":{{\n")
}

/// The whole document.
pub(super) fn render(identity: &Identity, rows: &Rows) -> Vec<u8> {
    let mut out = first_line(identity).into_bytes();
    for (i, (key, value)) in rows.iter().enumerate() {
        if i > 0 {
            out.extend(b",\n");
        }
        text::write(&mut out, key);
        out.push(b':');
        text::write(&mut out, value);
    }
    let sum = checksum_of(identity.generation, rows);
    out.extend(format!("\n}},\"checksum\":\"{sum:016x}\"}}\n").bytes());
    out
}

/// Reads a document; `path` is for errors.
pub(super) fn parse(path: &Path, json: &[u8]) -> Result<Snapshot> {
    let read: Document = serde_json::from_slice(json).map_err(|error| unreadable(path, json, error))?;
    check_format(path, read.cacheness_index)?;
    let sum = checksum_of(read.generation, &read.rows.0);
    if read.checksum != format!("{sum:016x}") {
        return Err(damaged(path, "the rows do not match their checksum"));
    }
    if !is_id(&read.id) {
        return Err(damaged(path, "the id is none"));
    }
    let identity = Identity { id: read.id, generation: read.generation };
    Ok(Snapshot { identity, rows: read.rows.0 })
}

/// Which snapshot a damaged document is, by its first line as this program writes it.
pub(super) fn first_line_of(json: &[u8]) -> Option<Identity> {
    #[derive(serde::Deserialize)]
    struct Header {
        cacheness_index: u64,
        id: String,
        generation: u64,
    }
    let end = json.iter().position(|&byte| byte == b'\n')?;
    let read: Header = serde_json::from_slice(&[&json[..end], b"}}"].concat()).ok()?;
    let is_one = read.cacheness_index == failure::FORMAT && is_id(&read.id);
    is_one.then_some(Identity { id: read.id, generation: read.generation })
}

/// The rows of a damaged document that can be read, one a line as this program writes them.
pub(super) fn lines_of(json: &[u8]) -> Rows {
    let lines = json.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"\""));
    let row = |line: &[u8]| {
        let line = line.strip_suffix(b",").unwrap_or(line);
        serde_json::from_slice::<UniqueRows>(&[b"{", line, b"}"].concat()).ok()
    };
    lines.filter_map(row).flat_map(|row| row.0).collect()
}

/// True for what can be the id of an index.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn checksum_of(generation: u64, rows: &Rows) -> u64 {
    checksum::of(generation, 0, rows.iter().map(|(key, value)| (key, Some(value))))
}

#[derive(serde::Deserialize)]
struct Document {
    cacheness_index: u64,
    id: String,
    generation: u64,
    rows: UniqueRows,
    checksum: String,
}

/// Rows of which none was given twice.
struct UniqueRows(Rows);

impl<'de> Deserialize<'de> for UniqueRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = UniqueRows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("rows")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueRows, A::Error> {
                let mut rows = Rows::new();
                while let Some((Text(key), Text(value))) = map.next_entry()? {
                    if rows.insert(key, value).is_some() {
                        return Err(A::Error::custom("a row stands twice"));
                    }
                }
                Ok(UniqueRows(rows))
            }
        }

        deserializer.deserialize_map(Read)
    }
}
