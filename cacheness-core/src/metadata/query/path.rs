//! Where a custom field stands in an entry's JSON.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// A place in an entry's custom fields: names and array indexes, such as `region.city` or `items[0].price`.
///
/// ```text
/// path = [ "$." ] name { step } | [ "$" ] "[" text "]" { step }
/// step = "." name | "[" index "]" | "[" text "]"
/// ```
///
/// - A name is one or more characters other than `.`, `[`, `]`, `*`, `"` and `'`.
/// - An index is a decimal number from 0, which counts the elements of an array.
/// - A text is a name in double quotes, written as a JSON string, for names with other characters: `["a.b"]`.
/// - A path has at most 1,024 bytes. `$.` or `$` at the beginning stands for all custom fields and changes nothing.
///
/// There are no wildcards, slices, filters or negative indexes.
///
/// ```
/// use cacheness_core::FieldPath;
/// use serde_json::json;
///
/// let custom = json!({"region": {"city": "Oslo"}, "items": [{"price": 7}], "a.b": true});
/// let custom = custom.as_object().unwrap();
/// let at = |path: &str| FieldPath::new(path).map(|path| path.get(custom).cloned());
/// assert_eq!(at("region.city")?, Some(json!("Oslo")));
/// assert_eq!(at("$.items[0].price")?, Some(json!(7)));
/// assert_eq!(at(r#"["a.b"]"#)?, Some(json!(true)));
/// assert_eq!(at("items[1]")?, None);
/// assert!(at("region..city").is_err());
/// # Ok::<(), cacheness_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldPath {
    text: String,
    steps: Vec<FieldStep>,
}

/// One step of a [`FieldPath`].
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldStep {
    /// Into the field of an object.
    Name(String),
    /// Into the element of an array, counted from 0.
    Index(usize),
}

impl FieldPath {
    /// The longest path, in bytes.
    pub const MAX_LEN: usize = 1_024;

    /// Reads a path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a text that is no path, [`ErrorKind::LimitExceeded`] for one over 1,024 bytes.
    pub fn new(path: impl Into<String>) -> Result<Self> {
        let text = path.into();
        if text.len() > Self::MAX_LEN {
            let message = format!("a path has at most {} bytes; this one has {}", Self::MAX_LEN, text.len());
            return Err(Error::new(ErrorKind::LimitExceeded, message).with_context("path", text));
        }
        match parse(&text) {
            Ok(steps) => Ok(Self { text, steps }),
            Err(what) => {
                let message = format!("the path to a custom field is malformed: {what}");
                Err(Error::new(ErrorKind::InvalidInput, message).with_context("path", text))
            }
        }
    }

    /// The path as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The steps, outermost first. There is at least one, and the first is a name.
    #[must_use]
    pub fn steps(&self) -> &[FieldStep] {
        &self.steps
    }

    /// What stands there; `None` where a step leads nowhere.
    #[must_use]
    pub fn get<'v>(&self, custom: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.steps.split_first()?;
        let FieldStep::Name(first) = first else { return None };
        rest.iter().try_fold(custom.get(first)?, |value, step| match step {
            FieldStep::Name(name) => value.as_object()?.get(name),
            FieldStep::Index(index) => value.as_array()?.get(*index),
        })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse(text: &str) -> Result<Vec<FieldStep>, &'static str> {
    let mut steps = Vec::new();
    let mut rest = match text.strip_prefix('$') {
        Some(after) if after.starts_with('[') => after,
        Some(after) if after.starts_with('.') => &after[1..],
        _ => text,
    };
    loop {
        let step;
        (step, rest) = if rest.starts_with('[') { brackets(rest)? } else { name(rest)? };
        if steps.is_empty() && matches!(step, FieldStep::Index(_)) {
            return Err("it begins with the name of a field");
        }
        steps.push(step);
        rest = match rest.chars().next() {
            None => return Ok(steps),
            Some('[') => rest,
            Some('.') if !rest.starts_with(".[") => &rest[1..],
            Some(_) => return Err("a step is followed by `.` and a name, or by brackets"),
        };
    }
}

fn name(rest: &str) -> Result<(FieldStep, &str), &'static str> {
    let (name, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
    if name.is_empty() {
        return Err("a name is missing");
    }
    if name.contains([']', '*', '"', '\'']) {
        return Err("a name with one of ]*\"' in it is written in brackets and quotes, as in [\"a*b\"]");
    }
    Ok((FieldStep::Name(name.to_owned()), after))
}

/// Reads an index or a quoted name; `rest` begins with the opening bracket.
fn brackets(rest: &str) -> Result<(FieldStep, &str), &'static str> {
    let inside = &rest[1..];
    let (step, after) = if inside.starts_with('"') {
        let mut texts = serde_json::Deserializer::from_str(inside).into_iter::<String>();
        let Some(Ok(name)) = texts.next() else { return Err("the text in brackets is no JSON string") };
        (FieldStep::Name(name), inside.get(texts.byte_offset()..).unwrap_or_default())
    } else {
        let (digits, after) =
            inside.split_at(inside.find(|c: char| !c.is_ascii_digit()).unwrap_or(inside.len()));
        let index = digits.parse().map_err(
            |_| "brackets hold the number of an element, from 0, or a name in double quotes, as in [\"a.b\"]",
        )?;
        (FieldStep::Index(index), after)
    };
    Ok((step, after.strip_prefix(']').ok_or("a `[` is not closed")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_finds_what_stands_there() {
        let custom = json!({
            "region": {"city": "Oslo", "a.b": {"]": 1}}, "items": [[1, 2], {"price": 7}], "$": 2, "ä b": 3, "": 4, "0": 5,
            "$x": 6,
        });
        for (path, expected) in [
            ("region.city", Some(json!("Oslo"))),
            ("$.region.city", Some(json!("Oslo"))),
            (r#"region["city"]"#, Some(json!("Oslo"))),
            (r#"$["region"]["a.b"]["]"]"#, Some(json!(1))),
            ("items[0][1]", Some(json!(2))),
            ("items[1].price", Some(json!(7))),
            ("items[01].price", Some(json!(7))),
            ("items[2]", None),
            ("items.price", None),
            ("items.0", None),
            ("region[0]", None),
            ("$", Some(json!(2))),
            ("$x", Some(json!(6))),
            ("$.$", Some(json!(2))),
            ("ä b", Some(json!(3))),
            (r#"[""]"#, Some(json!(4))),
            ("0", Some(json!(5))),
            (r#"["\u0024"]"#, Some(json!(2))),
            ("missing.city", None),
        ] {
            let found = FieldPath::new(path).unwrap().get(custom.as_object().unwrap()).cloned();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_and_named() {
        for path in [
            "",
            ".",
            "$.",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[]",
            "a[-1]",
            "a[1",
            "a[x]",
            "a[1]b",
            "a.[0]",
            "[0]",
            "$[0]",
            "a*",
            "*",
            "a[*]",
            "a'b",
            "a]",
            r#"["a]"#,
            r#"["a""#,
            r#"["a"x]"#,
            "a[99999999999999999999999]",
            "a[1:2]",
            "a[?(@.b)]",
        ] {
            let error = FieldPath::new(path).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
            assert!(error.context().any(|context| context == ("path", path)), "{error}");
        }
        assert_eq!(FieldPath::new("a".repeat(1_025)).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error(path in "[$.\\[\\]\"'*a0\\\\ ]{0,12}") {
            if let Ok(path) = FieldPath::new(path) {
                prop_assert!(path.get(&Map::new()).is_none());
            }
        }
    }
}
