//! What keys promise; the bytes themselves are checked against the tables of `docs/key-encoding.md`.

mod builder;
mod encoding;
mod path;
mod roundtrip;
mod vectors;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::Key;
use crate::error::ErrorKind;

#[test]
fn a_key_is_any_text_of_1_to_65536_bytes() {
    for text in ["a", " ", "\0", "../../etc/passwd", "schema:sales.csv", "キー", &"x".repeat(65_536)] {
        assert_eq!(Key::new(text).unwrap().as_str(), text);
        assert_eq!(Key::try_from(text.to_owned()).unwrap().as_str(), text);
    }
}

#[test]
fn an_empty_key_is_refused() {
    for result in [Key::new(""), Key::try_from(""), Key::try_from(String::new()), "".parse()] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_key_that_is_too_long_is_refused_with_its_length_the_limit_and_advice() {
    // Its length is counted in bytes: each of these characters takes two.
    let error = Key::new("é".repeat(32_769)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let message = error.to_string();
    for part in ["65538", "65536", "cache_key!"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(message.len() < 1000, "the message must not repeat the whole key");
}

#[test]
fn a_key_hashes_compares_and_prints_as_its_text() {
    let (a, b) = (Key::new("a").unwrap(), Key::new("b\n").unwrap());
    assert!(a < b);
    let state = RandomState::new();
    assert_eq!(state.hash_one(&a), state.hash_one("a"));
    let map = HashMap::from([(a.clone(), 1)]);
    assert_eq!(map.get("a"), Some(&1));
    assert_eq!(format!("{a:>3}|{b:?}"), r#"  a|"b\n""#);
}

#[test]
fn serde_writes_a_key_as_text_and_checks_what_it_reads() {
    let key = Key::new("user:\"1\"").unwrap();
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(json, r#""user:\"1\"""#);
    assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
    assert!(serde_json::from_str::<Key>(r#""""#).is_err());
    assert!(serde_json::from_str::<Key>(&format!("\"{}\"", "x".repeat(65_537))).is_err());
}
