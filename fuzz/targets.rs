//! What is fuzzed: each target takes any bytes, and panics where a promise does not hold. `tests/fuzz_corpus.rs` runs all of them over the
//! corpus.
#![allow(unreachable_pub, reason = "a module of the fuzzing program and of a test")]

#[path = "stores.rs"]
mod stores;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use arrow_array::RecordBatch;
use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::{
    CacheBuilder, CacheValue, Checksums, Compression, Config, ErrorKind, FormatMeta, KeyBuilder, ListOptions,
    OnReadError, PutOptions, RawEntry, Registry, Variables, trailer,
};
use ndarray::{Array2, IxDyn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What takes any bytes.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("trailer", read_trailer),
    ("key_encoding", key_encoding),
    ("journal", journal),
    ("snapshot", snapshot),
    ("config_toml", config_toml),
    ("config_json", config_json),
    ("msgpack", |data| serde("msgpack", data)),
    ("json", |data| serde("json", data)),
    ("bincode", |data| serde("bincode", data)),
    ("postcard", |data| serde("postcard", data)),
    ("bytes", |data| handler::<Vec<u8>, _>("bytes", data)),
    ("text", |data| handler::<String, _>("text", data)),
    ("npy", |data| handler::<Npy<f32, IxDyn>, _>("npy", data)),
    ("arrow_ipc", |data| handler::<RecordBatch, _>("arrow_ipc", data)),
    ("parquet", |data| handler::<RecordBatch, _>("parquet", data)),
    ("lz4", |data| compressed(Compression::Lz4, data)),
    ("zstd", |data| compressed(Compression::Zstd(3), data)),
    ("kv_rows", stores::kv_rows),
    ("sealed", stores::sealed),
    ("json_salvage", stores::json_salvage),
    ("sqlite_salvage", stores::sqlite_salvage),
];

/// The target of this name, and what there is where it is none.
pub fn by_name(name: &str) -> Target {
    let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is `{name}`; there are {known:?}")).1
}

/// How often each target came to what it is about: an input that is turned away before shows nothing of it.
pub static REACHED: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

fn reached(target: &'static str) {
    *REACHED.lock().unwrap_or_else(PoisonError::into_inner).entry(target).or_default() += 1;
}

/// What a target changes pieces of. It is kept in a file, because of one that is made anew, with other ids and times, the same pieces
/// are something else.
fn base(name: &str) -> Vec<u8> {
    fs_err::read(std::path::Path::new(super::BASES).join(name)).unwrap()
}

/// The files of bases, made anew.
pub fn bases() -> Vec<(&'static str, Vec<u8>)> {
    let Template { snapshot, journal } = small_json_index();
    vec![
        ("index.json", snapshot),
        ("index.json.journal", journal),
        ("index.sqlite", stores::database_base()),
        ("rows.json", stores::rows_base()),
        ("sealed.json", stores::sealed_base()),
    ]
}

/// A type with everything that has a length, and itself.
type Nested = Vec<(String, Option<Vec<u8>>, BTreeMap<u32, Vec<String>>)>;

/// A type whose levels are variants, options and newtypes.
#[derive(Serialize, Deserialize)]
enum Recursive {
    Leaf,
    Not(Box<Recursive>),
    Wrapped(Wrapped),
    Two(Box<Recursive>, u8),
    Named { inner: Option<Box<Recursive>> },
}

/// A type that may read the same byte again and again.
#[derive(Serialize, Deserialize)]
struct Wrapped(Option<Box<Wrapped>>);

/// A value of each kind of type.
fn serde(name: &'static str, data: &[u8]) {
    handler::<Value, _>(name, data);
    handler::<Nested, _>(name, data);
    handler::<Recursive, _>(name, data);
    handler::<Wrapped, _>(name, data);
}

/// The trailer of a blob, and the whole blob in which it stands.
fn read_trailer(data: &[u8]) {
    if let Ok((_, entry)) = trailer::read_trailer(data) {
        reached("trailer");
        assert!(!entry.key.as_str().is_empty());
    }
    if data.len() >= trailer::TAIL_LEN {
        let (record, tail) = data.split_at(data.len() - trailer::TAIL_LEN);
        if let Ok(tail) = trailer::Tail::read(tail, data.len() as u64) {
            let _ = tail.record(record);
        }
    }
    // Without the checksums, which a fuzzer does not guess.
    let _ = cacheness::Entry::from_trailer(data);
}

/// Two values that are the same have one key, and two that are not have two. The bytes are two JSON texts after one another.
fn key_encoding(data: &[u8]) {
    let mut values = serde_json::Deserializer::from_slice(data).into_iter::<Value>();
    let (Some(Ok(one)), Some(Ok(other))) = (values.next(), values.next()) else { return };
    let key = |value: &Value| KeyBuilder::new().param("value", value).map(|builder| builder.build());
    let (Ok(first), Ok(second)) = (key(&one), key(&other)) else { return };
    reached("key_encoding");
    assert_eq!(key(&one).unwrap(), first);
    if one != other {
        assert_ne!(first, second, "{one} and {other} have one key");
    }
}

/// The files of a small cache with the index `json`.
struct Template {
    snapshot: Vec<u8>,
    journal: Vec<u8>,
}

static TEMPLATE: LazyLock<Template> =
    LazyLock::new(|| Template { snapshot: base("index.json"), journal: base("index.json.journal") });

/// As they lie after a close.
fn small_json_index() -> Template {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::builder().folder(folder.path()).metadata("json").open_blocking().unwrap();
    cache.put_with("key", "value", PutOptions::new().tag("tag")).unwrap();
    cache.close().unwrap();
    let read = |name: &str| fs_err::read(folder.path().join(name)).unwrap();
    Template { snapshot: read("index.json"), journal: read("index.json.journal") }
}

/// Opens a cache over such an index, and uses what it can of it.
fn index(target: &'static str, snapshot: &[u8], journal: &[u8]) {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = FOLDER.path();
    fs_err::write(folder.join("index.json"), snapshot).unwrap();
    fs_err::write(folder.join("index.json.journal"), journal).unwrap();
    let builder = Cache::builder().folder(folder).metadata("json").blobs("memory").allow_new_blobs(true);
    let Ok(cache) = builder.open_blocking() else { return };
    reached(target);
    let _ = cache.get::<String, _>("key");
    let _ = cache.list(ListOptions::new());
    let _ = cache.put("another", "value");
    let _ = cache.close();
}

/// What follows the first line of a journal.
fn journal(data: &[u8]) {
    let Template { snapshot, journal } = &*TEMPLATE;
    let end = journal.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    index("journal", snapshot, &[&journal[..end], data].concat());
}

/// A snapshot, beside a journal that fits the one that is whole.
fn snapshot(data: &[u8]) {
    index("snapshot", data, &TEMPLATE.journal);
}

/// A configuration, and the same printed and read again.
fn config(target: &'static str, read: impl Fn(&str) -> cacheness::Result<Config>, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(builder) = read(text).and_then(|config| CacheBuilder::new(Registry::builtin()).config(config))
    else {
        return;
    };
    let Ok(printed) = builder.to_toml() else { return };
    reached(target);
    let again = Config::from_toml(&printed, &Variables::none())
        .and_then(|config| CacheBuilder::new(Registry::builtin()).config(config))
        .and_then(|builder| builder.to_toml());
    match again {
        Ok(again) => assert_eq!(again, printed),
        Err(error) => panic!("what was printed is not read: {error}\n{printed}"),
    }
}

fn config_toml(data: &[u8]) {
    config("config_toml", |text| Config::from_toml(text, &Variables::none()), data);
}

fn config_json(data: &[u8]) {
    config("config_json", |text| Config::from_json(text, &Variables::none()), data);
}

/// A whole entry of each handler, to be given other bytes.
fn raw(handler: &str) -> RawEntry {
    let cache = Cache::memory().unwrap();
    let options = PutOptions::new().handler(handler);
    let values: Nested = vec![("a".to_owned(), Some(vec![1, 2]), [(1, vec!["b".to_owned()])].into())];
    match handler {
        "text" => cache.put_with("key", "value", options),
        "bytes" => cache.put_with("key", &b"value"[..], options),
        "npy" => cache.put_with("key", &Npy(Array2::<f32>::zeros((2, 3)).into_dyn()), options),
        "arrow_ipc" | "parquet" => {
            let column: arrow_array::ArrayRef =
                std::sync::Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3]));
            cache.put_with("key", &RecordBatch::try_from_iter([("n", column)]).unwrap(), options)
        }
        "bincode" | "postcard" => cache.put_with("key", &values, options),
        _ => cache.put_with("key", &json!({"a": [1, 2.5, null, "text"]}), options),
    }
    .unwrap();
    cache.get_raw("key").unwrap().unwrap()
}

/// The stored bytes of a value. The first two bytes say how many of the rest are what the handler kept with the entry.
fn handler<T: CacheValue<Via>, Via>(name: &'static str, data: &[u8]) {
    static KNOWN: Mutex<Vec<(String, RawEntry)>> = Mutex::new(Vec::new());
    let [a, b, rest @ ..] = data else { return };
    let mut raw = {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        match known.iter().find(|(known, _)| known == name) {
            Some((_, raw)) => raw.clone(),
            None => {
                known.push((name.to_owned(), raw(name)));
                known[known.len() - 1].1.clone()
            }
        }
    };
    let (meta, bytes) = rest.split_at(usize::from(u16::from_le_bytes([*a, *b])).min(rest.len()));
    raw.entry.format.meta = FormatMeta::new(meta.to_vec());
    give(&mut raw, bytes, bytes.len() as u64);
    read::<T, Via>(name, raw);
}

fn give(raw: &mut RawEntry, bytes: &[u8], size: u64) {
    raw.bytes = bytes.to_vec().into();
    raw.entry.checksums = Checksums::of(bytes);
    raw.entry.size = size;
    raw.entry.stored_size = bytes.len() as u64;
}

fn read<T: CacheValue<Via>, Via>(target: &'static str, raw: RawEntry) {
    static CACHE: LazyLock<Cache> =
        LazyLock::new(|| Cache::builder().on_decode_error(OnReadError::Error).open_blocking().unwrap());
    let key = raw.entry.key.as_str().to_owned();
    if CACHE.put_raw(raw).is_err() {
        return;
    }
    let decoded = match CACHE.get::<T, Via>(&key) {
        Ok(value) => value.is_some(),
        Err(error) => error.kind() == ErrorKind::Decode,
    };
    if decoded {
        reached(target);
    }
}

/// A compressed value. The first four bytes say how long it claims to be.
fn compressed(compression: Compression, data: &[u8]) {
    let [a, b, c, d, bytes @ ..] = data else { return };
    let target = if matches!(compression, Compression::Lz4) { "lz4" } else { "zstd" };
    let cache = Cache::memory().unwrap();
    let text = "value ".repeat(100);
    cache.put_with("key", text.as_str(), PutOptions::new().compression(compression)).unwrap();
    let mut raw = cache.get_raw("key").unwrap().unwrap();
    give(&mut raw, bytes, u64::from(u32::from_le_bytes([*a, *b, *c, *d])));
    read::<String, _>(target, raw);
}

/// What fuzzing begins with: what this version writes itself.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let of = |name: &'static str| {
        let raw = raw(name);
        let meta = raw.entry.format.meta.as_bytes();
        let meta_len = u16::try_from(meta.len()).unwrap().to_le_bytes();
        (name, vec![[&meta_len[..], meta, &raw.bytes].concat()])
    };
    let compressed = |name: &'static str, compression: Compression| {
        let cache = Cache::memory().unwrap();
        let text = "value ".repeat(100);
        cache.put_with("key", text.as_str(), PutOptions::new().compression(compression)).unwrap();
        let raw = cache.get_raw("key").unwrap().unwrap();
        (name, vec![[&(text.len() as u32).to_le_bytes()[..], &raw.bytes].concat()])
    };
    let Template { snapshot, journal } = &*TEMPLATE;
    let end = journal.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let printed = Cache::builder().folder("/tmp/cache").to_toml().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let options = PutOptions::ttl(std::time::Duration::from_secs(60))
        .inline(false)
        .tag("tag")
        .description("a value")
        .priority(0.7);
    cache.put_with("key", "value", options).unwrap();
    let blob = cache.get_entry("key").unwrap().unwrap().blob_id().unwrap().to_string();
    let file = folder.path().join("blobs").join(cache.id().to_string());
    let blob = fs_err::read(file.join(&blob[28..30]).join(&blob[30..]).join(&blob)).unwrap();
    let record = blob[5..blob.len() - trailer::TAIL_LEN].to_vec();
    let mut seeds = vec![
        ("trailer", vec![blob, record]),
        ("key_encoding", vec![br#"{"a": [1, 2.5, "x", null]} {"a": [1, 2.5, "x", true]}"#.to_vec()]),
        ("journal", vec![journal[end..].to_vec()]),
        ("snapshot", vec![snapshot.clone()]),
        ("config_toml", vec![printed.into_bytes()]),
        (
            "config_json",
            vec![br#"{"folder": "/tmp/cache", "limits": {"max_entries": 5}, "metadata": {"backend": "sqlite"}}"#.to_vec()],
        ),
        compressed("lz4", Compression::Lz4),
        compressed("zstd", Compression::Zstd(3)),
    ];
    let handlers = ["msgpack", "json", "bincode", "postcard", "bytes", "text", "npy", "arrow_ipc", "parquet"];
    seeds.extend(handlers.map(of));
    seeds.extend([
        ("kv_rows", stores::kv_rows_seeds()),
        ("sealed", stores::sealed_seeds()),
        ("json_salvage", stores::json_salvage_seeds()),
        ("sqlite_salvage", stores::sqlite_salvage_seeds()),
    ]);
    seeds
}
