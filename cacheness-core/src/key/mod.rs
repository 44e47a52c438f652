//! temporary
use std::sync::Arc;
use crate::error::*;
/// Key
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key(Arc<str>);
impl Key {
    /// new
    pub fn new(k: impl AsRef<str>) -> Result<Self> { Self::check(k.as_ref())?; Ok(Self(Arc::from(k.as_ref()))) }
    /// check
    pub fn check(k: &str) -> Result<()> { if k.is_empty() { return Err(Error::new(ErrorKind::InvalidInput, "empty")); } Ok(()) }
    /// str
    pub fn as_str(&self) -> &str { &self.0 }
}
