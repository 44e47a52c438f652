//! The limits and the policy as this process knows them, and what becomes of ranks by the policy.
//!
//! A policy is code of this process, and ranks are written by scripts on the server. So a call sends what it expects to
//! become of a rank, the script says what has become of it, and where the policy would have had it otherwise, the rank
//! is written once more. For the policies that come with the crate that is seldom so.

use cacheness_core::{Entry, EntryUse, EvictionPolicies, Limits, Ranking, Result, Timestamp, Version};

use super::failure::unexpected;
use super::layout::{ordered, read_expiry, read_hex, read_ordered};
use super::reply::Reply;

/// What the server last said of limits and ranks.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Which rules these are: a call that goes by others is answered with the new ones.
    pub(super) version: u64,
    /// Counts the times that entries were ranked anew. A rank is worth something only in its own epoch.
    pub(super) epoch: u64,
    /// True where entries have ranks.
    pub(super) ranked: bool,
    /// True while entries are ranked anew.
    pub(super) ranking: bool,
    /// How many namespaces have limits of their own.
    pub(super) limited: u64,
    /// The limits of the cache; `None` until they are first stored.
    pub(super) limits: Option<Limits>,
    /// The highest rank of any victim in this epoch.
    pub(super) age: i64,
}

impl Rules {
    pub(super) fn read(mut reply: Reply) -> Result<Self> {
        let (version, epoch) = (reply.number()?, reply.number()?);
        let (ranked, ranking, limited) = (reply.flag()?, reply.flag()?, reply.number()?);
        let policy = reply.text()?;
        let mut limits = Limits::unbounded();
        (limits.max_entries, limits.max_bytes) = (reply.maybe()?, reply.maybe()?);
        let limits = (!policy.is_empty()).then(|| limits.policy(policy));
        Ok(Self { version, epoch, ranked, ranking, limited, limits, age: read_age(&mut reply)? })
    }

    pub(super) fn policy(&self) -> &str {
        self.limits.as_ref().map_or(Limits::DEFAULT_POLICY, Limits::policy_name)
    }

    /// True where there is a limit, of the cache or of a namespace.
    pub(super) fn are_limiting(&self) -> bool {
        self.limited > 0 || self.limits.as_ref().is_some_and(Limits::is_limited)
    }

    /// The policy that entries are ranked by, where they are and it is known here.
    pub(super) fn known_ranking(&self, policies: &EvictionPolicies) -> Option<Ranking> {
        if self.ranked { policies.get(self.policy()).ok() } else { None }
    }
}

pub(super) fn read_age(reply: &mut Reply) -> Result<i64> {
    read_ordered(&reply.bytes()?).ok_or_else(unexpected)
}

/// What is expected to become of a rank when its entry is used, as the script names it.
pub(super) fn form_of_use(ranking: Option<&Ranking>, at: Timestamp, hits: u64, age: i64) -> &'static str {
    const LOW: i64 = -(1 << 62);
    const EXPIRY: i64 = (1 << 61) + 7;
    let Some(ranking) = ranking else { return "keep" };
    let mut used = EntryUse::new(at, hits);
    used.expires_at = Some(Timestamp::from_nanos(EXPIRY));
    used.age = age;
    let rank = ranking.rank_after_use(LOW, &used);
    let more = i64::try_from(hits).unwrap_or(i64::MAX);
    match rank {
        LOW => "keep",
        EXPIRY => "expiry",
        rank if rank == at.as_nanos() => "latest",
        rank if rank == LOW.saturating_add(more) => "hits",
        _ => "keep",
    }
}

/// The rank of a new entry, and whether it is expected to be its version.
pub(super) fn rank_of_new(ranking: Option<&Ranking>, entry: &Entry, age: i64) -> (i64, &'static str) {
    const SAMPLE: u64 = (1 << 50) + 12_345;
    let Some(ranking) = ranking else { return (0, "given") };
    let mut sample = entry.clone();
    sample.version = Version(SAMPLE);
    let rank = ranking.rank(&sample, age);
    if rank == SAMPLE.cast_signed() { (rank, "version") } else { (rank, "given") }
}

/// A rank that a script wrote and that the policy would have otherwise.
#[derive(Debug)]
pub(super) struct Correction {
    pub(super) id: Vec<u8>,
    /// What a script compares to see whether the entry is still so.
    pub(super) state: Vec<u8>,
    pub(super) rank: i64,
}

/// Checks the rank of an entry that was used.
pub(super) fn check_use(
    ranking: &Ranking,
    answer: &[u8],
    (at, hits, age): (Timestamp, u64, i64),
) -> Result<Option<Correction>> {
    // As `use` in `scripts/changes.lua` puts it together.
    if answer.len() < 90 {
        return Ok(None);
    }
    let part = |from: usize, to: usize| &answer[from..to];
    let rank = |from| read_ordered(part(from, from + 16)).ok_or_else(unexpected);
    let (before, after) = (rank(0)?, rank(16)?);
    let mut used = EntryUse::new(at, hits);
    used.total_hits = read_hex(part(32, 46)).ok_or_else(unexpected)?;
    used.stored_size = read_hex(part(46, 60)).ok_or_else(unexpected)?;
    used.expires_at = read_expiry(part(60, 76)).ok_or_else(unexpected)?;
    used.age = age;
    let expected = ranking.rank_after_use(before, &used);
    if expected == after {
        return Ok(None);
    }
    let state = [part(76, 90), part(32, 46), part(60, 76), part(16, 32)].concat();
    Ok(Some(Correction { id: part(90, answer.len()).to_vec(), state, rank: expected }))
}

/// Checks the rank of an entry that was put under this version.
pub(super) fn check_put(
    ranking: &Ranking,
    entry: &Entry,
    header: &str,
    (id, rank): (Vec<u8>, &[u8]),
    age: i64,
) -> Option<Correction> {
    let expected = ranking.rank(entry, age);
    if ordered(expected).as_bytes() == rank {
        return None;
    }
    let version = super::layout::version(entry.version);
    let state = [version.as_bytes(), &header.as_bytes()[60..90], rank].concat();
    Some(Correction { id, state, rank: expected })
}
