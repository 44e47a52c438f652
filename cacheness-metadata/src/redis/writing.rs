//! Calls of the script that writes: the changes are sent, and what stands in their way is seen to until they are made.

use std::collections::HashSet;

use cacheness_core::__private::condemned;
use cacheness_core::{
    BlobId, CONDEMNED_FOR, Change, Condition, Counters, Entry, EntryAccess, Error, ErrorKind, Evicted,
    EvictionReason, Expiry, GARBAGE_DELAY, Key, Limits, Namespace, Outcome, Purged, Ranking, Result,
    Timestamp, Version,
};

use super::failure::unexpected;
use super::layout::{self, Row};
use super::reply::Reply;
use super::rules::{self, Correction, Rules};
use super::scripts;
use super::server::{Args, args};
use super::store::Store;

/// How many entries one script evicts, purges or ranks at most.
pub(super) const ENTRIES_PER_STEP: usize = 500;

/// How often a call is sent: each time something was in the way that is so no longer.
const ATTEMPTS: usize = 100_000;

/// After how many puts that evicted nothing the next victims are no longer known.
const IDLE: u32 = 16;

/// What is to be done.
pub(super) enum Op {
    Change(Change),
    Evict { namespace: Option<Namespace>, now: Timestamp, room: (u64, u64), most: usize },
    Count(Namespace, Counters),
    Reset(Option<Namespace>),
    Clear { namespace: Namespace, now: Timestamp, drop: bool },
    Purge { now: Timestamp, limit: usize },
    Forget(Vec<BlobId>),
    Condemn { blobs: Vec<BlobId>, now: Timestamp },
}

/// What became of it.
#[derive(Default)]
pub(super) struct Done {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) evicted: Vec<Evicted>,
    pub(super) more: bool,
    pub(super) cleared: Option<u64>,
    pub(super) purged: Purged,
}

/// An entry that may be evicted next.
#[derive(Clone)]
pub(super) struct Candidate {
    namespace: Namespace,
    key: String,
    version: Version,
    /// As the script names it.
    member: Vec<u8>,
}

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
    store: &'s Store,
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
    pub(super) async fn write(&self, ops: Vec<Op>, accesses: Vec<EntryAccess>) -> Result<Done> {
        let uses = accesses.into_iter().map(|access| Use { access, taken: false }).collect();
        let mut call = Call { store: self, ops, uses, vetted: HashSet::new(), evicted: Vec::new() };
        if call.may_evict() && self.lock_rules().are_limiting() {
            let candidates = self.lock_preview().candidates.clone();
            call.vet(candidates);
        }
        for _ in 0..ATTEMPTS {
            if let Some(done) = call.attempt().await? {
                return Ok(done);
            }
        }
        let message = format!("other processes were in the way of each of {ATTEMPTS} attempts to write");
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Writes ranks as the policy would have them. Where that fails, they stay as they are, which is near enough.
    async fn correct(&self, epoch: u64, corrections: Vec<Correction>) {
        if corrections.is_empty() {
            return;
        }
        let mut args = self.args();
        args.extend(args![epoch.to_string(), "0"]);
        for Correction { id, state, rank } in corrections {
            args.extend(args![id, state, layout::ordered(rank)]);
        }
        let _ = self.run(&scripts::RANK, &args).await;
    }

    /// Takes back a part of what cleared namespaces left.
    async fn reclaim(&self) -> Result<()> {
        let purge = Op::Purge { now: Timestamp::MIN, limit: ENTRIES_PER_STEP };
        Box::pin(self.write(vec![purge], Vec::new())).await.map(drop)
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
        let (status, mut reply) = self.store.run(&scripts::WRITE, &args).await?;
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
                self.vet(read_candidates(&mut about)?);
                None
            }
            "UNRANKED" => {
                self.store.rank_all().await?;
                None
            }
            "CLEARED" => {
                self.store.reclaim().await?;
                None
            }
            "CROWDED" if committed => None,
            "CROWDED" => {
                self.make_room(&mut about).await?;
                None
            }
            status => return Err(refusal(status, &mut about)?),
        };
        self.store.correct(rules.epoch, corrections).await;
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
            let done = Box::pin(self.store.write(vec![evict], Vec::new())).await?;
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

/// Adds the nine arguments of a change.
fn push(
    op: &Op,
    args: &mut Args,
    (rules, ranking): (&Rules, Option<&Ranking>),
    puts: &mut Vec<String>,
    evicted: usize,
) -> Result<()> {
    let due = |now: Timestamp| layout::moment(now + GARBAGE_DELAY);
    let time = layout::moment;
    match op {
        Op::Change(Change::Put { entry, condition, now }) => {
            let (rank, form) = rules::rank_of_new(ranking, entry, rules.age);
            let Row { header, tail } = Row::new(entry, rank)?;
            let (name, key) = (entry.namespace.as_str(), entry.key.as_str());
            let of = self::condition(*condition)?;
            args.extend(args!["put", name, key, of, time(*now), due(*now), header.as_str(), tail, form]);
            puts.push(header);
        }
        Op::Change(Change::Remove { namespace, key, condition, now }) => {
            let of = self::condition(*condition)?;
            args.extend(args![
                "remove",
                namespace.as_str(),
                key.as_str(),
                of,
                time(*now),
                due(*now),
                "",
                "",
                ""
            ]);
        }
        Op::Change(Change::Touch { namespace, key, condition, expiry, now }) => {
            let (way, by) = match expiry {
                Expiry::Set(at) => ("set", layout::expiry(*at)),
                Expiry::Extend(by) => {
                    ("extend", format!("{:016x}", u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
                }
                _ => return Err(unknown()),
            };
            let form = rules::form_of_use(ranking, *now, 1, rules.age);
            let (name, of) = (namespace.as_str(), self::condition(*condition)?);
            args.extend(args!["touch", name, key.as_str(), of, time(*now), due(*now), way, by, form]);
        }
        Op::Change(_) => return Err(unknown()),
        Op::Evict { namespace, now, room, most } => {
            let name = namespace.as_ref().map_or("", Namespace::as_str);
            let (entries, bytes) = (room.0.to_string(), room.1.to_string());
            let most = most.saturating_sub(evicted).to_string();
            args.extend(args!["evict", name, "", "", time(*now), due(*now), entries, bytes, most]);
        }
        Op::Count(name, counters) => {
            let Counters { hits, misses, puts, removals, evictions, expirations, errors, .. } = counters;
            let numbers = [
                hits,
                misses,
                puts,
                removals,
                evictions,
                expirations,
                errors,
                &counters.bytes_out,
                &counters.bytes_in,
            ];
            let numbers = numbers.map(u64::to_string).join(" ");
            args.extend(args!["count", name.as_str(), "", "", "", "", numbers, "", ""]);
        }
        Op::Reset(name) => {
            let name = name.as_ref().map_or("", Namespace::as_str);
            args.extend(args!["reset", name, "", "", "", "", "", "", ""]);
        }
        Op::Clear { namespace, now, drop } => {
            let way = if *drop { "drop" } else { "" };
            args.extend(args!["clear", namespace.as_str(), "", "", time(*now), due(*now), way, "", ""]);
        }
        Op::Purge { now, limit } => {
            let limit = limit.to_string();
            args.extend(args!["purge", "", "", "", time(*now), due(*now), limit, "", ""]);
        }
        Op::Forget(blobs) => {
            let blobs: String = blobs.iter().map(BlobId::to_string).collect();
            args.extend(args!["forget", "", "", "", "", "", blobs, "", ""]);
        }
        Op::Condemn { blobs, now } => {
            let blobs: String = blobs.iter().map(BlobId::to_string).collect();
            let until = time(*now + CONDEMNED_FOR);
            args.extend(args!["condemn", "", "", "", time(*now), until, blobs, "", ""]);
        }
    }
    Ok(())
}

fn unknown() -> Error {
    Error::new(ErrorKind::Unsupported, "this backend does not know a change that was asked for")
}

fn condition(condition: Condition) -> Result<String> {
    Ok(match condition {
        Condition::Always => "always".to_owned(),
        Condition::Absent => String::new(),
        Condition::Version(version) => layout::version(version),
        _ => return Err(unknown()),
    })
}

fn read_outcome(op: &Op, reply: &mut Reply, done: &mut Done) -> Result<()> {
    if let Op::Purge { .. } = op {
        let (expired, reclaimed, more) = (reply.number()?, reply.number()?, reply.flag()?);
        let mut keys = reply.list()?;
        let mut named = Vec::with_capacity(keys.left());
        while keys.left() > 0 {
            let mut one = keys.list()?;
            let (name, key) = (one.text()?, one.bytes()?);
            if let Some(key) = String::from_utf8(key).ok().and_then(|key| Key::new(&key).ok()) {
                named.push((Namespace::new(name)?, key));
            }
        }
        done.purged = Purged::new(expired, reclaimed, more).with_expired_keys(named);
        return Ok(());
    }
    let made = reply.flag()?;
    match op {
        Op::Change(_) => {
            let previous = read_version(reply)?;
            if !made {
                done.outcomes.push(Outcome::skipped(previous));
            } else if reply.left() == 0 {
                done.outcomes.push(Outcome::applied(previous, None));
            } else {
                let outcome = Outcome::applied(previous, read_version(reply)?);
                done.outcomes.push(outcome.with_evicted(read_evicted(reply.list()?)?));
            }
        }
        Op::Evict { .. } => {
            reply.bytes()?;
            reply.bytes()?;
            done.evicted.extend(read_evicted(reply.list()?)?);
            done.more = reply.flag()?;
        }
        Op::Clear { .. } => {
            let removed = reply.number()?;
            done.cleared = made.then_some(removed);
        }
        Op::Count(..) | Op::Reset(_) | Op::Forget(_) | Op::Condemn { .. } | Op::Purge { .. } => {}
    }
    Ok(())
}

/// Checks the rank that an entry was given by a put or a touch.
fn check_rank(
    op: &Op,
    reply: &mut Reply,
    done: &Done,
    puts: &mut std::vec::IntoIter<String>,
    ranking: &Ranking,
    age: i64,
) -> Result<Option<Correction>> {
    let version = done.outcomes.last().and_then(|outcome| outcome.version);
    match op {
        Op::Change(Change::Put { entry, .. }) => {
            let header = puts.next().ok_or_else(unexpected)?;
            if reply.left() == 0 {
                return Ok(None);
            }
            let (rank, id) = (reply.bytes()?, reply.bytes()?);
            let Some(version) = version.filter(|_| !rank.is_empty()) else { return Ok(None) };
            let mut entry: Entry = entry.as_ref().clone();
            entry.version = version;
            Ok(rules::check_put(ranking, &entry, &header, (id, &rank), age))
        }
        Op::Change(Change::Touch { now, .. }) if reply.left() > 0 => {
            rules::check_use(ranking, &reply.bytes()?, (*now, 1, age))
        }
        _ => Ok(None),
    }
}

fn read_version(reply: &mut Reply) -> Result<Option<Version>> {
    let digits = reply.bytes()?;
    if digits.is_empty() {
        return Ok(None);
    }
    layout::read_hex(&digits).map(|number| Some(Version(number))).ok_or_else(unexpected)
}

fn read_evicted(mut list: Reply) -> Result<Vec<Evicted>> {
    let mut evicted = Vec::with_capacity(list.left());
    while list.left() > 0 {
        let mut one = list.list()?;
        let (name, key) = (one.text()?, one.bytes()?);
        let reason = if one.bytes()? == b"expired" { EvictionReason::Expired } else { EvictionReason::Limit };
        // A key that is none is the key of a damaged entry, which is gone now and has nothing to be told.
        let key = String::from_utf8(key).ok().and_then(|key| Key::new(&key).ok());
        evicted.extend(
            key.map(|key| Ok::<_, Error>(Evicted::new(Namespace::new(&name)?, key, reason))).transpose()?,
        );
    }
    Ok(evicted)
}

fn read_candidates(list: &mut Reply) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    while list.left() > 0 {
        let (name, key, member) = (list.text()?, list.bytes()?, list.bytes()?);
        let version = member.get(..14).and_then(layout::read_hex).ok_or_else(unexpected)?;
        // Of a key that is damaged nobody has made any use.
        let key = String::from_utf8(key).unwrap_or_default();
        candidates.push(Candidate {
            namespace: Namespace::new(name)?,
            key,
            version: Version(version),
            member,
        });
    }
    Ok(candidates)
}

/// The error for a call that is over the limits, or names a blob that was swept away.
fn refusal(status: &str, about: &mut Reply) -> Result<Error> {
    if status == "CONDEMNED" {
        return Ok(condemned());
    }
    let name = about.text()?;
    let error = match status {
        "FITS" | "REFUSED" => {
            let mut limits = Limits::unbounded();
            (limits.max_entries, limits.max_bytes) = (about.maybe()?, about.maybe()?);
            if status == "REFUSED" {
                limits.refusal()
            } else {
                limits.check_fits(about.number()?).err().ok_or_else(unexpected)?
            }
        }
        "OWN" => {
            let whose =
                if name.is_empty() { "the cache".to_owned() } else { format!("the namespace `{name}`") };
            let message = format!(
                "the {} values of one call have {} bytes, which is over the limits of {whose}; put them in several calls",
                about.number()?,
                about.number()?
            );
            Error::new(ErrorKind::LimitExceeded, message)
        }
        _ => return Err(unexpected()),
    };
    Ok(if name.is_empty() { error } else { error.with_context("namespace", name) })
}
