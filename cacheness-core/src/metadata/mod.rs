//! Metadata backends: where entries live, and what can be asked of them.

mod changes;
mod damage;
mod eviction;
mod leases;
mod query;

use std::time::Duration;

use async_trait::async_trait;

use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{Limits, LimitsChange};
use crate::key::Key;
use crate::names::{BlobId, CacheId, Namespace, Timestamp, Version};
use crate::stats::{Counters, Stats};

pub use changes::{ChangeFeed, ChangeFeeds, Changed};
pub use damage::DamagedEntry;
pub use eviction::{Evicted, EvictionReason, Evictions};
pub use leases::Leases;
pub(crate) use query::yield_now;
pub use query::{
    Cursor, Direction, EntryFilter, Field, FieldComparison, FieldCondition, FieldPath, FieldStep, Glob,
    ListOrder, ListQuery, Page, QuerySupport, field,
};

/// Where entries live. One backend holds the entries of one cache: the first open draws its [`CacheId`].
///
/// # What callers guarantee
/// - Keys given as `&str` are valid [`Key`](crate::Key)s.
/// - A blob that an entry names was written in full before the entry is put.
///
/// # What an implementer must keep
/// - Each call is atomic: another process sees all of it or nothing, also after a crash in the middle.
/// - Each put gets a higher [`Version`] than all writes before it, in every process; none is used twice.
/// - The blob of an entry that is replaced, removed, evicted, cleared or purged becomes garbage in the same
///   transaction, due [`GARBAGE_DELAY`] later.
/// - Evictions and expirations are counted in their namespaces in the transaction that makes them. All other
///   counters come from the engine, by `record_accesses`.
/// - A put that names the blob of the entry that is there already, as one that is repeated because the answer was lost,
///   leaves that blob out of the garbage.
/// - A call ends within the backend's own time limit, and changes nothing any more once it has returned, with an error
///   either: it may be made again then. After `close`, every call is an error of kind
///   [`Closed`](crate::ErrorKind::Closed), and closing again does nothing.
/// - Names, keys and tags are data: no text in them means anything to the backend.
/// - An expired entry stays until it is purged, evicted or replaced; `get_entry` and `list_entries` return it.
/// - What is read back damaged is an error of kind [`Corrupted`](crate::ErrorKind::Corrupted), never a panic. One entry
///   whose record is damaged does not keep a listing from the others: it is named in [`Page::damaged`], and a change with
///   [`Condition::Version`] of the version given there removes it. One that a newer version wrote, of which
///   [`StoredEntry::decode`](crate::StoredEntry::decode) says [`Unsupported`](crate::ErrorKind::Unsupported), is no damage: a
///   lookup gives that error as it is, and a listing names it in the same place.
///
/// # Errors
/// Every method may fail with [`Unavailable`](crate::ErrorKind::Unavailable),
/// [`Timeout`](crate::ErrorKind::Timeout), [`StorageFull`](crate::ErrorKind::StorageFull),
/// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) or [`Io`](crate::ErrorKind::Io) as the store does.
///
/// A whole backend in an afternoon: implement the much smaller `cacheness_metadata::kv::KvStore` instead.
#[async_trait]
pub trait MetadataBackend: Send + Sync + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> MetadataCapabilities;

    /// The id of the cache whose entries these are.
    fn cache_id(&self) -> CacheId;

    /// Looks one entry up. It changes nothing.
    async fn get_entry(&self, namespace: &Namespace, key: &str) -> Result<Option<Entry>>;

    /// Looks several entries up; the answers stand in the order of the keys. On a server, one round trip.
    async fn get_entries(&self, namespace: &Namespace, keys: &[&str]) -> Result<Vec<Option<Entry>>>;

    /// Makes the changes in order, in one transaction: all of them or none. A change whose condition does not hold is
    /// left out, and its outcome says so.
    ///
    /// After an error of kind [`Timeout`](crate::ErrorKind::Timeout), [`Unavailable`](crate::ErrorKind::Unavailable),
    /// [`Io`](crate::ErrorKind::Io) or [`Unexpected`](crate::ErrorKind::Unexpected) it may be either: the answer to
    /// a commit can be lost. After any other error, none of them was made.
    ///
    /// The limits hold again when this returns, those of the cache and those of the namespaces, on a server to within
    /// what others have not committed yet. The limits are those that are stored, whoever set them. What is evicted for
    /// that goes in the order of [`evict`](Self::evict), and is never an entry that the same call puts: values that are
    /// over the limits by themselves are refused with [`LimitExceeded`](crate::ErrorKind::LimitExceeded), and nothing
    /// is evicted for them. So is a put past a limit where the policy [refuses](crate::EvictionPolicy::refuses).
    /// Where very many are to go, they go in transactions of their own before, each of which is short.
    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Outcome>>;

    /// One page of the entries that the query asks for, at most [`ListQuery::MAX_PAGE`], in the query's order: first
    /// the order's value, then namespace and key, both by bytes.
    ///
    /// - `next` is `None` only at the end. A page may be shorter than asked for, or empty, and yet have a `next`: where
    ///   few entries match, the backend ends it after a bounded number of reads, and the engine goes on. Without a
    ///   filter, pages by key are full unless records are long, and the last one has no `next`.
    /// - Not a snapshot: each page, and each read of up to 1,000 rows, is made for itself. An entry that is there and
    ///   unchanged from the first page to the last is listed once, whatever happens to others.
    /// - The engine asks only for what [`MetadataCapabilities::queries`] names. [`ListQuery::matches`] and
    ///   [`ListQuery::in_order`] are there for what a backend has no index for.
    /// - Inline bytes may be left out ([`Location::InlineOmitted`](crate::Location::InlineOmitted)).
    async fn list_entries(&self, query: &ListQuery) -> Result<Page>;

    /// Adds to the statistics, and to the hits and access times of those entries that still have the version
    /// they were read at: all of it or nothing. The engine gives at most 500 entries a call.
    async fn record_accesses(&self, batch: AccessBatch) -> Result<()>;

    /// The statistics of one namespace, or of all together. The effort does not grow with the number of entries.
    async fn stats(&self, namespace: Option<&Namespace>) -> Result<Stats>;

    /// Sets the counters of one namespace, or of all, to zero.
    async fn reset_stats(&self, namespace: Option<&Namespace>) -> Result<()>;

    /// The namespaces that exist, sorted by name. A namespace exists from the first write to it until dropped.
    async fn namespaces(&self) -> Result<Vec<Namespace>>;

    /// Removes all entries of a namespace and returns how many there were. The effort does not grow with their
    /// number: what they occupied is taken back bit by bit by `purge`. The counters stay.
    async fn clear(&self, namespace: &Namespace) -> Result<u64>;

    /// Removes a namespace with its entries, its counters and its limits. Returns how many entries there were, or `None`
    /// where there was no such namespace.
    async fn drop_namespace(&self, namespace: &Namespace) -> Result<Option<u64>>;

    /// Removes entries that have expired at `now`, and what cleared namespaces left behind, `limit` at most. Says which
    /// entries had expired.
    async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged>;

    /// Up to `limit` blobs whose garbage delay is over at `now`. Only those whose superseding write is durable.
    async fn due_garbage(&self, now: Timestamp, limit: usize) -> Result<Vec<BlobId>>;

    /// Forgets garbage whose blobs have been deleted. Where entries and blobs lie in the process's memory they are deleted
    /// at once: the engine asks for what is due at the end of the delay.
    async fn forget_garbage(&self, blobs: &[BlobId]) -> Result<()>;

    /// Which of these blobs no entry names, and the garbage neither; 16,384 at most are asked for at once. Entries of
    /// cleared namespaces whose room is not taken back yet still name theirs.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported), unless implemented: such a cache cannot be swept.
    async fn unnamed(&self, blobs: &[BlobId]) -> Result<Vec<BlobId>> {
        let _ = blobs;
        Err(not_swept())
    }

    /// Notes that these blobs, 16,384 at most, are about to be deleted, for [`CONDEMNED_FOR`] from `now`. From when this
    /// returns, a put of an entry that names one of them is an error of the kind
    /// [`Conflict`](crate::ErrorKind::Conflict), and every put that did not know of the note has ended.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported), unless implemented: such a cache cannot be swept.
    async fn condemn(&self, blobs: &[BlobId], now: Timestamp) -> Result<()> {
        let _ = (blobs, now);
        Err(not_swept())
    }

    /// Changes the limits of the cache, or of one namespace, for every later put of all processes, in one transaction,
    /// and returns what they are now. It evicts nothing. Where nothing is given, the limits of a namespace are only
    /// read, and those of the cache are stored if none were.
    ///
    /// Entries are ranked anew where that is needed, in transactions that are each short; none is lost by that, and the
    /// limits hold meanwhile.
    ///
    /// # Errors
    /// [`NotRegistered`](crate::ErrorKind::NotRegistered) where there is a limit and the policy is not known here.
    async fn change_limits(&self, namespace: Option<&Namespace>, change: &LimitsChange) -> Result<Limits>;

    /// Evicts up to `limit` entries from a cache that is over its limits, or from one namespace that is over its own: first
    /// what has expired, then by priority and rank. Entries that this process has used are ranked by that first. A
    /// policy that refuses evicts only what has expired.
    async fn evict(&self, namespace: Option<&Namespace>, now: Timestamp, limit: usize) -> Result<Evictions>;

    /// Says whether the store answers, at the least expense: on a server, one round trip. A store in this process has
    /// nothing to ask.
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// The leases that processes share through this backend, where it has them.
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// The feed of changes that other processes make, where it has one.
    fn changes(&self) -> Option<&dyn ChangeFeeds> {
        None
    }

    /// Finishes what is pending and lets go of files and connections.
    async fn close(&self) -> Result<()>;
}

/// How long a superseded blob is kept before it may be deleted.
pub const GARBAGE_DELAY: Duration = Duration::from_secs(60);

/// How long it is known that a blob was swept away, so that no entry comes to name it.
pub const CONDEMNED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn not_swept() -> Error {
    Error::new(ErrorKind::Unsupported, "the metadata backend cannot tell which blobs no entry names")
}

/// The error of a put whose blob was [condemned](MetadataBackend::condemn).
#[doc(hidden)]
#[must_use]
pub fn condemned() -> Error {
    let message = "the value's blob was swept away before the put was done: it took longer than blobs without entries \
                   are kept; put the value again";
    Error::new(ErrorKind::Conflict, message)
}

/// What a metadata backend can do.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetadataCapabilities {
    /// Entries are there again after the process has ended.
    pub persistent: bool,
    /// The longest value, in bytes, that is stored with its entry rather than as a blob.
    pub inline_limit: u64,
    /// Calls need a Tokio runtime, for sockets or timers. Then they are made on the cache's own, as those to a
    /// [remote](crate::RemoteCalls) backend.
    pub needs_runtime: bool,
    /// Which parts of a query [`list_entries`](MetadataBackend::list_entries) answers.
    pub queries: QuerySupport,
    /// Other machines may have the same entries. Then the backend is [remote](crate::RemoteCalls).
    pub shared: bool,
}

impl MetadataCapabilities {
    /// A backend in the process's memory: nothing persists, up to 32 KiB go inline, no runtime is needed, and queries
    /// have no parts but those of every backend.
    #[must_use]
    pub fn volatile() -> Self {
        Self {
            persistent: false,
            inline_limit: 32 * 1024,
            needs_runtime: false,
            queries: QuerySupport::none(),
            shared: false,
        }
    }

    /// A backend whose entries outlive the process; otherwise as [`volatile`](Self::volatile).
    #[must_use]
    pub fn persistent() -> Self {
        Self { persistent: true, ..Self::volatile() }
    }

    /// Sets the longest value that is stored with its entry, in bytes.
    #[must_use]
    pub fn with_inline_limit(mut self, bytes: u64) -> Self {
        self.inline_limit = bytes;
        self
    }

    /// Says which parts of a query are answered.
    #[must_use]
    pub fn with_queries(mut self, queries: QuerySupport) -> Self {
        self.queries = queries;
        self
    }

    /// Says that other machines may have the same entries.
    #[must_use]
    pub fn with_shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Says that calls need a Tokio runtime.
    #[must_use]
    pub fn with_runtime(mut self) -> Self {
        self.needs_runtime = true;
        self
    }
}

/// One change to the entries.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Change {
    /// Stores an entry in place of the one under its key. Its version is issued by the backend.
    Put {
        /// The entry.
        entry: Box<Entry>,
        /// What must hold of the entry that is there.
        condition: Condition,
        /// When the put is made: the garbage delay of what it replaces counts from here, and what has expired by
        /// now is evicted first. The entry itself may be older.
        now: Timestamp,
    },
    /// Removes an entry.
    Remove {
        /// Its namespace.
        namespace: Namespace,
        /// Its key.
        key: String,
        /// What must hold of the entry that is there.
        condition: Condition,
        /// When the removal is made; the blob's garbage delay counts from here.
        now: Timestamp,
    },
    /// Changes when an entry expires, and counts as a use of it. Its version stays.
    Touch {
        /// Its namespace.
        namespace: Namespace,
        /// Its key.
        key: String,
        /// What must hold of the entry that is there.
        condition: Condition,
        /// What becomes of its expiry time.
        expiry: Expiry,
        /// When the touch is made.
        now: Timestamp,
    },
}

/// What a touch does to an entry's expiry time.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// Sets it; `None` for an entry that does not expire.
    Set(Option<Timestamp>),
    /// Moves it on by so much. An entry that does not expire stays so.
    Extend(Duration),
}

impl Expiry {
    /// The new expiry time of an entry whose present one is `current`. A backend calls this in the transaction that
    /// stores the result, so that of two extensions at once both count.
    #[must_use]
    pub fn after(self, current: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::Set(expires_at) => expires_at,
            Self::Extend(by) => current.map(|at| at + by),
        }
    }
}

/// What must hold of the entry under a key for a change to be made.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is none.
    Absent,
    /// It is the one that this write made.
    Version(Version),
}

impl Condition {
    /// True where the condition holds of an entry of version `current`.
    #[must_use]
    pub fn holds(self, current: Option<Version>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Version(version) => current == Some(version),
        }
    }
}

/// What became of one [`Change`].
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Outcome {
    /// False where the condition did not hold, or where there was nothing to remove or touch.
    pub applied: bool,
    /// The version of the entry that was there before.
    pub previous: Option<Version>,
    /// The version that a put was given.
    pub version: Option<Version>,
    /// What was evicted to make room.
    pub evicted: Vec<Evicted>,
}

impl Outcome {
    /// A change that was not made, because of what was there.
    #[must_use]
    pub fn skipped(previous: Option<Version>) -> Self {
        Self { previous, ..Self::default() }
    }

    /// A change that was made; `version` is what a put was given.
    #[must_use]
    pub fn applied(previous: Option<Version>, version: Option<Version>) -> Self {
        Self { applied: true, previous, version, evicted: Vec::new() }
    }

    /// Adds what was evicted to make room.
    #[must_use]
    pub fn with_evicted(mut self, evicted: Vec<Evicted>) -> Self {
        self.evicted = evicted;
        self
    }
}

/// Uses of entries and counts of events since the last batch.
#[derive(Clone, Debug, Default)]
pub struct AccessBatch {
    /// What to add to the counters of each namespace.
    pub counters: Vec<(Namespace, Counters)>,
    /// The entries that were used.
    pub accesses: Vec<EntryAccess>,
}

/// The uses of one entry since they were last recorded.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryAccess {
    /// The entry's namespace.
    pub namespace: Namespace,
    /// The entry's key.
    pub key: String,
    /// The entry's version when it was read.
    pub version: Version,
    /// When it was last read.
    pub accessed_at: Timestamp,
    /// How often it was read.
    pub hits: u64,
}

impl EntryAccess {
    /// `hits` uses of the entry of this version, the last of them at `accessed_at`.
    #[must_use]
    pub fn new(
        namespace: Namespace,
        key: impl Into<String>,
        version: Version,
        accessed_at: Timestamp,
        hits: u64,
    ) -> Self {
        Self { namespace, key: key.into(), version, accessed_at, hits }
    }
}

/// What [`MetadataBackend::purge`] did.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Purged {
    /// Entries removed because they had expired.
    pub expired: u64,
    /// Which entries these are, for those who listen to what the cache does. One whose key is damaged is left out.
    pub expired_keys: Vec<(Namespace, Key)>,
    /// Entries of cleared namespaces whose room was taken back.
    pub reclaimed: u64,
    /// True where there is more to do.
    pub more: bool,
}

impl Purged {
    /// What was removed, and whether more is left.
    #[must_use]
    pub fn new(expired: u64, reclaimed: u64, more: bool) -> Self {
        Self { expired, expired_keys: Vec::new(), reclaimed, more }
    }

    /// Says which entries had expired.
    #[must_use]
    pub fn with_expired_keys(mut self, keys: Vec<(Namespace, Key)>) -> Self {
        self.expired_keys = keys;
        self
    }
}
