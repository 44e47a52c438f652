//! Which blobs no entry names, and which were swept away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use cacheness_core::{BlobId, Result, Timestamp};

use super::failure::gone;
use super::ops::Op;
use super::reply::Reply;
use super::scripts;
use super::server::{Args, args};
use super::store::Store;

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
        // A namespace that is cleared meanwhile has its entries among the cleared ones, which are looked at after.
        for kind in ["live", "cleared"] {
            let mut last = Some(Vec::new());
            while let Some(after) = last.filter(|_| !unnamed.is_empty()) {
                let (mut generations, next) = self.named(args![kind, after, ROWS.to_string()]).await?;
                while generations.left() > 0 {
                    self.strike_out(&mut unnamed, generations.bytes()?).await?;
                }
                last = next;
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

    /// Takes out what the entries of a generation name.
    async fn strike_out(&self, unnamed: &mut HashSet<Vec<u8>>, generation: Vec<u8>) -> Result<()> {
        let mut last = Some(Vec::new());
        while let Some(after) = last.filter(|_| !unnamed.is_empty()) {
            let (mut blobs, next) =
                self.named(args!["entries", generation.clone(), after, ROWS.to_string()]).await?;
            while blobs.left() > 0 {
                unnamed.remove(&blobs.bytes()?);
            }
            last = next;
        }
        Ok(())
    }

    /// Some of what there is, and where to go on; `None` at the end.
    async fn named(&self, which: Args) -> Result<(Reply, Option<Vec<u8>>)> {
        let mut args = self.args();
        args.extend(which);
        let mut reply = self.read(&scripts::NAMED, &args).await?.ok_or_else(gone)?;
        let (found, count, last) = (reply.list()?, reply.number()?, reply.bytes()?);
        Ok((found, (count >= ROWS as u64).then_some(last)))
    }

    /// Notes that these blobs are about to be deleted.
    pub(super) async fn condemn(
        self: &Arc<Self>,
        until: Instant,
        blobs: &[BlobId],
        now: Timestamp,
    ) -> Result<()> {
        for blobs in blobs.chunks(ROWS) {
            self.write(until, vec![Op::Condemn { blobs: blobs.to_vec(), now }], Vec::new()).await?;
        }
        Ok(())
    }
}
