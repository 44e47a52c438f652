//! From a builder's settings to parts that can be opened: names looked up, options checked.

use std::sync::Arc;

use super::options::{ConfigOptions, invalid};
use super::spec::OptionSpec;
use super::value::ConfigOrigin;
use crate::builder::CacheBuilder;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::registry::{BlobFactory, MetadataFactory};

/// Which backend was chosen, if one was, and the options given for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    pub(crate) backend: Option<(String, ConfigOrigin)>,
    pub(crate) options: ConfigOptions,
}

impl Chosen {
    /// The backend that was chosen, or else the one that goes with having a folder or none.
    pub(crate) fn resolve(&self, folder: bool, in_folder: &str) -> (String, ConfigOrigin) {
        let default = || ((if folder { in_folder } else { "memory" }).to_owned(), ConfigOrigin::Program);
        self.backend.clone().unwrap_or_else(default)
    }
}

/// A factory, and the options to open it with: checked, and with every default.
pub(crate) struct Part<F: ?Sized> {
    pub(crate) factory: Arc<F>,
    pub(crate) options: ConfigOptions,
}

impl<F: ?Sized> Clone for Part<F> {
    fn clone(&self) -> Self {
        Self { factory: self.factory.clone(), options: self.options.clone() }
    }
}

/// What a cache is opened with.
pub(crate) type Parts = (Part<dyn MetadataFactory>, Part<dyn BlobFactory>);

impl CacheBuilder {
    /// Checks everything that can be checked without opening anything: the names of the backends, their options, and
    /// what goes together. [`open`](Self::open) does so first.
    ///
    /// ```
    /// use cacheness::{Cache, ConfigOptions};
    ///
    /// let wrong = Cache::builder().folder("x").metadata_with("sqlite", ConfigOptions::new().with("readers", 0));
    /// let message = wrong.check().unwrap_err().to_string();
    /// assert!(message.contains("`metadata.readers` takes a whole number from 1 to 64, but 0 was given"));
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`] for a name that is unknown, [`ErrorKind::ConfigInvalid`] for all else.
    pub fn check(&self) -> Result<()> {
        self.parts()?;
        self.fallback_parts().map(drop)
    }

    pub(crate) fn parts(&self) -> Result<Parts> {
        self.check_limits()?;
        self.check_local_tier()?;
        self.signing.as_ref().map_or(Ok(()), |signing| signing.source().map(drop))?;
        let folder = self.folder.is_some();
        let metadata = self.metadata_part(&self.metadata, folder, ["metadata", "metadata.backend"])?;
        Ok((metadata, self.blob_part(&self.blobs, folder, ["blobs", "blobs.backend"])?))
    }

    /// The parts of the fallback, where there is one.
    pub(crate) fn fallback_parts(&self) -> Result<Option<Parts>> {
        let Some(fallback) = &self.fallback else { return Ok(None) };
        let has = |chosen: &Chosen| chosen.backend.is_some();
        if fallback.folder.is_none() && !(has(&fallback.metadata) && has(&fallback.blobs)) {
            let message = "`fallback` needs `fallback.folder`, a folder of its own, or both `fallback.metadata.backend` and \
                           `fallback.blobs.backend`";
            return Err(invalid(&ConfigOrigin::Program, message));
        }
        if self.folder.is_some() && fallback.folder_in(self.folder.as_deref()) == self.folder {
            let message = "`fallback.folder` is the cache's own `folder`; a fallback needs one of its own";
            return Err(invalid(&ConfigOrigin::Program, message));
        }
        let folder = fallback.folder.is_some();
        let metadata = ["fallback.metadata", "fallback.metadata.backend"];
        let metadata = self.metadata_part(&fallback.metadata, folder, metadata)?;
        let blobs = ["fallback.blobs", "fallback.blobs.backend"];
        let blobs = self.blob_part(&fallback.blobs, folder, blobs)?;
        Ok(Some((metadata, blobs)))
    }

    fn check_limits(&self) -> Result<()> {
        if let Some(name) = &self.limits.policy {
            let known = self.registry.eviction_policy(name);
            known.map_err(|error| located(error, &self.policy_origin, "limits.policy"))?;
        }
        if let Some((namespace, _)) = self.namespace_limits.iter().find(|(_, limits)| limits.policy.is_some())
        {
            let message = format!(
                "the limits of the namespace `{namespace}` name an eviction policy, but a cache has one for all its \
                 namespaces; name it in the limits of the cache"
            );
            return Err(invalid(&ConfigOrigin::Program, message));
        }
        Ok(())
    }

    fn check_local_tier(&self) -> Result<()> {
        match &self.local_tier {
            Some(tier) if tier.folder.is_none() => {
                let message = "`local_tier` needs `local_tier.folder`, a folder of this machine for the copies; give one, \
                               or leave the table out";
                Err(invalid(&ConfigOrigin::Program, message))
            }
            _ => Ok(()),
        }
    }

    fn metadata_part(
        &self,
        chosen: &Chosen,
        folder: bool,
        [table, option]: [&'static str; 2],
    ) -> Result<Part<dyn MetadataFactory>> {
        let (name, origin) = chosen.resolve(folder, "sqlite");
        let factory = self.registry.metadata_backend(&name);
        let factory = factory.map_err(|error| located(error, &origin, option))?.clone();
        let owner = format!("the metadata backend `{name}`");
        let options =
            self.part_options(&owner, table, folder, &chosen.options, (factory.options(), &origin))?;
        factory.check(&options).map_err(|error| located(error, &origin, table))?;
        Ok(Part { factory, options })
    }

    fn blob_part(
        &self,
        chosen: &Chosen,
        folder: bool,
        [table, option]: [&'static str; 2],
    ) -> Result<Part<dyn BlobFactory>> {
        let (name, origin) = chosen.resolve(folder, "filesystem");
        let factory = self.registry.blob_backend(&name);
        let factory = factory.map_err(|error| located(error, &origin, option))?.clone();
        let owner = format!("the blob backend `{name}`");
        let options =
            self.part_options(&owner, table, folder, &chosen.options, (factory.options(), &origin))?;
        factory.check(&options).map_err(|error| located(error, &origin, table))?;
        Ok(Part { factory, options })
    }

    fn part_options(
        &self,
        owner: &str,
        table: &str,
        folder: bool,
        given: &ConfigOptions,
        (specs, origin): (&[OptionSpec], &ConfigOrigin),
    ) -> Result<ConfigOptions> {
        let options = given.checked(owner, table, specs, self.unknown_options)?;
        options.complete(owner, table, specs, origin)?;
        let homeless = |spec: &&OptionSpec| spec.in_folder && !folder && options.get(spec.name).is_none();
        if let Some(spec) = specs.iter().find(homeless) {
            let message = format!(
                "{owner} keeps files, and neither `{}` nor `{table}.{}` says where; give one of them",
                if table.starts_with("fallback") { "fallback.folder" } else { "folder" },
                spec.name
            );
            return Err(invalid(origin, message));
        }
        Ok(options.with_defaults(specs))
    }
}

/// Adds where a backend was chosen.
fn located(error: Error, origin: &ConfigOrigin, option: &'static str) -> Error {
    match origin {
        ConfigOrigin::Program => error,
        origin => error.with_context("option", option).with_context("from", origin.to_string()),
    }
}
