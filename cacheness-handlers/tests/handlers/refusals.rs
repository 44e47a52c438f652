//! What comes back from a format chosen by name is what was put, or it was not put: for the first value of a type, and
//! for later ones that do something else.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use cacheness_core::{CacheHandler, ErrorKind};
use cacheness_handlers::{BincodeHandler, JsonHandler, PostcardHandler};
use serde::de::DeserializeOwned;
use serde::ser::{SerializeSeq as _, SerializeTuple as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::memory::{get, put};

fn by_position() -> [Box<dyn CacheHandler>; 2] {
    [Box::new(BincodeHandler::new()), Box::new(PostcardHandler::new())]
}

fn json() -> [Box<dyn CacheHandler>; 1] {
    [Box::new(JsonHandler::new())]
}

fn all() -> [Box<dyn CacheHandler>; 3] {
    [Box::new(BincodeHandler::new()), Box::new(PostcardHandler::new()), Box::new(JsonHandler::new())]
}

trait Value: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static> Value for T {}

fn comes_back<T: Value>(handler: &dyn CacheHandler, value: &T) {
    let stored = put(handler, value).unwrap();
    assert_eq!(&get::<T, _>(handler, &stored).unwrap(), value, "{}", handler.name());
}

fn is_refused<T: Value>(handler: &dyn CacheHandler, value: &T) {
    let error = put(handler, value).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
    let message = error.to_string();
    for part in [handler.name(), "put it with the handler `msgpack`"] {
        assert!(message.contains(part), "{message} names {part}");
    }
}

/// Puts values in every order. Whatever was put before, each of the good ones comes back, and each of the bad ones is
/// refused.
fn in_every_order<T: Value, const N: usize>(
    handlers: fn() -> [Box<dyn CacheHandler>; N],
    good: &[T],
    bad: &[T],
) {
    for handler in handlers() {
        good.iter().for_each(|value| comes_back(&*handler, value));
        bad.iter().for_each(|value| is_refused(&*handler, value));
        good.iter().rev().for_each(|value| comes_back(&*handler, value));
    }
    for handler in handlers() {
        bad.iter().rev().for_each(|value| is_refused(&*handler, value));
        good.iter().rev().for_each(|value| comes_back(&*handler, value));
        bad.iter().for_each(|value| is_refused(&*handler, value));
    }
    for value in bad {
        for handler in handlers() {
            is_refused(&*handler, value);
        }
    }
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Tuple(
    #[serde(skip_serializing_if = "is_zero", default)] u8,
    #[serde(skip_serializing_if = "is_zero", default)] u8,
);

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Variants {
    Unit,
    Tuple(
        #[serde(skip_serializing_if = "is_zero", default)] u8,
        #[serde(skip_serializing_if = "is_zero", default)] u8,
    ),
    Whole(u8, u8),
}

#[test]
fn a_tuple_that_leaves_an_element_out_is_refused_whatever_was_put_before() {
    // Written without its first element, `Tuple(0, 7)` would be what `Tuple(7, 0)` is.
    in_every_order(all, &[Tuple(1, 2)], &[Tuple(0, 7), Tuple(7, 0), Tuple(0, 0)]);
    in_every_order(
        all,
        &[Variants::Tuple(1, 2), Variants::Unit, Variants::Whole(0, 0)],
        &[Variants::Tuple(0, 7), Variants::Tuple(7, 0)],
    );
    // Two that are short take as many bytes as one that is whole.
    in_every_order(
        by_position,
        &[(vec![Tuple(1, 2); 3], 9_u8), (vec![], 1)],
        &[(vec![Tuple(0, 1), Tuple(2, 0)], 9)],
    );
}

/// Two tuples of the same name, of which one is always shorter.
#[test]
fn a_tuple_is_told_from_another_of_its_name() {
    mod other {
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug, Clone)]
        pub(super) struct Tuple(pub(super) u8);
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug, Clone)]
        pub(super) struct Pair(pub(super) u8, pub(super) u8);
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(rename = "Pair")]
    struct Three(u8, #[serde(skip_serializing_if = "is_zero", default)] u8, #[serde(default)] u8);
    let (pair, tuple) = (other::Pair(1, 2), other::Tuple(3));
    in_every_order(all, &[(pair.clone(), tuple.clone(), Three(1, 2, 3))], &[(pair, tuple, Three(1, 0, 3))]);
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Untagged {
    Small(u8),
    Large(u32),
    Text(String),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind")]
enum InternallyTagged {
    One { number: u8 },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "kind", content = "content")]
enum AdjacentlyTagged {
    Number(u8),
    Fields { text: String },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Flattened {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Mixed {
    Plain(u8),
    Untagged(Untagged),
    Inner(InternallyTagged),
    Flat(Flattened),
    Adjacent(AdjacentlyTagged),
}

#[test]
fn a_variant_that_cannot_be_read_is_refused_after_one_that_can() {
    in_every_order(
        by_position,
        &[Mixed::Plain(7)],
        &[
            Mixed::Adjacent(AdjacentlyTagged::Number(7)),
            Mixed::Untagged(Untagged::Small(7)),
            Mixed::Inner(InternallyTagged::One { number: 7 }),
            Mixed::Flat(Flattened { id: 7, rest: BTreeMap::new() }),
        ],
    );
    in_every_order(by_position, &[vec![]], &[vec![Untagged::Small(7)]]);
    in_every_order(by_position, &[(7_u8, None)], &[(7, Some(Untagged::Small(7)))]);
    in_every_order(
        json,
        &[
            Mixed::Plain(7),
            Mixed::Untagged(Untagged::Small(7)),
            Mixed::Inner(InternallyTagged::One { number: 7 }),
            Mixed::Flat(Flattened { id: 7, rest: BTreeMap::from([("a".to_owned(), 1)]) }),
            Mixed::Adjacent(AdjacentlyTagged::Number(7)),
            Mixed::Adjacent(AdjacentlyTagged::Fields { text: "a".to_owned() }),
        ],
        &[],
    );
}

#[test]
fn a_json_value_that_comes_back_as_another_variant_is_refused_whatever_was_put_before() {
    in_every_order(
        json,
        &[Untagged::Small(7), Untagged::Large(300), Untagged::Text("a".to_owned())],
        &[Untagged::Large(7)],
    );
}

#[test]
fn a_json_object_that_would_have_a_field_twice_is_refused() {
    let flat = |name: &str| Flattened { id: 7, rest: BTreeMap::from([(name.to_owned(), 1)]) };
    in_every_order(json, &[flat("a"), flat("b")], &[flat("id")]);
}

#[test]
fn integers_are_refused_where_json_cannot_read_them_as_keys() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct ByNumber {
        id: u8,
        #[serde(flatten)]
        rest: BTreeMap<u32, u32>,
    }
    in_every_order(
        json,
        &[ByNumber { id: 1, rest: BTreeMap::new() }],
        &[ByNumber { id: 1, rest: BTreeMap::from([(2, 3)]) }],
    );
    in_every_order(json, &[BTreeMap::from([(2_i64, 3_u8), (-2, 4)])], &[]);
    in_every_order(json, &[BTreeMap::from([(true, 3_u8)])], &[]);
    in_every_order(json, &[BTreeMap::new()], &[BTreeMap::from([((1_u8, 2_u8), 3_u8)])]);
    in_every_order(json, &[HashMap::new()], &[HashMap::from([(Some(1_u8), 3_u8), (None, 2)])]);
}

#[test]
fn integers_of_128_bits_come_back_or_are_refused() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(untagged)]
    enum Number {
        Wide(i128),
        Float(f64),
    }
    in_every_order(all, &[i128::MIN, -1, 0, i128::MAX], &[]);
    in_every_order(all, &[u128::MAX, 0], &[]);
    // Where any number may stand, one of 128 bits is read as a float.
    in_every_order(json, &[Number::Float(0.5)], &[Number::Wide(5), Number::Wide(1 << 70)]);
}

#[test]
fn an_option_in_an_option_comes_back_or_is_refused() {
    in_every_order(by_position, &[None, Some(None), Some(Some(7_u8))], &[]);
    in_every_order(by_position, &[None, Some(())], &[]);
    in_every_order(json, &[None, Some(Some(7_u8))], &[Some(None)]);
    in_every_order(json, &[None], &[Some(())]);
}

#[test]
fn floats_that_json_lacks_are_refused() {
    in_every_order(json, &[vec![1.5], vec![-0.0]], &[vec![1.5, f64::INFINITY]]);
    assert_eq!(put(&JsonHandler::new(), &f64::NAN).map(|_| ()).unwrap_err().kind(), ErrorKind::Encode);
}

#[test]
fn a_field_that_is_only_read_or_only_written_is_refused_where_fields_have_no_names() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct ReadOnly {
        #[serde(skip_serializing, default)]
        first: u8,
        second: u8,
        third: Vec<u8>,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct WriteOnly {
        #[serde(skip_deserializing)]
        first: u8,
        second: u8,
        third: Vec<u8>,
    }
    // Of this one the bytes are 1, 1, 0: as a whole value they are first 1, second 1, and no third.
    in_every_order(by_position, &[], &[ReadOnly { first: 0, second: 1, third: vec![0] }]);
    in_every_order(by_position, &[], &[WriteOnly { first: 0, second: 1, third: vec![] }]);
    in_every_order(json, &[ReadOnly { first: 0, second: 1, third: vec![] }], &[]);
    in_every_order(json, &[], &[WriteOnly { first: 1, second: 1, third: vec![] }]);
}

#[test]
fn a_left_out_field_comes_back_from_json_where_it_has_a_default() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Fields {
        #[serde(skip_serializing_if = "is_zero", default)]
        first: u8,
        #[serde(skip_serializing_if = "is_zero")]
        second: u8,
    }
    let fields = |first, second| Fields { first, second };
    in_every_order(json, &[fields(1, 2), fields(0, 2)], &[fields(1, 0), fields(0, 0)]);
    in_every_order(by_position, &[fields(1, 2)], &[fields(0, 2), fields(1, 0), fields(0, 0)]);
}

#[test]
fn a_skipped_variant_shifts_none_of_the_others_unnoticed() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    enum Shifted {
        First(u8),
        #[serde(skip)]
        #[allow(dead_code)]
        Skipped,
        Second(u8),
        Third(u8),
    }
    in_every_order(by_position, &[Shifted::First(1)], &[Shifted::Second(1), Shifted::Third(1)]);
}

/// Says that it has another number of elements than it has.
#[derive(PartialEq, Debug, Clone)]
struct Lying(Vec<u8>, usize);

impl Serialize for Lying {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.1))?;
        for element in &self.0 {
            list.serialize_element(element)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Lying {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let list = Vec::<u8>::deserialize(from)?;
        let len = list.len();
        Ok(Self(list, len))
    }
}

/// A tuple of one element more than is read.
#[derive(PartialEq, Debug, Clone)]
struct Longer(u8);

impl Serialize for Longer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(if self.0 > 9 { 2 } else { 1 })?;
        tuple.serialize_element(&self.0)?;
        if self.0 > 9 {
            tuple.serialize_element(&self.0)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Longer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <(u8,)>::deserialize(from).map(|(number,)| Self(number))
    }
}

/// A list that does not know how long it will be.
#[derive(PartialEq, Debug, Clone, Deserialize)]
struct Unsized(Vec<u8>);

impl Serialize for Unsized {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for element in &self.0 {
            list.serialize_element(element)?;
        }
        list.end()
    }
}

#[test]
fn a_length_that_is_not_true_or_not_known_is_refused_at_every_put() {
    let lying = |len| Lying(vec![0, 1, 0], len);
    in_every_order(all, &[lying(3)], &[lying(2), lying(4), lying(0)]);
    in_every_order(all, &[(1_u8, Longer(1), 2_u8)], &[(1, Longer(10), 2)]);
    in_every_order(by_position, &[], &[Unsized(vec![]), Unsized(vec![1])]);
    in_every_order(json, &[Unsized(vec![]), Unsized(vec![1])], &[]);
}

#[test]
fn types_of_the_standard_library_come_back() {
    fn come_back<T: Value>(value: T) {
        in_every_order(all, &[value], &[]);
    }
    come_back(Duration::from_millis(1_500));
    come_back(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(7));
    come_back("127.0.0.1".parse::<std::net::IpAddr>().unwrap());
    come_back("[::1]:80".parse::<std::net::SocketAddr>().unwrap());
    come_back(std::path::PathBuf::from("a/b"));
    come_back(std::num::NonZeroU32::MIN);
    come_back(1..=7_u8);
    come_back(std::ops::Bound::Included(7_u8));
    come_back(Result::<u8, String>::Err("no".to_owned()));
    come_back([7_u16; 32]);
    come_back([0_u8; 0]);
    come_back(std::collections::VecDeque::from([1_u8, 2]));
    come_back(std::cmp::Reverse(7_u8));
    come_back(std::ffi::CString::from(c"text"));
    come_back(Box::<str>::from("text"));
    come_back(Some(Box::new((1_u8, 'a', 0.5_f32, "b".to_owned(), true))));
}

#[test]
fn a_deep_type_is_known_as_far_as_its_values_went() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Tree(Vec<Tree>, Option<Untagged>);
    let tree = |depth: usize, last: Option<Untagged>| {
        (0..depth).fold(Tree(vec![], last), |tree, _| Tree(vec![Tree(vec![], None), tree], None))
    };
    let good: Vec<_> = (0..20).map(|depth| tree(depth, None)).collect();
    let bad: Vec<_> = (0..20).map(|depth| tree(depth, Some(Untagged::Small(1)))).collect();
    in_every_order(by_position, &good, &bad);
}

#[test]
fn an_object_with_a_field_twice_is_refused_also_after_one_whose_flattened_map_is_empty() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let flat = |id, rest: &[(&str, u8)]| {
        let rest = rest.iter().map(|&(name, number)| (name.to_owned(), number)).collect();
        Flat { id, rest }
    };
    in_every_order(json, &[flat(7, &[]), flat(7, &[("a", 1)])], &[flat(7, &[("id", 5)])]);
}

#[test]
fn a_field_that_is_written_by_one_name_and_read_by_another_is_refused_unless_it_is_its_default() {
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct Renamed {
        #[serde(rename(serialize = "written"), default)]
        number: u8,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    struct WriteOnly {
        #[serde(skip_deserializing)]
        number: u8,
    }
    in_every_order(json, &[Renamed { number: 0 }], &[Renamed { number: 5 }]);
    in_every_order(json, &[WriteOnly { number: 0 }], &[WriteOnly { number: 5 }]);
}

#[test]
fn text_is_not_proof_of_bytes() {
    /// Writes bytes that are no text as bytes, and reads only text.
    #[derive(PartialEq, Debug, Clone)]
    struct Name(Vec<u8>);

    impl Serialize for Name {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match std::str::from_utf8(&self.0) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => serializer.serialize_bytes(&self.0),
            }
        }
    }

    impl<'de> Deserialize<'de> for Name {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            String::deserialize(from).map(|text| Self(text.into_bytes()))
        }
    }
    in_every_order(all, &[Name(b"text".to_vec())], &[Name(vec![0xff])]);
}

#[test]
fn variants_of_one_name_are_told_apart() {
    #[derive(PartialEq, Debug, Clone, Deserialize)]
    enum Twice {
        Name,
        #[serde(skip)]
        Other,
    }
    impl Serialize for Twice {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let index = u32::from(*self == Self::Other);
            serializer.serialize_unit_variant("Twice", index, "Name")
        }
    }
    in_every_order(json, &[Twice::Name], &[Twice::Other]);
}
