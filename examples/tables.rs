//! A table of 100,000 sales is written as CSV, read and aggregated once, and cached as Parquet; then one column of
//! it is read back, with a fraction of the bytes.
//!
//! `cargo run --features arrow --example tables`

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

// shows: row 13

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use cacheness::blocking::Cache;
use cacheness::{FileSource, PutOptions, ReadOptions, column};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROWS: usize = 100_000;
const COLUMNS: [&str; 8] = ["id", "day", "quantity", "price", "discount", "tax", "revenue", "region"];

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let csv = folder.path().join("sales.csv");
    write_csv(&csv)?;
    let cache = Cache::open(folder.path().join("cache"))?;

    let started = Instant::now();
    let source = FileSource::capture(&csv)?;
    let sales = read_csv(&csv)?;
    println!(
        "read {} rows of {} columns from CSV in {:.1?}",
        sales.num_rows(),
        sales.num_columns(),
        started.elapsed()
    );
    let options = PutOptions::new().with_source(source).handler("parquet").description("all sales");
    let stored = cache.put_with("sales", &sales, options)?;
    println!("stored as Parquet: {} bytes", stored.stored_size);

    let started = Instant::now();
    let quantity: RecordBatch =
        cache.get_with("sales", &ReadOptions::columns(["quantity"]))?.ok_or("it was put")?;
    let took = started.elapsed();
    let read = cache.stats()?.counters.bytes_out;
    println!(
        "one column of {} in {took:.1?}: {} pieces sold",
        sales.num_columns(),
        sum(&quantity, "quantity")?
    );
    println!(
        "bytes read for it: {read} of {}, {:.1}%",
        stored.stored_size,
        percent(read, stored.stored_size)
    );

    let west = ReadOptions::columns(["revenue"]).filter(column("region").eq("West"));
    let west: RecordBatch = cache.get_with("sales", &west)?.ok_or("it was put")?;
    println!("in the West: {} rows, revenue of {:.2}", west.num_rows(), sum(&west, "revenue")?);

    let started = Instant::now();
    let whole: RecordBatch = cache.get("sales")?.ok_or("it was put")?;
    println!("all columns in {:.1?}: {} rows", started.elapsed(), whole.num_rows());
    if whole != sales {
        return Err("another table came back than was put".into());
    }
    cache.close()?;
    Ok(())
}

fn write_csv(path: &Path) -> Result<()> {
    let mut text = COLUMNS.join(",") + "\n";
    for id in 0..ROWS {
        let noise = (id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let (quantity, price) = (noise % 20 + 1, (noise % 9973) as f64 / 7.0);
        let (discount, tax) = ((noise % 13) as f64 / 100.0, price * 0.19);
        let revenue = quantity as f64 * (price * (1.0 - discount) + tax);
        let region = ["North", "East", "South", "West"][(noise % 4) as usize];
        writeln!(
            text,
            "{id},{},{quantity},{price:.2},{discount:.2},{tax:.4},{revenue:.4},{region}",
            id / 300
        )?;
    }
    fs_err::write(path, text)?;
    Ok(())
}

fn read_csv(path: &Path) -> Result<RecordBatch> {
    let text = fs_err::read_to_string(path)?;
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let ints = |i: usize| -> Result<ArrayRef> {
        let values: std::result::Result<Vec<i64>, _> = rows.iter().map(|row| row[i].parse()).collect();
        Ok(Arc::new(Int64Array::from(values?)))
    };
    let floats = |i: usize| -> Result<ArrayRef> {
        let values: std::result::Result<Vec<f64>, _> = rows.iter().map(|row| row[i].parse()).collect();
        Ok(Arc::new(Float64Array::from(values?)))
    };
    let regions: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row[7])));
    let arrays = vec![ints(0)?, ints(1)?, ints(2)?, floats(3)?, floats(4)?, floats(5)?, floats(6)?, regions];
    let types = arrays.iter().map(|array| array.data_type().clone());
    let fields: Vec<Field> =
        COLUMNS.iter().zip(types).map(|(name, t): (_, DataType)| Field::new(*name, t, false)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64 * 100.0
}

fn sum(table: &RecordBatch, name: &str) -> Result<f64> {
    let column = table.column_by_name(name).ok_or("no such column")?;
    if let Some(column) = column.as_any().downcast_ref::<Int64Array>() {
        return Ok(column.values().iter().map(|&value| value as f64).sum());
    }
    let column = column.as_any().downcast_ref::<Float64Array>().ok_or("not a column of numbers")?;
    Ok(column.values().iter().sum())
}
