//! Which blobs no entry names, and that none comes to name one that was swept away.

use std::collections::HashSet;

use cacheness_core::{BlobId, CONDEMNED_FOR, Timestamp};

use super::failure::Failure;
use super::statements::Sql;
use super::store::{Store, params};

/// How many entries are read at once.
const ROWS: i64 = 20_000;

impl Store {
    /// Those of the blobs that no entry names, nor the garbage. It reads all entries: there is no index by blob, which every
    /// put would pay for.
    pub(super) async fn unnamed(&self, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, Failure> {
        let mut unnamed: HashSet<BlobId> = blobs.iter().copied().collect();
        let (mut generation, mut hash) = (i64::MIN, Vec::<u8>::new());
        loop {
            let rows = self.query(Sql::BlobsOfEntries, &params![generation, hash, ROWS]).await?;
            for row in &rows {
                if let Some(blob) = row.try_get::<_, Option<&[u8]>>(2)?.and_then(BlobId::from_slice) {
                    unnamed.remove(&blob);
                }
            }
            match rows.last() {
                Some(last) if !unnamed.is_empty() => {
                    (generation, hash) = (last.try_get(0)?, last.try_get(1)?)
                }
                _ => break,
            }
        }
        // What leaves an entry becomes garbage, so the garbage is looked at last.
        let asked: Vec<Vec<u8>> = unnamed.iter().map(|blob| blob.as_bytes().to_vec()).collect();
        for row in &self.query(Sql::BlobsOfGarbage, &params![asked]).await? {
            if let Some(blob) = BlobId::from_slice(row.try_get(0)?) {
                unnamed.remove(&blob);
            }
        }
        Ok(blobs.into_iter().filter(|blob| unnamed.contains(blob)).collect())
    }

    /// Notes that these blobs are about to be deleted.
    pub(super) async fn condemn(&self, blobs: Vec<BlobId>, now: Timestamp) -> Result<(), Failure> {
        let blobs: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.as_bytes().to_vec()).collect();
        let until = (now + CONDEMNED_FOR).as_nanos();
        self.query(Sql::Condemn, &params![self.lock, now.as_nanos(), until, blobs]).await.map(drop)
    }
}
