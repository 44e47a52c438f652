//! The limits and the policy of a cache as a process knows them, and how a policy's ranks are told to the server, which
//! cannot ask the policy.

use cacheness_core::{Entry, EntryUse, Error, EvictionPolicies, Limits, Ranking, Result, Timestamp, Version};
use tokio_postgres::Row;

/// What a put goes by.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Rises with every change of limits.
    pub(super) revision: i64,
    /// Rises where entries are to be ranked anew.
    pub(super) epoch: i32,
    /// The limits of the cache; `None` until they are first stored.
    pub(super) limits: Option<Limits>,
    /// How many namespaces have limits.
    pub(super) limited: i32,
    policy: Option<Ranking>,
    policies: EvictionPolicies,
    /// How a use changes ranks.
    pub(super) way: Way,
}

/// How a use changes an entry's rank. What has a name here the server does by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i16)]
pub(super) enum Way {
    /// Not at all.
    Stays = 0,
    /// To the time of the use, if that is higher.
    LastUse = 1,
    /// By the number of uses.
    Uses = 2,
    /// To the time at which the entry expires.
    Expiry = 3,
    /// In a way that only the policy knows.
    Unknown = 4,
}

/// An entry's rank as a sum of which the server knows a part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RankSum {
    pub(super) base: i64,
    /// 1 where the version is to be added, 2 where the age is, 3 for both.
    pub(super) plus: i16,
}

impl Rules {
    /// Reads what the statement `Rules` gave.
    pub(super) fn read(row: &Row, policies: &EvictionPolicies) -> Result<Self, tokio_postgres::Error> {
        let name: Option<&[u8]> = row.try_get(0)?;
        let limits = name.map(|name| {
            let mut limits = limits(row.try_get(1)?, row.try_get(2)?);
            limits.policy = Some(String::from_utf8_lossy(name).into_owned());
            Ok::<_, tokio_postgres::Error>(limits)
        });
        let limits = limits.transpose()?;
        let policy = policies.get(limits.as_ref().map_or(Limits::DEFAULT_POLICY, Limits::policy_name)).ok();
        Ok(Self {
            revision: row.try_get(3)?,
            epoch: row.try_get(4)?,
            limited: row.try_get(5)?,
            way: policy.as_ref().map_or(Way::Stays, way_of),
            policies: policies.clone(),
            limits,
            policy,
        })
    }

    /// True where there is a limit, of the cache or of a namespace.
    pub(super) fn are_limiting(&self) -> bool {
        self.limited > 0 || self.limits.as_ref().is_some_and(Limits::is_limited)
    }

    /// The policy, where it is known here.
    pub(super) fn known_ranking(&self) -> Option<&Ranking> {
        self.policy.as_ref()
    }

    /// The policy.
    ///
    /// # Errors
    /// `NotRegistered` where it is not known here.
    pub(super) fn ranking(&self) -> Result<Ranking> {
        match &self.policy {
            Some(policy) => Ok(policy.clone()),
            None => self.policies.get(self.policy_name()),
        }
    }

    /// Checks that a policy is known here.
    pub(super) fn known(&self, policy: &str) -> Result<()> {
        self.policies.get(policy).map(drop)
    }

    /// True where a put must know the policy, and it is not known here.
    pub(super) fn are_unknown(&self) -> bool {
        self.policy.is_none() && self.are_limiting()
    }

    pub(super) fn policy_name(&self) -> &str {
        self.limits.as_ref().map_or(Limits::DEFAULT_POLICY, Limits::policy_name)
    }

    /// True where nothing is evicted but what has expired.
    pub(super) fn refuses(&self) -> bool {
        self.policy.as_ref().is_some_and(Ranking::refuses)
    }

    /// The error of a put past the limits of the cache, or of a namespace.
    pub(super) fn refusal(entries: Option<u64>, bytes: Option<u64>) -> Error {
        let mut limits = Limits::unbounded();
        (limits.max_entries, limits.max_bytes) = (entries, bytes);
        limits.refusal()
    }
}

/// Limits as two columns have them.
pub(super) fn limits(entries: Option<i64>, bytes: Option<i64>) -> Limits {
    let mut limits = Limits::unbounded();
    limits.max_entries = entries.map(|most| most.max(0).unsigned_abs());
    limits.max_bytes = bytes.map(|most| most.max(0).unsigned_abs());
    limits
}

/// The rank of an entry that is about to be put. Its version and the age are known only to the server, so the policy is
/// asked for several of each: all that come with the crate add one of them, or none. A policy that uses them in another
/// way is asked with what they are about.
pub(super) fn rank_of(ranking: &Ranking, entry: &mut Entry) -> RankSum {
    const VERSION: u64 = 1 << 40;
    const STEP: i64 = 1_007;
    let mut rank = |version: u64, age: i64| {
        entry.version = Version(version);
        ranking.rank(entry, age)
    };
    let base = rank(VERSION, 0);
    let (later, older) = (rank(VERSION + STEP.unsigned_abs(), 0), rank(VERSION, STEP));
    entry.version = Version::default();
    let follows = |other: i64| other.checked_sub(base) == Some(STEP);
    let plus = i16::from(follows(later)) | i16::from(follows(older)) << 1;
    let base = if plus & 1 == 1 { base.saturating_sub(VERSION.cast_signed()) } else { base };
    RankSum { base, plus }
}

/// Finds out how uses change the ranks of a policy, by asking it about some.
fn way_of(ranking: &Ranking) -> Way {
    let ways = [Way::Stays, Way::LastUse, Way::Uses, Way::Expiry];
    let fits = |way: &Way| {
        samples().all(|(rank, used)| ranking.rank_after_use(rank, &used) == after(*way, rank, &used))
    };
    ways.into_iter().find(fits).unwrap_or(Way::Unknown)
}

/// The rank after a use, as the server's function makes it.
fn after(way: Way, rank: i64, used: &EntryUse) -> i64 {
    match way {
        Way::Stays | Way::Unknown => rank,
        Way::LastUse => rank.max(used.accessed_at.as_nanos()),
        Way::Uses => rank.saturating_add(i64::try_from(used.hits).unwrap_or(i64::MAX)),
        Way::Expiry => used.expires_at.map_or(i64::MAX, Timestamp::as_nanos),
    }
}

/// Uses of all kinds, that differ in every field.
fn samples() -> impl Iterator<Item = (i64, EntryUse)> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 20) % below
    };
    (0..32).map(move |at| {
        let mut signed = |below| next(below).cast_signed();
        let scale = if at % 2 == 0 { 1 << 40 } else { 2_000 };
        let rank = signed(scale) - if at % 5 == 0 { 1_000 } else { 0 };
        let mut used = EntryUse::new(Timestamp::from_nanos(signed(scale)), 1 + next(50));
        used.total_hits = used.hits + next(1_000);
        used.stored_size = next(1 << 30);
        used.age = next(scale).cast_signed();
        used.expires_at = (at % 3 > 0).then(|| Timestamp::from_nanos(next(scale).cast_signed()));
        (rank, used)
    })
}

#[cfg(test)]
mod tests {
    use cacheness_core::{EvictionPolicy, Format, Key, Location, Namespace, Register, Registry, TypeClass};

    use super::*;

    struct Odd;

    impl EvictionPolicy for Odd {
        fn name(&self) -> &str {
            "odd"
        }

        fn rank(&self, entry: &Entry, age: i64) -> i64 {
            age + 7 + i64::try_from(entry.version.0).unwrap_or(0)
        }

        fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
            rank.max(used.age + used.total_hits as i64)
        }
    }

    #[test]
    fn the_ways_of_the_built_in_policies_are_found_and_a_strangers_is_unknown() {
        let policies = EvictionPolicies::builtin();
        for (name, way) in [
            ("lru", Way::LastUse),
            ("lfu", Way::Uses),
            ("ttl", Way::Expiry),
            ("fifo", Way::Stays),
            ("size", Way::Stays),
            ("none", Way::Stays),
        ] {
            assert_eq!(way_of(&policies.get(name).unwrap()), way, "{name}");
        }
        assert_eq!(way_of(&odd()), Way::Unknown);
    }

    fn odd() -> Ranking {
        let mut registry = Registry::empty();
        registry.register_eviction_policy(Odd, Register::new()).unwrap();
        let context = cacheness_core::OpenContext::new(cacheness_core::Env::new()).with_policies(&registry);
        context.policies.get("odd").unwrap()
    }

    #[test]
    fn what_the_server_knows_is_left_to_it() {
        let policies = EvictionPolicies::builtin();
        let format = Format::named("x", TypeClass::Native);
        let now = Timestamp::from_nanos(5);
        let mut entry =
            Entry::new(Namespace::default(), Key::new("k").unwrap(), format, Location::InlineOmitted, now);
        entry.stored_size = 70;
        entry.hits = 3;
        for (name, base, plus) in [
            ("lru", 5, 0),
            ("lfu", 3, 2),
            ("fifo", 0, 1),
            ("ttl", i64::MAX, 0),
            ("size", -70, 0),
            ("none", 0, 0),
        ] {
            assert_eq!(rank_of(&policies.get(name).unwrap(), &mut entry), RankSum { base, plus }, "{name}");
        }
        assert_eq!(rank_of(&odd(), &mut entry), RankSum { base: 7, plus: 3 });
        assert_eq!(entry.version, Version::default());
    }
}
