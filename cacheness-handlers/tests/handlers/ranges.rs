//! What is copied, and what is fetched.

use arrow_array::{Array, RecordBatch};
use arrow_data::ArrayData;
use cacheness_core::{BlobReader, Compression, FormatMeta, ReadOptions, column};
use cacheness_handlers::{ArrowIpcHandler, ParquetHandler};

use crate::memory::{Reader, Stored, aligned, get, put, put_with, read};
use crate::tables::{floats, mixed, rows};

fn buffers(data: &ArrayData, found: &mut Vec<(usize, usize)>) {
    let nulls = data.nulls().map(|nulls| nulls.buffer());
    for buffer in data.buffers().iter().chain(nulls) {
        if !buffer.is_empty() {
            found.push((buffer.as_ptr().addr(), buffer.len()));
        }
    }
    data.child_data().iter().for_each(|child| buffers(child, found));
}

#[test]
fn ipc_columns_lie_in_the_stored_bytes() {
    let handler = ArrowIpcHandler::new();
    for batch in [mixed(), floats(100_000, 8)] {
        let stored = put(&handler, &batch).unwrap();
        let range = stored.bytes.as_ptr_range();
        let range = range.start.addr()..range.end.addr();
        for options in [ReadOptions::new(), ReadOptions::new().rows(0..2)] {
            let back: RecordBatch = read(&handler, &stored, &mut Reader::new(&stored), &options).unwrap();
            let mut found = Vec::new();
            back.columns().iter().for_each(|column| buffers(&column.to_data(), &mut found));
            assert!(found.len() >= 8);
            for (start, len) in found {
                assert!(range.contains(&start) && start + len <= range.end, "a column was copied");
            }
        }
        let back: RecordBatch = get(&handler, &stored).unwrap();
        for column in back.columns() {
            for buffer in column.to_data().buffers() {
                assert!(
                    buffer.as_ptr().addr().is_multiple_of(64),
                    "a buffer does not begin at a multiple of 64"
                );
            }
        }
    }
}

#[test]
fn ipc_reads_bytes_at_any_address() {
    let handler = ArrowIpcHandler::new();
    for batch in [mixed(), crate::tables::arrow_only()] {
        let stored = put(&handler, &batch).unwrap();
        for shift in [1, 3, 4, 8, 16] {
            let shifted = Stored { bytes: aligned(&stored.bytes, shift), meta: FormatMeta::default() };
            assert_eq!(get::<RecordBatch, _>(&handler, &shifted).unwrap(), batch);
        }
    }
}

#[test]
fn parquet_reads_one_column_of_eight_by_a_fifth_of_the_bytes() {
    let handler = ParquetHandler::new();
    let batch = floats(300_000, 8);
    let stored = put(&handler, &batch).unwrap();
    assert!(!stored.meta.as_bytes().is_empty(), "the footer is kept with the entry");
    let mut reader = Reader::new(&stored);
    let back: RecordBatch = read(&handler, &stored, &mut reader, &ReadOptions::columns(["c3"])).unwrap();
    assert_eq!(back, batch.project(&[3]).unwrap());
    assert!(reader.read * 5 < reader.len(), "{} of {} bytes were read", reader.read, reader.len());
    assert_eq!(reader.whole, 0);
    assert_eq!(reader.prefetched.len(), 3, "one range for each row group");
    assert_eq!(reader.prefetched.iter().map(|range| range.end - range.start).sum::<u64>(), reader.read);
}

#[test]
fn parquet_reads_all_by_ranges_too() {
    let handler = ParquetHandler::new();
    let stored = put(&handler, &floats(1000, 8)).unwrap();
    let mut reader = Reader::new(&stored);
    let _: RecordBatch = read(&handler, &stored, &mut reader, &ReadOptions::new()).unwrap();
    assert_eq!(reader.whole, 0);
    assert!(reader.read <= reader.len());
}

#[test]
fn parquet_leaves_out_row_groups_by_filter_and_rows() {
    let handler = ParquetHandler::new().row_group_rows(1000);
    let stored = put_with(&handler, &rows(0..10_000), Some(Compression::None)).unwrap();
    let groups = |options: ReadOptions| {
        let mut reader = Reader::new(&stored);
        let back: RecordBatch = read(&handler, &stored, &mut reader, &options.with_columns(["id"])).unwrap();
        (reader.prefetched.len(), back.num_rows())
    };
    let filter = |predicate| groups(ReadOptions::new().filter(predicate));
    assert_eq!(filter(column("id").eq(4500)), (1, 1));
    assert_eq!(filter(column("id").lt(1000)), (1, 1000));
    assert_eq!(filter(column("id").lt_eq(1000)), (2, 1001));
    assert_eq!(filter(column("id").gt(8999)), (1, 1000));
    assert_eq!(filter(column("id").gt_eq(8999)), (2, 1001));
    assert_eq!(filter(column("id").eq(-1)), (0, 0));
    assert_eq!(filter(column("id").not_eq(0)), (10, 9999));
    // Two columns are read where the filter looks at another than the one asked for.
    assert_eq!(filter(column("value").lt(500)), (2, 1000));
    assert_eq!(filter(column("part").eq("part 0055")), (2, 90));
    assert_eq!(filter(column("id").gt(2000).and(column("id").lt(1000))), (0, 0));
    assert_eq!(groups(ReadOptions::new().rows(999..1001)), (2, 2));
    assert_eq!(groups(ReadOptions::new().rows(5000..6000)), (1, 1000));
}

#[test]
fn a_parquet_footer_of_more_than_64_kib_is_read_from_the_blob() {
    let handler = ParquetHandler::new().row_group_rows(2);
    let batch = floats(2000, 3);
    let stored = put(&handler, &batch).unwrap();
    assert!(stored.meta.as_bytes().is_empty());
    assert_eq!(get::<RecordBatch, _>(&handler, &stored).unwrap(), batch);
}

#[test]
fn a_parquet_blob_is_a_whole_file_without_its_entry() {
    let handler = ParquetHandler::new();
    let stored = put(&handler, &mixed()).unwrap();
    let alone = Stored { meta: FormatMeta::default(), ..stored };
    assert_eq!(get::<RecordBatch, _>(&handler, &alone).unwrap(), mixed());
}
