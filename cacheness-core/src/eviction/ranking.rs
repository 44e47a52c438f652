//! Policies as backends call them: found by name, and guarded against what a policy may do.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{EntryUse, EvictionPolicy, Fifo, Lfu, Lru, NoEviction, Size, Ttl};
use crate::config::{list, nearest};
use crate::entry::Entry;
use crate::env::foreign;
use crate::error::{Error, ErrorKind, Result};

/// The eviction policies that a cache knows, by name. The registry that a cache was opened with gives them.
#[derive(Clone, Debug)]
pub struct EvictionPolicies(Arc<BTreeMap<String, Ranking>>);

impl EvictionPolicies {
    /// Those that come with the crate.
    #[must_use]
    pub fn builtin() -> Self {
        let parts: [Arc<dyn EvictionPolicy>; 6] = [
            Arc::new(Lru),
            Arc::new(Lfu),
            Arc::new(Fifo),
            Arc::new(Ttl),
            Arc::new(Size),
            Arc::new(NoEviction),
        ];
        Self::new(parts.into_iter().map(|part| (part.name().to_owned(), part)))
    }

    pub(crate) fn new(parts: impl Iterator<Item = (String, Arc<dyn EvictionPolicy>)>) -> Self {
        Self(Arc::new(parts.map(|(name, part)| (name.clone(), Ranking::new(name, part))).collect()))
    }

    /// The policy of this name, that a cache's limits have.
    ///
    /// # Errors
    /// [`ErrorKind::NotRegistered`]; the message lists the names that are known, and the nearest, and says what to do.
    pub fn get(&self, name: &str) -> Result<Ranking> {
        self.0.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let hint = if known.is_empty() {
                "none is".to_owned()
            } else {
                format!("known are {}{}", list(&known), nearest(name, &known))
            };
            let message = format!(
                "the cache has the eviction policy `{name}`, which is not registered; {hint}. Register it, or open the \
                 cache with limits that name another"
            );
            Error::new(ErrorKind::NotRegistered, message)
        })
    }
}

/// An [`EvictionPolicy`] as metadata backends call it: it does not panic.
#[derive(Clone)]
pub struct Ranking {
    name: Arc<str>,
    refuses: bool,
    policy: Arc<dyn EvictionPolicy>,
}

impl Ranking {
    fn new(name: String, policy: Arc<dyn EvictionPolicy>) -> Self {
        let refuses = guarded(&name, || policy.refuses()).unwrap_or(false);
        Self { name: name.into(), refuses, policy }
    }

    /// The name by which the policy was registered.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True where nothing is evicted but what has expired; see [`EvictionPolicy::refuses`].
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.refuses
    }

    /// As [`EvictionPolicy::rank`]; the lowest rank where the policy panics.
    #[must_use]
    pub fn rank(&self, entry: &Entry, age: i64) -> i64 {
        guarded(&self.name, || self.policy.rank(entry, age)).unwrap_or(i64::MIN)
    }

    /// As [`EvictionPolicy::rank_after_use`]; the same rank as before where the policy panics.
    #[must_use]
    pub fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
        guarded(&self.name, || self.policy.rank_after_use(rank, used)).unwrap_or(rank)
    }
}

fn guarded<T>(name: &str, call: impl FnOnce() -> T) -> Option<T> {
    let result = foreign(|| catch_unwind(AssertUnwindSafe(call)));
    if result.is_err() {
        tracing::error!(policy = name, "an eviction policy panicked; the entry is taken to be of no worth");
    }
    result.ok()
}

/// Policies are the same where they have the same name.
impl PartialEq for Ranking {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Ranking {}

impl fmt::Debug for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ranking").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Timestamp;
    use crate::{Access, Format, FormatMeta, Key, Location, Namespace, TypeClass};

    struct Panics;

    impl EvictionPolicy for Panics {
        fn name(&self) -> &str {
            "panics"
        }

        fn rank(&self, _: &Entry, _: i64) -> i64 {
            panic!("rank")
        }

        fn rank_after_use(&self, _: i64, _: &EntryUse) -> i64 {
            panic!("rank_after_use")
        }

        fn refuses(&self) -> bool {
            panic!("refuses")
        }
    }

    #[test]
    fn a_policy_that_panics_ranks_lowest_and_evicts() {
        let ranking = Ranking::new("panics".into(), Arc::new(Panics));
        let format = Format {
            handler: "x".into(),
            class: TypeClass::Native,
            type_tag: None,
            type_version: None,
            type_name: "X".into(),
            meta: FormatMeta::default(),
            stages: Vec::new(),
            access: Access::Whole,
        };
        let now = Timestamp::from_nanos(1);
        let entry =
            Entry::new(Namespace::default(), Key::new("k").unwrap(), format, Location::InlineOmitted, now);
        assert_eq!(ranking.rank(&entry, 3), i64::MIN);
        assert_eq!(ranking.rank_after_use(7, &EntryUse::new(now, 1)), 7);
        assert!(!ranking.refuses());
    }

    #[test]
    fn an_unknown_policy_is_an_error_that_says_what_to_do() {
        let policies = EvictionPolicies::builtin();
        assert_eq!(policies.get("lru").unwrap().name(), "lru");
        let error = policies.get("lfuu").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotRegistered);
        let message = error.to_string();
        assert!(message.contains("did you mean `lfu`?") && message.contains("name another"), "{message}");
    }
}
