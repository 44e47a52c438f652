//! Arrow tables: mapped without a copy, and read column by column.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use cacheness::blocking::Cache;
use cacheness::{Compression, ErrorKind, PutOptions, ReadOptions, column};
use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};

fn table(rows: i64) -> RecordBatch {
    let noise = |i: i64, c: i64| (i * 31 + c).wrapping_mul(0x1E37_79B9_7F4A_7C15) as f64;
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let floats =
        (1..8).map(|c| Arc::new(Float64Array::from_iter_values((0..rows).map(|i| noise(i, c)))) as ArrayRef);
    let columns: Vec<ArrayRef> = std::iter::once(id).chain(floats).collect();
    let fields =
        columns.iter().enumerate().map(|(c, a)| Field::new(format!("c{c}"), a.data_type().clone(), false));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

/// Where this process has files mapped.
#[cfg(target_os = "linux")]
fn mapped_blobs(folder: &std::path::Path) -> Vec<std::ops::Range<usize>> {
    let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
    let blobs = folder.join("blobs");
    let lines = maps.lines().filter(|line| line.contains(blobs.to_str().unwrap()));
    let range = |line: &str| {
        let (from, to) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        usize::from_str_radix(from, 16).unwrap()..usize::from_str_radix(to, 16).unwrap()
    };
    lines.map(range).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_columns_of_an_ipc_table_lie_in_the_mapped_file() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let table = table(50_000);
    cache.put_with("t", &table, PutOptions::new().handler("arrow_ipc")).unwrap();
    for _ in 0..2 {
        let back: RecordBatch = cache.get("t").unwrap().unwrap();
        assert_eq!(back, table);
        let maps = mapped_blobs(folder.path());
        assert!(!maps.is_empty());
        for column in back.columns() {
            for buffer in column.to_data().buffers() {
                let at = buffer.as_ptr() as usize;
                assert!(maps.iter().any(|map| map.contains(&at)), "a column was copied out of the map");
            }
        }
    }
    // The map lives as long as the table does, also when the entry is gone.
    let back: RecordBatch = cache.get("t").unwrap().unwrap();
    cache.remove("t").unwrap();
    drop(cache);
    assert_eq!(back, table);
}

#[test]
fn one_column_of_eight_reads_a_fraction_of_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(100_000);
    let slow_registry = {
        let builtin = cacheness::Registry::builtin();
        let blobs = builtin.blob_backend("filesystem").unwrap().clone();
        let remote =
            ChaosBlobFactory::wrap_shared(blobs, Chaos::new().slow(std::time::Duration::from_millis(1)));
        builtin.with_blob_backend(remote.named("remote")).unwrap()
    };
    let local = Cache::open(folder.path().join("local")).unwrap();
    let remote =
        cacheness::CacheBuilder::new(slow_registry).folder(folder.path().join("remote")).blobs("remote");
    for cache in [local, remote.open_blocking().unwrap()] {
        let stored = cache.put_with("t", &table, PutOptions::new().handler("parquet")).unwrap();
        let before = cache.stats().unwrap().counters.bytes_out;
        let part: RecordBatch = cache.get_with("t", &ReadOptions::columns(["c3"])).unwrap().unwrap();
        let read = cache.stats().unwrap().counters.bytes_out - before;
        assert_eq!(part.column(0), table.column(3));
        assert_eq!(part.num_columns(), 1);
        assert!(read * 5 < stored.stored_size, "{read} bytes of {} were read", stored.stored_size);
    }
}

#[test]
fn both_formats_give_tables_and_parts_of_them_back() {
    let cache = Cache::memory().unwrap();
    let table = table(10_000);
    for handler in ["arrow_ipc", "parquet"] {
        for compression in [None, Some(Compression::Lz4), Some(Compression::Zstd(3))] {
            let mut options = PutOptions::new().handler(handler);
            if let Some(compression) = compression {
                options = options.compression(compression);
            }
            cache.put_with("t", &table, options).unwrap();
            let stages = cache.get_entry("t").unwrap().unwrap().entry.format.stages;
            assert!(stages.is_empty(), "a format that compresses inside itself is not compressed again");
            assert_eq!(
                cache.get::<RecordBatch, _>("t").unwrap().as_ref(),
                Some(&table),
                "{handler} {compression:?}"
            );
            let part = ReadOptions::columns(["c0", "c5"]).rows(100..5_000).filter(column("c0").gt_eq(4_990));
            let part: RecordBatch = cache.get_with("t", &part).unwrap().unwrap();
            assert_eq!((part.num_rows(), part.num_columns()), (10, 2), "{handler}");
            assert_eq!(part.column(1).as_ref(), table.column(5).slice(4_990, 10).as_ref());
            let error = cache.get_with::<RecordBatch, _>("t", &ReadOptions::columns(["c9"])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("c9") && error.to_string().contains("c7"), "{error}");
        }
    }
    assert_eq!(cache.get::<String, _>("t").unwrap_err().kind(), ErrorKind::TypeMismatch);
}

#[test]
fn lists_of_tables_come_back_as_lists() {
    let cache = Cache::memory().unwrap();
    let list = vec![table(3), table(0), table(500)];
    for handler in ["arrow_ipc", "parquet"] {
        cache.put_with("list", &list, PutOptions::new().handler(handler)).unwrap();
        let back: Vec<RecordBatch> = cache.get("list").unwrap().unwrap();
        let rows = |list: &[RecordBatch]| list.iter().map(RecordBatch::num_rows).sum::<usize>();
        assert_eq!(rows(&back), rows(&list), "{handler}");
        let one: RecordBatch = cache.get("list").unwrap().unwrap();
        assert_eq!(one.num_rows(), 503);
        assert_eq!(one.schema().field(0), &Field::new("c0", DataType::Int64, false));
    }
}
