//! A value of a configuration, and where it came from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Secret;
use super::units;

/// A value in a configuration: a truth value, a number or a text. There is no null: what is not given is absent.
///
/// It knows where it came from. A text that can be read as what an option holds will do for it, because variables
/// hold nothing else: `"4"` for a number, `"true"` for a truth value.
///
/// Two values are equal where they say the same, wherever they came from. `Debug` shows no text, which may be a
/// password.
#[derive(Clone)]
pub struct ConfigValue {
    pub(super) scalar: Scalar,
    pub(super) origin: ConfigOrigin,
    /// A text as it was written, where `${…}` in it was filled in.
    pub(super) template: Option<String>,
    /// True for a [`Secret`], which is hidden also where the option is not known to be one.
    pub(super) secret: bool,
}

#[derive(Clone, PartialEq)]
pub(super) enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    #[cfg_attr(not(feature = "config"), expect(dead_code, reason = "only files hold such"))]
    Odd(Odd),
}

/// What stands in the place of a value and is none that any option takes. It is kept until it is known whose it is:
/// an option that nobody knows may be left out, whatever it holds.
#[cfg_attr(not(feature = "config"), expect(dead_code, reason = "only files hold such"))]
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Odd {
    List,
    Table,
    Null,
    Date,
    /// Its digits are not kept, because they may be a password without its quotes.
    TooLargeNumber,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "a list",
            Self::Table => "a table",
            Self::Null => "null",
            Self::Date => "a date",
            Self::TooLargeNumber => "a number that is too large",
        })
    }
}

/// Where a value came from.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ConfigOrigin {
    /// The program.
    #[default]
    Program,
    /// A file, or a text without one, and the line in it, from 1.
    Text {
        /// The file, as the caller named it.
        file: Option<Arc<Path>>,
        /// The line.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("set by the program"),
            Self::Text { file: Some(file), line } => write!(f, "{}, line {line}", file.display()),
            Self::Text { file: None, line } => write!(f, "line {line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
        }
    }
}

impl ConfigValue {
    pub(super) fn new(scalar: Scalar, origin: ConfigOrigin) -> Self {
        Self { scalar, origin, template: None, secret: false }
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &ConfigOrigin {
        &self.origin
    }

    /// A truth value, where it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match &self.scalar {
            Scalar::Bool(value) => Some(*value),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Int(_) | Scalar::Float(_) | Scalar::Odd(_) => None,
        }
    }

    /// A whole number, where it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match &self.scalar {
            Scalar::Int(value) => Some(*value),
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Bool(_) | Scalar::Float(_) | Scalar::Odd(_) => None,
        }
    }

    /// A size in bytes, where it is one: a number, or a text such as `512 MiB` or `1GB`.
    #[must_use]
    pub fn as_size(&self) -> Option<u64> {
        match &self.scalar {
            Scalar::Int(value) => u64::try_from(*value).ok(),
            Scalar::Text(text) => units::parse_size(text),
            Scalar::Bool(_) | Scalar::Float(_) | Scalar::Odd(_) => None,
        }
    }

    /// A time, where it is one: a text such as `90s`, `250ms` or `1h 30m`.
    #[must_use]
    pub fn as_duration(&self) -> Option<Duration> {
        self.as_text().and_then(units::parse_duration)
    }

    /// The text, where it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.scalar {
            Scalar::Text(text) => Some(text),
            Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) | Scalar::Odd(_) => None,
        }
    }

    /// The text as a secret, where it is one.
    #[must_use]
    pub fn as_secret(&self) -> Option<Secret> {
        self.as_text().map(Secret::new)
    }

    /// The path, where the value is a text. A relative one that stands in a file counts from the file's folder.
    #[must_use]
    pub fn as_path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.as_text()?);
        let ConfigOrigin::Text { file: Some(file), .. } = &self.origin else { return Some(path) };
        let base = file.parent().unwrap_or_else(|| Path::new(""));
        let joined = base.join(path);
        // It fails only where the working folder is gone; then nothing is better than the path as it is.
        Some(std::path::absolute(&joined).unwrap_or(joined))
    }

    /// The value as TOML, for messages and for printing.
    pub(super) fn to_toml(&self) -> String {
        match &self.scalar {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Int(value) => value.to_string(),
            // `{:?}` keeps the decimal point, without which it would be read back as a whole number.
            Scalar::Float(value) => format!("{value:?}"),
            Scalar::Text(text) => quoted(text),
            Scalar::Odd(odd) => odd.to_string(),
        }
    }
}

/// A text as a basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl PartialEq for ConfigValue {
    fn eq(&self, other: &Self) -> bool {
        self.scalar == other.scalar
    }
}

impl fmt::Debug for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scalar {
            _ if self.secret => f.write_str("(hidden)")?,
            Scalar::Bool(value) => write!(f, "{value}")?,
            Scalar::Int(value) => write!(f, "{value}")?,
            Scalar::Float(value) => write!(f, "{value}")?,
            Scalar::Text(_) => f.write_str("text")?,
            Scalar::Odd(odd) => write!(f, "{odd}")?,
        }
        write!(f, " ({})", self.origin)
    }
}

impl From<bool> for ConfigValue {
    fn from(value: bool) -> Self {
        Self::new(Scalar::Bool(value), ConfigOrigin::Program)
    }
}

impl From<i64> for ConfigValue {
    fn from(value: i64) -> Self {
        Self::new(Scalar::Int(value), ConfigOrigin::Program)
    }
}

impl From<f64> for ConfigValue {
    fn from(value: f64) -> Self {
        Self::new(Scalar::Float(value), ConfigOrigin::Program)
    }
}

impl From<&str> for ConfigValue {
    fn from(value: &str) -> Self {
        value.to_owned().into()
    }
}

impl From<String> for ConfigValue {
    fn from(value: String) -> Self {
        Self::new(Scalar::Text(value), ConfigOrigin::Program)
    }
}

impl From<Duration> for ConfigValue {
    fn from(value: Duration) -> Self {
        units::format_duration(value).into()
    }
}

impl From<Secret> for ConfigValue {
    /// The value stays hidden in messages and printed configurations, also of an option that is not a secret.
    fn from(value: Secret) -> Self {
        Self { secret: true, ..value.expose().into() }
    }
}
