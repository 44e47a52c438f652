//! What a configuration file holds before it is checked: tables of values, each with its origin.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::value::{ConfigOrigin, ConfigValue};

/// Names to values and tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(pub(super) BTreeMap<String, Node>);

/// What stands under a name.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Value(ConfigValue),
    Table(Table, ConfigOrigin),
}

impl Node {
    pub(super) fn origin(&self) -> &ConfigOrigin {
        match self {
            Self::Value(value) => value.origin(),
            Self::Table(_, origin) => origin,
        }
    }
}

/// The text that is being read, for the lines of what stands in it.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) file: Option<Arc<Path>>,
}

impl Source<'_> {
    /// Where the byte at `offset` stands.
    pub(super) fn origin(&self, offset: usize) -> ConfigOrigin {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        self.line(line)
    }

    pub(super) fn line(&self, line: usize) -> ConfigOrigin {
        ConfigOrigin::Text { file: self.file.clone(), line }
    }
}
