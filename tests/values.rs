//! Values at the edges: handlers that fail, blobs that are damaged or gone, and one of 256 MiB.

use std::io::Read;
use std::path::{Path, PathBuf};

use cacheness::*;
use cacheness_testkit::TestClock;

/// The files that hold blobs.
fn blob_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.join("blobs")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.retain(|path| path.file_name().is_some_and(|name| name.len() == 32));
    files
}

fn cache_with_one_blob(folder: &Path) -> (blocking::Cache, PathBuf) {
    let cache = blocking::Cache::open(folder).unwrap();
    cache.put("k", &vec![7_u8; 700_000]).unwrap();
    let files = blob_files(folder);
    assert_eq!(files.len(), 1);
    (cache, files[0].clone())
}

// shows: row 63
#[test]
fn a_damaged_blob_is_a_counted_miss_that_is_repaired() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("a flipped bit", |path| {
            let mut bytes = fs_err::read(path).unwrap();
            bytes[300_000] ^= 1;
            fs_err::write(path, bytes).unwrap();
        }),
        ("cut short", |path| {
            fs_err::OpenOptions::new().write(true).open(path).unwrap().set_len(699_999).unwrap();
        }),
        ("emptied", |path| fs_err::write(path, b"").unwrap()),
        ("deleted", |path| fs_err::remove_file(path).unwrap()),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let (cache, blob) = cache_with_one_blob(folder.path());
        damage(&blob);
        assert_eq!(cache.get::<Vec<u8>, _>("k").unwrap(), None, "{what}");
        let stats = cache.stats().unwrap();
        assert_eq!((stats.counters.misses, stats.counters.errors, stats.entries), (1, 1, 0), "{what}");
        cache.put("k", "again").unwrap();
        assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("again"), "{what}");
    }
}

#[test]
fn a_reader_never_gives_out_damaged_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, blob) = cache_with_one_blob(folder.path());
    let mut bytes = fs_err::read(&blob).unwrap();
    bytes[600_000] ^= 1;
    fs_err::write(&blob, bytes).unwrap();
    let mut reader = cache.reader("k").unwrap().unwrap();
    let mut read = Vec::new();
    let error = Error::io(reader.read_to_end(&mut read).unwrap_err(), "reading");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(read.iter().all(|&byte| byte == 7), "what came before the damage is right");
    assert!(read.len() <= 600_000);
    assert!(cache.get_entry("k").unwrap().is_none(), "the damage is repaired");
}

#[test]
fn a_damaged_blob_is_no_raw_entry_and_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, blob) = cache_with_one_blob(folder.path());
    assert_eq!(cache.get_raw("k").unwrap().unwrap().bytes, vec![7_u8; 700_000]);
    let mut bytes = fs_err::read(&blob).unwrap();
    bytes[600_000] ^= 1;
    fs_err::write(&blob, bytes).unwrap();
    assert_eq!(cache.get_raw("k").unwrap(), None);
    assert!(cache.get_entry("k").unwrap().is_none());
}

#[test]
fn a_store_that_is_gone_removes_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, _) = cache_with_one_blob(folder.path());
    fs_err::rename(folder.path().join("blobs"), folder.path().join("away")).unwrap();
    assert_eq!(cache.get::<Vec<u8>, _>("k").unwrap(), None);
    assert_eq!(cache.stats().unwrap().entries, 1);
    fs_err::rename(folder.path().join("away"), folder.path().join("blobs")).unwrap();
    assert!(cache.get::<Vec<u8>, _>("k").unwrap().is_some());

    let strict =
        Cache::builder().folder(folder.path()).on_read_error(OnReadError::Error).open_blocking().unwrap();
    fs_err::rename(folder.path().join("blobs"), folder.path().join("away")).unwrap();
    let error = strict.get::<Vec<u8>, _>("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn blobs_can_be_mapped_or_read() {
    let folder = tempfile::tempdir().unwrap();
    for mmap in [true, false] {
        let cache = Cache::builder().folder(folder.path()).mmap(mmap).open_blocking().unwrap();
        let value: Vec<u8> = (0..900_000_u32).map(|i| (i % 251) as u8).collect();
        cache.put("k", &value).unwrap();
        for _ in 0..2 {
            let back: Option<bytes::Bytes> = cache.get("k").unwrap();
            assert!(back.unwrap() == value);
        }
    }
}

#[test]
fn a_cache_that_survives_a_loss_of_power_works_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let open =
        || Cache::builder().folder(folder.path()).durability(Durability::Power).open_blocking().unwrap();
    let cache = open();
    cache.put("inline", "text").unwrap();
    cache.put("blob", &vec![1_u8; 100_000]).unwrap();
    cache.put_reader("staged", Generated { at: 0, len: 3 << 20 }, PutOptions::new()).unwrap();
    cache.put("blob", &vec![2_u8; 100_000]).unwrap();
    drop(cache);
    let cache = open();
    assert_eq!(cache.get::<String, _>("inline").unwrap().as_deref(), Some("text"));
    assert!(cache.get::<Vec<u8>, _>("blob").unwrap() == Some(vec![2; 100_000]));
    assert_eq!(cache.get_entry("staged").unwrap().unwrap().size, 3 << 20);
}

#[derive(Debug)]
struct Fragile(u8);
enum ViaFragile {}

impl CacheValue<ViaFragile> for Fragile {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::native(self)
    }

    fn target() -> TypeTarget {
        TypeTarget::native::<Self>()
    }
}

/// Panics, or returns what it should not, as the value says.
struct FragileHandler;

impl CacheHandler for FragileHandler {
    fn name(&self) -> &str {
        "fragile"
    }

    fn class(&self) -> TypeClass {
        TypeClass::Native
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        let fragile = value.any().downcast_ref::<Fragile>();
        assert!(fragile.is_none_or(|fragile| fragile.0 != 5), "cannot look at this");
        fragile.is_some()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is::<Fragile>()
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        let what = value.any().downcast_ref::<Fragile>().map_or(0, |fragile| fragile.0);
        assert!(what != 1, "cannot write this");
        writer.write_all(&[what]).map_err(|error| Error::io(error, "writing"))?;
        Ok(FormatMeta::new(vec![0; if what == 2 { FormatMeta::MAX_LEN + 1 } else { 0 }]))
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        _: &TypeTarget,
        _: &ReadOptions,
    ) -> Result<BoxedValue> {
        match reader.bytes()?[..] {
            [3] => panic!("cannot read this"),
            [4] => Ok(Box::new("another type")),
            _ => Ok(Box::new(Fragile(0))),
        }
    }
}

#[test]
fn a_handler_that_panics_or_misbehaves_is_an_error_and_the_cache_lives_on() {
    let registry = Registry::builtin().with_handler(FragileHandler).unwrap();
    let cache = CacheBuilder::new(registry).on_decode_error(OnReadError::Error).open_blocking().unwrap();
    let error = cache.put("k", &Fragile(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HandlerPanicked);
    assert!(
        error.to_string().contains("fragile") && error.to_string().contains("cannot write this"),
        "{error}"
    );
    assert_eq!(cache.put("k", &Fragile(5)).unwrap_err().kind(), ErrorKind::HandlerPanicked);
    assert_eq!(cache.put("k", &Fragile(2)).unwrap_err().kind(), ErrorKind::Encode);
    cache.put("k", &Fragile(3)).unwrap();
    assert_eq!(cache.get::<Fragile, _>("k").unwrap_err().kind(), ErrorKind::HandlerPanicked);
    cache.put("k", &Fragile(4)).unwrap();
    assert_eq!(cache.get::<Fragile, _>("k").unwrap_err().kind(), ErrorKind::Unexpected);
    cache.put("k", &Fragile(0)).unwrap();
    assert!(cache.get::<Fragile, _>("k").unwrap().is_some());
    assert_eq!(cache.get::<i32, _>("k").unwrap_err().kind(), ErrorKind::TypeMismatch);
}

#[test]
fn a_panicking_handler_makes_a_miss_where_decode_errors_do() {
    let registry = Registry::builtin().with_handler(FragileHandler).unwrap();
    let cache = CacheBuilder::new(registry).open_blocking().unwrap();
    cache.put("k", &Fragile(3)).unwrap();
    assert!(cache.get::<Fragile, _>("k").unwrap().is_none());
    assert_eq!(cache.stats().unwrap().counters.errors, 1);
}

#[test]
fn a_type_that_nobody_handles_says_what_to_do() {
    let cache = blocking::Cache::memory().unwrap();
    let error = cache.put("k", &Fragile(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoHandler);
    assert!(error.to_string().contains("register one"), "{error}");
}

/// Bytes that are made while they are read: no test holds 256 MiB.
struct Generated {
    at: u64,
    len: u64,
}

impl Generated {
    fn byte(at: u64) -> u8 {
        (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
    }
}

impl Read for Generated {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = out.len().min((self.len - self.at) as usize);
        for (i, byte) in out[..n].iter_mut().enumerate() {
            *byte = Self::byte(self.at + i as u64);
        }
        self.at += n as u64;
        Ok(n)
    }
}

/// The most memory that this process has had resident, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

// shows: row 84
#[cfg(target_os = "linux")]
#[test]
fn a_value_of_256_mib_goes_in_and_out_in_bounded_memory() {
    const LEN: u64 = 256 << 20;
    let folder = tempfile::tempdir().unwrap();
    let cache = blocking::Cache::open(folder.path()).unwrap();
    let before = peak_memory();
    let stored = cache.put_reader("k", Generated { at: 0, len: LEN }, PutOptions::new()).unwrap();
    assert_eq!(stored.size, LEN);
    let mut reader = cache.reader("k").unwrap().unwrap();
    let mut piece = vec![0; 64 * 1024];
    let mut at = 0;
    loop {
        let n = reader.read(&mut piece).unwrap();
        if n == 0 {
            break;
        }
        assert!(piece[..n].iter().enumerate().all(|(i, &byte)| byte == Generated::byte(at + i as u64)));
        at += n as u64;
    }
    assert_eq!(at, LEN);
    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 32 << 20, "256 MiB went through {grown} bytes of memory");
}

#[test]
fn a_failing_reader_stores_nothing_and_leaves_no_file() {
    struct Failing(u32);

    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            if self.0 > 40 { Err(std::io::Error::other("the line went dead")) } else { Ok(out.len()) }
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let cache = blocking::Cache::open(folder.path()).unwrap();
    cache.put("k", "before").unwrap();
    let error = cache.put_reader("k", Failing(0), PutOptions::new()).unwrap_err();
    assert!(error.to_string().contains("the line went dead"), "{error}");
    assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("before"));
    assert!(blob_files(folder.path()).is_empty());
    let staged = fs_err::read_dir(folder.path().join("blobs").join("staging")).map_or(0, Iterator::count);
    assert_eq!(staged, 0);
}

#[test]
fn a_blob_describes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::builder().folder(folder.path()).env(TestClock::new().env()).open_blocking().unwrap();
    cache.put_with("k", &vec![7_u8; 50_000], PutOptions::new().tag("t").description("d")).unwrap();
    let blob = fs_err::read(&blob_files(folder.path())[0]).unwrap();
    assert!(blob[..50_000].iter().all(|&byte| byte == 7), "the payload begins at offset 0");
    let (id, entry) = trailer::read_trailer(&blob).unwrap();
    let listed = cache.get_entry("k").unwrap().unwrap();
    assert_eq!(id, cache.id());
    assert_eq!((&entry.namespace, &entry.key, &entry.tags), (&listed.namespace, &listed.key, &listed.tags));
    assert_eq!((entry.location, entry.checksums), (listed.entry.location, listed.entry.checksums));
    for cut in [0, 1, 63, 64, 100] {
        assert_eq!(trailer::read_trailer(&blob[..cut]).unwrap_err().kind(), ErrorKind::Corrupted);
    }
    for at in 50_000..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x10;
        assert!(trailer::read_trailer(&damaged).is_err(), "a flipped bit at {at} goes unnoticed");
    }
}
