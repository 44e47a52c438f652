//! Who is trusted to vouch for a server: the certificates in a file, or those that the operating system trusts.

use std::path::Path;

use cacheness_core::{Error, ErrorKind, Result};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificates in the file of the option `tls_ca`; without one, those that the operating system trusts.
///
/// # Errors
/// Where the file cannot be read, holds something else, or there is no certificate at all.
pub(crate) fn roots(tls_ca: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match tls_ca {
        Some(path) => {
            let pem = fs_err::read(path)
                .map_err(|error| Error::io(error, "the file of `tls_ca` cannot be read"))?;
            let unreadable = |error: String| {
                let message = format!("`tls_ca` is to be a file of certificates in PEM: {error}");
                Error::new(ErrorKind::ConfigInvalid, message).with_context("path", path.to_string_lossy())
            };
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        let message =
            "there is no certificate to check the server's by; name a file that has one in `tls_ca`";
        return Err(Error::new(ErrorKind::ConfigInvalid, message));
    }
    Ok(roots)
}
