//! Files that no version of this program leaves: an error that says which, or an interrupted write that is dropped;
//! never a panic.

use cacheness_core::{ErrorKind, ListQuery, Namespace};
use proptest::prelude::*;

use super::*;

const WRITES: usize = 3;

/// A folder with an index: rows in the snapshot, and `WRITES` more in the journal.
fn index() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open_rows(folder.path()).unwrap();
    let first = fs_err::read(folder.path().join("index.json")).unwrap();
    let mut i = 0;
    while fs_err::read(folder.path().join("index.json")).unwrap() == first {
        store.write(setting(&format!("s{i:02}"), &"v".repeat(4000))).unwrap();
        i += 1;
    }
    for i in 0..WRITES {
        store.write(setting(&format!("j{i}"), "a value")).unwrap();
    }
    folder
}

fn damage(folder: &Path, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let path = folder.join(name);
    let bytes = fs_err::read(&path).unwrap();
    fs_err::write(&path, change(bytes)).unwrap();
}

fn replaced(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

/// Damages one file of a fresh index, and returns the error of opening it.
fn error_after(name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Error {
    let folder = index();
    damage(folder.path(), name, change);
    let before = fs_err::read(folder.path().join(name)).unwrap();
    let Err(error) = open_rows(folder.path()) else { panic!("opening must be an error") };
    assert!(error.to_string().contains("index.json"), "{error}");
    assert_eq!(fs_err::read(folder.path().join(name)).unwrap(), before, "the file is left as it is");
    error
}

#[test]
fn damage_of_either_file_is_an_error_that_names_it_and_says_what_to_do() {
    let (index, journal) = ("index.json", "index.json.journal");
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let cases: [(&str, Damage); 18] = [
        (index, |_| Vec::new()),
        (index, |bytes| bytes[..bytes.len() / 2].to_vec()),
        (index, |bytes| bytes[..bytes.len() - 3].to_vec()),
        (index, |_| (0..5000_u32).map(|i| ((i * 7919) >> 3) as u8).collect()),
        (index, |bytes| replaced(bytes, "vvvv", "vvvw")),
        (index, |bytes| replaced(bytes, "\"s01\"", "\"s00\"")),
        (index, |bytes| replaced(bytes, "vvvv", "vv%v")),
        (index, |bytes| replaced(bytes, "vvvv", "v\"vv")),
        (index, |bytes| replaced(bytes, "\"rows\"", "\"sows\"")),
        (index, |bytes| replaced(bytes, "\"generation\":2", "\"generation\":1")),
        (index, |bytes| [bytes, b"{}".to_vec()].concat()),
        (journal, |_| Vec::new()),
        (journal, |_| b"garbage\n".to_vec()),
        (journal, |bytes| replaced(bytes, "{\"n\":2", "{\"n\":3")),
        (journal, |bytes| replaced(bytes, "a value", "b value")),
        (journal, |bytes| replaced(bytes, "{\"n\":2", "garbage\n{\"n\":2")),
        (journal, |bytes| replaced(bytes, "{\"n\":2", "{\"end\":1}\n{\"n\":2")),
        (journal, |bytes| replaced(bytes, "\"generation\":2", "\"generation\":3")),
    ];
    for (i, (name, change)) in cases.into_iter().enumerate() {
        let error = error_after(name, change);
        assert_eq!(error.kind(), ErrorKind::Corrupted, "case {i}: {error}");
        assert!(error.to_string().contains("move the file away"), "case {i}: {error}");
    }
}

#[test]
fn json_of_another_program_is_refused_as_a_wrong_path() {
    for json in
        ["{}", "[]", "[2]", "17", "\"text\"", "{\"name\": \"package\"}", "{\"cacheness_index\": \"1\"}"]
    {
        let error = error_after("index.json", |_| json.into());
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{json}: {error}");
    }
}

#[test]
fn a_newer_format_is_refused_and_both_numbers_are_named() {
    let files = [("index.json", "cacheness_index"), ("index.json.journal", "cacheness_journal")];
    for (name, field) in files {
        let whole =
            error_after(name, |bytes| replaced(bytes, &format!("\"{field}\":1"), &format!("\"{field}\":7")));
        let other = error_after(name, |_| format!("{{\"{field}\": 7, \"pages\": [[]]}}").into());
        for error in [whole, other] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            let message = error.to_string();
            assert!(message.contains("format 7") && message.contains("up to 1"), "{message}");
        }
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow_of_the_stack() {
    let error =
        error_after("index.json", |_| "{\"cacheness_index\":1,\"rows\":{\"a\":".repeat(100_000).into());
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    error_after("index.json", |_| "[".repeat(1_000_000).into());
}

#[test]
fn a_journal_whose_snapshot_is_gone_is_not_taken_for_a_new_index() {
    let folder = index();
    fs_err::remove_file(folder.path().join("index.json")).unwrap();
    let Err(error) = open_rows(folder.path()) else { panic!("opening must be an error") };
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
}

#[test]
fn the_rest_of_an_interrupted_write_is_dropped_and_later_writes_stay() {
    let rests: [&[u8]; 5] = [
        b"{",
        b"{\"n\":4,\"changes\":{\"j0\":\"half",
        b"{\"n\":4,\"changes\":{\"j0\":\"half\"},\"checksum\":\"0000000000000000\"}",
        b"{\"n\":4,\"ch\0\0\0\0\0\0\0\0",
        &[0; 4096],
    ];
    for rest in rests {
        let folder = index();
        let open = open_rows(folder.path()).unwrap();
        damage(folder.path(), "index.json.journal", |bytes| [&bytes, rest].concat());
        assert_eq!(value(&open, "j0").as_deref(), Some("a value"));
        damage(folder.path(), "index.json.journal", |bytes| [&bytes, rest].concat());
        let store = open_rows(folder.path()).unwrap();
        damage(folder.path(), "index.json.journal", |bytes| [&bytes, rest].concat());
        store.write(setting("j0", "after")).unwrap();
        for store in [open, store, open_rows(folder.path()).unwrap()] {
            assert_eq!(value(&store, "j0").as_deref(), Some("after"));
            assert_eq!(value(&store, "j2").as_deref(), Some("a value"));
        }
    }
}

#[test]
fn a_last_line_that_has_its_end_is_no_interrupted_write() {
    let lines: [&[u8]; 4] = [
        b"{\"n\":4,\"changes\":{\"j0\":\"half\"},\"checksum\":\"0000000000000000\"}\n",
        b"\n",
        b"{\"n\":4,\"ch\0\0\0\0\0\0\0\0\n",
        b"{\"n\":4,\"ch\0\0\0\0\0\0\0\0\n{\"n\":5}",
    ];
    for line in lines {
        let error = error_after("index.json.journal", |bytes| [&bytes, line].concat());
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    }
    let error = error_after("index.json.journal", |bytes| replaced(bytes, "{\"n\":2", "\0\"n\":2"));
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    let flipped = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let at = text.rfind("a value").unwrap();
        format!("{}b{}", &text[..at], &text[at + 1..]).into_bytes()
    };
    let error = error_after("index.json.journal", flipped);
    assert!(error.to_string().contains("checksum"), "the last write was made: {error}");
}

#[test]
fn damage_while_it_is_open_is_an_error_of_the_next_call_and_nothing_is_written_over_it() {
    let folder = index();
    let store = open_rows(folder.path()).unwrap();
    damage(folder.path(), "index.json.journal", |bytes| [&bytes, &b"garbage\nmore\n"[..]].concat());
    assert_eq!(store.catch_up().unwrap_err().kind(), ErrorKind::Corrupted);
    assert_eq!(store.write(setting("a", "1")).unwrap_err().kind(), ErrorKind::Corrupted);
    damage(folder.path(), "index.json.journal", |bytes| bytes[..90].to_vec());
    assert_eq!(store.write(setting("a", "1")).unwrap_err().kind(), ErrorKind::Corrupted);
}

#[tokio::test]
async fn opening_what_must_exist_creates_nothing() {
    let subject = subject();
    let error = error_of_open(subject.folder(), OpenMode::Existing).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(names_in(subject.folder()), Vec::<String>::new());
    subject.open().await.close().await.unwrap();
    open_in(subject.folder(), OpenMode::Existing).await.unwrap();
}

#[derive(Clone, Debug)]
enum Change {
    Set(proptest::sample::Index, u8),
    Cut(proptest::sample::Index),
    Remove(proptest::sample::Index, u8),
    Insert(proptest::sample::Index, Vec<u8>),
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        let at =
            |index: proptest::sample::Index, bytes: &[u8]| index.index(bytes.len().max(1)).min(bytes.len());
        match self {
            Self::Set(index, byte) => {
                let at = at(index, bytes);
                bytes.iter_mut().skip(at).take(1).for_each(|place| *place = byte);
            }
            Self::Cut(index) => bytes.truncate(at(index, bytes)),
            Self::Remove(index, count) => {
                let from = at(index, bytes);
                bytes.drain(from..(from + usize::from(count)).min(bytes.len()));
            }
            Self::Insert(index, more) => {
                let at = at(index, bytes);
                bytes.splice(at..at, more);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        any::<proptest::sample::Index>().prop_map(Change::Cut),
        (any::<proptest::sample::Index>(), any::<u8>()).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<proptest::sample::Index>(), any::<Vec<u8>>()).prop_map(|(at, more)| Change::Insert(at, more)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_change_of_the_files_makes_a_call_panic(
        in_journal: bool, changes in proptest::collection::vec(change(), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let subject = subject();
            let store = subject.open().await;
            for key in ["a", "b", "c"] {
                store.put(subject.inline_entry("default", key, b"value")).await;
            }
            store.close().await.unwrap();
            let name = if in_journal { "index.json.journal" } else { "index.json" };
            damage(subject.folder(), name, |mut bytes| {
                changes.into_iter().for_each(|change| change.apply(&mut bytes));
                bytes
            });
            let known = [ErrorKind::Corrupted, ErrorKind::ConfigInvalid, ErrorKind::Unsupported];
            match open_in(subject.folder(), OpenMode::Create).await {
                Err(error) => assert!(known.contains(&error.kind()), "{error}"),
                Ok(store) => {
                    // Damage at the end of the journal is the rest of a write, so what is there is right.
                    let name = Namespace::default();
                    for key in ["a", "b", "c"] {
                        store.get_entry(&name, key).await.unwrap();
                    }
                    store.list_entries(&ListQuery::new()).await.unwrap();
                    store.clear(&name).await.unwrap();
                }
            }
        });
    }
}
