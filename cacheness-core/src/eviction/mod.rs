//! Eviction: how much a cache may hold, and who goes first when that is reached.

mod builtin;
mod limits;
mod ranking;

use crate::entry::Entry;
use crate::names::Timestamp;

pub use builtin::{Fifo, Lfu, Lru, NoEviction, Size, Ttl};
pub use limits::{Limits, LimitsChange};
pub use ranking::{EvictionPolicies, Ranking};

/// Who is evicted first when a limit is reached: a rank for each entry, which the metadata backends keep in an index.
///
/// What has expired goes first, then entries of a lower priority before those of a higher one, whatever the policy.
/// Among those of one priority, the entry with the lowest rank goes first.
///
/// ```
/// use cacheness::{CacheBuilder, Entry, EvictionPolicy, Limits, Registry};
///
/// /// Evicts first what was computed fastest, as the application has noted in the custom field `ms`.
/// struct Cheapest;
///
/// impl EvictionPolicy for Cheapest {
///     fn name(&self) -> &str {
///         "cheapest"
///     }
///
///     fn rank(&self, entry: &Entry, _: i64) -> i64 {
///         entry.custom.get("ms").and_then(|ms| ms.as_i64()).unwrap_or(0)
///     }
/// }
///
/// let registry = Registry::builtin().with_eviction_policy(Cheapest)?;
/// let cache = CacheBuilder::new(registry)
///     .limits(Limits::unbounded().max_entries(1_000).policy("cheapest"))
///     .open_blocking()?;
/// cache.put("answer", &42)?;
/// # Ok::<(), cacheness::Error>(())
/// ```
///
/// # What callers guarantee
/// - An entry is ranked when it is put, when it was used or touched, and when a cache takes this policy in place of
///   another.
/// - A panic is caught: it is logged, and the entry is taken to be of no worth. Nothing else comes of it.
///
/// # What an implementer must keep
/// - The rank depends on nothing but the arguments: the processes that share a cache rank its entries together, and
///   ranks are stored. A policy that ranks otherwise than before gets another name.
/// - It is quick, waits for nothing and does not use the cache: a put holds the backend's lock while it ranks.
pub trait EvictionPolicy: Send + Sync + 'static {
    /// The name by which configurations choose it. It is stored in the cache: at most 255 bytes.
    fn name(&self) -> &str;

    /// What it is, in one sentence. For listings.
    fn description(&self) -> &str {
        ""
    }

    /// The rank of an entry as it is: of two with the same priority, the one with the lower rank is evicted first.
    ///
    /// `age` is the highest rank of any victim of a limit since the cache took this policy, 0 at first. A rank that
    /// adds to it lets old fame fade: what is new starts where the last victim stood.
    fn rank(&self, entry: &Entry, age: i64) -> i64;

    /// The rank of an entry after it was used or touched; `rank` is what it had before. Unless told otherwise it keeps
    /// it.
    ///
    /// Uses are gathered, so that one call may stand for many, and a call comes late. It must never be lower for more
    /// or later uses.
    fn rank_after_use(&self, rank: i64, used: &EntryUse) -> i64 {
        let _ = used;
        rank
    }

    /// True for a policy that evicts nothing but what has expired: a put past a limit is then an error of kind
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded). Its ranks mean nothing.
    fn refuses(&self) -> bool {
        false
    }
}

/// What an [`EvictionPolicy`] is told about an entry that was used or touched.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryUse {
    /// When it was last used.
    pub accessed_at: Timestamp,
    /// How often it was used since it was ranked.
    pub hits: u64,
    /// How often it was used in all, these times included.
    pub total_hits: u64,
    /// The bytes that it occupies.
    pub stored_size: u64,
    /// When it expires now; `None` for an entry that does not.
    pub expires_at: Option<Timestamp>,
    /// As in [`EvictionPolicy::rank`].
    pub age: i64,
}

impl EntryUse {
    /// So many uses, the last one at `accessed_at`, of an entry of which all else is 0.
    #[must_use]
    pub fn new(accessed_at: Timestamp, hits: u64) -> Self {
        Self { accessed_at, hits, total_hits: hits, stored_size: 0, expires_at: None, age: 0 }
    }
}
