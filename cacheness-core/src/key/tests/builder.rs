//! `KeyBuilder` and `cache_key!`.

use std::cell::Cell;

use proptest::prelude::*;

use super::super::{Key, KeyBuilder};
use crate::cache_key;
use crate::error::{Error, ErrorKind, Result};

fn kind(result: Result<impl Sized>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn text_in_one_parameter_never_looks_like_two() {
    let one = cache_key! { a: "1|b:2" }.unwrap();
    assert_ne!(one, cache_key! { a: "1", b: 2 }.unwrap());
    assert_ne!(one, cache_key! { a: "1", b: "2" }.unwrap());
    assert_ne!(cache_key! { a: "bc" }.unwrap(), cache_key! { ab: "c" }.unwrap());
}

#[test]
fn an_absent_parameter_differs_from_none_unit_and_the_empty_text() {
    let keys = [
        cache_key! {},
        cache_key! { a: None::<u8> },
        cache_key! { a: () },
        cache_key! { a: "" },
        cache_key! { a: false },
    ];
    for (i, a) in keys.iter().enumerate() {
        for b in &keys[..i] {
            assert_ne!(a.as_ref().unwrap(), b.as_ref().unwrap());
        }
    }
}

#[test]
fn a_name_given_twice_is_an_error_that_names_it() {
    let error = cache_key! { lr: 0.1, "lr": 0.2 }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("parameter: lr"), "{error}");
}

#[test]
fn a_failing_serialize_is_an_error_that_names_the_parameter() {
    struct Fails;
    impl serde::Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no connection"))
        }
    }
    let error = cache_key! { socket: Fails }.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("no connection (parameter: socket)"), "{error}");
}

#[test]
fn a_prefix_stands_before_the_hash_and_does_not_change_it() {
    let bare = cache_key! { lr: 0.1 }.unwrap();
    let model = cache_key!("model"; lr: 0.1).unwrap();
    assert_eq!(model.as_str(), format!("model:{bare}"));
    assert_eq!(bare.as_str().len(), 64);
}

#[test]
fn a_prefix_is_neither_empty_nor_too_long_for_a_key() {
    assert_eq!(kind(KeyBuilder::with_prefix("")), ErrorKind::InvalidInput);
    let longest = Key::MAX_LEN - 65;
    let key = KeyBuilder::with_prefix("x".repeat(longest)).unwrap().build();
    assert!(Key::check(key.as_str()).is_ok());
    assert_eq!(key.as_str().len(), Key::MAX_LEN);
    assert_eq!(kind(KeyBuilder::with_prefix("x".repeat(longest + 1))), ErrorKind::LimitExceeded);
    assert_eq!(kind(cache_key!(""; lr: 0.1)), ErrorKind::InvalidInput);
}

#[test]
fn the_macro_takes_names_and_prefixes_in_every_form() {
    let builder = |prefix: Option<&str>| {
        let builder = prefix.map_or(Ok(KeyBuilder::new()), KeyBuilder::with_prefix);
        builder.unwrap().param("a", 1).unwrap().param("type", "x").unwrap().build()
    };
    let (kind, a) = (String::from("x"), 1_u64);
    assert_eq!(cache_key!(a: a, type: kind).unwrap(), builder(None));
    assert_eq!(cache_key! { "type": &kind, a: 1, }.unwrap(), builder(None));
    assert_eq!(cache_key! { r#type: kind.as_str(), "a": 1_i8 }.unwrap(), builder(None));
    let prefix = String::from("p");
    assert_eq!(cache_key!(prefix.clone(); a: a, type: kind).unwrap(), builder(Some("p")));
    assert_eq!(cache_key!(prefix; a: a, type: kind,).unwrap(), builder(Some("p")));
    assert_eq!(cache_key!(format!("{}", 'p'); type: kind, a: a).unwrap(), builder(Some("p")));
    assert_eq!(cache_key!("p";).unwrap(), KeyBuilder::with_prefix("p").unwrap().build());
    assert_eq!(kind, "x", "the value was borrowed");
}

#[test]
fn parameters_named_file_and_folder_are_parameters_like_any_other() {
    let key = KeyBuilder::new().param("file", 1).unwrap().param("folder", 2).unwrap().build();
    assert_eq!(cache_key! { file: 1, folder: 2 }.unwrap(), key);
}

#[test]
fn a_question_mark_in_a_value_leaves_the_function_around_the_macro() {
    fn key(text: &str) -> Result<Key, Box<dyn std::error::Error>> {
        Ok(cache_key! { n: text.parse::<i32>()? }?)
    }
    assert_eq!(key("7").unwrap(), cache_key! { n: 7 }.unwrap());
    assert!(key("seven").unwrap_err().downcast_ref::<Error>().is_none());
}

#[test]
fn values_after_an_error_are_not_evaluated() {
    let calls = Cell::new(0);
    let count = || calls.replace(calls.get() + 1);
    assert!(cache_key! { a: count(), a: 0, b: count() }.is_err());
    assert_eq!(calls.get(), 1);
}

#[test]
fn the_macro_takes_forty_parameters() {
    let key = cache_key! {
        a0: 0, a1: 0, a2: 0, a3: 0, a4: 0, a5: 0, a6: 0, a7: 0, a8: 0, a9: 0,
        b0: 0, b1: 0, b2: 0, b3: 0, b4: 0, b5: 0, b6: 0, b7: 0, b8: 0, b9: 0,
        c0: 0, c1: 0, c2: 0, c3: 0, c4: 0, c5: 0, c6: 0, c7: 0, c8: 0, c9: 0,
        d0: 0, d1: 0, d2: 0, d3: 0, d4: 0, d5: 0, d6: 0, d7: 0, d8: 0, d9: 0,
    };
    assert!(key.is_ok());
}

proptest! {
    #[test]
    fn the_order_of_parameters_does_not_count(
        parameters in proptest::collection::btree_map(".{0,4}", any::<i64>(), 0..8)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>())
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle()))
    ) {
        let build = |list: &[(String, i64)]| {
            list.iter().try_fold(KeyBuilder::new(), |builder, (name, value)| builder.param(name, value))
        };
        let (a, b) = (build(&parameters.0).unwrap(), build(&parameters.1).unwrap());
        prop_assert_eq!(a.canonical_bytes(), b.canonical_bytes());
        prop_assert_eq!(a.build(), b.build());
    }
}
