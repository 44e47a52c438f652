//! The canonical bytes of a value: the serde serialiser that `docs/key-encoding.md` specifies.
//!
//! Every encoding says where it ends, so that no encoding is the beginning of another and no two values that
//! the specification tells apart have the same bytes.

mod collection;

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

use self::collection::{Collection, Pairs};
use super::unordered;
use crate::error::{Error, ErrorKind, Result};

/// How many values may lie around a value; more would need a stack that nobody has promised.
pub(super) const MAX_DEPTH: usize = 128;

const UNIT: u8 = 0x00;
const NONE: u8 = 0x01;
const SOME: u8 = 0x02;
const FALSE: u8 = 0x03;
const TRUE: u8 = 0x04;
const NON_NEGATIVE: u8 = 0x05;
const NEGATIVE: u8 = 0x06;
const FLOAT: u8 = 0x07;
const CHAR: u8 = 0x08;
const TEXT: u8 = 0x09;
const BYTES: u8 = 0x0a;
const SEQUENCE: u8 = 0x0b;
const UNORDERED: u8 = 0x0c;
pub(super) const MAP: u8 = 0x0d;
const UNIT_VARIANT: u8 = 0x0e;
const NEWTYPE_VARIANT: u8 = 0x0f;
const TUPLE_VARIANT: u8 = 0x10;
const STRUCT_VARIANT: u8 = 0x11;
/// A file by its content. No serialised value has this tag.
pub(super) const FILE: u8 = 0x12;
/// A folder by its content. No serialised value has this tag.
pub(super) const FOLDER: u8 = 0x13;

/// The one bit pattern that stands for every NaN.
const NAN: u64 = 0x7ff8_0000_0000_0000;

/// Returns the canonical bytes of `value`.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    let mut encoder = Encoder::default();
    value.serialize(&mut encoder).map_err(|failure| failure.0)?;
    // A hand-written `Serialize` may have dropped the error of one of its parts, and a part with it.
    encoder.failure.map_or(Ok(encoder.out), Err)
}

/// The number that stands before whatever may be long: 8 bytes, most significant first.
pub(super) fn length(length: usize) -> [u8; 8] {
    // `usize` has at most 64 bits on every target of Rust, so that this widens.
    (length as u64).to_be_bytes()
}

/// The crate's error as a serialiser's error.
#[derive(Debug)]
pub(super) struct Failure(Error);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl ser::Error for Failure {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self(Error::new(ErrorKind::Encode, message.to_string()))
    }
}

type Done = Result<(), Failure>;

#[derive(Default)]
struct Encoder {
    out: Vec<u8>,
    /// How many values lie around the one being encoded.
    depth: usize,
    /// The first failure of a part.
    failure: Option<Error>,
    /// The value about to be encoded is the collection in an `Unordered`.
    unordered: bool,
}

impl Encoder {
    /// Encodes a part of the current value.
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.unordered = false;
        if self.depth == MAX_DEPTH {
            let message = format!(
                "a value in a key is nested more than {MAX_DEPTH} deep; pass a flatter value, or a digest of this one"
            );
            return self.fail(Failure(Error::new(ErrorKind::LimitExceeded, message)));
        }
        self.depth += 1;
        let result = value.serialize(&mut *self);
        self.depth -= 1;
        result.or_else(|failure| self.fail(failure))
    }

    fn fail(&mut self, failure: Failure) -> Done {
        self.failure.get_or_insert_with(|| failure.0.clone());
        Err(failure)
    }

    fn integer(&mut self, tag: u8, magnitude: u128) {
        let bytes = magnitude.to_be_bytes();
        // At most 16, so that the number of significant bytes fits one byte.
        let zeros = (magnitude.leading_zeros() / 8) as usize;
        self.out.push(tag);
        self.out.push((bytes.len() - zeros) as u8);
        self.out.extend_from_slice(&bytes[zeros..]);
    }

    fn long(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(&length(bytes.len()));
        self.out.extend_from_slice(bytes);
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.long(bytes);
    }

    fn sequence(&mut self) -> Collection<'_> {
        let unordered = std::mem::take(&mut self.unordered);
        self.out.push(if unordered { UNORDERED } else { SEQUENCE });
        Collection::begin(self, unordered)
    }

    fn map(&mut self) -> Pairs<'_> {
        self.out.push(MAP);
        Pairs::begin(self)
    }
}

impl<'a> Serializer for &'a mut Encoder {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Collection<'a>;
    type SerializeTuple = Collection<'a>;
    type SerializeTupleStruct = Collection<'a>;
    type SerializeTupleVariant = Collection<'a>;
    type SerializeMap = Pairs<'a>;
    type SerializeStruct = Pairs<'a>;
    type SerializeStructVariant = Pairs<'a>;

    /// The compact form of a type that has two: an IP address stays apart from a text that spells it.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, v: bool) -> Done {
        self.out.push(if v { TRUE } else { FALSE });
        Ok(())
    }

    fn serialize_i8(self, v: i8) -> Done {
        self.serialize_i128(v.into())
    }

    fn serialize_i16(self, v: i16) -> Done {
        self.serialize_i128(v.into())
    }

    fn serialize_i32(self, v: i32) -> Done {
        self.serialize_i128(v.into())
    }

    fn serialize_i64(self, v: i64) -> Done {
        self.serialize_i128(v.into())
    }

    fn serialize_i128(self, v: i128) -> Done {
        match u128::try_from(v) {
            Ok(magnitude) => self.integer(NON_NEGATIVE, magnitude),
            // `!v` is -1 - v, which is never negative here and fits for the smallest number too.
            Err(_) => self.integer(NEGATIVE, !v as u128),
        }
        Ok(())
    }

    fn serialize_u8(self, v: u8) -> Done {
        self.serialize_u128(v.into())
    }

    fn serialize_u16(self, v: u16) -> Done {
        self.serialize_u128(v.into())
    }

    fn serialize_u32(self, v: u32) -> Done {
        self.serialize_u128(v.into())
    }

    fn serialize_u64(self, v: u64) -> Done {
        self.serialize_u128(v.into())
    }

    fn serialize_u128(self, v: u128) -> Done {
        self.integer(NON_NEGATIVE, v);
        Ok(())
    }

    fn serialize_f32(self, v: f32) -> Done {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Done {
        let bits = if v.is_nan() { NAN } else { v.to_bits() };
        self.out.push(FLOAT);
        self.out.extend_from_slice(&bits.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, v: char) -> Done {
        self.out.push(CHAR);
        self.out.extend_from_slice(&u32::from(v).to_be_bytes());
        Ok(())
    }

    fn serialize_str(self, v: &str) -> Done {
        self.tagged(TEXT, v.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, v: &[u8]) -> Done {
        self.tagged(BYTES, v);
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.out.push(NONE);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.out.push(SOME);
        self.part(value)
    }

    fn serialize_unit(self) -> Done {
        self.out.push(UNIT);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Done {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Done {
        self.tagged(UNIT_VARIANT, variant.as_bytes());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Done {
        if name != unordered::NAME {
            return self.part(value);
        }
        let start = self.out.len();
        self.unordered = true;
        let result = value.serialize(&mut *self);
        self.unordered = false;
        result?;
        if self.out.get(start) == Some(&UNORDERED) {
            return Ok(());
        }
        let message = "`Unordered` takes a collection that is serialised as a sequence, such as a `HashSet`";
        self.fail(Failure(Error::new(ErrorKind::InvalidInput, message)))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.tagged(NEWTYPE_VARIANT, variant.as_bytes());
        self.part(value)
    }

    // The lengths that serde hands over are hints from the type being encoded, so parts are counted instead.

    fn serialize_seq(self, _len: Option<usize>) -> Result<Collection<'a>, Failure> {
        Ok(self.sequence())
    }

    fn serialize_tuple(self, _len: usize) -> Result<Collection<'a>, Failure> {
        Ok(self.sequence())
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Collection<'a>, Failure> {
        Ok(self.sequence())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Collection<'a>, Failure> {
        self.tagged(TUPLE_VARIANT, variant.as_bytes());
        Ok(Collection::begin(self, false))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Pairs<'a>, Failure> {
        Ok(self.map())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Pairs<'a>, Failure> {
        Ok(self.map())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Pairs<'a>, Failure> {
        self.tagged(STRUCT_VARIANT, variant.as_bytes());
        Ok(Pairs::begin(self))
    }
}
