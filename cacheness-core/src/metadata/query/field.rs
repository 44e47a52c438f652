//! Custom fields in a query: what a field is compared with.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::FieldPath;
use crate::error::Result;
use crate::options::{Literal, Operator};

/// Names a custom field, to compare it: `field("region.city").eq("Oslo")`.
///
/// The text is a [`FieldPath`]; whether it is one is checked when it is used.
#[must_use]
pub fn field(path: impl Into<String>) -> Field {
    Field(path.into())
}

/// A custom field that is to be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field(String);

macro_rules! comparison {
    ($($(#[$doc:meta])* $name:ident => $operator:ident),* $(,)?) => {
        impl Field {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(self, value: impl Into<Literal>) -> FieldComparison {
                    FieldComparison { path: self.0, operator: Operator::$operator, value: value.into() }
                }
            )*
        }
    };
}

comparison! {
    /// The field equals this value.
    eq => Eq,
    /// The field differs from this value.
    not_eq => NotEq,
    /// The field is less than this value.
    lt => Lt,
    /// The field is at most this value.
    lt_eq => LtEq,
    /// The field is greater than this value.
    gt => Gt,
    /// The field is at least this value.
    gt_eq => GtEq,
}

/// One custom field compared with one value, as [`field`] makes it.
#[derive(Clone, PartialEq, Debug)]
pub struct FieldComparison {
    path: String,
    operator: Operator,
    value: Literal,
}

impl FieldComparison {
    pub(crate) fn check(self) -> Result<FieldCondition> {
        Ok(FieldCondition::new(FieldPath::new(self.path)?, self.operator, self.value))
    }
}

/// What must hold of one custom field.
///
/// - A field that is missing or null meets no condition.
/// - Numbers compare as numbers, exactly: `1` equals `1.0`. Texts compare by their bytes. False is less than true.
/// - A field of another type than the value, an array and an object differ from it, and are neither less nor greater.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct FieldCondition {
    /// Where the field stands.
    pub path: FieldPath,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub value: Literal,
}

impl FieldCondition {
    /// The field that stands there, compared so with this value.
    #[must_use]
    pub fn new(path: FieldPath, operator: Operator, value: impl Into<Literal>) -> Self {
        Self { path, operator, value: value.into() }
    }

    /// True where it holds of these custom fields.
    #[must_use]
    pub fn holds(&self, custom: &Map<String, Value>) -> bool {
        let Some(found) = self.path.get(custom).filter(|value| !value.is_null()) else { return false };
        let ordering = compare(found, &self.value);
        match self.operator {
            Operator::Eq => ordering == Some(Ordering::Equal),
            Operator::NotEq => ordering != Some(Ordering::Equal),
            Operator::Lt => ordering == Some(Ordering::Less),
            Operator::LtEq => ordering.is_some_and(Ordering::is_le),
            Operator::Gt => ordering == Some(Ordering::Greater),
            Operator::GtEq => ordering.is_some_and(Ordering::is_ge),
        }
    }
}

/// `None` where the two have no order.
fn compare(found: &Value, literal: &Literal) -> Option<Ordering> {
    match (found, literal) {
        (Value::Bool(found), Literal::Bool(wanted)) => Some(found.cmp(wanted)),
        (Value::String(found), Literal::Text(wanted)) => Some(found.as_str().cmp(wanted)),
        (Value::Number(found), Literal::Int(wanted)) => match whole(found) {
            Some(found) => Some(found.cmp(&i128::from(*wanted))),
            None => compare_to_float(i128::from(*wanted), found.as_f64()?).map(Ordering::reverse),
        },
        (Value::Number(found), Literal::Float(wanted)) => match whole(found) {
            Some(found) => compare_to_float(found, *wanted),
            None => found.as_f64()?.partial_cmp(wanted),
        },
        _ => None,
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Compares a whole number of up to 64 bits with a floating point number, without rounding the first.
fn compare_to_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // The cast stays at the ends of the range, beyond which no number of 64 bits lies.
    let floor = float.floor();
    let beyond = if float > floor { Ordering::Less } else { Ordering::Equal };
    Some(whole.cmp(&(floor as i128)).then(beyond))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn holds(custom: &Value, comparison: FieldComparison) -> bool {
        comparison.check().unwrap().holds(custom.as_object().unwrap())
    }

    #[test]
    fn values_compare_within_their_type() {
        let custom = json!({
            "int": 5, "float": 5.5, "big": u64::MAX, "text": "West", "yes": true, "null": null, "list": [1], "map": {}
        });
        for (comparison, expected) in [
            (field("int").eq(5), true),
            (field("int").eq(5.0), true),
            (field("int").lt(5.1), true),
            (field("int").gt_eq(5.1), false),
            (field("float").gt(5), true),
            (field("float").eq(5.5), true),
            (field("float").lt_eq(5), false),
            (field("big").gt(i64::MAX), true),
            (field("big").lt(2e19), true),
            (field("big").eq(18_446_744_073_709_551_615.0), false),
            (field("text").eq("West"), true),
            (field("text").not_eq("East"), true),
            (field("text").gt("East"), true),
            (field("text").eq("west"), false),
            (field("yes").eq(true), true),
            (field("yes").gt(false), true),
            (field("text").not_eq(5), true),
            (field("int").eq("5"), false),
            (field("int").lt("6"), false),
            (field("list").not_eq(1), true),
            (field("map").eq(1), false),
            (field("null").not_eq(1), false),
            (field("null").eq(1), false),
            (field("missing").not_eq(1), false),
            (field("int").eq(f64::NAN), false),
            (field("int").lt(f64::NAN), false),
            (field("int").lt(f64::INFINITY), true),
            (field("int").gt(f64::NEG_INFINITY), true),
        ] {
            assert_eq!(holds(&custom, comparison.clone()), expected, "{comparison:?}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_and_floats_compare_exactly(whole: i64, near in -3_i64..3, part in 0..4_u8) {
            let float = whole.saturating_add(near) as f64 + f64::from(part) / 4.0;
            // A float of this size is a whole number of quarters, which fits.
            let exact = (i128::from(whole) * 4).partial_cmp(&((float * 4.0) as i128));
            prop_assert_eq!(compare_to_float(i128::from(whole), float), exact);
        }
    }
}
