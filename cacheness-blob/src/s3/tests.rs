//! What is particular to the backend `s3`: what its configuration refuses.

use cacheness_core::{BlobFactory, ConfigOptions, ErrorKind};

use super::S3BlobFactory;

#[test]
fn options_that_do_not_go_together_are_named_and_no_secret_is_shown() {
    let base = || ConfigOptions::new().with("bucket", "b");
    for (options, named) in [
        (base().with("access_key_id", "k"), "secret_access_key"),
        (base().with("secret_access_key", "geheim"), "access_key_id"),
        (base().with("session_token", "geheim"), "access_key_id"),
        (base().with("kms_key_id", "k"), "aws:kms"),
        (base().with("endpoint", "localhost:9000"), "http://"),
    ] {
        let error = S3BlobFactory::new().check(&options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        let message = error.to_string();
        assert!(message.contains(named) && !message.contains("geheim"), "{message}");
    }
}
