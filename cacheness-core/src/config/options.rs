//! The options given for one backend.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::cache_options::{CACHE_OPTIONS, UnknownOptions};
use super::spec::OptionSpec;
use super::spelling::{list, nearest};
use super::value::{ConfigOrigin, ConfigValue, Scalar};
use super::{OptionKind, Secret};
use crate::error::{Error, ErrorKind, Result};

/// The options given for one backend. `Debug` shows no text, which may be a password.
///
/// ```
/// use cacheness_core::ConfigOptions;
/// use std::time::Duration;
///
/// let options = ConfigOptions::new().with("readers", 4).with("busy_timeout", Duration::from_secs(5));
/// assert_eq!(options.int("readers"), Some(4));
/// ```
#[derive(Clone, PartialEq, Default)]
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
        self.set(name, value);
        self
    }

    pub(super) fn set(&mut self, name: impl Into<String>, value: impl Into<ConfigValue>) {
        self.0.insert(name.into(), value.into());
    }

    /// Checks every option against what the factory takes.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for an option that is unknown, of another kind or out of its range, and for one
    /// that must be given and is not. The message names the option, where it came from, what was given, and what is
    /// allowed.
    pub fn check(&self, backend: &str, specs: &[OptionSpec]) -> Result<()> {
        let owner = format!("`{backend}`");
        self.checked(&owner, "", specs, UnknownOptions::Error)?;
        self.complete(&owner, "", specs, &ConfigOrigin::Program)
    }

    /// The options, and the defaults of those that are not given, where they have one. Paths in the cache's folder stay
    /// out: [`OpenContext::path`](crate::OpenContext::path) makes them.
    ///
    /// The engine has done this before it opens a backend; a factory that is also opened without the engine, in tests,
    /// calls it once more.
    #[must_use]
    pub fn with_defaults(&self, specs: &[OptionSpec]) -> Self {
        let mut all = self.clone();
        for spec in specs.iter().filter(|spec| !spec.in_folder && !self.0.contains_key(spec.name)) {
            if let Some(value) = spec.default_value() {
                all.set(spec.name, value);
            }
        }
        all
    }

    /// As [`check`](Self::check), for options of `owner` that stand under `table`; those that are unknown may be left
    /// out with a warning. Paths in files come back as absolute ones.
    pub(super) fn checked(
        &self,
        owner: &str,
        table: &str,
        specs: &[OptionSpec],
        unknown: UnknownOptions,
    ) -> Result<Self> {
        let mut checked = Self::new();
        for (name, value) in &self.0 {
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                unknown.treat(unknown_option(owner, &path(table, name), name, value.origin(), specs))?;
                continue;
            };
            if let Some(complaint) = spec.complaint(&path(table, name), value) {
                return Err(invalid(value.origin(), complaint));
            }
            let mut value = value.clone();
            if spec.kind == OptionKind::Path
                && let Some(text) = value.as_path().as_deref().and_then(|path| path.to_str())
            {
                (value.scalar, value.template) = (Scalar::Text(text.to_owned()), None);
            }
            checked.set(name, value);
        }
        Ok(checked)
    }

    /// Checks that nothing is missing that must be given; `origin` is where its owner was chosen.
    pub(super) fn complete(
        &self,
        owner: &str,
        table: &str,
        specs: &[OptionSpec],
        origin: &ConfigOrigin,
    ) -> Result<()> {
        match specs.iter().find(|spec| spec.required && !self.0.contains_key(spec.name)) {
            None => Ok(()),
            Some(spec) => {
                let (path, allowed) = (path(table, spec.name), spec.allowed());
                Err(invalid(origin, format!("{owner} needs `{path}`, {allowed}: {}", spec.help)))
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&ConfigValue> {
        self.0.get(name)
    }

    /// The names of the options that were given, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A truth value, where it was given.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    /// A whole number, where it was given.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_int()
    }

    /// A size in bytes, where it was given.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_size()
    }

    /// A time, where it was given.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.0.get(name)?.as_duration()
    }

    /// A text, where it was given.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_text()
    }

    /// A text that must not be shown, where it was given.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.0.get(name)?.as_secret()
    }

    /// A path, where it was given.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name)?.as_path()
    }
}

impl fmt::Debug for ConfigOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// Whose the options at the top of a configuration are.
pub(super) const THE_CACHE: &str = "the cache";

/// An error about something that came from `origin`.
pub(super) fn invalid(origin: &ConfigOrigin, message: impl fmt::Display) -> Error {
    let message = match origin {
        ConfigOrigin::Program => message.to_string(),
        origin => format!("{origin}: {message}"),
    };
    Error::new(ErrorKind::ConfigInvalid, message)
}

fn unknown_option(owner: &str, path: &str, name: &str, origin: &ConfigOrigin, specs: &[OptionSpec]) -> Error {
    let known: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
    let takes = if known.is_empty() { "no options".to_owned() } else { list(&known) };
    let elsewhere: Vec<&str> = match owner {
        THE_CACHE => {
            CACHE_OPTIONS.iter().map(|spec| spec.name).filter(|other| is_last(name, other)).collect()
        }
        _ => Vec::new(),
    };
    let hint = match elsewhere.as_slice() {
        [] => match nearest(name, &known) {
            none if none.is_empty() && is_backend(name, path) => "; did you mean `backend`?".to_owned(),
            hint => hint,
        },
        elsewhere => format!("; did you mean {}?", list(elsewhere)),
    };
    invalid(origin, format!("there is no option `{path}`; {owner} takes {takes}{hint}"))
}

/// True for what looks like `backend` in a backend's table. It is none of the options of a backend, so that those who
/// misspell it would only read which options another backend takes.
fn is_backend(name: &str, path: &str) -> bool {
    ["metadata.", "blobs."].iter().any(|table| path.trim_start_matches("fallback.").starts_with(table))
        && (["driver", "kind", "name", "type"].contains(&name) || !nearest(name, &["backend"]).is_empty())
}

/// True where a dotted path is the name in some table, and not in a table of a table.
fn is_last(name: &str, path: &str) -> bool {
    path.split_once('.').is_some_and(|(_, last)| last == name)
}

/// The dotted path of a name in a table.
pub(super) fn path(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}
