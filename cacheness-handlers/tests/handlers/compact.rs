//! bincode and postcard: what they bring back, what they refuse, and what hostile bytes do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cacheness_core::{CacheHandler, CacheValue, ErrorKind};
use cacheness_handlers::{BincodeHandler, PostcardHandler};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::memory::{FullDisk, context, get, plain_stored, put};

fn handlers() -> [Box<dyn CacheHandler>; 2] {
    [Box::new(BincodeHandler::new()), Box::new(PostcardHandler::new())]
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Shape {
    Point,
    Circle(f32),
    Line(i16, i16),
    Box { width: u64, height: Option<u64> },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Everything {
    text: String,
    letter: char,
    wide: (u128, i128),
    floats: Vec<f64>,
    shapes: Vec<Shape>,
    by_name: HashMap<String, BTreeSet<u16>>,
    unit: (),
    marker: std::marker::PhantomData<u8>,
    #[serde(skip)]
    scratch: u32,
    bytes: serde_bytes_like::Bytes,
}

/// A type that goes through `serialize_bytes`, as `serde_bytes` has it.
mod serde_bytes_like {
    use super::*;

    #[derive(PartialEq, Debug, Clone)]
    pub(super) struct Bytes(pub(super) Vec<u8>);

    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    impl<'de> Deserialize<'de> for Bytes {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Owned;
            impl Visitor<'_> for Owned {
                type Value = Bytes;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                    Ok(Bytes(bytes.to_vec()))
                }
            }
            from.deserialize_byte_buf(Owned)
        }
    }
}

fn everything() -> Everything {
    Everything {
        text: "grüß dich".to_owned(),
        letter: '☃',
        wide: (u128::MAX, i128::MIN),
        floats: vec![1.5, -0.0, f64::INFINITY],
        shapes: vec![
            Shape::Point,
            Shape::Circle(0.1),
            Shape::Line(-1, i16::MAX),
            Shape::Box { width: u64::MAX, height: None },
            Shape::Box { width: 0, height: Some(300) },
        ],
        by_name: (0..50).map(|i| (format!("name {i}"), (0..i).collect())).collect(),
        unit: (),
        marker: std::marker::PhantomData,
        scratch: 0,
        bytes: serde_bytes_like::Bytes((0..=255).collect()),
    }
}

#[test]
fn every_kind_of_value_comes_back() {
    for handler in handlers() {
        for _ in 0..3 {
            let stored = put(&*handler, &everything()).unwrap();
            assert_eq!(get::<Everything, _>(&*handler, &stored).unwrap(), everything(), "{}", handler.name());
        }
        let nan: f64 = get(&*handler, &put(&*handler, &f64::NAN).unwrap()).unwrap();
        assert!(nan.is_nan());
    }
}

#[test]
fn bytes_are_those_of_the_formats_own_crates() {
    let value = (7_u8, "text".to_owned(), vec![300_u32, 1]);
    let stored = put(&BincodeHandler::new(), &value).unwrap();
    assert_eq!(stored.bytes[..], *b"\x07\x04text\x02\xfb\x2c\x01\x01");
    let stored = put(&PostcardHandler::new(), &value).unwrap();
    assert_eq!(stored.bytes[..], *b"\x07\x04text\x02\xac\x02\x01");
}

/// A map in another order is the same map.
#[test]
fn hash_maps_and_sets_are_not_refused() {
    for handler in handlers() {
        let map: HashMap<u64, String> = (0..1_000).map(|i| (i * i, i.to_string())).collect();
        assert_eq!(get::<HashMap<u64, String>, _>(&*handler, &put(&*handler, &map).unwrap()).unwrap(), map);
        let set: HashSet<i32> = (-500..500).collect();
        assert_eq!(get::<HashSet<i32>, _>(&*handler, &put(&*handler, &set).unwrap()).unwrap(), set);
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "kind")]
enum InternallyTagged {
    One { number: u32 },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Flattened {
    id: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    first: Option<u8>,
    second: u8,
    third: u8,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum SkippingVariant {
    Fields {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        first: Option<u8>,
        second: u8,
    },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct WriteOnly {
    #[serde(skip_deserializing)]
    first: u8,
    second: u8,
    third: u8,
}

/// Encodes a `u8` and decodes it, plus one.
#[derive(PartialEq, Debug)]
struct Drifting(u8);

impl Serialize for Drifting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Drifting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(u8::deserialize(from)?.wrapping_add(1)))
    }
}

fn is_refused<T: Serialize + DeserializeOwned + Send + Sync + 'static>(value: &T) {
    for handler in handlers() {
        for _ in 0..2 {
            let error = put(&*handler, value).map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Encode);
            let message = error.to_string();
            for part in [T::target().type_name(), handler.name(), "put it with the handler `msgpack`"] {
                assert!(message.contains(part), "{message} names {part}");
            }
        }
    }
}

#[test]
fn a_type_that_does_not_come_back_is_an_encode_error_that_names_it_and_msgpack() {
    is_refused(&Untagged::Number(7));
    is_refused(&InternallyTagged::One { number: 7 });
    is_refused(&Flattened { id: 1, rest: BTreeMap::from([("a".to_owned(), 2)]) });
    is_refused(&serde_json::json!({"a": 1}));
    is_refused(&serde_json::json!(7));
    is_refused(&WriteOnly { first: 1, second: 2, third: 3 });
    is_refused(&Drifting(7));
}

#[test]
fn a_field_that_is_left_out_is_refused_also_after_a_value_that_had_it() {
    let whole = Skipping { first: Some(1), second: 2, third: 3 };
    // Without its first field this one would come back as another value: 1, 7, and whatever follows.
    let skipped = Skipping { first: None, second: 1, third: 7 };
    for handler in handlers() {
        let stored = put(&*handler, &whole).unwrap();
        assert_eq!(get::<Skipping, _>(&*handler, &stored).unwrap(), whole);
        let error = put(&*handler, &skipped).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains("`first` is left out"), "{error}");
    }
    is_refused(&skipped);
    is_refused(&SkippingVariant::Fields { first: None, second: 1 });
}

#[test]
fn bytes_after_the_value_are_damage() {
    for handler in handlers() {
        let mut bytes = put(&*handler, &everything()).unwrap().bytes.to_vec();
        bytes.push(0);
        let error = get::<Everything, _>(&*handler, &plain_stored(&bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("1 bytes are left over"), "{error}");
    }
}

#[test]
fn damaged_bytes_are_a_decode_error_or_another_value() {
    for handler in handlers() {
        let whole = put(&*handler, &everything()).unwrap().bytes;
        for len in 0..whole.len() {
            let error = get::<Everything, _>(&*handler, &plain_stored(&whole[..len])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Err(error) = get::<Everything, _>(&*handler, &plain_stored(&flipped)) {
                assert_eq!(error.kind(), ErrorKind::Decode);
            }
        }
    }
}

/// Reserves what the list says it holds, as careless types do.
#[derive(Debug)]
struct Careless(Vec<[u64; 16]>);

impl Serialize for Careless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Careless {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reserving;
        impl<'de> Visitor<'de> for Reserving {
            type Value = Careless;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Careless, A::Error> {
                let len = list.size_hint().ok_or_else(|| A::Error::custom("no length"))?;
                let mut rows = Vec::with_capacity(len);
                while let Some(row) = list.next_element()? {
                    rows.push(row);
                }
                Ok(Careless(rows))
            }
        }
        from.deserialize_seq(Reserving)
    }
}

#[test]
fn lengths_that_lie_reserve_nothing() {
    // A length of 2^62 in either format, and of 2^40, for which an allocation might succeed.
    type Lengths = (Box<dyn CacheHandler>, [&'static [u8]; 2]);
    let lengths: [Lengths; 2] = [
        (Box::new(BincodeHandler::new()), [b"\xfd\0\0\0\0\0\0\0\x40", b"\xfd\0\0\0\0\0\x01\0\0"]),
        (
            Box::new(PostcardHandler::new()),
            [b"\x80\x80\x80\x80\x80\x80\x80\x80\x40", b"\x80\x80\x80\x80\x80\x20"],
        ),
    ];
    fn fails<T: DeserializeOwned + Serialize + Send + Sync + 'static>(
        handler: &dyn CacheHandler,
        bytes: &[u8],
    ) {
        let error = get::<T, _>(handler, &plain_stored(bytes)).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{}: {error}", handler.name());
    }
    for (handler, lengths) in &lengths {
        for length in lengths {
            let more = [*length, &[1; 100]].concat();
            for bytes in [*length, &more] {
                fails::<String>(&**handler, bytes);
                fails::<Box<str>>(&**handler, bytes);
                fails::<Vec<u8>>(&**handler, bytes);
                fails::<Vec<f64>>(&**handler, bytes);
                fails::<serde_bytes_like::Bytes>(&**handler, bytes);
                fails::<HashMap<u8, String>>(&**handler, bytes);
                fails::<BTreeMap<String, u8>>(&**handler, bytes);
                fails::<Careless>(&**handler, bytes);
                // These have elements that take no bytes, so nothing runs out.
                fails::<Vec<()>>(&**handler, bytes);
                fails::<HashMap<(), ()>>(&**handler, bytes);
                fails::<Vec<std::marker::PhantomData<u8>>>(&**handler, bytes);
            }
        }
        let few = vec![(); 60_000];
        assert_eq!(get::<Vec<()>, _>(&**handler, &put(&**handler, &few).unwrap()).unwrap(), few);
        let hollow = vec![(Vec::<u8>::new(), (), 7_u8, ()); 100_000];
        let stored = put(&**handler, &hollow).unwrap();
        assert_eq!(get::<Vec<(Vec<u8>, (), u8, ())>, _>(&**handler, &stored).unwrap(), hollow);
    }
}

#[test]
fn an_error_of_the_writer_comes_out_unchanged() {
    let numbers: Vec<u32> = (0..100_000).collect();
    for handler in handlers() {
        let whole = put(&*handler, &numbers).unwrap().bytes.len();
        for room in [0, 3, whole / 2, whole - 1] {
            let error = handler.put(&numbers.value_ref(), &mut FullDisk(room), &context(None)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }
}
