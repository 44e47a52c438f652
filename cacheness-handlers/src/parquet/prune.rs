//! Leaving out row groups by their statistics.

use ::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use ::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use arrow_array::{Array, BooleanArray};
use cacheness_core::{Comparison, Operator};

use crate::table::{Selection, matches};

/// For each row group whether some of its rows may pass the filter.
pub(super) fn may_match(table: &ArrowReaderMetadata, selection: &Selection<'_>) -> Vec<bool> {
    let mut groups = vec![true; table.metadata().num_row_groups()];
    for (_, comparison) in &selection.filter {
        // Without usable statistics every row group stays in.
        let Some(holds) = comparison_may_hold(table, comparison) else { continue };
        for (group, may) in groups.iter_mut().enumerate() {
            *may &=
                holds.iter().all(|holds| group >= holds.len() || holds.is_null(group) || holds.value(group));
        }
    }
    groups
}

/// Conditions on the bounds of each row group, all of which are true where some row may pass, or null where a bound is
/// not known.
fn comparison_may_hold(table: &ArrowReaderMetadata, comparison: &Comparison) -> Option<Vec<BooleanArray>> {
    let (operator, literal) = (comparison.operator, &comparison.value);
    let groups = table.metadata().row_groups();
    let converter =
        StatisticsConverter::try_new(&comparison.column, table.schema(), table.parquet_schema()).ok()?;
    let least = |operator| {
        let bounds = converter.row_group_mins(groups).ok()?;
        matches(bounds.as_ref(), operator, literal).ok()
    };
    let greatest = |operator| {
        let bounds = converter.row_group_maxes(groups).ok()?;
        matches(bounds.as_ref(), operator, literal).ok()
    };
    match operator {
        Operator::Lt | Operator::LtEq => Some(vec![least(operator)?]),
        Operator::Gt | Operator::GtEq => Some(vec![greatest(operator)?]),
        Operator::Eq => Some(vec![least(Operator::LtEq)?, greatest(Operator::GtEq)?]),
        // Bounds leave NaN out, and may be shortened, so they never say that all values are equal.
        Operator::NotEq => None,
    }
}
