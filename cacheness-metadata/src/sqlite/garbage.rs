//! Blobs that no entry names any more: which may be deleted, and forgetting those that were.

use cacheness_core::{BlobId, Timestamp};

use super::connection::Session;
use super::failure::Tried;
use super::statements::Sql;
use super::transaction::Transaction;

/// Up to `limit` blobs whose delay is over. With `checkpoint`, none unless all that was committed is on the disk.
pub(super) fn due(
    session: &mut Session<'_, '_>,
    now: Timestamp,
    limit: usize,
    checkpoint: bool,
) -> Tried<Vec<BlobId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let due = session.statement(Sql::DueGarbage)?;
    let blobs = due.query_map((now.as_nanos(), limit), |row| {
        Ok(row.get_ref(0)?.as_blob().ok().and_then(BlobId::from_slice))
    })?;
    let blobs: Vec<Option<BlobId>> = blobs.collect::<rusqlite::Result<_>>()?;
    if blobs.is_empty() || (checkpoint && !is_durable(session)?) {
        return Ok(Vec::new());
    }
    Ok(blobs.into_iter().flatten().collect())
}

/// Writes the log into the database as far as readers let it, and says whether all of it is there: both are synced
/// on the way.
fn is_durable(session: &mut Session<'_, '_>) -> Tried<bool> {
    let checkpoint = session.statement(Sql::Checkpoint)?;
    let state = checkpoint
        .query_row((), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
    match state {
        Ok((busy, log, done)) => Ok(busy == 0 && log == done),
        // Another connection is at it, or reads the log: the next call asks again.
        Err(error) if is_busy(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::ErrorCode;
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl Transaction<'_, '_> {
    /// Forgets blobs that were deleted. What was handed out stands at the front, so each is found at once.
    pub(super) fn forget_garbage(&mut self, blobs: &[BlobId], now: Timestamp) -> Tried<()> {
        for blob in blobs {
            let blob = &blob.as_bytes()[..];
            let mut rows = self.session.statement(Sql::FindGarbage)?.query((blob, now.as_nanos()))?;
            let found = rows
                .next()?
                .map(|row| Ok::<_, rusqlite::Error>((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
            let found = found.transpose()?;
            drop(rows);
            if let Some((not_before, size)) = found {
                self.session.statement(Sql::DeleteGarbage)?.execute((not_before, blob))?;
                self.totals.head.garbage_bytes = (self.totals.head.garbage_bytes - size.max(0)).max(0);
            }
        }
        Ok(())
    }
}
