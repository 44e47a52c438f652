//! The registry: names to handlers, to the factories of backends and to eviction policies. It is a value, not a global.

mod discovery;
mod factory;
mod listing;
mod named;
mod open;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::config::{list, nearest};
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{EvictionPolicies, EvictionPolicy};
use crate::handler::CacheHandler;

pub use discovery::{Builtin, Plugin};
pub use factory::{BlobFactory, MetadataFactory};
pub use listing::{PartInfo, Register};
pub use open::{Durability, OpenContext, OpenMode};

use named::Named;

/// Names to handlers, in the order in which they are asked, to the factories of backends, and to eviction
/// policies.
///
/// A cache keeps the registry that it was opened with: later changes to another copy do not reach it.
///
/// ```
/// use cacheness::{Cache, CacheBuilder, Registry};
///
/// let mut registry = Registry::builtin();
/// let cache = CacheBuilder::new(registry.clone()).open_blocking()?;
/// assert!(registry.unregister_handler("text"));
/// assert!(!registry.unregister_handler("text"));
/// cache.put("greeting", "hello")?;
/// assert_eq!(cache.get_entry("greeting")?.unwrap().format.handler, "text");
/// assert!(CacheBuilder::new(registry).open_blocking()?.put("greeting", "hello").is_err());
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    /// Sorted by priority; those without one last.
    handlers: Vec<Slot<dyn CacheHandler>>,
    metadata: BTreeMap<String, Slot<dyn MetadataFactory>>,
    blobs: BTreeMap<String, Slot<dyn BlobFactory>>,
    policies: BTreeMap<String, Slot<dyn EvictionPolicy>>,
}

struct Slot<T: ?Sized> {
    part: Arc<T>,
    priority: Option<u32>,
    builtin: bool,
}

impl<T: ?Sized> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self { part: self.part.clone(), priority: self.priority, builtin: self.builtin }
    }
}

impl Registry {
    /// A registry that knows nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A registry that knows what is built in: what the features of the crate `cacheness` have switched on. It is
    /// empty in a program that depends on `cacheness-core` alone. No built-in handler has a priority, so that one
    /// registered with a priority is asked before them.
    #[must_use]
    pub fn builtin() -> Self {
        let mut registry = discovery::builtin(Self::empty());
        registry.handlers.iter_mut().for_each(|slot| slot.builtin = true);
        registry.metadata.values_mut().for_each(|slot| slot.builtin = true);
        registry.blobs.values_mut().for_each(|slot| slot.builtin = true);
        registry.policies.values_mut().for_each(|slot| slot.builtin = true);
        registry
    }

    /// Registers what crates have submitted with [`submit_plugin!`](crate::submit_plugin), in the order of their
    /// names.
    ///
    /// # Errors
    /// The first error of a plugin, which it names: [`ErrorKind::Conflict`] where two bring a part of the same name,
    /// or this is called a second time. The registry is then as before.
    pub fn discover(&mut self) -> Result<()> {
        let mut discovered = self.clone();
        discovery::plugins(&mut discovered)?;
        *self = discovered;
        Ok(())
    }

    /// Registers a handler.
    ///
    /// Handlers are asked whether they take a value by [priority](Register::priority), and the first that does writes
    /// it. `msgpack` takes every serde value, so another handler for serde values needs a priority, or
    /// `PutOptions::handler` with each put. What reads a value is decided by the name that its entry holds.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where a handler of that name is there and was not to be replaced;
    /// [`ErrorKind::InvalidInput`] for an empty name.
    pub fn register_handler(&mut self, handler: impl CacheHandler, how: Register) -> Result<()> {
        let part: Arc<dyn CacheHandler> = match how.name {
            Some(name) if name != handler.name() => Arc::new(Named { name, inner: Arc::new(handler) }),
            _ => Arc::new(handler),
        };
        check_name("handler", part.name())?;
        let mut slot = Slot { part, priority: how.priority, builtin: false };
        if let Some(at) = self.handlers.iter().position(|known| known.part.name() == slot.part.name()) {
            if !how.replace {
                return Err(taken("handler", slot.part.name()));
            }
            if slot.priority.is_none() {
                slot.priority = self.handlers[at].priority;
                self.handlers[at] = slot;
                return Ok(());
            }
            self.handlers.remove(at);
        }
        let place = |priority: Option<u32>| priority.map_or(u64::MAX, u64::from);
        let at = self.handlers.partition_point(|known| place(known.priority) <= place(slot.priority));
        self.handlers.insert(at, slot);
        Ok(())
    }

    /// Registers a metadata backend. It is opened only where a configuration names it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where one of that name is there and was not to be replaced;
    /// [`ErrorKind::InvalidInput`] for an empty name.
    pub fn register_metadata_backend(&mut self, factory: impl MetadataFactory, how: Register) -> Result<()> {
        let name = how.name.unwrap_or_else(|| factory.name().to_owned());
        insert(&mut self.metadata, "metadata backend", name, Arc::new(factory), how.replace)
    }

    /// Registers a blob backend. It is opened only where a configuration names it.
    ///
    /// # Errors
    /// As [`register_metadata_backend`](Self::register_metadata_backend).
    pub fn register_blob_backend(&mut self, factory: impl BlobFactory, how: Register) -> Result<()> {
        let name = how.name.unwrap_or_else(|| factory.name().to_owned());
        insert(&mut self.blobs, "blob backend", name, Arc::new(factory), how.replace)
    }

    /// Registers an eviction policy. It ranks entries only where a cache's limits name it.
    ///
    /// # Errors
    /// As [`register_metadata_backend`](Self::register_metadata_backend); the name has at most 255 bytes.
    pub fn register_eviction_policy(&mut self, policy: impl EvictionPolicy, how: Register) -> Result<()> {
        let name = how.name.unwrap_or_else(|| policy.name().to_owned());
        if name.len() > LONGEST_POLICY_NAME {
            let message = format!("the name of an eviction policy has at most {LONGEST_POLICY_NAME} bytes");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        insert(&mut self.policies, POLICY, name, Arc::new(policy), how.replace)
    }

    /// Forgets a handler, also a built-in one. False where there was none of that name. Entries that it wrote cannot
    /// be read by a cache without it.
    pub fn unregister_handler(&mut self, name: &str) -> bool {
        let before = self.handlers.len();
        self.handlers.retain(|slot| slot.part.name() != name);
        self.handlers.len() < before
    }

    /// Forgets a metadata backend, also a built-in one. False where there was none of that name.
    pub fn unregister_metadata_backend(&mut self, name: &str) -> bool {
        self.metadata.remove(name).is_some()
    }

    /// Forgets a blob backend, also a built-in one. False where there was none of that name.
    pub fn unregister_blob_backend(&mut self, name: &str) -> bool {
        self.blobs.remove(name).is_some()
    }

    /// Forgets an eviction policy, also a built-in one. False where there was none of that name. A cache whose limits
    /// name it can then be opened only with limits that name another.
    pub fn unregister_eviction_policy(&mut self, name: &str) -> bool {
        self.policies.remove(name).is_some()
    }

    /// Adds a handler, to be asked after all that are there.
    ///
    /// # Errors
    /// As [`register_handler`](Self::register_handler).
    pub fn with_handler(mut self, handler: impl CacheHandler) -> Result<Self> {
        self.register_handler(handler, Register::new())?;
        Ok(self)
    }

    /// Adds a metadata backend.
    ///
    /// # Errors
    /// As [`register_metadata_backend`](Self::register_metadata_backend).
    pub fn with_metadata_backend(mut self, factory: impl MetadataFactory) -> Result<Self> {
        self.register_metadata_backend(factory, Register::new())?;
        Ok(self)
    }

    /// Adds a blob backend.
    ///
    /// # Errors
    /// As [`register_metadata_backend`](Self::register_metadata_backend).
    pub fn with_blob_backend(mut self, factory: impl BlobFactory) -> Result<Self> {
        self.register_blob_backend(factory, Register::new())?;
        Ok(self)
    }

    /// Adds an eviction policy.
    ///
    /// # Errors
    /// As [`register_eviction_policy`](Self::register_eviction_policy).
    pub fn with_eviction_policy(mut self, policy: impl EvictionPolicy) -> Result<Self> {
        self.register_eviction_policy(policy, Register::new())?;
        Ok(self)
    }

    /// What there is to tell about the handlers, in the order in which they are asked.
    #[must_use]
    pub fn list_handlers(&self) -> Vec<PartInfo> {
        let info = |slot: &Slot<dyn CacheHandler>| PartInfo {
            name: slot.part.name().to_owned(),
            description: slot.part.description().to_owned(),
            priority: slot.priority,
            builtin: slot.builtin,
            needs: Vec::new(),
            options: Vec::new(),
        };
        self.handlers.iter().map(info).collect()
    }

    /// What there is to tell about the metadata backends, sorted by name.
    #[must_use]
    pub fn list_metadata_backends(&self) -> Vec<PartInfo> {
        let info = |(name, slot): (&String, &Slot<dyn MetadataFactory>)| PartInfo {
            name: name.clone(),
            description: slot.part.description().to_owned(),
            priority: None,
            builtin: slot.builtin,
            needs: slot.part.needs().to_vec(),
            options: slot.part.options().to_vec(),
        };
        self.metadata.iter().map(info).collect()
    }

    /// What there is to tell about the blob backends, sorted by name.
    #[must_use]
    pub fn list_blob_backends(&self) -> Vec<PartInfo> {
        let info = |(name, slot): (&String, &Slot<dyn BlobFactory>)| PartInfo {
            name: name.clone(),
            description: slot.part.description().to_owned(),
            priority: None,
            builtin: slot.builtin,
            needs: slot.part.needs().to_vec(),
            options: slot.part.options().to_vec(),
        };
        self.blobs.iter().map(info).collect()
    }

    /// What there is to tell about the eviction policies, sorted by name.
    #[must_use]
    pub fn list_eviction_policies(&self) -> Vec<PartInfo> {
        let info = |(name, slot): (&String, &Slot<dyn EvictionPolicy>)| PartInfo {
            name: name.clone(),
            description: slot.part.description().to_owned(),
            priority: None,
            builtin: slot.builtin,
            needs: Vec::new(),
            options: Vec::new(),
        };
        self.policies.iter().map(info).collect()
    }

    /// The handlers, in the order in which they are asked.
    pub fn handlers(&self) -> impl Iterator<Item = &dyn CacheHandler> {
        self.handlers.iter().map(|slot| slot.part.as_ref())
    }

    /// The names under which metadata backends are registered, sorted, and their factories. A factory may know itself
    /// by another name.
    pub fn metadata_backends(&self) -> impl Iterator<Item = (&str, &dyn MetadataFactory)> {
        self.metadata.iter().map(|(name, slot)| (name.as_str(), slot.part.as_ref()))
    }

    /// The names under which blob backends are registered, sorted, and their factories, as
    /// [`metadata_backends`](Self::metadata_backends) gives them.
    pub fn blob_backends(&self) -> impl Iterator<Item = (&str, &dyn BlobFactory)> {
        self.blobs.iter().map(|(name, slot)| (name.as_str(), slot.part.as_ref()))
    }

    /// The eviction policies, sorted by name.
    pub fn eviction_policies(&self) -> impl Iterator<Item = &dyn EvictionPolicy> {
        self.policies.values().map(|slot| slot.part.as_ref())
    }

    /// The handler of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest.
    pub fn handler(&self, name: &str) -> Result<&Arc<dyn CacheHandler>> {
        let found = self.handlers.iter().find(|slot| slot.part.name() == name);
        found.map(|slot| &slot.part).ok_or_else(|| {
            let known: Vec<&str> = self.handlers().map(CacheHandler::name).collect();
            not_registered("handler", name, &known)
        })
    }

    /// The factory of the metadata backend of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest.
    pub fn metadata_backend(&self, name: &str) -> Result<&Arc<dyn MetadataFactory>> {
        get(&self.metadata, "metadata backend", name)
    }

    /// The factory of the blob backend of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest.
    pub fn blob_backend(&self, name: &str) -> Result<&Arc<dyn BlobFactory>> {
        get(&self.blobs, "blob backend", name)
    }

    /// The eviction policy of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest.
    pub fn eviction_policy(&self, name: &str) -> Result<&Arc<dyn EvictionPolicy>> {
        get(&self.policies, POLICY, name)
    }

    /// All eviction policies, as backends find them.
    pub(crate) fn policies(&self) -> EvictionPolicies {
        EvictionPolicies::new(self.policies.iter().map(|(name, slot)| (name.clone(), slot.part.clone())))
    }
}

const POLICY: &str = "eviction policy";

/// Stores keep the name of a policy, and keep room for this much.
const LONGEST_POLICY_NAME: usize = 255;

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("handlers", &self.handlers().map(CacheHandler::name).collect::<Vec<_>>())
            .field("metadata", &self.metadata.keys())
            .field("blobs", &self.blobs.keys())
            .field("policies", &self.policies.keys())
            .finish()
    }
}

fn insert<T: ?Sized>(
    parts: &mut BTreeMap<String, Slot<T>>,
    what: &str,
    name: String,
    part: Arc<T>,
    replace: bool,
) -> Result<()> {
    check_name(what, &name)?;
    if parts.contains_key(&name) && !replace {
        return Err(taken(what, &name));
    }
    parts.insert(name, Slot { part, priority: None, builtin: false });
    Ok(())
}

fn get<'a, T: ?Sized>(parts: &'a BTreeMap<String, Slot<T>>, what: &str, name: &str) -> Result<&'a Arc<T>> {
    parts.get(name).map(|slot| &slot.part).ok_or_else(|| {
        let known: Vec<&str> = parts.keys().map(String::as_str).collect();
        not_registered(what, name, &known)
    })
}

fn check_name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("the name of {} is empty", with_article(what)),
        ));
    }
    Ok(())
}

fn taken(what: &str, name: &str) -> Error {
    let message = format!(
        "{} named `{name}` is registered already; register this one under another name, or say that it replaces \
         that one",
        with_article(what)
    );
    Error::new(ErrorKind::Conflict, message)
}

fn with_article(what: &str) -> String {
    let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {what}")
}

fn not_registered(what: &str, name: &str, known: &[&str]) -> Error {
    let message = if known.is_empty() {
        format!("no {what} is registered, so not `{name}` either; switch on a feature that brings one")
    } else {
        format!("no {what} named `{name}`; known are {}{}", list(known), nearest(name, known))
    };
    Error::new(ErrorKind::NotRegistered, message)
}
