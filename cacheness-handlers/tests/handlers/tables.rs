//! Tables to test with.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::*;
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Fields, Schema};

/// Columns of many types with nulls; all that Parquet knows too.
pub(crate) fn mixed() -> RecordBatch {
    let text = [Some("one"), None, Some("drei ü"), Some("a text that is longer than twelve bytes")];
    let mut lists = ListBuilder::new(Int32Builder::new());
    lists.append_value([Some(1), None, Some(3)]);
    lists.append_null();
    lists.append_value([]);
    lists.append_value([Some(4)]);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for row in 0..4 {
        maps.keys().append_value(format!("key {row}"));
        maps.values().append_option((row != 2).then_some(row));
        maps.append(row != 3).unwrap();
    }
    let fields: Fields =
        vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into();
    let inner: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4)])),
        Arc::new(StringArray::from(text.to_vec())),
    ];
    let structs = StructArray::new(fields, inner, Some(NullBuffer::from(vec![true, false, true, true])));
    let dictionary: DictionaryArray<Int32Type> =
        vec![Some("red"), Some("blue"), None, Some("red")].into_iter().collect();
    let fixed = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
        vec![Some(vec![Some(1), Some(2)]), None, Some(vec![None, Some(4)]), Some(vec![Some(5), Some(6)])],
        2,
    );
    let decimals = Decimal128Array::from(vec![Some(1), None, Some(-12345), Some(0)]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]))),
        ("i8", Arc::new(Int8Array::from(vec![Some(-1), None, Some(i8::MAX), Some(i8::MIN)]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(0), Some(i64::MAX)]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0), Some(1)]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(1.5), None, Some(f32::INFINITY), Some(-0.0)]))),
        ("f64", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.0]))),
        ("utf8", Arc::new(StringArray::from(text.to_vec()))),
        ("large", Arc::new(LargeStringArray::from(text.to_vec()))),
        ("view", Arc::new(StringViewArray::from(text.to_vec()))),
        ("binary", Arc::new(BinaryArray::from(vec![Some(&b"a"[..]), None, Some(b""), Some(b"\xff\x00")]))),
        ("time", Arc::new(TimestampMicrosecondArray::from(vec![0, 1, 2, 3]).with_timezone("UTC"))),
        ("date", Arc::new(Date32Array::from(vec![Some(0), None, Some(-1), Some(20_000)]))),
        ("decimal", Arc::new(decimals.with_precision_and_scale(20, 2).unwrap())),
        ("list", Arc::new(lists.finish())),
        ("map", Arc::new(maps.finish())),
        ("struct", Arc::new(structs)),
        ("dictionary", Arc::new(dictionary)),
        ("fixed", Arc::new(fixed)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true)))
            .unwrap();
    with_metadata(&batch)
}

fn with_metadata(batch: &RecordBatch) -> RecordBatch {
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[0].set_metadata(HashMap::from([("unit".to_owned(), "none".to_owned())]));
    let metadata = HashMap::from([("source".to_owned(), "a test".to_owned())]);
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), batch.columns().to_vec())
        .unwrap()
}

/// Columns that Parquet has no types for.
pub(crate) fn arrow_only() -> RecordBatch {
    let mut dense = builder::UnionBuilder::new_dense();
    let mut sparse = builder::UnionBuilder::new_sparse();
    for union in [&mut dense, &mut sparse] {
        union.append::<types::Int32Type>("i", 1).unwrap();
        union.append::<types::Float64Type>("f", 2.5).unwrap();
        union.append_null::<types::Int32Type>("i").unwrap();
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("dense", Arc::new(dense.build().unwrap())),
        ("sparse", Arc::new(sparse.build().unwrap())),
        ("duration", Arc::new(DurationSecondArray::from(vec![1, 2, 3]))),
        ("interval", Arc::new(IntervalYearMonthArray::from(vec![1, 2, 3]))),
        ("null", Arc::new(NullArray::new(3))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap()
}

/// `columns` columns of floats, each different, that compress badly.
pub(crate) fn floats(rows: usize, columns: usize) -> RecordBatch {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64
    };
    let columns = (0..columns).map(|index| {
        let values: Float64Array = (0..rows).map(|_| Some(noise())).collect();
        (format!("c{index}"), Arc::new(values) as ArrayRef)
    });
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The columns `id` (0, 1, 2 …), `even`, `part` (a text of the hundred, null in each tenth row) and `value`.
pub(crate) fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let ids: Int64Array = range.clone().collect::<Vec<_>>().into();
    let even: BooleanArray = range.clone().map(|id| Some(id % 2 == 0)).collect();
    let part: StringArray =
        range.clone().map(|id| (id % 10 != 0).then(|| format!("part {:04}", id / 100))).collect();
    let value: Float64Array = range.map(|id| Some(id as f64 / 2.0)).collect();
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("id", Arc::new(ids), false),
        ("even", Arc::new(even), false),
        ("part", Arc::new(part), true),
        ("value", Arc::new(value), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
