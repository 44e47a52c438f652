//! The factory of the backend `s3`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use cacheness_core::{
    BlobBackend, BlobFactory, ConfigOptions, Error, ErrorKind, OpenContext, OptionKind, OptionSpec, Result,
};

use super::requests::Bucket;
use crate::remote::{RemoteBlobs, Settings};

const NAME: &str = "s3";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("bucket", OptionKind::Text, None, "The bucket. It must be there.")
        .required()
        .example("my-bucket"),
    OptionSpec::new("prefix", OptionKind::Text, Some(""), "What stands before the names of all objects.")
        .example("cache"),
    OptionSpec::new("region", OptionKind::Text, None, "The bucket's region.")
        .otherwise("what the environment or the AWS configuration says, else us-east-1")
        .example("eu-west-1"),
    OptionSpec::new("endpoint", OptionKind::Text, None, "The server's url, for servers other than Amazon's.")
        .otherwise("Amazon's server of the region")
        .example("https://minio.example.com:9000"),
    OptionSpec::new(
        "path_style",
        OptionKind::Bool,
        None,
        "Whether the bucket is named in the path of a url rather than as part of the host's name.",
    )
    .otherwise("true with an `endpoint`, else false"),
    OptionSpec::new(
        "access_key_id",
        OptionKind::Text,
        None,
        "The name of the key; goes with `secret_access_key`.",
    )
    .otherwise("the standard chain: variables, profile, web identity, container, instance")
    .example("AKIA…"),
    OptionSpec::new("secret_access_key", OptionKind::Text, None, "The key; goes with `access_key_id`.")
        .otherwise("as `access_key_id`")
        .secret(),
    OptionSpec::new("session_token", OptionKind::Text, None, "The token of temporary credentials.")
        .otherwise("none")
        .secret(),
    OptionSpec::new(
        "encryption",
        OptionKind::Choice(&["AES256", "aws:kms", "aws:kms:dsse"]),
        None,
        "How the server encrypts objects.",
    )
    .otherwise("as the bucket says"),
    OptionSpec::new("kms_key_id", OptionKind::Text, None, "The key with which `aws:kms` encrypts.")
        .otherwise("the account's own"),
    OptionSpec::new(
        "storage_class",
        OptionKind::Choice(&[
            "STANDARD",
            "STANDARD_IA",
            "ONEZONE_IA",
            "INTELLIGENT_TIERING",
            "GLACIER_IR",
            "EXPRESS_ONEZONE",
        ]),
        None,
        "The class of storage of new objects.",
    )
    .otherwise("as the server says"),
    OptionSpec::new(
        "timeout",
        OptionKind::Duration { min: Duration::from_millis(1), max: Duration::from_secs(3600) },
        Some("30s"),
        "How long a request may take, its repetitions included; a large value is sent and fetched in parts of 8 MiB. \
         `remote.timeout` bounds the call as a whole, and the shorter one counts.",
    ),
    OptionSpec::new(
        "attempts",
        OptionKind::Int { min: 1, max: 100 },
        Some("4"),
        "How often a request is made that fails for a reason that may pass, with growing random pauses between. They are \
         within one attempt of the call, which `remote.attempts` counts.",
    ),
];

/// Makes blob backends over S3.
///
/// ```no_run
/// use cacheness_blob::s3::S3BlobFactory;
/// use cacheness_core::{BlobFactory, ConfigOptions, Env, OpenContext};
///
/// # async fn open() -> cacheness_core::Result<()> {
/// let options = ConfigOptions::new().with("bucket", "my-bucket").with("prefix", "cache");
/// let blobs = S3BlobFactory::new().open(&options, &OpenContext::new(Env::new())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct S3BlobFactory;

impl S3BlobFactory {
    /// The factory. What it makes is set by options.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl BlobFactory for S3BlobFactory {
    fn name(&self) -> &str {
        NAME
    }

    fn description(&self) -> &str {
        "Blobs in S3, of Amazon or of another server that speaks its protocol."
    }

    fn options(&self) -> &[OptionSpec] {
        OPTIONS
    }

    fn needs(&self) -> &[&'static str] {
        &["a bucket", "credentials that may get, put, delete and list objects in it"]
    }

    fn check(&self, options: &ConfigOptions) -> Result<()> {
        let invalid = |message: &str| Err(Error::new(ErrorKind::ConfigInvalid, message));
        let (key, secret) = (options.text("access_key_id"), options.secret("secret_access_key"));
        if key.is_some() != secret.is_some() {
            return invalid("`access_key_id` and `secret_access_key` go together: give both, or neither");
        }
        if options.secret("session_token").is_some() && key.is_none() {
            return invalid("`session_token` goes with `access_key_id` and `secret_access_key`");
        }
        if options.text("kms_key_id").is_some()
            && !options.text("encryption").is_some_and(|way| way.starts_with("aws:kms"))
        {
            return invalid("`kms_key_id` needs `encryption = \"aws:kms\"`");
        }
        match options.text("endpoint") {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                invalid("`endpoint` is a url that begins with http:// or https://")
            }
            _ => Ok(()),
        }
    }

    async fn open(&self, options: &ConfigOptions, context: &OpenContext) -> Result<Arc<dyn BlobBackend>> {
        let options = options.with_defaults(OPTIONS);
        let timeout = options.duration("timeout").unwrap_or(Duration::from_secs(30));
        let bucket = Bucket {
            client: context.env.on_io(client(options.clone(), timeout)).await?,
            name: options.text("bucket").unwrap_or_default().to_owned(),
            encryption: options.text("encryption").map(ServerSideEncryption::from),
            kms_key: options.text("kms_key_id").map(str::to_owned),
            storage_class: options.text("storage_class").map(StorageClass::from),
            timeout,
            connect_timeout: connect_timeout(timeout, attempts(&options)),
        };
        let settings = Settings {
            backend: NAME,
            prefix: options.text("prefix").unwrap_or_default().trim_matches('/').to_owned(),
            timeout,
            persistent: true,
            mode: context.mode,
        };
        Ok(Arc::new(RemoteBlobs::open(bucket, settings, context.env.clone()).await?))
    }
}

fn attempts(options: &ConfigOptions) -> u32 {
    options.int("attempts").and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(4)
}

fn connect_timeout(timeout: Duration, attempts: u32) -> Duration {
    timeout / attempts.saturating_add(1)
}

async fn client(options: ConfigOptions, timeout: Duration) -> Result<Client> {
    let attempts = attempts(&options);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        .timeout_config(
            // A connection that is half open must not take the time of all attempts.
            TimeoutConfig::builder()
                .connect_timeout(connect_timeout(timeout, attempts))
                .operation_attempt_timeout(timeout / attempts.max(1))
                .operation_timeout(timeout)
                .build(),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = options.text("region") {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let (Some(key), Some(secret)) = (options.text("access_key_id"), options.secret("secret_access_key")) {
        let token = options.secret("session_token").map(|token| token.expose().to_owned());
        loader =
            loader.credentials_provider(Credentials::new(key, secret.expose(), token, None, "cacheness"));
    }
    let shared = loader.load().await;
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        // Several servers refuse the checksums that newer clients add by themselves. Blobs carry checksums of our own.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    let endpoint = options.text("endpoint");
    config.set_force_path_style(Some(options.bool("path_style").unwrap_or(endpoint.is_some())));
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
    }
    if shared.region().is_none() {
        config = config.region(Region::new("us-east-1"));
    }
    Ok(Client::from_conf(config.build()))
}
