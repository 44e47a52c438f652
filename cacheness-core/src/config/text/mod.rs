//! Configurations as texts: files of TOML and JSON, and variables of the environment laid over them.

mod apply;
mod fill_in;
mod json;
mod settings;
mod toml;
mod tree;
mod variables;

use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

pub use variables::Variables;

use tree::Table;

/// A configuration as it was read, with every `${NAME}` filled in and variables laid over it. It is checked when a
/// builder [takes](crate::CacheBuilder::config) it.
///
/// ```
/// use cacheness::{Config, Variables};
///
/// let variables = Variables::from_iter([("CACHENESS_LIMITS__MAX_ENTRIES", "100"), ("SIZE", "1 GiB")]);
/// let config = Config::from_toml("limits.max_bytes = '${SIZE}'", &variables)?;
/// let builder = cacheness::Cache::builder().config(config)?;
/// assert!(builder.to_toml()?.contains("max_entries = 100\nmax_bytes = \"1 GiB\""));
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config(Table);

impl Config {
    /// Reads a file, whose name ends in `.toml` or `.json`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) or another error of the operating system where it cannot be read; otherwise
    /// as [`from_toml`](Self::from_toml).
    pub fn from_file(path: impl AsRef<Path>, variables: &Variables) -> Result<Self> {
        let path = path.as_ref();
        let parse = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => toml::parse,
            Some("json") => json::parse,
            _ => {
                let message = format!(
                    "{}: the name of a configuration file ends in .toml or .json, which says what is in it",
                    path.display()
                );
                return Err(Error::new(ErrorKind::ConfigInvalid, message));
            }
        };
        let text = fs_err::read_to_string(path)
            .map_err(|error| Error::io(error, "the configuration file cannot be read"))?;
        Self::finish(parse(&text, Some(Arc::from(path)))?, variables)
    }

    /// Reads TOML.
    ///
    /// # Errors
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid) where it is not TOML, a text names a variable that is not set,
    /// or a variable has a name that no option can have.
    pub fn from_toml(text: &str, variables: &Variables) -> Result<Self> {
        Self::finish(toml::parse(text, None)?, variables)
    }

    /// Reads JSON: one object, in the shape that TOML has.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml).
    pub fn from_json(text: &str, variables: &Variables) -> Result<Self> {
        Self::finish(json::parse(text, None)?, variables)
    }

    fn finish(mut table: Table, variables: &Variables) -> Result<Self> {
        // A text that a variable replaces needs no variables any more.
        variables.lay_over(&mut table)?;
        fill_in::fill_in(&mut table, "", variables)?;
        Ok(Self(table))
    }
}
