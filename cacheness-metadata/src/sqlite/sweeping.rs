//! Which blobs no entry names, and which were swept away.

use std::collections::HashSet;

use cacheness_core::__private::{blob_in_record, condemned};
use cacheness_core::{BlobId, CONDEMNED_FOR, Result, Timestamp};

use super::failure::Tried;
use super::statements::Sql;
use super::store::Store;
use super::transaction::Transaction;

/// How many entries are read at once. Between two such reads the connection is free for others.
const ROWS: i64 = 10_000;

/// Those of the blobs that no entry names, nor the garbage. It reads all entries: there is no index by blob, which every
/// put would pay for.
pub(super) fn unnamed(store: &Store, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
    let mut unnamed: HashSet<&[u8]> = blobs.iter().map(|blob| &blob.as_bytes()[..]).collect();
    let mut after = i64::MIN;
    loop {
        let last = store.read(|session| {
            let mut rows = session.statement(Sql::BlobsOfEntries)?.query((after, ROWS))?;
            let mut last = None;
            while let Some(row) = rows.next()? {
                last = Some(row.get::<_, i64>(0)?);
                // Either may be damaged: lookups go by the record, and what one of them names is not to be deleted.
                if let Ok(blob) = row.get_ref(1)?.as_blob() {
                    unnamed.remove(blob);
                }
                if let Some(blob) = row.get_ref(2)?.as_blob().ok().and_then(blob_in_record) {
                    unnamed.remove(&blob.as_bytes()[..]);
                }
            }
            Ok(last)
        })?;
        match last {
            Some(last) if !unnamed.is_empty() => after = last,
            _ => break,
        }
    }
    // What leaves an entry becomes garbage, so the garbage is looked at last.
    store.read(|session| {
        let mut rows = session.statement(Sql::BlobsOfGarbage)?.query(())?;
        while let Some(row) = rows.next()? {
            if let Ok(blob) = row.get_ref(0)?.as_blob() {
                unnamed.remove(blob);
            }
        }
        Ok(())
    })?;
    Ok(blobs.iter().copied().filter(|blob| unnamed.contains(&blob.as_bytes()[..])).collect())
}

impl Transaction<'_, '_> {
    /// Notes that these blobs are about to be deleted, and forgets those of long ago.
    pub(super) fn condemn(&mut self, blobs: &[BlobId], now: Timestamp) -> Tried<()> {
        self.session.statement(Sql::ForgetCondemned)?.execute((now.as_nanos(),))?;
        let until = (now + CONDEMNED_FOR).as_nanos();
        for blob in blobs {
            self.session.statement(Sql::Condemn)?.execute((&blob.as_bytes()[..], until))?;
        }
        Ok(())
    }

    /// Refuses a blob that was swept away.
    pub(super) fn check_blob(&mut self, blob: &[u8; 16]) -> Tried<()> {
        if self.session.statement(Sql::IsCondemned)?.exists((&blob[..],))? {
            return Err(condemned().into());
        }
        Ok(())
    }
}
