//! Calls of the script that writes: the changes are sent, and what stands in their way is seen to until they are made.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use cacheness_core::{Change, EntryAccess, Evicted, Namespace, Ranking, Result, Timestamp};

use super::deadline::late;
use super::failure::unexpected;
use super::layout;
use super::ops::{Op, push};
use super::outcomes::{Candidate, Done, check_rank, read_candidates, read_evicted, read_outcome, refusal};
use super::reply::Reply;
use super::rules::{self, Correction, Rules};
use super::scripts;
use super::server::{Args, args};
use super::store::Store;

/// How many entries one script evicts, purges or ranks at most.
pub(super) const ENTRIES_PER_STEP: usize = 500;

/// After how many puts that evicted nothing the next victims are no longer known.
const IDLE: u32 = 16;

/// The entries that go next, as the last eviction told.
#[derive(Default)]
pub(super) struct Preview {
    candidates: Vec<Candidate>,
    idle: u32,
}

/// A use of an entry to be written down.
struct Use {
    access: EntryAccess,
    /// True where it was taken from the log, into which it goes back if it cannot be written.
    taken: bool,
}

/// A call on its way.
struct Call<'s> {
    store: &'s Arc<Store>,
    /// After this moment nothing is written any more.
    until: Instant,
    ops: Vec<Op>,
    uses: Vec<Use>,
    vetted: HashSet<Vec<u8>>,
    evicted: Vec<Evicted>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        for used in self.uses.drain(..).filter(|used| used.taken) {
            self.store.accesses.put_back(used.access);
        }
    }
}

impl Store {
    /// Makes changes and writes uses down, all in one call of a script.
    pub(super) async fn write(
        self: &Arc<Self>,
        until: Instant,
        ops: Vec<Op>,
        accesses: Vec<EntryAccess>,
    ) -> Result<Done> {
        let uses = accesses.into_iter().map(|access| Use { access, taken: false }).collect();
        let mut call = Call { store: self, until, ops, uses, vetted: HashSet::new(), evicted: Vec::new() };
        if call.may_evict() && self.lock_rules().are_limiting() {
            let candidates = self.lock_preview().candidates.clone();
            call.vet(candidates);
        }
        loop {
            if let Some(done) = call.attempt().await? {
                return Ok(done);
            }
            if Instant::now() >= until {
                return Err(late());
            }
        }
    }

    /// Writes ranks as the policy would have them. Where that fails, they stay as they are, which is near enough.
    async fn correct(&self, until: Instant, epoch: u64, corrections: Vec<Correction>) {
        if corrections.is_empty() {
            return;
        }
        let mut args = self.args();
        args.extend(args![epoch.to_string(), "0", ""]);
        for Correction { id, state, rank } in corrections {
            args.extend(args![id, state, layout::ordered(rank)]);
        }
        let _ = self.run(&scripts::RANK, &args, until).await;
    }

    /// Takes back a part of what cleared namespaces left.
    async fn reclaim(self: &Arc<Self>, until: Instant) -> Result<()> {
        let purge = Op::Purge { now: Timestamp::MIN, limit: ENTRIES_PER_STEP };
        Box::pin(self.write(until, vec![purge], Vec::new())).await.map(drop)
    }
}

impl Call<'_> {
    fn may_evict(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Change(Change::Put { .. }) | Op::Evict { .. }))
    }

    /// Lets entries be evicted, after the uses that this process has made of them.
    fn vet(&mut self, candidates: Vec<Candidate>) {
        for Candidate { namespace, key, version, member } in candidates {
            if let Some(uses) = self.store.accesses.take(&namespace, &key, version) {
                let access = EntryAccess::new(namespace, key, version, uses.accessed_at, uses.hits);
                self.uses.push(Use { access, taken: true });
            }
            self.vetted.insert(member);
        }
    }

    /// Sends the call once; `None` where it has to be sent again.
    async fn attempt(&mut self) -> Result<Option<Done>> {
        let rules = self.store.rules();
        if rules.are_limiting() && self.may_evict() {
            self.store.policies.get(rules.policy())?;
        }
        let refuses = self.store.policies.get(rules.policy()).is_ok_and(|ranking| ranking.refuses());
        let ranking = rules.known_ranking(&self.store.policies);
        let (args, puts) = self.args(&rules, refuses, ranking.as_ref())?;
        let (status, mut reply) = self.store.run(&scripts::WRITE, &args, self.until).await?;
        if status == "STALE" {
            self.store.learn(Rules::read(reply.list()?)?);
            return Ok(None);
        }
        let committed = reply.flag()?;
        let age = rules::read_age(&mut reply)?;
        {
            let mut known = self.store.lock_rules();
            if known.version == rules.version {
                known.age = age;
            }
        }
        self.evicted.extend(read_evicted(reply.list()?)?);
        let (mut used, mut about, mut outcomes) = (reply.list()?, reply.list()?, reply.list()?);
        let mut corrections = Vec::new();
        if committed {
            for Use { access, .. } in self.uses.drain(..) {
                let answer = used.bytes()?;
                if let Some(ranking) = &ranking {
                    let used = (access.accessed_at, access.hits, age);
                    corrections.extend(rules::check_use(ranking, &answer, used)?);
                }
            }
        }
        let done = match status.as_str() {
            "OK" => {
                self.remember(&mut about)?;
                let mut done = Done::default();
                let mut puts = puts.into_iter();
                for op in &self.ops {
                    let mut reply = outcomes.list()?;
                    read_outcome(op, &mut reply, &mut done)?;
                    if let Some(ranking) = &ranking {
                        corrections.extend(check_rank(op, &mut reply, &done, &mut puts, ranking, age)?);
                    }
                }
                let before = std::mem::take(&mut self.evicted);
                // They were evicted for whichever change; the first put that was made tells of them.
                match done.outcomes.iter_mut().find(|outcome| outcome.version.is_some()) {
                    Some(outcome) => drop(outcome.evicted.splice(0..0, before)),
                    None => drop(done.evicted.splice(0..0, before)),
                }
                Some(done)
            }
            "LOOK" => {
                let candidates = read_candidates(&mut about)?;
                // To send the same again would bring the same answer.
                if candidates.is_empty() {
                    return Err(unexpected());
                }
                self.vet(candidates);
                None
            }
            "UNRANKED" => {
                self.store.wait_for_ranking(self.until).await?;
                None
            }
            "CLEARED" => {
                self.store.reclaim(self.until).await?;
                None
            }
            "CROWDED" if committed => None,
            "CROWDED" => {
                self.make_room(&mut about).await?;
                None
            }
            status => return Err(refusal(status, &mut about)?),
        };
        self.store.correct(self.until, rules.epoch, corrections).await;
        Ok(done)
    }

    /// Evicts what the call needs evicted before it, in calls that are each short.
    async fn make_room(&mut self, about: &mut Reply) -> Result<()> {
        let name = about.text()?;
        let namespace = if name.is_empty() { None } else { Some(Namespace::new(name)?) };
        let room = (about.number()?, about.number()?);
        let times = self.ops.iter().filter_map(|op| match op {
            Op::Change(Change::Put { now, .. }) => Some(*now),
            _ => None,
        });
        let now = times.min().unwrap_or_default();
        loop {
            let evict = Op::Evict { namespace: namespace.clone(), now, room, most: ENTRIES_PER_STEP };
            let done = Box::pin(self.store.write(self.until, vec![evict], Vec::new())).await?;
            self.evicted.extend(done.evicted);
            if !done.more {
                return Ok(());
            }
        }
    }

    /// Remembers which entries go next, where some went.
    fn remember(&self, about: &mut Reply) -> Result<()> {
        let candidates = read_candidates(about)?;
        let mut preview = self.store.lock_preview();
        if !candidates.is_empty() {
            *preview = Preview { candidates, idle: 0 };
        } else if self.may_evict() && !preview.candidates.is_empty() {
            preview.idle += 1;
            if preview.idle > IDLE {
                *preview = Preview::default();
            }
        }
        Ok(())
    }

    /// The script's arguments, and the header of each entry that is put.
    fn args(&self, rules: &Rules, refuses: bool, ranking: Option<&Ranking>) -> Result<(Args, Vec<String>)> {
        let flag = |set: bool| if set { "1" } else { "0" };
        let may_fail = refuses || self.ops.len() > 1;
        let mut args = self.store.args();
        args.extend(args![
            rules.version.to_string(),
            flag(may_fail),
            flag(refuses),
            self.uses.len().to_string(),
            self.vetted.len().to_string(),
            self.ops.len().to_string(),
            self.store.server.settings.feed_length.to_string(),
        ]);
        for Use { access, .. } in &self.uses {
            let form = rules::form_of_use(ranking, access.accessed_at, access.hits, rules.age);
            args.extend(args![
                access.namespace.as_str(),
                access.key.as_str(),
                layout::version(access.version),
                layout::moment(access.accessed_at),
                access.hits.to_string(),
                form,
            ]);
        }
        args.extend(self.vetted.iter().cloned());
        let mut puts = Vec::new();
        for op in &self.ops {
            let evicted = self.evicted.len();
            push(op, &mut args, (rules, ranking), &mut puts, evicted)?;
        }
        Ok((args, puts))
    }
}
