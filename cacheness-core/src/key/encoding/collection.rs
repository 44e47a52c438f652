//! Sequences and maps: how parts are counted, and sorted where their order does not count.

use std::ops::Range;

use serde::ser::{self, Serialize};

use super::{Done, Encoder, Failure, TEXT, length};
use crate::error::{Error, ErrorKind};

/// Parts that are written one after another behind their number, which is known at the end.
pub(super) struct Collection<'a> {
    encoder: &'a mut Encoder,
    /// Where the number goes.
    count_at: usize,
    count: usize,
    /// Where each part begins, if the parts are to be sorted.
    starts: Option<Vec<usize>>,
}

impl<'a> Collection<'a> {
    pub(super) fn begin(encoder: &'a mut Encoder, sorted: bool) -> Self {
        let count_at = encoder.out.len();
        encoder.out.extend_from_slice(&length(0));
        Self { encoder, count_at, count: 0, starts: sorted.then(Vec::new) }
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.count += 1;
        if let Some(starts) = &mut self.starts {
            starts.push(self.encoder.out.len());
        }
        self.encoder.part(value)
    }

    /// Writes the number of parts and brings them into the order of their bytes.
    fn finish(mut self) {
        let content = self.count_at + length(0).len();
        self.encoder.out[self.count_at..content].copy_from_slice(&length(self.count));
        let Some(starts) = self.starts.take() else { return };
        let out = &mut self.encoder.out;
        let mut parts = ranges(&starts, out.len());
        // No encoding is the beginning of another, so that comparing whole pairs compares their keys first.
        if parts.is_sorted_by(|a, b| out[a.clone()] <= out[b.clone()]) {
            return;
        }
        parts.sort_by(|a, b| out[a.clone()].cmp(&out[b.clone()]));
        let mut sorted = Vec::with_capacity(out.len() - content);
        for part in parts {
            sorted.extend_from_slice(&out[part]);
        }
        out.truncate(content);
        out.extend_from_slice(&sorted);
    }
}

/// The ranges between neighbouring starts; the last one ends at `end`.
fn ranges(starts: &[usize], end: usize) -> Vec<Range<usize>> {
    let ends = starts.iter().copied().skip(1).chain([end]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// The keys and values of a map or struct.
pub(super) struct Pairs<'a> {
    collection: Collection<'a>,
    /// Where the value of each pair begins, which is where its key ends.
    values: Vec<usize>,
    has_key: bool,
}

impl<'a> Pairs<'a> {
    pub(super) fn begin(encoder: &'a mut Encoder) -> Self {
        Self { collection: Collection::begin(encoder, true), values: Vec::new(), has_key: false }
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        if std::mem::replace(&mut self.has_key, true) {
            return self.collection.encoder.fail(ser::Error::custom("a map has a key without a value"));
        }
        self.collection.part(key)
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        if !std::mem::replace(&mut self.has_key, false) {
            return self.collection.encoder.fail(ser::Error::custom("a map has a value without a key"));
        }
        self.values.push(self.collection.encoder.out.len());
        self.collection.encoder.part(value)
    }

    fn finish(self) -> Done {
        if self.has_key {
            return self.collection.encoder.fail(ser::Error::custom("a map has a key without a value"));
        }
        let encoder = &*self.collection.encoder;
        let starts = self.collection.starts.iter().flatten().zip(&self.values);
        let mut keys: Vec<&[u8]> = starts.map(|(start, value)| &encoder.out[*start..*value]).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            let error = duplicate(twice[0]);
            return self.collection.encoder.fail(Failure(error));
        }
        self.collection.finish();
        Ok(())
    }
}

fn duplicate(key: &[u8]) -> Error {
    let error = Error::new(
        ErrorKind::InvalidInput,
        "a map or struct has the same key twice; two maps that differ in it could not be told apart",
    );
    // A text's own bytes begin after its tag and length.
    match key.split_at_checked(9) {
        Some(([TEXT, ..], text)) => error.with_context("entry", String::from_utf8_lossy(text)),
        _ => error,
    }
}

macro_rules! impl_collection {
    ($($trait:ident :: $method:ident),*) => { $(
        impl ser::$trait for Collection<'_> {
            type Ok = ();
            type Error = Failure;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.part(value)
            }

            fn end(self) -> Done {
                self.finish();
                Ok(())
            }
        }
    )* };
}

impl_collection!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

impl ser::SerializeMap for Pairs<'_> {
    type Ok = ();
    type Error = Failure;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.value(value)
    }

    fn end(self) -> Done {
        self.finish()
    }
}

macro_rules! impl_pairs {
    ($($trait:ident),*) => { $(
        impl ser::$trait for Pairs<'_> {
            type Ok = ();
            type Error = Failure;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Done {
                self.key(name)?;
                self.value(value)
            }

            fn end(self) -> Done {
                self.finish()
            }
        }
    )* };
}

impl_pairs!(SerializeStruct, SerializeStructVariant);
