//! Reads TOML.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Node, Source, Table};
use crate::config::options::{invalid, path as join_path};
use crate::config::value::{ConfigOrigin, ConfigValue, Scalar};
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
    table(document.get_ref(), "", &source)
}

/// The depth of what is nested is bounded by the parser.
fn table(from: &DeTable<'_>, path: &str, source: &Source<'_>) -> Result<Table> {
    let mut table = Table::default();
    for (name, value) in from {
        let origin = source.origin(name.span().start);
        let name = name.get_ref();
        let node = node(value, &join_path(path, name), origin, source)?;
        table.0.insert(name.to_string(), node);
    }
    Ok(table)
}

fn node(value: &Spanned<DeValue<'_>>, path: &str, origin: ConfigOrigin, source: &Source<'_>) -> Result<Node> {
    let scalar = match value.get_ref() {
        DeValue::Table(inner) => return Ok(Node::Table(table(inner, path, source)?, origin)),
        DeValue::Boolean(value) => Scalar::Bool(*value),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Scalar::Int(number),
            Err(_) => return Err(invalid(&origin, format!("`{path}` is {number}, which is too large"))),
        },
        DeValue::Float(number) => Scalar::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::String(text) => Scalar::Text(text.to_string()),
        DeValue::Datetime(_) => {
            return Err(invalid(
                &origin,
                format!("`{path}` is a date, and no option takes one; for a text, write quotes"),
            ));
        }
        DeValue::Array(_) => {
            return Err(invalid(
                &origin,
                format!("`{path}` is a list, and no option takes one; give one value"),
            ));
        }
    };
    Ok(Node::Value(ConfigValue::new(scalar, origin)))
}
