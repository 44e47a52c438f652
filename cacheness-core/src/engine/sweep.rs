//! Deleting blobs that no entry names and none ever will: what writers leave that die between a value's blob and its
//! entry.

use std::time::Duration;

use super::Engine;
use super::garbage::BACKGROUND_BATCH;
use super::named::Named;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{ListQuery, yield_now};
use crate::names::{BlobId, Timestamp};

/// What a sweep found and did.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SweepReport {
    /// How many blobs the cache has, those of entries, garbage and the orphans together.
    pub blobs: u64,
    /// How many of them are old enough and named by no entry and no garbage.
    pub orphans: u64,
    /// How many of these were deleted: none in a dry run.
    pub deleted: u64,
}

/// For how many blobs the entries are asked at once.
const BLOBS_AT_ONCE: usize = 16_384;

impl Engine {
    /// Deletes the orphans that are older than `min_age`, or only counts them.
    pub(crate) async fn sweep(&self, min_age: Duration, dry_run: bool) -> Result<SweepReport> {
        self.check_open()?;
        while !dry_run && self.collect_garbage(BACKGROUND_BATCH).await? {}
        let latest = self.env.now() - min_age;
        let mut report = SweepReport::default();
        let mut named: Option<Named> = None;
        let (mut after, mut more, mut old) = (None, true, Vec::new());
        loop {
            while more && old.len() < BLOBS_AT_ONCE {
                let page = self.blobs.list_keys(self.cache_id, after.as_deref(), 1_000).await?;
                report.blobs += page.blobs.len() as u64;
                let is_old = |blob: &BlobId| {
                    // One whose id tells no age is none that this cache wrote.
                    blob.created_at().is_some_and(|at| at <= latest)
                        && !named.as_ref().is_some_and(|named| named.may_have(*blob))
                };
                old.extend(page.blobs.into_iter().filter(is_old));
                more = page.next.is_some();
                after = page.next;
            }
            if more && named.is_none() {
                // There are many. The entries are read once, in pages, rather than looked through for each part of them.
                let names = self.named_blobs().await?;
                old.retain(|blob| !names.may_have(*blob));
                named = Some(names);
                continue;
            }
            for blobs in old.chunks(BLOBS_AT_ONCE) {
                self.sweep_some(blobs, dry_run, &mut report).await?;
            }
            old.clear();
            if !more {
                return Ok(report);
            }
        }
    }

    async fn named_blobs(&self) -> Result<Named> {
        let mut named = Named::of(self.metadata.stats(None).await?.entries);
        let mut query = ListQuery::new();
        loop {
            let page = self.metadata.list_entries(&query).await?;
            page.entries.iter().filter_map(Entry::blob_id).for_each(|blob| named.add(blob));
            query.after = page.next;
            if query.after.is_none() {
                return Ok(named);
            }
            yield_now().await;
        }
    }

    async fn sweep_some(&self, blobs: &[BlobId], dry_run: bool, report: &mut SweepReport) -> Result<()> {
        let orphans = self.metadata.unnamed(blobs).await?;
        report.orphans += orphans.len() as u64;
        if dry_run || orphans.is_empty() {
            return Ok(());
        }
        // A writer may have slept between its blob and its entry. From here on it cannot commit; and whether it has
        // done so before, only a second look can tell.
        self.metadata.condemn(&orphans, self.env.now()).await?;
        let orphans = self.metadata.unnamed(&orphans).await?;
        for blobs in orphans.chunks(1_000) {
            self.delete_blobs(blobs).await?;
            report.deleted += blobs.len() as u64;
        }
        Ok(())
    }
}

/// How old a blob may be when its entry is put: less than the time for which it is known what was swept away.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The error of a put whose blob may have been swept away so long ago that it is no longer known.
pub(super) fn swept_by_now(blob: BlobId, now: Timestamp) -> Option<Error> {
    let message = "more than a day lies between the value's blob and its entry; put the value again";
    (now.since(blob.created_at()?) > OLDEST).then(|| Error::new(ErrorKind::Conflict, message))
}
