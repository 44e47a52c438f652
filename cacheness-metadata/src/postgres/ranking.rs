//! How all entries are ranked anew, after another policy was chosen or a namespace got its first limit: in steps that are
//! each short, by one process at a time. Others wait until it is done, or has given up.

use std::time::Duration;

use tokio_postgres::Row;

use super::connection::{Param, within};
use super::deadline::{Deadline, late};
use super::eviction::ENTRIES_PER_STEP;
use super::failure::Failure;
use super::reading::{entry_of, namespace};
use super::rules::Rules;
use super::statements::Sql;
use super::store::{Store, params};

/// The lease of the process that ranks. No name has this hash.
const LEASE: [u8; 16] = [0; 16];

/// How long it has it, unless it goes on.
const LEASED_FOR: Duration = Duration::from_secs(5);

/// How often others look whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Store {
    /// Ranks all entries by the present policy that are not ranked by it yet, or waits until somebody else has. What was
    /// ranked at the deadline stays so.
    pub(super) async fn rank_all(&self, rules: &Rules, deadline: Deadline) -> Result<(), Failure> {
        let mut rows = self.unranked(rules, ENTRIES_PER_STEP).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let left = deadline.left();
        let _one = if left == Duration::MAX {
            self.ranking.lock().await
        } else {
            within(&self.env, left, self.ranking.lock()).await.ok_or_else(|| Failure::Late(late()))?
        };
        let mut mine = false;
        let done = loop {
            match self.rank_some(rules, &mut rows, &mut mine, deadline).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        if mine {
            // Where this fails it ends by itself.
            let _ = self.release(LEASE.to_vec(), self.ranker, Deadline::NONE).await;
        }
        done
    }

    /// One step of it, or a look whether somebody else is done. True where there is more to do; `rows` are the next then.
    async fn rank_some(
        &self,
        rules: &Rules,
        rows: &mut Vec<Row>,
        mine: &mut bool,
        deadline: Deadline,
    ) -> Result<bool, Failure> {
        deadline.check()?;
        let token = self.acquire(LEASE.to_vec(), Vec::new(), Vec::new(), self.ranker, LEASED_FOR, deadline);
        *mine = token.await?.is_some();
        if *mine {
            let ranked = self.ranked(rules, rows)?;
            self.query(Sql::Rank, &ranked).await?;
        } else {
            self.env.sleep(LOOK_EVERY.min(deadline.left())).await;
        }
        let last: Option<Vec<u8>> = rows.first().map(|row| row.try_get(9)).transpose()?;
        *rows = self.unranked(rules, if *mine { ENTRIES_PER_STEP } else { 1 }).await?;
        let Some(first) = rows.first() else { return Ok(false) };
        // Somebody else has changed the rules, or puts the same entry all the time.
        let stays = last.is_some_and(|last| first.try_get::<_, &[u8]>(9).is_ok_and(|hash| *hash == *last));
        Ok(!stays || self.read_rules().await?.epoch == rules.epoch)
    }

    async fn unranked(&self, rules: &Rules, most: usize) -> Result<Vec<Row>, Failure> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.query(Sql::Unranked, &params![rules.epoch, most]).await
    }

    /// What gives entries their ranks.
    fn ranked(&self, rules: &Rules, rows: &[Row]) -> Result<Vec<Param>, Failure> {
        let ranking = rules.ranking()?;
        let mut ranked: [Vec<i64>; 5] = Default::default();
        let mut hashes: Vec<Vec<u8>> = Vec::with_capacity(rows.len());
        for row in rows {
            let name: Option<&[u8]> = row.try_get(7)?;
            // What was cleared needs no rank; what cannot be read is of no use and goes first.
            let entry = match name {
                Some(_) => namespace(name).and_then(|name| entry_of(row, 0, name, None)).ok(),
                None => None,
            };
            let age: i64 = row.try_get(10)?;
            let rank = entry.map_or(i64::MIN, |entry| ranking.rank(&entry, age));
            hashes.push(row.try_get(9)?);
            let values = [row.try_get(8)?, row.try_get(0)?, row.try_get(2)?, row.try_get(3)?, rank];
            ranked.iter_mut().zip(values).for_each(|(list, value)| list.push(value));
        }
        let [generations, versions, accessed, hits, ranks] = ranked;
        Ok(Vec::from(params![rules.epoch, generations, hashes, versions, accessed, hits, ranks]))
    }
}
