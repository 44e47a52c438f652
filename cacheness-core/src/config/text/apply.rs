//! Checks a configuration that was read, and makes it the settings of a builder.

use std::path::Path;

use super::settings::{fallback as fallback_of, set, set_of_namespace};
use super::tree::{Node, Table};
use super::{Config, Variables};
use crate::builder::CacheBuilder;
use crate::config::cache_options::{CACHE_OPTIONS, NAMESPACE_OPTIONS, UnknownOptions};
use crate::config::options::{ConfigOptions, THE_CACHE, invalid, path as join_path};
use crate::config::spec::OptionSpec;
use crate::config::spelling::{list, nearest};
use crate::config::value::{ConfigOrigin, ConfigValue, Odd, Scalar};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::names::Namespace;
use crate::registry::Registry;

/// What stands in a configuration beside single options.
const TABLES: [&str; 8] =
    ["limits", "remote", "metadata", "blobs", "local_tier", "signing", "fallback", "namespaces"];

impl CacheBuilder {
    /// Starts with what a configuration file says, and the variables of this process laid over it, for the parts that
    /// are built in. For others: [`CacheBuilder::new`] and [`config`](Self::config).
    ///
    /// # Errors
    /// As [`Config::from_file`] and [`config`](Self::config).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(Registry::builtin()).config(Config::from_file(path, &Variables::process())?)
    }

    /// As [`from_file`](Self::from_file), from TOML.
    ///
    /// ```
    /// use cacheness::CacheBuilder;
    ///
    /// let cache = CacheBuilder::from_toml(
    ///     r#"
    ///     ttl = "1h"
    ///     [limits]
    ///     max_entries = 10_000
    ///     "#,
    /// )?
    /// .open_blocking()?;
    /// cache.put("answer", &42)?;
    /// # Ok::<(), cacheness::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::new(Registry::builtin()).config(Config::from_toml(text, &Variables::process())?)
    }

    /// As [`from_file`](Self::from_file), from JSON.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_json(text: &str) -> Result<Self> {
        Self::new(Registry::builtin()).config(Config::from_json(text, &Variables::process())?)
    }

    /// Takes what a configuration says; what it does not mention stays. The options of backends are checked when the
    /// cache is opened, or by [`check`](Self::check), because methods called later may choose another backend.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for an option that is unknown, of the wrong type, out of its range or at odds with
    /// another. The message names it by its path, says where it came from, what was given and what is allowed.
    pub fn config(mut self, config: Config) -> Result<Self> {
        let mut root = config.0;
        // It governs how the others are read, so it is read first.
        if let Some(value) = root.0.get("unknown_options") {
            let options = values(Table([("unknown_options".into(), value.clone())].into()));
            self.take(&options, "")?;
        }
        let unknown = self.unknown_options;
        let limits = table(&mut root, "limits", "max_entries = 1000")?;
        let remote = table(&mut root, "remote", "timeout = \"5s\"")?;
        let metadata = table(&mut root, "metadata", "backend = \"sqlite\"")?;
        let blobs = table(&mut root, "blobs", "backend = \"filesystem\"")?;
        let local_tier = table(&mut root, "local_tier", "folder = \"/var/cache/blobs\"")?;
        let signing = table(&mut root, "signing", "key_file = \"/etc/app/cache.key\"")?;
        let mut fallback = table(&mut root, "fallback", "folder = \"./spare\"")?;
        let second_metadata =
            table_at(&mut fallback, "metadata", "fallback.metadata", "backend = \"sqlite\"")?;
        let second_blobs = table_at(&mut fallback, "blobs", "fallback.blobs", "backend = \"filesystem\"")?;
        let namespaces = table(&mut root, "namespaces", "NAME.ttl = \"1h\"")?;
        refuse_unknown_tables(&mut root, unknown)?;
        self.take(&values(root), "")?;
        self.take(&values(limits), "limits")?;
        self.take(&values(remote), "remote")?;
        self.take(&values(local_tier), "local_tier")?;
        self.take(&values(signing), "signing")?;
        self.metadata.options = self.part(metadata, "metadata", &self.metadata.options.clone())?;
        self.blobs.options = self.part(blobs, "blobs", &self.blobs.options.clone())?;
        self.take(&values(fallback), "fallback")?;
        let before = self.fallback.clone().unwrap_or_default();
        let metadata = self.part(second_metadata, "fallback.metadata", &before.metadata.options)?;
        let blobs = self.part(second_blobs, "fallback.blobs", &before.blobs.options)?;
        if metadata.names().chain(blobs.names()).next().is_some() {
            let fallback = fallback_of(&mut self);
            (fallback.metadata.options, fallback.blobs.options) = (metadata, blobs);
        }
        for (name, node) in namespaces.0 {
            self.namespace(&name, node, unknown)?;
        }
        Ok(self)
    }

    /// Checks the options of one table and makes them settings, in the order of the list.
    fn take(&mut self, options: &ConfigOptions, table: &str) -> Result<()> {
        let specs = specs_of(table);
        let owner = if table.is_empty() { THE_CACHE.to_owned() } else { format!("`[{table}]`") };
        let options = options.checked(&owner, table, &specs, self.unknown_options)?;
        for spec in &specs {
            if let Some(value) = options.get(spec.name) {
                set(self, &join_path(table, spec.name), value)?;
            }
        }
        Ok(())
    }

    /// Takes the choice of a backend out of its table, and adds the rest to the options that are there already.
    fn part(&mut self, mut table: Table, name: &str, before: &ConfigOptions) -> Result<ConfigOptions> {
        if let Some(backend) = table.0.remove("backend") {
            self.take(&values(Table([("backend".into(), backend)].into())), name)?;
        }
        let given = values(table);
        let mut options = before.clone();
        for option in given.names() {
            if let Some(value) = given.get(option) {
                options.set(option, value.clone());
            }
        }
        Ok(options)
    }

    fn namespace(&mut self, name: &str, node: Node, unknown: UnknownOptions) -> Result<()> {
        let path = join_path("namespaces", name);
        let origin = node.origin().clone();
        let Node::Table(table, _) = node else { return Err(not_a_table(&path, "ttl = \"1h\"", &origin)) };
        let namespace =
            Namespace::new(name).map_err(|error| invalid(&origin, format!("`{path}`: {error}")))?;
        let options = values(table);
        let options = options.checked("a namespace", &path, NAMESPACE_OPTIONS, unknown)?;
        for spec in NAMESPACE_OPTIONS {
            if let Some(value) = options.get(spec.name) {
                set_of_namespace(self, &namespace, spec.name, value)?;
            }
        }
        Ok(())
    }
}

/// The cache's own options in a table, by their names there.
fn specs_of(table: &str) -> Vec<OptionSpec> {
    let in_table = |spec: &OptionSpec| {
        let (at, name) = spec.name.rsplit_once('.').unwrap_or(("", spec.name));
        (at == table).then_some(OptionSpec { name, ..*spec })
    };
    CACHE_OPTIONS.iter().filter_map(in_table).collect()
}

/// Takes a table out of the root; an empty one where there is none.
fn table(root: &mut Table, name: &str, example: &str) -> Result<Table> {
    table_at(root, name, name, example)
}

/// Takes the table of this name and path out of the one above.
fn table_at(above: &mut Table, name: &str, path: &str, example: &str) -> Result<Table> {
    match above.0.remove(name) {
        None => Ok(Table::default()),
        Some(Node::Table(table, _)) => Ok(table),
        Some(Node::Value(value)) => Err(not_a_table(path, example, value.origin())),
    }
}

fn not_a_table(path: &str, example: &str, origin: &ConfigOrigin) -> crate::Error {
    invalid(
        origin,
        format!("`{path}` is a table, but a value was given; write `[{path}]` and below it `{example}`"),
    )
}

fn refuse_unknown_tables(root: &mut Table, unknown: UnknownOptions) -> Result<()> {
    let own = specs_of("");
    let is_unknown = |name: &str, node: &Node| {
        matches!(node, Node::Table(..)) && !own.iter().any(|spec| spec.name == name)
    };
    for (name, node) in &root.0 {
        if is_unknown(name, node) {
            let message =
                format!("there is no table `{name}`; there are {}{}", list(&TABLES), nearest(name, &TABLES));
            unknown.treat(invalid(node.origin(), message))?;
        }
    }
    root.0.retain(|name, node| !is_unknown(name, node));
    Ok(())
}

/// The values of a table. A table in it is one that no option takes.
fn values(table: Table) -> ConfigOptions {
    let mut options = ConfigOptions::new();
    for (name, node) in table.0 {
        let value = match node {
            Node::Value(value) => value,
            Node::Table(_, origin) => ConfigValue::new(Scalar::Odd(Odd::Table), origin),
        };
        options.set(name, value);
    }
    options
}
