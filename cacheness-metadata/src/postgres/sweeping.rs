//! Which blobs no entry names, and that none comes to name one that was swept away.

use cacheness_core::{BlobId, CONDEMNED_FOR, Timestamp};

use super::failure::Failure;
use super::statements::Sql;
use super::store::{Store, params};

/// How many blobs one statement asks for: each takes a lookup by an index.
const BLOBS_AT_ONCE: usize = 4_096;

impl Store {
    /// Those of the blobs that no entry names, nor the garbage. Entries of cleared namespaces that are still to be taken back
    /// name theirs, too: they become garbage then.
    pub(super) async fn unnamed(&self, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, Failure> {
        let mut unnamed = Vec::new();
        for some in blobs.chunks(BLOBS_AT_ONCE) {
            let asked: Vec<Vec<u8>> = some.iter().map(|blob| blob.as_bytes().to_vec()).collect();
            // Entries and garbage are looked at in one moment, so that what goes from one to the other is seen in either.
            for row in &self.query(Sql::Unnamed, &params![asked]).await? {
                unnamed.extend(BlobId::from_slice(row.try_get(0)?));
            }
        }
        Ok(unnamed)
    }

    /// Notes that these blobs are about to be deleted.
    pub(super) async fn condemn(&self, blobs: Vec<BlobId>, now: Timestamp) -> Result<(), Failure> {
        let blobs: Vec<Vec<u8>> = blobs.iter().map(|blob| blob.as_bytes().to_vec()).collect();
        let until = (now + CONDEMNED_FOR).as_nanos();
        self.query(Sql::Condemn, &params![now.as_nanos(), until, blobs]).await.map(drop)
    }
}
