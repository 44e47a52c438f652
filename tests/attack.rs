//! What somebody may put in place of what was cached: values that claim to be huge, nest without end, unpack to gigabytes or lie about
//! themselves; and names that other programs would take for paths, statements or patterns.
#![cfg(target_os = "linux")]

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::{
    CacheValue, Checksums, Compression, ErrorKind, FormatMeta, ListOptions, OnReadError, PutOptions, RawEntry,
};
use fs_err as fs;
use ndarray::{Array2, Ix2};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Reading {
    sensor: String,
    values: Vec<f64>,
    more: Vec<Vec<String>>,
    note: Option<Box<Reading>>,
}

fn reading() -> Reading {
    Reading { sensor: "north".into(), values: vec![1.0, 2.5], more: vec![vec!["a".into()]], note: None }
}

fn table() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
    let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..50).map(|i| format!("word {i}"))));
    RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap()
}

/// A cache that tells why it does not serve a value, in a process that is given no more than a gigabyte or two.
fn strict() -> Cache {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: Some(2 << 30), ..before }).unwrap();
    Cache::builder().on_decode_error(OnReadError::Error).open_blocking().unwrap()
}

/// The entry that a put makes.
fn whole(cache: &Cache, handler: &str) -> RawEntry {
    let options = PutOptions::new().handler(handler);
    match handler {
        "text" => cache.put_with("whole", "text", options),
        "npy" => cache.put_with("whole", &Npy(Array2::<f32>::zeros((4, 5))), options),
        "arrow_ipc" | "parquet" => cache.put_with("whole", &table(), options),
        _ => cache.put_with("whole", &reading(), options),
    }
    .unwrap();
    cache.get_raw("whole").unwrap().unwrap()
}

/// Reads a value whose bytes are others than were put. What comes of it is an error that says so, or a value; never a panic.
fn read(cache: &Cache, raw: &RawEntry, bytes: Vec<u8>, meta: Option<Vec<u8>>, what: &str) {
    let mut raw = raw.clone();
    if let Some(meta) = meta {
        raw.entry.format.meta = FormatMeta::new(meta);
    }
    raw.entry.checksums = Checksums::of(&bytes);
    if raw.entry.format.stages.is_empty() {
        raw.entry.size = bytes.len() as u64;
    }
    raw.entry.stored_size = bytes.len() as u64;
    raw.bytes = bytes.into();
    if cache.put_raw(raw.clone()).is_err() {
        // It is not even stored.
        return;
    }
    fn got<T: CacheValue<Via>, Via>(cache: &Cache, what: &str) {
        if let Err(error) = cache.get::<T, Via>("whole") {
            let kind = error.kind();
            let expected =
                [ErrorKind::Decode, ErrorKind::Corrupted, ErrorKind::TypeMismatch, ErrorKind::Unsupported];
            assert!(expected.contains(&kind) || kind == ErrorKind::LimitExceeded, "{what}: {error}");
        }
    }
    match raw.entry.format.handler.as_str() {
        "text" => got::<String, _>(cache, what),
        "npy" => got::<Npy<f32, Ix2>, _>(cache, what),
        "arrow_ipc" | "parquet" => got::<RecordBatch, _>(cache, what),
        _ => got::<Reading, _>(cache, what),
    }
}

#[test]
fn lengths_that_are_not_there_cost_nothing() {
    let cache = strict();
    let huge = [u64::MAX, u64::MAX / 2, 1 << 40, u64::from(u32::MAX), i32::MAX as u64, 1 << 30];
    for handler in ["msgpack", "json", "bincode", "postcard", "text", "npy", "arrow_ipc", "parquet"] {
        let raw = whole(&cache, handler);
        let (bytes, meta) = (raw.bytes.to_vec(), raw.entry.format.meta.as_bytes().to_vec());
        // Every number that stands anywhere in it, made huge, in each width and order.
        for at in 0..bytes.len().max(meta.len()) {
            for number in huge {
                for len in [8, 4] {
                    let number = &number.to_le_bytes()[..len];
                    let in_place = |bytes: &[u8]| {
                        let mut bytes = bytes.to_vec();
                        for (byte, new) in bytes.iter_mut().skip(at).zip(number) {
                            *byte = *new;
                        }
                        bytes
                    };
                    read(&cache, &raw, in_place(&bytes), None, &format!("{handler} at {at}"));
                    if at < meta.len() {
                        read(
                            &cache,
                            &raw,
                            bytes.clone(),
                            Some(in_place(&meta)),
                            &format!("{handler} meta at {at}"),
                        );
                    }
                }
            }
        }
    }
    let raw = whole(&cache, "msgpack");
    for marker in [0xdd, 0xdf, 0xc6, 0xdb, 0xc9] {
        read(&cache, &raw, vec![marker, 0xff, 0xff, 0xff, 0xff, 0], None, &format!("marker {marker:x}"));
    }
    for handler in ["bincode", "postcard"] {
        let raw = whole(&cache, handler);
        for start in [vec![0xfd], vec![0xff; 9], vec![0xff; 4]] {
            read(&cache, &raw, [start, vec![0xff; 20]].concat(), None, handler);
        }
    }
    let raw = whole(&cache, "npy");
    for shape in
        ["(1099511627776, 1)", "(18446744073709551615, 18446744073709551615)", "(4294967296, 4294967296)"]
    {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        let bytes =
            [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
        read(&cache, &raw, bytes, None, shape);
    }
}

#[test]
fn what_nests_without_end_is_refused() {
    let cache = strict();
    for depth in [300, 10_000, 1_000_000] {
        for (handler, open) in [
            ("msgpack", &b"\x91"[..]),
            ("msgpack", b"\x81\xa4note"),
            ("json", b"["),
            ("json", b"{\"note\":"),
            ("bincode", b"\x00\x00\x00\x01"),
            ("postcard", b"\x00\x00\x00\x01"),
        ] {
            let raw = whole(&cache, handler);
            read(&cache, &raw, open.repeat(depth), None, &format!("{handler}, {depth} deep"));
        }
    }
}

#[test]
fn what_unpacks_to_more_than_it_says_is_refused() {
    let cache = strict();
    // More zeros than this process may have bytes.
    let zeros = || std::io::Read::take(std::io::repeat(0), 2_200 << 20);
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    std::io::copy(&mut zeros(), &mut lz4).unwrap();
    let bombs = [
        (Compression::Lz4, lz4.finish().unwrap()),
        (Compression::Zstd(3), zstd::encode_all(zeros(), 1).unwrap()),
    ];
    for (compression, bomb) in bombs {
        let text = "text ".repeat(1_000);
        cache
            .put_with("whole", text.as_str(), PutOptions::new().handler("text").compression(compression))
            .unwrap();
        let mut raw = cache.get_raw("whole").unwrap().unwrap();
        assert_eq!(raw.entry.format.stages.len(), 1);
        for claimed in [5_000, 1 << 20, 1 << 50, u64::MAX] {
            raw.entry.size = claimed;
            read(&cache, &raw, bomb.clone(), None, &format!("{compression:?}, {claimed}"));
        }
    }
}

/// Names that mean something to a file system, a database, a shell or a pattern.
const NAMES: [&str; 14] = [
    "../../escape",
    "/etc/passwd",
    "..\\..\\escape",
    "C:\\escape",
    "a/../../b",
    "'; DROP TABLE entries; --",
    "%' OR '1'='1",
    "_%*?[a-z]",
    "$(touch escape)",
    "${HOME}",
    "line\nfeed\r",
    "\u{202e}reversed",
    "nul\0inside",
    "CON",
];

// shows: row 25, U11
#[test]
fn names_are_data() {
    for metadata in ["sqlite", "json"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("inner").join("cache");
        let cache = Cache::builder().folder(&path).metadata(metadata).open_blocking().unwrap();
        let as_blob = || PutOptions::new().inline(false);
        for (at, name) in NAMES.into_iter().enumerate() {
            cache.put_with(name, &at, as_blob().tag(name).description(name)).unwrap();
            // A namespace has stricter rules; one that it takes is no way out either.
            if let Ok(namespace) = cache.namespace(name) {
                namespace.put_with(name, &(at + 1_000), as_blob()).unwrap();
            }
        }
        for (at, name) in NAMES.into_iter().enumerate() {
            assert_eq!(cache.get::<usize, _>(name).unwrap(), Some(at), "{metadata}: {name:?}");
            assert_eq!(
                cache.count_matching(ListOptions::new().tag(name)).unwrap(),
                1,
                "{metadata}: {name:?}"
            );
            assert_eq!(
                cache.count_matching(ListOptions::new().prefix(name)).unwrap(),
                1,
                "{metadata}: {name:?}"
            );
            if let Ok(namespace) = cache.namespace(name) {
                assert_eq!(namespace.get::<usize, _>(name).unwrap(), Some(at + 1_000));
                assert_eq!(namespace.clear().unwrap(), 1);
            }
        }
        assert_eq!(cache.remove_matching(ListOptions::new().tag(NAMES[6])).unwrap(), 1, "{metadata}");
        assert_eq!(cache.stats().unwrap().entries, NAMES.len() as u64 - 1, "{metadata}");
        cache.close().unwrap();
        let beside: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .chain(fs::read_dir(path.parent().unwrap()).unwrap())
            .collect();
        assert_eq!(beside.len(), 2, "{metadata}: something lies outside the cache's folder");
    }
}
