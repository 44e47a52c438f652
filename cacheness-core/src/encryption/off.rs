//! What stands for encryption in a build without it: nothing of the kind can be made.

use std::sync::Arc;

use bytes::Bytes;

use super::Encryption;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::names::{CacheId, Namespace};
use crate::protection::KeyMaterial;

#[derive(Debug)]
pub(crate) enum Encryptor {}

#[derive(Debug)]
pub(crate) enum KeyHasher {}

#[derive(Debug)]
pub(crate) enum PayloadSealer {}

#[derive(PartialEq, Debug)]
pub(crate) enum ValueCipher {}

impl Encryptor {
    pub(crate) fn new(_: &Encryption, _: &[(&str, KeyMaterial)]) -> Result<(Self, Option<KeyHasher>)> {
        Err(Error::new(ErrorKind::ConfigInvalid, "`encryption` needs the feature `encryption`"))
    }

    pub(crate) fn sealer(&self) -> Result<PayloadSealer> {
        match *self {}
    }

    pub(crate) fn seal(&self, _: CacheId, _: &mut Entry) -> Result<()> {
        match *self {}
    }

    pub(crate) fn open(&self, _: CacheId, _: &mut Entry) -> Result<()> {
        match *self {}
    }

    pub(crate) fn is_written(&self, _: &ValueCipher) -> bool {
        match *self {}
    }

    pub(crate) fn has_key_of(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(crate) fn encrypts_tags(&self) -> bool {
        match *self {}
    }
}

impl KeyHasher {
    pub(crate) fn hash(&self, _: &Namespace, _: &str) -> String {
        match *self {}
    }
}

impl PayloadSealer {
    pub(crate) fn seal(&mut self, _: &mut [u8], _: bool) -> Result<()> {
        match *self {}
    }

    pub(crate) fn seal_all(&mut self, _: &mut [u8]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn finish(self) -> Arc<ValueCipher> {
        match self {}
    }
}

impl ValueCipher {
    pub(crate) fn open_chunk(&self, _: u64, _: &[u8]) -> Result<Bytes> {
        match *self {}
    }

    pub(crate) fn open_all(&self, _: &[u8]) -> Result<Bytes> {
        match *self {}
    }
}
