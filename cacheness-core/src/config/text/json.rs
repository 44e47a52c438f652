//! Reads JSON.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::tree::{Node, Source, Table};
use crate::config::options::{invalid, path as join_path};
use crate::config::value::{ConfigOrigin, ConfigValue, Odd, Scalar};
use crate::error::{Error, Result};

/// Deeper than any configuration is; each level is parsed once more than the one around it.
const MAX_DEPTH: usize = 8;

pub(super) fn parse(text: &str, file: Option<Arc<Path>>) -> Result<Table> {
    let source = Source { text, file };
    let members = serde_json::from_str(text).map_err(|error| not_json(&error, &source))?;
    table(members, "", &source, MAX_DEPTH)
}

fn not_json(error: &serde_json::Error, source: &Source<'_>) -> Error {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    invalid(&source.line(error.line()), format!("this is not a JSON object: {message}"))
}

/// The members of an object, in their order, as pieces of the text: where they begin tells their lines.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn table(members: Members<'_>, path: &str, source: &Source<'_>, depth: usize) -> Result<Table> {
    let mut table = Table::default();
    for (name, value) in members.0 {
        // A piece of the text begins behind the text's own beginning.
        let offset = (value.get().as_ptr() as usize).saturating_sub(source.text.as_ptr() as usize);
        let origin = source.origin(offset);
        let path = join_path(path, &name);
        let node = node(value, &path, origin.clone(), source, depth)?;
        if table.0.insert(name, node).is_some() {
            return Err(invalid(&origin, format!("`{path}` is given a second time; leave one of the two")));
        }
    }
    Ok(table)
}

fn node(
    value: &RawValue,
    path: &str,
    origin: ConfigOrigin,
    source: &Source<'_>,
    depth: usize,
) -> Result<Node> {
    let text = value.get();
    let scalar = match text.as_bytes().first() {
        Some(b'{') if depth == 0 => Scalar::Odd(Odd::Table),
        Some(b'{') => {
            let members = serde_json::from_str(text).map_err(|error| not_json(&error, source))?;
            return Ok(Node::Table(table(members, path, source, depth - 1)?, origin));
        }
        Some(b'[') => Scalar::Odd(Odd::List),
        Some(b'n') => Scalar::Odd(Odd::Null),
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'"') => Scalar::Text(serde_json::from_str(text).map_err(|error| not_json(&error, source))?),
        _ => match (text.parse(), text.parse()) {
            (Ok(number), _) => Scalar::Int(number),
            (_, Ok(number)) if text.contains(['.', 'e', 'E']) => Scalar::Float(number),
            _ => Scalar::Odd(Odd::TooLargeNumber),
        },
    };
    Ok(Node::Value(ConfigValue::new(scalar, origin)))
}
