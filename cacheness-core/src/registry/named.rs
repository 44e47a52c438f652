//! A handler under another name than its own.

use std::sync::Arc;

use crate::error::Result;
use crate::handler::{Access, BlobReader, BlobWriter, CacheHandler, FormatMeta, HandlerContext, TypeClass};
use crate::options::ReadOptions;
use crate::value::{BoxedValue, TypeTarget, ValueRef};

/// Answers with its own name and leaves all else to the handler inside.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) inner: Arc<dyn CacheHandler>,
}

#[deny(clippy::missing_trait_methods)]
impl CacheHandler for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        self.inner.description()
    }

    fn class(&self) -> TypeClass {
        self.inner.class()
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        self.inner.can_handle(value)
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        self.inner.can_decode(target)
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        context: &HandlerContext,
    ) -> Result<FormatMeta> {
        self.inner.put(value, writer, context)
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        meta: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        self.inner.get(reader, meta, target, options)
    }

    fn preferred_access(&self) -> Access {
        self.inner.preferred_access()
    }

    fn compresses(&self) -> bool {
        self.inner.compresses()
    }
}
