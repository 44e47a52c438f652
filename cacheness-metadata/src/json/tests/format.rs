//! What the files look like, as another reader would be written against it.

use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use crate::json::journal::{self, Changes};
use crate::json::snapshot::{self, Identity, Rows};

fn identity() -> Identity {
    Identity { id: "0123456789abcdef0123456789abcdef".to_owned(), generation: 7 }
}

fn rows() -> Rows {
    let row = |key: &'static [u8], value: &'static [u8]| (Bytes::from(key), Bytes::from(value));
    [row(b"b\x00", b""), row(b"e\x01user:1", "Gr\u{fc}\u{df}e".as_bytes())].into()
}

#[test]
fn a_snapshot_is_one_json_document_with_one_row_a_line() {
    let json = String::from_utf8(snapshot::render(&identity(), &rows())).unwrap();
    let expected = "{\"cacheness_index\":1,\"id\":\"0123456789abcdef0123456789abcdef\",\"generation\":7,\"rows\":{\n\
         \"b%00\":\"\",\n\
         \"e%01user:1\":\"Gr\u{fc}\u{df}e\"\n\
         },\"checksum\":\"6c56f36a6e672cff\"}\n";
    assert_eq!(json, expected);
    let any: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(any["rows"]["e%01user:1"], "Gr\u{fc}\u{df}e");
}

#[test]
fn a_snapshot_that_another_program_laid_out_anew_is_read() {
    let any: serde_json::Value = serde_json::from_slice(&snapshot::render(&identity(), &rows())).unwrap();
    let read =
        snapshot::parse(Path::new("x"), serde_json::to_string_pretty(&any).unwrap().as_bytes()).unwrap();
    assert_eq!((read.identity, read.rows), (identity(), rows()));
}

#[test]
fn a_journal_has_a_first_line_a_line_for_each_write_and_one_that_ends_it() {
    let changes: Changes =
        vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"50%"))), (Bytes::from_static(b"x"), None)];
    assert_eq!(
        journal::first_line(&identity()),
        "{\"cacheness_journal\":1,\"id\":\"0123456789abcdef0123456789abcdef\",\"generation\":7}\n"
    );
    let record = journal::record(7, 1, &changes);
    let expected = "{\"n\":1,\"changes\":{\"h\":\"50%25\",\"x\":null},\"checksum\":\"c1e5749f17e68d3a\"}\n";
    assert_eq!(std::str::from_utf8(&record).unwrap(), expected);
    assert_eq!(journal::last_line(1), "{\"end\":1}\n");
    let all = [&record[..], b"{\"end\":1}\n"].concat();
    let read = journal::parse(Path::new("x"), 7, 0, &all).unwrap();
    assert_eq!((read.writes, read.len, read.ended), (vec![changes], record.len(), true));
}

/// The checksum as the documentation of the format states it, computed over bytes that are laid out by hand.
#[test]
fn the_checksum_covers_generation_number_and_rows() {
    let mut covered = Vec::new();
    for number in [7_u64, 1, 2] {
        covered.extend(number.to_le_bytes());
    }
    covered.extend(1_u64.to_le_bytes());
    covered.extend(b"h\x01");
    covered.extend(3_u64.to_le_bytes());
    covered.extend(b"50%");
    covered.extend(1_u64.to_le_bytes());
    covered.extend(b"x\x00");
    assert_eq!(twox_hash::XxHash3_64::oneshot(&covered), 0xc1e5_749f_17e6_8d3a);
}

fn any_rows() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    proptest::collection::vec((any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..8)
}

proptest! {
    #[test]
    fn any_snapshot_comes_back(given in any_rows()) {
        let rows: Rows = given.into_iter().map(|(k, v)| (k.into(), v.unwrap_or_default().into())).collect();
        let read = snapshot::parse(Path::new("x"), &snapshot::render(&identity(), &rows)).unwrap();
        prop_assert_eq!((read.identity, read.rows), (identity(), rows));
    }

    #[test]
    fn any_journal_comes_back_and_its_beginnings_are_those_of_its_writes(
        given in proptest::collection::vec(any_rows(), 0..4), cut: proptest::sample::Index,
    ) {
        let given = given.into_iter().map(|changes| {
            changes.into_iter().map(|(k, v)| (k.into(), v.map(Bytes::from))).collect()
        });
        let writes: Vec<Changes> = given.collect();
        let mut ends = vec![0];
        let mut bytes = Vec::new();
        for (i, changes) in writes.iter().enumerate() {
            bytes.extend(journal::record(7, 4 + i as u64, changes));
            ends.push(bytes.len());
        }
        let read = journal::parse(Path::new("x"), 7, 3, &bytes).unwrap();
        prop_assert_eq!((&read.writes, read.len, read.ended), (&writes, bytes.len(), false));
        // Cut anywhere, it holds the writes that are whole.
        let cut = cut.index(bytes.len() + 1);
        let whole = ends.iter().filter(|&&end| end <= cut).count() - 1;
        let read = journal::parse(Path::new("x"), 7, 3, &bytes[..cut]).unwrap();
        prop_assert_eq!((&read.writes[..], read.len), (&writes[..whole], ends[whole]));
    }
}
