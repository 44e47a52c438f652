//! That a case finds a handler which hides that its reader failed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cacheness_core::{
    BlobReader, BlobWriter, BoxedValue, CacheHandler, Error, ErrorKind, FormatMeta, HandlerContext,
    ReadOptions, Result, TypeClass, TypeTarget, ValueRef,
};

use super::HandlerCase;

/// Writes a number and its copy, and reads them one after the other.
struct Number {
    read: fn(&mut dyn BlobReader) -> Result<u8>,
}

impl CacheHandler for Number {
    fn name(&self) -> &str {
        "number"
    }

    fn class(&self) -> TypeClass {
        TypeClass::Native
    }

    fn can_handle(&self, value: &ValueRef<'_>) -> bool {
        value.any().is::<u8>()
    }

    fn can_decode(&self, target: &TypeTarget) -> bool {
        target.is::<u8>()
    }

    fn put(&self, value: &ValueRef<'_>, out: &mut dyn BlobWriter, _: &HandlerContext) -> Result<FormatMeta> {
        let number = *value.any().downcast_ref::<u8>().ok_or_else(no_number)?;
        out.write_all(&[number, number]).map_err(|error| Error::io(error, "writing a number"))?;
        Ok(FormatMeta::default())
    }

    fn get(
        &self,
        from: &mut dyn BlobReader,
        _: &FormatMeta,
        _: &TypeTarget,
        options: &ReadOptions,
    ) -> Result<BoxedValue> {
        if options.is_partial() {
            return Err(Error::new(ErrorKind::Unsupported, "a number is read whole"));
        }
        Ok(Box::new((self.read)(from)?))
    }
}

fn no_number() -> Error {
    Error::new(ErrorKind::Decode, "no number")
}

fn byte(from: &mut dyn BlobReader, at: u64) -> Result<u8> {
    from.read_at(at..at + 1)?.first().copied().ok_or_else(no_number)
}

fn accepts_seven(read: fn(&mut dyn BlobReader) -> Result<u8>) -> Result<(), String> {
    let case = || drop(HandlerCase::new(Number { read }).accepts(&7_u8));
    catch_unwind(AssertUnwindSafe(case)).map_err(|payload| *payload.downcast::<String>().expect("a text"))
}

#[test]
fn a_handler_that_hides_that_its_reader_failed_is_told_so() {
    let hides_all = accepts_seven(|from| Ok(byte(from, 0).unwrap_or_default()));
    assert_eq!(hides_all.unwrap_err(), "`number` hid that its reader failed after 0 calls");
    let hides_the_second = accepts_seven(|from| {
        let number = byte(from, 0)?;
        Ok(byte(from, 1).unwrap_or(number))
    });
    assert_eq!(hides_the_second.unwrap_err(), "`number` hid that its reader failed after 1 calls");
    let hides_a_prefetch = accepts_seven(|from| match from.prefetch(std::slice::from_ref(&(0..1))) {
        Ok(()) => byte(from, 0),
        Err(_) => Ok(0),
    });
    assert_eq!(hides_a_prefetch.unwrap_err(), "`number` hid that its reader failed after 0 calls");
}

#[test]
fn a_handler_need_not_read_all_of_a_value() {
    accepts_seven(|from| byte(from, 0)).unwrap();
    accepts_seven(|from| {
        let number = byte(from, 0)?;
        if byte(from, 1)? == number { Ok(number) } else { Err(no_number()) }
    })
    .unwrap();
}
