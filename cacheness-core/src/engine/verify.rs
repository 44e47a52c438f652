//! Looking whether everything that the cache has can be served, and removing what cannot, while the cache is in use.

use std::fmt;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::Engine;
use crate::entry::{Entry, Location};
use crate::env::foreign;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::metadata::{Change, Condition, DamagedEntry, ListQuery, yield_now};
use crate::names::{BlobId, Namespace, Version};

/// What to verify, and how thoroughly. By default all namespaces, every byte.
///
/// ```
/// use cacheness::blocking::Cache;
/// use cacheness::{Damage, VerifyOptions};
///
/// let cache = Cache::memory()?;
/// cache.put("answer", &42)?;
/// let report = cache.verify(VerifyOptions::new().quick())?;
/// assert!(report.is_clean());
/// assert_eq!((report.entries, report.count(Damage::MissingBlob)), (1, 0));
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone)]
pub struct VerifyOptions {
    namespace: Option<Namespace>,
    quick: bool,
    max_findings: usize,
    on_finding: Option<Arc<OnFinding>>,
}

type OnFinding = dyn Fn(&Finding) + Send + Sync;

impl VerifyOptions {
    /// Every entry of all namespaces, every byte of its value; up to 100 findings are kept.
    #[must_use]
    pub fn new() -> Self {
        Self { namespace: None, quick: false, max_findings: 100, on_finding: None }
    }

    /// Looks only whether each blob is there, has its length, and is the one that its entry means. A blob of which that is
    /// not plain is read as a whole. Values that lie with their entries are not read.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// Verifies only this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Sets how many findings the report describes: 100 by default. All are counted.
    #[must_use]
    pub fn max_findings(mut self, most: usize) -> Self {
        self.max_findings = most;
        self
    }

    /// Calls this with each finding, when it is certain and, by [`repair`](crate::Cache::repair), dealt with.
    #[must_use]
    pub fn on_finding(mut self, told: impl Fn(&Finding) + Send + Sync + 'static) -> Self {
        self.on_finding = Some(Arc::new(told));
        self
    }
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("namespace", &self.namespace)
            .field("quick", &self.quick)
            .field("max_findings", &self.max_findings)
            .finish_non_exhaustive()
    }
}

/// In which way an entry is damaged.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Damage {
    /// Its blob is not there.
    MissingBlob,
    /// Its blob is shorter than what was stored.
    TruncatedBlob,
    /// Its blob holds other bytes than were stored, or is no blob.
    DamagedBlob,
    /// Its value lies with it, and holds other bytes than were stored.
    DamagedValue,
    /// What the index says about it cannot be read.
    DamagedRecord,
    /// A newer version wrote it, and this one does not understand what the index says about it.
    NewerRecord,
    /// Its value is whole, but what follows it in the blob is not. It is served, and would be lost if the index were.
    DamagedTrailer,
    /// Its blob is there and cannot be read: no permission, or the disk fails.
    UnreadableBlob,
    /// The cache signs its entries, and this one has no signature that holds.
    Untrusted,
    /// It is encrypted by a key that the cache was not opened with. As far as can be told without, it is whole.
    UnknownKey,
}

impl Damage {
    /// All kinds, in the order of the enumeration.
    pub const ALL: [Self; 10] = [
        Self::MissingBlob,
        Self::TruncatedBlob,
        Self::DamagedBlob,
        Self::DamagedValue,
        Self::DamagedRecord,
        Self::NewerRecord,
        Self::DamagedTrailer,
        Self::UnreadableBlob,
        Self::Untrusted,
        Self::UnknownKey,
    ];

    /// The kind in logs, such as `"missing_blob"`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingBlob => "missing_blob",
            Self::TruncatedBlob => "truncated_blob",
            Self::DamagedBlob => "damaged_blob",
            Self::DamagedValue => "damaged_value",
            Self::DamagedRecord => "damaged_record",
            Self::NewerRecord => "newer_record",
            Self::DamagedTrailer => "damaged_trailer",
            Self::UnreadableBlob => "unreadable_blob",
            Self::Untrusted => "untrusted",
            Self::UnknownKey => "unknown_key",
        }
    }

    /// True where the entry certainly cannot be served and never will be.
    fn is_lost(self) -> bool {
        !matches!(self, Self::NewerRecord | Self::DamagedTrailer | Self::UnreadableBlob | Self::UnknownKey)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entry that is damaged.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its key, as far as it can be read.
    pub key: String,
    /// Its version; 0 where that cannot be read.
    pub version: Version,
    /// Its blob, where it has one and that is known.
    pub blob: Option<BlobId>,
    /// In which way it is damaged.
    pub damage: Damage,
    /// What was found.
    pub error: Error,
    /// True where it was removed for that.
    pub removed: bool,
}

/// What was verified, what was found, and what was done about it.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// How many entries were looked at, damaged ones included.
    pub entries: u64,
    /// How many bytes of values were read and compared with their checksums.
    pub bytes: u64,
    /// How many entries were removed because they cannot be served; none by `verify`.
    pub removed: u64,
    /// The first findings, as many as [`max_findings`](VerifyOptions::max_findings) says.
    pub findings: Vec<Finding>,
    counts: [u64; Damage::ALL.len()],
}

impl VerifyReport {
    /// How many entries are damaged in this way.
    #[must_use]
    pub fn count(&self, damage: Damage) -> u64 {
        self.counts[damage as usize]
    }

    /// How many entries are damaged.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// True where nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found() == 0
    }
}

/// How many blobs of a remote backend are looked at at once.
const REMOTE_AT_ONCE: usize = 16;

/// How many values that lie with their entries are looked up at once, at up to 32 KiB each.
const INLINE_AT_ONCE: usize = 32;

impl Engine {
    /// Verifies, and where it is to `repair` removes what cannot be served.
    pub(crate) async fn verify(&self, options: &VerifyOptions, repair: bool) -> Result<VerifyReport> {
        self.check_open()?;
        let mut query = ListQuery::new();
        query.namespace.clone_from(&options.namespace);
        let mut report = VerifyReport::default();
        let at_once = if self.blobs.capabilities().local { 1 } else { REMOTE_AT_ONCE };
        loop {
            let page = self.metadata.list_entries(&query).await?;
            report.entries += (page.entries.len() + page.damaged.len()) as u64;
            for damaged in page.damaged {
                if self.is_still_damaged(&damaged).await? {
                    let DamagedEntry { namespace, key, version, error } = damaged;
                    let damage = match error.kind() {
                        ErrorKind::Unsupported => Damage::NewerRecord,
                        _ => Damage::DamagedRecord,
                    };
                    let finding =
                        Finding { namespace, key, version, blob: None, damage, error, removed: false };
                    self.settle_finding(finding, options, repair, &mut report).await?;
                }
            }
            let mut trusted = Vec::with_capacity(page.entries.len());
            for entry in page.entries {
                match self.admit(&entry) {
                    Ok(()) => trusted.push(entry),
                    Err(error) if error.kind() == ErrorKind::Untrusted => {
                        let found = Some((Damage::Untrusted, error));
                        self.consider(&entry, found, options, repair, &mut report).await?;
                    }
                    // Its bytes have checksums that need no key.
                    Err(error) if error.kind() == ErrorKind::UnknownKey => {
                        let found = match self.check_one(&entry, options.quick, &mut report).await? {
                            None => Some((Damage::UnknownKey, error)),
                            found => found,
                        };
                        self.consider(&entry, found, options, repair, &mut report).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            let (in_blobs, inline): (Vec<Entry>, Vec<Entry>) =
                trusted.into_iter().partition(|entry| entry.blob_id().is_some());
            for some in in_blobs.chunks(at_once) {
                self.check_open()?;
                let looks = some.iter().map(|entry| self.check_blob(entry, !options.quick));
                for (entry, (bytes, found)) in some.iter().zip(try_join_all(looks).await?) {
                    report.bytes += bytes;
                    self.consider(entry, found, options, repair, &mut report).await?;
                }
            }
            if !options.quick {
                for same in inline.chunk_by(|a, b| a.namespace == b.namespace) {
                    for some in same.chunks(INLINE_AT_ONCE) {
                        self.check_inline(some, options, repair, &mut report).await?;
                    }
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            yield_now().await;
        }
        let (entries, found, removed) = (report.entries, report.found(), report.removed);
        if found == 0 {
            tracing::info!(target: super::TARGET, entries, "verified: all is whole");
        } else {
            tracing::warn!(target: super::TARGET, entries, found, removed, "verified: entries are damaged");
        }
        Ok(report)
    }

    /// Verifies values that lie with their entries, all of one namespace.
    async fn check_inline(
        &self,
        listed: &[Entry],
        options: &VerifyOptions,
        repair: bool,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let Some(namespace) = listed.first().map(|entry| &entry.namespace) else { return Ok(()) };
        let keys: Vec<&str> = listed.iter().map(|entry| entry.key.as_str()).collect();
        let together = self.metadata.get_entries(namespace, &keys).await;
        let mut together = match together {
            Ok(entries) => Some(entries.into_iter()),
            // One of them is damaged, or was written by a newer version; which, a look at each by itself tells.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported) => None,
            Err(error) => return Err(error),
        };
        for entry in listed {
            let now = match &mut together {
                Some(entries) => Ok(entries.next().flatten()),
                None => self.metadata.get_entry(namespace, entry.key.as_str()).await,
            };
            let (entry, found) = match now {
                Ok(None) => continue,
                Ok(Some(now)) => {
                    let Some(found) = check_bytes(&now, report) else { continue };
                    (now, found)
                }
                Err(error) if error.kind() == ErrorKind::Corrupted => {
                    (entry.clone(), Some((Damage::DamagedValue, error)))
                }
                // It has been replaced since it was listed.
                Err(error) if error.kind() == ErrorKind::Unsupported => continue,
                Err(error) => return Err(error),
            };
            self.consider(&entry, found, options, repair, report).await?;
        }
        Ok(())
    }

    /// What is wrong with the value of one entry, wherever it lies.
    async fn check_one(
        &self,
        entry: &Entry,
        quick: bool,
        report: &mut VerifyReport,
    ) -> Result<Option<(Damage, Error)>> {
        if entry.blob_id().is_some() {
            let (bytes, found) = self.check_blob(entry, !quick).await?;
            report.bytes += bytes;
            return Ok(found);
        }
        if quick {
            return Ok(None);
        }
        match self.metadata.get_entry(&entry.namespace, entry.key.as_str()).await {
            Ok(now) => Ok(now.and_then(|now| check_bytes(&now, report)).flatten()),
            Err(error) if error.kind() == ErrorKind::Corrupted => Ok(Some((Damage::DamagedValue, error))),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes note of what was found of an entry, unless it has been replaced or removed or has expired meanwhile.
    async fn consider(
        &self,
        entry: &Entry,
        found: Option<(Damage, Error)>,
        options: &VerifyOptions,
        repair: bool,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let Some((damage, error)) = found else { return Ok(()) };
        match self.metadata.get_entry(&entry.namespace, entry.key.as_str()).await {
            Ok(Some(now)) if now.version == entry.version && !now.validity.is_expired(self.env.now()) => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Corrupted => {}
            // A newer version has written it meanwhile.
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
            Err(error) => return Err(error),
        }
        // To say what seems to be missing is harmless.
        if damage == Damage::MissingBlob && repair {
            self.check_missing().await?;
        }
        let finding = Finding {
            namespace: entry.namespace.clone(),
            key: entry.key.as_str().to_owned(),
            version: entry.version,
            blob: entry.blob_id(),
            damage,
            error,
            removed: false,
        };
        self.settle_finding(finding, options, repair, report).await
    }

    /// False where what a listing could not read has been replaced or removed meanwhile.
    async fn is_still_damaged(&self, found: &DamagedEntry) -> Result<bool> {
        // A key that was itself damaged finds nothing.
        if Key::check(&found.key).is_err() || found.key.contains(char::REPLACEMENT_CHARACTER) {
            return Ok(true);
        }
        match self.metadata.get_entry(&found.namespace, &found.key).await {
            Ok(_) => Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupted | ErrorKind::Unsupported) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Removes what cannot be served, where that is asked for, and tells of it.
    async fn settle_finding(
        &self,
        mut finding: Finding,
        options: &VerifyOptions,
        repair: bool,
        report: &mut VerifyReport,
    ) -> Result<()> {
        if repair && finding.damage.is_lost() {
            let change = Change::Remove {
                namespace: finding.namespace.clone(),
                key: finding.key.clone(),
                condition: Condition::Version(finding.version),
                now: self.env.now(),
            };
            let outcomes = self.metadata.apply(vec![change]).await?;
            finding.removed = outcomes.iter().any(|outcome| outcome.applied);
            report.removed += u64::from(finding.removed);
        }
        let Finding { namespace, key, damage, error, removed, .. } = &finding;
        report.counts[*damage as usize] += 1;
        tracing::debug!(
            target: super::TARGET, %namespace, key, damage = damage.name(), removed, error = %error.without_key(),
            "an entry is damaged"
        );
        self.corrupt(&self.tenants.get(namespace), key, error);
        if let Some(told) = &options.on_finding {
            foreign(|| told(&finding));
        }
        if report.findings.len() < options.max_findings {
            report.findings.push(finding);
        }
        Ok(())
    }
}

/// What is wrong with a value that lies with its entry. `None` where it does not.
fn check_bytes(entry: &Entry, report: &mut VerifyReport) -> Option<Option<(Damage, Error)>> {
    let Location::Inline(bytes) = &entry.location else { return None };
    let whole = super::raw::check_size(entry, entry.stored_size).and_then(|()| entry.checksums.verify(bytes));
    report.bytes += bytes.len() as u64;
    Some(whole.err().map(|error| (Damage::DamagedValue, error)))
}
