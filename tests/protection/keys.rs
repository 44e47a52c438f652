//! What is said of a key that is missing, open to others or ambiguous.

use cacheness::*;

use super::store::Store;

fn refused(store: &Store, signing: Signing) -> String {
    let error = store.builder().signing(signing).open_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    error.to_string()
}

#[test]
fn a_key_that_cannot_be_taken_is_an_error_that_names_the_option_and_the_way_out() {
    let store = Store::new();
    let missing = refused(&store, Signing::new().key_file("none.key"));
    assert!(missing.contains("`signing.key_file`") && missing.contains("create_key = true"), "{missing}");
    let none = refused(&store, Signing::new());
    assert!(none.contains("`signing.key_file` or `signing.key_env`"), "{none}");
    let both = refused(&store, Signing::new().key_file("a").key_env("B"));
    assert!(both.contains("leave all but one"), "{both}");
    let nowhere = refused(&store, Signing::new().key_env("CACHENESS_NOT_SET").create_key(true));
    assert!(nowhere.contains("`signing.create_key`"), "{nowhere}");
    let short = refused(&store, Signing::new().key(Secret::new("too short")));
    assert!(short.contains("the fewest are 32") && !short.contains("too short"), "{short}");
    assert!(store.rows.lock().unwrap().is_empty(), "nothing was opened");
}

#[test]
fn no_key_is_made_in_the_place_of_one_that_was_there() {
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str| keys.path().join(name);
    let made = |name: &str| EncryptionKey::file(file(name)).create_key(true);
    let signing = || Signing::new().key_file(file("signing")).create_key(true);
    let encrypting = || Encryption::new("one", made("one"));

    // What was put before there were keys belongs to none, so they are made.
    let (signed, sealed) = (Store::new(), Store::new());
    signed.builder().open_blocking().unwrap().put("plain", &0).unwrap();
    let open_signed = || signed.builder().signing(signing()).open_blocking();
    let open_sealed = |encryption| sealed.builder().encryption(encryption).open_blocking();
    open_signed().unwrap().put("k", &1).unwrap();
    open_sealed(encrypting()).unwrap().put("k", &1).unwrap();

    for name in ["signing", "one"] {
        fs_err::rename(file(name), file("elsewhere")).unwrap();
        let opened = if name == "signing" { open_signed() } else { open_sealed(encrypting()) };
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        let message = error.to_string();
        assert!(message.contains("put the file back") && message.contains(".key_file`"), "{message}");
        assert!(!fs_err::exists(file(name)).unwrap(), "no key was made");
        fs_err::rename(file("elsewhere"), file(name)).unwrap();
    }
    assert_eq!(open_signed().unwrap().get::<i32, _>("k").unwrap(), Some(1));

    // However many were put before there were keys.
    let mixed = Store::new();
    let plain = mixed.builder().open_blocking().unwrap();
    plain.put_many((0..1_500).map(|n| (format!("a{n:04}"), "value")), PutOptions::new()).unwrap();
    plain.close().unwrap();
    let open_mixed = || mixed.builder().signing(signing()).open_blocking();
    open_mixed().unwrap().put("z", &1).unwrap();
    fs_err::rename(file("signing"), file("elsewhere")).unwrap();
    let message = open_mixed().unwrap_err().to_string();
    assert!(message.contains("put the file back"), "{message}");
    fs_err::rename(file("elsewhere"), file("signing")).unwrap();
    assert_eq!(open_mixed().unwrap().get::<i32, _>("z").unwrap(), Some(1));

    // Rebuilding makes none either, whatever is there to be rebuilt.
    let nothing = tempfile::tempdir().unwrap();
    let (lost, index) = (nothing.path().join("lost"), nothing.path().join("cache"));
    let lost_key = Signing::new().key_file(&lost).create_key(true);
    let builder = Cache::builder().folder(&index).signing(lost_key);
    let error = builder.rebuild_blocking(RebuildOptions::new()).unwrap_err();
    let message = error.to_string();
    assert!(error.kind() == ErrorKind::ConfigInvalid && message.contains("put the file back"), "{message}");
    assert!(!fs_err::exists(&lost).unwrap(), "no key was made");

    // A further key is made beside the one that the entries have; one that hashes keys is not made twice.
    let two = || Encryption::new("two", made("two")).also_read("one", made("one"));
    let hashing = || two().also_read("names", made("names")).hash_keys("names");
    let cache = open_sealed(two()).unwrap();
    assert_eq!(cache.get::<i32, _>("k").unwrap(), Some(1));
    cache.close().unwrap();
    open_sealed(hashing()).unwrap().put("k", &2).unwrap();
    fs_err::remove_file(file("names")).unwrap();
    let message = open_sealed(hashing()).unwrap_err().to_string();
    assert!(message.contains("`encryption.keys.names.key_file`"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let store = Store::new();
    let path = store.folder.path().join("cache.key");
    fs_err::write(&path, "k".repeat(64)).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let message = refused(&store, Signing::new().key_file(&path));
    assert!(message.contains("mode is 0644") && message.contains("`signing.key_file`"), "{message}");
    assert!(!message.contains("kkkk"), "{message}");
}

#[test]
fn a_configuration_names_the_key_and_prints_none() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "folder = {:?}\n[signing]\nkey_file = 'made.key'\ncreate_key = true\nalgorithm = 'blake3'\n",
        folder.path().join("cache")
    );
    let builder = CacheBuilder::from_toml(&text).unwrap();
    let cache = builder.clone().open_blocking().unwrap();
    cache.put("k", &1).unwrap();
    cache.close().unwrap();
    let key = fs_err::read_to_string(folder.path().join("cache/made.key")).unwrap();
    assert_eq!(key.trim().len(), 64);

    let printed = builder.to_toml().unwrap();
    assert!(printed.contains("algorithm = \"blake3\"") && !printed.contains(key.trim()), "{printed}");
    let again = CacheBuilder::from_toml(&printed).unwrap().open_blocking().unwrap();
    assert_eq!(again.get::<i32, _>("k").unwrap(), Some(1));

    let given = Cache::builder().signing(Signing::new().key(Secret::new("hunter2".repeat(9))));
    let texts = format!("{:?} {}", given, given.to_toml().unwrap());
    assert!(!texts.contains("hunter2") && texts.contains("(hidden)"), "{texts}");
    let cache = given.open_blocking().unwrap();
    assert!(!format!("{cache:?}").contains("hunter2"));
}
