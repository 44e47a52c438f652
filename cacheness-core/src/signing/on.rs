//! Making and checking signatures. A signature is a byte for the algorithm and 32 bytes of digest.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::SigningAlgorithm;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::names::CacheId;
use crate::protection::KeyMaterial;
use crate::stage::ChecksumKind;

/// Signs entries and checks their signatures with one key.
pub(crate) struct Signer(Key);

/// A key, ready for use. Both are overwritten when they are dropped.
enum Key {
    HmacSha256(Box<Hmac<Sha256>>),
    Blake3(Zeroizing<[u8; 32]>),
}

/// What is signed begins with this, so that no digest of other data with the same key is a signature.
const CONTEXT: &[u8] = b"cacheness entry signature 1\0";

/// From what a key is derived where it must have exactly 32 bytes.
const DERIVATION: &str = "cacheness 2026 entry signature, BLAKE3 key";

impl Signer {
    pub(crate) fn new(algorithm: SigningAlgorithm, key: &KeyMaterial) -> Result<Self> {
        Ok(Self(match algorithm {
            SigningAlgorithm::HmacSha256 => {
                let hmac = Hmac::new_from_slice(key.as_bytes()).map_err(|_| {
                    Error::new(
                        ErrorKind::Unexpected,
                        "HMAC takes keys of any length, and did not take this one",
                    )
                })?;
                Key::HmacSha256(Box::new(hmac))
            }
            SigningAlgorithm::Blake3 => {
                Key::Blake3(Zeroizing::new(blake3::derive_key(DERIVATION, key.as_bytes())))
            }
        }))
    }

    /// Signs an entry as it is going to be stored.
    pub(crate) fn sign(&self, cache: CacheId, entry: &mut Entry) -> Result<()> {
        check_kind(entry, ErrorKind::Unexpected)?;
        let signed = entry.to_signed(cache);
        let mut signature = Vec::with_capacity(33);
        signature.push(self.code());
        match &self.0 {
            Key::HmacSha256(hmac) => {
                let digest = (**hmac).clone().chain_update(CONTEXT).chain_update(&signed).finalize();
                signature.extend_from_slice(&digest.into_bytes());
            }
            Key::Blake3(key) => signature.extend_from_slice(keyed(key, &signed).as_bytes()),
        }
        entry.signature = Bytes::from(signature);
        Ok(())
    }

    /// Checks that an entry is one that was signed with this key, for this cache, and is as it was then.
    ///
    /// # Errors
    /// [`ErrorKind::Untrusted`] where it is not.
    pub(crate) fn verify(&self, cache: CacheId, entry: &Entry) -> Result<()> {
        let untrusted = |message: &str| Err(Error::new(ErrorKind::Untrusted, message));
        let digest = match entry.signature.split_first() {
            None => return untrusted("the entry has no signature, and this cache signs its entries"),
            Some((code, digest)) if *code == self.code() => digest,
            Some(_) => {
                return untrusted("the entry is signed by another algorithm than `signing.algorithm` says");
            }
        };
        check_kind(entry, ErrorKind::Untrusted)?;
        let signed = entry.to_signed(cache);
        // Both compare in constant time.
        let matches = match &self.0 {
            Key::HmacSha256(hmac) => {
                (**hmac).clone().chain_update(CONTEXT).chain_update(&signed).verify_slice(digest).is_ok()
            }
            Key::Blake3(key) => keyed(key, &signed) == *digest,
        };
        if matches {
            return Ok(());
        }
        untrusted(
            "the entry's signature is not that of what it says: it was signed with another key, or changed, or moved from \
             another key, namespace or cache",
        )
    }

    /// The stable number of the algorithm.
    fn code(&self) -> u8 {
        match self.0 {
            Key::HmacSha256(_) => 1,
            Key::Blake3(_) => 2,
        }
    }
}

/// A signature stands for the value by its checksums, so these have to be of a kind that cannot be forged.
fn check_kind(entry: &Entry, kind: ErrorKind) -> Result<()> {
    if entry.checksums.kind() == ChecksumKind::Blake3 || entry.checksums.as_stored().is_empty() {
        return Ok(());
    }
    Err(Error::new(kind, "the entry has checksums that anybody can match, and cannot stand for its value"))
}

fn keyed(key: &[u8; 32], signed: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    let digest = hasher.update(CONTEXT).update(signed).finalize();
    hasher.zeroize();
    digest
}
