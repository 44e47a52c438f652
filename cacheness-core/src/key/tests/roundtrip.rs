//! No two values share an encoding: a decoder written from the specification gives every value back.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Serialize, Serializer};

use super::super::Unordered;
use super::super::encoding::encode;
use crate::error::Result;

const NAMES: [&str; 4] = ["", "a", "b", "ab"];

/// Every kind of value that the specification tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Unit,
    None,
    Some(Box<Value>),
    Bool(bool),
    NonNegative(u128),
    Negative(i128),
    /// By its bits, with one NaN.
    Float(u64),
    Char(char),
    Text(String),
    Bytes(Vec<u8>),
    Sequence(Vec<Value>),
    /// Sorted by encoding, as the decoder gives it back.
    Unordered(Vec<Value>),
    Map(BTreeMap<Value, Value>),
    Variant(&'static str),
    Newtype(&'static str, Box<Value>),
    Tuple(&'static str, Vec<Value>),
    Struct(&'static str, BTreeMap<&'static str, Value>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{SerializeStructVariant, SerializeTupleVariant};
        match self {
            Self::Unit => s.serialize_unit(),
            Self::None => s.serialize_none(),
            Self::Some(value) => s.serialize_some(value),
            Self::Bool(v) => s.serialize_bool(*v),
            Self::NonNegative(v) => match u64::try_from(*v) {
                Ok(v) => s.serialize_u64(v),
                Err(_) => s.serialize_u128(*v),
            },
            Self::Negative(v) => match i64::try_from(*v) {
                Ok(v) => s.serialize_i64(v),
                Err(_) => s.serialize_i128(*v),
            },
            Self::Float(bits) => s.serialize_f64(f64::from_bits(*bits)),
            Self::Char(v) => s.serialize_char(*v),
            Self::Text(v) => s.serialize_str(v),
            Self::Bytes(v) => s.serialize_bytes(v),
            Self::Sequence(v) => v.serialize(s),
            Self::Unordered(v) => Unordered(v).serialize(s),
            Self::Map(v) => s.collect_map(v.iter().rev()),
            Self::Variant(name) => s.serialize_unit_variant("E", 0, name),
            Self::Newtype(name, v) => s.serialize_newtype_variant("E", 0, name, v),
            Self::Tuple(name, v) => {
                let mut tuple = s.serialize_tuple_variant("E", 0, name, v.len())?;
                v.iter().try_for_each(|item| tuple.serialize_field(item))?;
                tuple.end()
            }
            Self::Struct(name, v) => {
                let mut fields = s.serialize_struct_variant("E", 0, name, v.len())?;
                v.iter().rev().try_for_each(|(name, value)| fields.serialize_field(name, value))?;
                fields.end()
            }
        }
    }
}

/// Small domains, so that values that are nearly alike come up often.
fn values() -> impl Strategy<Value = Value> {
    let name = proptest::sample::select(NAMES.as_slice());
    let text = prop_oneof![name.clone().prop_map(str::to_owned), ".{0,3}"];
    let leaf = prop_oneof![
        Just(Value::Unit),
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![0..3_u128, Just(255), Just(256), any::<u128>()].prop_map(Value::NonNegative),
        prop_oneof![-3..0_i128, Just(-256), Just(-257), i128::MIN..0].prop_map(Value::Negative),
        prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(f64::NAN), any::<f64>()]
            .prop_map(|v: f64| Value::Float(if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() })),
        any::<char>().prop_map(Value::Char),
        text.prop_map(Value::Text),
        vec(0..3_u8, 0..3).prop_map(Value::Bytes),
        name.clone().prop_map(Value::Variant),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let many = vec(inner.clone(), 0..4);
        prop_oneof![
            inner.clone().prop_map(|v| Value::Some(Box::new(v))),
            many.clone().prop_map(Value::Sequence),
            many.clone().prop_map(|mut items| {
                items.sort_by_key(|item| encode(item).unwrap());
                Value::Unordered(items)
            }),
            btree_map(inner.clone(), inner.clone(), 0..4).prop_map(Value::Map),
            (name.clone(), inner.clone()).prop_map(|(name, v)| Value::Newtype(name, Box::new(v))),
            (name.clone(), many).prop_map(|(name, v)| Value::Tuple(name, v)),
            (name.clone(), btree_map(name.clone(), inner, 0..4)).prop_map(|(name, v)| Value::Struct(name, v)),
        ]
    })
}

/// Reads one value from the front of `bytes`.
fn decode(bytes: &mut &[u8]) -> Value {
    match byte(bytes) {
        0x00 => Value::Unit,
        0x01 => Value::None,
        0x02 => Value::Some(Box::new(decode(bytes))),
        tag @ (0x03 | 0x04) => Value::Bool(tag == 0x04),
        0x05 => Value::NonNegative(magnitude(bytes)),
        0x06 => Value::Negative(-1 - i128::try_from(magnitude(bytes)).unwrap()),
        0x07 => Value::Float(u64::from_be_bytes(take(bytes, 8).try_into().unwrap())),
        0x08 => Value::Char(u32::from_be_bytes(take(bytes, 4).try_into().unwrap()).try_into().unwrap()),
        0x09 => Value::Text(text(bytes)),
        0x0a => Value::Bytes(long(bytes).to_vec()),
        0x0b => Value::Sequence(items(bytes)),
        0x0c => Value::Unordered(items(bytes)),
        0x0d => Value::Map(pairs(bytes)),
        0x0e => Value::Variant(name(&text(bytes))),
        0x0f => Value::Newtype(name(&text(bytes)), Box::new(decode(bytes))),
        0x10 => Value::Tuple(name(&text(bytes)), items(bytes)),
        0x11 => {
            let variant = name(&text(bytes));
            let fields = pairs(bytes).into_iter().map(|(key, value)| match key {
                Value::Text(key) => (name(&key), value),
                other => panic!("{other:?} is not the name of a field"),
            });
            Value::Struct(variant, fields.collect())
        }
        tag => panic!("unknown tag {tag:#04x}"),
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn byte(bytes: &mut &[u8]) -> u8 {
    take(bytes, 1)[0]
}

fn count(bytes: &mut &[u8]) -> usize {
    u64::from_be_bytes(take(bytes, 8).try_into().unwrap()).try_into().unwrap()
}

fn magnitude(bytes: &mut &[u8]) -> u128 {
    let length = byte(bytes).into();
    take(bytes, length).iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn long<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = count(bytes);
    take(bytes, length)
}

fn text(bytes: &mut &[u8]) -> String {
    String::from_utf8(long(bytes).to_vec()).unwrap()
}

fn items(bytes: &mut &[u8]) -> Vec<Value> {
    (0..count(bytes)).map(|_| decode(bytes)).collect()
}

fn pairs(bytes: &mut &[u8]) -> BTreeMap<Value, Value> {
    (0..count(bytes)).map(|_| (decode(bytes), decode(bytes))).collect()
}

fn name(text: &str) -> &'static str {
    NAMES.into_iter().find(|name| *name == text).unwrap()
}

proptest! {
    #[test]
    fn every_value_can_be_read_back_from_its_encoding(value in values()) {
        let encoded = encode(&value).unwrap();
        let mut rest = encoded.as_slice();
        prop_assert_eq!(decode(&mut rest), value);
        prop_assert!(rest.is_empty(), "bytes after the end of the value");
    }

    #[test]
    fn two_values_are_equal_exactly_when_their_encodings_are(a in values(), b in values()) {
        prop_assert_eq!(a == b, encode(&a).unwrap() == encode(&b).unwrap());
    }

    #[test]
    fn a_map_encodes_alike_in_every_order_of_insertion(
        lists in btree_map(values(), values(), 0..6)
            .prop_map(|map| map.into_iter().collect::<Vec<_>>())
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle()))
    ) {
        struct Listed<'a>(&'a [(Value, Value)]);
        impl Serialize for Listed<'_> {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_map(self.0.iter().map(|(key, value)| (key, value)))
            }
        }
        prop_assert_eq!(encode(&Listed(&lists.0)).unwrap(), encode(&Listed(&lists.1)).unwrap());
    }
}
