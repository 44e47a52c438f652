//! Which blobs no entry names, and which were swept away.

use std::collections::HashSet;

use cacheness_core::{BlobId, Result, Timestamp};

use super::failure::gone;
use super::scripts;
use super::server::args;
use super::store::Store;
use super::writing::Op;

/// How many entries or blobs one script looks at.
const ROWS: usize = 1_000;

impl Store {
    /// Those of the blobs that no entry names, nor the garbage. It reads a part of each entry: there is no index by blob,
    /// which every put would pay for. Where the cache is gone, nothing is known of its blobs.
    pub(super) async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut unnamed: HashSet<Vec<u8>> = blobs.iter().map(|blob| blob.to_string().into_bytes()).collect();
        let mut generations = self.read(&scripts::NAMED, &self.args()).await?.ok_or_else(gone)?.list()?;
        while generations.left() > 0 && !unnamed.is_empty() {
            let generation = generations.bytes()?;
            let mut after = Vec::new();
            loop {
                let mut args = self.args();
                args.extend(args!["entries", generation.clone(), after, ROWS.to_string()]);
                let mut reply = self.read(&scripts::NAMED, &args).await?.ok_or_else(gone)?;
                let mut named = reply.list()?;
                while named.left() > 0 {
                    unnamed.remove(&named.bytes()?);
                }
                let count = reply.number()?;
                after = reply.bytes()?;
                if count < ROWS as u64 {
                    break;
                }
            }
        }
        // What leaves an entry becomes garbage, so the garbage is looked at last.
        let left: Vec<Vec<u8>> = unnamed.iter().cloned().collect();
        for blobs in left.chunks(ROWS) {
            let mut args = self.args();
            args.extend(args!["garbage"]);
            args.extend_from_slice(blobs);
            let mut garbage = self.read(&scripts::NAMED, &args).await?.ok_or_else(gone)?.list()?;
            while garbage.left() > 0 {
                unnamed.remove(&garbage.bytes()?);
            }
        }
        Ok(blobs.iter().copied().filter(|blob| unnamed.contains(blob.to_string().as_bytes())).collect())
    }

    /// Notes that these blobs are about to be deleted.
    pub(super) async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        for blobs in blobs.chunks(ROWS) {
            self.write(vec![Op::Condemn { blobs: blobs.to_vec(), now }], Vec::new()).await?;
        }
        Ok(())
    }
}
