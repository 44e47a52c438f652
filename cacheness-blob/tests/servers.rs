//! The behaviour suite on stores that need a server, and what such stores answer where something is wrong.
//!
//! `scripts/test` starts the servers. By hand: `eval "$(scripts/services up s3)"` before, `scripts/services down` after.
#![cfg(all(feature = "s3", feature = "object-store"))]

use std::sync::OnceLock;

use cacheness_blob::object_store::ObjectStoreBlobFactory;
use cacheness_blob::s3::S3BlobFactory;
use cacheness_core::{
    BlobBackend, BlobFactory, BlobId, BlobKey, CacheId, ConfigOptions, Env, ErrorKind, OpenContext, OpenMode,
};

fn server(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "this test needs a server, and {name} does not say where it is: run scripts/test, which starts one, or \
             scripts/test --embedded-only, which leaves this test out"
        )
    })
}

/// The address of the S3 server, once it has the bucket.
fn endpoint() -> &'static str {
    static ENDPOINT: OnceLock<String> = OnceLock::new();
    ENDPOINT.get_or_init(|| {
        let endpoint = server("CACHENESS_TEST_S3");
        let make = async {
            let credentials =
                aws_sdk_s3::config::Credentials::new(access_key(), secret_key(), None, None, "test");
            let config = aws_sdk_s3::config::Builder::new()
                .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
                .region(aws_sdk_s3::config::Region::new("us-east-1"))
                .credentials_provider(credentials)
                .endpoint_url(server("CACHENESS_TEST_S3"))
                .force_path_style(true)
                .build();
            // It may be there already: then what follows shows it.
            let _ = aws_sdk_s3::Client::from_conf(config).create_bucket().bucket(bucket()).send().await;
        };
        std::thread::spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(make);
        })
        .join()
        .unwrap();
        endpoint
    })
}

fn access_key() -> String {
    server("CACHENESS_TEST_S3_ACCESS_KEY")
}

fn secret_key() -> String {
    server("CACHENESS_TEST_S3_SECRET_KEY")
}

fn bucket() -> String {
    server("CACHENESS_TEST_S3_BUCKET")
}

fn s3() -> ConfigOptions {
    let endpoint = endpoint();
    ConfigOptions::new()
        .with("bucket", bucket())
        .with("prefix", "some/where")
        .with("endpoint", endpoint)
        .with("region", "us-east-1")
        .with("access_key_id", access_key())
        .with("secret_access_key", secret_key())
}

fn object_store() -> ConfigOptions {
    let options = format!(
        "aws_endpoint = {}\naws_allow_http = true\naws_region = us-east-1\naws_access_key_id = {}\n\
         aws_secret_access_key = {}\n",
        endpoint(),
        access_key(),
        secret_key()
    );
    ConfigOptions::new().with("url", format!("s3://{}/else/where", bucket())).with("options", options)
}

cacheness_testkit::blob_suite!(s3_on_ceph, S3BlobFactory::new(), s3());
cacheness_testkit::blob_suite!(object_store_on_ceph, ObjectStoreBlobFactory::new(), object_store());

async fn open(
    factory: impl BlobFactory,
    options: ConfigOptions,
) -> cacheness_core::Result<std::sync::Arc<dyn BlobBackend>> {
    factory.check(&options)?;
    factory.open(&options, &OpenContext::new(Env::new())).await
}

fn key() -> BlobKey {
    BlobKey { cache: CacheId::random(), blob: BlobId::new(Env::new().now()) }
}

#[tokio::test]
async fn a_wrong_key_and_a_missing_bucket_are_errors_that_say_what_to_do_and_show_no_secret() {
    for (options, kind, said) in [
        (s3().with("secret_access_key", "geheim"), ErrorKind::PermissionDenied, "credentials"),
        (s3().with("bucket", "cacheness-is-not-there"), ErrorKind::NotFound, "cacheness-is-not-there"),
        (s3().with("endpoint", "http://127.0.0.1:1").with("attempts", 1), ErrorKind::Unavailable, "endpoint"),
    ] {
        let Err(error) = open(S3BlobFactory::new(), options).await else { panic!("it was opened") };
        assert_eq!(error.kind(), kind, "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(said) && !text.contains("geheim"), "{text}");
    }
}

#[tokio::test]
async fn a_missing_object_is_no_blob_but_in_a_store_without_its_marker_nothing_is_said_to_be_missing() {
    let options = s3().with("prefix", format!("marker/{}", CacheId::random()));
    let context = OpenContext::new(Env::new()).with_mode(OpenMode::Existing);
    let Err(error) = S3BlobFactory::new().open(&options, &context).await else { panic!("it was opened") };
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let blobs = open(S3BlobFactory::new(), options.clone()).await.unwrap();
    assert!(blobs.get(&key()).await.unwrap().is_none());
    assert!(!blobs.exists(&key()).await.unwrap());
    // Another bucket, as if ours had been taken away: the client finds no object in it, and no marker either.
    let moved = S3BlobFactory::new().open(&options, &context).await.unwrap();
    remove_marker(&options).await;
    for result in [blobs.exists(&key()).await, moved.exists(&key()).await] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

async fn remove_marker(options: &ConfigOptions) {
    let object = format!("{}/cacheness-blobs", options.text("prefix").unwrap());
    let url = format!("s3://{}", bucket());
    let pairs = [
        ("aws_endpoint", endpoint().to_owned()),
        ("aws_allow_http", "true".to_owned()),
        ("aws_region", "us-east-1".to_owned()),
        ("aws_access_key_id", access_key()),
        ("aws_secret_access_key", secret_key()),
    ];
    let (store, _) = object_store::parse_url_opts(&url.parse().unwrap(), pairs).unwrap();
    object_store::ObjectStoreExt::delete(&store, &object.into()).await.unwrap();
}

/// Calls on a runtime that then ends do not take the connections with them.
#[test]
fn a_store_outlives_the_runtime_that_opened_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let blobs = runtime().block_on(open(S3BlobFactory::new(), s3())).unwrap();
    for _ in 0..3 {
        assert!(runtime().block_on(blobs.get(&key())).unwrap().is_none());
    }
}
