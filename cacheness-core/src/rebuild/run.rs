//! The order in which an index is rebuilt.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::salvage::{Salvage, SalvagedIndex, SalvagedRow};
use super::{RebuildOptions, RebuildReport, blobs};
use crate::access::AccessLog;
use crate::blob::BlobBackend;
use crate::builder::CacheBuilder;
use crate::entry::{Entry, Location};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{EvictionPolicies, LimitsChange};
use crate::metadata::{AccessBatch, Change, Condition, MetadataBackend};
use crate::names::{BlobId, BlobKey, CacheId, Namespace, Timestamp, Version};
use crate::protection::{Keys, MissingKeys, Protection};
use crate::registry::{OpenContext, OpenMode};
use crate::resilience::open_blobs;

/// How many entries are put at once.
const PUT_AT_ONCE: usize = 500;

/// For how many blobs the new index is asked at once.
const BLOBS_AT_ONCE: usize = 16_384;

pub(super) async fn rebuild(builder: CacheBuilder, options: RebuildOptions) -> Result<RebuildReport> {
    let (metadata, blob_part) = builder.parts()?;
    let given = builder.given_limits();
    if let Some(policy) = &given.0.policy {
        builder.registry.eviction_policy(policy)?;
    }
    let (signing, encryption) = (builder.signing.as_ref(), builder.encryption.as_ref());
    if let Some(missing) = MissingKeys::find(signing, encryption, builder.folder.as_deref())? {
        return Err(missing.needed());
    }
    let keys = Keys::read(signing, encryption, builder.folder.as_deref())?;
    let Some(index) = metadata.factory.salvage() else {
        let message = format!(
            "the metadata backend `{}` has no index that could be rebuilt from its files and its blobs",
            metadata.factory.name()
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let context = OpenContext {
        folder: builder.folder.clone(),
        // A store of blobs that is not there must not cost any entries.
        mode: OpenMode::Existing,
        durability: builder.durability,
        env: builder.env.clone(),
        accesses: Arc::new(AccessLog::new(builder.access_interval)),
        policies: builder.registry.policies(),
        call_timeout: None,
        permissions: builder.permissions,
        allow_other_owner: builder.allow_other_owner,
    };
    let (blobs, _guard) = open_blobs(blob_part, &context, builder.settings.remote).await?;
    let rebuilt = match index.begin(&metadata.options, &context).await {
        Ok(salvage) => {
            let rules = Rules { given, policies: context.policies.clone(), keys };
            from(salvage, blobs.as_ref(), &builder.env, &options, rules).await
        }
        Err(error) => Err(error),
    };
    let closed = blobs.close().await;
    let report = rebuilt.map_err(|error| error.with_operation("rebuild"))?;
    closed?;
    let RebuildReport { cache, restored, lost, unconfirmed, .. } = &report;
    tracing::info!(target: crate::engine::TARGET, id = %cache, restored, lost, unconfirmed, "the index was rebuilt");
    Ok(report)
}

/// What the builder says about the cache.
struct Rules {
    given: (LimitsChange, BTreeMap<Namespace, LimitsChange>),
    policies: EvictionPolicies,
    keys: Option<Keys>,
}

async fn from(
    mut salvage: Box<dyn Salvage>,
    blobs: &dyn BlobBackend,
    env: &Env,
    options: &RebuildOptions,
    Rules { given, policies, keys }: Rules,
) -> Result<RebuildReport> {
    let found = salvage.found().clone();
    // What is read may be damaged; what is given may not.
    let cache = options.cache_id.or(found.cache);
    let Some(cache) = cache else {
        let message = "not even the cache's id can be read any more; give it by `RebuildOptions::cache_id`: for blobs in \
                       files it is the name of the folder among them";
        return Err(Error::new(ErrorKind::Corrupted, message));
    };
    let index = salvage.create(cache).await?;
    let mut rebuild = Rebuild {
        index: index.as_ref(),
        blobs,
        env,
        options,
        cache,
        protection: keys.map(|keys| Protection::new(cache, keys)),
        known: HashMap::new(),
        doubted: HashMap::new(),
        loose: HashMap::new(),
        changes: Vec::new(),
        blobs_named: 0,
        blobs_found: 0,
        report: RebuildReport {
            cache,
            restored: 0,
            entries_before: found.entries,
            lost: 0,
            lost_keys: Vec::new(),
            unconfirmed: 0,
            unconfirmed_keys: Vec::new(),
            kept: PathBuf::new(),
        },
    };
    let mut done = rebuild.run(salvage.as_mut()).await;
    if done.is_ok() {
        done = rebuild.restore_rules(&found, &given, &policies).await;
    }
    let mut report = rebuild.report;
    let wrong_id = options.cache_id.is_none() && rebuild.blobs_named > 0 && rebuild.blobs_found == 0;
    let closed = index.close().await;
    done.and(closed)?;
    drop(index);
    if wrong_id {
        // A turned bit in it, and all values that lie in blobs would be given up.
        let message = format!(
            "not one blob of the cache `{cache}` is there, so its id was probably damaged; give the right one by \
             `RebuildOptions::cache_id` (for blobs in files it is the name of the folder among them), also where it is this one"
        );
        return Err(Error::new(ErrorKind::Corrupted, message));
    }
    salvage.finish().await?;
    report.kept = found.kept;
    Ok(report)
}

/// An index that is being rebuilt.
struct Rebuild<'a> {
    index: &'a dyn MetadataBackend,
    blobs: &'a dyn BlobBackend,
    env: &'a Env,
    options: &'a RebuildOptions,
    cache: CacheId,
    /// The keys of a cache that signs or encrypts its entries.
    protection: Option<Protection>,
    /// The versions that the entries under these keys had, by the keys' hashes; that of what is lost for good is 0.
    known: HashMap<u64, Version>,
    /// Of each key that the index does not confirm the newest blob, and when that was put.
    loose: HashMap<u64, (Timestamp, BlobId)>,
    /// When the entries were put that the index has and does not confirm, and their versions.
    doubted: HashMap<u64, (Timestamp, Version)>,
    changes: Vec<Change>,
    /// How many blobs were looked for, and how many were there.
    blobs_named: u64,
    blobs_found: u64,
    report: RebuildReport,
}

impl Rebuild<'_> {
    async fn run(&mut self, salvage: &mut dyn Salvage) -> Result<()> {
        loop {
            let rows = salvage.rows().await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                match row {
                    SalvagedRow::Entry(entry) => self.confirmed(entry).await?,
                    SalvagedRow::Unconfirmed(entry) => self.unconfirmed(entry).await?,
                    SalvagedRow::Blob { namespace, key, version, blob } => {
                        let key = self.blob_row(namespace, key, version, blob).await?;
                        if let Some((namespace, key)) = key {
                            self.lost(Some(namespace), Some(key));
                        }
                    }
                    SalvagedRow::Lost { namespace, key } => self.lost(namespace, key),
                }
            }
        }
        self.put_changes().await?;
        self.report.unconfirmed = self.doubted.len() as u64;
        let doubted = &self.doubted;
        let is_doubted = |(namespace, key): &(Namespace, String)| doubted.contains_key(&hash(namespace, key));
        self.report.unconfirmed_keys.retain(is_doubted);
        if self.options.trust_blobs {
            self.known.extend(self.doubted.iter().map(|(&hash, &(_, version))| (hash, version)));
        }
        self.look_at_blobs().await?;
        self.report.restored = self.index.stats(None).await?.entries;
        Ok(())
    }

    /// An entry that the index confirms.
    async fn confirmed(&mut self, entry: Box<Entry>) -> Result<()> {
        let hash = hash(&entry.namespace, entry.key.as_str());
        if self.known.get(&hash).is_some_and(|&known| known >= entry.version) {
            return Ok(());
        }
        if !self.is_there(&entry).await? {
            self.lost(Some(entry.namespace.clone()), Some(entry.key.as_str().to_owned()));
            return Ok(());
        }
        self.known.insert(hash, entry.version);
        self.doubted.remove(&hash);
        self.put(entry).await
    }

    /// True where the value of an entry can be served, as far as that can be told without reading a whole blob.
    async fn is_there(&mut self, entry: &Entry) -> Result<bool> {
        match &entry.location {
            Location::Inline(bytes) => {
                let whole = crate::engine::check_size(entry, entry.stored_size);
                Ok(whole.and_then(|()| entry.checksums.verify(bytes)).is_ok())
            }
            Location::Blob(blob) => {
                let found = self.blobs.exists(&BlobKey { cache: self.cache, blob: *blob }).await?;
                self.blobs_named += 1;
                self.blobs_found += u64::from(found);
                Ok(found)
            }
            Location::InlineOmitted => Ok(false),
        }
    }

    /// An entry of which the index says where its value lies. Gives its key back where nothing can be made of that.
    async fn blob_row(
        &mut self,
        namespace: Namespace,
        key: String,
        version: Version,
        blob: BlobId,
    ) -> Result<Option<(Namespace, String)>> {
        let found = blobs::entry_of(self.blobs, self.env, &BlobKey { cache: self.cache, blob }).await?;
        self.blobs_named += 1;
        self.blobs_found += u64::from(found.is_some());
        let is_it = |entry: &Entry| entry.namespace == namespace && entry.key.as_str() == key;
        match found.filter(|entry| is_it(entry) && self.is_trusted(entry)) {
            None => Ok(Some((namespace, key))),
            Some(mut entry) => {
                entry.version = version;
                self.confirmed(Box::new(entry)).await?;
                Ok(None)
            }
        }
    }

    fn lost(&mut self, namespace: Option<Namespace>, key: Option<String>) {
        if let (Some(namespace), Some(key)) = (namespace, key) {
            // Two ways may lead to the same row.
            let hash = hash(&namespace, &key);
            match self.known.entry(hash) {
                Slot::Occupied(_) => return,
                Slot::Vacant(slot) => slot.insert(Version(0)),
            };
            // What is in doubt may be older than what was lost, and is all that is left to those who trust it.
            if !self.options.trust_blobs {
                self.doubted.remove(&hash);
            }
            if self.report.lost_keys.len() < self.options.max_keys {
                self.report.lost_keys.push((namespace, key));
            }
        }
        self.report.lost += 1;
    }

    /// False where the cache has keys, and what stands at the end of a blob was not written with them.
    fn is_trusted(&self, entry: &Entry) -> bool {
        let Some(protection) = &self.protection else { return true };
        protection.admit(&mut entry.clone()).is_ok()
    }

    /// An entry that may have been removed or replaced since it was written. With a damaged log these may be all entries, so they
    /// are not gathered: one that is confirmed later on takes its place.
    async fn unconfirmed(&mut self, entry: Box<Entry>) -> Result<()> {
        let hash = hash(&entry.namespace, entry.key.as_str());
        let confirmed = self.known.get(&hash).is_some_and(|&known| known > Version(0));
        let lost = self.known.contains_key(&hash) && !self.options.trust_blobs;
        let newer = |&(_, known): &(Timestamp, Version)| known >= entry.version;
        if confirmed || lost || self.doubted.get(&hash).is_some_and(newer) {
            return Ok(());
        }
        if !self.is_trusted(&entry) || !self.is_there(&entry).await? {
            return Ok(());
        }
        if self.doubted.insert(hash, (entry.created_at, entry.version)).is_none() {
            self.list_unconfirmed(&entry);
        }
        if self.options.trust_blobs { self.put(entry).await } else { Ok(()) }
    }

    fn list_unconfirmed(&mut self, entry: &Entry) {
        if self.report.unconfirmed_keys.len() < self.options.max_keys {
            self.report.unconfirmed_keys.push((entry.namespace.clone(), entry.key.as_str().to_owned()));
        }
    }

    async fn put(&mut self, entry: Box<Entry>) -> Result<()> {
        self.changes.push(Change::Put { entry, condition: Condition::Always, now: self.env.now() });
        if self.changes.len() >= PUT_AT_ONCE { self.put_changes().await } else { Ok(()) }
    }

    async fn put_changes(&mut self) -> Result<()> {
        let changes = std::mem::take(&mut self.changes);
        if !changes.is_empty() {
            self.index.apply(changes).await?;
        }
        Ok(())
    }

    /// Finds what only blobs tell: those that neither an entry nor the garbage names, under keys of which nothing is known.
    async fn look_at_blobs(&mut self) -> Result<()> {
        let (mut after, mut more) = (None, true);
        while more {
            let mut some = Vec::new();
            while more && some.len() < BLOBS_AT_ONCE {
                let page = self.blobs.list_keys(self.cache, after.as_deref(), 1_000).await?;
                some.extend(page.blobs);
                more = page.next.is_some();
                after = page.next;
            }
            for blobs in some.chunks(BLOBS_AT_ONCE) {
                for blob in self.index.unnamed(blobs).await? {
                    self.loose_blob(blob).await?;
                }
            }
        }
        if self.options.trust_blobs {
            for (hash, (_, blob)) in std::mem::take(&mut self.loose) {
                let key = BlobKey { cache: self.cache, blob };
                if let Some(entry) = blobs::entry_of(self.blobs, self.env, &key).await? {
                    self.known.insert(hash, Version(0));
                    self.put(Box::new(entry)).await?;
                }
            }
            self.put_changes().await?;
        }
        Ok(())
    }

    async fn loose_blob(&mut self, blob: BlobId) -> Result<()> {
        let key = BlobKey { cache: self.cache, blob };
        let Some(entry) = blobs::entry_of(self.blobs, self.env, &key).await? else { return Ok(()) };
        let hash = hash(&entry.namespace, entry.key.as_str());
        // What the index has under the key is newer than what it does not know, unless it is itself in doubt.
        let doubted = self.doubted.get(&hash).map(|&(put, _)| put);
        if doubted.is_none() && self.known.get(&hash).is_some_and(|&version| version > Version(0))
            || doubted.is_some_and(|put| put >= entry.created_at)
            || !self.is_trusted(&entry)
        {
            return Ok(());
        }
        let this = (entry.created_at, blob);
        match self.loose.entry(hash) {
            Slot::Occupied(mut slot) => {
                let newest = this.max(*slot.get());
                slot.insert(newest);
            }
            Slot::Vacant(slot) => {
                slot.insert(this);
                if doubted.is_none() {
                    self.report.unconfirmed += 1;
                    self.list_unconfirmed(&entry);
                }
            }
        }
        Ok(())
    }

    /// Restores limits and counters. Whatever the limits are, nothing is evicted by them before the cache is opened: they
    /// may be damaged, too, and what opens it says them again.
    async fn restore_rules(
        &mut self,
        found: &SalvagedIndex,
        (given, of_namespaces): &(LimitsChange, BTreeMap<Namespace, LimitsChange>),
        policies: &EvictionPolicies,
    ) -> Result<()> {
        for (namespace, limits, counters) in &found.namespaces {
            let batch = AccessBatch { counters: vec![(namespace.clone(), *counters)], accesses: Vec::new() };
            self.index.record_accesses(batch).await?;
            if limits.is_limited() {
                self.index.change_limits(Some(namespace), &LimitsChange::from(limits.clone())).await?;
            }
        }
        if let Some(limits) = &found.limits {
            let mut limits = limits.clone();
            // One that nobody knows has a damaged name, or would be named by the builder.
            limits.policy = limits.policy.filter(|policy| policies.get(policy).is_ok());
            self.index.change_limits(None, &LimitsChange::from(limits)).await?;
        }
        self.index.change_limits(None, given).await?;
        for (namespace, change) in of_namespaces {
            self.index.change_limits(Some(namespace), change).await?;
        }
        Ok(())
    }
}

fn hash(namespace: &Namespace, key: &str) -> u64 {
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(namespace.as_str().as_bytes()), key.as_bytes())
}
