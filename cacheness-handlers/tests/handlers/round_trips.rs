//! Tables come back as they were put.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema};
use cacheness_core::{Access, CacheHandler, CacheValue, Compression, ErrorKind, ReadOptions, TypeTarget};
use cacheness_handlers::{ArrowIpcHandler, ParquetHandler};

use crate::memory::{FullDisk, Reader, context, get, put, put_with};
use crate::tables::{arrow_only, floats, mixed, rows};

fn handlers() -> [Box<dyn CacheHandler>; 3] {
    [
        Box::new(ArrowIpcHandler::new()),
        Box::new(ParquetHandler::new()),
        Box::new(ParquetHandler::new().row_group_rows(3)),
    ]
}

fn without_columns(rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()
}

#[test]
fn a_batch_comes_back_with_types_nulls_and_metadata() {
    let batches = [
        mixed(),
        mixed().slice(1, 2),
        mixed().slice(0, 0),
        floats(1, 1),
        without_columns(0),
        without_columns(5),
    ];
    for handler in handlers() {
        for batch in &batches {
            let stored = put(&*handler, batch).unwrap();
            let back: RecordBatch = get(&*handler, &stored).unwrap();
            assert_eq!(&back, batch, "{}", handler.name());
            let list: Vec<RecordBatch> = get(&*handler, &stored).unwrap();
            assert_eq!(list, std::slice::from_ref(batch), "{}", handler.name());
        }
    }
}

#[test]
fn a_list_of_batches_comes_back_cut_at_the_same_rows() {
    let one = rows(0..7);
    let lists = [
        vec![],
        vec![one.clone()],
        vec![one.slice(0, 1), one.slice(1, 5), one.slice(6, 0), one.slice(6, 1)],
        vec![one.slice(0, 0)],
        vec![one.slice(0, 0), one.slice(0, 0)],
        vec![mixed(), mixed().slice(2, 1), mixed()],
        vec![without_columns(2), without_columns(0), without_columns(1)],
    ];
    for handler in handlers() {
        for list in &lists {
            let stored = put(&*handler, list).unwrap();
            let back: Vec<RecordBatch> = get(&*handler, &stored).unwrap();
            assert_eq!(&back, list, "{}", handler.name());
            let joined: RecordBatch = get(&*handler, &stored).unwrap();
            assert_eq!(joined.num_rows(), list.iter().map(RecordBatch::num_rows).sum::<usize>());
            assert_eq!(
                joined.schema(),
                list.first().map_or_else(|| Schema::empty().into(), RecordBatch::schema)
            );
        }
    }
}

#[test]
fn a_million_floats_come_back() {
    let batch = floats(1_000_000, 1);
    for handler in [&ArrowIpcHandler::new() as &dyn CacheHandler, &ParquetHandler::new()] {
        let stored = put(handler, &batch).unwrap();
        assert_eq!(get::<RecordBatch, _>(handler, &stored).unwrap(), batch);
    }
}

#[test]
fn batches_with_dictionaries_of_their_own_come_back() {
    let batch = |words: [&str; 2]| {
        let column: DictionaryArray<Int32Type> = words.into_iter().collect();
        RecordBatch::try_from_iter([("word", Arc::new(column) as ArrayRef)]).unwrap()
    };
    let list = vec![batch(["a", "b"]), batch(["c", "a"]), batch(["d", "e"])];
    for handler in handlers() {
        let stored = put(&*handler, &list).unwrap();
        let back: Vec<RecordBatch> = get(&*handler, &stored).unwrap();
        assert_eq!(back, list, "{}", handler.name());
    }
}

#[test]
fn ipc_keeps_the_types_that_parquet_lacks() {
    let batch = arrow_only();
    let stored = put(&ArrowIpcHandler::new(), &batch).unwrap();
    assert_eq!(get::<RecordBatch, _>(&ArrowIpcHandler::new(), &stored).unwrap(), batch);
    let error = put(&ParquetHandler::new(), &batch).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Encode);
}

#[test]
fn every_compression_comes_back_and_shrinks() {
    let table = rows(0..20_000);
    for handler in handlers() {
        let plain = put_with(&*handler, &table, Some(Compression::None)).unwrap();
        for compression in [Compression::Lz4, Compression::Zstd(1), Compression::Zstd(9)] {
            let stored = put_with(&*handler, &table, Some(compression)).unwrap();
            assert_eq!(get::<RecordBatch, _>(&*handler, &stored).unwrap(), table);
            // A row group of three rows has nothing to compress.
            if stored.bytes.len() < 1_000_000 {
                assert!(stored.bytes.len() < plain.bytes.len(), "{} {compression:?}", handler.name());
            }
        }
        let error = put_with(&*handler, &table, Some(Compression::Zstd(1000))).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn batches_of_two_schemas_are_refused() {
    let other = RecordBatch::try_from_iter([("x", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).unwrap();
    for handler in handlers() {
        let error = put(&*handler, &vec![rows(0..1), other.clone()]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains("batch 1"), "{error}");
    }
}

#[test]
fn a_type_that_is_no_table_is_refused() {
    for handler in handlers() {
        let stored = put(&*handler, &rows(0..1)).unwrap();
        let target = TypeTarget::native::<Vec<u8>>();
        assert!(!handler.can_decode(&target));
        let result = handler.get(&mut Reader::new(&stored), &stored.meta, &target, &ReadOptions::new());
        assert_eq!(result.err().unwrap().kind(), ErrorKind::Decode);
        assert!(!handler.can_handle(&7_u32.value_ref()));
        assert!(handler.put(&7_u32.value_ref(), &mut FullDisk(1000), &context(None)).is_err());
    }
    assert_eq!(ArrowIpcHandler::new().preferred_access(), Access::Map);
    assert_eq!(ParquetHandler::new().preferred_access(), Access::Range);
}

#[test]
fn an_error_of_the_writer_comes_out_unchanged() {
    let table = rows(0..10_000);
    for handler in handlers() {
        let whole = put(&*handler, &table).unwrap().bytes.len();
        for room in [0, 5, 1000, whole / 2, whole - 1] {
            let error = handler.put(&table.value_ref(), &mut FullDisk(room), &context(None)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{} {room} of {whole}: {error}", handler.name());
        }
    }
}

#[test]
fn a_required_column_and_a_repeated_name_come_back() {
    let schema =
        Schema::new(vec![Field::new("x", DataType::Int32, false), Field::new("x", DataType::Int32, true)]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(Int32Array::from(vec![None, Some(2)]))];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    for handler in handlers() {
        let stored = put(&*handler, &batch).unwrap();
        assert_eq!(get::<RecordBatch, _>(&*handler, &stored).unwrap(), batch, "{}", handler.name());
    }
}
