//! What is logged about configurations that are possible and probably not meant.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::blobs::memory::MemoryBlobFactory;
use cacheness::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the messages of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<String>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message<'a>(&'a mut String);
        impl Visit for Message<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, "{field}: {value:?}; ").unwrap();
            }
        }
        event.record(&mut Message(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What is warned of while `work` runs.
fn warnings(work: impl FnOnce()) -> String {
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), work);
    std::mem::take(&mut *warnings.0.lock().unwrap())
}

/// Blobs that other machines see, or so they say.
struct Bucket(bool);

struct Blobs(Arc<dyn BlobBackend>, bool);

#[async_trait]
impl BlobFactory for Bucket {
    fn name(&self) -> &str {
        "bucket"
    }

    fn description(&self) -> &str {
        "Blobs in a bucket that is not there."
    }

    fn options(&self) -> &[OptionSpec] {
        &[]
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        Ok(Arc::new(Blobs(MemoryBlobFactory::new().open(options, context).await?, self.0)))
    }
}

#[async_trait]
impl BlobBackend for Blobs {
    fn capabilities(&self) -> BlobCapabilities {
        self.0.capabilities().with_shared(self.1)
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        self.0.put(key, source).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        self.0.get(key).await
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        self.0.get_range(key, range).await
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

#[test]
fn entries_of_this_machine_beside_blobs_that_others_share_are_warned_of() {
    let open = |shared| {
        let registry = Registry::builtin().with_blob_backend(Bucket(shared)).unwrap();
        warnings(|| drop(CacheBuilder::new(registry).blobs("bucket").open_blocking().unwrap()))
    };
    assert!(open(true).contains("no other machine sees any of these entries"));
    assert_eq!(open(false), "");
}

#[test]
fn whatever_an_unknown_option_holds_it_is_left_out_with_a_warning() {
    let tables = "later = [1]\nnever = 2024-01-01\nhuge = 99999999999999999999\n[new]\na = 1\n[[more]]\nb = 1\n\
                  [limits]\nbar = [1]\nbaz = { a = 1 }\n[metadata]\nbackend = 'memory'\nextra = { a = [1] }\n\
                  [namespaces.n]\nfoo = { a = 1 }\n";
    let json = r#"{"later": null, "new": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {}}}}}}}}}},
                   "limits": {"bar": null}, "blobs": {"extra": [1]}}"#;
    for (text, is_json, names) in [
        (
            format!("unknown_options = 'warn'\n{tables}"),
            false,
            &["later", "never", "huge", "new", "more", "limits.bar", "limits.baz", "metadata.extra", "n.foo"]
                [..],
        ),
        (
            json.replacen('{', "{\"unknown_options\": \"warn\", ", 1),
            true,
            &["later", "new", "limits.bar", "blobs.extra"],
        ),
    ] {
        let read = if is_json { super::json } else { super::toml };
        let logged = warnings(|| drop(read(&text).unwrap().open_blocking().unwrap()));
        for name in names {
            assert!(logged.contains(name), "{name} is not in {logged}");
        }
    }
    assert!(super::toml(tables).is_err() && super::json(json).is_err(), "without `warn` they are errors");
}
