//! The options of backends, as a configuration gives them, checked against the list that each factory states.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

/// A value in a configuration.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub enum ConfigValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

impl From<bool> for ConfigValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ConfigValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for ConfigValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for ConfigValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// An option that a factory takes.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub struct OptionSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: OptionKind,
    /// What it is when it is not given, in words; `None` where that is decided elsewhere.
    pub default: Option<&'static str>,
    /// What it does, in one sentence.
    pub help: &'static str,
}

impl OptionSpec {
    /// Describes an option.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: OptionKind,
        default: Option<&'static str>,
        help: &'static str,
    ) -> Self {
        Self { name, kind, default, help }
    }
}

/// What an option holds.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionKind {
    /// A truth value.
    Bool,
    /// A whole number in this range, both ends included.
    Int {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// A text.
    Text,
    /// A path; a relative one counts from the cache's folder, or from the working folder where there is none.
    Path,
}

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("true or false"),
            Self::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Text => f.write_str("a text"),
            Self::Path => f.write_str("a path"),
        }
    }
}

/// The options given for one backend.
///
/// ```
/// use cacheness_core::ConfigOptions;
///
/// let options = ConfigOptions::new().with("readers", 4_i64);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConfigOptions(BTreeMap<String, ConfigValue>);

impl ConfigOptions {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an option; a later value of the same name replaces an earlier one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<ConfigValue>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Checks every option against what the factory takes.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for an option that is unknown, of another kind or out of its range. The
    /// message names the backend, the option, what was given, and what is allowed.
    pub fn check(&self, backend: &str, specs: &[OptionSpec]) -> Result<()> {
        for (name, value) in &self.0 {
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                return Err(unknown(backend, name, specs));
            };
            let fits = match (spec.kind, value) {
                (OptionKind::Bool, ConfigValue::Bool(_)) => true,
                (OptionKind::Int { min, max }, ConfigValue::Int(value)) => (min..=max).contains(value),
                (OptionKind::Text | OptionKind::Path, ConfigValue::Text(_)) => true,
                _ => false,
            };
            if !fits {
                let message =
                    format!("option `{name}` of `{backend}` is {}, but {value} was given", spec.kind);
                return Err(Error::new(ErrorKind::ConfigInvalid, message));
            }
        }
        Ok(())
    }

    /// A truth value, where it was given.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(ConfigValue::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A whole number, where it was given.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(ConfigValue::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text, where it was given.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(ConfigValue::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// A path, where it was given.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }
}

fn unknown(backend: &str, name: &str, specs: &[OptionSpec]) -> Error {
    let known: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
    let message = match known.as_slice() {
        [] => format!("`{backend}` has no option `{name}`; it takes none"),
        known => format!("`{backend}` has no option `{name}`; it takes {}", list(known)),
    };
    Error::new(ErrorKind::ConfigInvalid, format!("{message}{}", nearest(name, &known)))
}

/// Names in backticks, separated by commas.
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A hint at the name that was probably meant, or nothing.
pub(crate) fn nearest(name: &str, known: &[&str]) -> String {
    let best = known.iter().map(|known| (distance(name, known), known)).min();
    match best {
        Some((distance, known)) if distance <= known.len() / 3 + 1 => format!("; did you mean `{known}`?"),
        _ => String::new(),
    }
}

/// The Levenshtein distance: how many characters must be changed, added or dropped.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: [OptionSpec; 2] = [
        OptionSpec::new("readers", OptionKind::Int { min: 1, max: 64 }, Some("4"), "Connections that read."),
        OptionSpec::new("path", OptionKind::Path, None, "The file."),
    ];

    #[test]
    fn an_unknown_option_is_named_with_the_nearest_one() {
        let error = ConfigOptions::new().with("reader", 3_i64).check("sqlite", &SPECS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid configuration: `sqlite` has no option `reader`; it takes `readers`, `path`; \
             did you mean `readers`?"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_or_range_says_what_is_allowed() {
        let message = |options: ConfigOptions| options.check("sqlite", &SPECS).unwrap_err().to_string();
        assert!(
            message(ConfigOptions::new().with("readers", 65_i64))
                .contains("a whole number from 1 to 64, but 65 was given")
        );
        assert!(message(ConfigOptions::new().with("path", true)).contains("is a path, but true was given"));
        ConfigOptions::new().with("readers", 64_i64).with("path", "x").check("sqlite", &SPECS).unwrap();
    }
}
