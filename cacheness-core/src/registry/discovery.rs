//! What other crates submit to every program that they are linked into: the parts of the crate `cacheness`, and
//! plugins.

use super::Registry;
use crate::error::Result;

/// How the crate `cacheness` tells [`Registry::builtin`] what there is. Other crates register what they bring
/// with the methods of [`Registry`], or submit a [`Plugin`].
#[doc(hidden)]
pub struct Builtin(pub fn(Registry) -> Registry);

inventory::collect!(Builtin);

/// A crate's parts, for [`Registry::discover`] to find. [`submit_plugin!`](crate::submit_plugin) makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    name: &'static str,
    register: fn(&mut Registry) -> Result<()>,
}

inventory::collect!(Plugin);

impl Plugin {
    /// Describes what a crate brings: its name, for messages, and a function that registers its parts.
    #[must_use]
    pub const fn new(name: &'static str, register: fn(&mut Registry) -> Result<()>) -> Self {
        Self { name, register }
    }

    /// The crate's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Submits a crate's parts, so that [`Registry::discover`](crate::Registry::discover) finds them in every program that
/// the crate is linked into.
///
/// It takes a function, or a closure that captures nothing, from `&mut Registry` to `Result<()>`. The crate's name
/// goes into the messages of errors. A linker drops a crate that nobody names: the program that wants to find it says
/// `use their_crate as _;`.
///
/// ```
/// # use cacheness_core::*;
/// # struct Upper;
/// # impl CacheHandler for Upper {
/// #     fn name(&self) -> &str { "upper" }
/// #     fn class(&self) -> TypeClass { TypeClass::Native }
/// #     fn can_handle(&self, _: &ValueRef<'_>) -> bool { false }
/// #     fn can_decode(&self, _: &TypeTarget) -> bool { false }
/// #     fn put(&self, _: &ValueRef<'_>, _: &mut dyn BlobWriter, _: &HandlerContext) -> Result<FormatMeta> {
/// #         Ok(FormatMeta::default())
/// #     }
/// #     fn get(
/// #         &self, _: &mut dyn BlobReader, _: &FormatMeta, _: &TypeTarget, _: &ReadOptions,
/// #     ) -> Result<BoxedValue> {
/// #         Ok(Box::new(()))
/// #     }
/// # }
/// use cacheness_core::{Register, Registry, submit_plugin};
///
/// submit_plugin!(|registry| registry.register_handler(Upper, Register::first()));
///
/// # fn main() -> Result<()> {
/// let mut registry = Registry::builtin();
/// registry.discover()?;
/// assert_eq!(registry.list_handlers()[0].name, "upper");
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! submit_plugin {
    ($register:expr) => {
        $crate::__private::inventory::submit! {
            $crate::Plugin::new(::core::env!("CARGO_PKG_NAME"), $register)
        }
    };
}

/// Applies what `cacheness` has submitted.
pub(super) fn builtin(mut registry: Registry) -> Registry {
    for builtin in inventory::iter::<Builtin> {
        registry = (builtin.0)(registry);
    }
    registry
}

/// Applies all plugins, sorted by name: the order in which the linker found them means nothing.
pub(super) fn plugins(registry: &mut Registry) -> Result<()> {
    let mut plugins: Vec<&Plugin> = inventory::iter::<Plugin>.into_iter().collect();
    plugins.sort_by_key(|plugin| plugin.name);
    for plugin in plugins {
        (plugin.register)(registry).map_err(|error| error.with_context("plugin", plugin.name))?;
    }
    Ok(())
}
