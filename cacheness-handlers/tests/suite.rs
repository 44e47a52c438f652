//! Every handler passes the testkit's suite.

#![cfg(all(
    feature = "serde-formats",
    feature = "arrow",
    feature = "json",
    feature = "bincode",
    feature = "postcard",
    feature = "npy"
))]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use cacheness_core::{CacheHandler, TypeClass};
use cacheness_handlers::{
    ArrowIpcHandler, BincodeHandler, BytesHandler, JsonHandler, MsgpackHandler, Npy, NpyHandler,
    ParquetHandler, PostcardHandler, TextHandler,
};
use cacheness_testkit::handler::HandlerCase;

fn table(rows: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..rows);
    let names = StringArray::from_iter((0..rows).map(|i| (i % 3 != 0).then(|| format!("name {i}"))));
    RecordBatch::try_from_iter([("n", Arc::new(numbers) as _), ("name", Arc::new(names) as _)]).unwrap()
}

// shows: row 67
#[test]
fn bytes_passes_the_suite() {
    HandlerCase::new(BytesHandler::new())
        .is_named("bytes", TypeClass::Bytes)
        .accepts(&vec![0_u8, 255, 7])
        .accepts(&Vec::<u8>::new())
        .accepts_as(&[1_u8, 2, 3][..], &vec![1_u8, 2, 3])
        .rejects("text")
        .rejects(&7)
        .decodes_no::<String, _>();
}

#[test]
fn text_passes_the_suite() {
    HandlerCase::new(TextHandler::new())
        .is_named("text", TypeClass::Text)
        .accepts(&"ü☃ text".to_owned())
        .accepts_as("borrowed", &"borrowed".to_owned())
        .rejects(&[1_u8, 2][..])
        .rejects(&7)
        .decodes_no::<u64, _>();
}

#[test]
fn msgpack_passes_the_suite() {
    HandlerCase::new(MsgpackHandler::new())
        .is_named("msgpack", TypeClass::Serde)
        .accepts(&7_u64)
        .accepts(&Some(BTreeMap::from([("a".to_owned(), vec![1.5, -0.0])])))
        .rejects(&table(1))
        .decodes_no::<RecordBatch, _>();
}

#[test]
fn arrow_ipc_passes_the_suite() {
    HandlerCase::new(ArrowIpcHandler::new())
        .is_named("arrow_ipc", TypeClass::Table)
        .accepts(&table(100))
        .accepts(&vec![table(3), table(5)])
        .rejects(&7)
        .decodes_no::<String, _>();
}

#[test]
fn parquet_passes_the_suite() {
    HandlerCase::new(ParquetHandler::new())
        .is_named("parquet", TypeClass::Table)
        .accepts(&table(100))
        .accepts(&vec![table(3), table(5)])
        .rejects(&7)
        .decodes_no::<String, _>();
}

#[test]
fn json_passes_the_suite() {
    passes_as_serde(JsonHandler::new(), "json");
}

#[test]
fn bincode_passes_the_suite() {
    passes_as_serde(BincodeHandler::new(), "bincode");
}

#[test]
fn postcard_passes_the_suite() {
    passes_as_serde(PostcardHandler::new(), "postcard");
}

fn passes_as_serde(handler: impl CacheHandler, name: &str) {
    HandlerCase::new(handler)
        .is_named(name, TypeClass::Serde)
        .accepts(&7_u64)
        .accepts(&i128::MIN)
        .accepts(&"ü☃ text".to_owned())
        .accepts(&vec![Some('x'), None])
        .accepts(&Some(BTreeMap::from([("a".to_owned(), vec![1.5, -0.0])])))
        .rejects("borrowed text is for `text`")
        .rejects(&table(1))
        .decodes_no::<RecordBatch, _>();
}

#[test]
fn npy_passes_the_suite() {
    HandlerCase::new(NpyHandler::new())
        .is_named("npy", TypeClass::Native)
        .accepts(&Npy(ndarray::array![[1.5_f64, -0.0], [f64::INFINITY, 4.0]]))
        .accepts(&Npy(ndarray::arr0(7_u8)))
        .accepts(&Npy(ndarray::array![true, false, true]))
        .accepts(&Npy(ndarray::ArrayD::<i16>::zeros(vec![2, 0, 3])))
        .rejects(&7)
        .rejects(&vec![1.5])
        .decodes_no::<Vec<f64>, _>();
}
