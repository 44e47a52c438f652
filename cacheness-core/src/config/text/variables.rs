//! Variables of the environment: for `${NAME}` in texts, and laid over a configuration by their names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::tree::{Node, Table};
use crate::config::options::{invalid, path as join_path};
use crate::config::value::{ConfigOrigin, ConfigValue, Scalar};
use crate::error::{Error, Result};

/// Names and values, from the process or, in tests, from anywhere.
///
/// A variable whose name begins with `CACHENESS_` is an option: the rest of the name is the option's path in capitals,
/// with two underscores for a dot. `CACHENESS_METADATA__BACKEND=sqlite` is `backend = "sqlite"` in the table
/// `metadata`. It goes before what a file says. Names that begin with `TEST_` are left to tests.
///
/// `Debug` shows no values.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, Value>);

/// The value of a variable; `None` where it is not UTF-8, which no option takes.
type Value = Option<String>;

const PREFIX: &str = "CACHENESS_";
const NOT_OPTIONS: &str = "TEST_";

impl Variables {
    /// The variables of this process. One whose value is not UTF-8 is an error where it is asked for.
    #[must_use]
    pub fn process() -> Self {
        Self::from_os(std::env::vars_os())
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    fn from_os(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        // A name that is not UTF-8 still says whether it was meant for an option, which then names none.
        let variables =
            variables.map(|(name, value)| (name.to_string_lossy().into_owned(), value.into_string().ok()));
        Self(variables.collect())
    }

    /// The value of a variable, if it is set.
    ///
    /// # Errors
    /// `ConfigInvalid` where it is not UTF-8.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(unreadable(name)),
        }
    }

    /// Puts those that are options into a configuration.
    pub(super) fn lay_over(&self, table: &mut Table) -> Result<()> {
        for (variable, value) in &self.0 {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            if variable.starts_with(NOT_OPTIONS) {
                continue;
            }
            let origin = ConfigOrigin::Variable(variable.clone());
            let Some(value) = value else { return Err(unreadable(variable)) };
            let path: Vec<&str> = name.split("__").collect();
            if path.iter().any(|name| name.is_empty() || name.starts_with('_') || name.ends_with('_')) {
                let message = "this names no option: after CACHENESS_ comes the option's path, with two underscores \
                               for each dot, such as CACHENESS_METADATA__BACKEND";
                return Err(invalid(&origin, message));
            }
            insert(table, &path, "", ConfigValue::new(Scalar::Text(value.clone()), origin))?;
        }
        Ok(())
    }
}

fn unreadable(variable: &str) -> Error {
    let origin = ConfigOrigin::Variable(variable.to_owned());
    invalid(&origin, "its value is not UTF-8, which no option takes; set it to a text")
}

fn insert(table: &mut Table, path: &[&str], above: &str, value: ConfigValue) -> Result<()> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    // The names of namespaces may have capitals, which a variable's name cannot tell.
    let known = table.0.keys().find(|name| name.eq_ignore_ascii_case(first)).cloned();
    let name = known.unwrap_or_else(|| first.to_ascii_lowercase());
    let here = join_path(above, &name);
    let origin = value.origin().clone();
    if rest.is_empty() {
        if let Some(Node::Table(_, at)) = table.0.get(&name) {
            let message = format!("`{here}` is a table ({at}); name an option in it after two underscores");
            return Err(invalid(&origin, message));
        }
        table.0.insert(name, Node::Value(value));
        return Ok(());
    }
    let node = table.0.entry(name).or_insert_with(|| Node::Table(Table::default(), origin.clone()));
    match node {
        Node::Table(inner, _) => insert(inner, rest, &here, value),
        Node::Value(given) => {
            let message =
                format!("`{here}` is given as a value ({}), so nothing can stand in it", given.origin());
            Err(invalid(&origin, message))
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Variables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn not_utf8(name: &str) -> Variables {
        Variables::from_os(std::iter::once((name.into(), OsString::from_vec(b"caf\xe9".to_vec()))))
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_an_error_where_it_is_asked_for() {
        let error = not_utf8("CACHENESS_FOLDER").lay_over(&mut Table::default()).unwrap_err();
        assert!(error.to_string().contains("not UTF-8"), "{error}");
        let others = not_utf8("LANG_OF_SOMEBODY");
        others.lay_over(&mut Table::default()).unwrap();
        assert!(others.get("LANG_OF_SOMEBODY").unwrap_err().to_string().contains("LANG_OF_SOMEBODY"));
    }
}
