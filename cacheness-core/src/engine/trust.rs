//! What a cache that protects its entries does around each of them: prepared before they are stored, checked when they
//! are read, and taken out where they are not its own.

use std::borrow::Cow;

use super::Engine;
use super::counting::Tenant;
use crate::encryption::{PayloadSealer, not_asked};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::metadata::{Change, Condition, Expiry, ListQuery, Page};
use crate::names::{Namespace, Timestamp};
use crate::protection::check_plain;
use crate::stage::ChecksumKind;

impl Engine {
    /// The checksums that values get.
    pub(super) fn checksum_kind(&self) -> ChecksumKind {
        self.protection.as_ref().map_or_else(ChecksumKind::default, |protection| protection.checksum_kind())
    }

    /// What encrypts a value that is about to be written, where values are.
    pub(super) fn sealer(&self) -> Result<Option<PayloadSealer>> {
        let encryptor = self.protection.as_ref().and_then(|protection| protection.encryptor());
        encryptor.map(|encryptor| encryptor.sealer()).transpose()
    }

    /// Checks a key, and makes of it what is stored in its place.
    pub(super) fn stored_key<'a>(&self, tenant: &Tenant, key: &'a str) -> Result<Cow<'a, str>> {
        Key::check(key)?;
        let hasher = self.protection.as_ref().and_then(|protection| protection.hasher());
        Ok(hasher.map_or(Cow::Borrowed(key), |hasher| Cow::Owned(hasher.hash(&tenant.namespace, key))))
    }

    /// Refuses a query that asks for what is encrypted.
    pub(super) fn check_readable(&self, query: &ListQuery) -> Result<()> {
        let Some(protection) = &self.protection else { return Ok(()) };
        if protection.hasher().is_some() && (!query.prefix.is_empty() || query.filter.glob.is_some()) {
            return Err(not_asked("what keys begin with or look like", "encryption.hash_keys"));
        }
        let Some(encryptor) = protection.encryptor() else { return Ok(()) };
        if !query.filter.fields.is_empty() {
            return Err(not_asked("custom fields", "encryption"));
        }
        if encryptor.encrypts_tags() && !query.filter.tags.is_empty() {
            return Err(not_asked("tags", "encryption.encrypt_tags"));
        }
        Ok(())
    }

    /// Prepares an entry that says where its value lies; nothing in it may change after that.
    pub(super) fn protect(&self, entry: &mut Entry) -> Result<()> {
        self.protection.as_ref().map_or(Ok(()), |protection| protection.protect(entry))
    }

    /// Checks an entry that a backend gave for this key. One that is not trusted is taken out.
    pub(super) async fn trusted(
        &self,
        namespace: &Namespace,
        key: &str,
        found: Option<Entry>,
    ) -> Result<Option<Entry>> {
        let Some(protection) = &self.protection else {
            found.as_ref().map_or(Ok(()), check_plain)?;
            return Ok(found);
        };
        let Some(mut entry) = found else { return Ok(None) };
        if entry.namespace != *namespace || entry.key.as_str() != key {
            return Err(Error::new(
                ErrorKind::Untrusted,
                "the metadata backend gave the entry of another key",
            ));
        }
        match protection.admit(&mut entry) {
            Ok(()) => Ok(Some(entry)),
            Err(error) => {
                if error.kind() == ErrorKind::Untrusted {
                    self.repair(&entry).await;
                }
                Err(error)
            }
        }
    }

    /// Checks an entry as it was listed.
    pub(super) fn admit(&self, entry: &Entry) -> Result<()> {
        match &self.protection {
            Some(protection) => protection.admit(&mut entry.clone()),
            None => Ok(()),
        }
    }

    /// An entry for those who look at entries: one that is not trusted is counted and told, and is none.
    pub(super) fn or_none(
        &self,
        tenant: &Tenant,
        key: &str,
        operation: &'static str,
        found: Result<Option<Entry>>,
    ) -> Result<Option<Entry>> {
        match found {
            Err(error) if error.kind() == ErrorKind::Untrusted => {
                self.refused(tenant, key, &error);
                Ok(None)
            }
            found => self.count_failure(tenant, Some(key), operation, found),
        }
    }

    fn refused(&self, tenant: &Tenant, key: &str, error: &Error) {
        let _ = self.count_error(tenant, Err::<(), _>(error.clone()));
        let (namespace, told) = (&tenant.namespace, error.without_key());
        tracing::warn!(target: super::TARGET, %namespace, error = %told, "an entry is not looked at");
        if error.kind() != ErrorKind::UnknownKey {
            self.corrupt(tenant, key, error);
        }
    }

    /// One page of the backend, without the entries that are not trusted: these are counted, told and taken out.
    pub(super) async fn list_page(&self, query: &ListQuery) -> Result<Page> {
        let page = self.metadata.list_entries(query).await?;
        let Some(protection) = &self.protection else { return Ok(page) };
        let mut trusted = Vec::with_capacity(page.entries.len());
        for mut entry in page.entries {
            match protection.admit(&mut entry) {
                Ok(()) => trusted.push(entry),
                Err(error) => {
                    if error.kind() == ErrorKind::Untrusted {
                        self.repair(&entry).await;
                    }
                    self.refused(&self.tenants.get(&entry.namespace), entry.key.as_str(), &error);
                }
            }
        }
        Ok(Page { entries: trusted, ..page })
    }

    /// The change that gives an entry another expiry time. Where the entry is protected it is stored anew, with the
    /// value that it has.
    pub(super) fn touch_of(&self, entry: Entry, expiry: Expiry, now: Timestamp) -> Result<Change> {
        let condition = Condition::Version(entry.version);
        let (namespace, key) = (entry.namespace.clone(), entry.key.as_str().to_owned());
        if self.protection.is_none() {
            return Ok(Change::Touch { namespace, key, condition, expiry, now });
        }
        let mut entry = Box::new(self.with_pending_uses(entry));
        entry.validity.expires_at = expiry.after(entry.validity.expires_at);
        entry.accessed_at = entry.accessed_at.max(now);
        self.protect(&mut entry)?;
        Ok(Change::Put { entry, condition, now })
    }
}
