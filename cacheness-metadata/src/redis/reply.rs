//! Reading what scripts answer: lists of texts and lists.

use cacheness_core::Result;
use redis::Value;

use super::failure::{told, unexpected};

/// A list that is read from its start.
pub(super) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    pub(super) fn new(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            Value::ServerError(error) => Err(told(error.into())),
            _ => Err(unexpected()),
        }
    }

    /// The next item as bytes; `None` where it is nothing.
    pub(super) fn optional(&mut self) -> Result<Option<Vec<u8>>> {
        match self.0.next().ok_or_else(unexpected)? {
            Value::BulkString(bytes) => Ok(Some(bytes)),
            Value::SimpleString(text) => Ok(Some(text.into_bytes())),
            Value::Okay => Ok(Some(b"OK".to_vec())),
            Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
            Value::Nil => Ok(None),
            Value::ServerError(error) => Err(told(error.into())),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>> {
        self.optional()?.ok_or_else(unexpected)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| unexpected())
    }

    /// A number in decimal digits.
    pub(super) fn number(&mut self) -> Result<u64> {
        self.text()?.parse().map_err(|_| unexpected())
    }

    /// A number that may be missing.
    pub(super) fn maybe(&mut self) -> Result<Option<u64>> {
        let text = self.text()?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| unexpected()) }
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        Ok(self.bytes()? == b"1")
    }

    pub(super) fn list(&mut self) -> Result<Self> {
        Self::new(self.0.next().ok_or_else(unexpected)?)
    }

    /// How many items are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }
}
