//! Bytes, text and MessagePack.

use std::collections::BTreeMap;

use bytes::Bytes;
use cacheness_core::{
    Access, CacheHandler, CacheValue, ErrorKind, PutValue, ReadOptions, TypeTarget, column,
};
use cacheness_handlers::{BytesHandler, MsgpackHandler, TextHandler};
use serde::{Deserialize, Serialize};

use crate::memory::{FullDisk, Reader, context, get, get_with, plain_stored as stored, put};

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct User {
    name: String,
    tags: Vec<String>,
    score: Option<f64>,
    by_day: BTreeMap<u32, i64>,
}

fn user() -> User {
    User {
        name: "Ada".to_owned(),
        tags: vec!["a".to_owned(), "ü".to_owned()],
        score: None,
        by_day: BTreeMap::from([(1, -1), (2, i64::MAX)]),
    }
}

#[test]
fn bytes_come_back_as_every_bytes_type() {
    let handler = BytesHandler::new();
    for value in [vec![], vec![0_u8, 255, 7], vec![9; 300_000]] {
        let stored = put(&handler, &value).unwrap();
        assert_eq!(stored.bytes, value);
        assert_eq!(get::<Vec<u8>, _>(&handler, &stored).unwrap(), value);
        assert_eq!(*get::<Box<[u8]>, _>(&handler, &stored).unwrap(), value[..]);
        let target = TypeTarget::native::<Bytes>();
        let bytes =
            handler.get(&mut Reader::new(&stored), &stored.meta, &target, &ReadOptions::new()).unwrap();
        let bytes = bytes.downcast::<Bytes>().unwrap();
        assert_eq!(bytes.as_ptr(), stored.bytes.as_ptr(), "`Bytes` are not copied");
        assert_eq!(*bytes, value);
    }
    assert_eq!(handler.preferred_access(), Access::Map);
}

#[test]
fn borrowed_values_are_claimed() {
    let bytes: &[u8] = b"borrowed";
    assert!(BytesHandler::new().can_handle(&PutValue::value_ref(&bytes)));
    assert!(!TextHandler::new().can_handle(&PutValue::value_ref(&bytes)));
    let text = "borrowed";
    assert!(TextHandler::new().can_handle(&PutValue::value_ref(&text)));
    assert!(!BytesHandler::new().can_handle(&PutValue::value_ref(&text)));
}

#[test]
fn text_comes_back_and_is_checked_for_utf_8() {
    let handler = TextHandler::new();
    for value in ["", "text", "grüß dich \u{1f980}"] {
        let stored = put(&handler, &value.to_owned()).unwrap();
        assert_eq!(stored.bytes, value.as_bytes());
        assert_eq!(get::<String, _>(&handler, &stored).unwrap(), value);
        assert_eq!(&*get::<Box<str>, _>(&handler, &stored).unwrap(), value);
    }
    let error = get::<String, _>(&handler, &stored(b"ab\xff")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

#[test]
fn a_serde_value_comes_back_from_msgpack() {
    let handler = MsgpackHandler::new();
    let stored = put(&handler, &user()).unwrap();
    assert_eq!(get::<User, _>(&handler, &stored).unwrap(), user());
    let floats: Vec<f64> = (0..1_000_000).map(f64::from).collect();
    let stored = put(&handler, &floats).unwrap();
    assert_eq!(get::<Vec<f64>, _>(&handler, &stored).unwrap(), floats);
}

#[test]
fn damaged_msgpack_is_a_decode_error_or_another_value() {
    let handler = MsgpackHandler::new();
    let whole = put(&handler, &user()).unwrap().bytes;
    for len in 0..whole.len() {
        let error = get::<User, _>(&handler, &stored(&whole[..len])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
    for position in 0..whole.len() * 8 {
        let mut flipped = whole.to_vec();
        flipped[position / 8] ^= 1 << (position % 8);
        if let Err(error) = get::<User, _>(&handler, &stored(&flipped)) {
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
    }
    // An array that states 4 billion elements and has none.
    let error = get::<Vec<f64>, _>(&handler, &stored(&[0xdd, 0xff, 0xff, 0xff, 0xff])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

#[test]
fn values_in_one_piece_refuse_columns_rows_and_filters() {
    let handlers: [&dyn CacheHandler; 3] =
        [&BytesHandler::new(), &TextHandler::new(), &MsgpackHandler::new()];
    for handler in handlers {
        for options in [
            ReadOptions::columns(["a"]),
            ReadOptions::new().rows(0..1),
            ReadOptions::new().filter(column("a").eq(1)),
        ] {
            let error = get_with::<String, _>(handler, &stored(b"x"), &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(handler.name()), "{error}");
        }
    }
}

#[test]
fn a_type_that_the_handler_cannot_make_is_refused() {
    struct Stranger;
    let target = TypeTarget::native::<Stranger>();
    let handlers: [&dyn CacheHandler; 3] =
        [&BytesHandler::new(), &TextHandler::new(), &MsgpackHandler::new()];
    for handler in handlers {
        assert!(!handler.can_decode(&target));
        let stored = stored(b"x");
        let result = handler.get(&mut Reader::new(&stored), &stored.meta, &target, &ReadOptions::new());
        assert!(result.is_err());
    }
}

#[test]
fn an_error_of_the_writer_comes_out_unchanged() {
    let text = "a text".to_owned();
    let handlers: [&dyn CacheHandler; 2] = [&TextHandler::new(), &MsgpackHandler::new()];
    for handler in handlers {
        let error = handler.put(&text.value_ref(), &mut FullDisk(3), &context(None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

#[test]
fn a_tuple_that_is_short_is_never_read_as_another_value_from_msgpack() {
    fn is_zero(number: &u8) -> bool {
        *number == 0
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Tuple(
        #[serde(skip_serializing_if = "is_zero", default)] u8,
        #[serde(skip_serializing_if = "is_zero", default)] u8,
    );

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Variant {
        Tuple(#[serde(skip_serializing_if = "Option::is_none", default)] Option<u8>, #[serde(default)] u8),
        Fields { tuples: Vec<Option<Tuple>>, by_name: BTreeMap<String, Tuple> },
        Newtype(Tuple),
    }

    fn comes_back_or_fails<T>(whole: T, short: T)
    where
        T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug + Send + Sync + 'static,
    {
        let handler = MsgpackHandler::new();
        assert_eq!(get::<T, _>(&handler, &put(&handler, &whole).unwrap()).unwrap(), whole);
        let error = get::<T, _>(&handler, &put(&handler, &short).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("elements of a tuple are missing"), "{error}");
    }

    let fields = |first| Variant::Fields {
        tuples: vec![None, Some(Tuple(first, 7))],
        by_name: BTreeMap::from([("a".to_owned(), Tuple(first, 7))]),
    };
    comes_back_or_fails(Tuple(1, 7), Tuple(0, 7));
    comes_back_or_fails(Variant::Tuple(Some(1), 5), Variant::Tuple(None, 5));
    comes_back_or_fails(fields(1), fields(0));
    comes_back_or_fails(Variant::Newtype(Tuple(1, 7)), Variant::Newtype(Tuple(0, 7)));
}
