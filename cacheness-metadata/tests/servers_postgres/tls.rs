//! Encryption: which certificates are believed, by the words of `sslmode`.

use std::path::Path;
use std::process::Command;

use cacheness_core::{ConfigOptions, ErrorKind};

use super::server::{OwnServer, at, client, open};

fn openssl(folder: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes authorities `ca` and `other`, and a server's certificate by the first, for a name.
fn certificates(folder: &Path, name: &str) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30";
    for authority in ["ca", "other"] {
        openssl(
            folder,
            &format!("req -x509 {KEY} -keyout {authority}.key -out {authority}.pem -subj /CN={authority}"),
        );
    }
    openssl(folder, &format!("req {KEY} -keyout server.key -out server.csr -subj /CN=server"));
    fs_err::write(folder.join("names"), format!("subjectAltName = {name}\n")).unwrap();
    openssl(
        folder,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.crt -days 30 -extfile names",
    );
}

/// What opening says, in one word.
async fn opened(options: &ConfigOptions, mode: &str, ca: Option<&Path>) -> Result<(), ErrorKind> {
    let mut options = options.clone().with("tls", mode);
    if let Some(ca) = ca {
        options = options.with("tls_ca", ca.to_str().unwrap());
    }
    open(&options).await.map(drop).map_err(|error| {
        assert!(error.to_string().contains("`tls`"), "{error}");
        error.kind()
    })
}

#[tokio::test]
async fn a_certificate_is_checked_as_far_as_the_mode_says() {
    let refused = Err(ErrorKind::Unavailable);
    for (name, right) in [("IP:127.0.0.1", true), ("DNS:elsewhere.example", false)] {
        let server = OwnServer::start();
        let folder = tempfile::tempdir().unwrap();
        let (ca, other) = (folder.path().join("ca.pem"), folder.path().join("other.pem"));
        certificates(folder.path(), name);
        server.encrypt(folder.path());
        let options = at(&server.url);
        for mode in ["prefer", "require"] {
            assert_eq!(opened(&options, mode, None).await, Ok(()), "{name}: {mode} checks nothing");
        }
        assert_eq!(opened(&options, "verify-ca", Some(&ca)).await, Ok(()), "{name}: the chain is right");
        assert_eq!(opened(&options, "verify-ca", Some(&other)).await, refused, "{name}: the chain is wrong");
        assert_eq!(opened(&options, "verify-ca", None).await, refused, "{name}: the system does not know it");
        let full = opened(&options, "verify-full", Some(&ca)).await;
        assert_eq!(full, if right { Ok(()) } else { refused }, "{name}: the name counts");
        assert_eq!(
            opened(&options, "verify-full", Some(&other)).await,
            refused,
            "{name}: the chain is wrong"
        );

        let kept = open(&options.clone().with("tls", "require")).await.unwrap();
        let encrypted = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                         WHERE a.application_name = 'cacheness'";
        let encrypted = client(&server.url).await.query_one(encrypted, &[]).await.unwrap();
        assert_eq!(encrypted.get::<_, Option<bool>>(0), Some(true), "what is said to be encrypted is");
        kept.close().await.unwrap();
    }
}
