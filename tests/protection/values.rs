//! A value of every handler, in every place where one can lie and in every way in which it can be read.

use std::io::Read;
use std::sync::Arc;

use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use cacheness::blocking::Cache;
use cacheness::handlers::Npy;
use cacheness::*;
use ndarray::Array1;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct User {
    name: String,
    scores: Vec<u32>,
}

fn user() -> User {
    User { name: "Ada of the marker".into(), scores: (0..50).collect() }
}

/// Text over three chunks of checksums, in which a marker stands.
pub fn long_text() -> String {
    (0..30_000).map(|n| format!("line {n} of the marker\n")).collect()
}

fn table() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("x", DataType::Float64, false),
        Field::new("name", DataType::Utf8, false),
    ]);
    let ids: Int64Array = (0..6_000_i64).collect();
    let xs: Float64Array = (0..6_000).map(|n| f64::from(n).sin()).map(Some).collect();
    let names: StringArray = (0..6_000).map(|n| Some(format!("the marker {n}"))).collect();
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(xs), Arc::new(names)]).unwrap()
}

/// A value, and how it is put and read.
pub struct Value {
    pub key: &'static str,
    pub put: fn(&Cache, &str),
    /// Whether what is read is what was put; `None` for a miss.
    pub read: fn(&Cache, &str) -> Result<Option<bool>>,
}

fn options(handler: &str) -> PutOptions {
    PutOptions::new().handler(handler).tag("t").custom("city", "Oslo").description("the marker")
}

fn a_user(cache: &Cache, key: &str) -> Result<Option<bool>> {
    Ok(cache.get::<User, _>(key)?.map(|value| value == user()))
}

fn a_text(cache: &Cache, key: &str) -> Result<Option<bool>> {
    Ok(cache.get::<String, _>(key)?.map(|value| value == long_text()))
}

fn a_column(cache: &Cache, key: &str) -> Result<Option<bool>> {
    let column: Option<RecordBatch> = cache.get_with(key, &ReadOptions::columns(["x"]))?;
    Ok(column.map(|column| column == table().project(&[1]).unwrap()))
}

fn a_table(cache: &Cache, key: &str) -> Result<Option<bool>> {
    Ok(cache.get::<RecordBatch, _>(key)?.map(|value| value == table()))
}

/// Values of every kind.
pub const VALUES: &[Value] = &[
    Value {
        key: "inline",
        put: |cache, key| drop(cache.put_with(key, "the marker", options("text")).unwrap()),
        read: |cache, key| Ok(cache.get::<String, _>(key)?.map(|value| value == "the marker")),
    },
    Value {
        key: "nothing",
        put: |cache, key| drop(cache.put(key, "").unwrap()),
        read: |cache, key| Ok(cache.get::<String, _>(key)?.map(|value| value.is_empty())),
    },
    Value {
        key: "bytes",
        put: |cache, key| {
            drop(cache.put_with(key, &b"the marker"[..], options("bytes").inline(false)).unwrap())
        },
        read: |cache, key| Ok(cache.get::<Vec<u8>, _>(key)?.map(|value| value == b"the marker")),
    },
    Value {
        key: "text",
        put: |cache, key| drop(cache.put_with(key, long_text().as_str(), options("text")).unwrap()),
        read: a_text,
    },
    Value {
        key: "compressed",
        put: |cache, key| {
            drop(
                cache
                    .put_with(key, long_text().as_str(), options("text").compression(Compression::Zstd(1)))
                    .unwrap(),
            );
        },
        read: a_text,
    },
    Value {
        key: "msgpack",
        put: |cache, key| drop(cache.put_with(key, &user(), options("msgpack")).unwrap()),
        read: a_user,
    },
    Value {
        key: "json",
        put: |cache, key| drop(cache.put_with(key, &user(), options("json").inline(false)).unwrap()),
        read: a_user,
    },
    Value {
        key: "bincode",
        put: |cache, key| drop(cache.put_with(key, &user(), options("bincode")).unwrap()),
        read: a_user,
    },
    Value {
        key: "postcard",
        put: |cache, key| drop(cache.put_with(key, &user(), options("postcard").inline(false)).unwrap()),
        read: a_user,
    },
    Value {
        key: "npy",
        put: |cache, key| {
            let array = Npy(Array1::from_iter((0..40_000).map(f64::from)));
            drop(cache.put_with(key, &array, options("npy")).unwrap());
        },
        read: |cache, key| {
            let read: Option<Npy<f64, ndarray::Ix1>> = cache.get(key)?;
            Ok(read.map(|Npy(array)| array == Array1::from_iter((0..40_000).map(f64::from))))
        },
    },
    Value {
        key: "arrow_ipc",
        put: |cache, key| drop(cache.put_with(key, &table(), options("arrow_ipc")).unwrap()),
        read: a_table,
    },
    Value {
        key: "ipc_column",
        put: |cache, key| drop(cache.put_with(key, &table(), options("arrow_ipc")).unwrap()),
        read: a_column,
    },
    Value {
        key: "parquet",
        put: |cache, key| drop(cache.put_with(key, &table(), options("parquet")).unwrap()),
        read: a_table,
    },
    Value {
        key: "parquet_column",
        put: |cache, key| drop(cache.put_with(key, &table(), options("parquet")).unwrap()),
        read: a_column,
    },
    Value {
        key: "stream",
        put: |cache, key| drop(cache.put_reader(key, long_text().as_bytes(), options("bytes")).unwrap()),
        read: |cache, key| {
            let Some(mut reader) = cache.reader(key)? else { return Ok(None) };
            let mut read = Vec::new();
            match reader.read_to_end(&mut read) {
                Ok(_) => Ok(Some(read == long_text().as_bytes())),
                Err(_) => Ok(None),
            }
        },
    },
    Value {
        key: "compressed_stream",
        put: |cache, key| {
            drop(
                cache
                    .put_reader(key, long_text().as_bytes(), options("bytes").compression(Compression::Lz4))
                    .unwrap(),
            );
        },
        read: |cache, key| {
            let Some(mut reader) = cache.reader(key)? else { return Ok(None) };
            let mut read = Vec::new();
            match reader.read_to_end(&mut read) {
                Ok(_) => Ok(Some(read == long_text().as_bytes())),
                Err(_) => Ok(None),
            }
        },
    },
];
