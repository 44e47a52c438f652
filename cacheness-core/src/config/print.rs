//! A configuration as TOML, with every default filled in.

use std::collections::BTreeSet;

use super::cache_options::{
    CACHE_OPTIONS, ENCRYPTION_KEY_OPTIONS, NAMESPACE_OPTIONS, get, get_of_key, get_of_namespace,
};
use super::options::ConfigOptions;
use super::spec::{OptionKind, OptionSpec};
use super::value::{ConfigOrigin, ConfigValue, Scalar, quoted};
use crate::builder::CacheBuilder;
use crate::error::{Error, ErrorKind, Result};

impl CacheBuilder {
    /// The whole configuration as TOML, with every default filled in.
    ///
    /// Read again, it gives the same configuration. Secrets are hidden: one that came from a variable is written as
    /// `${NAME}`, and in place of any other stands a comment.
    ///
    /// ```
    /// use cacheness::Cache;
    ///
    /// let printed = Cache::builder().to_toml()?;
    /// assert!(printed.contains("ttl = \"never\"\n"));
    /// assert!(printed.contains("[metadata]\nbackend = \"memory\"\n"));
    /// # Ok::<(), cacheness::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn to_toml(&self) -> Result<String> {
        let (metadata, blobs) = self.parts()?;
        let second = self.fallback_parts()?;
        if let Some(folder) = &self.folder
            && folder.to_str().is_none()
        {
            let message = format!("the path {folder:?} is not UTF-8, so no file can name it");
            return Err(Error::new(ErrorKind::ConfigInvalid, message));
        }
        let mut toml = String::new();
        let mut table = "";
        for spec in CACHE_OPTIONS {
            let (in_table, name) = spec.name.rsplit_once('.').unwrap_or(("", spec.name));
            if self.fallback.is_none() && in_table.starts_with("fallback.") {
                continue;
            }
            if in_table != table {
                table = in_table;
                toml.push_str(&format!("\n[{table}]\n"));
            }
            line(&mut toml, name, spec, get(self, spec.name).as_ref());
            match spec.name {
                "metadata.backend" => self.print(
                    &mut toml,
                    metadata.factory.options(),
                    &metadata.options,
                    self.folder.as_deref(),
                ),
                "blobs.backend" => {
                    self.print(&mut toml, blobs.factory.options(), &blobs.options, self.folder.as_deref())
                }
                name if name.starts_with("fallback.") && table != "fallback" => {
                    if let (Some(fallback), Some((metadata, blobs))) = (&self.fallback, &second) {
                        let (specs, options) = if table == "fallback.metadata" {
                            (metadata.factory.options(), &metadata.options)
                        } else {
                            (blobs.factory.options(), &blobs.options)
                        };
                        let folder = fallback.folder_in(self.folder.as_deref());
                        self.print(&mut toml, specs, options, folder.as_deref());
                    }
                }
                _ => {}
            }
        }
        for (name, key) in self.encryption.iter().flat_map(|encryption| &encryption.keys) {
            toml.push_str(&format!("\n[encryption.keys.{}]\n", quoted(name)));
            for spec in ENCRYPTION_KEY_OPTIONS {
                line(&mut toml, spec.name, spec, get_of_key(self, key, spec.name).as_ref());
            }
        }
        let namespaces = self.settings.namespace_ttls.keys().chain(self.namespace_limits.keys());
        for namespace in namespaces.collect::<BTreeSet<_>>() {
            toml.push_str(&format!("\n[namespaces.{}]\n", quoted(namespace.as_str())));
            for spec in NAMESPACE_OPTIONS {
                line(&mut toml, spec.name, spec, get_of_namespace(self, namespace, spec.name).as_ref());
            }
        }
        Ok(toml)
    }

    /// Adds the options of a backend. Paths become absolute, because the text may be put into a file anywhere.
    fn print(
        &self,
        toml: &mut String,
        specs: &[OptionSpec],
        options: &ConfigOptions,
        folder: Option<&std::path::Path>,
    ) {
        for spec in specs {
            let secret = spec.secret || options.get(spec.name).is_some_and(|value| value.secret);
            let path = options.path(spec.name).filter(|_| spec.kind == OptionKind::Path && !secret);
            let absolute = path.and_then(|path| {
                let path = folder.map_or(path.clone(), |folder| folder.join(path));
                std::path::absolute(path).ok()?.to_str().map(ConfigValue::from)
            });
            line(toml, spec.name, spec, absolute.as_ref().or(options.get(spec.name)));
        }
    }
}

fn line(toml: &mut String, name: &str, spec: &OptionSpec, value: Option<&ConfigValue>) {
    let line = match value.map(|value| (value, written(spec, value))) {
        Some((_, Some(written))) => format!("{name} = {written}\n"),
        Some((value, None)) => format!("# {name}: (hidden), {}\n", value.origin()),
        None if spec.in_folder => {
            format!("# {name}: `{}` in the cache's folder\n", spec.default.unwrap_or_default())
        }
        None => format!("# {name}: {}\n", spec.otherwise.unwrap_or("not set")),
    };
    toml.push_str(&line);
}

/// True for `${NAME}` and nothing else: what stands around a variable may be a part of the secret.
fn is_one_variable(template: &str) -> bool {
    let name = template.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| !name.contains(['$', '{', '}']))
}

/// The value as it is written into a file; `None` where that would give a secret away.
fn written(spec: &OptionSpec, value: &ConfigValue) -> Option<String> {
    let secret = spec.secret || value.secret;
    if let Some(template) = &value.template
        && spec.kind != OptionKind::Path
        && (!secret || is_one_variable(template))
    {
        return Some(quoted(template));
    }
    match (&value.scalar, &value.origin) {
        (_, ConfigOrigin::Variable(name)) if secret => Some(quoted(&format!("${{{name}}}"))),
        _ if secret => None,
        (Scalar::Text(text), _) => match spec.value(text).scalar {
            Scalar::Text(text) => Some(quoted(&text.replace("${", "$${"))),
            // A variable's text becomes the number that it stands for.
            _ => Some(spec.value(text).to_toml()),
        },
        _ => Some(value.to_toml()),
    }
}
