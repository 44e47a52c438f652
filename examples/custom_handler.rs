//! A handler of your own: measurements, stored column by column, so that one of them can be read without the others.
//!
//! `cargo run --example custom_handler`
//!
//! `Readings` is a serde type, so `msgpack` stores it unless told otherwise. `ColumnsHandler` is registered first and
//! takes it over: each column is compressed by itself, and how many rows and which columns there are is kept beside
//! the bytes.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

// shows: row 46

use std::collections::BTreeMap;

use cacheness::*;
use serde::{Deserialize, Serialize};

/// Named columns of measurements.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
struct Readings(BTreeMap<String, Vec<f64>>);

/// What is kept with the entry: the handler's `FormatMeta`, as JSON.
#[derive(Serialize, Deserialize)]
struct Header {
    row_count: u64,
    /// Names, and how many bytes each column has in the blob, in its order.
    columns: Vec<(String, u64)>,
}

struct ColumnsHandler;

impl CacheHandler for ColumnsHandler {
    fn name(&self) -> &str {
        "columns"
    }

    fn description(&self) -> &str {
        "Columns of measurements, each compressed by itself."
    }

    fn class(&self) -> TypeClass {
        TypeClass::Native
    }

    /// Readings whose columns differ in length are left to `msgpack`.
    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        value.any().downcast_ref::<Readings>().is_some_and(|Readings(columns)| {
            let mut lengths = columns.values().map(Vec::len);
            let first = lengths.next();
            lengths.all(|length| Some(length) == first)
        })
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is::<Readings>()
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        let Some(Readings(columns)) = value.any().downcast_ref() else {
            return Err(Error::new(ErrorKind::Encode, "not `Readings`"));
        };
        let rows = columns.values().next().map_or(0, Vec::len);
        let mut header = Header { row_count: rows as u64, columns: Vec::new() };
        for (name, column) in columns {
            let bytes: Vec<u8> = column.iter().flat_map(|number| number.to_le_bytes()).collect();
            let compressed = lz4_flex::block::compress(&bytes);
            header.columns.push((name.clone(), compressed.len() as u64));
            writer.write_all(&compressed).map_err(|error| Error::io(error, "writing a column"))?;
        }
        let header = serde_json::to_vec(&header).map_err(|error| {
            Error::new(ErrorKind::Encode, "the columns' names do not become JSON").with_source(error)
        })?;
        Ok(FormatMeta::new(header))
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        meta: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        if !self.can_decode(target) {
            return Err(damaged("not asked for `Readings`"));
        }
        if options.wanted_rows().is_some() || options.predicate().is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "`columns` reads whole columns, without a filter",
            ));
        }
        let header: Header = serde_json::from_slice(meta.as_bytes())
            .map_err(|error| damaged("the header is no JSON").with_source(error))?;
        let wanted = |name: &String| options.wanted_columns().is_none_or(|wanted| wanted.contains(name));
        if let Some(missing) = options
            .wanted_columns()
            .and_then(|wanted| wanted.iter().find(|name| !header.columns.iter().any(|(has, _)| has == *name)))
        {
            return Err(Error::new(ErrorKind::InvalidInput, format!("there is no column `{missing}`")));
        }

        let mut ranges = Vec::new();
        let mut at = 0_u64;
        for (name, length) in header.columns {
            let end = at.checked_add(length).ok_or_else(|| damaged("a column ends nowhere"))?;
            if wanted(&name) {
                ranges.push((name, at..end));
            }
            at = end;
        }
        // From a remote blob all of them come in one go, and nothing else does.
        reader.prefetch(&ranges.iter().map(|(_, range)| range.clone()).collect::<Vec<_>>())?;
        let mut columns = BTreeMap::new();
        for (name, range) in ranges {
            columns.insert(name, column(&reader.read_at(range)?, header.row_count)?);
        }
        Ok(Box::new(Readings(columns)))
    }

    fn preferred_access(&self) -> Access {
        Access::Range
    }

    fn compresses(&self) -> bool {
        true
    }
}

/// Decodes one column. Nothing is allocated by a length that the bytes cannot have: LZ4 expands 255 times at most.
fn column(compressed: &[u8], rows: u64) -> Result<Vec<f64>> {
    let length = usize::try_from(rows).ok().and_then(|rows| rows.checked_mul(8));
    let length = length.filter(|length| length / 255 <= compressed.len());
    let length = length.ok_or_else(|| damaged("a column cannot have that many rows"))?;
    let bytes = lz4_flex::block::decompress(compressed, length)
        .map_err(|error| damaged("a column is no LZ4").with_source(error))?;
    let (numbers, rest) = bytes.as_chunks();
    if bytes.len() != length || !rest.is_empty() {
        return Err(damaged("a column has another length than the header says"));
    }
    Ok(numbers.iter().map(|number| f64::from_le_bytes(*number)).collect())
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Decode, what)
}

fn main() -> Result<()> {
    let mut registry = Registry::builtin();
    registry.register_handler(ColumnsHandler, Register::first())?;
    let cache = CacheBuilder::new(registry).open_blocking()?;

    let day = Readings(BTreeMap::from([
        ("temperature".to_owned(), (0..86_400).map(|second| f64::from(second / 600)).collect()),
        ("pressure".to_owned(), (0..86_400).map(|second| f64::from(1000 + second / 900)).collect()),
    ]));
    let stored = cache.put("day", &day)?;
    let kept = cache.get_entry("day")?.map(|entry| entry.format.clone());
    let (handler, header) = kept.map(|format| (format.handler, format.meta)).unwrap_or_default();
    println!("stored by `{handler}`: {} bytes of {}", stored.stored_size, 2 * 8 * 86_400);
    println!("header: {}", String::from_utf8_lossy(header.as_bytes()));
    println!("the same comes back: {}", cache.get("day")?.is_some_and(|back: Readings| back == day));
    let one: Option<Readings> = cache.get_with("day", &ReadOptions::columns(["pressure"]))?;
    println!("one column alone: {:?}", one.unwrap_or_default().0.keys());
    Ok(())
}

#[cfg(test)]
mod tests {
    use cacheness_testkit::handler::HandlerCase;

    use super::*;

    // shows: row 67
    #[test]
    fn the_handler_passes_the_suite() {
        let readings = |rows: u32| {
            let column = (0..rows).map(f64::from).collect::<Vec<_>>();
            Readings(BTreeMap::from([("a".to_owned(), column.clone()), ("b".to_owned(), column)]))
        };
        let uneven = Readings(BTreeMap::from([("a".to_owned(), vec![1.0]), ("b".to_owned(), vec![])]));
        HandlerCase::new(ColumnsHandler)
            .is_named("columns", TypeClass::Native)
            .accepts(&readings(1000))
            .accepts(&readings(0))
            .accepts(&Readings::default())
            .rejects(&uneven)
            .rejects(&7_u32)
            .decodes_no::<u32, _>();
    }
}
