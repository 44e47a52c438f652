//! What is particular to the backend `object_store`: what its configuration refuses.

use cacheness_core::{BlobFactory, ConfigOptions, ErrorKind};

use super::ObjectStoreBlobFactory;

fn refused(url: &str, options: &str) -> String {
    let given = ConfigOptions::new().with("url", url).with("options", options);
    let error = ObjectStoreBlobFactory::new().check(&given).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    error.to_string()
}

#[test]
fn a_wrong_url_or_option_is_named_and_no_secret_is_shown() {
    assert!(refused("bucket/prefix", "").contains("is no url"));
    assert!(refused("ftp://host/x", "").contains("`ftp:`"));
    assert!(refused("s3://key:geheim@bucket", "").contains("credentials in `options`"));
    assert!(refused("s3://bucket", "aws_acces_key_id = x").contains("aws_acces_key_id"));
    let message = refused("s3://bucket", "geheim");
    assert!(message.contains("no `=`") && !message.contains("geheim"));
}

#[test]
fn a_url_of_each_kind_of_store_is_taken_with_the_options_of_that_kind() {
    for (url, options, prefix) in [
        ("gs://bucket/some/where", "google_skip_signature = true", "some/where"),
        ("az://container/x", "azure_storage_account_name = account\nazure_skip_signature = true", "x"),
        ("abfs://container@account.dfs.core.windows.net/x", "azure_skip_signature = true", "x"),
        ("https://account.blob.core.windows.net/container/x", "azure_skip_signature = true", "x"),
        ("https://dav.example.com/cache/x/", "", "cache/x"),
        ("http://dav.example.com/cache", "allow_http = true", "cache"),
        ("s3://bucket", "aws_region = eu-west-1\naws_skip_signature = true", ""),
    ] {
        let given = ConfigOptions::new().with("url", url).with("options", options);
        ObjectStoreBlobFactory::new().check(&given).unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let pairs = options.lines().filter_map(|line| line.split_once(" = "));
        let pairs: Vec<_> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let (_, found) = super::url::store(url, &pairs).unwrap();
        // What the crate takes for the name of the bucket or container, or for the address, is not in it.
        assert!(found == prefix || url.starts_with("http") && prefix.ends_with(&found), "{url}: {found}");
    }
}
