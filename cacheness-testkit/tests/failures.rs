//! What the suites say of a part that breaks a promise: the texts that the crate's front page shows.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::blobs::memory::MemoryBlobFactory;
use cacheness::*;
use cacheness_testkit::blob::{BlobSubject, cases, one};
use cacheness_testkit::handler::HandlerCase;

/// Returns all of a blob where a range was asked for.
struct AllForARange(Arc<dyn BlobBackend>);

#[async_trait]
impl BlobBackend for AllForARange {
    fn capabilities(&self) -> BlobCapabilities {
        self.0.capabilities()
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        self.0.put(key, source).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        self.0.get(key).await
    }

    async fn get_range(&self, key: &BlobKey, _: Range<u64>) -> Result<Option<Bytes>> {
        self.0.get_range(key, 0..u64::MAX).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        self.0.delete(key).await
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        self.0.exists(key).await
    }

    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        self.0.list_keys(cache, after, limit).await
    }

    fn staging_dir(&self) -> Option<&Path> {
        self.0.staging_dir()
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

struct AllForARangeFactory;

#[async_trait]
impl BlobFactory for AllForARangeFactory {
    fn name(&self) -> &str {
        "all_for_a_range"
    }

    fn description(&self) -> &str {
        "A backend that breaks a promise."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        Ok(Arc::new(AllForARange(MemoryBlobFactory::new().open(options, context).await?)))
    }
}

/// Takes it for granted that a `u32` has four bytes.
struct Careless;

impl CacheHandler for Careless {
    fn name(&self) -> &str {
        "careless"
    }

    fn class(&self) -> TypeClass {
        TypeClass::Serde
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        value.any().is::<u32>()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is::<u32>()
    }

    fn put(
        &self,
        value: &ValueRef<'_>,
        writer: &mut dyn BlobWriter,
        _: &HandlerContext,
    ) -> Result<FormatMeta> {
        let number = value.any().downcast_ref::<u32>().unwrap();
        writer.write_all(&number.to_le_bytes()).map_err(|error| Error::io(error, "writing a number"))?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        reader: &mut dyn BlobReader,
        _: &FormatMeta,
        _: &TypeTarget,
        _: &ReadOptions,
    ) -> Result<BoxedValue> {
        let bytes: [u8; 4] = reader.bytes()?.as_ref().try_into().unwrap();
        Ok(Box::new(u32::from_le_bytes(bytes)))
    }
}

/// The text that a failing case panics with.
fn text_of(case: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(case)).expect_err("the promise is broken, so the case fails");
    payload.downcast_ref::<String>().expect("a text").clone()
}

fn front_page_shows(text: &str) {
    let page = include_str!("../src/lib.rs");
    assert!(page.contains(&format!("//! {text}\n")), "the front page does not show: {text}");
}

#[test]
fn a_blob_backend_that_ignores_ranges_is_told_so() {
    let subject = BlobSubject::new(AllForARangeFactory, ConfigOptions::new());
    front_page_shows(&text_of(|| one(subject, cases::ranges::a_range_gives_just_its_bytes)));
}

#[test]
fn a_handler_that_panics_on_damage_is_told_so() {
    front_page_shows(&text_of(|| drop(HandlerCase::new(Careless).accepts(&7_u32))));
}
