//! Keys that are to be made: only where none was there before.
//!
//! A key that was there and is not now, because its file system is not mounted or somebody moved it, must not be replaced
//! by a new one: with that, every entry would be taken out as it is read.

use std::path::{Path, PathBuf};

use super::Keys;
use crate::encryption::{Encryption, Encryptor, key_table};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{ListQuery, MetadataBackend, yield_now};
use crate::signing::Signing;

/// The key files that are to be made and are not there.
pub(crate) struct MissingKeys {
    signing: Option<PathBuf>,
    encryption: Option<MissingOfEncryption>,
}

struct MissingOfEncryption {
    /// The table of one of them in the configuration, and its file.
    table: String,
    path: PathBuf,
    /// The keys that are there.
    others: Encryptor,
    /// The key that hashes keys is among them.
    hashes: bool,
}

impl MissingKeys {
    /// Looks for them; `None` where all keys are there that are to be made.
    pub(crate) fn find(
        signing: Option<&Signing>,
        encryption: Option<&Encryption>,
        folder: Option<&Path>,
    ) -> Result<Option<Self>> {
        let of_signing = match signing {
            Some(signing) if signing.create_key => signing.source()?.missing(folder),
            _ => None,
        };
        let of_encryption = match encryption {
            Some(encryption) => MissingOfEncryption::find(encryption, folder)?,
            None => None,
        };
        let any = of_signing.is_some() || of_encryption.is_some();
        Ok(any.then_some(Self { signing: of_signing, encryption: of_encryption }))
    }

    /// Makes and reads the keys, unless the index has entries that belong to keys that were there.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] where it has; those of the backend and of [`Keys::read`].
    pub(crate) async fn make(
        signing: Option<&Signing>,
        encryption: Option<&Encryption>,
        folder: Option<&Path>,
        metadata: &dyn MetadataBackend,
    ) -> Result<Option<Keys>> {
        // All of them: those that come first may be older than the use of keys.
        let mut query = ListQuery::new();
        loop {
            let page = metadata.list_entries(&query).await?;
            // Others may have made the keys since they were looked for, and have put entries by them.
            let Some(missing) = Self::find(signing, encryption, folder)? else { break };
            page.entries.iter().try_for_each(|entry| missing.check(entry))?;
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            yield_now().await;
        }
        Keys::read(signing, encryption, folder)
    }

    /// The error where a key is needed and none may be made.
    pub(crate) fn needed(&self) -> Error {
        let of_signing = self.signing.as_ref().map(|path| ("signing", path));
        let of_encryption = self.encryption.as_ref().map(|missing| (&*missing.table, &missing.path));
        let (table, path) = of_signing.or(of_encryption).unzip();
        let message = format!(
            "`{}.key_file` names {:?}, which is not there, and an index is rebuilt by the keys that its entries were made \
             with; put the file back (is its file system mounted?)",
            table.unwrap_or_default(),
            path.map(PathBuf::as_path).unwrap_or(Path::new(""))
        );
        Error::new(ErrorKind::ConfigInvalid, message)
    }

    /// An error for an entry of a key that was there.
    fn check(&self, entry: &Entry) -> Result<()> {
        if let Some(path) = self.signing.as_ref().filter(|_| !entry.signature.is_empty()) {
            return Err(gone("signing", path, "signed"));
        }
        match self.encryption.as_ref().filter(|missing| missing.had_key(entry)) {
            Some(missing) => Err(gone(&missing.table, &missing.path, "encrypted")),
            None => Ok(()),
        }
    }
}

impl MissingOfEncryption {
    fn find(encryption: &Encryption, folder: Option<&Path>) -> Result<Option<Self>> {
        let hashed_with = encryption.hashed_with()?;
        let (mut others, mut missing, mut hashes) = (Vec::new(), None, false);
        for (name, source, create) in encryption.sources()? {
            match source.missing(folder).filter(|_| create) {
                Some(path) => {
                    hashes |= hashed_with == Some(name);
                    missing = missing.or(Some((key_table(name), path)));
                }
                None => others.push((name, source.read(&key_table(name), false, folder)?)),
            }
        }
        let Some((table, path)) = missing else { return Ok(None) };
        let (others, _) = Encryptor::new(encryption, &others)?;
        Ok(Some(Self { table, path, others, hashes }))
    }

    /// True where an entry belongs to a key that is none of the others.
    fn had_key(&self, entry: &Entry) -> bool {
        if entry.sealed.is_empty() {
            return false;
        }
        let key = entry.key.as_str();
        let hashed = key.len() == 64 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        !self.others.has_key_of(&entry.sealed) || (self.hashes && hashed)
    }
}

fn gone(table: &str, path: &Path, what: &str) -> Error {
    let message = format!(
        "`{table}.key_file` names {path:?}, which is not there, and the cache has entries that were {what} with a key: \
         a new key would lose them all; put the file back (is its file system mounted?), or clear the cache, or make \
         another key yourself, as `openssl rand -hex 32` does"
    );
    Error::new(ErrorKind::ConfigInvalid, message)
}
