//! The behaviour suite of [`MetadataBackend`](cacheness_core::MetadataBackend): each promise of the trait as one test.

#[doc(hidden)]
pub mod cases;
mod newer;
mod store;
mod subject;

pub use newer::of_a_newer_version;
pub use store::Store;
pub use subject::MetadataSubject;

use crate::run;

/// Drives one case; what [`metadata_suite!`](crate::metadata_suite) generates calls it.
///
/// # Panics
/// Where the case does: a promise is broken.
#[doc(hidden)]
pub fn one(subject: MetadataSubject, case: impl AsyncFnOnce(&MetadataSubject)) {
    run::on_one_thread(case(&subject));
}

/// Drives one case on several threads.
///
/// # Panics
/// Where the case does: a promise is broken.
#[doc(hidden)]
pub fn many(subject: MetadataSubject, case: impl AsyncFnOnce(&MetadataSubject)) {
    run::on_many_threads(case(&subject));
}

/// Generates a module with one test for each promise of [`MetadataBackend`](cacheness_core::MetadataBackend).
///
/// The arguments are the module's name, an expression for the backend's factory, and one for the options it is
/// opened with. Both expressions are evaluated once for each test and see what the place of the call sees. Each test
/// has a fresh temporary folder and a [`TestClock`](crate::TestClock). What a backend says it cannot do, in its
/// [`MetadataCapabilities`](cacheness_core::MetadataCapabilities), is not asked of it. A backend that does not implement
/// [`unnamed`](cacheness_core::MetadataBackend::unnamed) and [`condemn`](cacheness_core::MetadataBackend::condemn), so
/// that its caches cannot be swept, says so by `without_sweeping` as the last argument.
///
/// ```no_run
/// # use cacheness_core::{ConfigOptions, MetadataFactory};
/// # struct MyFactory;
/// # #[async_trait::async_trait]
/// # impl MetadataFactory for MyFactory {
/// #     fn name(&self) -> &str { "mine" }
/// #     fn description(&self) -> &str { "" }
/// #     fn options(&self) -> &[cacheness_core::OptionSpec] { &[] }
/// #     async fn open(&self, _: &ConfigOptions, _: &cacheness_core::OpenContext)
/// #         -> cacheness_core::Result<std::sync::Arc<dyn cacheness_core::MetadataBackend>> { unreachable!() }
/// # }
/// cacheness_testkit::metadata_suite!(mine, MyFactory, ConfigOptions::new().with("path", "entries.db"));
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! metadata_suite {
    ($name:ident, $factory:expr, $options:expr, without_sweeping $(,)?) => {
        $crate::metadata_suite!(@of $name, $crate::metadata::MetadataSubject::new($factory, $options).without_sweeping());
    };
    ($name:ident, $factory:expr, $options:expr $(,)?) => {
        $crate::metadata_suite!(@of $name, $crate::metadata::MetadataSubject::new($factory, $options));
    };
    (@of $name:ident, $subject:expr) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn subject() -> $crate::metadata::MetadataSubject {
                $subject
            }

            $crate::__metadata_cases!(subject);
        }
    };
}
