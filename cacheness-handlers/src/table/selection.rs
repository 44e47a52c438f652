//! Which part of a table a caller asks for.

use std::ops::Range;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use cacheness_core::{Comparison, Error, ErrorKind, ReadOptions, Result};

use super::compare::{check_comparable, matches};
use super::decode_error;

/// Read options that have been checked against a table's schema.
pub(crate) struct Selection<'a> {
    /// The schema of what the caller gets.
    pub(crate) schema: SchemaRef,
    /// The columns that must be read, in the table's order: those asked for and those that the filter looks at.
    pub(crate) read: Vec<usize>,
    /// The rows asked for.
    pub(crate) rows: Range<u64>,
    /// Each comparison with the place of its column in `read`.
    pub(crate) filter: Vec<(usize, &'a Comparison)>,
    /// The places in `read` of the columns asked for.
    keep: Vec<usize>,
    /// True where anything but all of the table is asked for.
    pub(crate) is_partial: bool,
}

impl<'a> Selection<'a> {
    pub(crate) fn new(schema: &SchemaRef, options: &'a ReadOptions) -> Result<Self> {
        let mut wanted = match options.wanted_columns() {
            None => (0..schema.fields().len()).collect(),
            Some(names) => {
                let mut wanted = Vec::new();
                for name in names {
                    wanted.extend(columns_named(schema, name)?);
                }
                wanted
            }
        };
        wanted.sort_unstable();
        wanted.dedup();

        let mut compared = Vec::new();
        for comparison in options.predicate().map_or(&[][..], |predicate| predicate.comparisons()) {
            let columns = columns_named(schema, &comparison.column)?;
            let [column] = columns[..] else {
                let message =
                    format!("the table has several columns `{}`; a filter needs one", comparison.column);
                return Err(Error::new(ErrorKind::InvalidInput, message));
            };
            check_comparable(schema.field(column), comparison)?;
            compared.push((column, comparison));
        }

        let mut read = wanted.clone();
        read.extend(compared.iter().map(|(column, _)| *column));
        read.sort_unstable();
        read.dedup();
        // Every column looked up below was put into `read` above, so nothing is left out.
        let place = |column: &usize| read.binary_search(column).ok();
        let keep = wanted.iter().filter_map(place).collect();
        let filter = compared.iter().filter_map(|(column, c)| Some((place(column)?, *c))).collect();

        let schema = if wanted.len() == schema.fields().len() {
            schema.clone()
        } else {
            schema.project(&wanted).map_err(decode_error)?.into()
        };
        let rows = options.wanted_rows().unwrap_or(0..u64::MAX);
        Ok(Self { schema, read, rows, filter, keep, is_partial: options.is_partial() })
    }

    /// Which of the rows `first..first + len` of the table are asked for, counted from `first`.
    pub(crate) fn rows_within(&self, first: u64, len: u64) -> Range<u64> {
        let start = self.rows.start.saturating_sub(first).min(len);
        let end = self.rows.end.saturating_sub(first).min(len);
        start..end.max(start)
    }

    /// Filters a batch that has the columns of `read`, and leaves the columns asked for.
    pub(crate) fn filter_and_project(&self, mut batch: RecordBatch) -> Result<RecordBatch> {
        for (place, comparison) in &self.filter {
            let Some(column) = batch.columns().get(*place) else {
                return Err(Error::new(ErrorKind::Decode, "a stored batch has too few columns"));
            };
            let mask = matches(column.as_ref(), comparison.operator, &comparison.value)?;
            batch = filter_record_batch(&batch, &mask).map_err(decode_error)?;
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns: Option<Vec<_>> =
            self.keep.iter().map(|place| batch.columns().get(*place).cloned()).collect();
        let columns =
            columns.ok_or_else(|| Error::new(ErrorKind::Decode, "a stored batch has too few columns"))?;
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows).map_err(decode_error)
    }
}

/// The places of all columns with this name.
fn columns_named(schema: &Schema, name: &str) -> Result<Vec<usize>> {
    let fields = schema.fields();
    let found: Vec<_> = (0..fields.len()).filter(|place| fields[*place].name() == name).collect();
    if found.is_empty() {
        const MOST_NAMED: usize = 50;
        let mut known: Vec<_> =
            fields.iter().take(MOST_NAMED).map(|field| format!("`{}`", field.name())).collect();
        if fields.len() > MOST_NAMED {
            known.push(format!("and {} more", fields.len() - MOST_NAMED));
        }
        let message = format!("the table has no column `{name}`; it has {}", known.join(", "));
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(found)
}
