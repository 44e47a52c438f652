//! Entries that are signed: what was not signed so is a miss, told, and taken out.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cacheness::blocking::Cache;
use cacheness::*;

use super::store::Store;
use super::values::VALUES;

const ALGORITHMS: [SigningAlgorithm; 2] = [SigningAlgorithm::HmacSha256, SigningAlgorithm::Blake3];

pub(crate) fn key(text: &str) -> Signing {
    Signing::new().key(Secret::new(text.repeat(32)))
}

fn open(store: &Store) -> Cache {
    store.builder().signing(key("k")).open_blocking().unwrap()
}

/// The reasons of the misses that listeners were told of, and how often entries were taken out.
fn told(store: &Store, cache: Cache) -> (Vec<MissReason>, usize) {
    cache.close().unwrap();
    let heard = store.heard.lock().unwrap();
    let reasons = heard.iter().filter_map(|event| match event {
        Event::Miss { reason, .. } => Some(*reason),
        _ => None,
    });
    let refused = heard.iter().filter(
        |event| matches!(event, Event::Corrupt { error, .. } if error.kind() == ErrorKind::Untrusted),
    );
    (reasons.collect(), refused.count())
}

#[test]
fn what_is_put_comes_back_from_every_place_and_after_opening_anew() {
    for algorithm in ALGORITHMS {
        for mmap in [true, false] {
            let store = Store::new();
            let open = || {
                let signing = key("k").algorithm(algorithm);
                store.builder().signing(signing).mmap(mmap).open_blocking().unwrap()
            };
            let cache = open();
            VALUES.iter().for_each(|value| (value.put)(&cache, value.key));
            for cache in [cache, open()] {
                for value in VALUES {
                    assert_eq!((value.read)(&cache, value.key).unwrap(), Some(true), "{}", value.key);
                }
                let page = cache.list(ListOptions::new().tag("t").filter(field("city").eq("Oslo"))).unwrap();
                assert_eq!(page.entries.len(), VALUES.len() - 1);
                assert_eq!(cache.stats().unwrap().counters.errors, 0);
                cache.close().unwrap();
            }
        }
    }
}

#[test]
fn an_entry_that_says_anything_else_than_was_signed_is_refused_and_taken_out() {
    type Change = fn(&mut Entry);
    let other_value: Change = |entry| {
        entry.location = Location::Inline(Bytes::from_static(b"other"));
        entry.checksums = Checksums::of_kind(ChecksumKind::Blake3, b"other");
    };
    let changes: [(&str, Change); 21] = [
        ("value", other_value),
        ("value with checksums that anybody can match", |entry| {
            entry.location = Location::Inline(Bytes::from_static(b"other"));
            entry.checksums = Checksums::of(b"other");
        }),
        ("same value with checksums that anybody can match", |entry| {
            entry.checksums = Checksums::of(b"value")
        }),
        ("key", |entry| entry.key = Key::new("moved").unwrap()),
        ("namespace", |entry| entry.namespace = Namespace::new("moved").unwrap()),
        ("handler", |entry| entry.format.handler = "bytes".into()),
        ("class", |entry| entry.format.class = TypeClass::Bytes),
        ("format metadata", |entry| entry.format.meta = FormatMeta::new(vec![1])),
        ("type tag", |entry| entry.format.type_tag = Some("other".into())),
        ("type version", |entry| entry.format.type_version = Some(9)),
        ("stages", |entry| entry.format.stages = vec![Stage::Lz4]),
        ("ttl", |entry| entry.validity.ttl = Some(Duration::from_secs(9999))),
        ("expiry", |entry| entry.validity.expires_at = None),
        ("tags", |entry| entry.tags = vec!["admin".into()]),
        ("custom fields", |entry| drop(entry.custom.insert("city".into(), "Rome".into()))),
        ("description", |entry| entry.description = None),
        ("created", |entry| entry.created_at = entry.created_at + Duration::from_secs(1)),
        ("size", |entry| entry.size = 4),
        ("stored size", |entry| entry.stored_size = 4),
        ("priority", |entry| entry.priority = 1.0),
        ("source files", |entry| {
            entry.validity.sources.push(FileSource::capture(std::env::current_exe().unwrap()).unwrap());
        }),
    ];
    for algorithm in ALGORITHMS {
        for (what, change) in changes {
            let store = Store::new();
            let signing = key("k").algorithm(algorithm);
            let cache = store.builder().signing(signing).open_blocking().unwrap();
            let options = PutOptions::ttl(Duration::from_secs(60)).tag("t").custom("city", "Oslo");
            cache.put_with("k", "value", options.description("d").type_tag("tag").type_version(1)).unwrap();
            let mut forged = store.entry("default", "k").unwrap();
            change(&mut forged);
            let (namespace, key) = (forged.namespace.clone(), forged.key.as_str().to_owned());
            store.forge(forged);
            let there = cache.namespace(namespace.as_str()).unwrap();
            assert_eq!(there.get::<String, _>(&key).unwrap(), None, "{what}");
            assert!(store.entry(namespace.as_str(), &key).is_none(), "{what}: it is taken out");
            assert_eq!(there.stats().unwrap().counters.errors, 1, "{what}");
            assert_eq!(told(&store, cache), (vec![MissReason::Untrusted], 1), "{what}");
        }
    }
}

#[test]
fn a_blob_that_was_exchanged_with_its_checksums_and_one_in_another_place_are_refused() {
    for (algorithm, what) in ALGORITHMS.into_iter().flat_map(|algorithm| {
        ["bytes", "bytes with checksums that anybody can match", "blob id"].map(|what| (algorithm, what))
    }) {
        let store = Store::new();
        let signing = key("k").algorithm(algorithm);
        let cache = store.builder().signing(signing).open_blocking().unwrap();
        cache.put_with("k", "value", PutOptions::new().inline(false)).unwrap();
        let mut forged = store.entry("default", "k").unwrap();
        if what == "blob id" {
            forged.location = Location::Blob(store.copy_blob(forged.blob_id().unwrap()));
        } else {
            let path = store.blobs().remove(0);
            let mut bytes = fs_err::read(&path).unwrap();
            assert_eq!(&bytes[..5], b"value");
            bytes[..5].copy_from_slice(b"other");
            fs_err::write(&path, bytes).unwrap();
            let kind = if what == "bytes" { ChecksumKind::Blake3 } else { ChecksumKind::Xxh3 };
            forged.checksums = Checksums::of_kind(kind, b"other");
        }
        store.forge(forged);
        assert_eq!(cache.get::<String, _>("k").unwrap(), None, "{what}");
        assert!(store.entry("default", "k").is_none(), "{what}: it is taken out");
        assert_eq!(told(&store, cache), (vec![MissReason::Untrusted], 1), "{what}");
    }
}

/// What is logged on this thread while `work` runs.
fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let lines = lines.0.lock().unwrap().clone();
    String::from_utf8(lines).unwrap()
}

#[test]
fn stripping_a_signature_does_not_help_and_is_logged() {
    for algorithm in ALGORITHMS {
        let store = Store::new();
        let signing = key("k").algorithm(algorithm);
        let cache = store.builder().signing(signing).open_blocking().unwrap();
        cache.put("user:1", "hunter2").unwrap();
        let whole = store.entry("default", "user:1").unwrap();
        // The same entry, but for what only the cache can give it.
        let (namespace, key, format) = (whole.namespace.clone(), whole.key.clone(), whole.format.clone());
        let mut stripped = Entry::new(namespace, key, format, whole.location.clone(), whole.created_at);
        (stripped.size, stripped.stored_size) = (whole.size, whole.stored_size);
        stripped.checksums = whole.checksums.clone();
        stripped.validity = whole.validity.clone();
        assert_ne!(stripped.to_stored(), whole.to_stored(), "there was a signature");
        store.forge(stripped);
        let log = logged(|| assert_eq!(cache.get::<String, _>("user:1").unwrap(), None));
        assert_eq!(store.entry("default", "user:1"), None, "it was taken out");
        assert!(log.contains("WARN") && log.contains("a value could not be read"), "{log}");
        assert!(log.contains("untrusted") && log.contains("signature"), "{log}");
        assert!(!log.contains("user:1") && !log.contains("hunter2"), "{log}");
        assert_eq!(cache.stats().unwrap().counters.errors, 1);
        assert_eq!(told(&store, cache), (vec![MissReason::Untrusted], 1));
    }
}

#[test]
fn every_way_to_look_at_an_entry_refuses_one_that_is_not_trusted() {
    type Look = fn(&Cache) -> bool;
    let looks: [(&str, Look); 12] = [
        ("get", |cache| cache.get::<String, _>("k").unwrap().is_some()),
        ("peek", |cache| cache.peek::<String, _>("k").unwrap().is_some()),
        ("get_many", |cache| {
            let got = cache.get_many::<String, _>(&["k", "honest"]).unwrap();
            assert_eq!(got[1].as_deref(), Some("true"), "the others are served");
            got[0].is_some()
        }),
        ("reader", |cache| cache.reader("k").unwrap().is_some()),
        ("get_raw", |cache| cache.get_raw("k").unwrap().is_some()),
        ("get_entry", |cache| cache.get_entry("k").unwrap().is_some()),
        ("contains", |cache| cache.contains("k").unwrap()),
        ("touch", |cache| cache.touch("k").unwrap()),
        ("extend_ttl", |cache| cache.extend_ttl("k", Duration::from_secs(1)).unwrap()),
        ("list", |cache| {
            let page = cache.list(ListOptions::new()).unwrap();
            assert_eq!(page.entries.len(), 1, "the others are listed");
            page.entries.iter().any(|entry| entry.key.as_str() == "k")
        }),
        ("list by size", |cache| {
            let page = cache.list(ListOptions::new().order_by(ListOrder::Size).valid(true)).unwrap();
            page.entries.iter().any(|entry| entry.key.as_str() == "k")
        }),
        ("count_matching", |cache| cache.count_matching(ListOptions::new()).unwrap() != 1),
    ];
    for (what, look) in looks {
        let store = Store::new();
        let cache = open(&store);
        cache.put("honest", "true").unwrap();
        // Somebody without the key has the same cache open.
        let stranger = store.builder().open_blocking().unwrap();
        stranger.put("k", "forged").unwrap();
        assert!(!look(&cache), "{what}");
        assert!(store.entry("default", "k").is_none(), "{what}: it is taken out");
        assert_eq!(cache.get::<String, _>("honest").unwrap().as_deref(), Some("true"), "{what}");
        stranger.close().unwrap();
        assert_eq!(told(&store, cache).1, 1, "{what}");
    }
}

#[test]
fn a_signature_is_of_one_cache_one_key_and_one_algorithm() {
    let (store, other) = (Store::new(), Store::new());
    let (cache, elsewhere) = (open(&store), open(&other));
    cache.put("k", "value").unwrap();
    elsewhere.put("k", "another").unwrap();
    store.forge(other.entry("default", "k").unwrap());
    assert_eq!(cache.get::<String, _>("k").unwrap(), None, "it was signed for another cache");
    for signing in [key("x"), key("k").algorithm(SigningAlgorithm::Blake3)] {
        cache.put("k", "value").unwrap();
        let stranger = store.builder().signing(signing).open_blocking().unwrap();
        assert_eq!(stranger.get::<String, _>("k").unwrap(), None);
        stranger.put("k", "forged").unwrap();
        assert_eq!(cache.get::<String, _>("k").unwrap(), None);
    }
}

#[test]
fn a_touch_signs_anew_and_one_past_the_cache_is_refused() {
    let store = Store::new();
    let cache = open(&store);
    for (key, inline) in [("row", true), ("blob", false)] {
        let options = PutOptions::ttl(Duration::from_secs(60)).inline(inline).tag("t");
        cache.put_with(key, "value", options).unwrap();
        assert_eq!(cache.get::<String, _>(key).unwrap().as_deref(), Some("value"));
        let before = cache.get_entry(key).unwrap().unwrap();
        store.clock.advance(Duration::from_secs(50));
        assert!(cache.touch(key).unwrap());
        store.clock.advance(Duration::from_secs(50));
        assert!(cache.extend_ttl(key, Duration::from_secs(100)).unwrap());
        store.clock.advance(Duration::from_secs(100));
        assert_eq!(cache.get::<String, _>(key).unwrap().as_deref(), Some("value"));
        let after = cache.get_entry(key).unwrap().unwrap();
        assert_eq!((after.created_at, &after.tags), (before.created_at, &before.tags));
        assert_eq!((before.hits, after.hits), (1, 2), "a touch loses no use");

        store.touch(key, None);
        assert_eq!(cache.get::<String, _>(key).unwrap(), None, "somebody else made it last for ever");
    }
    cache.put_with("k", "value", PutOptions::new().inline(false)).unwrap();
    assert!(cache.touch("k").unwrap());
    store.clock.advance(GARBAGE_DELAY * 2);
    cache.purge().unwrap();
    assert_eq!(store.blobs().len(), 1, "a touch keeps the blob, and what was refused leaves none");
    assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("value"));
}

#[test]
fn no_change_of_a_blob_or_a_row_brings_out_another_value() {
    let store = Store::new();
    let cache = open(&store);
    VALUES.iter().for_each(|value| (value.put)(&cache, value.key));
    cache.close().unwrap();
    damage_everything(&store, || store.builder().signing(key("k")).open_blocking());
}

#[test]
fn a_blob_that_was_read_once_is_verified_again() {
    let store = Store::new();
    let cache = open(&store);
    let table = VALUES.iter().find(|value| value.key == "arrow_ipc").unwrap();
    (table.put)(&cache, "k");
    assert_eq!((table.read)(&cache, "k").unwrap(), Some(true));
    let path = store.blobs().remove(0);
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[100_000] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    assert_eq!((table.read)(&cache, "k").unwrap(), None);
}

#[test]
fn an_older_value_that_was_signed_is_not_told_from_the_newest() {
    let store = Store::new();
    let cache = open(&store);
    cache.put("k", "old").unwrap();
    let old = store.entry("default", "k").unwrap();
    cache.put("k", "new").unwrap();
    store.forge(old);
    // What docs/security.md says is not caught.
    assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("old"));
}

#[test]
fn a_raw_entry_is_signed_by_the_cache_that_takes_it() {
    let plain = Cache::memory().unwrap();
    plain.put_with("k", "value", PutOptions::new().tag("t")).unwrap();
    let store = Store::new();
    let cache = open(&store);
    cache.put_raw(plain.get_raw("k").unwrap().unwrap()).unwrap();
    assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("value"));
    plain.put_raw(cache.get_raw("k").unwrap().unwrap()).unwrap();
    assert_eq!(plain.get::<String, _>("k").unwrap().as_deref(), Some("value"));
}

#[test]
fn custom_fields_of_any_kind_are_signed_as_they_come_back() {
    let store = Store::new();
    let cache = open(&store);
    let mut state = 3_u64;
    for n in 0..2_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let float = f64::from_bits(state);
        let float = if float.is_finite() { float } else { 0.1 };
        let options = PutOptions::new().custom("f", float).custom("u", state).custom("i", -(n as i64));
        cache.put_with("k", &n, options).unwrap();
        assert_eq!(cache.get::<u64, _>("k").unwrap(), Some(n), "{float}");
    }
}

/// Changes bits of all blobs and rows, one at a time, and looks whether anything comes out that was not put.
pub(crate) fn damage_everything(store: &Store, open: impl Fn() -> Result<Cache>) {
    let rows = store.rows.lock().unwrap().clone();
    let blobs: Vec<_> = store.blobs().into_iter().map(|path| (fs_err::read(&path).unwrap(), path)).collect();
    assert!(blobs.len() > 8);
    // An index that does not open shows nothing that is wrong, and a value that is an error neither.
    let read_all = |what: &str| {
        let cache = open()?;
        let mut missed = 0;
        for value in VALUES {
            match (value.read)(&cache, value.key) {
                Ok(Some(right)) => assert!(right, "{} came out wrong: {what}", value.key),
                Ok(None) => missed += 1,
                Err(error) => assert_ne!(what, "nothing", "{}: {error}", value.key),
            }
        }
        Ok::<_, Error>(missed)
    };
    let (mut opened, mut missed) = (0, 0);
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (bytes, path) in &blobs {
        for _ in 0..2 {
            let at = random(bytes.len());
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << random(8);
            fs_err::write(path, &damaged).unwrap();
            read_all(&format!("byte {at} of {} of a blob", bytes.len())).unwrap();
            *store.rows.lock().unwrap() = rows.clone();
            for (bytes, path) in &blobs {
                fs_err::write(path, bytes).unwrap();
            }
        }
    }
    for (key, row) in &rows {
        for _ in 0..3 {
            if row.is_empty() {
                continue;
            }
            let at = random(row.len());
            let mut damaged = row.to_vec();
            damaged[at] ^= 1 << random(8);
            store.rows.lock().unwrap().insert(key.clone(), damaged.into());
            if let Ok(misses) = read_all(&format!("byte {at} of {} of the row {key:?}", row.len())) {
                (opened, missed) = (opened + 1, missed + misses);
            }
            *store.rows.lock().unwrap() = rows.clone();
        }
    }
    assert!(opened > 2 * rows.len() && missed > 0, "{opened} opened of {} rows, {missed} missed", rows.len());
    assert_eq!(read_all("nothing").unwrap(), 0);
    // Two blobs change places.
    for pair in blobs.windows(2) {
        // Some values have the same bytes, which are right in each other's places.
        let shorter = pair[0].0.len().min(pair[1].0.len()) / 2;
        if pair[0].0[..shorter] == pair[1].0[..shorter] {
            continue;
        }
        fs_err::write(&pair[0].1, &pair[1].0).unwrap();
        fs_err::write(&pair[1].1, &pair[0].0).unwrap();
        assert!(read_all("two blobs in each other's places").unwrap() >= 1);
        *store.rows.lock().unwrap() = rows.clone();
        fs_err::write(&pair[0].1, &pair[0].0).unwrap();
        fs_err::write(&pair[1].1, &pair[1].0).unwrap();
    }
}

#[test]
fn a_value_that_was_verified_does_not_change_when_somebody_writes_into_its_file() {
    use std::io::{Seek, SeekFrom, Write};
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch};

    let store = Store::new();
    let cache = open(&store);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
    let table = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    cache.put_with("t", &table, PutOptions::new().handler("arrow_ipc")).unwrap();
    let blob = store.blobs().into_iter().next().unwrap();
    for _ in 0..2 {
        let read: RecordBatch = cache.get("t").unwrap().unwrap();
        assert_eq!(read, table);
        // In place, as into a file that is mapped.
        let whole = fs_err::read(&blob).unwrap();
        let mut file = fs_err::OpenOptions::new().write(true).open(&blob).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&vec![0xFF; whole.len()]).unwrap();
        assert!(read == table, "what was verified has changed");
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&whole).unwrap();
    }
}

#[test]
fn a_forged_entry_is_found_by_verifying_and_removed_by_repairing() {
    let store = Store::new();
    let cache = open(&store);
    for key in ["forged", "in a blob", "honest"] {
        cache.put_with(key, "value", PutOptions::new().inline(key != "in a blob")).unwrap();
    }
    for key in ["forged", "in a blob"] {
        let mut forged = store.entry("default", key).unwrap();
        forged.tags = vec!["admin".into()];
        store.forge(forged);
    }
    for quick in [false, true] {
        let options = if quick { VerifyOptions::new().quick() } else { VerifyOptions::new() };
        let report = cache.verify(options).unwrap();
        assert_eq!((report.entries, report.found(), report.count(Damage::Untrusted)), (3, 2, 2));
    }
    let report = cache.repair(VerifyOptions::new()).unwrap();
    assert_eq!((report.count(Damage::Untrusted), report.removed), (2, 2));
    assert!(cache.verify(VerifyOptions::new()).unwrap().is_clean());
    assert_eq!(cache.get::<String, _>("honest").unwrap().as_deref(), Some("value"));
}
