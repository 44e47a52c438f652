//! A blob backend of your own: blobs as objects of a bucket, all under a key prefix.
//!
//! `cargo run --example custom_blob_backend`
//!
//! The bucket is a folder here, which may be a mounted one. An object's key is PREFIX/CACHE/BLOB; with a client of an
//! object store in place of `fs_err`, the same few calls make a backend for it.

#![allow(clippy::print_stdout, reason = "a program that shows something")]

// shows: rows 57, 59

use std::io::{ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cacheness::*;

struct Bucket {
    /// Where objects of all caches begin.
    root: PathBuf,
    /// Where an object is written before it gets its key, by a rename: so nobody sees a part of one.
    incoming: PathBuf,
    env: Env,
}

impl Bucket {
    fn object(&self, key: &BlobKey) -> PathBuf {
        self.root.join(key.cache.to_string()).join(key.blob.to_string())
    }

    /// Does something with an object: `None` where it is not there. That the bucket itself is gone is an error, or
    /// the cache would take all its blobs for lost.
    async fn with<T: Send + 'static>(
        &self,
        path: PathBuf,
        act: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let bucket = self.incoming.clone();
        let work = move || match act(&path) {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.kind() == Io::NotFound && bucket.is_dir() => Ok(None),
            Err(error) => Err(Error::io(error, "the bucket cannot be used")),
        };
        self.env.unblock(work).await
    }
}

#[async_trait]
impl BlobBackend for Bucket {
    fn capabilities(&self) -> BlobCapabilities {
        BlobCapabilities::files()
    }

    async fn put(&self, key: &BlobKey, source: BlobSource) -> Result<()> {
        let (path, incoming) = (self.object(key), self.incoming.clone());
        let work = move || {
            let failed = |error| Error::io(error, "the object cannot be written");
            fs_err::create_dir_all(path.parent().unwrap_or(&incoming)).map_err(failed)?;
            let staged = match source {
                BlobSource::File(staged) => staged,
                other => {
                    let bytes = other.into_bytes()?;
                    let mut file = tempfile::NamedTempFile::new_in(&incoming).map_err(failed)?;
                    file.write_all(&bytes).map_err(failed)?;
                    StagedFile::new(file, bytes.len() as u64)
                }
            };
            staged.persist(&path)
        };
        self.env.unblock(work).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Blob>> {
        let open = |path: &Path| {
            let file = fs_err::File::open(path)?;
            let length = file.metadata()?.len();
            Ok(Blob::File(file.into_file(), length))
        };
        self.with(self.object(key), open).await
    }

    async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Option<Bytes>> {
        let read = move |path: &Path| {
            let mut file = fs_err::File::open(path)?;
            file.seek(SeekFrom::Start(range.start.min(file.metadata()?.len())))?;
            let mut bytes = Vec::new();
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(bytes.into())
        };
        self.with(self.object(key), read).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<bool> {
        Ok(self.with(self.object(key), |path| fs_err::remove_file(path)).await?.is_some())
    }

    async fn exists(&self, key: &BlobKey) -> Result<bool> {
        Ok(self.with(self.object(key), |path| fs_err::metadata(path)).await?.is_some())
    }

    /// A cursor is the last name of the page before, as an object store's `start-after` is.
    async fn list_keys(&self, cache: CacheId, after: Option<&str>, limit: usize) -> Result<BlobPage> {
        let after = after.unwrap_or_default().to_owned();
        let list = move |path: &Path| {
            let mut names = Vec::new();
            for object in fs_err::read_dir(path)? {
                names.extend(object?.file_name().into_string().ok().filter(|name| *name > after));
            }
            names.sort();
            Ok(names)
        };
        let mut names = self.with(self.root.join(cache.to_string()), list).await?.unwrap_or_default();
        let more = names.len() > limit.max(1);
        names.truncate(limit.max(1));
        let next = names.last().filter(|_| more).cloned();
        Ok(BlobPage::new(names.iter().filter_map(|name| BlobId::parse(name)).collect(), next))
    }

    fn staging_dir(&self) -> Option<&Path> {
        Some(&self.incoming)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

struct BucketFactory;

#[async_trait]
impl BlobFactory for BucketFactory {
    fn name(&self) -> &str {
        "bucket"
    }

    fn description(&self) -> &str {
        "Objects of a bucket that is mounted as a folder, under a key prefix."
    }

    fn options(&self) -> &[OptionSpec] {
        const BUCKET: OptionSpec =
            OptionSpec::new("bucket", OptionKind::Path, Some("bucket"), "The bucket's folder.").in_folder();
        const PREFIX: OptionSpec = OptionSpec::new(
            "prefix",
            OptionKind::Text,
            Some("blobs"),
            "What all keys begin with, such as cache/v1.",
        );
        &[BUCKET, PREFIX]
    }

    fn check(&self, options: &ConfigOptions) -> Result<()> {
        let prefix = options.text("prefix").unwrap_or("blobs");
        if prefix.split('/').any(|part| part.starts_with('.') || part.contains('\\')) {
            let message = format!("`prefix` is {prefix:?}; no part may begin with a dot or have a `\\`");
            return Err(Error::new(ErrorKind::ConfigInvalid, message));
        }
        Ok(())
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        if context.durability != Durability::Process {
            return Err(Error::new(ErrorKind::Unsupported, "`bucket` has no durability but `process`"));
        }
        self.check(options)?;
        let options = options.with_defaults(self.options());
        let bucket = context.path("bucket", options.path("bucket"), "bucket")?;
        let prefix = options.text("prefix").unwrap_or_default().trim_matches('/');
        let (root, incoming) = (bucket.join(prefix), bucket.join(".incoming"));
        context.prepare_folder(&incoming)?;
        Ok(Arc::new(Bucket { root, incoming, env: context.env.clone() }))
    }

    fn needs_runtime(&self) -> bool {
        false
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cacheness.toml");
    fs_err::write(&file, "[blobs]\nbackend = 'bucket'\nbucket = 'my-bucket'\nprefix = 'cache/v1'\n")?;
    let config = Config::from_file(&file, &Variables::process())?;
    let registry = Registry::builtin().with_blob_backend(BucketFactory)?;
    let cache = CacheBuilder::new(registry).config(config)?.open_blocking()?;

    cache.put("large", &vec![7_u8; 100_000])?;
    let same = cache.get("large")?.is_some_and(|value: Vec<u8>| value == vec![7; 100_000]);
    let objects = fs_err::read_dir(folder.path().join("my-bucket/cache/v1").join(cache.id().to_string()))?;
    println!("100 kB come back the same: {same}; objects under cache/v1: {}", objects.count());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // shows: rows 55, 68
    cacheness_testkit::blob_suite!(bucket, BucketFactory, ConfigOptions::new().with("prefix", "cache/v1"));

    #[test]
    fn a_durability_that_cannot_be_kept_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::builtin().with_blob_backend(BucketFactory).unwrap();
        let builder = CacheBuilder::new(registry).folder(folder.path()).blobs("bucket");
        let error = builder.durability(Durability::Power).open_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }

    #[test]
    fn a_prefix_that_leads_out_of_the_bucket_is_refused() {
        for prefix in ["..", "a/../b", ".incoming", "a\\..\\b"] {
            let error = BucketFactory.check(&ConfigOptions::new().with("prefix", prefix)).unwrap_err();
            assert!(error.to_string().contains("prefix"), "{error}");
        }
    }
}
