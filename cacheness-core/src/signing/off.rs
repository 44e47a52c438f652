//! What stands for signing in a build without it: nothing of the kind can be made.

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::names::CacheId;
use crate::protection::KeyMaterial;

use super::SigningAlgorithm;

pub(crate) enum Signer {}

impl Signer {
    pub(crate) fn new(_: SigningAlgorithm, key: &KeyMaterial) -> Result<Self> {
        let _ = key.as_bytes();
        Err(Error::new(ErrorKind::ConfigInvalid, "`signing` needs the feature `signing`"))
    }

    pub(crate) fn sign(&self, _: CacheId, _: &mut Entry) -> Result<()> {
        match *self {}
    }

    pub(crate) fn verify(&self, _: CacheId, _: &Entry) -> Result<()> {
        match *self {}
    }
}
