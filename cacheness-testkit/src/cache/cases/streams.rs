//! Values that are written and read in pieces, and raw entries.

use bytes::Bytes;
use cacheness_core::{Compression, ErrorKind, PutOptions};

use crate::cache::CacheSubject;

fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

pub async fn a_stream_comes_back_by_get_and_by_reader(subject: &CacheSubject) {
    let cache = subject.open().await;
    for len in [5, 100_000, 2_500_000] {
        let bytes = noise(len);
        let stored = cache.put_reader("k", &bytes, PutOptions::new().tag("stream")).await.unwrap();
        assert_eq!(stored.size, len as u64);
        assert!(cache.get::<Vec<u8>, _>("k").await.unwrap().as_ref() == Some(&bytes));
        assert!(cache.read_all("k").await.unwrap().as_ref() == Some(&bytes));
    }
    let counters = cache.stats().await.unwrap().counters;
    assert_eq!((counters.hits, counters.bytes_out), (6, 2 * 2_600_005));
    let error = cache.put_reader("k", b"x", PutOptions::new().handler("msgpack")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

pub async fn a_compressed_stream_is_read_in_order(subject: &CacheSubject) {
    let cache = subject.open().await;
    let text = "line after line after line\n".repeat(100_000).into_bytes();
    for compression in [Compression::Lz4, Compression::Zstd(1)] {
        let stored = cache.put_reader("k", &text, PutOptions::new().compression(compression)).await.unwrap();
        assert!(stored.stored_size < stored.size / 4);
        assert!(cache.read_all("k").await.unwrap().as_ref() == Some(&text));
        assert!(cache.get::<Vec<u8>, _>("k").await.unwrap().as_ref() == Some(&text));
    }
}

pub async fn a_stream_of_no_bytes_is_a_value(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_reader("k", b"", PutOptions::new()).await.unwrap();
    assert_eq!(cache.read_all("k").await.unwrap(), Some(Vec::new()));
    assert_eq!(cache.get::<Vec<u8>, _>("k").await.unwrap(), Some(Vec::new()));
}

pub async fn a_raw_entry_moves_to_another_namespace(subject: &CacheSubject) {
    let cache = subject.open().await;
    let other = cache.namespace("other").unwrap();
    let text = "words and words ".repeat(20_000);
    let options = PutOptions::new().tag("t").compression(Compression::Zstd(3)).description("d");
    cache.put_with("k", text.as_str(), options).await.unwrap();
    let raw = cache.get_raw("k").await.unwrap().unwrap();
    assert!((raw.bytes.len() as u64) < raw.entry.size, "the bytes are as they are stored");
    other.put_raw(raw).await.unwrap();
    cache.remove("k").await.unwrap();
    assert_eq!(other.get::<String, _>("k").await.unwrap(), Some(text));
    let entry = other.get_entry("k").await.unwrap().unwrap();
    assert_eq!((entry.tags.len(), entry.description.as_deref()), (1, Some("d")));
    assert_eq!(cache.stats().await.unwrap().counters.hits, 0, "a raw get is no lookup");
}

pub async fn a_raw_entry_with_other_bytes_is_refused(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("k", "some text").await.unwrap();
    let mut raw = cache.get_raw("k").await.unwrap().unwrap();
    raw.bytes = Bytes::from_static(b"some tixt");
    assert_eq!(cache.put_raw(raw).await.unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(cache.get::<String, _>("k").await.unwrap().as_deref(), Some("some text"));
}
