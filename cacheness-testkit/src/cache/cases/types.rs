//! What a get does with a value of another type than it asks for.

use cacheness_core::{ErrorKind, OnReadError, PutOptions, ReadOptions};
use serde::{Deserialize, Serialize};

use crate::cache::CacheSubject;

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Before {
    name: String,
    count: u32,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct After {
    count: u32,
    title: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Reordered {
    count: u32,
    name: String,
    #[serde(default)]
    added: Option<bool>,
}

pub async fn another_class_than_was_put_is_a_type_mismatch(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("text", "some text").await.unwrap();
    cache.put("number", &7).await.unwrap();
    let error = cache.get::<Before, _>("text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TypeMismatch);
    assert!(error.to_string().contains("text") && error.to_string().contains("Before"), "{error}");
    assert_eq!(cache.get::<String, _>("number").await.unwrap_err().kind(), ErrorKind::TypeMismatch);
    assert_eq!(cache.get::<Vec<u8>, _>("text").await.unwrap_err().kind(), ErrorKind::TypeMismatch);
    assert_eq!(cache.get::<String, _>("text").await.unwrap().as_deref(), Some("some text"));
}

pub async fn another_tag_than_was_put_is_a_type_mismatch(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_with("k", &7, PutOptions::new().type_tag("meters")).await.unwrap();
    let wanted = |tag: &str| ReadOptions::new().type_tag(tag);
    let error = cache.get_with::<i32, _>("k", &wanted("feet")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TypeMismatch);
    assert!(error.to_string().contains("meters") && error.to_string().contains("feet"), "{error}");
    assert_eq!(cache.get_with::<i32, _>("k", &wanted("meters")).await.unwrap(), Some(7));
    assert_eq!(cache.get::<i32, _>("k").await.unwrap(), Some(7));
}

pub async fn another_type_version_is_a_miss(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put_with("k", &7, PutOptions::new().type_version(1)).await.unwrap();
    let wanted = |version| ReadOptions::new().type_version(version);
    assert_eq!(cache.get_with::<i32, _>("k", &wanted(2)).await.unwrap(), None);
    assert_eq!(cache.get_with::<i32, _>("k", &wanted(1)).await.unwrap(), Some(7));
    assert_eq!(cache.stats().await.unwrap().counters.misses, 1);
}

pub async fn a_value_that_no_longer_decodes_is_a_miss_or_an_error_as_told(subject: &CacheSubject) {
    let cache = subject.open().await;
    let before = Before { name: "n".into(), count: 3 };
    cache.put("k", &before).await.unwrap();
    assert_eq!(cache.get::<After, _>("k").await.unwrap(), None, "a changed struct is a miss");
    let counters = cache.stats().await.unwrap().counters;
    assert_eq!((counters.misses, counters.errors), (1, 1));
    let reordered = Reordered { count: 3, name: "n".into(), added: None };
    assert_eq!(cache.get::<Reordered, _>("k").await.unwrap(), Some(reordered), "fields are found by name");
    assert_eq!(cache.get::<Before, _>("k").await.unwrap(), Some(before), "the entry is still there");

    let strict = subject.open_built(subject.builder().on_decode_error(OnReadError::Error)).await;
    strict.put("strict", &Before { name: "n".into(), count: 3 }).await.unwrap();
    assert_eq!(strict.get::<After, _>("strict").await.unwrap_err().kind(), ErrorKind::Decode);
}

pub async fn a_handler_that_is_not_known_is_an_error(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("k", &1).await.unwrap();
    let mut raw = cache.get_raw("k").await.unwrap().unwrap();
    raw.entry.format.handler = "from-elsewhere".into();
    cache.put_raw(raw).await.unwrap();
    let error = cache.get::<i32, _>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRegistered);
    assert!(error.to_string().contains("from-elsewhere") && error.to_string().contains("msgpack"), "{error}");
}

pub async fn a_part_of_a_value_that_has_none_is_unsupported(subject: &CacheSubject) {
    let cache = subject.open().await;
    cache.put("k", "text").await.unwrap();
    let error = cache.get_with::<String, _>("k", &ReadOptions::columns(["a"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
