//! Bringing one row of the second store to the first: the blob first, then the entry, then the row goes. Each step can be
//! repeated, by this process or another, so a crash between any two of them loses and leaves nothing.
//!
//! Whoever is about to write a key that has a row claims the row first, by giving it a new version. So two who are at it
//! at once notice: the one whose claim is gone puts nothing more, and takes back what it has put.

use std::io::Write;

use super::Shared;
use super::pair::Pair;
use super::rows::is_note;
use crate::blob::{Blob, BlobSource, StagedFile};
use crate::entry::{Entry, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{Change, Condition};
use crate::names::{BlobId, Version};

/// Why something was not brought.
pub(super) enum Failed {
    /// The first store does not answer.
    Down(Error),
    /// Anything else, in either store.
    Other(Error),
}

pub(super) type Met<T> = std::result::Result<T, Failed>;

/// Says which store an error comes from: a second one that is busy for the moment does not mean that the first is down.
pub(super) trait From2<T> {
    fn of_first(self) -> Met<T>;
    fn of_second(self) -> Met<T>;
}

impl<T> From2<T> for Result<T> {
    fn of_first(self) -> Met<T> {
        self.map_err(|error| if error.is_temporary() { Failed::Down(error) } else { Failed::Other(error) })
    }

    fn of_second(self) -> Met<T> {
        self.map_err(Failed::Other)
    }
}

/// What became of a row in the first store.
enum Became {
    /// Its entry, of this version.
    Entry(Version),
    /// Nothing of it, because the first store has this instead.
    Nothing(Option<BlobId>),
    /// Nothing, because somebody else has claimed it.
    Lost,
}

impl Shared {
    /// Claims the row that a key has now, and says which version it had before. `None` where there is none any more.
    pub(super) async fn claim(&self, row: &Entry) -> Met<Option<(Version, Entry)>> {
        loop {
            let found = self.second.metadata.get_entry(&row.namespace, row.key.as_str()).await.of_second()?;
            let Some(mut found) = found else { return Ok(None) };
            let (entry, condition) = (Box::new(found.clone()), Condition::Version(found.version));
            let change = Change::Put { entry, condition, now: self.env.now() };
            let outcomes = self.second.metadata.apply(vec![change]).await.of_second()?;
            if let Some(version) = outcomes.first().and_then(|outcome| outcome.version) {
                let before = std::mem::replace(&mut found.version, version);
                return Ok(Some((before, found)));
            }
        }
    }

    /// Brings a row that was claimed to the first store, unless something newer stands there, and removes it. The caller
    /// holds `bringing`.
    pub(super) async fn bring(&self, first: &Pair, row: &Entry) -> Met<()> {
        let became = self.bring_entry(first, row).await?;
        if matches!(became, Became::Lost) {
            return Ok(());
        }
        let removed = self.remove_row(row).await.of_second()?;
        match (became, row.blob_id()) {
            // Nobody will name the blob any more: one who stopped on the way may have brought it.
            (Became::Nothing(there), Some(blob)) if removed && there != Some(blob) => {
                first.blobs.delete_many(&[first.key(blob)]).await.of_first()
            }
            // The key was written since: what was put over that is taken back.
            (Became::Entry(version), _) if !removed => {
                let (namespace, key) = (row.namespace.clone(), row.key.as_str().to_owned());
                let (condition, now) = (Condition::Version(version), self.env.now());
                let change = Change::Remove { namespace, key, condition, now };
                first.metadata.apply(vec![change]).await.of_first().map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Brings the blob of a row that nobody has claimed yet, so that no lock is held for as long as that takes. True where it
    /// was not there before.
    pub(super) async fn bring_ahead(&self, first: &Pair, row: &Entry) -> Met<bool> {
        match row.blob_id() {
            Some(blob) if !first.blobs.exists(&first.key(blob)).await.of_first()? => {
                self.bring_blob(first, blob, blob).await
            }
            _ => Ok(false),
        }
    }

    /// Deletes a blob that was brought ahead, where the row that named it has gone or was replaced meanwhile and its entry
    /// is not in the first store either. `now` is the row that the key has since it was claimed.
    pub(super) async fn take_back(&self, first: &Pair, row: &Entry, now: Option<&Entry>) -> Met<()> {
        let Some(blob) = row.blob_id() else { return Ok(()) };
        if now.is_some_and(|now| now.blob_id() == Some(blob)) {
            return Ok(());
        }
        let there = first.metadata.get_entry(&row.namespace, row.key.as_str()).await.of_first()?;
        if there.is_some_and(|there| there.blob_id() == Some(blob)) {
            return Ok(());
        }
        first.blobs.delete_many(&[first.key(blob)]).await.of_first()
    }

    async fn is_claimed(&self, row: &Entry) -> Met<bool> {
        let now = self.second.metadata.get_entry(&row.namespace, row.key.as_str()).await.of_second()?;
        Ok(now.is_some_and(|now| now.version == row.version))
    }

    async fn bring_entry(&self, first: &Pair, row: &Entry) -> Met<Became> {
        let mut refused = false;
        // The id that the blob has in the first store.
        let mut blob = row.blob_id();
        loop {
            let there = first.metadata.get_entry(&row.namespace, row.key.as_str()).await.of_first()?;
            if let Some(there) = &there
                && there.created_at > row.created_at
            {
                return Ok(Became::Nothing(there.blob_id()));
            }
            let condition =
                there.as_ref().map_or(Condition::Absent, |there| Condition::Version(there.version));
            let now = self.env.now();
            let lost = match row.blob_id().zip(blob).filter(|_| !refused) {
                Some((from, to)) => !self.bring_blob(first, from, to).await?,
                None => false,
            };
            let change = if is_note(row) || lost || refused {
                if there.is_none() {
                    return Ok(Became::Nothing(None));
                }
                let (namespace, key) = (row.namespace.clone(), row.key.as_str().to_owned());
                Change::Remove { namespace, key, condition, now }
            } else {
                let mut entry = Box::new(row.clone());
                if let Some(blob) = blob {
                    entry.location = Location::Blob(blob);
                }
                Change::Put { entry, condition, now }
            };
            if !self.is_claimed(row).await? {
                return Ok(Became::Lost);
            }
            let puts = matches!(change, Change::Put { .. });
            match first.metadata.apply(vec![change]).await {
                Ok(outcomes) => match outcomes.first() {
                    Some(outcome) if outcome.applied && puts => {
                        return Ok(Became::Entry(outcome.version.unwrap_or_default()));
                    }
                    Some(outcome) if outcome.applied => return Ok(Became::Nothing(None)),
                    // Another write came in between: what it made is looked at.
                    _ => {}
                },
                // What the cache has no room for is evicted.
                Err(error) if error.kind() == ErrorKind::LimitExceeded && !refused => {
                    let error = error.without_key();
                    tracing::warn!(%error, "a value that was put while the first store was down does not fit there");
                    refused = true;
                }
                // A sweep has come upon the blob before its entry was there. What it deletes is not used again.
                Err(error)
                    if error.kind() == ErrorKind::Conflict && blob.is_some() && blob == row.blob_id() =>
                {
                    blob = Some(BlobId::new(now));
                }
                Err(error) => return Err(error).of_first(),
            }
        }
    }

    /// Makes sure that the first store has a blob, under this id. False where no store has it.
    async fn bring_blob(&self, first: &Pair, from: BlobId, to: BlobId) -> Met<bool> {
        let renamed = from != to;
        let to = first.key(to);
        if first.blobs.exists(&to).await.of_first()? {
            return Ok(true);
        }
        let found = match self.second.blobs.get(&self.second.key(from)).await.of_second()? {
            None if renamed => first.blobs.get(&first.key(from)).await.of_first()?,
            found => found,
        };
        let source = match found {
            None => return Ok(false),
            Some(Blob::Bytes(bytes)) => BlobSource::Bytes(bytes),
            Some(Blob::File(file, len)) => {
                let staged = self.staged(file, len, first.blobs.staging_dir()).await;
                BlobSource::File(staged.of_second()?)
            }
        };
        match first.blobs.put(&to, source).await {
            Ok(()) => Ok(true),
            // Another process has brought it meanwhile.
            Err(error) if !error.is_temporary() && first.blobs.exists(&to).await.of_first()? => Ok(true),
            Err(error) => Err(error).of_first(),
        }
    }

    /// Copies an open blob to where its next store wants it.
    pub(super) async fn staged(
        &self,
        mut file: std::fs::File,
        len: u64,
        folder: Option<&std::path::Path>,
    ) -> Result<StagedFile> {
        use std::io::{Read, Seek, SeekFrom};
        let folder = folder.map(std::path::Path::to_owned);
        let work = move || {
            let io = |error| Error::io(error, "a blob cannot be copied from one store to the other");
            let mut staged = match folder {
                Some(folder) => tempfile::NamedTempFile::new_in(folder),
                None => tempfile::NamedTempFile::new(),
            }
            .map_err(io)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            // One that was cut short is found damaged when it is read, wherever it lies.
            let copied = std::io::copy(&mut file.take(len), &mut staged).map_err(io)?;
            staged.flush().map_err(io)?;
            Ok(StagedFile::new(staged, copied))
        };
        self.env.unblock(work).await
    }
}
