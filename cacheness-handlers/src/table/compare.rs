//! Comparing the values of one column with one literal.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayAccessor, BooleanArray};
use arrow_schema::{DataType, Field};
use arrow_select::take::take;
use cacheness_core::{Comparison, Error, ErrorKind, Literal, Operator, Result};

use super::decode_error;

/// Fails unless the values of this column can be compared with this literal.
pub(crate) fn check_comparable(field: &Field, comparison: &Comparison) -> Result<()> {
    let values = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let fits = match &comparison.value {
        Literal::Bool(_) => matches!(values, DataType::Boolean),
        Literal::Int(_) | Literal::Float(_) => values.is_integer() || values.is_floating(),
        Literal::Text(_) => matches!(values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View),
    };
    if fits {
        return Ok(());
    }
    let message = format!(
        "the column `{}` holds {}, which cannot be compared with {:?}",
        field.name(),
        field.data_type(),
        comparison.value
    );
    Err(Error::new(ErrorKind::InvalidInput, message))
}

/// For each row whether the comparison holds; null where the row is null.
///
/// Numbers are compared by their exact values, whatever their types. NaN equals nothing and has no order, so only
/// [`Operator::NotEq`] holds for it.
pub(crate) fn matches(array: &dyn Array, operator: Operator, literal: &Literal) -> Result<BooleanArray> {
    let result = match (array.data_type(), literal) {
        (DataType::Boolean, Literal::Bool(wanted)) => {
            hold(array.as_boolean(), operator, |value| Some(value.cmp(wanted)))
        }
        (DataType::Utf8, Literal::Text(wanted)) => {
            hold(array.as_string::<i32>(), operator, |value| Some(value.cmp(wanted)))
        }
        (DataType::LargeUtf8, Literal::Text(wanted)) => {
            hold(array.as_string::<i64>(), operator, |value| Some(value.cmp(wanted)))
        }
        (DataType::Utf8View, Literal::Text(wanted)) => {
            hold(array.as_string_view(), operator, |value| Some(value.cmp(wanted)))
        }
        (DataType::Int8, _) => integers::<Int8Type>(array, operator, literal)?,
        (DataType::Int16, _) => integers::<Int16Type>(array, operator, literal)?,
        (DataType::Int32, _) => integers::<Int32Type>(array, operator, literal)?,
        (DataType::Int64, _) => integers::<Int64Type>(array, operator, literal)?,
        (DataType::UInt8, _) => integers::<UInt8Type>(array, operator, literal)?,
        (DataType::UInt16, _) => integers::<UInt16Type>(array, operator, literal)?,
        (DataType::UInt32, _) => integers::<UInt32Type>(array, operator, literal)?,
        (DataType::UInt64, _) => integers::<UInt64Type>(array, operator, literal)?,
        (DataType::Float16, _) => floats::<Float16Type>(array, operator, literal)?,
        (DataType::Float32, _) => floats::<Float32Type>(array, operator, literal)?,
        (DataType::Float64, _) => floats::<Float64Type>(array, operator, literal)?,
        (DataType::Dictionary(..), _) => {
            let dictionary = array.as_any_dictionary();
            let of_values = matches(dictionary.values(), operator, literal)?;
            let of_rows = take(&of_values, dictionary.keys(), None).map_err(decode_error)?;
            of_rows.as_boolean().clone()
        }
        _ => return Err(incomparable(array, literal)),
    };
    Ok(result)
}

fn integers<T>(array: &dyn Array, operator: Operator, literal: &Literal) -> Result<BooleanArray>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let array = array.as_primitive::<T>();
    match literal {
        Literal::Int(wanted) => {
            let wanted = i128::from(*wanted);
            Ok(hold(array, operator, |value| Some(value.into().cmp(&wanted))))
        }
        Literal::Float(wanted) => Ok(hold(array, operator, |value| compare(value.into(), *wanted))),
        _ => Err(incomparable(array, literal)),
    }
}

fn floats<T>(array: &dyn Array, operator: Operator, literal: &Literal) -> Result<BooleanArray>
where
    T: ArrowPrimitiveType,
    T::Native: Into<f64>,
{
    let array = array.as_primitive::<T>();
    match literal {
        Literal::Float(wanted) => Ok(hold(array, operator, |value| value.into().partial_cmp(wanted))),
        Literal::Int(wanted) => {
            let wanted = i128::from(*wanted);
            Ok(hold(array, operator, |value| compare(wanted, value.into()).map(Ordering::reverse)))
        }
        _ => Err(incomparable(array, literal)),
    }
}

/// Compares an integer of at most 64 bits with a float, without rounding either of them.
fn compare(integer: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // The cast saturates, and every integer of 64 bits lies far inside.
    let floor = float.floor();
    let whole = floor as i128;
    Some(integer.cmp(&whole).then(if float > floor { Ordering::Less } else { Ordering::Equal }))
}

fn hold<A: ArrayAccessor>(
    array: A,
    operator: Operator,
    order: impl Fn(A::Item) -> Option<Ordering>,
) -> BooleanArray {
    BooleanArray::from_unary(array, |value| {
        let order = order(value);
        match operator {
            Operator::Eq => order == Some(Ordering::Equal),
            Operator::NotEq => order != Some(Ordering::Equal),
            Operator::Lt => order == Some(Ordering::Less),
            Operator::LtEq => order.is_some_and(Ordering::is_le),
            Operator::Gt => order == Some(Ordering::Greater),
            Operator::GtEq => order.is_some_and(Ordering::is_ge),
        }
    })
}

fn incomparable(array: &dyn Array, literal: &Literal) -> Error {
    let message = format!("{} cannot be compared with {literal:?}", array.data_type());
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_exactly() {
        let big = (1_i128 << 53) + 1;
        assert_eq!(compare(big, (1_i64 << 53) as f64), Some(Ordering::Greater));
        assert_eq!(compare(i128::from(u64::MAX), 18_446_744_073_709_551_616.0), Some(Ordering::Less));
        assert_eq!(compare(2, 2.5), Some(Ordering::Less));
        assert_eq!(compare(3, 2.5), Some(Ordering::Greater));
        assert_eq!(compare(-3, -2.5), Some(Ordering::Less));
        assert_eq!(compare(-2, -2.5), Some(Ordering::Greater));
        assert_eq!(compare(0, -0.0), Some(Ordering::Equal));
        assert_eq!(compare(i128::from(i64::MIN), f64::NEG_INFINITY), Some(Ordering::Greater));
        assert_eq!(compare(i128::from(u64::MAX), f64::INFINITY), Some(Ordering::Less));
        assert_eq!(compare(1, f64::NAN), None);
    }
}
