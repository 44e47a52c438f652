//! Columns, rows and filters.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::*;
use cacheness_core::{CacheHandler, ErrorKind, Literal, Predicate, ReadOptions, column};
use cacheness_handlers::{ArrowIpcHandler, ParquetHandler};

use crate::memory::{get_with, put};
use crate::tables::{mixed, rows};

fn handlers() -> [Box<dyn CacheHandler>; 2] {
    [Box::new(ArrowIpcHandler::new()), Box::new(ParquetHandler::new().row_group_rows(64))]
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn columns_come_in_the_tables_order_without_the_others() {
    let table = vec![rows(0..100), rows(100..150)];
    for handler in handlers() {
        let stored = put(&*handler, &table).unwrap();
        let options = ReadOptions::columns(["value", "id", "value"]);
        let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
        assert_eq!(back, rows(0..150).project(&[0, 3]).unwrap());
        let none = ReadOptions::columns(Vec::<String>::new());
        let back: RecordBatch = get_with(&*handler, &stored, &none).unwrap();
        assert_eq!((back.num_columns(), back.num_rows()), (0, 150), "{}", handler.name());
    }
}

#[test]
fn nested_columns_can_be_asked_for() {
    for handler in handlers() {
        let stored = put(&*handler, &mixed()).unwrap();
        for field in mixed().schema().fields() {
            let options = ReadOptions::columns([field.name()]);
            let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
            let index = mixed().schema().index_of(field.name()).unwrap();
            assert_eq!(back, mixed().project(&[index]).unwrap(), "{}", handler.name());
        }
    }
}

#[test]
fn an_unknown_column_is_the_callers_error_and_names_the_known_ones() {
    for handler in handlers() {
        let stored = put(&*handler, &rows(0..10)).unwrap();
        let filter = ReadOptions::new().filter(column("nope").eq(1));
        for options in [ReadOptions::columns(["id", "nope"]), filter] {
            let error = get_with::<RecordBatch, _>(&*handler, &stored, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let message = error.to_string();
            assert!(
                message.contains("nope") && message.contains("`id`, `even`, `part`, `value`"),
                "{message}"
            );
        }
    }
}

#[test]
fn rows_are_counted_over_all_batches_and_end_with_the_table() {
    let table = vec![rows(0..100), rows(100..100), rows(100..150)];
    for handler in handlers() {
        let stored = put(&*handler, &table).unwrap();
        for wanted in [0..1, 0..150, 99..101, 63..65, 10..140, 149..150, 149..1000, 0..u64::MAX] {
            let options = ReadOptions::new().rows(wanted.clone());
            let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
            assert_eq!(
                back,
                rows(wanted.start as i64..wanted.end.min(150) as i64),
                "{} {wanted:?}",
                handler.name()
            );
        }
        #[expect(clippy::reversed_empty_ranges, reason = "a caller may compute such a range")]
        for wanted in [150..200, 7..7, 9..3, u64::MAX..0] {
            let options = ReadOptions::new().rows(wanted);
            let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
            assert_eq!(back, rows(0..0));
            let list: Vec<RecordBatch> = get_with(&*handler, &stored, &options).unwrap();
            assert_eq!(list, [rows(0..0)], "the schema is there without rows");
        }
    }
}

#[test]
fn filters_hold_for_all_comparisons_and_never_for_nulls() {
    let table = vec![rows(0..300), rows(300..1000)];
    let all = 0..1000_i64;
    type Case = (Predicate, fn(i64) -> bool);
    let cases: [Case; 12] = [
        (column("id").eq(777), |id| id == 777),
        (column("id").not_eq(777), |id| id != 777),
        (column("id").lt(5), |id| id < 5),
        (column("id").lt_eq(5), |id| id <= 5),
        (column("id").gt(990), |id| id > 990),
        (column("id").gt_eq(990.5), |id| id >= 991),
        (column("id").gt(i64::MAX), |_| false),
        (column("even").eq(true), |id| id % 2 == 0),
        (column("part").eq("part 0004"), |id| id / 100 == 4 && id % 10 != 0),
        (column("part").not_eq("part 0004"), |id| id / 100 != 4 && id % 10 != 0),
        (column("value").lt(3), |id| id < 6),
        (column("id").gt_eq(200).and(column("part").lt("part 0003")).and(column("even").eq(false)), |id| {
            id / 100 == 2 && id % 2 == 1
        }),
    ];
    for handler in handlers() {
        let stored = put(&*handler, &table).unwrap();
        for (predicate, expected) in &cases {
            let options = ReadOptions::new().filter(predicate.clone());
            let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
            let expected: Vec<_> = all.clone().filter(|id| expected(*id)).collect();
            assert_eq!(ids(&back), expected, "{} {predicate:?}", handler.name());
        }
    }
}

#[test]
fn a_filter_may_look_at_columns_that_are_not_asked_for_after_rows_are_counted() {
    for handler in handlers() {
        let stored = put(&*handler, &vec![rows(0..500), rows(500..1000)]).unwrap();
        let options = ReadOptions::columns(["id"]).rows(100..700).filter(column("value").gt_eq(345));
        let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
        assert_eq!(back.num_columns(), 1);
        assert_eq!(ids(&back), (690..700).collect::<Vec<_>>(), "{}", handler.name());
        let options = ReadOptions::columns(["id"]).filter(column("value").lt(0));
        let list: Vec<RecordBatch> = get_with(&*handler, &stored, &options).unwrap();
        assert_eq!(list, [rows(0..0).project(&[0]).unwrap()]);
    }
}

#[test]
fn every_comparable_type_is_compared() {
    let dictionary: DictionaryArray<Int32Type> = [Some("a"), Some("b"), None].into_iter().collect();
    let texts = vec![Some("a"), Some("b"), None];
    let columns: Vec<(Literal, ArrayRef)> = vec![
        (true.into(), Arc::new(BooleanArray::from(vec![Some(false), Some(true), None]))),
        (2.into(), Arc::new(Int8Array::from(vec![Some(1), Some(2), None]))),
        (2.into(), Arc::new(Int16Array::from(vec![Some(1), Some(2), None]))),
        (2.0.into(), Arc::new(Int32Array::from(vec![Some(1), Some(2), None]))),
        (2.into(), Arc::new(Int64Array::from(vec![Some(1), Some(2), None]))),
        (2.into(), Arc::new(UInt8Array::from(vec![Some(1), Some(2), None]))),
        (2.into(), Arc::new(UInt16Array::from(vec![Some(1), Some(2), None]))),
        (2.into(), Arc::new(UInt32Array::from(vec![Some(1), Some(2), None]))),
        (2.into(), Arc::new(UInt64Array::from(vec![Some(1), Some(2), None]))),
        (2.into(), Arc::new(Float32Array::from(vec![Some(1.0), Some(2.0), None]))),
        (2.0.into(), Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), None]))),
        ("b".into(), Arc::new(StringArray::from(texts.clone()))),
        ("b".into(), Arc::new(LargeStringArray::from(texts.clone()))),
        ("b".into(), Arc::new(StringViewArray::from(texts))),
        ("b".into(), Arc::new(dictionary)),
    ];
    for handler in handlers() {
        for (literal, array) in &columns {
            let batch = RecordBatch::try_from_iter_with_nullable([("x", array.clone(), true)]).unwrap();
            let stored = put(&*handler, &batch).unwrap();
            for (predicate, rows) in [
                (column("x").eq(literal.clone()), 1..2),
                (column("x").lt(literal.clone()), 0..1),
                (column("x").lt_eq(literal.clone()), 0..2),
                (column("x").gt(literal.clone()), 2..2),
            ] {
                let options = ReadOptions::new().filter(predicate);
                let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
                assert_eq!(back, batch.slice(rows.start, rows.len()), "{} {literal:?}", handler.name());
            }
        }
    }
}

#[test]
fn nan_differs_from_all_and_is_neither_less_nor_greater() {
    let values: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN, 1.0]));
    let batch = RecordBatch::try_from_iter([("x", values)]).unwrap();
    for handler in handlers() {
        let stored = put(&*handler, &batch).unwrap();
        for (predicate, found) in [
            (column("x").not_eq(1.0), 1),
            (column("x").eq(f64::NAN), 0),
            (column("x").not_eq(f64::NAN), 3),
            (column("x").gt_eq(0.0), 2),
            (column("x").lt(f64::NAN), 0),
        ] {
            let options = ReadOptions::new().filter(predicate.clone());
            let back: RecordBatch = get_with(&*handler, &stored, &options).unwrap();
            assert_eq!(back.num_rows(), found, "{} {predicate:?}", handler.name());
        }
    }
}

#[test]
fn a_comparison_of_unlike_types_is_the_callers_error() {
    for handler in handlers() {
        let stored = put(&*handler, &mixed()).unwrap();
        for predicate in [
            column("utf8").eq(1),
            column("i64").eq("1"),
            column("f64").eq(true),
            column("bool").eq(1),
            column("date").eq(1),
            column("list").eq(1),
            column("dictionary").eq(1),
        ] {
            let options = ReadOptions::new().filter(predicate.clone());
            let error = get_with::<RecordBatch, _>(&*handler, &stored, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{predicate:?}");
            assert!(error.to_string().contains(&predicate.comparisons()[0].column), "{error}");
        }
    }
}
