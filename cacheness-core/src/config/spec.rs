//! What options there are: their names, what they hold, their defaults, and what they do.

use std::fmt;
use std::time::Duration;

use super::spelling::{list, nearest};
use super::units::{format_duration, format_size};
use super::value::{ConfigOrigin, ConfigValue, Odd, Scalar};

/// An option that a factory, or the cache itself, takes.
///
/// ```
/// use cacheness_core::{OptionKind, OptionSpec};
/// use std::time::Duration;
///
/// const TIMEOUT: OptionSpec = OptionSpec::new(
///     "timeout",
///     OptionKind::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
///     Some("30s"),
///     "How long a call waits for the server.",
/// );
/// const PASSWORD: OptionSpec =
///     OptionSpec::new("password", OptionKind::Text, None, "The password.").secret().required();
/// assert!(PASSWORD.secret && TIMEOUT.default == Some("30s"));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OptionSpec {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: OptionKind,
    /// What it is when it is not given, as a text that can be read as its kind; `None` where there is no such
    /// value.
    pub default: Option<&'static str>,
    /// What happens when it is not given, in words, where `default` does not say it.
    pub otherwise: Option<&'static str>,
    /// True for a path whose default lies in the cache's folder. Without a folder it must be given.
    pub in_folder: bool,
    /// True where it must be given.
    pub required: bool,
    /// True where its value must not be shown.
    pub secret: bool,
    /// A word that it takes beside what its kind says, such as `unlimited`.
    pub word: Option<&'static str>,
    /// A value to show in the documentation, where the default does not make a good one.
    pub example: Option<&'static str>,
    /// What it does, in one sentence.
    pub help: &'static str,
}

impl OptionSpec {
    /// Describes an option. `default` is the value that it has when it is not given, as one would write it in a
    /// variable: `4`, `true`, `30s`, `16 MiB`.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: OptionKind,
        default: Option<&'static str>,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            otherwise: None,
            in_folder: false,
            required: false,
            secret: false,
            word: None,
            example: None,
            help,
        }
    }

    /// Says in words what happens when the option is not given.
    #[must_use]
    pub const fn otherwise(mut self, words: &'static str) -> Self {
        self.otherwise = Some(words);
        self
    }

    /// Says that the default is a path in the cache's folder, and that a cache without one must give the option.
    #[must_use]
    pub const fn in_folder(mut self) -> Self {
        self.in_folder = true;
        self
    }

    /// Says that the option must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Says that the value must not be shown in messages and printed configurations.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Adds a word that is taken as well.
    #[must_use]
    pub const fn or_word(mut self, word: &'static str) -> Self {
        self.word = Some(word);
        self
    }

    /// Gives a value to show in the documentation.
    #[must_use]
    pub const fn example(mut self, value: &'static str) -> Self {
        self.example = Some(value);
        self
    }

    /// What the option takes, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self.word {
            Some(word) => format!("{}, or \"{word}\"", self.kind),
            None => self.kind.to_string(),
        }
    }

    /// The value that it has when it is not given.
    #[must_use]
    pub fn default_value(&self) -> Option<ConfigValue> {
        self.default.map(|text| self.value(text))
    }

    /// A text as the value that one would write in a file: numbers and truth values without quotes.
    #[must_use]
    pub fn value(&self, text: &str) -> ConfigValue {
        let value = ConfigValue::from(text);
        let scalar = match self.kind {
            OptionKind::Bool => value.as_bool().map(Scalar::Bool),
            OptionKind::Int { .. } => value.as_int().map(Scalar::Int),
            _ => None,
        };
        ConfigValue { scalar: scalar.unwrap_or(Scalar::Text(text.to_owned())), ..value }
    }

    /// Says what is wrong with a value, or nothing.
    pub(super) fn complaint(&self, path: &str, value: &ConfigValue) -> Option<String> {
        if self.word.is_some() && value.as_text().map(str::trim) == self.word || self.kind.holds(value) {
            return None;
        }
        match value.scalar {
            Scalar::Odd(odd @ (Odd::List | Odd::Date)) => {
                let instead = if odd == Odd::List { "give one value" } else { "for a text, write quotes" };
                return Some(format!("`{path}` is {odd}, and no option takes one; {instead}"));
            }
            Scalar::Odd(Odd::Null) => {
                let message = "is null, and no option takes it; leave the option out instead";
                return Some(format!("`{path}` {message}"));
            }
            _ => {}
        }
        let given = match (&value.template, self.secret || value.secret) {
            (_, true) => "something else (hidden)".to_owned(),
            (Some(template), false) => {
                format!("{}, which is {},", super::value::quoted(template), value.to_toml())
            }
            (None, false) => value.to_toml(),
        };
        let hint = self.hint(value);
        Some(format!("`{path}` takes {}, but {given} was given{hint}", self.allowed()))
    }

    /// What was probably meant.
    fn hint(&self, value: &ConfigValue) -> String {
        match (self.kind, &value.scalar) {
            (_, _) if self.secret || value.secret => String::new(),
            (OptionKind::Duration { .. }, Scalar::Int(number)) if *number >= 0 => {
                format!("; add a unit, \"{number}s\" for seconds")
            }
            (OptionKind::Duration { .. }, Scalar::Text(number)) if number.trim().parse::<u64>().is_ok() => {
                format!("; add a unit, \"{}s\" for seconds", number.trim())
            }
            (OptionKind::Text | OptionKind::Path, Scalar::Text(_)) | (_, Scalar::Odd(Odd::Table)) => {
                String::new()
            }
            (OptionKind::Text | OptionKind::Path, _) if value.origin != ConfigOrigin::Program => {
                "; write it in quotes".to_owned()
            }
            (OptionKind::Choice(names), Scalar::Text(given)) => nearest(&given.to_lowercase(), names),
            (OptionKind::Bool, Scalar::Text(_) | Scalar::Int(_)) => {
                "; 1, 0, yes and no are not taken".to_owned()
            }
            (_, Scalar::Text(given)) => match self.word {
                Some(word) => nearest(&given.to_lowercase(), &[word]),
                None => String::new(),
            },
            _ => String::new(),
        }
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
    /// A size in bytes in this range, both ends included: `4096`, `"512 MiB"`, `"1GB"`. The most is `i64::MAX`.
    Size {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A time in this range, both ends included: `"250ms"`, `"90s"`, `"1h 30m"`.
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text.
    Text,
    /// A path. A relative one that stands in a file counts from the file's folder; any other counts from the cache's
    /// folder, or from the working folder where there is none.
    Path,
}

impl OptionKind {
    /// A time of any length.
    pub const ANY_DURATION: Self = Self::Duration { min: Duration::ZERO, max: Duration::MAX };

    /// A size of any number of bytes.
    pub const ANY_SIZE: Self = Self::Size { min: 0, max: i64::MAX as u64 };

    /// True where the value is of this kind and in its range.
    #[must_use]
    pub fn holds(&self, value: &ConfigValue) -> bool {
        match *self {
            Self::Bool => value.as_bool().is_some(),
            Self::Int { min, max } => value.as_int().is_some_and(|value| (min..=max).contains(&value)),
            Self::Size { min, max } => value.as_size().is_some_and(|value| (min..=max).contains(&value)),
            Self::Duration { min, max } => {
                value.as_duration().is_some_and(|value| (min..=max).contains(&value))
            }
            Self::Choice(names) => value.as_text().is_some_and(|value| names.contains(&value.trim())),
            Self::Text => value.as_text().is_some(),
            Self::Path => value.as_text().is_some_and(|path| !path.is_empty()),
        }
    }
}

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bool => f.write_str("true or false"),
            Self::Int { min, max: i64::MAX } => write!(f, "a whole number from {min}"),
            Self::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Size { min: 0, max } if max >= i64::MAX as u64 => {
                f.write_str("a size such as \"512 MiB\" or a number of bytes")
            }
            Self::Size { min, max } => {
                let (min, max) = (format_size(min), format_size(max));
                write!(f, "a size such as \"512 MiB\" or a number of bytes, from {min} to {max}")
            }
            Self::Duration { min: Duration::ZERO, max: Duration::MAX } => {
                f.write_str("a time such as \"90s\" or \"1h 30m\"")
            }
            Self::Duration { min, max } => {
                let (min, max) = (format_duration(min), format_duration(max));
                write!(f, "a time such as \"90s\" or \"1h 30m\", from {min} to {max}")
            }
            Self::Choice(names) => write!(f, "one of {}", list(names)),
            Self::Text => f.write_str("a text"),
            Self::Path => f.write_str("a path that is not empty"),
        }
    }
}
