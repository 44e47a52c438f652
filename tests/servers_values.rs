//! Values on S3: tables of which only a part is fetched, large ones in bounded memory, and the tier on the local disk.

mod network;

use std::io::Read;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use cacheness::blocking::Cache;
use cacheness::{PutOptions, ReadOptions};
use network::proxy::Proxy;
use network::{place, s3_at, server};

/// A cache whose blobs lie on S3, and the proxy before it.
fn open(folder: &std::path::Path) -> (Cache, Proxy) {
    let endpoint = server("TEST_S3");
    let proxy = Proxy::of(&endpoint);
    let blobs = s3_at(&proxy.url(&endpoint), &place(folder));
    let cache = Cache::builder().folder(folder).blobs_with("s3", blobs).open_blocking().unwrap();
    (cache, proxy)
}

fn table(rows: u64) -> RecordBatch {
    let noise =
        |row: u64, column: u64| ((row * 31 + column).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64;
    let column = |column| {
        Arc::new(Float64Array::from_iter_values((0..rows).map(|row| noise(row, column)))) as ArrayRef
    };
    let fields: Vec<Field> =
        (0..8).map(|at| Field::new(format!("c{at}"), DataType::Float64, false)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), (0..8).map(column).collect()).unwrap()
}

#[test]
fn of_a_parquet_table_on_s3_the_columns_asked_for_are_fetched_and_little_else() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, proxy) = open(folder.path());
    let table = table(200_000);
    cache.put_with("t", &table, PutOptions::new().handler("parquet")).unwrap();
    let size = cache.get_entry("t").unwrap().unwrap().entry.stored_size;
    let (bytes, trips) = (proxy.answered(), proxy.trips());
    let column: RecordBatch = cache.get_with("t", &ReadOptions::columns(["c3"])).unwrap().unwrap();
    let (bytes, trips) = (proxy.answered() - bytes, proxy.trips() - trips);
    assert_eq!((column.num_rows(), column.num_columns()), (200_000, 1));
    assert_eq!(column.column(0), table.column(3));
    assert!(bytes * 100 < size * 20, "{bytes} bytes of {size} were fetched for one column of eight");
    assert!(trips < 20, "{trips} requests");
    let whole: RecordBatch = cache.get("t").unwrap().unwrap();
    assert_eq!(whole, table);
}

/// The most memory that this process has taken so far, in bytes.
fn peak_memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_value_of_any_size_goes_to_s3_and_back_in_parts_and_bounded_memory() {
    const SIZE: u64 = 320 << 20;
    let folder = tempfile::tempdir().unwrap();
    let (cache, _proxy) = open(folder.path());
    cache.put("warm", "up").unwrap();
    let before = peak_memory();
    let pattern: Vec<u8> = (0..=250).collect();
    let endless = Repeat { pattern: pattern.clone(), at: 0 };
    cache.put_reader("large", endless.take(SIZE), PutOptions::new()).unwrap();
    let mut reader = cache.reader("large").unwrap().unwrap();
    let mut chunk = vec![0; 1 << 20];
    let mut read = 0_u64;
    loop {
        let some = reader.read(&mut chunk).unwrap();
        if some == 0 {
            break;
        }
        for (at, &byte) in chunk[..some].iter().enumerate().step_by(4_099) {
            assert_eq!(byte, pattern[((read + at as u64) % 251) as usize]);
        }
        read += some as u64;
    }
    assert_eq!(read, SIZE);
    let grown = peak_memory() - before;
    assert!(grown < 200 << 20, "{grown} bytes of memory were taken for a value of {SIZE}");
}

struct Repeat {
    pattern: Vec<u8>,
    at: usize,
}

impl Read for Repeat {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        for byte in out.iter_mut() {
            *byte = self.pattern[self.at];
            self.at = (self.at + 1) % self.pattern.len();
        }
        Ok(out.len())
    }
}
