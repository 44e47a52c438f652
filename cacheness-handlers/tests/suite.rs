//! Every handler passes the testkit's suite.

#![cfg(all(feature = "serde-formats", feature = "arrow"))]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use cacheness_core::TypeClass;
use cacheness_handlers::{ArrowIpcHandler, BytesHandler, MsgpackHandler, ParquetHandler, TextHandler};
use cacheness_testkit::handler::HandlerCase;

fn table(rows: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..rows);
    let names = StringArray::from_iter((0..rows).map(|i| (i % 3 != 0).then(|| format!("name {i}"))));
    RecordBatch::try_from_iter([("n", Arc::new(numbers) as _), ("name", Arc::new(names) as _)]).unwrap()
}

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
