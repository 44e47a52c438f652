//! Formats that a put chooses by name.

use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::{ErrorKind, PutOptions, ReadOptions};
use ndarray::{Array2, Ix1, Ix2};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Reading {
    sensor: String,
    values: Vec<f64>,
}

fn reading() -> Reading {
    Reading { sensor: "north".to_owned(), values: (0..1_000).map(f64::from).collect() }
}

fn named(handler: &str) -> PutOptions {
    PutOptions::new().handler(handler)
}

#[test]
fn a_put_chooses_a_serde_format_and_a_get_needs_no_word_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for handler in ["json", "bincode", "postcard", "msgpack"] {
        cache.put_with(handler, &reading(), named(handler)).unwrap();
        assert_eq!(cache.get_entry(handler).unwrap().unwrap().entry.format.handler, handler);
    }
    drop(cache);
    let cache = Cache::open(folder.path()).unwrap();
    for handler in ["json", "bincode", "postcard", "msgpack"] {
        assert_eq!(cache.get::<Reading, _>(handler).unwrap(), Some(reading()), "{handler}");
        assert_eq!(cache.get::<String, _>(handler).unwrap_err().kind(), ErrorKind::TypeMismatch, "{handler}");
    }
}

#[test]
fn without_a_name_a_serde_value_is_msgpack() {
    let cache = Cache::memory().unwrap();
    cache.put("k", &reading()).unwrap();
    assert_eq!(cache.get_entry("k").unwrap().unwrap().entry.format.handler, "msgpack");
    cache.put("text", &"text".to_owned()).unwrap();
    assert_eq!(cache.get_entry("text").unwrap().unwrap().entry.format.handler, "text");
}

#[test]
fn a_value_that_would_not_come_back_is_not_put() {
    let cache = Cache::memory().unwrap();
    cache.put("k", &1).unwrap();
    let value = serde_json::json!({"a": [1, 2]});
    for handler in ["bincode", "postcard"] {
        let error = cache.put_with("k", &value, named(handler)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains("serde_json::value::Value"), "{error}");
        assert!(error.to_string().contains("msgpack"), "{error}");
    }
    assert_eq!(cache.get::<i32, _>("k").unwrap(), Some(1), "what was there stays");
    cache.put_with("k", &value, named("json")).unwrap();
    assert_eq!(cache.get("k").unwrap(), Some(value));
}

#[test]
fn a_value_that_only_serialises_is_put_in_every_format() {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        sensor: &'a str,
        values: &'a [f64],
    }
    let cache = Cache::memory().unwrap();
    let Reading { sensor, values } = &reading();
    for handler in ["json", "bincode", "postcard"] {
        cache.put_serialize(handler, &Borrowed { sensor, values }, named(handler)).unwrap();
        assert_eq!(cache.get::<Reading, _>(handler).unwrap(), Some(reading()), "{handler}");
    }
}

#[test]
fn an_array_comes_back_as_what_it_was_put_as() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let small = Npy(Array2::from_shape_fn((3, 4), |(i, j)| (i * 10 + j) as f32));
    let large = Npy(Array2::from_shape_fn((700, 300), |(i, j)| (i * 1_000 + j) as f32));
    for array in [small, large] {
        cache.put("array", &array).unwrap();
        assert_eq!(cache.get_entry("array").unwrap().unwrap().entry.format.handler, "npy");
        let back: Option<Npy<f32, Ix2>> = cache.get("array").unwrap();
        assert_eq!(back, Some(array));
        let error = cache.get::<Npy<f64, Ix2>, _>("array").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        assert!(error.to_string().contains("`f32`") && error.to_string().contains("`f64`"), "{error}");
        assert_eq!(cache.get::<Npy<f32, Ix1>, _>("array").unwrap_err().kind(), ErrorKind::TypeMismatch);
        assert_eq!(cache.get::<Vec<f32>, _>("array").unwrap_err().kind(), ErrorKind::TypeMismatch);
        let rows = cache.get_with::<Npy<f32, Ix2>, _>("array", &ReadOptions::new().rows(0..1));
        assert_eq!(rows.unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
