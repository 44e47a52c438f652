//! From a url and options to a store.

use cacheness_core::{Error, ErrorKind, Result};
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use object_store::{ClientConfigKey, ObjectStoreScheme};
use url::Url;

use super::requests::Requests;

/// A store, and the path in it that the url names, without a `/` at either end.
pub(super) fn store(url: &str, options: &[(String, String)]) -> Result<(Requests, String)> {
    let parsed = Url::parse(url).map_err(|error| {
        let message = "`url` is no url; write for example \"s3://bucket/prefix\" or \"file:///var/cache\"";
        Error::new(ErrorKind::ConfigInvalid, message).with_source(error)
    })?;
    // Before the `@` of Azure's own urls stands the container.
    let may_name = matches!(parsed.scheme(), "abfs" | "abfss");
    if !parsed.username().is_empty() && !may_name || parsed.password().is_some() {
        let message =
            "`url` holds a name or a password; give credentials in `options`, where they are not shown";
        return Err(Error::new(ErrorKind::ConfigInvalid, message));
    }
    let (scheme, _) = ObjectStoreScheme::parse(&parsed).map_err(|_| {
        let message = format!(
            "`url` begins with `{}:`, and only s3, gs, az, abfs, http, https, file and memory are known",
            parsed.scheme()
        );
        Error::new(ErrorKind::ConfigInvalid, message)
    })?;
    for (key, _) in options {
        if !takes(&scheme, key) {
            let message =
                format!("`options` holds `{key}`, which is no option of a `{}:` store", parsed.scheme());
            return Err(Error::new(ErrorKind::ConfigInvalid, message));
        }
    }
    let pairs = options.iter().map(|(key, value)| (key, value));
    let (store, path) = object_store::parse_url_opts(&parsed, pairs).map_err(|error| {
        let message = "the store cannot be set up by this `url` and these `options`";
        Error::new(ErrorKind::ConfigInvalid, message).with_source(error)
    })?;
    // The buckets of S3 Express, which are named so, list in no order.
    let is_express = scheme == ObjectStoreScheme::AmazonS3
        && parsed.host_str().is_some_and(|host| host.split('.').next().unwrap_or(host).ends_with("--x-s3"));
    let lists_in_order = !is_express && !matches!(scheme, ObjectStoreScheme::Local | ObjectStoreScheme::Http);
    Ok((
        Requests { store, lists_in_order, persistent: scheme != ObjectStoreScheme::Memory },
        path.as_ref().trim_matches('/').to_owned(),
    ))
}

/// True where stores of this scheme have such an option. The crate passes over what it does not know.
fn takes(scheme: &ObjectStoreScheme, key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    match scheme {
        ObjectStoreScheme::AmazonS3 => key.parse::<AmazonS3ConfigKey>().is_ok(),
        ObjectStoreScheme::GoogleCloudStorage => key.parse::<GoogleConfigKey>().is_ok(),
        ObjectStoreScheme::MicrosoftAzure => key.parse::<AzureConfigKey>().is_ok(),
        ObjectStoreScheme::Http => key.parse::<ClientConfigKey>().is_ok(),
        _ => false,
    }
}
