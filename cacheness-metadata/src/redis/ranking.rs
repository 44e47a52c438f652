//! Ranking entries anew, by another policy or for the first time: step by step, and by one process at a time.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cacheness_core::{Env, LeaseHolder, Namespace, Result};
use futures_util::future::{Either, select};

use super::deadline::late;
use super::failure::gone;
use super::layout::{self, Stored};
use super::scripts;
use super::server::args;
use super::store::Store;
use super::writing::ENTRIES_PER_STEP;

/// How long to wait before it is seen whether another process is done.
const PAUSE: Duration = Duration::from_millis(50);

impl Store {
    /// Ranks the entries that have no rank in the present epoch, or waits until another process has done so.
    pub(super) async fn rank_all(&self) -> Result<()> {
        loop {
            let ranker = LeaseHolder::random().to_string();
            match self.claim(&ranker).await?.as_str() {
                "OK" => return self.rank(&ranker).await,
                "TAKEN" => pause(PAUSE).await,
                _ => return Ok(()),
            }
        }
    }

    /// As [`rank_all`](Self::rank_all), for a change that waits for it. Once for each process it is a task of its own,
    /// which goes on when the time of the change is over, so that later ones find it done.
    pub(super) async fn wait_for_ranking(self: &Arc<Self>, until: Instant) -> Result<()> {
        let left = pin!(pause(until.saturating_duration_since(Instant::now())));
        let Ok(turn) = self.ranking.clone().try_lock_owned() else {
            return match select(pin!(self.ranking.lock()), left).await {
                Either::Left(_) => Ok(()),
                Either::Right(_) => Err(late()),
            };
        };
        let store = self.clone();
        let task = tokio::spawn(async move {
            let _turn = turn;
            store.rank_all().await
        });
        match select(task, left).await {
            Either::Left((Ok(done), _)) => done.map_err(|error| error.with_outcome_unknown(false)),
            Either::Left((Err(_), _)) | Either::Right(_) => Err(late()),
        }
    }

    /// Says that this one is about to rank. The claim ends by itself, unless it is made again.
    async fn claim(&self, ranker: &str) -> Result<String> {
        let mut args = self.args();
        args.extend(args![self.rules().epoch.to_string(), "0", ranker]);
        Ok(self.run(&scripts::RANK, &args, self.until()).await?.0)
    }

    /// It ends early where another process has begun a new epoch, or has ended this one.
    async fn rank(&self, ranker: &str) -> Result<()> {
        let rules = self.rules();
        let ranking = self.policies.get(rules.policy())?;
        let epoch = rules.epoch.to_string();
        loop {
            let (mut name, mut after, mut missed) = (String::new(), String::new(), 0);
            loop {
                let mut args = self.args();
                let step = ENTRIES_PER_STEP.to_string();
                args.extend(args!["*", name, after, "", step.clone(), step, "*", "", epoch.clone()]);
                let mut reply = self.read(&scripts::LIST, &args).await?.ok_or_else(gone)?;
                let more = reply.flag()?;
                (name, after) = (reply.text()?, reply.text()?);
                let mut rows = reply.list()?;
                let mut ranks = Vec::new();
                while rows.left() > 0 {
                    let (namespace, id, _, bytes) =
                        (rows.text()?, rows.bytes()?, rows.bytes()?, rows.bytes()?);
                    // What cannot be read at all cannot be ranked, either. What can be in part goes first.
                    let Ok(stored) = Stored::read(bytes) else { continue };
                    let entry = stored.to_entry(Namespace::new(namespace)?, true);
                    let rank = entry.map_or(i64::MIN, |entry| ranking.rank(&entry, rules.age));
                    ranks.extend(args![id, stored.state(), layout::ordered(rank)]);
                }
                let is_end = !more && missed == 0;
                let mut args = self.args();
                args.extend(args![epoch.clone(), if is_end { "1" } else { "0" }, ranker]);
                args.extend(ranks);
                let (status, mut reply) = self.run(&scripts::RANK, &args, self.until()).await?;
                if status != "OK" {
                    return Ok(());
                }
                missed += reply.number()?;
                if !more {
                    break;
                }
            }
            if missed == 0 {
                return Ok(());
            }
        }
    }
}

/// Waits by the real clock, which is that of the servers, also where a test has set the cache's own.
async fn pause(time: Duration) {
    Env::new().sleep(time).await;
}
