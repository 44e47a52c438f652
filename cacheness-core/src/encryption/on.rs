//! The boxes of entries and the chunks of values, by XChaCha20-Poly1305.
//!
//! No nonce is used twice under one key. A value's key is drawn for each put and encrypts the chunks of that value only,
//! each with its number in the nonce. The key of the cache encrypts boxes only, each with a nonce of 24 random bytes,
//! which is long enough for random ones not to meet.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, Zeroizing};

use super::Encryption;
use crate::entry::{Entry, PrivateParts};
use crate::error::{Error, ErrorKind, Result};
use crate::names::{CacheId, Namespace};
use crate::protection::{KeyMaterial, random};
use crate::stage::Checksums;

/// The length of a key's id in bytes.
const ID: usize = 8;

/// The length of a nonce in bytes.
const NONCE: usize = 24;

/// The length of a tag in bytes.
const TAG: usize = 16;

/// What a box is bound to begins with this.
const CONTEXT: &[u8] = b"cacheness entry box 1\0";

const KEY: &str = "cacheness 2026 encryption, key of boxes";
const KEY_ID: &str = "cacheness 2026 encryption, id of a key";
const KEY_OF_HASHES: &str = "cacheness 2026 encryption, key of hashes of keys";

type KeyId = [u8; ID];

/// Encrypts with one key, and decrypts with all.
pub(crate) struct Encryptor {
    /// The one that is written comes first.
    keys: Vec<(KeyId, XChaCha20Poly1305)>,
    encrypt_tags: bool,
}

/// Makes of keys what is stored in their place.
pub(crate) struct KeyHasher(Zeroizing<[u8; 32]>);

/// Encrypts the payload of one value, in order.
pub(crate) struct PayloadSealer {
    key: Zeroizing<[u8; 32]>,
    cipher: XChaCha20Poly1305,
    tags: Vec<u8>,
}

/// Decrypts the payload of one value.
pub(crate) struct ValueCipher {
    key: Zeroizing<[u8; 32]>,
    /// The tag of each chunk.
    tags: Bytes,
    /// The key of the cache that the entry has; `None` for one that is not stored yet.
    box_key: Option<KeyId>,
}

impl Encryptor {
    /// Takes the keys, by their names.
    pub(crate) fn new(
        encryption: &Encryption,
        keys: &[(&str, KeyMaterial)],
    ) -> Result<(Self, Option<KeyHasher>)> {
        let (written, hashed) = (encryption.written()?, encryption.hashed_with()?);
        let mut ready: Vec<(KeyId, XChaCha20Poly1305)> = Vec::with_capacity(keys.len());
        let mut hasher = None;
        for (name, key) in keys {
            let derived = Zeroizing::new(blake3::derive_key(KEY, key.as_bytes()));
            let mut id = [0; ID];
            id.copy_from_slice(&blake3::derive_key(KEY_ID, key.as_bytes())[..ID]);
            let at = if *name == written { 0 } else { ready.len() };
            ready.insert(at, (id, XChaCha20Poly1305::new((&*derived).into())));
            if hashed == Some(name) {
                hasher = Some(KeyHasher(Zeroizing::new(blake3::derive_key(KEY_OF_HASHES, key.as_bytes()))));
            }
        }
        Ok((Self { keys: ready, encrypt_tags: encryption.encrypt_tags }, hasher))
    }

    /// Begins to encrypt a value, under a fresh key.
    pub(crate) fn sealer(&self) -> Result<PayloadSealer> {
        let mut key = Zeroizing::new([0; 32]);
        random(&mut key[..])?;
        Ok(PayloadSealer { cipher: XChaCha20Poly1305::new((&*key).into()), key, tags: Vec::new() })
    }

    /// Puts the private parts of an entry, and the key of its value, into a box that belongs to all the rest of it.
    pub(crate) fn seal(&self, cache: CacheId, entry: &mut Entry) -> Result<()> {
        let failed =
            |what: &str| Error::new(ErrorKind::Unexpected, format!("the entry cannot be encrypted: {what}"));
        let cipher = entry.cipher.take().ok_or_else(|| failed("its value is not"))?;
        // A value that is there already keeps its box's key, which the trailer of its blob has as well: what is written by another
        // key is written anew as a whole, by a rotation.
        let kept = cipher.box_key.and_then(|kept| self.keys.iter().find(|(id, _)| *id == kept));
        let (id, key) = kept.or(self.keys.first()).ok_or_else(|| failed("there is no key"))?;
        let mut plain = PrivateParts::take(entry, self.encrypt_tags).encode(&cipher.key[..], &cipher.tags);
        let mut nonce = [0; NONCE];
        random(&mut nonce)?;
        let tag = key
            .encrypt_inout_detached(&XNonce::from(nonce), &bound(cache, entry, id), (&mut plain[..]).into())
            .map_err(|_| failed("it is too long"))?;
        entry.sealed = Bytes::from([&id[..], &nonce, &tag, &plain].concat());
        Ok(())
    }

    /// Opens the box of an entry.
    ///
    /// # Errors
    /// [`ErrorKind::Untrusted`] where it has none, or not the one that belongs to the rest of it;
    /// [`ErrorKind::UnknownKey`] where the key is not one of these.
    pub(crate) fn open(&self, cache: CacheId, entry: &mut Entry) -> Result<()> {
        let untrusted = |message: &str| Error::new(ErrorKind::Untrusted, message);
        // What is not told from the box stays sealed, where the entry is not opened.
        let sealed = entry.sealed.clone();
        if sealed.is_empty() {
            return Err(untrusted("the entry is not encrypted, and this cache encrypts its entries"));
        }
        let (Some((id, rest)), at) = (sealed.split_first_chunk::<ID>(), ID + NONCE + TAG) else {
            return Err(untrusted("the entry's box is cut short"));
        };
        let Some((nonce, rest)) = rest.split_first_chunk::<NONCE>() else {
            return Err(untrusted("the entry's box is cut short"));
        };
        let Some((tag, _)) = rest.split_first_chunk::<TAG>() else {
            return Err(untrusted("the entry's box is cut short"));
        };
        let Some((_, key)) = self.keys.iter().find(|(known, _)| known == id) else {
            return Err(Error::new(ErrorKind::UnknownKey, UNKNOWN_KEY));
        };
        entry.sealed = Bytes::new();
        let mut plain = Zeroizing::new(sealed[at..].to_vec());
        let bound = bound(cache, entry, id);
        if key
            .decrypt_inout_detached(&XNonce::from(*nonce), &bound, (&mut plain[..]).into(), &Tag::from(*tag))
            .is_err()
        {
            entry.sealed = sealed;
            return Err(untrusted(
                "the entry's box does not belong to the rest of it: it was changed, or moved from another key, namespace \
                 or cache",
            ));
        }
        let (key, tags) = PrivateParts::decode(&plain)?.restore(entry)?;
        let key = <[u8; 32]>::try_from(&key[..]).map_err(|_| untrusted("the entry's box holds no key"))?;
        let cipher = ValueCipher { key: Zeroizing::new(key), tags, box_key: Some(*id) };
        cipher.check_count(entry.stored_size)?;
        entry.cipher = Some(Arc::new(cipher));
        Ok(())
    }

    /// True where an entry has the key that is written.
    pub(crate) fn is_written(&self, cipher: &ValueCipher) -> bool {
        self.keys.first().is_some_and(|(id, _)| cipher.box_key == Some(*id))
    }

    /// True where a box was closed with one of these keys.
    pub(crate) fn has_key_of(&self, sealed: &[u8]) -> bool {
        self.keys.iter().any(|(id, _)| sealed.starts_with(id))
    }

    pub(crate) fn encrypts_tags(&self) -> bool {
        self.encrypt_tags
    }
}

const UNKNOWN_KEY: &str = "the entry is encrypted with a key that is not among `encryption.keys`; add it there, or put the \
                           value again";

/// What a box is bound to: all that a reader relies on in an entry without its private parts, and the key's id.
fn bound(cache: CacheId, entry: &Entry, id: &KeyId) -> Vec<u8> {
    [CONTEXT, id, &entry.to_signed(cache)].concat()
}

impl KeyHasher {
    /// What stands for a key: 64 hexadecimal digits, others in each namespace.
    pub(crate) fn hash(&self, namespace: &Namespace, key: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        // A name has 255 bytes at the most, so its length ends it.
        let name = namespace.as_str().as_bytes();
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(key.as_bytes());
        let hash = hasher.finalize();
        hasher.zeroize();
        hash.to_hex().to_string()
    }
}

impl PayloadSealer {
    /// Encrypts the next chunk in place. All but the last have [`Checksums::CHUNK`] bytes.
    pub(crate) fn seal(&mut self, chunk: &mut [u8], last: bool) -> Result<()> {
        let nonce = nonce((self.tags.len() / TAG) as u64, last)?;
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce, &[], chunk.into())
            .map_err(|_| Error::new(ErrorKind::Unexpected, "a chunk is too long to be encrypted"))?;
        self.tags.extend_from_slice(&tag);
        Ok(())
    }

    /// Encrypts a whole payload in place.
    pub(crate) fn seal_all(&mut self, payload: &mut [u8]) -> Result<()> {
        let last = payload.len().div_ceil(Checksums::CHUNK as usize);
        let mut chunks = payload.chunks_mut(Checksums::CHUNK as usize).enumerate();
        chunks.try_for_each(|(index, chunk)| self.seal(chunk, index + 1 == last))
    }

    /// What decrypts it.
    pub(crate) fn finish(self) -> Arc<ValueCipher> {
        Arc::new(ValueCipher { key: self.key, tags: Bytes::from(self.tags), box_key: None })
    }
}

impl ValueCipher {
    /// Decrypts chunk number `index`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupted`] where it is not the one that was written.
    pub(crate) fn open_chunk(&self, index: u64, chunk: &[u8]) -> Result<Bytes> {
        let mut plain = chunk.to_vec();
        self.open(index, &mut plain)?;
        Ok(Bytes::from(plain))
    }

    /// Decrypts a whole payload.
    ///
    /// # Errors
    /// As [`open_chunk`](Self::open_chunk).
    pub(crate) fn open_all(&self, payload: &[u8]) -> Result<Bytes> {
        self.check_count(payload.len() as u64)?;
        let mut plain = payload.to_vec();
        let mut chunks = plain.chunks_mut(Checksums::CHUNK as usize).enumerate();
        chunks.try_for_each(|(index, chunk)| self.open(index as u64, chunk))?;
        Ok(Bytes::from(plain))
    }

    fn open(&self, index: u64, chunk: &mut [u8]) -> Result<()> {
        let damaged = || Error::new(ErrorKind::Corrupted, format!("chunk {index} does not decrypt"));
        let at = usize::try_from(index).ok().and_then(|index| index.checked_mul(TAG)).ok_or_else(damaged)?;
        let tag = self.tags.get(at..).and_then(|tags| tags.first_chunk::<TAG>()).ok_or_else(damaged)?;
        let nonce = nonce(index, at + TAG == self.tags.len())?;
        let cipher = XChaCha20Poly1305::new((&*self.key).into());
        cipher.decrypt_inout_detached(&nonce, &[], chunk.into(), &Tag::from(*tag)).map_err(|_| damaged())
    }

    fn check_count(&self, len: u64) -> Result<()> {
        if self.tags.len() as u64 == Checksums::chunks(len).saturating_mul(TAG as u64) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupted, "the entry has not one tag for each chunk of its value"))
    }
}

/// The nonce of a chunk, as the STREAM construction has it: its number, and whether it is the last.
fn nonce(index: u64, last: bool) -> Result<XNonce> {
    let number = u32::try_from(index).map_err(|_| {
        Error::new(ErrorKind::LimitExceeded, "a value of more than a pebibyte cannot be encrypted")
    })?;
    let mut nonce = [0; NONCE];
    nonce[NONCE - 5..NONCE - 1].copy_from_slice(&number.to_be_bytes());
    nonce[NONCE - 1] = u8::from(last);
    Ok(XNonce::from(nonce))
}

impl PartialEq for ValueCipher {
    fn eq(&self, other: &Self) -> bool {
        self.tags == other.tags
    }
}

macro_rules! hidden {
    ($($name:ident),*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("(hidden)")
            }
        })*
    };
}

hidden!(Encryptor, KeyHasher, PayloadSealer, ValueCipher);

#[cfg(test)]
mod tests {
    use super::*;

    fn encryptor() -> Encryptor {
        let key = crate::EncryptionKey::given(crate::Secret::new("k".repeat(32)));
        let encryption = Encryption::new("k", key);
        let (_, source, _) = encryption.sources().unwrap().remove(0);
        let material = source.read("encryption", false, None).unwrap();
        Encryptor::new(&encryption, &[("k", material)]).unwrap().0
    }

    #[test]
    fn chunks_open_in_their_place_only() {
        let encryptor = encryptor();
        let chunk = Checksums::CHUNK as usize;
        let plain: Vec<u8> = (0..chunk * 2 + 100).map(|n| (n % 251) as u8).collect();
        let mut sealed = plain.clone();
        let mut sealer = encryptor.sealer().unwrap();
        sealer.seal_all(&mut sealed).unwrap();
        let cipher = sealer.finish();
        assert_eq!(cipher.open_all(&sealed).unwrap(), plain);
        assert_eq!(cipher.open_chunk(1, &sealed[chunk..chunk * 2]).unwrap(), &plain[chunk..chunk * 2]);
        assert!(cipher.open_chunk(0, &sealed[chunk..chunk * 2]).is_err());
        assert!(cipher.open_chunk(3, &sealed[..chunk]).is_err());
        assert!(cipher.open_chunk(u64::MAX, &sealed[..chunk]).is_err());
        assert!(cipher.open_all(&sealed[..chunk * 2]).is_err(), "cut short");
        sealed[chunk + 7] ^= 1;
        assert!(cipher.open_all(&sealed).is_err());
        assert!(cipher.open_chunk(0, &sealed[..chunk]).is_ok());
    }

    #[test]
    fn the_same_value_is_never_encrypted_alike() {
        let encryptor = encryptor();
        let seal = || {
            let mut bytes = *b"the same bytes";
            encryptor.sealer().unwrap().seal_all(&mut bytes).unwrap();
            bytes
        };
        assert_ne!(seal(), seal());
    }

    #[test]
    fn nothing_of_it_shows() {
        let encryptor = encryptor();
        let sealer = encryptor.sealer().unwrap();
        assert_eq!(
            format!("{encryptor:?} {sealer:?} {:?}", encryptor.sealer().unwrap().finish()),
            "(hidden) (hidden) (hidden)"
        );
    }

    #[test]
    fn a_key_has_another_hash_in_each_namespace() {
        let hasher = KeyHasher(Zeroizing::new([7; 32]));
        let [a, b] = ["a", "ab"].map(|name| Namespace::new(name).unwrap());
        assert_ne!(hasher.hash(&a, "bc"), hasher.hash(&b, "c"));
        assert_eq!(hasher.hash(&a, "k"), hasher.hash(&a, "k"));
    }
}
