//! The behaviour suite of [`BlobBackend`](cacheness_core::BlobBackend): each promise of the trait as one test.

#[doc(hidden)]
pub mod cases;
mod subject;

pub use subject::{BlobStore, BlobSubject, read};

use crate::run;

/// Drives one case; what [`blob_suite!`](crate::blob_suite) generates calls it.
///
/// # Panics
/// Where the case does: a promise is broken.
#[doc(hidden)]
pub fn one(subject: BlobSubject, case: impl AsyncFnOnce(&BlobSubject)) {
    run::on_one_thread(case(&subject));
}

/// Drives one case on several threads.
///
/// # Panics
/// Where the case does: a promise is broken.
#[doc(hidden)]
pub fn many(subject: BlobSubject, case: impl AsyncFnOnce(&BlobSubject)) {
    run::on_many_threads(case(&subject));
}

/// Generates a module with one test for each promise of [`BlobBackend`](cacheness_core::BlobBackend).
///
/// The arguments are the module's name, an expression for the backend's factory, and one for the options it is
/// opened with. Both expressions are evaluated once for each test and see what the place of the call sees. Each test
/// has a fresh temporary folder and cache ids of its own. What a backend says it cannot do, in its
/// [`BlobCapabilities`](cacheness_core::BlobCapabilities), is not asked of it.
///
/// ```no_run
/// # use cacheness_core::{BlobFactory, ConfigOptions};
/// # struct MyFactory;
/// # #[async_trait::async_trait]
/// # impl BlobFactory for MyFactory {
/// #     fn name(&self) -> &str { "mine" }
/// #     fn description(&self) -> &str { "" }
/// #     fn options(&self) -> &[cacheness_core::OptionSpec] { &[] }
/// #     async fn open(&self, _: &ConfigOptions, _: &cacheness_core::OpenContext)
/// #         -> cacheness_core::Result<std::sync::Arc<dyn cacheness_core::BlobBackend>> { unreachable!() }
/// # }
/// cacheness_testkit::blob_suite!(mine, MyFactory, ConfigOptions::new());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! blob_suite {
    ($name:ident, $factory:expr, $options:expr $(,)?) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn subject() -> $crate::blob::BlobSubject {
                $crate::blob::BlobSubject::new($factory, $options)
            }

            $crate::__blob_cases!(subject);
        }
    };
}
