//! Entries and values that are encrypted: nothing private shows in what is stored, and nothing else is served.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cacheness::blocking::Cache;
use cacheness::*;
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};

use super::signing::key as signing_key;
use super::store::{Store, shows};
use super::values::{VALUES, long_text};

fn secret(text: &str) -> EncryptionKey {
    EncryptionKey::given(Secret::new(text.repeat(32)))
}

fn encryption() -> Encryption {
    Encryption::new("new", secret("n"))
}

fn open(store: &Store) -> Cache {
    store.builder().encryption(encryption()).open_blocking().unwrap()
}

#[test]
fn what_is_put_comes_back_from_every_place_and_nothing_of_it_shows() {
    for (signs, mmap) in [(false, true), (true, true), (false, false)] {
        let store = Store::new();
        let open = || {
            let builder = store.builder().encryption(encryption()).mmap(mmap);
            let builder = if signs { builder.signing(signing_key("k")) } else { builder };
            builder.open_blocking().unwrap()
        };
        let cache = open();
        VALUES.iter().for_each(|value| (value.put)(&cache, value.key));
        for cache in [cache, open()] {
            for value in VALUES {
                assert_eq!((value.read)(&cache, value.key).unwrap(), Some(true), "{}", value.key);
            }
            let page = cache.list(ListOptions::new().tag("t")).unwrap();
            assert_eq!(page.entries.len(), VALUES.len() - 1);
            assert_eq!(page.entries[0].custom["city"], "Oslo", "whoever has the key sees it");
            assert_eq!(cache.stats().unwrap().counters.errors, 0);
            cache.close().unwrap();
        }
        let everything = store.everything();
        assert!(shows(&everything, "parquet_column"), "keys are readable unless they are hashed");
        for private in
            ["the marker", "Oslo", "of the marker", "PAR1", "ARROW1", "NUMPY", "Vec<u8>", "alloc::"]
        {
            assert!(!shows(&everything, private), "{private}");
        }
    }
}

#[test]
fn plain_values_are_not_written_to_staged_files() {
    let store = Store::new();
    let cache = open(&store);
    let text = long_text().repeat(4);
    // It goes through a file, which is as long as it is until it is renamed, and is looked at in between.
    struct Watching<'a>(&'a [u8], std::path::PathBuf, bool);
    impl std::io::Read for Watching<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            for file in fs_err::read_dir(&self.1).unwrap() {
                let staged = fs_err::read(file.unwrap().path()).unwrap();
                self.2 |= !staged.is_empty();
                assert!(!shows(&[staged], "of the marker"));
            }
            let n = out.len().min(self.0.len());
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }
    let mut watching = Watching(text.as_bytes(), store.folder.path().join("blobs/staging"), false);
    cache.put_reader("k", &mut watching, PutOptions::new()).unwrap();
    assert!(watching.2, "something was staged");
    assert_eq!(cache.get::<Vec<u8>, _>("k").unwrap().unwrap(), text.as_bytes());
}

#[test]
fn an_entry_that_says_anything_else_than_was_encrypted_is_refused_and_taken_out() {
    type Change = fn(&mut Entry);
    let changes: [(&str, Change); 12] = [
        ("value", |entry| {
            entry.location = Location::Inline(Bytes::from_static(b"other"));
            entry.checksums = Checksums::of(b"other");
        }),
        ("key", |entry| entry.key = Key::new("moved").unwrap()),
        ("namespace", |entry| entry.namespace = Namespace::new("moved").unwrap()),
        ("handler", |entry| entry.format.handler = "bytes".into()),
        ("private parts", |entry| entry.description = Some("other".into())),
        ("expiry", |entry| entry.validity.expires_at = None),
        ("tags", |entry| entry.tags = vec!["admin".into()]),
        ("size", |entry| entry.size = 4),
        ("type version", |entry| entry.format.type_version = Some(9)),
        ("stored size", |entry| entry.stored_size = 4),
        ("priority", |entry| entry.priority = 1.0),
        ("created", |entry| entry.created_at = entry.created_at + Duration::from_secs(1)),
    ];
    for (what, change) in changes {
        let store = Store::new();
        let cache = open(&store);
        cache.put_with("k", "value", PutOptions::ttl(Duration::from_secs(60)).tag("t")).unwrap();
        let mut forged = store.entry("default", "k").unwrap();
        change(&mut forged);
        let (namespace, key) = (forged.namespace.clone(), forged.key.as_str().to_owned());
        store.forge(forged);
        let there = cache.namespace(namespace.as_str()).unwrap();
        let got = there.get::<String, _>(&key).unwrap();
        // Parts that stand outside of the box as well are put back from it.
        assert!(got.is_none() || what == "private parts", "{what}");
        assert_eq!(store.entry(namespace.as_str(), &key).is_none(), got.is_none(), "{what}: it is taken out");
    }
}

#[test]
fn a_blob_that_was_exchanged_with_its_checksums_and_one_in_another_place_are_refused() {
    for what in ["bytes", "blob id"] {
        let store = Store::new();
        let cache = open(&store);
        cache.put_with("k", "value", PutOptions::new().inline(false)).unwrap();
        let mut forged = store.entry("default", "k").unwrap();
        if what == "blob id" {
            forged.location = Location::Blob(store.copy_blob(forged.blob_id().unwrap()));
        } else {
            let path = store.blobs().remove(0);
            let mut bytes = fs_err::read(&path).unwrap();
            bytes[3] ^= 1;
            forged.checksums = Checksums::of(&bytes[..forged.stored_size as usize]);
            fs_err::write(&path, bytes).unwrap();
        }
        store.forge(forged);
        assert_eq!(cache.get::<String, _>("k").unwrap(), None, "{what}");
        assert!(store.entry("default", "k").is_none(), "{what}: it is taken out");
        cache.close().unwrap();
        let untrusted = |event: &Event| matches!(event, Event::Miss { reason: MissReason::Untrusted, .. });
        assert!(store.heard.lock().unwrap().iter().any(untrusted), "{what}");
    }
}

#[test]
fn an_entry_of_another_cache_or_in_plain_is_refused() {
    let (store, other) = (Store::new(), Store::new());
    let (cache, elsewhere) = (open(&store), open(&other));
    elsewhere.put("k", "another").unwrap();
    store.forge(other.entry("default", "k").unwrap());
    assert_eq!(cache.get::<String, _>("k").unwrap(), None);
    let stranger = store.builder().open_blocking().unwrap();
    stranger.put("k", "in plain").unwrap();
    assert_eq!(cache.get::<String, _>("k").unwrap(), None);
    assert!(store.entry("default", "k").is_none());
}

#[test]
fn without_the_key_an_entry_is_a_miss_or_an_error_and_stays() {
    let store = Store::new();
    let cache = open(&store);
    cache.put("k", "value").unwrap();
    cache.put_with("blob", "value", PutOptions::new().inline(false)).unwrap();
    let wrong = || store.builder().encryption(Encryption::new("new", secret("x")));
    for builder in [store.builder(), wrong()] {
        let without = builder.clone().open_blocking().unwrap();
        for key in ["k", "blob"] {
            assert_eq!(without.get::<String, _>(key).unwrap(), None);
            assert!(without.reader(key).unwrap().is_none());
            assert!(without.get_raw(key).unwrap().is_none());
            assert_eq!(without.get_entry(key).unwrap_err().kind(), ErrorKind::UnknownKey);
        }
        let strict = builder.on_read_error(OnReadError::Error).open_blocking().unwrap();
        let error = strict.get::<String, _>("k").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownKey);
        assert!(error.to_string().contains("encryption"), "{error}");
        without.close().unwrap();
    }
    let unknown = |event: &Event| matches!(event, Event::Miss { reason: MissReason::UnknownKey, .. });
    assert!(store.heard.lock().unwrap().iter().any(unknown));
    assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some("value"));
    assert_eq!(cache.get::<String, _>("blob").unwrap().as_deref(), Some("value"));
}

#[test]
fn queries_for_what_is_encrypted_are_unsupported_and_name_the_option() {
    let store = Store::new();
    let encryption = encryption().encrypt_tags(true).hash_keys("new");
    let cache = store.builder().encryption(encryption).open_blocking().unwrap();
    cache.put_with("user:1", &1, PutOptions::new().tag("t").custom("city", "Oslo")).unwrap();
    let refused = [
        (ListOptions::new().filter(field("city").eq("Oslo")), "`encryption`"),
        (ListOptions::new().tag("t"), "`encryption.encrypt_tags`"),
        (ListOptions::new().prefix("user:"), "`encryption.hash_keys`"),
        (ListOptions::new().glob("user:*"), "`encryption.hash_keys`"),
    ];
    for (options, option) in refused {
        for error in [
            cache.list(options.clone()).unwrap_err(),
            cache.count_matching(options.clone()).unwrap_err(),
            cache.remove_matching(options).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(option), "{error}");
        }
    }
    let page = cache.list(ListOptions::new().size(1..).order_by(ListOrder::Created)).unwrap();
    assert_eq!((page.entries[0].tags.as_slice(), page.entries[0].custom.len()), (&["t".to_owned()][..], 1));
    assert!(!shows(&store.everything(), "Oslo"));
}

#[test]
fn hashed_keys_find_their_values_and_stand_nowhere() {
    let store = Store::new();
    let open = || {
        let encryption = encryption().hash_keys("new");
        store.builder().encryption(encryption).inline_limit(0).open_blocking().unwrap()
    };
    let cache = open();
    let team = cache.namespace("team").unwrap();
    let name = "patient:4711:diagnosis";
    for cache in [&cache, &team] {
        let stored = cache.put_with(name, "value", PutOptions::ttl(Duration::from_secs(60))).unwrap();
        assert_eq!(stored.key.as_str().len(), 64);
        cache.put_many([(format!("{name}-a"), "a"), (format!("{name}-b"), "b")], PutOptions::new()).unwrap();
        cache.put_reader(format!("{name}-r"), &b"read"[..], PutOptions::new()).unwrap();
    }
    drop(cache);
    let cache = open();
    assert_eq!(cache.get::<String, _>(name).unwrap().as_deref(), Some("value"));
    assert_eq!(cache.peek::<String, _>(name).unwrap().as_deref(), Some("value"));
    let many =
        cache.get_many::<String, _>(&[format!("{name}-b"), "absent".into(), format!("{name}-a")]).unwrap();
    assert_eq!(many, [Some("b".to_owned()), None, Some("a".to_owned())]);
    assert!(cache.reader(format!("{name}-r")).unwrap().is_some());
    assert!(cache.contains(name).unwrap() && cache.touch(name).unwrap());
    let listed = cache.list(ListOptions::new().all_namespaces()).unwrap().entries;
    assert_eq!(listed.len(), 8);
    assert!(listed.iter().all(|entry| !entry.key.as_str().contains("patient")));
    let keys: std::collections::BTreeSet<&str> = listed.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys.len(), 8, "a key has another hash in each namespace");
    let raw = cache.get_raw(name).unwrap().unwrap();
    assert_eq!(raw.bytes, "value");
    assert_eq!(cache.remove_many(&[format!("{name}-a"), format!("{name}-b")]).unwrap(), 2);
    assert!(cache.remove(name).unwrap() && !cache.contains(name).unwrap());
    cache.close().unwrap();
    assert!(!shows(&store.everything(), "patient"));
    let heard = store.heard.lock().unwrap();
    assert!(heard.iter().all(|event| !format!("{event:?}").contains("patient")));
}

#[test]
fn a_touch_encrypts_anew_and_the_value_stays() {
    let store = Store::new();
    let cache = open(&store);
    for (key, inline) in [("row", true), ("blob", false)] {
        let options = PutOptions::ttl(Duration::from_secs(60)).inline(inline).custom("city", "Oslo");
        cache.put_with(key, "value", options).unwrap();
        store.clock.advance(Duration::from_secs(50));
        assert!(cache.touch(key).unwrap());
        store.clock.advance(Duration::from_secs(50));
        assert_eq!(cache.get::<String, _>(key).unwrap().as_deref(), Some("value"));
        assert_eq!(cache.get_entry(key).unwrap().unwrap().custom["city"], "Oslo");
        store.touch(key, None);
        assert_eq!(cache.get::<String, _>(key).unwrap(), None, "somebody else made it last for ever");
    }
}

#[test]
fn a_raw_entry_goes_from_an_encrypted_cache_to_another_and_back() {
    let (store, other) = (Store::new(), Store::new());
    let (cache, plain) = (open(&store), Cache::memory().unwrap());
    let elsewhere = other.builder().encryption(Encryption::new("x", secret("x"))).open_blocking().unwrap();
    let options = PutOptions::new().compression(Compression::Zstd(1)).tag("t").custom("n", 1);
    cache.put_with("k", long_text().as_str(), options).unwrap();
    plain.put_raw(cache.get_raw("k").unwrap().unwrap()).unwrap();
    elsewhere.put_raw(plain.get_raw("k").unwrap().unwrap()).unwrap();
    cache.put_raw(elsewhere.get_raw("k").unwrap().unwrap()).unwrap();
    for cache in [&cache, &plain, &elsewhere] {
        assert_eq!(cache.get::<String, _>("k").unwrap().as_deref(), Some(long_text().as_str()));
        let entry = cache.get_entry("k").unwrap().unwrap();
        assert_eq!((entry.tags.as_slice(), &entry.custom["n"]), (&["t".to_owned()][..], &1.into()));
    }
}

#[test]
fn no_change_of_a_blob_or_a_row_brings_out_another_value() {
    let store = Store::new();
    let cache = open(&store);
    VALUES.iter().for_each(|value| (value.put)(&cache, value.key));
    cache.close().unwrap();
    super::signing::damage_everything(&store, || store.builder().encryption(encryption()).open_blocking());
}

/// The keys in the order of a rotation: first only the old one, then both.
fn old() -> Encryption {
    Encryption::new("old", secret("o"))
}

fn both() -> Encryption {
    encryption().also_read("old", secret("o"))
}

#[test]
fn a_rotation_gives_everything_the_new_key_and_the_old_one_can_go() {
    let store = Store::new();
    let cache = store.builder().encryption(old()).open_blocking().unwrap();
    VALUES.iter().for_each(|value| (value.put)(&cache, value.key));
    let team = cache.namespace("team").unwrap();
    let options = PutOptions::ttl(Duration::from_secs(1000)).tag("t").description("d");
    team.put_with("k", "value", options).unwrap();
    assert_eq!(team.get::<String, _>("k").unwrap().as_deref(), Some("value"));
    cache.close().unwrap();

    let cache = store.builder().encryption(both()).open_blocking().unwrap();
    for value in VALUES {
        assert_eq!((value.read)(&cache, value.key).unwrap(), Some(true), "{}", value.key);
    }
    let report = cache.rotate_keys().unwrap();
    let all = VALUES.len() as u64 + 1;
    assert_eq!((report.entries, report.rotated, report.replaced, report.unreadable), (all, all, 0, 0));
    let again = cache.rotate_keys().unwrap();
    assert_eq!((again.entries, again.rotated), (all, 0));
    store.clock.advance(GARBAGE_DELAY * 2);
    cache.purge().unwrap();
    let blobs = store.blobs().len();
    cache.close().unwrap();

    let cache = open(&store);
    for value in VALUES {
        assert_eq!((value.read)(&cache, value.key).unwrap(), Some(true), "{}", value.key);
    }
    let listed = cache.list(ListOptions::new()).unwrap().entries;
    assert_eq!(
        listed.iter().filter(|entry| entry.blob_id().is_some()).count(),
        blobs,
        "no blob stays behind"
    );
    let entry = cache.namespace("team").unwrap().get_entry("k").unwrap().unwrap();
    assert_eq!((entry.hits, entry.tags.as_slice()), (1, &["t".to_owned()][..]));
    assert!(entry.ttl_left().is_some_and(|left| left < Duration::from_secs(1000)));
    cache.close().unwrap();
    let old = store.builder().encryption(old()).open_blocking().unwrap();
    assert_eq!(old.get::<String, _>("inline").unwrap(), None, "the old key reads nothing any more");
}

#[test]
fn a_rotation_goes_on_where_one_was_cut_off_and_takes_what_it_cannot_read_for_that() {
    let store = Store::new();
    let cache = store.builder().encryption(old()).open_blocking().unwrap();
    for n in 0..30 {
        cache.put_with(format!("{n:02}"), &n, PutOptions::new().inline(n % 2 == 0)).unwrap();
    }
    cache.close().unwrap();
    let foreign = store.builder().encryption(Encryption::new("x", secret("x"))).open_blocking().unwrap();
    foreign.put("29", &29).unwrap();
    foreign.close().unwrap();
    // What rotates is given up: its future is dropped after so many steps.
    let mut given_up = 0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for steps in 1.. {
        let cache = runtime.block_on(store.builder().encryption(both()).open()).unwrap();
        let done = runtime.block_on(async {
            let mut rotating = Box::pin(cache.rotate_keys());
            let mut left = steps;
            std::future::poll_fn(|context| {
                left -= 1;
                match rotating.as_mut().poll(context) {
                    std::task::Poll::Ready(report) => std::task::Poll::Ready(report.map(|_| true)),
                    std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(Ok(false)),
                    std::task::Poll::Pending => std::task::Poll::Pending,
                }
            })
            .await
        });
        for n in 0..29 {
            let got = runtime.block_on(cache.get::<i32, _>(format!("{n:02}"))).unwrap();
            assert_eq!(got, Some(n), "after {steps} steps");
        }
        if done.unwrap() {
            break;
        }
        given_up += 1;
    }
    assert!(given_up > 0, "it is given up before it is done");
    let cache = store.builder().encryption(both()).open_blocking().unwrap();
    let report = cache.rotate_keys().unwrap();
    assert_eq!((report.entries, report.unreadable), (30, 1));
    assert_eq!(cache.rotate_keys().unwrap().rotated, 0);
    let cache = open(&store);
    (0..29).for_each(|n| assert_eq!(cache.get::<i32, _>(format!("{n:02}")).unwrap(), Some(n)));
}

#[test]
fn a_rotation_beside_puts_and_gets_loses_and_resurrects_nothing() {
    let store = Store::new();
    let cache = store.builder().encryption(old()).open_blocking().unwrap();
    for n in 0..200_u32 {
        cache.put_with(format!("{n}"), &(n, 0_u32), PutOptions::new().inline(n % 2 == 0)).unwrap();
    }
    cache.close().unwrap();
    let cache = store.builder().encryption(both()).open_blocking().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut round = 0_u32;
            while !done.load(Ordering::Relaxed) || round == 0 {
                round += 1;
                for n in (0..200_u32).step_by(3) {
                    cache.put(format!("{n}"), &(n, round)).unwrap();
                    let got: Option<(u32, u32)> = cache.get(format!("{n}")).unwrap();
                    assert_eq!(got, Some((n, round)), "nothing older comes back");
                }
                for n in (1..200_u32).step_by(3) {
                    let got: Option<(u32, u32)> = cache.get(format!("{n}")).unwrap();
                    assert_eq!(got, Some((n, 0)));
                }
            }
            round
        });
        let report = cache.rotate_keys().unwrap();
        assert_eq!(report.unreadable, 0, "{report:?}");
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert_eq!(cache.rotate_keys().unwrap().rotated, 0);
}

#[test]
fn a_rotation_beside_touches_is_not_done_before_everything_has_the_new_key() {
    let store = Store::new();
    let cache = store.builder().encryption(old()).open_blocking().unwrap();
    for n in 0..100_u32 {
        let options = PutOptions::ttl(Duration::from_secs(1000)).inline(n % 2 == 0);
        cache.put_with(format!("{n}"), &n, options).unwrap();
    }
    cache.close().unwrap();
    let cache = store.builder().encryption(both()).open_blocking().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let toucher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for n in 0..100_u32 {
                    let touched = cache.extend_ttl(format!("{n}"), Duration::from_secs(1)).unwrap();
                    assert!(touched, "nothing is lost");
                }
            }
        });
        let mut left = u64::MAX;
        for _ in 0..100 {
            let report = cache.rotate_keys().unwrap();
            assert_eq!((report.entries, report.unreadable), (100, 0), "{report:?}");
            left = report.unfinished;
            if left == 0 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        toucher.join().unwrap();
        assert_eq!(left, 0);
    });
    cache.close().unwrap();
    // Whatever it said of them, none needs the old key.
    let cache = open(&store);
    (0..100_u32).for_each(|n| assert_eq!(cache.get::<u32, _>(format!("{n}")).unwrap(), Some(n)));
}

#[test]
fn a_raw_entry_has_the_key_that_it_was_asked_for_by() {
    let store = Store::new();
    let hashing = encryption().also_read("names", secret("n")).hash_keys("names");
    let cache = store.builder().encryption(hashing).open_blocking().unwrap();
    cache.put("user:1", "value").unwrap();
    let raw = cache.get_raw("user:1").unwrap().unwrap();
    assert_eq!(raw.entry.key.as_str(), "user:1");
    for target in [Cache::memory().unwrap(), cache.namespace("copy").unwrap()] {
        target.put_raw(raw.clone()).unwrap();
        assert_eq!(target.get::<String, _>("user:1").unwrap().as_deref(), Some("value"));
    }
}

#[test]
fn a_cache_without_keys_rotates_none() {
    let error = Cache::memory().unwrap().rotate_keys().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`encryption`"), "{error}");
}

#[test]
fn a_configuration_names_several_keys() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "folder = {:?}\n[encryption]\nwrite_key = '2026'\nencrypt_tags = true\nhash_keys = true\nhash_key = 'names'\n\
         [encryption.keys.2026]\nkey_file = '2026.key'\ncreate_key = true\n\
         [encryption.keys.names]\nkey_file = 'names.key'\ncreate_key = true\n",
        folder.path().join("cache")
    );
    let builder = CacheBuilder::from_toml(&text).unwrap();
    let cache = builder.clone().open_blocking().unwrap();
    cache.put("k", &1).unwrap();
    let printed = builder.to_toml().unwrap();
    assert!(printed.contains("[encryption.keys.\"names\"]"), "{printed}");
    let again = CacheBuilder::from_toml(&printed).unwrap().open_blocking().unwrap();
    assert_eq!(again.get::<i32, _>("k").unwrap(), Some(1));
    for key in ["2026.key", "names.key"] {
        let key = fs_err::read_to_string(folder.path().join("cache").join(key)).unwrap();
        assert!(!printed.contains(key.trim()));
    }

    let refused = |text: &str| {
        let error = CacheBuilder::from_toml(text).and_then(|builder| builder.check()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        error.to_string()
    };
    let table = |rest: &str| refused(&format!("[encryption]\n{rest}"));
    assert!(table("write_key = 'a'").contains("`encryption.write_key`"));
    let two = "[encryption.keys.a]\nkey_env = 'A'\n[encryption.keys.b]\nkey_env = 'B'\n";
    assert!(table(two).contains("say by `encryption.write_key`"));
    assert!(table(&format!("write_key = 'c'\n{two}")).contains("`a`, `b`"));
    assert!(table(&format!("write_key = 'a'\nhash_keys = true\n{two}")).contains("`encryption.hash_key`"));
    assert!(table("[encryption.keys.a]\ncreate_key = true").contains("`encryption.keys.a.key_file`"));
    assert!(table("[encryption.keys.a]\nfile = 'x'").contains("there is no option `encryption.keys.a.file`"));

    let given = Cache::builder()
        .encryption(Encryption::new("a", EncryptionKey::given(Secret::new("hunter2".repeat(9)))));
    let texts =
        format!("{given:?} {} {:?}", given.to_toml().unwrap(), given.clone().open_blocking().unwrap());
    assert!(!texts.contains("hunter2"), "{texts}");
}

#[test]
fn without_the_key_of_an_entry_verifying_goes_on_and_repairing_leaves_it() {
    let store = Store::new();
    let cache = open(&store);
    for i in 0..6 {
        cache.put_with(format!("k{i}"), &format!("value {i}"), PutOptions::new().inline(i % 2 == 0)).unwrap();
    }
    cache.close().unwrap();
    let foreign =
        store.builder().encryption(Encryption::new("foreign", secret("f"))).open_blocking().unwrap();
    foreign.put("of this key", "value").unwrap();
    let report = foreign.verify(VerifyOptions::new()).unwrap();
    assert_eq!((report.entries, report.found(), report.count(Damage::UnknownKey)), (7, 6, 6));
    assert!(report.bytes > 0, "checksums need no key");

    // Damage shows without the key.
    let blob = store.blobs().remove(0);
    let mut bytes = fs_err::read(&blob).unwrap();
    bytes[0] ^= 1;
    fs_err::write(&blob, bytes).unwrap();
    let report = foreign.repair(VerifyOptions::new()).unwrap();
    assert_eq!((report.count(Damage::UnknownKey), report.count(Damage::DamagedBlob)), (5, 1));
    assert_eq!(report.removed, 1);
    foreign.close().unwrap();
    let cache = open(&store);
    let found = (0..6).filter(|i| cache.get::<String, _>(format!("k{i}")).unwrap().is_some()).count();
    assert_eq!(found, 5);
}

#[test]
fn an_entry_that_cannot_be_rotated_keeps_no_other_from_its_new_key() {
    let (store, chaos) = (Store::new(), Chaos::new());
    let mut registry = Registry::builtin();
    let files = registry.blob_backend("filesystem").unwrap().clone();
    let files = ChaosBlobFactory::wrap_shared(files, chaos.clone());
    registry.register_blob_backend(files, Register::new().named("filesystem").replace()).unwrap();
    let limits = |entries| Limits::unbounded().max_entries(entries).policy("none");
    let open = |encryption, entries| {
        let builder = store.builder_with(registry.clone()).encryption(encryption).limits(limits(entries));
        builder.open_blocking().unwrap()
    };
    let cache = open(old(), 10);
    for n in 0..4 {
        cache.put_with(format!("{n}"), &n, PutOptions::new().inline(false)).unwrap();
    }
    cache.close().unwrap();

    let cache = open(both(), 10);
    chaos.fail_next("get", Error::new(ErrorKind::PermissionDenied, "a bad sector"));
    let report = cache.rotate_keys().unwrap();
    assert_eq!((report.entries, report.rotated, report.unreadable), (4, 3, 1));
    assert_eq!(cache.rotate_keys().unwrap().rotated, 1, "nothing was removed");
    cache.close().unwrap();

    // By the policy `none` nothing makes room where a limit was lowered.
    let cache = open(Encryption::new("third", secret("t")).also_read("new", secret("n")), 2);
    let report = cache.rotate_keys().unwrap();
    assert_eq!((report.rotated, report.unfinished), (0, 4));
    cache.set_limits(limits(10)).unwrap();
    assert_eq!(cache.rotate_keys().unwrap().rotated, 4);
    store.clock.advance(GARBAGE_DELAY * 2);
    cache.purge().unwrap();
    assert_eq!(store.blobs().len(), 4, "what was refused leaves no blob");
}

#[test]
fn a_value_that_cannot_be_encoded_does_not_show_a_hashed_key() {
    struct Fails;
    impl serde::Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it cannot be written"))
        }
    }
    let store = Store::new();
    let builder = store.builder().encryption(encryption().hash_keys("new"));
    let cache = builder.on_encode_error(OnEncodeError::Drop).open_blocking().unwrap();
    let stored = cache.put_serialize("patient:4711", &Fails, PutOptions::new()).unwrap();
    assert_eq!(stored.state, StoredState::Dropped);
    cache.close().unwrap();
    let heard = store.heard.lock().unwrap();
    assert!(heard.iter().any(|event| matches!(event, Event::WriteDropped { .. })), "{heard:?}");
    assert!(heard.iter().all(|event| !format!("{event:?}").contains("patient")), "{heard:?}");
}
