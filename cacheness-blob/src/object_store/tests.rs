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
