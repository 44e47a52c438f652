//! What somebody may put in place of what was cached: values that claim to be huge, nest without end, unpack to gigabytes or lie about
//! themselves; and names that other programs would take for paths, statements or patterns.
#![cfg(target_os = "linux")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Int64Array, LargeBinaryArray, RecordBatch, StringArray,
};
use arrow_schema::Field;
use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::{
    CacheBuilder, CacheValue, Checksums, Compression, ErrorKind, Event, FormatMeta, ListOptions, OnReadError,
    PutOptions, RawEntry,
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
struct Victim {
    cache: Cache,
    /// How often the decoder of each handler was given something.
    decoded: RefCell<BTreeMap<String, usize>>,
}

impl Victim {
    fn new() -> Self {
        Self::of(Cache::builder())
    }

    fn of(builder: CacheBuilder) -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::As);
        setrlimit(Resource::As, Rlimit { current: Some(2 << 30), ..before }).unwrap();
        let cache = builder.on_decode_error(OnReadError::Error).open_blocking().unwrap();
        Self { cache, decoded: RefCell::default() }
    }

    /// The entry that a put makes.
    fn whole(&self, handler: &str) -> RawEntry {
        self.whole_with(handler, PutOptions::new())
    }

    fn whole_with(&self, handler: &str, options: PutOptions) -> RawEntry {
        let options = options.handler(handler);
        match handler {
            "text" => self.cache.put_with("whole", "text", options),
            "npy" => self.cache.put_with("whole", &Npy(Array2::<f32>::zeros((4, 5))), options),
            "arrow_ipc" | "parquet" => self.cache.put_with("whole", &table(), options),
            _ => self.cache.put_with("whole", &reading(), options),
        }
        .unwrap();
        self.cache.get_raw("whole").unwrap().unwrap()
    }

    /// Reads a value whose bytes are others than were put. False where it is not even stored.
    fn read(&self, raw: &RawEntry, bytes: Vec<u8>, meta: Option<Vec<u8>>, what: &str) -> bool {
        match raw.entry.format.handler.as_str() {
            "text" => self.read_as::<String, _>(raw, bytes, meta, what),
            "npy" => self.read_as::<Npy<f32, Ix2>, _>(raw, bytes, meta, what),
            "arrow_ipc" | "parquet" => self.read_as::<RecordBatch, _>(raw, bytes, meta, what),
            _ => self.read_as::<Reading, _>(raw, bytes, meta, what),
        }
    }

    /// The same for a type of one's own. What comes of it is an error that says so, or a value; never a panic.
    fn read_as<T: CacheValue<Via>, Via>(
        &self,
        raw: &RawEntry,
        bytes: Vec<u8>,
        meta: Option<Vec<u8>>,
        what: &str,
    ) -> bool {
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
        let handler = raw.entry.format.handler.clone();
        if self.cache.put_raw(raw).is_err() {
            return false;
        }
        let decoded = match self.cache.get::<T, Via>("whole") {
            Ok(value) => value.is_some(),
            Err(error) => {
                let kind = error.kind();
                let expected = [
                    ErrorKind::Decode,
                    ErrorKind::Corrupted,
                    ErrorKind::TypeMismatch,
                    ErrorKind::Unsupported,
                    ErrorKind::LimitExceeded,
                ];
                assert!(expected.contains(&kind), "{what}: {error}");
                kind == ErrorKind::Decode
            }
        };
        if decoded {
            *self.decoded.borrow_mut().entry(handler).or_default() += 1;
        }
        true
    }

    /// The attack has met what it was meant for, so many times for each handler.
    fn decoded(&self, handlers: &[&str], times: usize) {
        let decoded = self.decoded.borrow();
        for &handler in handlers {
            let found = decoded.get(handler).copied().unwrap_or_default();
            assert!(found >= times, "the decoder of {handler} was asked {found} times: {decoded:?}");
        }
    }
}

#[test]
fn lengths_that_are_not_there_cost_nothing() {
    let victim = Victim::new();
    let huge = [u64::MAX, u64::MAX / 2, 1 << 40, u64::from(u32::MAX), i32::MAX as u64, 1 << 30];
    let handlers = ["msgpack", "json", "bincode", "postcard", "text", "npy", "arrow_ipc", "parquet"];
    let plain = handlers.map(|handler| (handler, PutOptions::new(), &huge[..]));
    let compressed = ["arrow_ipc", "parquet"].into_iter().flat_map(|handler| {
        let by = |compression| (handler, PutOptions::new().compression(compression), &huge[1..2]);
        [by(Compression::Lz4), by(Compression::Zstd(1))]
    });
    for (handler, options, huge) in plain.into_iter().chain(compressed) {
        let raw = victim.whole_with(handler, options);
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
                    victim.read(&raw, in_place(&bytes), None, &format!("{handler} at {at}"));
                    if at < meta.len() {
                        victim.read(
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
    let raw = victim.whole("msgpack");
    for marker in [0xdd, 0xdf, 0xc6, 0xdb, 0xc9] {
        victim.read(&raw, vec![marker, 0xff, 0xff, 0xff, 0xff, 0], None, &format!("marker {marker:x}"));
    }
    for handler in ["bincode", "postcard"] {
        let raw = victim.whole(handler);
        for start in [vec![0xfd], vec![0xff; 9], vec![0xff; 4]] {
            victim.read(&raw, [start, vec![0xff; 20]].concat(), None, handler);
        }
    }
    let raw = victim.whole("npy");
    for shape in
        ["(1099511627776, 1)", "(18446744073709551615, 18446744073709551615)", "(4294967296, 4294967296)"]
    {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
        let bytes =
            [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
        victim.read(&raw, bytes, None, shape);
    }
    // The text has four bytes, and is none with a 0xff in it.
    victim.decoded(&handlers, 40);
}

#[test]
fn what_nests_without_end_is_refused() {
    let victim = Victim::new();
    for depth in [300, 10_000, 1_000_000] {
        for (handler, open) in [
            ("msgpack", &b"\x91"[..]),
            ("msgpack", b"\x81\xa4note"),
            ("json", b"["),
            ("json", b"{\"note\":"),
            ("bincode", b"\x00\x00\x00\x01"),
            ("postcard", b"\x00\x00\x00\x01"),
        ] {
            let raw = victim.whole(handler);
            victim.read(&raw, open.repeat(depth), None, &format!("{handler}, {depth} deep"));
        }
    }
    victim.decoded(&["msgpack", "json", "bincode", "postcard"], 3);
}

/// A type whose levels are variants, of which formats count none.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Expr {
    Lit(bool),
    Not(Box<Expr>),
}

/// A type whose levels take no byte in a format without a mark for `Some`.
#[derive(Serialize, Deserialize, Debug)]
struct Wrapped(Option<Box<Wrapped>>);

#[test]
fn what_a_type_nests_by_itself_is_refused() {
    let victim = Victim::new();
    for (handler, variant, some) in [
        ("msgpack", &b"\x81\xa3Not"[..], &b"\x01"[..]),
        ("msgpack", b"\x81\x01", b"\x90"),
        ("json", b"{\"Not\":", b"1"),
        ("bincode", b"\x01", b"\x01"),
        ("postcard", b"\x01", b"\x01"),
    ] {
        for depth in [1, 300, 10_000, 200_000] {
            let raw = victim.whole(handler);
            victim.read_as::<Expr, _>(&raw, variant.repeat(depth), None, &format!("{handler}, {depth} deep"));
            victim.read_as::<Wrapped, _>(&raw, some.repeat(depth), None, &format!("{handler}, {depth} deep"));
        }
    }
    victim.decoded(&["msgpack", "json", "bincode", "postcard"], 8);
}

#[test]
fn what_is_put_is_not_too_deep_to_be_got() {
    let cache = Cache::memory().unwrap();
    let deep = |depth| (0..depth).fold(Expr::Lit(true), |inner, _| Expr::Not(Box::new(inner)));
    // `Lit` is a level too, and in JSON each variant is a bracket.
    for (handler, most) in [("msgpack", 255), ("bincode", 255), ("postcard", 255), ("json", 126)] {
        let options = || PutOptions::new().handler(handler);
        cache.put_with("deep", &deep(most), options()).unwrap();
        assert_eq!(cache.get("deep").unwrap(), Some(deep(most)), "{handler}");
        let error = cache.put_with("deep", &deep(most + 1), options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode, "{handler}");
        assert_eq!(cache.get("deep").unwrap(), Some(deep(most)), "{handler}");
    }
}

#[test]
fn what_unpacks_to_more_than_it_says_is_refused() {
    let (told, heard) = mpsc::channel();
    let victim = Victim::of(Cache::builder().listener(move |event| {
        if let Event::Corrupt { error, .. } = event {
            told.send(error.to_string()).unwrap();
        }
    }));
    let errors = || victim.cache.stats().unwrap().counters.errors;
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
        victim
            .cache
            .put_with("whole", text.as_str(), PutOptions::new().handler("text").compression(compression))
            .unwrap();
        let mut raw = victim.cache.get_raw("whole").unwrap().unwrap();
        assert_eq!(raw.entry.format.stages.len(), 1);
        for claimed in [5_000, 1 << 20, 1 << 50, u64::MAX] {
            raw.entry.size = claimed;
            let (what, before) = (format!("{compression:?}, {claimed}"), errors());
            assert!(victim.read(&raw, bomb.clone(), None, &what), "{what} is not even stored");
            assert_eq!(errors(), before + 1, "{what}");
            let said = heard.recv_timeout(Duration::from_secs(10)).unwrap();
            let found = if claimed <= 1 << 20 {
                // It stops as soon as it knows.
                format!("decompression gave {} bytes, {claimed} were stored", claimed + 1)
            } else {
                // There is no room for what it says.
                "the compressed bytes are damaged".to_owned()
            };
            assert!(said.contains(&found), "{what}: {said}");
        }
    }
}

#[test]
fn a_page_that_claims_more_than_its_bytes_can_hold_is_refused() {
    let victim = Victim::new();
    for compression in [Compression::Lz4, Compression::Zstd(1)] {
        let zeros: ArrayRef = Arc::new(LargeBinaryArray::from_vec(vec![&[0_u8; 130 << 20][..]]));
        let table = RecordBatch::try_from_iter([("zeros", zeros)]).unwrap();
        let options = PutOptions::new().handler("parquet").compression(compression);
        victim.cache.put_with("whole", &table, options).unwrap();
        drop(table);
        let raw = victim.cache.get_raw("whole").unwrap().unwrap();
        // After the magic number comes the header of the first page: its type, its length, and its length when it is compressed.
        let mut bytes = raw.bytes.to_vec();
        assert!(bytes[4] == 0x15 && bytes[6] == 0x15, "{:x?}", &bytes[..20]);
        let len = bytes[7..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        assert_eq!(len, 5, "130 MiB take five bytes");
        victim.read(&raw, bytes.clone(), None, "as it is");
        // As much as there can be, which the decoder would allocate.
        bytes[7..12].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        victim.read(&raw, bytes, None, "larger than it is");
    }
    victim.decoded(&["parquet"], 4);
}

#[test]
fn a_schema_that_nests_without_end_is_refused() {
    let victim = Victim::new();
    let raw = victim.whole("parquet");
    for levels in [100, 300, 10_000, 500_000] {
        // The version, and a list of elements of the schema: groups with one part each, and a number at last.
        let elements = u32::try_from(levels + 2).unwrap();
        let mut footer = vec![0x15, 2, 0x19, 0xfc];
        let mut left = elements;
        while left >= 0x80 {
            footer.push(left as u8 | 0x80);
            left >>= 7;
        }
        footer.push(left as u8);
        footer.extend(b"\x48\x01r\x15\x02\x00");
        footer.extend(b"\x35\x00\x18\x01g\x15\x02\x00".repeat(levels));
        footer.extend(b"\x15\x02\x25\x00\x18\x01n\x00");
        // No rows, and no row groups.
        footer.extend(b"\x16\x00\x19\x0c\x00");
        let len = u32::try_from(footer.len()).unwrap().to_le_bytes();
        let bytes = [&footer[..], &len, b"PAR1"].concat();
        victim.read(&raw, bytes, Some(Vec::new()), &format!("{levels} levels"));
    }
    victim.decoded(&["parquet"], 4);
}

#[test]
fn a_table_that_is_put_is_not_too_deep_to_be_got() {
    let cache = Cache::memory().unwrap();
    for handler in ["arrow_ipc", "parquet"] {
        let mut put = 0;
        for levels in 1..100 {
            let mut column: ArrayRef = Arc::new(Int64Array::from(vec![7]));
            for _ in 0..levels {
                let field = Arc::new(Field::new("item", column.data_type().clone(), true));
                column = Arc::new(FixedSizeListArray::new(field, 1, column, None));
            }
            let table = RecordBatch::try_from_iter([("deep", column)]).unwrap();
            match cache.put_with("deep", &table, PutOptions::new().handler(handler)) {
                Ok(_) => put = levels,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Encode, "{handler}: {error}");
                    continue;
                }
            }
            let got: Option<RecordBatch> = cache.get("deep").unwrap();
            assert_eq!(got, Some(table), "{handler}, {levels} deep");
        }
        assert_eq!(put, 59, "{handler}: the column is a level too");
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
            let namespace = cache.namespace(name).unwrap();
            namespace.put_with(name, &(at + 1_000), as_blob()).unwrap();
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
            let namespace = cache.namespace(name).unwrap();
            assert_eq!(namespace.get::<usize, _>(name).unwrap(), Some(at + 1_000), "{metadata}: {name:?}");
            assert_eq!(namespace.clear().unwrap(), 1, "{metadata}: {name:?}");
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
