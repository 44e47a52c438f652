//! What a caller may say about one put or one get.

mod read;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::stage::Compression;
use crate::validity::{FileCheck, FileSource};

pub use read::{Column, Comparison, Literal, Operator, Predicate, ReadOptions, column};

/// How a value is put. By default it takes its TTL from the namespace or the cache, its handler from the
/// registry, and is stored inline where it is small.
///
/// ```
/// use cacheness_core::{Compression, PutOptions};
/// use std::time::Duration;
///
/// let options = PutOptions::ttl(Duration::from_secs(300))
///     .tag("team:7")
///     .description("the report of the day")
///     .compression(Compression::Zstd(3));
/// ```
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub(crate) ttl: TtlOption,
    pub(crate) sources: Vec<Source>,
    pub(crate) tags: Vec<String>,
    pub(crate) priority: Option<f32>,
    pub(crate) description: Option<String>,
    pub(crate) custom: Map<String, Value>,
    pub(crate) type_tag: Option<String>,
    pub(crate) type_version: Option<u32>,
    pub(crate) handler: Option<String>,
    pub(crate) compression: Option<Compression>,
    pub(crate) inline: Option<bool>,
    /// The first thing that was wrong with an option; `put` reports it.
    pub(crate) invalid: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum TtlOption {
    #[default]
    Inherit,
    Never,
    After(Duration),
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Captured(FileSource),
    Path(std::path::PathBuf, FileCheck),
}

impl PutOptions {
    /// The most tags that an entry has, and the longest one in bytes.
    pub const MAX_TAGS: usize = 256;
    /// The longest tag, in bytes.
    pub const MAX_TAG_LEN: usize = 1024;
    /// The longest description and type tag, and the longest JSON text of all custom fields, in bytes.
    pub const MAX_TEXT_LEN: usize = 64 * 1024;

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value expires `ttl` after it was put. Zero means that it has expired already.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self::new().with_ttl(ttl)
    }

    /// The value is valid until it is removed, whatever TTL the namespace or the cache sets.
    #[must_use]
    pub fn manual() -> Self {
        Self { ttl: TtlOption::Never, ..Self::default() }
    }

    /// The value is valid while this file has the same modification time and size. The file is captured when the
    /// put begins; see [`FileSource::capture`] for capturing it earlier.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::new().with_file(path)
    }

    /// Sets the TTL, beside other conditions.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = TtlOption::After(ttl);
        self
    }

    /// Adds a file that must stay as it is.
    #[must_use]
    pub fn with_file(self, path: impl AsRef<Path>) -> Self {
        self.with_file_by(path, FileCheck::Stat)
    }

    /// Adds a file that must stay as it is, and says how a change is noticed.
    #[must_use]
    pub fn with_file_by(mut self, path: impl AsRef<Path>, check: FileCheck) -> Self {
        self.sources.push(Source::Path(path.as_ref().to_owned(), check));
        self
    }

    /// Adds a file that was captured before the value was made from it.
    #[must_use]
    pub fn with_source(mut self, source: FileSource) -> Self {
        self.sources.push(Source::Captured(source));
        self
    }

    /// Adds a tag of 1 to 1,024 bytes; an entry has up to 256.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds tags.
    #[must_use]
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Sets who is evicted first: 0 goes before 1; 0.5 by default.
    #[must_use]
    pub fn priority(mut self, priority: f32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets a text for people who look at the cache, up to 64 KiB.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets a field of the caller's own, as JSON. All of them together have up to 64 KiB, each with arrays and objects
    /// within each other up to 100 deep.
    #[must_use]
    pub fn custom(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => {
                self.custom.insert(name, value);
            }
            Err(error) => {
                let message = format!("the custom field `{name}` cannot be written as JSON");
                self.invalid.get_or_insert(Error::new(ErrorKind::InvalidInput, message).with_source(error));
            }
        }
        self
    }

    /// Names the type that is stored. A reader that names another one gets a
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch).
    #[must_use]
    pub fn type_tag(mut self, tag: impl Into<String>) -> Self {
        self.type_tag = Some(tag.into());
        self
    }

    /// Numbers the version of the type. A reader that gives another number gets a miss, and so computes anew.
    #[must_use]
    pub fn type_version(mut self, version: u32) -> Self {
        self.type_version = Some(version);
        self
    }

    /// Names the handler, rather than letting the registry choose.
    #[must_use]
    pub fn handler(mut self, name: impl Into<String>) -> Self {
        self.handler = Some(name.into());
        self
    }

    /// Sets the compression, rather than taking the cache's.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Stores the value with its entry, as far as the metadata backend allows (`true`), or in the blob backend
    /// (`false`), rather than deciding by size.
    #[must_use]
    pub fn inline(mut self, inline: bool) -> Self {
        self.inline = Some(inline);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if let Some(error) = &self.invalid {
            return Err(error.clone());
        }
        let too_large = |what: &str, len: usize, most: usize| {
            Error::new(ErrorKind::LimitExceeded, format!("{what} has {len}, the most is {most}"))
        };
        if self.tags.len() > Self::MAX_TAGS {
            return Err(too_large("the number of tags", self.tags.len(), Self::MAX_TAGS));
        }
        for tag in &self.tags {
            if tag.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "a tag needs at least one byte; this one is empty",
                ));
            }
            if tag.len() > Self::MAX_TAG_LEN {
                return Err(too_large("the length of a tag in bytes", tag.len(), Self::MAX_TAG_LEN));
            }
        }
        for (what, text) in [("description", &self.description), ("type tag", &self.type_tag)] {
            if let Some(text) = text.as_ref().filter(|text| text.len() > Self::MAX_TEXT_LEN) {
                return Err(too_large(&format!("the {what} in bytes"), text.len(), Self::MAX_TEXT_LEN));
            }
        }
        if !self.custom.is_empty() {
            if let Some((name, _)) = self.custom.iter().find(|(_, value)| !nests_up_to(value, MAX_NESTING)) {
                let message = format!(
                    "the custom field `{name}` has arrays and objects within each other more than {MAX_NESTING} deep"
                );
                return Err(Error::new(ErrorKind::LimitExceeded, message));
            }
            let len = serde_json::to_string(&self.custom).map_or(0, |text| text.len());
            if len > Self::MAX_TEXT_LEN {
                return Err(too_large("the JSON of the custom fields in bytes", len, Self::MAX_TEXT_LEN));
            }
        }
        self.priority.map_or(Ok(()), |priority| crate::entry::check_priority(priority).map(drop))
    }
}

/// How deep the arrays and objects of a custom field may lie within each other. A reader of JSON takes 127, those around
/// the field included: more would be stored and could not be read again.
const MAX_NESTING: usize = 100;

fn nests_up_to(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| nests_up_to(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| nests_up_to(field, levels - 1)),
        _ => true,
    }
}
