//! Blobs of another machine are read from copies on this one: found, limited, mended, and done without.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cacheness::blocking::Cache;
use cacheness::{
    CacheBuilder, Compression, Env, Error, ErrorKind, LocalTier, PutOptions, Registry, RemoteCalls,
};
use cacheness_testkit::TestClock;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};

/// Blobs that seem to lie on another machine.
struct Remote {
    registry: Registry,
    chaos: Chaos,
    folder: tempfile::TempDir,
    env: Env,
}

impl Remote {
    fn slow(by: Duration) -> Self {
        let chaos = Chaos::new().slow(by);
        let registry = Registry::builtin();
        let blobs = registry.blob_backend("filesystem").unwrap().clone();
        let remote = ChaosBlobFactory::wrap_shared(blobs, chaos.clone()).named("remote");
        let folder = tempfile::tempdir().unwrap();
        Self { registry: registry.with_blob_backend(remote).unwrap(), chaos, folder, env: Env::new() }
    }

    fn new() -> Self {
        Self::slow(Duration::from_micros(1))
    }

    fn builder(&self, tier: LocalTier) -> CacheBuilder {
        let builder = CacheBuilder::new(self.registry.clone()).folder(self.folder.path().join("cache"));
        builder.blobs("remote").inline_limit(0).local_tier(tier).env(self.env.clone())
    }

    fn open(&self, tier: LocalTier) -> Cache {
        self.builder(tier).open_blocking().unwrap()
    }

    fn tier(&self) -> LocalTier {
        LocalTier::new(self.root())
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("tier")
    }

    fn goes_away(&self) {
        self.chaos.fail_all(Some(Error::new(ErrorKind::Unavailable, "the store is unreachable")));
    }

    fn fetches(&self) -> u64 {
        self.chaos.calls_of("get") + self.chaos.calls_of("get_range")
    }

    /// The copies, and their lengths.
    fn copies(&self) -> BTreeMap<PathBuf, u64> {
        self.found(|_| true)
    }

    /// The files in those folders of the tier that are looked into, and their lengths.
    fn found(&self, look_into: impl Fn(&Path) -> bool) -> BTreeMap<PathBuf, u64> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(&folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true if look_into(&entry.path()) => folders.push(entry.path()),
                    true => {}
                    false if folder == self.root() => {}
                    false => drop(found.insert(entry.path(), entry.metadata().unwrap().len())),
                }
            }
        }
        found
    }

    /// The bytes of all copies at one moment, while others come and go: none does under the lock of the folder. Without it,
    /// a look that takes a while sees both a copy that goes and the one that comes for it.
    fn bytes_kept(&self) -> u64 {
        let size = fs_err::File::open(self.root().join("size")).unwrap();
        size.file().lock().unwrap();
        let staging = self.root().join("staging");
        self.found(|folder| folder != staging).values().sum()
    }
}

fn value(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7) as u8 ^ seed).collect()
}

#[test]
fn what_was_read_once_is_read_without_the_store() {
    let remote = Remote::new();
    let cache = remote.open(remote.tier());
    for len in [1, 40_000, 3_000_000] {
        cache.put(format!("k{len}").as_str(), &value(1, len)).unwrap();
        assert_eq!(cache.get(format!("k{len}").as_str()).unwrap(), Some(value(1, len)));
    }
    cache.put_with("packed", &value(2, 400_000), PutOptions::new().compression(Compression::Lz4)).unwrap();
    assert_eq!(cache.get("packed").unwrap(), Some(value(2, 400_000)));
    let fetches = remote.fetches();
    // Another process finds the copies as well.
    for cache in [cache, remote.open(remote.tier())] {
        for len in [1, 40_000, 3_000_000] {
            assert_eq!(cache.get(format!("k{len}").as_str()).unwrap(), Some(value(1, len)));
        }
        assert_eq!(cache.get("packed").unwrap(), Some(value(2, 400_000)));
        let mut streamed = Vec::new();
        cache.reader("k3000000").unwrap().unwrap().read_to_end(&mut streamed).unwrap();
        assert!(streamed == cache.get_raw("k3000000").unwrap().unwrap().bytes);
    }
    assert_eq!(remote.fetches(), fetches);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_async_face_reads_copies_and_outlives_the_store() {
    let remote = Remote::new();
    let cache = remote.builder(remote.tier().write_through(true)).open().await.unwrap();
    cache.put("k", &value(1, 300_000)).await.unwrap();
    cache.put_reader("streamed", &value(2, 300_000)[..], PutOptions::new()).await.unwrap();
    remote.goes_away();
    assert_eq!(cache.get("k").await.unwrap(), Some(value(1, 300_000)));
    let raw = cache.get_raw("streamed").await.unwrap().unwrap();
    assert!(raw.bytes == value(2, 300_000));
}

#[test]
fn only_what_is_read_is_kept_unless_puts_are_written_through() {
    let remote = Remote::new();
    let cache = remote.open(remote.tier());
    cache.put("k", &value(1, 300_000)).unwrap();
    assert!(remote.copies().is_empty());
    drop(cache);
    let cache = remote.open(remote.tier().write_through(true));
    cache.put("k", &value(2, 300_000)).unwrap();
    assert_eq!(remote.copies().len(), 1);
    assert_eq!(cache.get("k").unwrap(), Some(value(2, 300_000)));
    assert_eq!(remote.fetches(), 0);
}

#[test]
fn a_damaged_copy_is_fetched_anew_and_costs_no_entry() {
    let damages: [fn(&Path); 4] = [
        |path| fs_err::write(path, b"").unwrap(),
        |path| fs_err::OpenOptions::new().write(true).open(path).unwrap().set_len(1_000).unwrap(),
        |path| {
            let mut bytes = fs_err::read(path).unwrap();
            let middle = bytes.len() / 3;
            bytes[middle] ^= 1;
            fs_err::write(path, bytes).unwrap();
        },
        |path| {
            fs_err::remove_file(path).unwrap();
            fs_err::create_dir(path).unwrap();
        },
    ];
    for (n, damage) in damages.iter().enumerate() {
        for (len, options) in [
            (900, PutOptions::new()),
            (900_000, PutOptions::new()),
            (900_000, PutOptions::new().compression(Compression::Lz4)),
        ] {
            let remote = Remote::new();
            let mut cache = remote.open(remote.tier());
            cache.put_with("k", &value(1, len), options).unwrap();
            type Read = fn(&Cache) -> Vec<u8>;
            let whole: Read = |cache| cache.get::<Vec<u8>, _>("k").unwrap().unwrap();
            let streamed: Read = |cache| {
                let mut bytes = Vec::new();
                cache.reader("k").unwrap().unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            };
            let raw: Read = |cache| cache.get_raw("k").unwrap().unwrap().bytes.to_vec();
            for (which, read) in [whole, streamed, raw].into_iter().enumerate() {
                whole(&cache);
                let before = read(&cache);
                remote.copies().keys().for_each(|path| damage(path));
                // What is mapped is verified once by each process.
                cache = remote.open(remote.tier());
                assert!(read(&cache) == before, "damage {n}, {len} bytes, read {which}");
                assert_eq!(cache.stats().unwrap().counters.errors, 0);
                if n < 3 {
                    assert_eq!(whole(&cache), value(1, len));
                    assert_eq!(remote.copies().len(), 1, "damage {n}, {len} bytes, read {which}");
                }
            }
        }
    }
}

#[test]
fn what_is_damaged_in_the_store_itself_is_not_kept() {
    let remote = Remote::new();
    let cache = remote.open(remote.tier());
    cache.put("k", &value(1, 300_000)).unwrap();
    remote.chaos.damage(Some(cacheness_testkit::chaos::Damage::FlipBit(80)));
    assert_eq!(cache.get::<Vec<u8>, _>("k").unwrap(), None);
    assert!(remote.copies().is_empty());
}

#[test]
fn the_limit_holds_whenever_a_call_returns_however_many_share_the_folder() {
    const MOST: u64 = 1_000_000;
    let remote = Remote::new();
    let caches: Vec<Cache> = (0..4).map(|_| remote.open(remote.tier().max_bytes(MOST))).collect();
    for n in 0..60 {
        caches[0].put(format!("k{n}").as_str(), &value(n, 90_000)).unwrap();
    }
    caches[0].put("too large", &value(0, 1_100_000)).unwrap();
    std::thread::scope(|scope| {
        for cache in &caches {
            scope.spawn(|| {
                for n in 0..60 {
                    assert_eq!(cache.get(format!("k{n}").as_str()).unwrap(), Some(value(n, 90_000)));
                    let sum = remote.bytes_kept();
                    assert!(sum <= MOST, "{sum} bytes");
                }
            });
        }
    });
    assert_eq!(caches[1].get("too large").unwrap(), Some(value(0, 1_100_000)));
    let held: u64 = remote.copies().values().sum();
    assert!((MOST / 2..=MOST).contains(&held), "{held} bytes");
    // A limit that is lowered holds from the next open on.
    drop(caches);
    let cache = remote.open(remote.tier().max_bytes(200_000));
    let held: u64 = remote.copies().values().sum();
    assert!(held <= 200_000, "{held} bytes");
    drop(cache);
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let clock = TestClock::new();
    let mut remote = Remote::new();
    remote.env = clock.env();
    // Nobody turns the clock for the pauses between attempts.
    let once = RemoteCalls::new().attempts(1);
    let cache = remote.builder(remote.tier().max_bytes(350_000)).remote(once).open_blocking().unwrap();
    for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
        cache.put(key, &value(n as u8, 100_000)).unwrap();
        cache.get::<Vec<u8>, _>(key).unwrap().unwrap();
        clock.advance(Duration::from_secs(100));
    }
    cache.get::<Vec<u8>, _>("a").unwrap().unwrap();
    clock.advance(Duration::from_secs(100));
    cache.put("d", &value(4, 100_000)).unwrap();
    cache.get::<Vec<u8>, _>("d").unwrap().unwrap();
    remote.goes_away();
    let found = ["a", "b", "c", "d"].map(|key| cache.get::<Vec<u8>, _>(key).unwrap().is_some());
    assert_eq!(found, [true, false, true, true]);
}

#[test]
fn callers_at_the_same_time_fetch_a_blob_once() {
    let remote = Remote::slow(Duration::from_millis(200));
    let cache = remote.open(remote.tier());
    cache.put("k", &value(1, 300_000)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(cache.get("k").unwrap(), Some(value(1, 300_000))));
        }
    });
    assert_eq!(remote.fetches(), 1);
}

#[test]
fn a_folder_that_takes_no_copies_holds_nothing_up() {
    let remote = Remote::new();
    let cache = remote.open(remote.tier().write_through(true));
    fs_err::remove_dir(remote.root().join("staging")).unwrap();
    fs_err::write(remote.root().join("staging"), "").unwrap();
    cache.put("k", &value(1, 300_000)).unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(value(1, 300_000)));
    cache.put_reader("streamed", &value(2, 900_000)[..], PutOptions::new()).unwrap();
    assert!(cache.get_raw("streamed").unwrap().unwrap().bytes == value(2, 900_000));
}

#[test]
fn what_a_crashed_process_left_is_swept_when_the_folder_is_opened() {
    let remote = Remote::new();
    drop(remote.open(remote.tier()));
    let (old, fresh) = (remote.root().join("staging/.tmpOld"), remote.root().join("staging/.tmpFresh"));
    let theirs = remote.root().join("staging/notes.txt");
    fs_err::write(&fresh, "being written").unwrap();
    let hours = Duration::from_secs(2 * 60 * 60);
    for path in [&old, &theirs] {
        let file = fs_err::File::create(path).unwrap();
        file.file().set_modified((Env::new().now() - hours).into()).unwrap();
    }
    fs_err::write(remote.root().join("size"), "nonsense").unwrap();
    drop(remote.open(remote.tier()));
    assert!(!old.exists() && fresh.exists());
    assert!(theirs.exists(), "what nobody of the cache's made stays");
}

#[cfg(feature = "arrow")]
#[test]
fn a_part_of_a_table_is_read_from_a_copy_and_fetches_none() {
    use arrow_array::{Float64Array, RecordBatch};
    use cacheness::ReadOptions;
    let columns = (0..8).map(|c| {
        let column = Float64Array::from_iter_values((0..60_000).map(|row| f64::from(row * 31 + c)));
        (format!("c{c}"), std::sync::Arc::new(column) as arrow_array::ArrayRef)
    });
    let table = RecordBatch::try_from_iter(columns).unwrap();
    let remote = Remote::new();
    let cache = remote.open(remote.tier());
    let options = || PutOptions::new().handler("parquet").compression(Compression::None);
    cache.put_with("t", &table, options()).unwrap();
    let part: RecordBatch = cache.get_with("t", &ReadOptions::columns(["c3"])).unwrap().unwrap();
    assert_eq!(part.column(0), table.column(3));
    assert!(remote.copies().is_empty(), "a part fetched the whole, which would be kept");
    assert_eq!(cache.get("t").unwrap(), Some(table.clone()));
    remote.goes_away();
    let part: RecordBatch = cache.get_with("t", &ReadOptions::columns(["c5"])).unwrap().unwrap();
    assert_eq!(part.column(0), table.column(5));
    assert_eq!(cache.get("t").unwrap(), Some(table));
}

#[test]
fn a_tier_for_blobs_that_are_on_this_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Cache::builder().folder(folder.path()).local_tier(LocalTier::new("tier")).open_blocking();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(
        error.to_string().contains("`filesystem` has them on this one; leave `local_tier` out"),
        "{error}"
    );
}

#[test]
fn a_blob_that_was_replaced_by_a_far_longer_one_costs_no_more_memory_than_the_value() {
    for (which, tier) in [true, false].into_iter().enumerate() {
        let remote = Remote::new();
        let builder = match tier {
            true => remote.builder(remote.tier()),
            false => CacheBuilder::new(remote.registry.clone())
                .folder(remote.folder.path().join("cache"))
                .blobs("remote")
                .inline_limit(0),
        };
        let cache = builder.open_blocking().unwrap();
        cache.put("k", &value(1, 1_000)).unwrap();
        let mut folders = vec![remote.folder.path().join("cache/blobs")];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name() != "cacheness-blobs" {
                    // A hole, which takes no room on the disk.
                    let blob = fs_err::OpenOptions::new().write(true).open(entry.path()).unwrap();
                    blob.set_len(1 << 40).unwrap();
                }
            }
        }
        assert_eq!(cache.get("k").unwrap(), Some(value(1, 1_000)), "{which}");
    }
}

#[cfg(unix)]
#[test]
fn no_link_leads_out_of_the_folder_of_copies() {
    let remote = Remote::new();
    let cache = remote.open(remote.tier());
    cache.put("k", &value(1, 300_000)).unwrap();
    cache.get::<Vec<u8>, _>("k").unwrap().unwrap();
    let copy = remote.copies().into_keys().next().unwrap();
    let shard = copy.parent().unwrap();
    // The folder of the copy is moved away, and a link leads to where it is now.
    let elsewhere = remote.folder.path().join("elsewhere");
    fs_err::rename(shard, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, shard).unwrap();
    let theirs = elsewhere.join(copy.file_name().unwrap());
    fs_err::write(&theirs, "damaged, and not the tier's").unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(value(1, 300_000)));
    assert_eq!(fs_err::read_to_string(&theirs).unwrap(), "damaged, and not the tier's");
    assert_eq!(fs_err::read_dir(&elsewhere).unwrap().count(), 1, "a copy was written behind the link");
    // Nor does making room delete what lies there, or count it.
    drop(cache);
    fs_err::write(remote.root().join("size"), "nonsense").unwrap();
    let cache = remote.open(remote.tier().max_bytes(10));
    assert!(theirs.exists());
    assert_eq!(cache.get("k").unwrap(), Some(value(1, 300_000)));
}
