//! What of an entry is private where a cache encrypts: the parts that go into its box, and the form that they have there.

use bytes::Bytes;
use prost::Message;
use zeroize::Zeroizing;

use super::record::SourceRecord;
use super::{Entry, damaged};
use crate::error::Result;
use crate::handler::FormatMeta;
use crate::validity::FileSource;

/// The private parts of an entry, taken out of it.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(crate) struct PrivateParts {
    #[prost(bytes = "vec", tag = "1")]
    value_key: Vec<u8>,
    #[prost(bytes = "bytes", tag = "2")]
    chunk_tags: Bytes,
    #[prost(string, optional, tag = "3")]
    type_tag: Option<String>,
    #[prost(string, tag = "4")]
    type_name: String,
    #[prost(bytes = "bytes", tag = "5")]
    format_meta: Bytes,
    #[prost(message, repeated, tag = "6")]
    sources: Vec<SourceRecord>,
    #[prost(string, repeated, tag = "7")]
    tags: Vec<String>,
    #[prost(string, optional, tag = "8")]
    description: Option<String>,
    #[prost(string, tag = "9")]
    custom: String,
}

impl std::fmt::Debug for PrivateParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl PrivateParts {
    /// Takes them out; the tags only where they are private, too.
    pub(crate) fn take(entry: &mut Entry, tags: bool) -> Self {
        let custom = std::mem::take(&mut entry.custom);
        Self {
            value_key: Vec::new(),
            chunk_tags: Bytes::new(),
            type_tag: entry.format.type_tag.take(),
            type_name: std::mem::take(&mut entry.format.type_name),
            format_meta: std::mem::take(&mut entry.format.meta).as_bytes().clone(),
            sources: std::mem::take(&mut entry.validity.sources).iter().map(SourceRecord::from).collect(),
            tags: if tags { std::mem::take(&mut entry.tags) } else { Vec::new() },
            description: entry.description.take(),
            // A map of JSON values always serialises: its keys are strings and its numbers finite.
            custom: if custom.is_empty() {
                String::new()
            } else {
                serde_json::to_string(&custom).unwrap_or_default()
            },
        }
    }

    /// Their form in the box, with the key and the chunks' tags of the value.
    pub(crate) fn encode(mut self, value_key: &[u8], chunk_tags: &Bytes) -> Vec<u8> {
        self.value_key = value_key.to_vec();
        self.chunk_tags = chunk_tags.clone();
        let encoded = self.encode_to_vec();
        drop(Zeroizing::new(self.value_key));
        encoded
    }

    pub(crate) fn decode(plain: &[u8]) -> Result<Self> {
        Message::decode(plain).map_err(damaged)
    }

    /// Puts them back, and gives the key and the chunks' tags of the value.
    pub(crate) fn restore(self, entry: &mut Entry) -> Result<(Zeroizing<Vec<u8>>, Bytes)> {
        let value_key = Zeroizing::new(self.value_key);
        entry.format.type_tag = self.type_tag;
        entry.format.type_name = self.type_name;
        entry.format.meta = FormatMeta::new(self.format_meta);
        entry.validity.sources = self.sources.into_iter().map(FileSource::try_from).collect::<Result<_>>()?;
        if !self.tags.is_empty() {
            entry.tags = self.tags;
        }
        entry.description = self.description;
        if !self.custom.is_empty() {
            entry.custom = serde_json::from_str(&self.custom).map_err(damaged)?;
        }
        Ok((value_key, self.chunk_tags))
    }
}
