//! Which blobs no entry names, and which were swept away.

use std::collections::HashSet;

use bytes::Bytes;
use cacheness_core::{BlobId, CONDEMNED_FOR, Entry, Result, Timestamp};

use super::rows::EntryRow;
use super::transaction::Transaction;
use super::{KvStore, layout};

/// How many rows are read at once.
const ROWS: usize = 1_000;

/// Those of the blobs that no entry names, nor the garbage. It reads all entries: there is no index by blob, which every
/// put would pay for.
pub(super) async fn unnamed(store: &dyn KvStore, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
    let mut unnamed: HashSet<BlobId> = blobs.iter().copied().collect();
    let mut range = layout::all(layout::ENTRY);
    while !unnamed.is_empty() {
        let rows = store.scan(range.clone(), ROWS).await?;
        let Some((last, _)) = rows.last() else { break };
        range.start = layout::after(last);
        for (_, row) in &rows {
            // What is damaged may name any of them.
            if let Some(blob) = EntryRow::decode(row)?.blob {
                unnamed.remove(&blob);
            }
        }
    }
    let mut found = Vec::new();
    for &blob in blobs.iter().filter(|blob| unnamed.contains(blob)) {
        // What leaves an entry becomes garbage, so the garbage is looked at last.
        if store.get(&layout::blob(blob)).await?.is_none() {
            found.push(blob);
        }
    }
    Ok(found)
}

impl Transaction<'_> {
    /// Notes that these blobs are about to be deleted, and forgets those of long ago.
    pub(super) async fn condemn(&mut self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        let mut range = layout::all(layout::CONDEMNED);
        loop {
            let rows = self.scan(range.clone(), ROWS).await?;
            let Some((last, _)) = rows.last() else { break };
            range.start = layout::after(last);
            for (key, until) in rows {
                let until = until.as_ref().try_into().map(i64::from_be_bytes);
                if until.is_ok_and(|until| until <= now.as_nanos()) {
                    self.unset(key);
                }
            }
        }
        let until = (now + CONDEMNED_FOR).as_nanos().to_be_bytes();
        for &blob in blobs {
            self.set(layout::condemned(blob), Bytes::copy_from_slice(&until));
        }
        Ok(())
    }

    /// True where a blob was swept away.
    pub(super) async fn is_condemned(&self, entry: &Entry) -> Result<bool> {
        match entry.blob_id() {
            Some(blob) => Ok(self.get(&layout::condemned(blob)).await?.is_some()),
            None => Ok(false),
        }
    }
}
