//! Putting and getting values.

use std::sync::Arc;

use cacheness_core::{Compression, ErrorKind, PutOptions};
use serde_json::{Value, json};

use crate::cache::CacheSubject;

// shows: row 74
pub async fn values_come_back_as_they_were(subject: &CacheSubject) {
    let cache = subject.open().await;
    let nested = json!({"list": [1, 2.5, "three", null, {"deep": true}], "empty": {}, "text": "ü☃"});
    cache.put("json", &nested).await.unwrap();
    cache.put("text", "plain text").await.unwrap();
    cache.put("string", &"owned".to_owned()).await.unwrap();
    cache.put("bytes", &[0_u8, 255, 10, 13, 0][..]).await.unwrap();
    cache.put("vec", &vec![9_u8; 3]).await.unwrap();
    cache.put("number", &-7_i64).await.unwrap();
    cache.put("tuple", &(1_u8, "x".to_owned(), Some(2.5_f64))).await.unwrap();
    assert_eq!(cache.get::<Value, _>("json").await.unwrap(), Some(nested));
    assert_eq!(cache.get::<String, _>("text").await.unwrap().as_deref(), Some("plain text"));
    assert_eq!(cache.get::<String, _>("string").await.unwrap().as_deref(), Some("owned"));
    assert_eq!(cache.get::<Vec<u8>, _>("bytes").await.unwrap(), Some(vec![0, 255, 10, 13, 0]));
    assert_eq!(cache.get::<Vec<u8>, _>("vec").await.unwrap(), Some(vec![9; 3]));
    assert_eq!(cache.get::<i64, _>("number").await.unwrap(), Some(-7));
    assert_eq!(
        cache.get::<(u8, String, Option<f64>), _>("tuple").await.unwrap(),
        Some((1, "x".to_owned(), Some(2.5)))
    );
}

pub async fn values_of_every_size_come_back(subject: &CacheSubject) {
    let cache = subject.open().await;
    // On both sides of what is inline, of one checksum's chunk, and of what is staged in memory.
    for size in [0, 1, 2048, 2049, 32_768, 32_769, 262_144, 262_145, 1_048_576, 3_000_001] {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
        let stored = cache.put("sized", &bytes).await.unwrap();
        assert_eq!(stored.size, size as u64);
        let back: Option<Vec<u8>> = cache.get("sized").await.unwrap();
        assert!(back.as_deref() == Some(&bytes[..]), "a value of {size} bytes came back different");
        for inline in [false, true] {
            cache.put_with("placed", &bytes, PutOptions::new().inline(inline)).await.unwrap();
            let back: Option<Vec<u8>> = cache.get("placed").await.unwrap();
            assert!(
                back.as_deref() == Some(&bytes[..]),
                "{size} bytes with inline {inline} came back different"
            );
        }
    }
}

pub async fn a_missing_key_is_none(subject: &CacheSubject) {
    let cache = subject.open().await;
    assert_eq!(cache.get::<String, _>("nothing").await.unwrap(), None);
    assert!(!cache.remove("nothing").await.unwrap());
    assert!(!cache.contains("nothing").await.unwrap());
    assert!(!cache.touch("nothing").await.unwrap());
    assert!(cache.get_entry("nothing").await.unwrap().is_none());
    assert!(cache.get_raw("nothing").await.unwrap().is_none());
    assert!(cache.read_all("nothing").await.unwrap().is_none());
}

// shows: rows 76, 89, U8
pub async fn empty_and_null_values_are_no_misses(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("none", &None::<u32>).await.unwrap();
    cache.put("null", &Value::Null).await.unwrap();
    cache.put("unit", &()).await.unwrap();
    cache.put("empty bytes", &[][..] as &[u8]).await.unwrap();
    cache.put("empty text", "").await.unwrap();
    cache.put("zero", &0).await.unwrap();
    assert_eq!(cache.get::<Option<u32>, _>("none").await.unwrap(), Some(None));
    assert_eq!(cache.get::<Value, _>("null").await.unwrap(), Some(Value::Null));
    assert_eq!(cache.get::<(), _>("unit").await.unwrap(), Some(()));
    assert_eq!(cache.get::<Vec<u8>, _>("empty bytes").await.unwrap(), Some(vec![]));
    assert_eq!(cache.get::<String, _>("empty text").await.unwrap().as_deref(), Some(""));
    assert_eq!(cache.get::<i32, _>("zero").await.unwrap(), Some(0));
    assert_eq!(cache.get::<Option<u32>, _>("missing").await.unwrap(), None);
}

pub async fn a_put_replaces_what_was_there(subject: &CacheSubject) {
    let cache = subject.open().await;
    let first = cache.put_with("k", &1, PutOptions::new().tag("old")).await.unwrap();
    let second = cache.put("k", "two").await.unwrap();
    assert!(second.version > first.version, "a later write has a higher version");
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("two"));
    let entry = cache.get_entry("k").await.unwrap().unwrap();
    assert!(entry.tags.is_empty(), "nothing of the replaced entry stays");
    assert_eq!(cache.stats().await.unwrap().entries, 1);
}

// shows: row U12
pub async fn a_failed_put_leaves_what_was_there(subject: &CacheSubject) {
    #[derive(serde::Deserialize)]
    struct Refuses;

    impl serde::Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }

    let cache = subject.open().await;
    cache.put("k", &7).await.unwrap();
    let error = cache.put("k", &Refuses).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("not today"), "{error}");
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(7));
}

pub async fn a_removed_value_is_gone(subject: &CacheSubject) {
    let cache = subject.open().await;
    for (key, size) in [("inline", 10), ("blob", 100_000)] {
        cache.put(key, &vec![1_u8; size]).await.unwrap();
        assert!(cache.invalidate(key).await.unwrap());
        assert!(!cache.remove(key).await.unwrap());
        assert_eq!(cache.get::<Vec<u8>, _>(key).await.unwrap(), None);
    }
    assert_eq!(cache.stats().await.unwrap().entries, 0);
}

// shows: rows 14, 77, U11
pub async fn any_text_is_a_key(subject: &CacheSubject) {
    let cache = subject.open().await;
    let long = "k".repeat(65_536);
    let keys = [
        "config:plugin",
        "schema:/tmp/sales data.csv",
        "api:market-data:West",
        "settings:user@host.net",
        "../../x",
        "/etc/passwd",
        "a\0b",
        "a\0",
        "\u{1F980}",
        "'; DROP TABLE entries; --",
        "%_*?[]",
        " ",
        "A",
        "a",
        long.as_str(),
    ];
    for (i, key) in keys.iter().enumerate() {
        cache.put(key, &i).await.unwrap();
    }
    for (i, key) in keys.iter().enumerate() {
        assert_eq!(cache.get::<usize, _>(key).await.unwrap(), Some(i), "the key {key:.40?}");
    }
    assert_eq!(cache.stats().await.unwrap().entries, keys.len() as u64);
}

pub async fn a_key_has_limits(subject: &CacheSubject) {
    let cache = subject.open().await;
    let too_long = "k".repeat(65_537);
    assert_eq!(cache.put("", &1).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(cache.get::<i32, _>("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(cache.remove("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(cache.put(&too_long, &1).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(cache.get::<i32, _>(&too_long).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

pub async fn borrowed_and_shared_values_are_stored(subject: &CacheSubject) {
    #[derive(serde::Serialize)]
    struct Borrowed<'a> {
        name: &'a str,
        parts: &'a [u32],
    }

    let cache = subject.open().await;
    cache.put_serialize("borrowed", &Borrowed { name: "n", parts: &[1, 2] }).await.unwrap();
    assert_eq!(cache.get::<Value, _>("borrowed").await.unwrap(), Some(json!({"name": "n", "parts": [1, 2]})));
    cache.put_serialize("unsized", &[1_u16, 2, 3][..]).await.unwrap();
    assert_eq!(cache.get::<Vec<u16>, _>("unsized").await.unwrap(), Some(vec![1, 2, 3]));
    let shared = Arc::new(vec!["a".to_owned(); 1000]);
    cache.put_shared("shared", shared.clone()).await.unwrap();
    assert_eq!(cache.get::<Vec<String>, _>("shared").await.unwrap().as_ref(), Some(&*shared));
}

pub async fn every_compression_gives_the_value_back(subject: &CacheSubject) {
    let cache = subject.open().await;
    let text = "the same words again. ".repeat(20_000);
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd(3)] {
        let options = PutOptions::new().compression(compression);
        let stored = cache.put_with("text", text.as_str(), options.clone()).await.unwrap();
        assert_eq!(stored.stored_size < stored.size, compression != Compression::None, "{compression:?}");
        assert_eq!(cache.get::<String, _>("text").await.unwrap().as_ref(), Some(&text), "{compression:?}");
        // What does not shrink is stored as it is.
        let stored = cache.put_with("short", &1_u8, options).await.unwrap();
        assert_eq!(stored.stored_size, stored.size);
        assert_eq!(cache.get::<u8, _>("short").await.unwrap(), Some(1));
    }
}

pub async fn options_are_kept_with_the_entry(subject: &CacheSubject) {
    let cache = subject.open().await;
    let options = PutOptions::new()
        .tags(["b", "a", "b"])
        .priority(0.9)
        .description("what it is")
        .custom("run", 7)
        .custom("name", "x")
        .type_tag("number")
        .type_version(3);
    cache.put_with("k", &1, options).await.unwrap();
    let info = cache.get_entry("k").await.unwrap().unwrap();
    assert_eq!(info.tags, ["a", "b"]);
    assert_eq!(info.priority, 0.9);
    assert_eq!(info.description.as_deref(), Some("what it is"));
    assert_eq!(Value::Object(info.custom.clone()), json!({"run": 7, "name": "x"}));
    assert_eq!(info.format.type_tag.as_deref(), Some("number"));
    assert_eq!(info.format.type_version, Some(3));
    assert_eq!(info.format.handler, "msgpack");
}

pub async fn options_out_of_range_are_refused(subject: &CacheSubject) {
    let cache = subject.open().await;
    let kind = async |options| cache.put_with("k", &1, options).await.map_err(|error| error.kind());
    assert_eq!(kind(PutOptions::new().priority(1.5)).await, Err(ErrorKind::InvalidInput));
    assert_eq!(kind(PutOptions::new().priority(f32::NAN)).await, Err(ErrorKind::InvalidInput));
    assert_eq!(kind(PutOptions::new().tag("")).await, Err(ErrorKind::InvalidInput));
    assert_eq!(kind(PutOptions::new().tag("t".repeat(1025))).await, Err(ErrorKind::LimitExceeded));
    assert_eq!(kind(PutOptions::new().tags(vec!["t"; 257])).await, Err(ErrorKind::LimitExceeded));
    assert_eq!(kind(PutOptions::new().description("d".repeat(65_537))).await, Err(ErrorKind::LimitExceeded));
    assert_eq!(kind(PutOptions::new().handler("msgpak")).await, Err(ErrorKind::NotRegistered));
    assert_eq!(kind(PutOptions::new().handler("text")).await, Err(ErrorKind::NoHandler));
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), None);
}

// shows: row 100
pub async fn many_tasks_at_once_lose_nothing(subject: &CacheSubject) {
    let cache = subject.open().await;
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for i in 0..25_u64 {
                    cache.put(&format!("{task}:{i}"), &(task * 1000 + i)).await.unwrap();
                    cache.put("shared", &vec![task as u8; 40_000]).await.unwrap();
                    let own: Option<u64> = cache.get(&format!("{task}:{i}")).await.unwrap();
                    assert_eq!(own, Some(task * 1000 + i));
                    let shared: Vec<u8> =
                        cache.get("shared").await.unwrap().expect("it is there from the start");
                    assert!(shared.iter().all(|&byte| byte == shared[0]), "parts of two writes");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = cache.stats().await.unwrap();
    assert_eq!(stats.entries, 201);
    assert_eq!((stats.counters.puts, stats.counters.hits, stats.counters.misses), (400, 400, 0));
}
