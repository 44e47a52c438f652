//! JSON.

use std::collections::{BTreeMap, HashMap};

use cacheness_core::{CacheValue, ErrorKind};
use cacheness_handlers::JsonHandler;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::memory::{get, plain_stored, put};

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind")]
enum Event {
    Started { at: u64 },
    Failed { why: Option<String> },
}

#[test]
fn a_value_is_plain_json_text() {
    let stored = put(&JsonHandler::new(), &Event::Started { at: 7 }).unwrap();
    assert_eq!(stored.bytes, br#"{"kind":"Started","at":7}"#[..]);
}

#[test]
fn types_that_describe_themselves_come_back() {
    let handler = JsonHandler::new();
    let events = vec![Event::Failed { why: None }, Event::Failed { why: Some("ü\"\n".into()) }];
    assert_eq!(get::<Vec<Event>, _>(&handler, &put(&handler, &events).unwrap()).unwrap(), events);
    let value = json!({"a": [1, 2.5, null, true], "b": {"c": "d"}});
    assert_eq!(get::<serde_json::Value, _>(&handler, &put(&handler, &value).unwrap()).unwrap(), value);
    let by_number: HashMap<u32, i64> = (0..100).map(|i| (i, -i64::from(i))).collect();
    assert_eq!(
        get::<HashMap<u32, i64>, _>(&handler, &put(&handler, &by_number).unwrap()).unwrap(),
        by_number
    );
}

#[test]
fn floats_come_back_exactly() {
    let handler = JsonHandler::new();
    let mut floats = vec![0.1, -0.0, f64::MIN_POSITIVE, f64::MAX, 5e-324, 1.0 / 3.0, 122.416_294_033_786_58];
    floats.extend((1..5_000_u64).map(|i| f64::from_bits(i.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
    floats.retain(|float| float.is_finite());
    let back: Vec<f64> = get(&handler, &put(&handler, &floats).unwrap()).unwrap();
    let bits = |floats: &[f64]| floats.iter().map(|float| float.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&back), bits(&floats));
}

#[test]
fn what_json_cannot_write_is_an_encode_error_that_names_the_type_and_msgpack() {
    let handler = JsonHandler::new();
    let refused = |result: cacheness_core::Result<_>, type_name: &str, why: &str| {
        let error = result.map(|_: crate::memory::Stored| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        let message = error.to_string();
        for part in [type_name, why, "`msgpack`", "`json`"] {
            assert!(message.contains(part), "{message} names {part}");
        }
    };
    refused(put(&handler, &vec![1.0, f64::NAN]), "Vec<f64>", "not a number");
    refused(put(&handler, &Some(f32::NEG_INFINITY)), "Option<f32>", "infinite");
    refused(put(&handler, &BTreeMap::from([((1, 2), 3)])), "BTreeMap", "key must be a string");
}

#[test]
fn what_follows_the_value_is_an_error_unless_it_is_white_space() {
    let handler = JsonHandler::new();
    assert_eq!(get::<u32, _>(&handler, &plain_stored(b" 7\n")).unwrap(), 7);
    for bytes in [&b"7 7"[..], b"7,", b"7\0", b"7]"] {
        let error = get::<u32, _>(&handler, &plain_stored(bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    }
}

#[test]
fn damaged_text_is_a_decode_error_or_another_value() {
    let handler = JsonHandler::new();
    let events = vec![Event::Started { at: 7 }, Event::Failed { why: Some("ü".into()) }];
    let whole = put(&handler, &events).unwrap().bytes;
    for len in 0..whole.len() {
        let error = get::<Vec<Event>, _>(&handler, &plain_stored(&whole[..len])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Err(error) = get::<Vec<Event>, _>(&handler, &plain_stored(&flipped)) {
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(error.to_string().contains(Vec::<Event>::target().type_name()), "{error}");
        }
    }
}
