//! The factory of the backend `object_store`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cacheness_core::{
    BlobBackend, BlobFactory, ConfigOptions, Error, ErrorKind, OpenContext, OptionKind, OptionSpec, Result,
};

use super::url::store;
use crate::remote::{RemoteBlobs, Settings};

const NAME: &str = "object_store";

const OPTIONS: [OptionSpec; 3] = [
    OptionSpec::new(
        "url",
        OptionKind::Text,
        None,
        "The store and a prefix in it: `s3://bucket/prefix`, `gs://…`, `az://…`, `https://…`, `file:///…`, `memory:///`.",
    )
    .required()
    .example("gs://my-bucket/cache"),
    OptionSpec::new(
        "options",
        OptionKind::Text,
        None,
        "Options of the crate `object_store` for this kind of store, a `name = value` on each line.",
    )
    .otherwise("the store's own defaults")
    .secret()
    .example("google_service_account = /etc/key.json"),
    OptionSpec::new(
        "timeout",
        OptionKind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(3600) },
        Some("30s"),
        "How long a request may take, its repetitions included; a large value is sent and fetched in parts of 8 MiB. \
         `remote.timeout` bounds the call as a whole, and the shorter one counts.",
    ),
];

/// Makes blob backends over any store that the crate [`object_store`] knows.
///
/// ```
/// use cacheness_blob::object_store::ObjectStoreBlobFactory;
/// use cacheness_core::{BlobFactory, BlobId, BlobKey, BlobSource, CacheId, ConfigOptions, Env, OpenContext};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> cacheness_core::Result<()> {
/// let env = Env::new();
/// let options = ConfigOptions::new().with("url", "memory:///cache");
/// let blobs = ObjectStoreBlobFactory::new().open(&options, &OpenContext::new(env.clone())).await?;
/// let key = BlobKey { cache: CacheId::random(), blob: BlobId::new(env.now()) };
/// blobs.put(&key, BlobSource::Bytes("value".into())).await?;
/// assert_eq!(blobs.get_range(&key, 1..3).await?.as_deref(), Some(&b"al"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectStoreBlobFactory;

impl ObjectStoreBlobFactory {
    /// The factory. What it makes is set by options.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl BlobFactory for ObjectStoreBlobFactory {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "Blobs in Google Cloud Storage, Azure, S3, WebDAV, a folder or memory, by the crate object_store."
    }

    fn options(&self) -> &[OptionSpec] {
        &OPTIONS
    }

    fn needs(&self) -> &[&'static str] {
        &["a store that `url` names, and credentials for it"]
    }

    fn check(&self, options: &ConfigOptions) -> Result<()> {
        read(options).map(|_| ())
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        let options = options.with_defaults(&OPTIONS);
        let (requests, prefix) = read(&options)?;
        let settings = Settings {
            backend: NAME,
            prefix,
            timeout: options.duration("timeout").unwrap_or(Duration::from_secs(30)),
            persistent: requests.persistent,
            mode: context.mode,
        };
        Ok(Arc::new(RemoteBlobs::open(requests, settings, context.env.clone()).await?))
    }
}

fn read(options: &ConfigOptions) -> Result<(super::requests::Requests, String)> {
    let url = options.text("url").ok_or_else(|| {
        Error::new(ErrorKind::ConfigInvalid, "`object_store` needs `url`, for example \"s3://bucket/prefix\"")
    })?;
    let given = options.secret("options");
    let mut pairs = Vec::new();
    for line in given
        .as_ref()
        .map_or("", |given| given.expose())
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let Some((key, value)) = line.split_once('=') else {
            // The line may be a password, so it is not shown.
            let message = "a line of `options` has no `=`; write `name = value`, each on a line of its own";
            return Err(Error::new(ErrorKind::ConfigInvalid, message));
        };
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    store(url, &pairs)
}
