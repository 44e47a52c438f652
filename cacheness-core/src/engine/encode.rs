//! Turning a value into bytes: which handler does it, and what becomes of a value that its handler cannot encode.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::counting::Tenant;
use super::put::Encoded;
use super::writer::Written;
use super::{Engine, TARGET};
use crate::entry::Format;
use crate::env::foreign;
use crate::error::{Error, ErrorKind, Result, panic_message};
use crate::handler::{CacheHandler, FormatMeta, HandlerContext};
use crate::options::PutOptions;
use crate::stage::Compression;
use crate::value::ValueRef;

/// What a put does where the format that is chosen for a value cannot [encode](ErrorKind::Encode) it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum OnEncodeError {
    /// It is an error.
    #[default]
    Error,
    /// The value is not stored, which is logged and counted, and the program goes on. What was stored under the key before may
    /// still be served.
    Drop,
    /// The other registered formats that take the value are tried, in their order, also where the put names one. It is an
    /// error where none can encode it.
    OtherFormat,
}

impl Engine {
    pub(super) fn encode(
        &self,
        tenant: &Tenant,
        key: &str,
        value: &ValueRef<'_>,
        options: PutOptions,
    ) -> Result<Encoded> {
        let begun = self.begin(tenant, key, options)?;
        let options = &begun.options;
        let handler = match &options.handler {
            Some(name) => {
                let handler = self.registry.handler(name)?;
                if !call(handler.as_ref(), || Ok(handler.can_handle(value)))? {
                    let message = format!("the handler `{name}` does not take a `{}`", value.type_name());
                    return Err(Error::new(ErrorKind::NoHandler, message));
                }
                handler.as_ref()
            }
            None => self.claiming(value)?.ok_or_else(|| {
                let message = format!(
                    "no registered handler takes a `{}`; register one, or switch on the feature that brings it",
                    value.type_name()
                );
                Error::new(ErrorKind::NoHandler, message)
            })?,
        };
        let other_format = self.settings.on_encode_error == OnEncodeError::OtherFormat;
        let (format, written) = match self.encode_by(handler, value, options) {
            Err(error) if other_format && error.kind() == ErrorKind::Encode => {
                self.encode_by_another(handler, value, options, error)?
            }
            encoded => encoded?,
        };
        self.assemble(tenant, begun, format, written)
    }

    /// The first handler that takes a value.
    fn claiming(&self, value: &ValueRef<'_>) -> Result<Option<&dyn CacheHandler>> {
        for handler in self.registry.handlers() {
            if call(handler, || Ok(handler.can_handle(value)))? {
                return Ok(Some(handler));
            }
        }
        Ok(None)
    }

    fn encode_by(
        &self,
        handler: &dyn CacheHandler,
        value: &ValueRef<'_>,
        options: &PutOptions,
    ) -> Result<(Format, Written)> {
        let compression = options.compression.unwrap_or(self.settings.compression);
        let mut writer = self.writer(if handler.compresses() { Compression::None } else { compression })?;
        let asked = options.compression.is_some() || compression != Compression::None;
        let context = HandlerContext { compression: asked.then_some(compression) };
        let meta = call(handler, || handler.put(value, &mut writer, &context))?;
        if meta.as_bytes().len() > FormatMeta::MAX_LEN {
            let message = format!(
                "the handler `{}` wants to keep {} bytes with the entry, the most is {}",
                handler.name(),
                meta.as_bytes().len(),
                FormatMeta::MAX_LEN
            );
            return Err(Error::new(ErrorKind::Encode, message));
        }
        Ok((Format::new(handler, meta, value.type_name()), writer.finish()?))
    }

    /// Encodes a value by another handler than the one that gave this error, which is what comes back where none can.
    fn encode_by_another(
        &self,
        first: &dyn CacheHandler,
        value: &ValueRef<'_>,
        options: &PutOptions,
        error: Error,
    ) -> Result<(Format, Written)> {
        for handler in self.registry.handlers().filter(|handler| handler.name() != first.name()) {
            if !call(handler, || Ok(handler.can_handle(value)))? {
                continue;
            }
            match self.encode_by(handler, value, options) {
                Err(error) if error.kind() == ErrorKind::Encode => {}
                Err(error) => return Err(error),
                Ok(encoded) => {
                    tracing::warn!(
                        target: TARGET, handler = first.name(), instead = handler.name(), error = %error.without_key(),
                        "a format cannot encode a value, and another one takes its place"
                    );
                    return Ok(encoded);
                }
            }
        }
        Err(error)
    }

    /// True for an error that is to make a put one that is dropped.
    pub(super) fn drops(&self, error: &Error) -> bool {
        self.settings.on_encode_error == OnEncodeError::Drop && error.kind() == ErrorKind::Encode
    }
}

/// Calls a handler, and turns a panic of it into an error.
pub(super) fn call<T>(handler: &dyn CacheHandler, call: impl FnOnce() -> Result<T>) -> Result<T> {
    foreign(|| catch_unwind(AssertUnwindSafe(call))).unwrap_or_else(|panic| {
        // What it says may quote the value. As a source it stays out of logs.
        let said = std::io::Error::other(panic_message(panic.as_ref()));
        let message = format!("the handler `{}` panicked", handler.name());
        Err(Error::new(ErrorKind::HandlerPanicked, message).with_source(said))
    })
}
