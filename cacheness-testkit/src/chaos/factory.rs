//! Factories of wrapped backends, so that a cache is opened over them by name.

use std::sync::Arc;

use async_trait::async_trait;
use cacheness_core::{
    BlobBackend, BlobFactory, ConfigOptions, MetadataBackend, MetadataFactory, OpenContext, OptionSpec,
    Result, SalvageIndex,
};

use super::{Chaos, ChaosBlobs, ChaosMetadata};

macro_rules! chaos_factory {
    ($(#[$doc:meta])* $name:ident, $factory:ident, $backend:ident, $wrapper:ident, { $($rest:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name {
            inner: Arc<dyn $factory>,
            chaos: Chaos,
            name: String,
        }

        impl $name {
            /// Wraps what `inner` opens. The name becomes `chaos:` and the inner one's.
            #[must_use]
            pub fn wrap(inner: impl $factory, chaos: Chaos) -> Self {
                Self::wrap_shared(Arc::new(inner), chaos)
            }

            /// As [`wrap`](Self::wrap), for a factory that is shared.
            #[must_use]
            pub fn wrap_shared(inner: Arc<dyn $factory>, chaos: Chaos) -> Self {
                let name = format!("chaos:{}", inner.name());
                Self { inner, chaos, name }
            }

            /// Sets the name.
            #[must_use]
            pub fn named(mut self, name: impl Into<String>) -> Self {
                self.name = name.into();
                self
            }
        }

        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl $factory for $name {
            fn name(&self) -> &str {
                &self.name
            }

            fn description(&self) -> &str {
                self.inner.description()
            }

            fn options(&self) -> &[OptionSpec] {
                self.inner.options()
            }

            fn needs(&self) -> &[&'static str] {
                self.inner.needs()
            }

            fn check(&self, options: &ConfigOptions) -> Result<()> {
                self.inner.check(options)
            }

            async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn $backend>> {
                let inner = self.inner.open(options, context).await?;
                Ok(Arc::new($wrapper::new(inner, self.chaos.clone(), context.env.clone())))
            }

            fn needs_runtime(&self) -> bool {
                self.inner.needs_runtime()
            }

            $($rest)*
        }
    };
}

chaos_factory! {
    /// Opens metadata backends that are wrapped in [`ChaosMetadata`].
    ///
    /// ```no_run
    /// # fn sqlite() -> std::sync::Arc<dyn cacheness_core::MetadataFactory> { unreachable!() }
    /// use cacheness_core::Registry;
    /// use cacheness_testkit::chaos::{Chaos, ChaosMetadataFactory};
    ///
    /// let chaos = Chaos::new();
    /// let registry = Registry::empty()
    ///     .with_metadata_backend(ChaosMetadataFactory::wrap_shared(sqlite(), chaos.clone()).named("faulty"))?;
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    ChaosMetadataFactory, MetadataFactory, MetadataBackend, ChaosMetadata, {
        fn salvage(&self) -> Option<&dyn SalvageIndex> {
            self.inner.salvage()
        }
    }
}

chaos_factory! {
    /// Opens blob backends that are wrapped in [`ChaosBlobs`].
    ///
    /// ```no_run
    /// # fn files() -> std::sync::Arc<dyn cacheness_core::BlobFactory> { unreachable!() }
    /// use cacheness_core::Registry;
    /// use cacheness_testkit::chaos::{Chaos, ChaosBlobFactory};
    /// use std::time::Duration;
    ///
    /// let chaos = Chaos::new().slow(Duration::from_millis(20));
    /// let registry =
    ///     Registry::empty().with_blob_backend(ChaosBlobFactory::wrap_shared(files(), chaos).named("slow"))?;
    /// # Ok::<(), cacheness_core::Error>(())
    /// ```
    ChaosBlobFactory, BlobFactory, BlobBackend, ChaosBlobs, {}
}
