//! Targets that are given what lies in a store: rows, boxes of encrypted entries, and the files of an index that is rebuilt.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::blocking::Cache;
use cacheness::metadata::kv::{KvMetadata, KvStore, WriteBatch};
use cacheness::{
    CacheBuilder, Change, Condition, ConfigOptions, Encryption, EncryptionKey, Entry, ListOptions, Location,
    MetadataBackend, MetadataCapabilities, MetadataFactory, Namespace, OpenContext, OptionSpec, PutOptions,
    RebuildOptions, Registry, Result, Secret,
};

use super::{base, reached};

type Rows = BTreeMap<Bytes, Bytes>;

/// Rows in memory, which are changed past the cache.
#[derive(Clone, Default)]
struct Store {
    rows: Arc<Mutex<Rows>>,
    opened: Arc<Mutex<Option<Arc<dyn MetadataBackend>>>>,
}

impl Store {
    fn over(rows: Rows) -> Self {
        Self { rows: Arc::new(Mutex::new(rows)), ..Self::default() }
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn builder(&self) -> CacheBuilder {
        CacheBuilder::new(Registry::builtin().with_metadata_backend(self.clone()).unwrap())
            .metadata("rows")
            .blobs("memory")
            .allow_new_blobs(true)
    }
}

#[async_trait]
impl MetadataFactory for Store {
    fn name(&self) -> &str {
        "rows"
    }

    fn description(&self) -> &str {
        "Rows that a target has its hands on."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, _: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn MetadataBackend>> {
        let opened: Arc<dyn MetadataBackend> = Arc::new(KvMetadata::open(self.clone(), context).await?);
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened.clone());
        Ok(opened)
    }
}

#[async_trait]
impl KvStore for Store {
    fn capabilities(&self) -> MetadataCapabilities {
        MetadataCapabilities::persistent()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.rows().get(key).cloned())
    }

    async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let rows = self.rows();
        Ok(rows.range(range).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn write(&self, batch: WriteBatch) -> Result<bool> {
        let mut rows = self.rows();
        if batch.conditions.iter().any(|(key, value)| rows.get(key) != value.as_ref()) {
            return Ok(false);
        }
        for (key, value) in batch.changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(true)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

static ROWS: LazyLock<Rows> = LazyLock::new(|| rows_from(&base("rows.json")));

fn rows_from(bytes: &[u8]) -> Rows {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = serde_json::from_slice(bytes).unwrap();
    rows.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn rows_to(rows: &Rows) -> Vec<u8> {
    serde_json::to_vec(&rows.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>()).unwrap()
}

/// The rows of a small cache.
pub fn rows_base() -> Vec<u8> {
    let store = Store::default();
    let cache = store.builder().open_blocking().unwrap();
    cache.put_with("key", "value", PutOptions::new().tag("tag").custom("field", 1)).unwrap();
    cache
        .put_with("blob", "value", PutOptions::ttl(std::time::Duration::from_secs(60)).inline(false))
        .unwrap();
    cache.put("blob", "another").unwrap();
    cache.namespace("team").unwrap().put("key", "value").unwrap();
    cache.close().unwrap();
    rows_to(&store.rows())
}

/// Uses what it can of a cache.
fn use_all(cache: &Cache) {
    let _ = cache.get::<String, _>("key");
    let _ = cache.get_entry("blob");
    let _ = cache.list(ListOptions::new());
    let _ = cache.total_stats();
    let _ = cache.put("another", "value");
    let _ = cache.remove("key");
    let _ = cache.purge();
    let _ = cache.clear();
    let _ = cache.close();
}

/// The value of a row: the first byte says of which.
pub fn kv_rows(data: &[u8]) {
    let [which, value @ ..] = data else { return };
    let mut rows = ROWS.clone();
    let at = usize::from(*which) % rows.len();
    if let Some(row) = rows.values_mut().nth(at) {
        *row = Bytes::copy_from_slice(value);
    }
    if let Ok(cache) = Store::over(rows).builder().open_blocking() {
        reached("kv_rows");
        use_all(&cache);
    }
}

/// Every row as it is.
pub fn kv_rows_seeds() -> Vec<Vec<u8>> {
    ROWS.values().enumerate().map(|(at, row)| [&[at as u8], &row[..]].concat()).collect()
}

fn encryption() -> Encryption {
    Encryption::new("key", EncryptionKey::given(Secret::new("0123456789abcdef".repeat(4))))
}

/// The box of an encrypted entry and the chunks of its value: the first two bytes say how long the box is. Nothing but the value
/// comes out.
pub fn sealed(data: &[u8]) {
    let [a, b, rest @ ..] = data else { return };
    let (sealed, value) = rest.split_at(usize::from(u16::from_le_bytes([*a, *b])).min(rest.len()));
    with_sealed(Some((sealed, value)));
}

static SEALED: LazyLock<Rows> = LazyLock::new(|| rows_from(&base("sealed.json")));

/// The rows of a cache with one entry, encrypted.
pub fn sealed_base() -> Vec<u8> {
    let store = Store::default();
    let cache = store.builder().encryption(encryption()).open_blocking().unwrap();
    cache.put("key", "value").unwrap();
    cache.close().unwrap();
    rows_to(&store.rows())
}

/// Gives the entry another box and other stored bytes, and looks at what comes out. Returns what was there.
fn with_sealed(other: Option<(&[u8], &[u8])>) -> Vec<u8> {
    let store = Store::over(SEALED.clone());
    let cache = store.builder().encryption(encryption()).open_blocking().unwrap();
    let metadata = store.opened.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let entry = runtime.block_on(metadata.get_entry(&Namespace::default(), "key")).unwrap().unwrap();
    let Location::Inline(stored) = entry.location.clone() else { panic!("a small value is in its entry") };
    let mut record = entry.to_trailer(cache.id());
    let Some((sealed, value)) = other else {
        let found = box_in(&record);
        return [&(found.len() as u16).to_le_bytes()[..], found, &stored].concat();
    };
    // A box has no setter: of a field that a record has twice, the last one counts. A record of a trailer names a blob.
    record.extend([0x82, 0x01, 16]);
    record.extend([1; 16]);
    record.extend([0xfa, 0x01]);
    record.extend(varint(sealed.len()));
    record.extend(sealed);
    let (_, mut forged) = Entry::from_trailer(&record).unwrap();
    forged.version = entry.version;
    forged.stored_size = value.len() as u64;
    forged.location = Location::Inline(Bytes::copy_from_slice(value));
    let now = entry.created_at;
    let put = Change::Put { entry: Box::new(forged), condition: Condition::Always, now };
    runtime.block_on(metadata.apply(vec![put])).unwrap();
    if let Ok(Some(got)) = cache.get::<String, _>("key") {
        reached("sealed");
        assert_eq!(got, "value");
    }
    Vec::new()
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The box in a record, which is the last of its long fields.
fn box_in(record: &[u8]) -> &[u8] {
    let candidates = (0..record.len()).filter(|at| record[*at..].starts_with(&[0xfa, 0x01]));
    let mut boxes = candidates.filter_map(|at| {
        let len = (0..record.len() - at).find(|len| record[at + 2..].starts_with(&varint(*len)))?;
        let from = at + 2 + varint(len).len();
        let rest = record.get(from + len..)?;
        (rest.is_empty() || rest.starts_with(&[0x88, 0x02])).then(|| &record[from..from + len])
    });
    boxes.next().expect("an encrypted entry has a box")
}

/// One that is whole.
pub fn sealed_seeds() -> Vec<Vec<u8>> {
    vec![with_sealed(None)]
}

/// Rebuilds an index of which these are the files, and uses what came of it.
fn rebuild(metadata: &str, files: &[(&str, &[u8])]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs_err::write(folder.path().join(name), bytes).unwrap();
    }
    // The store of blobs must be there.
    Cache::builder().folder(folder.path()).metadata("memory").blobs("filesystem").open_blocking().unwrap();
    let builder = || {
        let builder = Cache::builder().folder(folder.path()).metadata(metadata).blobs("filesystem");
        builder.allow_new_blobs(true)
    };
    if builder().rebuild_blocking(RebuildOptions::new()).is_ok() {
        reached(if metadata == "json" { "json_salvage" } else { "sqlite_salvage" });
        use_all(&builder().open_blocking().unwrap());
    }
}

/// The files of an index as they lie after a close.
fn files_of(metadata: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::builder().folder(folder.path()).metadata(metadata).open_blocking().unwrap();
    for n in 0..20 {
        cache.put_with(format!("key {n}"), &"value ".repeat(n), PutOptions::new().tag("tag")).unwrap();
    }
    cache.put("key", "value").unwrap();
    cache.close().unwrap();
    let read = |name: &&str| read_or_nothing(&folder.path().join(name));
    names.iter().map(read).collect()
}

/// The database of a small cache.
pub fn database_base() -> Vec<u8> {
    files_of("sqlite", &["index.sqlite"]).remove(0)
}

fn read_or_nothing(path: &Path) -> Vec<u8> {
    fs_err::read(path).unwrap_or_default()
}

const JSON: [&str; 2] = ["index.json", "index.json.journal"];

/// A snapshot and a journal to be rebuilt: the first two bytes say how long the snapshot is.
pub fn json_salvage(data: &[u8]) {
    let [a, b, rest @ ..] = data else { return };
    let (snapshot, journal) = rest.split_at(usize::from(u16::from_le_bytes([*a, *b])).min(rest.len()));
    rebuild("json", &[(JSON[0], snapshot), (JSON[1], journal)]);
}

/// Those of a small cache.
pub fn json_salvage_seeds() -> Vec<Vec<u8>> {
    let files = files_of("json", &JSON);
    vec![[&(files[0].len() as u16).to_le_bytes()[..], &files[0], &files[1]].concat()]
}

static DATABASE: LazyLock<Vec<u8>> = LazyLock::new(|| base("index.sqlite"));

/// Changes to the pages of a database that is to be rebuilt: three bytes say where each goes, one how long it is.
pub fn sqlite_salvage(data: &[u8]) {
    let (mut database, mut rest) = (DATABASE.clone(), data);
    while let [a, b, c, len, after @ ..] = rest {
        let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize % database.len();
        let (bytes, after) = after.split_at(usize::from(*len).min(after.len()));
        for (old, new) in database.iter_mut().skip(at).zip(bytes) {
            *old = *new;
        }
        rest = after;
    }
    rebuild("sqlite", &[("index.sqlite", &database)]);
}

/// The headers of pages, as they are.
pub fn sqlite_salvage_seeds() -> Vec<Vec<u8>> {
    let header = |at: usize| {
        let position = (at as u32).to_le_bytes();
        [&position[..3], &[16], &DATABASE[at..at + 16]].concat()
    };
    (0..DATABASE.len()).step_by(4096).take(24).map(header).collect()
}
