//! Files and folders as parameters.

use std::path::Path;

use fs_err as fs;
use tempfile::TempDir;

use super::super::{Key, KeyBuilder};
use crate::cache_key;
use crate::error::{ErrorKind, Result};

fn file(path: &Path) -> Key {
    KeyBuilder::new().file("x", path).unwrap().build()
}

fn folder(path: &Path) -> Key {
    KeyBuilder::new().folder("x", path).unwrap().build()
}

fn kind(result: Result<KeyBuilder>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// A folder with the given files; a path that ends in `/` is an empty folder.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let target = root.path().join(path);
        if path.ends_with('/') {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, content).unwrap();
        }
    }
    root
}

#[test]
fn a_file_counts_by_content_and_not_by_name() {
    let root = tree(&[("a", "one"), ("b/c.txt", "one"), ("d", "two"), ("empty", "")]);
    let at = |name: &str| file(&root.path().join(name));
    assert_eq!(at("a"), at("b/c.txt"));
    assert_ne!(at("a"), at("d"));
    assert_ne!(at("a"), at("empty"));
}

#[test]
fn one_changed_byte_in_a_long_file_changes_the_key() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("long");
    let mut content = vec![7; 300_000];
    fs::write(&path, &content).unwrap();
    let before = file(&path);
    content[299_999] = 8;
    fs::write(&path, &content).unwrap();
    assert_ne!(before, file(&path));
}

#[test]
fn a_file_differs_from_its_content_as_a_value_and_from_a_folder() {
    let root = tree(&[("a", "text"), ("empty", ""), ("folder/", "")]);
    let path = root.path().join("a");
    assert_ne!(file(&path), cache_key! { x: "text" }.unwrap());
    assert_ne!(file(&path), cache_key! { x: path.to_str().unwrap() }.unwrap());
    assert_ne!(file(&root.path().join("empty")), folder(&root.path().join("folder")));
}

#[test]
fn equal_folders_in_two_places_agree_whatever_the_order_of_creation() {
    let files = [("a/b", "1"), ("a.c", "2"), ("a-d/", ""), ("z/y/x", "3"), ("b", "4")];
    let mut reversed = files;
    reversed.reverse();
    let (one, two) = (tree(&files), tree(&reversed));
    assert_eq!(folder(one.path()), folder(two.path()));
}

#[test]
fn whatever_differs_in_a_folder_changes_the_key() {
    let trees: [&[(&str, &str)]; 9] = [
        &[],
        &[("a", "")],
        &[("a/", "")],
        &[("a", "1")],
        &[("b", "1")],
        &[("a/b", "1")],
        &[("a/b", "1"), ("c/", "")],
        &[("a/b", "1"), ("a/c/", "")],
        &[("a", "1"), ("b", "1")],
    ];
    let keys: Vec<Key> = trees.iter().map(|files| folder(tree(files).path())).collect();
    for (i, key) in keys.iter().enumerate() {
        assert!(!keys[..i].contains(key), "{:?}", trees[i]);
    }
}

#[test]
fn the_macro_takes_files_and_folders() {
    let root = tree(&[("a", "1")]);
    let path = root.path().join("a");
    let built = KeyBuilder::with_prefix("p").unwrap().file("f", &path).unwrap();
    let built = built.folder("d", root.path()).unwrap().param("n", 1).unwrap().build();
    assert_eq!(cache_key!("p"; file f: path, n: 1, folder d: root.path()).unwrap(), built);
    assert_eq!(cache_key!("p"; folder "d": root, n: 1, file "f": &path,).unwrap(), built);
    assert_eq!(cache_key!(file x: path).unwrap(), file(&path));
    assert_eq!(cache_key!(folder x: root).unwrap(), folder(root.path()));
}

#[test]
fn a_missing_file_or_folder_is_not_found_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("missing");
    let error = KeyBuilder::new().file("input", &missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let message = error.to_string();
    assert!(message.contains(missing.to_str().unwrap()) && message.contains("parameter: input"), "{message}");
    assert_eq!(kind(KeyBuilder::new().folder("src", &missing)), ErrorKind::NotFound);
}

#[test]
fn a_file_is_not_a_folder_nor_the_other_way_round() {
    let root = tree(&[("a", "1")]);
    assert_eq!(kind(KeyBuilder::new().file("x", root.path())), ErrorKind::InvalidInput);
    assert_eq!(kind(KeyBuilder::new().folder("x", root.path().join("a"))), ErrorKind::InvalidInput);
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::UnixListener;

    use fs_err::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_a_folder_counts_by_its_target_and_is_not_followed() {
        let root = tree(&[("a", "1")]);
        let link = root.path().join("link");
        let mut keys = vec![folder(root.path())];
        // The last two lead nowhere and back to the folder itself.
        for target in ["a", "b", "."] {
            symlink(target, &link).unwrap();
            keys.push(folder(root.path()));
            fs::remove_file(&link).unwrap();
        }
        fs::write(&link, "1").unwrap();
        keys.push(folder(root.path()));
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
    }

    #[test]
    fn a_path_that_is_itself_a_link_is_followed() {
        let root = tree(&[("folder/a", "1")]);
        let (to_file, to_folder) = (root.path().join("f"), root.path().join("d"));
        symlink("folder/a", &to_file).unwrap();
        symlink("folder", &to_folder).unwrap();
        assert_eq!(file(&to_file), file(&root.path().join("folder/a")));
        assert_eq!(folder(&to_folder), folder(&root.path().join("folder")));
    }

    #[test]
    fn a_special_file_is_an_error_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(kind(KeyBuilder::new().file("x", &socket)), ErrorKind::InvalidInput);
        let error = KeyBuilder::new().folder("x", root.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("/socket"), "{error}");
    }

    // macOS does not let such a file be made.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_not_utf8_is_an_error_that_names_the_path() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
        let error = KeyBuilder::new().folder("x", root.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("caf"), "{error}");
    }

    #[test]
    fn a_folder_nested_a_thousand_deep_is_hashed() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d/".repeat(1000));
        fs::create_dir_all(&deep).unwrap();
        let before = folder(root.path());
        fs::write(deep.join("f"), "1").unwrap();
        assert_ne!(before, folder(root.path()));
    }
}
