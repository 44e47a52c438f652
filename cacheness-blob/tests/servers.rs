//! The behaviour suite on stores that need a server, and what such stores answer where something is wrong.
//!
//! `scripts/test` starts the servers. By hand: `eval "$(scripts/services up s3)"` before, `scripts/services down` after.
#![cfg(all(feature = "s3", feature = "object-store"))]

use aws_sdk_s3::Client;
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

fn endpoint() -> String {
    server("TEST_S3")
}

/// Amazon's client for a server, to do what the backend does not.
fn client(endpoint: &str) -> Client {
    let credentials = aws_sdk_s3::config::Credentials::new(access_key(), secret_key(), None, None, "test");
    let config = aws_sdk_s3::config::Builder::new()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .credentials_provider(credentials)
        .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

fn access_key() -> String {
    server("TEST_S3_ACCESS_KEY")
}

fn secret_key() -> String {
    server("TEST_S3_SECRET_KEY")
}

fn bucket() -> String {
    server("TEST_S3_BUCKET")
}

fn s3() -> ConfigOptions {
    s3_at(&endpoint())
}

fn s3_at(endpoint: &str) -> ConfigOptions {
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
cacheness_testkit::blob_suite!(s3_on_s3s_fs, S3BlobFactory::new(), s3_at(&server("TEST_S3S")));
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
        ("aws_endpoint", endpoint()),
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

/// What `docs/backends.md` says of conditional requests. Nothing depends on them: this keeps the page true.
#[tokio::test]
async fn each_server_honours_the_conditions_that_the_guide_says() {
    let status =
        |failed: Option<u16>| failed.map_or_else(|| "done".to_owned(), |status| format!("refused, {status}"));
    for (endpoint, said) in [
        (endpoint(), ["refused, 412", "refused, 412", "done", "refused, 404"]),
        (server("TEST_S3S"), ["refused, 412", "refused, 412", "done", "done"]),
    ] {
        let (client, bucket) = (client(&endpoint), bucket());
        let put =
            |key: &str| client.put_object().bucket(&bucket).key(key).body("x".to_owned().into_bytes().into());
        let key = format!("conditions/{}", CacheId::random());
        put(&key).send().await.unwrap();
        let absent = put(&key).if_none_match("*").send().await;
        let other = put(&key).if_match("\"00000000000000000000000000000000\"").send().await;
        let deleted =
            client.delete_object().bucket(&bucket).key(&key).if_match("\"00000000000000000000000000000000\"");
        let deleted = deleted.send().await;
        let nowhere =
            client.put_object().bucket("cacheness-nowhere").key(&key).body(Vec::new().into()).send().await;
        let found = [
            status(absent.err().and_then(|failed| Some(failed.raw_response()?.status().as_u16()))),
            status(other.err().and_then(|failed| Some(failed.raw_response()?.status().as_u16()))),
            status(deleted.err().and_then(|failed| Some(failed.raw_response()?.status().as_u16()))),
            status(nowhere.err().and_then(|failed| Some(failed.raw_response()?.status().as_u16()))),
        ];
        assert_eq!(found, said.map(str::to_owned), "{endpoint}");
    }
}
