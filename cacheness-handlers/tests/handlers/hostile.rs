//! Bytes that no handler wrote: they are errors, and no panic gets out.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_ipc::{Field, root_as_footer};
use cacheness_core::{CacheHandler, Compression, ErrorKind, FormatMeta, ReadOptions, column};
use cacheness_handlers::{ArrowIpcHandler, ParquetHandler};

use crate::memory::{Stored, aligned, get_with, put, put_with};
use crate::tables::{arrow_only, mixed, rows};

const CHANGES: u64 = 2_000;

thread_local! {
    /// The panics of this thread, caught or not; `None` where they are printed as usual.
    static PANICS: Cell<Option<usize>> = const { Cell::new(None) };
}

fn count_panics(run: impl FnOnce()) -> usize {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| match PANICS.get() {
            Some(count) => {
                if std::env::var_os("SHOW_PANICS").is_some() {
                    usual(info);
                }
                PANICS.set(Some(count + 1));
            }
            None => usual(info),
        }));
    });
    PANICS.set(Some(0));
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let count = PANICS.replace(None).unwrap_or_default();
    result.unwrap_or_else(|payload| panic::resume_unwind(payload));
    count
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }
}

fn change(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let position = random.below(bytes.len());
    match random.below(6) {
        0 => changed.truncate(position),
        1 => changed[position] ^= 1 << random.below(8),
        2 => changed[position] = random.below(256) as u8,
        3 => {
            // Numbers that are likely to be taken for lengths.
            let extreme = [i64::MAX, i64::MIN, -1, 0, 1 << 31, 1 << 40, 0xff][random.below(7)].to_le_bytes();
            let position = position & !3;
            let end = (position + [4, 8][random.below(2)]).min(changed.len());
            changed[position..end].copy_from_slice(&extreme[..end - position]);
        }
        4 => {
            let len = random.below(64).min(bytes.len() - position);
            let from = random.below(bytes.len() - len);
            changed.copy_within(from..from + len, position);
        }
        _ => {
            for _ in 0..4 {
                let position = random.below(bytes.len());
                changed[position] ^= 1 << random.below(8);
            }
        }
    }
    changed
}

/// Reads a damaged value in several ways. What comes back is a table or the right error.
fn read(handler: &dyn CacheHandler, stored: &Stored) {
    let list = get_with::<Vec<RecordBatch>, _>(handler, stored, &ReadOptions::new()).map(drop);
    let filter = ReadOptions::new().rows(1..1000).filter(column("i64").gt(0)).filter(column("utf8").lt("x"));
    let part = get_with::<RecordBatch, _>(handler, stored, &filter).map(drop);
    for result in [list, part] {
        if let Err(error) = result {
            let kind = error.kind();
            let wanted = matches!(
                kind,
                // A changed name or type of a column looks as if the caller had named a wrong one.
                ErrorKind::Decode | ErrorKind::Corrupted | ErrorKind::InvalidInput | ErrorKind::LimitExceeded
            );
            assert!(wanted, "{error:?}");
        }
    }
}

/// Returns how many panics of the decoders the handler caught.
fn attack(handler: &dyn CacheHandler, stored: &Stored, seed: u64) -> usize {
    count_panics(|| {
        let mut random = Random(seed);
        for _ in 0..CHANGES {
            let bytes = aligned(&change(&stored.bytes, &mut random), 0);
            read(handler, &Stored { bytes, meta: stored.meta.clone() });
            if !stored.meta.as_bytes().is_empty() {
                let meta = FormatMeta::new(change(stored.meta.as_bytes(), &mut random));
                read(handler, &Stored { bytes: stored.bytes.clone(), meta });
            }
        }
    })
}

fn lists() -> [Vec<RecordBatch>; 3] {
    [vec![mixed(), mixed()], vec![arrow_only()], vec![rows(0..50), rows(50..51)]]
}

#[test]
fn a_damaged_ipc_file_never_panics() {
    let handler = ArrowIpcHandler::new();
    let mut panics = 0;
    for (seed, list) in lists().iter().enumerate() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
            let stored = put_with(&handler, list, Some(compression)).unwrap();
            panics += attack(&handler, &stored, seed as u64);
        }
    }
    assert_eq!(panics, 0, "the checks before the decoder leave nothing to panic about");
}

#[test]
fn a_damaged_parquet_file_never_panics() {
    let handler = ParquetHandler::new().row_group_rows(20);
    for (seed, list) in [vec![mixed(), mixed()], vec![rows(0..50), rows(50..51)]].iter().enumerate() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
            let stored = put_with(&handler, list, Some(compression)).unwrap();
            // The decoder of Parquet's pages does panic on a few; what counts here is that the handler does not.
            attack(&handler, &stored, seed as u64);
            let alone = Stored { meta: FormatMeta::default(), ..stored };
            attack(&handler, &alone, seed as u64);
        }
    }
}

#[test]
fn garbage_and_every_truncation_are_decode_errors() {
    let handlers: [&dyn CacheHandler; 2] = [&ArrowIpcHandler::new(), &ParquetHandler::new()];
    for handler in handlers {
        let whole = put(handler, &rows(0..10)).unwrap();
        for len in 0..whole.bytes.len() {
            let bytes = aligned(&whole.bytes[..len], 0);
            let damaged = Stored { bytes, meta: whole.meta.clone() };
            match get_with::<RecordBatch, _>(handler, &damaged, &ReadOptions::new()) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Decode, "{len}"),
                // The footer of a Parquet file is with the entry, so the blob may lack its own.
                Ok(_) => {
                    assert_eq!(handler.name(), "parquet");
                    assert!(len + whole.meta.as_bytes().len() + 8 >= whole.bytes.len());
                }
            }
        }
        let mut random = Random(7);
        for _ in 0..CHANGES {
            let mut garbage: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
            if handler.name() == "arrow_ipc" {
                garbage.splice(0..0, *b"ARROW1\0\0");
                garbage.extend([random.below(200) as u8, 0, 0, 0]);
                garbage.extend(b"ARROW1");
            } else {
                garbage.extend([random.below(200) as u8, 0, 0, 0]);
                garbage.extend(b"PAR1");
            }
            read(handler, &Stored { bytes: aligned(&garbage, 0), meta: FormatMeta::default() });
        }
    }
}

#[test]
fn a_schema_whose_fields_share_one_long_name_is_refused() {
    let none = || Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef;
    let long = "n".repeat(100_000);
    let names = (0..3_000).map(|n| if n == 0 { long.clone() } else { n.to_string() });
    let table = RecordBatch::try_from_iter(names.map(|name| (name, none()))).unwrap();
    let handler = ArrowIpcHandler::new();
    let mut stored = put(&handler, &table).unwrap();
    assert_eq!(get_with::<RecordBatch, _>(&handler, &stored, &ReadOptions::new()).unwrap(), table);
    // All names become that of the first field, which lies behind them.
    let mut bytes = stored.bytes.to_vec();
    let end = bytes.len() - 10;
    let start = end - u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    let places: Vec<usize> = {
        let footer = root_as_footer(&bytes[start..end]).unwrap();
        let fields = footer.schema().unwrap().fields().unwrap();
        let place = |field: Field<'_>| {
            let table = field._tab;
            start + table.loc() + usize::from(table.vtable().get(Field::VT_NAME))
        };
        fields.iter().map(place).collect()
    };
    let offset_at = |bytes: &[u8], place: usize| {
        place + u32::from_le_bytes(bytes[place..place + 4].try_into().unwrap()) as usize
    };
    let name = offset_at(&bytes, places[0]);
    for &place in &places[1..] {
        let offset = u32::try_from(name - place).unwrap();
        bytes[place..place + 4].copy_from_slice(&offset.to_le_bytes());
    }
    stored.bytes = aligned(&bytes, 0);
    let error = get_with::<RecordBatch, _>(&handler, &stored, &ReadOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("repeats its names"), "{error}");
}
