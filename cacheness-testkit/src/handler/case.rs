//! The promises of a handler, checked with values that it must and must not take.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cacheness_core::{
    BoxedValue, CacheHandler, CacheValue, Compression, ErrorKind, FormatMeta, HandlerContext, PutValue,
    ReadOptions, Result, TypeClass, TypeTarget, column,
};

use super::damage::damaged;
use super::{MemoryReader, MemoryWriter};

/// Checks a handler with the values that it is shown.
///
/// ```
/// use cacheness_core::*;
/// use cacheness_testkit::handler::HandlerCase;
///
/// struct Utf8;
///
/// impl CacheHandler for Utf8 {
///     fn name(&self) -> &str { "utf8" }
///     fn class(&self) -> TypeClass { TypeClass::Text }
///     fn can_handle(&self, value: &ValueRef<'_>) -> bool { value.as_text().is_some() }
///     fn can_decode(&self, target: &TypeTarget) -> bool { target.is::<String>() }
///
///     fn put(&self, value: &ValueRef<'_>, out: &mut dyn BlobWriter, _: &HandlerContext) -> Result<FormatMeta> {
///         let text = value.as_text().ok_or_else(|| Error::new(ErrorKind::Encode, "no text"))?;
///         out.write_all(text.as_bytes()).map_err(|error| Error::io(error, "writing a text"))?;
///         Ok(FormatMeta::default())
///     }
///
///     fn get(&self, from: &mut dyn BlobReader, _: &FormatMeta, target: &TypeTarget, options: &ReadOptions)
///         -> Result<BoxedValue>
///     {
///         if !self.can_decode(target) || options.is_partial() {
///             return Err(Error::new(ErrorKind::Unsupported, "a text is read whole, as a String"));
///         }
///         let text = String::from_utf8(from.bytes()?.to_vec());
///         Ok(Box::new(text.map_err(|e| Error::new(ErrorKind::Decode, "not UTF-8").with_source(e))?))
///     }
/// }
///
/// HandlerCase::new(Utf8)
///     .is_named("utf8", TypeClass::Text)
///     .accepts(&"grüße".to_owned())
///     .accepts_as("borrowed", &"borrowed".to_owned())
///     .rejects(&7_u32)
///     .decodes_no::<u32, _>();
/// ```
pub struct HandlerCase<H> {
    handler: H,
    name: String,
    class: TypeClass,
}

impl<H: CacheHandler> HandlerCase<H> {
    /// Takes a handler.
    ///
    /// # Panics
    /// Where it has no name.
    pub fn new(handler: H) -> Self {
        let (name, class) = (handler.name().to_owned(), handler.class());
        assert!(!name.is_empty(), "a handler needs a name: it is stored with each entry");
        Self { handler, name, class }
    }

    /// Checks the name and the class, which are stored and may never change.
    ///
    /// # Panics
    /// Where they are others.
    pub fn is_named(self, name: &str, class: TypeClass) -> Self {
        assert_eq!(self.name, name, "the name of a handler is stored with each entry and never changes");
        assert_eq!(self.class, class, "the class of a handler is stored with each entry and never changes");
        self
    }

    /// Checks everything that the handler promises for a value that it takes: that it claims the value, writes it
    /// and reads the same value back, that it hands on the errors of its writer and its reader, that it
    /// refuses or understands partial reads, and that damaged bytes make it return an error or some value of the
    /// right type, never panic.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub fn accepts<T, Via>(self, value: &T) -> Self
    where
        T: CacheValue<Via> + PartialEq + Debug,
    {
        self.accepts_as(value, value)
    }

    /// As [`accepts`](Self::accepts), for a value that comes back as another type, such as a `&str` as a `String`.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub fn accepts_as<'v, T, Via, PutVia>(self, value: impl PutValue<'v, PutVia>, expected: &T) -> Self
    where
        T: CacheValue<Via> + PartialEq + Debug,
    {
        self.accepts_by(value, |got: &T| {
            assert!(got == expected, "a value comes back as it was put: {got:?} came for {expected:?}");
        })
    }

    /// As [`accepts`](Self::accepts), for a value that `==` cannot compare, such as one with a NaN. `check` panics
    /// where what came back is another value.
    ///
    /// # Panics
    /// Where a promise is broken.
    pub fn accepts_by<'v, T, Via, PutVia>(self, value: impl PutValue<'v, PutVia>, check: impl Fn(&T)) -> Self
    where
        T: CacheValue<Via>,
    {
        let target = T::target();
        let (name, type_name) = (&self.name, target.type_name());
        assert!(
            self.handler.can_handle(&value.value_ref()),
            "`{name}` must take a {type_name}; can_handle said no"
        );
        assert!(self.handler.can_decode(&target), "`{name}` must make a {type_name}; can_decode said no");
        for compression in [None, Some(Compression::None), Some(Compression::Lz4), Some(Compression::Zstd(3))]
        {
            let mut context = HandlerContext::default();
            context.compression = compression;
            let (bytes, meta) = self.written(&value, &context);
            for _ in 0..2 {
                let got = self.get(&bytes, &meta, &target, &ReadOptions::new(), "what it wrote");
                let got = got.unwrap_or_else(|error| panic!("`{name}` cannot read what it wrote: {error}"));
                check(&self.typed::<T, Via>(got, "what it wrote"));
            }
        }
        let (bytes, meta) = self.written(&value, &HandlerContext::default());
        self.hands_on_errors(&value, &bytes, &meta, &target);
        self.understands_partial_reads(&bytes, &meta, &target);
        for (what, bytes) in damaged(&bytes) {
            let what = format!("a damaged value, {what}");
            if let Ok(got) = self.get(&bytes, &meta, &target, &ReadOptions::new(), &what) {
                drop(self.typed::<T, Via>(got, &what));
            }
        }
        for (what, meta) in damaged(meta.as_bytes()) {
            let what = format!("a value with damaged format metadata, {what}");
            if let Ok(got) = self.get(&bytes, &FormatMeta::new(meta), &target, &ReadOptions::new(), &what) {
                drop(self.typed::<T, Via>(got, &what));
            }
        }
        assert_eq!(self.handler.name(), self.name, "the name of a handler stays the same");
        assert_eq!(self.handler.class(), self.class, "the class of a handler stays the same");
        self
    }

    /// Checks that the handler does not claim a value.
    ///
    /// # Panics
    /// Where it does.
    pub fn rejects<'v, Via>(self, value: impl PutValue<'v, Via>) -> Self {
        let value = value.value_ref();
        let (name, type_name) = (&self.name, value.type_name());
        assert!(
            !self.handler.can_handle(&value),
            "`{name}` must leave a {type_name} to others; can_handle said yes"
        );
        self
    }

    /// Checks that the handler does not offer to make a type, and that asking it all the same is no panic.
    ///
    /// # Panics
    /// Where it offers, or panics.
    pub fn decodes_no<T: CacheValue<Via>, Via>(self) -> Self {
        let target = T::target();
        let (name, type_name) = (&self.name, target.type_name());
        assert!(!self.handler.can_decode(&target), "`{name}` makes no {type_name}; can_decode said yes");
        drop(self.get(
            b"",
            &FormatMeta::default(),
            &target,
            &ReadOptions::new(),
            "nothing, as a type it does not make",
        ));
        self
    }

    fn written<'v, Via>(
        &self,
        value: &impl PutValue<'v, Via>,
        context: &HandlerContext,
    ) -> (Vec<u8>, FormatMeta) {
        let name = &self.name;
        let mut writer = MemoryWriter::new();
        let put =
            catch_unwind(AssertUnwindSafe(|| self.handler.put(&value.value_ref(), &mut writer, context)));
        let put = put.unwrap_or_else(|_| panic!("`{name}` panicked writing a value with {context:?}"));
        let meta =
            put.unwrap_or_else(|error| panic!("`{name}` cannot write a value that it claims: {error}"));
        let len = meta.as_bytes().len();
        assert!(
            len <= FormatMeta::MAX_LEN,
            "`{name}` keeps {len} bytes of format metadata; the most is 64 KiB"
        );
        (writer.into_bytes(), meta)
    }

    fn get(
        &self,
        bytes: &[u8],
        meta: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
        what: &str,
    ) -> Result<BoxedValue> {
        self.get_from(&mut MemoryReader::new(bytes), meta, target, options, what)
    }

    fn get_from(
        &self,
        reader: &mut MemoryReader,
        meta: &FormatMeta,
        target: &TypeTarget,
        options: &ReadOptions,
        what: &str,
    ) -> Result<BoxedValue> {
        catch_unwind(AssertUnwindSafe(|| self.handler.get(reader, meta, target, options)))
            .unwrap_or_else(|_| panic!("`{}` panicked reading {what}: it must return an error", self.name))
    }

    fn typed<T: CacheValue<Via>, Via>(&self, value: BoxedValue, what: &str) -> T {
        T::from_boxed(value).unwrap_or_else(|| {
            panic!("`{}` made another type than {} of {what}", self.name, T::target().type_name())
        })
    }

    fn hands_on_errors<'v, Via>(
        &self,
        value: &impl PutValue<'v, Via>,
        bytes: &[u8],
        meta: &FormatMeta,
        target: &TypeTarget,
    ) {
        let name = &self.name;
        let rooms = [0, 1, bytes.len() / 2, bytes.len().saturating_sub(1)];
        for room in rooms.into_iter().filter(|room| *room < bytes.len()) {
            let mut writer = MemoryWriter::with_room_for(room);
            let put = catch_unwind(AssertUnwindSafe(|| {
                self.handler.put(&value.value_ref(), &mut writer, &HandlerContext::default())
            }));
            let put =
                put.unwrap_or_else(|_| panic!("`{name}` panicked when its writer failed after {room} bytes"));
            let error =
                put.err().unwrap_or_else(|| panic!("`{name}` hid that its writer failed after {room} bytes"));
            assert_eq!(
                error.kind(),
                ErrorKind::StorageFull,
                "`{name}` hands on its writer's error by Error::io: {error}"
            );
        }
        for calls in 0..4 {
            let mut reader = MemoryReader::new(bytes).failing_after(calls);
            match self.get_from(&mut reader, meta, target, &ReadOptions::new(), "from a store that fails") {
                Err(error) => assert_eq!(
                    error.kind(),
                    ErrorKind::Unavailable,
                    "`{name}` hands on its reader's error unchanged: {error}"
                ),
                // It may have had all that it needs before.
                Ok(_) => {
                    assert!(!reader.has_failed(), "`{name}` hid that its reader failed after {calls} calls");
                }
            }
        }
    }

    fn understands_partial_reads(&self, bytes: &[u8], meta: &FormatMeta, target: &TypeTarget) {
        let name = &self.name;
        for rows in [0..1, 0..0, 0..u64::MAX, u64::MAX..u64::MAX, std::ops::Range { start: 2, end: 1 }] {
            let options = ReadOptions::new().rows(rows.clone());
            if let Err(error) = self.get(bytes, meta, target, &options, &format!("rows {rows:?}")) {
                let kind = error.kind();
                assert_eq!(
                    kind,
                    ErrorKind::Unsupported,
                    "`{name}` gives rows {rows:?} or says Unsupported: {error}"
                );
            }
        }
        // Whether there is such a column is not known here, so an error of another kind may be right.
        let missing = "no such column \0'%";
        for options in [
            ReadOptions::columns([missing]),
            ReadOptions::columns(Vec::<String>::new()),
            ReadOptions::new().filter(column(missing).eq(1)),
            ReadOptions::columns([missing, missing]).rows(1..3).filter(column(missing).lt(f64::NAN)),
        ] {
            drop(self.get(bytes, meta, target, &options, &format!("with {options:?}")));
        }
    }
}
