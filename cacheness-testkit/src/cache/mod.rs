//! The behaviour suite of whole caches: what an application relies on, whatever the cache is made of, through both
//! faces.

#[doc(hidden)]
pub mod cases;
mod face;

use std::path::Path;
use std::sync::Arc;

use cacheness_core::{CacheBuilder, Env};
use tempfile::TempDir;

pub use face::{AnyCache, Face};

use crate::{TestClock, run};

/// Composes a cache in a folder, by the clock of these surroundings.
type Build = dyn Fn(&Path, Env) -> CacheBuilder + Send + Sync;

/// What a case tests: caches in one folder, by one clock, through one face.
pub struct CacheSubject {
    build: Box<Build>,
    folder: TempDir,
    face: Face,
    /// The clock by which every cache of this subject goes.
    pub clock: Arc<TestClock>,
}

impl CacheSubject {
    /// A fresh folder and a fresh clock. `build` gets the folder and the surroundings that tell the clock's time.
    ///
    /// # Panics
    /// Where no temporary folder can be made.
    pub fn new(face: Face, build: impl Fn(&Path, Env) -> CacheBuilder + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder cannot be made");
        Self { build: Box::new(build), folder, face, clock: TestClock::new() }
    }

    /// The composition, for a case that changes it.
    #[must_use]
    pub fn builder(&self) -> CacheBuilder {
        (self.build)(&self.folder.path().join("cache"), self.clock.env())
    }

    /// Opens a cache. A second one in the same folder shares what a persistent cache holds.
    ///
    /// # Panics
    /// Where it cannot be opened.
    pub async fn open(&self) -> AnyCache {
        self.open_built(self.builder()).await
    }

    /// Opens a cache of this composition.
    ///
    /// # Panics
    /// Where it cannot be opened.
    pub async fn open_built(&self, builder: CacheBuilder) -> AnyCache {
        match self.face {
            Face::Async => AnyCache::Async(builder.open().await.expect("the cache cannot be opened")),
            Face::Blocking => {
                AnyCache::Blocking(builder.open_blocking().expect("the cache cannot be opened"))
            }
        }
    }

    /// A folder for a case's own files, beside the cache.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Drives one case; what [`cache_suite!`](crate::cache_suite) generates calls it. The blocking face is driven on a
/// worker thread of a runtime, where blocking is hardest.
///
/// # Panics
/// Where the case does: a promise is broken.
#[doc(hidden)]
pub fn one(subject: CacheSubject, case: impl AsyncFnOnce(&CacheSubject)) {
    run::on_many_threads(case(&subject));
}

/// Generates a module with one test for each promise of a cache, through both faces.
///
/// The arguments are the module's name and a closure that gets a folder and an [`Env`] and gives a
/// [`CacheBuilder`]. The cache must have handlers for serde values, bytes and text.
///
/// ```no_run
/// cacheness_testkit::cache_suite!(mine, |folder, env| {
///     cacheness_core::Cache::builder().folder(folder).blobs("mine").env(env)
/// });
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! cache_suite {
    ($name:ident, $build:expr $(,)?) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn subject(face: $crate::cache::Face) -> $crate::cache::CacheSubject {
                $crate::cache::CacheSubject::new(face, $build)
            }

            mod async_face {
                $crate::__cache_cases!($crate::cache::Face::Async);
            }

            mod blocking_face {
                $crate::__cache_cases!($crate::cache::Face::Blocking);
            }
        }
    };
}
