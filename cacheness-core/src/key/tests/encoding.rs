//! Which values share an encoding and which do not, and what cannot be encoded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::super::Unordered;
use super::super::encoding::encode;
use crate::error::{ErrorKind, Result};

fn bytes(value: impl Serialize) -> Vec<u8> {
    encode(&value).unwrap()
}

fn kind(value: impl Serialize) -> ErrorKind {
    encode(&value).unwrap_err().kind()
}

macro_rules! assert_all_differ {
    ($($value:expr),* $(,)?) => {
        let all = [$((stringify!($value), bytes($value))),*];
        for (i, (a, a_bytes)) in all.iter().enumerate() {
            for (b, b_bytes) in &all[..i] {
                assert_ne!(a_bytes, b_bytes, "{a} and {b}");
                assert!(!a_bytes.starts_with(b_bytes) && !b_bytes.starts_with(a_bytes), "{a} and {b}");
            }
        }
    };
}

macro_rules! assert_all_agree {
    ($first:expr, $($value:expr),* $(,)?) => {
        $(assert_eq!(bytes($first), bytes($value), "{} and {}", stringify!($first), stringify!($value));)*
    };
}

#[test]
fn values_of_different_types_differ() {
    assert_all_differ!(
        1,
        1.0,
        true,
        "1",
        '1',
        Some(1),
        [1],
        serde_bytes_of(&[1]),
        (),
        None::<u8>,
        "",
        0,
        0.0,
        false,
        Shape::Unit,
        Unordered([1]),
        BTreeMap::from([(1, 1)]),
    );
}

#[test]
fn options_keep_their_depth() {
    assert_all_differ!(1, Some(1), Some(Some(1)), None::<u8>, Some(None::<u8>), Some(Some(None::<u8>)), ());
}

#[test]
fn integers_agree_across_widths() {
    assert_all_agree!(5_i8, 5_i16, 5_i32, 5_i64, 5_i128, 5_u8, 5_u16, 5_u32, 5_u64, 5_u128, 5_usize, 5_isize);
    assert_all_agree!(-5_i8, -5_i16, -5_i32, -5_i64, -5_i128, -5_isize);
    assert_all_agree!(u64::MAX, i128::from(u64::MAX), u128::from(u64::MAX));
    assert_all_agree!(i64::MIN, i128::from(i64::MIN));
    assert_all_differ!(i128::MIN, i128::MAX, u128::MAX, -1, 0, 1, 255, 256, -256, -257);
}

#[test]
fn floats_agree_across_widths_where_their_values_do() {
    assert_all_agree!(1.5_f32, 1.5_f64);
    assert_all_agree!(f32::MIN_POSITIVE, f64::from(f32::MIN_POSITIVE));
    assert_all_agree!(f32::from_bits(1), f64::from(f32::from_bits(1)));
    assert_all_agree!(f32::INFINITY, f64::INFINITY);
    assert_all_differ!(0.1_f32, 0.1_f64);
}

#[test]
fn every_nan_is_one_value_and_the_zeros_are_two() {
    assert_all_agree!(
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::from_bits(u64::MAX),
        f32::NAN,
        f32::from_bits(0xffc0_1234),
    );
    assert_all_differ!(0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0);
    assert_all_agree!(-0.0_f32, -0.0_f64);
}

#[test]
fn sequences_arrays_slices_and_tuples_agree() {
    #[derive(Serialize)]
    struct Tuple(u8, u64);
    assert_all_agree!([1, 2], vec![1, 2], [1, 2].as_slice(), (1, 2), Tuple(1, 2), BTreeSet::from([2, 1]));
    assert_all_differ!([1, 2], [2, 1]);
    assert_all_differ!(
        vec![vec![1], vec![2]],
        vec![vec![1, 2], vec![]],
        vec![vec![1, 2]],
        vec![vec![], vec![1, 2]]
    );
}

#[test]
fn the_order_of_a_map_and_of_fields_does_not_count() {
    #[derive(Serialize)]
    struct Forwards {
        a: u8,
        bb: &'static str,
    }
    #[derive(Serialize)]
    struct Backwards {
        bb: String,
        a: i64,
    }
    assert_all_agree!(Forwards { a: 1, bb: "x" }, Backwards { bb: "x".to_owned(), a: 1 });
    let pairs = (0..100).map(|i| (format!("{i}"), i));
    assert_all_agree!(
        pairs.clone().collect::<BTreeMap<_, _>>(),
        pairs.clone().collect::<HashMap<_, _>>(),
        pairs.clone().rev().collect::<HashMap<_, _>>(),
    );
}

#[test]
fn a_struct_agrees_with_the_map_that_flatten_makes_of_it() {
    #[derive(Serialize)]
    struct Inner {
        b: u8,
    }
    #[derive(Serialize)]
    struct Flat {
        a: u8,
        #[serde(flatten)]
        inner: Inner,
    }
    assert_all_agree!(Flat { a: 1, inner: Inner { b: 2 } }, BTreeMap::from([("a", 1), ("b", 2)]));
}

#[derive(Serialize)]
struct Renamed(u8);

#[test]
fn the_names_of_structs_do_not_count_and_those_of_fields_do() {
    #[derive(Serialize)]
    struct UnitStruct;
    #[derive(Serialize)]
    struct A {
        x: u8,
    }
    #[derive(Serialize)]
    struct B {
        x: u8,
    }
    #[derive(Serialize)]
    struct C {
        y: u8,
    }
    assert_all_agree!(UnitStruct, ());
    assert_all_agree!(Renamed(7), 7);
    assert_all_agree!(A { x: 1 }, B { x: 1 });
    assert_all_differ!(A { x: 1 }, C { y: 1 });
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { x: u8 },
}

#[test]
fn variants_go_by_name_and_shape_and_not_by_position() {
    #[derive(Serialize)]
    enum Reordered {
        Struct { x: u8 },
        Tuple(u8, u8),
        Newtype(u8),
        Unit,
    }
    #[derive(Serialize)]
    enum Reshaped {
        Unit(()),
        Newtype { x: u8 },
        Tuple([u8; 2]),
    }
    assert_all_agree!(Shape::Unit, Reordered::Unit);
    assert_all_agree!(Shape::Newtype(1), Reordered::Newtype(1));
    assert_all_agree!(Shape::Tuple(1, 2), Reordered::Tuple(1, 2));
    assert_all_agree!(Shape::Struct { x: 1 }, Reordered::Struct { x: 1 });
    assert_all_differ!(
        Shape::Unit,
        Reshaped::Unit(()),
        "Unit",
        Shape::Newtype(1),
        Reshaped::Newtype { x: 1 },
        Shape::Tuple(1, 2),
        Reshaped::Tuple([1, 2]),
        Shape::Struct { x: 1 },
    );
}

#[test]
fn a_type_with_a_compact_form_stays_apart_from_its_text() {
    assert_all_differ!(Ipv4Addr::LOCALHOST, "127.0.0.1");
}

#[test]
fn unordered_collections_agree_whatever_their_order() {
    let numbers = 0..200;
    assert_all_agree!(
        Unordered(numbers.clone().collect::<HashSet<u32>>()),
        Unordered(numbers.clone().collect::<HashSet<u32>>()),
        Unordered(&numbers.clone().rev().map(u64::from).collect::<Vec<u64>>()),
    );
    assert_all_differ!(Unordered([1, 2]), [1, 2], Unordered([1, 2, 2]), Unordered([1, 1, 2]));
    assert_all_differ!(Unordered([[1, 2]]), Unordered([[2, 1]]));
    assert_all_agree!(
        Unordered([Unordered([1, 2]), Unordered([3, 4])]),
        Unordered([Unordered([4, 3]), Unordered([2, 1])])
    );
}

#[test]
fn unordered_refuses_what_is_no_sequence_and_is_a_plain_sequence_elsewhere() {
    assert_eq!(kind(Unordered(1)), ErrorKind::InvalidInput);
    assert_eq!(kind(Unordered(Some([1]))), ErrorKind::InvalidInput);
    assert_eq!(kind(Unordered(HashMap::from([(1, 1)]))), ErrorKind::InvalidInput);
    assert_eq!(serde_json::to_string(&Unordered([2, 1])).unwrap(), "[2,1]");
}

struct Nested(usize);

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => serializer.serialize_unit(),
            depth => serializer.serialize_some(&Nested(depth - 1)),
        }
    }
}

#[test]
fn nesting_ends_at_128_with_an_error_and_not_with_the_stack() {
    assert_eq!(bytes(Nested(128)).len(), 129);
    assert_eq!(kind(Nested(129)), ErrorKind::LimitExceeded);
    assert_eq!(kind(Nested(usize::MAX)), ErrorKind::LimitExceeded);
    // Wide is not deep.
    assert!(encode(&vec![Some([1]); 1000]).is_ok());
}

struct Pairs(Vec<(&'static str, u8)>);

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

#[test]
fn a_key_twice_in_a_map_is_an_error_that_names_it() {
    let error = encode(&Pairs(vec![("a", 1), ("b", 2), ("a", 1)])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("entry: a"), "{error}");
}

/// The ways in which a hand-written `Serialize` can break serde's rules.
enum Rule {
    TwoKeys,
    ValueFirst,
    KeyLast,
    DropsAnError,
    WrongHint,
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rule::TwoKeys => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_key("a")?;
                map.serialize_key("b")?;
                map.end()
            }
            Rule::ValueFirst => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_value("a")?;
                map.end()
            }
            Rule::KeyLast => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_key("a")?;
                map.end()
            }
            Rule::DropsAnError => {
                let mut seq = serializer.serialize_seq(None)?;
                let _ = seq.serialize_element(&Refuses);
                seq.serialize_element(&1)?;
                seq.end()
            }
            Rule::WrongHint => {
                let mut seq = serializer.serialize_seq(Some(usize::MAX))?;
                seq.serialize_element(&1)?;
                seq.end()
            }
        }
    }
}

struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("refused"))
    }
}

#[test]
fn a_serialize_that_breaks_serdes_rules_is_an_error_and_never_a_wrong_encoding() {
    assert_eq!(kind(Rule::TwoKeys), ErrorKind::Encode);
    assert_eq!(kind(Rule::ValueFirst), ErrorKind::Encode);
    assert_eq!(kind(Rule::KeyLast), ErrorKind::Encode);
    assert_eq!(kind(Rule::DropsAnError), ErrorKind::Encode);
    assert_eq!(bytes(Rule::WrongHint), bytes([1]));
}

/// Bytes as bytes, which serde's own `[u8]` is not.
fn serde_bytes_of(bytes: &[u8]) -> impl Serialize {
    struct Bytes(Vec<u8>);
    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    Bytes(bytes.to_vec())
}
