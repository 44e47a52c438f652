//! Shows that every kind of value is put and got without annotations, with `bytes/serde`, `ndarray/serde` and
//! `serde/rc` switched on. That this crate compiles is the larger part of the test.

#![cfg(test)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch};
use bytes::Bytes;
use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::{As, CacheValue, PutValue, Result, Stored, TypeTarget, ValueRef, ViaSerde};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Clone, Debug)]
struct User {
    name: String,
    tags: Vec<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Clone, Debug)]
struct Wrapper<T> {
    inner: T,
}

fn user() -> User {
    User { name: "Ada".into(), tags: vec!["x".into()] }
}

fn table() -> RecordBatch {
    RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![1, 2, 3])) as _)]).unwrap()
}

#[test]
fn values_are_put_and_got_without_annotations() {
    let cache = Cache::memory().unwrap();
    cache.put("struct", &user()).unwrap();
    cache.put("text", "text").unwrap();
    cache.put(String::from("string"), &String::from("string")).unwrap();
    cache.put("slice", &[1_u8, 2][..]).unwrap();
    cache.put("array", &[1_u8, 2]).unwrap();
    cache.put("vec", &vec![1_u8, 2]).unwrap();
    cache.put("bytes", &Bytes::from_static(b"xy")).unwrap();
    cache.put("map", &HashMap::from([("a".to_owned(), 1.5)])).unwrap();
    cache.put("tuple", &(1, "x".to_owned())).unwrap();
    cache.put("rc", &Arc::new(7)).unwrap();
    cache.put("ndarray", &ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]])).unwrap();
    cache.put("npy", &Npy(ndarray::arr1(&[1_u8, 2]))).unwrap();
    cache.put("table", &table()).unwrap();
    cache.put("tables", &vec![table(), table()]).unwrap();
    cache.put("generic", &Wrapper { inner: BTreeMap::from([(1, user())]) }).unwrap();

    let user_back: Option<User> = cache.get("struct").unwrap();
    assert_eq!(user_back, Some(user()));
    assert_eq!(cache.get::<User, _>("struct").unwrap(), Some(user()));
    let text: Option<String> = cache.get("text").unwrap();
    assert_eq!(text.as_deref(), Some("text"));
    let slice: Option<Vec<u8>> = cache.get("slice").unwrap();
    assert_eq!(slice, Some(vec![1, 2]));
    let array: Option<[u8; 2]> = cache.get("array").unwrap();
    assert_eq!(array, Some([1, 2]));
    let bytes: Option<Bytes> = cache.get("bytes").unwrap();
    assert_eq!(bytes, Some(Bytes::from_static(b"xy")));
    let vec_as_bytes: Option<Bytes> = cache.get("vec").unwrap();
    assert_eq!(vec_as_bytes, Some(Bytes::from_static(&[1, 2])));
    let rc: Option<Arc<i32>> = cache.get("rc").unwrap();
    assert_eq!(rc, Some(Arc::new(7)));
    let matrix: Option<ndarray::Array2<f64>> = cache.get("ndarray").unwrap();
    assert_eq!(matrix, Some(ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]])));
    let npy: Option<Npy<u8, ndarray::Ix1>> = cache.get("npy").unwrap();
    assert_eq!(npy, Some(Npy(ndarray::arr1(&[1, 2]))));
    let back: Option<RecordBatch> = cache.get("table").unwrap();
    assert_eq!(back, Some(table()));
    let list: Option<Vec<RecordBatch>> = cache.get("tables").unwrap();
    assert_eq!(list.map(|list| list.len()), Some(2));
}

// Generic code, for serde types by their own bounds and for anything by the marker.

fn remember<T: Serialize + DeserializeOwned + Send + Sync + 'static>(
    cache: &Cache,
    key: &str,
    make: impl FnOnce() -> T,
) -> Result<T> {
    if let Some(value) = cache.get(key)? {
        return Ok(value);
    }
    let value = make();
    cache.put(key, &value)?;
    Ok(value)
}

fn remember_any<T: CacheValue<Via>, Via>(cache: &Cache, key: &str, make: impl FnOnce() -> T) -> Result<T> {
    if let Some(value) = cache.get(key)? {
        return Ok(value);
    }
    let value = make();
    cache.put(key, &value)?;
    Ok(value)
}

fn forward<'a, Via>(cache: &Cache, value: impl PutValue<'a, Via>) -> Result<Stored> {
    cache.put("forwarded", value)
}

#[test]
fn generic_code_and_closures_infer() {
    let cache = Cache::memory().unwrap();
    assert_eq!(remember(&cache, "u", user).unwrap(), user());
    assert_eq!(remember(&cache, "u", || -> User { unreachable!("it is cached") }).unwrap(), user());
    assert_eq!(remember_any(&cache, "t", table).unwrap(), table());
    assert_eq!(remember_any(&cache, "n", || 5).unwrap(), 5);
    forward(&cache, "text").unwrap();
    forward(&cache, &user()).unwrap();
    forward(&cache, &table()).unwrap();
    forward(&cache, &b"bytes"[..]).unwrap();
    let put = |key: &str, value: &Vec<User>| cache.put(key, value);
    put("list", &vec![user()]).unwrap();
    let get = |key: &str| -> Result<Option<Vec<User>>> { cache.get(key) };
    assert_eq!(get("list").unwrap(), Some(vec![user()]));
}

// A foreign type by a marker of this crate.

enum ViaHere {}

impl CacheValue<ViaHere> for std::ops::RangeFull {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::native(self)
    }

    fn target() -> TypeTarget {
        TypeTarget::native::<Self>()
    }
}

#[test]
fn a_foreign_type_comes_in_by_a_local_marker() {
    let cache = Cache::memory().unwrap();
    let error = cache.put("range", &..).unwrap_err();
    assert_eq!(error.kind(), cacheness::ErrorKind::NoHandler);
}

// `As` settles by which of two ways a value enters.

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Both(u32);

impl CacheValue<ViaHere> for Both {
    fn value_ref(&self) -> ValueRef<'_> {
        ValueRef::native(self)
    }

    fn target() -> TypeTarget {
        TypeTarget::native::<Self>()
    }
}

#[test]
fn an_ambiguity_is_settled_by_as() {
    let cache = Cache::memory().unwrap();
    cache.put("both", &As::<ViaSerde, _>::new(Both(3))).unwrap();
    let back: Option<As<ViaSerde, Both>> = cache.get("both").unwrap();
    assert_eq!(back.map(As::into_inner), Some(Both(3)));
}
