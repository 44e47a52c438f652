//! How much a cache or a namespace may hold, and how that is changed.

use crate::error::{Error, ErrorKind, Result};

/// How much a cache, or one of its namespaces, may hold, and who goes first. It holds whenever a put returns.
///
/// ```
/// use cacheness::Limits;
/// use cacheness::blocking::Cache;
///
/// let cache = Cache::memory()?;
/// cache.set_limits(Limits::unbounded().max_entries(10_000).policy("lfu"))?;
/// cache.namespace("api")?.set_namespace_limits(Limits::unbounded().max_bytes(1 << 20))?;
/// # Ok::<(), cacheness::Error>(())
/// ```
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// The most entries.
    pub max_entries: Option<u64>,
    /// The most bytes of stored values.
    pub max_bytes: Option<u64>,
    /// The name of the eviction policy; `None` leaves it as it is, `lru` in a new cache. A cache has one: a
    /// namespace's limits name none.
    pub policy: Option<String>,
}

impl Limits {
    /// The policy of a cache that was told of no other.
    pub const DEFAULT_POLICY: &str = "lru";

    /// No limit.
    #[must_use]
    pub fn unbounded() -> Self {
        Self::default()
    }

    /// Sets the most entries.
    #[must_use]
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Sets the most bytes of stored values.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Names the eviction policy: `lru`, `lfu`, `fifo`, `ttl`, `size`, `none`, or one that was registered.
    #[must_use]
    pub fn policy(mut self, name: impl Into<String>) -> Self {
        self.policy = Some(name.into());
        self
    }

    /// The name of the policy, or that of a new cache where none is named.
    #[must_use]
    pub fn policy_name(&self) -> &str {
        self.policy.as_deref().unwrap_or(Self::DEFAULT_POLICY)
    }

    /// True where there is a limit at all.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_entries.is_some() || self.max_bytes.is_some()
    }

    /// True where so many entries and bytes are over a limit.
    #[must_use]
    pub fn exceeded_by(&self, entries: u64, bytes: u64) -> bool {
        self.max_entries.is_some_and(|most| entries > most) || self.max_bytes.is_some_and(|most| bytes > most)
    }

    /// Checks that a value of this size fits at all. Backends call it before a put evicts anything for it.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`] where the value alone is over the limit.
    pub fn check_fits(&self, size: u64) -> Result<()> {
        match self.max_bytes {
            Some(most) if size > most => {
                let message =
                    format!("a value of {size} bytes is larger than the whole limit of {most} bytes");
                Err(Error::new(ErrorKind::LimitExceeded, message))
            }
            _ if self.max_entries == Some(0) => {
                Err(Error::new(ErrorKind::LimitExceeded, "the limit is 0 entries, so nothing can be put"))
            }
            _ => Ok(()),
        }
    }

    /// The error of a put past these limits where the policy evicts nothing.
    #[must_use]
    pub fn refusal(&self) -> Error {
        let most = match (self.max_entries, self.max_bytes) {
            (Some(entries), Some(bytes)) => format!("{entries} entries or {bytes} bytes"),
            (Some(entries), None) => format!("{entries} entries"),
            (None, Some(bytes)) => format!("{bytes} bytes"),
            (None, None) => "nothing".to_owned(),
        };
        let message = format!(
            "the limit of {most} is reached, and the eviction policy evicts nothing; remove something, raise the \
             limit, or name another policy"
        );
        Error::new(ErrorKind::LimitExceeded, message)
    }
}

/// What is to become of limits that are stored: what is not given stays.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LimitsChange {
    /// The most entries, where it is given; `Some(None)` lifts the limit.
    pub max_entries: Option<Option<u64>>,
    /// The most bytes of stored values, where it is given; `Some(None)` lifts the limit.
    pub max_bytes: Option<Option<u64>>,
    /// The eviction policy, where it is given.
    pub policy: Option<String>,
    /// What the limits are where none have been stored yet, before the change: those of a new cache.
    pub otherwise: Limits,
}

impl LimitsChange {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the limits are where none have been stored yet.
    #[must_use]
    pub fn otherwise(mut self, limits: Limits) -> Self {
        self.otherwise = limits;
        self
    }

    /// True where nothing is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.max_entries.is_none() && self.max_bytes.is_none() && self.policy.is_none()
    }

    /// The limits after the change; `stored` are those before, where there are some.
    #[must_use]
    pub fn apply(&self, stored: Option<&Limits>) -> Limits {
        let before = stored.unwrap_or(&self.otherwise);
        Limits {
            max_entries: self.max_entries.unwrap_or(before.max_entries),
            max_bytes: self.max_bytes.unwrap_or(before.max_bytes),
            policy: self.policy.clone().or_else(|| before.policy.clone()),
        }
    }
}

impl From<Limits> for LimitsChange {
    /// Gives everything but a policy that is not named.
    fn from(limits: Limits) -> Self {
        let Limits { max_entries, max_bytes, policy } = limits;
        Self {
            max_entries: Some(max_entries),
            max_bytes: Some(max_bytes),
            policy,
            otherwise: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_what_it_does_not_give() {
        let stored = Limits::unbounded().max_entries(5).policy("lfu");
        let otherwise = Limits::unbounded().max_bytes(10).policy("lru");
        let change = LimitsChange::new().otherwise(otherwise.clone());
        assert!(change.is_empty());
        assert_eq!(change.apply(Some(&stored)), stored);
        assert_eq!(change.apply(None), otherwise);
        let change = LimitsChange { max_bytes: Some(None), policy: Some("ttl".into()), ..change };
        assert_eq!(change.apply(None), Limits::unbounded().policy("ttl"));
        assert_eq!(change.apply(Some(&stored)), stored.clone().policy("ttl"));
        let all = LimitsChange::from(Limits::unbounded().max_bytes(3));
        assert_eq!(all.apply(Some(&stored)), Limits::unbounded().max_bytes(3).policy("lfu"));
    }

    #[test]
    fn a_refusal_names_the_limit() {
        let message = Limits::unbounded().max_entries(3).max_bytes(9).refusal().to_string();
        assert!(message.contains("3 entries or 9 bytes"), "{message}");
    }
}
