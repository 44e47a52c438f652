//! Variables of the environment: for `${NAME}` in texts, and laid over a configuration by their names.

use std::collections::BTreeMap;
use std::fmt;

use super::tree::{Node, Table};
use crate::config::options::{invalid, path as join_path};
use crate::config::value::{ConfigOrigin, ConfigValue, Scalar};
use crate::error::Result;

/// Names and values, from the process or, in tests, from anywhere.
///
/// A variable whose name begins with `CACHENESS_` is an option: the rest of the name is the option's path in capitals,
/// with two underscores for a dot. `CACHENESS_METADATA__BACKEND=sqlite` is `backend = "sqlite"` in the table
/// `metadata`. It goes before what a file says. Names that begin with `CACHENESS_TEST_` are left to tests.
///
/// `Debug` shows no values.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

const PREFIX: &str = "CACHENESS_";
const NOT_OPTIONS: &str = "CACHENESS_TEST_";

impl Variables {
    /// The variables of this process. Those that are not UTF-8 are left out.
    #[must_use]
    pub fn process() -> Self {
        let utf8 = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        utf8.collect()
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts those that are options into a configuration.
    pub(super) fn lay_over(&self, table: &mut Table) -> Result<()> {
        for (variable, value) in &self.0 {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            if variable.starts_with(NOT_OPTIONS) {
                continue;
            }
            let origin = ConfigOrigin::Variable(variable.clone());
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
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
