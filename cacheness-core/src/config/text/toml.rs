//! Reads TOML.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Node, Source, Table};
use crate::config::options::invalid;
use crate::config::value::{ConfigOrigin, ConfigValue, Odd, Scalar};
use crate::error::Result;

pub(super) fn parse(text: &str, file: Option<Arc<Path>>) -> Result<Table> {
    let source = Source { text, file };
    let document = DeTable::parse(text).map_err(|error| {
        let origin = source.origin(error.span().map_or(0, |span| span.start));
        // Only a name is shown: what stands in a value's place may be a secret.
        let at = match error.span().and_then(|span| text.get(span)) {
            Some(name) if error.message().contains("duplicate key") => format!(" `{name}`"),
            _ => String::new(),
        };
        invalid(&origin, format!("this is not TOML: {}{at}", error.message()))
    })?;
    Ok(table(document.get_ref(), &source))
}

/// The depth of what is nested is bounded by the parser.
fn table(from: &DeTable<'_>, source: &Source<'_>) -> Table {
    let mut table = Table::default();
    for (name, value) in from {
        let origin = source.origin(name.span().start);
        table.0.insert(name.get_ref().to_string(), node(value, origin, source));
    }
    table
}

fn node(value: &Spanned<DeValue<'_>>, origin: ConfigOrigin, source: &Source<'_>) -> Node {
    let scalar = match value.get_ref() {
        DeValue::Table(inner) => return Node::Table(table(inner, source), origin),
        DeValue::Boolean(value) => Scalar::Bool(*value),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Scalar::Int(number),
            Err(_) => Scalar::Odd(Odd::TooLargeNumber),
        },
        DeValue::Float(number) => Scalar::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::String(text) => Scalar::Text(text.to_string()),
        DeValue::Datetime(_) => Scalar::Odd(Odd::Date),
        DeValue::Array(_) => Scalar::Odd(Odd::List),
    };
    Node::Value(ConfigValue::new(scalar, origin))
}
