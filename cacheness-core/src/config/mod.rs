//! Configuration: options as files, variables and programs give them, checked against lists that say what there is.

mod build;
mod cache_options;
mod options;
mod print;
mod secret;
mod spec;
mod spelling;
#[cfg(test)]
mod tests;
#[cfg(feature = "config")]
mod text;
mod units;
mod value;

pub use cache_options::{CACHE_OPTIONS, ENCRYPTION_KEY_OPTIONS, NAMESPACE_OPTIONS, UnknownOptions};
pub use options::ConfigOptions;
pub use secret::Secret;
pub use spec::{OptionKind, OptionSpec};
#[cfg(feature = "config")]
pub use text::{Config, Variables};
pub use value::{ConfigOrigin, ConfigValue};

pub(crate) use build::{Chosen, Part, Parts};
pub(crate) use spelling::{list, nearest};
