//! The test vectors of `docs/key-encoding.md`, each checked against the code.

use std::collections::BTreeMap;

use fs_err as fs;

use super::super::{KeyBuilder, Unordered, encoding, path};
use crate::cache_key;

const PAGE: &str = include_str!("../../../../docs/key-encoding.md");

/// The rows of the table under a heading, without the two lines of its head; code marks and escapes are taken off.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n### {heading}\n")).expect("the heading");
    let lines =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let line = line.trim_matches('|').replace("\\|", "\u{1}");
        line.split('|').map(|cell| cell.trim().replace('`', "").replace('\u{1}', "|")).collect()
    };
    lines.skip(2).map(cells).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares a table with what the code makes; a failure prints the table as it should be.
fn assert_table(heading: &str, expected: &[Vec<String>]) {
    let written = table(heading);
    let row = |cells: &Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("`{}`", cell.replace('|', "\\|"))).collect();
        format!("| {} |", cells.join(" | "))
    };
    let rows: Vec<String> = expected.iter().map(row).collect();
    // How the compiler spaces the text of an expression is not part of the page.
    let plain = |cells: &Vec<String>| row(cells).replace(' ', "");
    let equal = written.iter().map(plain).eq(expected.iter().map(plain));
    assert!(equal, "the table under `{heading}` should be:\n{}\n", rows.join("\n"));
}

macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$(vec![stringify!($value).to_owned(), hex(&encoding::encode(&$value).unwrap())]),*]
    };
}

macro_rules! keys {
    ($($call:expr => $builder:expr),* $(,)?) => {
        vec![$({
            let key = $call.unwrap();
            let builder: KeyBuilder = $builder;
            assert_eq!(key, builder.build());
            vec![stringify!($call).to_owned(), hex(&builder.canonical_bytes()), key.to_string()]
        }),*]
    };
}

#[derive(serde::Serialize)]
enum E {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { x: u8 },
}

#[derive(serde::Serialize)]
struct Point {
    y: i32,
    x: i32,
}

#[derive(serde::Serialize)]
struct Metres(f64);

/// Serialises as bytes; `&[u8]` itself is a sequence to serde.
struct Bytes(&'static [u8]);

impl serde::Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn the_values_of_the_page_have_the_bytes_that_it_says() {
    let expected = values![
        (),
        None::<u8>,
        Some(1),
        Some(None::<u8>),
        Some(Some(1)),
        false,
        true,
        0,
        1,
        255_u8,
        256_i64,
        u128::MAX,
        -1,
        -256,
        -257,
        i128::MIN,
        0.0,
        -0.0,
        1.0,
        0.1,
        0.1_f32,
        f64::INFINITY,
        f64::NAN,
        '1',
        "",
        "1",
        "é",
        "1|b:2",
        Bytes(&[1, 2]),
        [1, 2],
        (1, "1"),
        Unordered([2, 1]),
        BTreeMap::from([("b", 1), ("aa", 2)]),
        BTreeMap::from([(1, "x")]),
        Point { y: 2, x: 1 },
        Metres(1.5),
        E::Unit,
        E::Newtype(1),
        E::Tuple(1, 2),
        E::Struct { x: 1 },
    ];
    assert_table("Values", &expected);
}

#[test]
fn the_keys_of_the_page_are_the_ones_that_the_code_derives() {
    let new = KeyBuilder::new;
    let model = KeyBuilder::with_prefix("model").unwrap();
    let expected = keys![
        cache_key! {} => new(),
        cache_key! { a: 1 } => new().param("a", 1).unwrap(),
        cache_key! { a: 1.0 } => new().param("a", 1.0).unwrap(),
        cache_key! { a: "1|b:2" } => new().param("a", "1|b:2").unwrap(),
        cache_key! { b: 2, a: "1" } => new().param("a", "1").unwrap().param("b", 2).unwrap(),
        cache_key! { a: None::<u8> } => new().param("a", None::<u8>).unwrap(),
        cache_key!("model"; lr: 0.1, layers: [64, 64])
            => model.param("layers", [64, 64]).unwrap().param("lr", 0.1).unwrap(),
    ];
    assert_table("Keys", &expected);
}

#[test]
fn a_key_of_the_page_is_the_hash_of_its_bytes() {
    for row in table("Keys") {
        let bytes: Vec<u8> = (0..row[1].len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&row[1][i..i + 2], 16).unwrap())
            .collect();
        let hash = hex(&blake3::derive_key("cacheness key v1 parameters", &bytes));
        assert_eq!(row[2].rsplit(':').next(), Some(hash.as_str()));
    }
}

#[test]
fn the_files_and_folders_of_the_page_have_the_hashes_that_it_says() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let file = |content: &str| {
        fs::write(at("file"), content).unwrap();
        hex(&path::hash_file(&at("file")).unwrap())
    };
    let row = |what: &str, hash: String| vec![what.to_owned(), hash];
    let mut expected = vec![row("file: (empty)", file("")), row("file: hello", file("hello"))];

    let folder = |what: &str| row(what, hex(&path::hash_folder(&at("folder")).unwrap()));
    fs::create_dir(at("folder")).unwrap();
    expected.push(folder("folder: (empty)"));
    fs::write(at("folder/a.txt"), "hello").unwrap();
    expected.push(folder("folder: a.txt = hello"));
    fs::create_dir(at("folder/a")).unwrap();
    fs::write(at("folder/a/b"), "").unwrap();
    fs::create_dir(at("folder/c")).unwrap();
    expected.push(folder("folder: a/b = (empty), a.txt = hello, c/"));
    // Windows needs a privilege for links, so that the row with one is left out there.
    #[cfg(unix)]
    {
        fs_err::os::unix::fs::symlink("a/b", at("folder/link")).unwrap();
        expected.push(folder("folder: a/b = (empty), a.txt = hello, c/, link -> a/b"));
    }
    #[cfg(not(unix))]
    expected.extend(table("Files and folders").pop());
    assert_table("Files and folders", &expected);
}
