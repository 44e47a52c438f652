//! A metadata backend with shorter words for what the cases do over and over.

use std::ops::Deref;
use std::sync::Arc;

use cacheness_core::{
    AccessBatch, BlobId, Change, Condition, Entry, EntryAccess, Evicted, Limits, LimitsChange, ListQuery,
    MetadataBackend, Namespace, Outcome, Purged, Stats, Timestamp, Version,
};

use super::subject::namespace;

/// How many entries are evicted in one call.
const EVICTED_PER_CALL: usize = 100;

/// A backend that was opened. All methods of [`MetadataBackend`] are there; those added here panic with the error
/// where a call fails, because a case that expects an error calls the backend's own method.
#[derive(Clone)]
pub struct Store(Arc<dyn MetadataBackend>);

impl Deref for Store {
    type Target = dyn MetadataBackend;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Store {
    /// Takes a backend.
    #[must_use]
    pub fn new(backend: Arc<dyn MetadataBackend>) -> Self {
        Self(backend)
    }

    /// Puts an entry, whatever is there.
    ///
    /// # Panics
    /// Where the call fails or the put was not made.
    pub async fn put(&self, entry: Entry) -> Outcome {
        let key = entry.key.clone();
        let outcome = self.put_if(entry, Condition::Always).await;
        assert!(outcome.applied, "a put with Condition::Always is always made, but that of {key:?} was not");
        outcome
    }

    /// Puts an entry where the condition holds.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn put_if(&self, entry: Entry, condition: Condition) -> Outcome {
        let now = entry.created_at;
        self.change(Change::Put { entry: Box::new(entry), condition, now }).await
    }

    /// Removes an entry where the condition holds.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn remove_if(&self, name: &str, key: &str, condition: Condition, now: Timestamp) -> Outcome {
        self.change(Change::Remove { namespace: namespace(name), key: key.to_owned(), condition, now }).await
    }

    /// Makes one change.
    ///
    /// # Panics
    /// Where the call fails or does not return one outcome.
    pub async fn change(&self, change: Change) -> Outcome {
        let mut outcomes = self.changes(vec![change]).await;
        assert_eq!(outcomes.len(), 1, "apply returns one outcome for each change");
        outcomes.remove(0)
    }

    /// Makes several changes in one call.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn changes(&self, changes: Vec<Change>) -> Vec<Outcome> {
        self.apply(changes).await.unwrap_or_else(|error| panic!("apply failed: {error}"))
    }

    /// Looks an entry up.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn get(&self, name: &str, key: &str) -> Option<Entry> {
        self.get_entry(&namespace(name), key)
            .await
            .unwrap_or_else(|error| panic!("get_entry failed: {error}"))
    }

    /// True where an entry is there.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn has(&self, name: &str, key: &str) -> bool {
        self.get(name, key).await.is_some()
    }

    /// The version of an entry that must be there.
    ///
    /// # Panics
    /// Where the call fails, or the entry is missing.
    pub async fn version(&self, name: &str, key: &str) -> Version {
        match self.get(name, key).await {
            Some(entry) => entry.version,
            None => panic!("the entry {key:?} in namespace {name:?} should be there and is not"),
        }
    }

    /// Lists everything that the query asks for, page by page.
    ///
    /// # Panics
    /// Where a call fails, a page is over its limit, or the pages do not end.
    pub async fn list(&self, query: &ListQuery) -> Vec<Entry> {
        let mut query = query.clone();
        let mut entries = Vec::new();
        for _ in 0..10_000 {
            let page = self
                .list_entries(&query)
                .await
                .unwrap_or_else(|error| panic!("list_entries failed: {error}"));
            assert!(
                page.entries.len() <= query.limit,
                "a page has at most as many entries as the query's limit"
            );
            entries.extend(page.entries);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return entries,
            }
        }
        panic!("list_entries went on for 10,000 pages: the last page's `next` must be None");
    }

    /// The keys of a namespace, as they are listed.
    ///
    /// # Panics
    /// Where a call fails.
    pub async fn keys(&self, name: &str) -> Vec<String> {
        let mut query = ListQuery::new();
        query.namespace = Some(namespace(name));
        self.list(&query).await.into_iter().map(|entry| entry.key.as_str().to_owned()).collect()
    }

    /// The statistics of a namespace.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn stats_of(&self, name: &str) -> Stats {
        self.stats(Some(&namespace(name))).await.unwrap_or_else(|error| panic!("stats failed: {error}"))
    }

    /// The statistics of all namespaces together.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn total(&self) -> Stats {
        self.stats(None).await.unwrap_or_else(|error| panic!("stats failed: {error}"))
    }

    /// Sets the limits of the cache, evicts until they hold, and returns what was evicted.
    ///
    /// # Panics
    /// Where a call fails, or there is always more to evict.
    pub async fn limit(&self, limits: Limits, now: Timestamp) -> Vec<Evicted> {
        self.limit_scope(None, limits, now).await
    }

    /// Sets the limits of one namespace, evicts until they hold, and returns what was evicted.
    ///
    /// # Panics
    /// Where a call fails, or there is always more to evict.
    pub async fn limit_namespace(&self, name: &str, limits: Limits, now: Timestamp) -> Vec<Evicted> {
        self.limit_scope(Some(&namespace(name)), limits, now).await
    }

    async fn limit_scope(&self, scope: Option<&Namespace>, limits: Limits, now: Timestamp) -> Vec<Evicted> {
        self.change_limits(scope, &limits.into())
            .await
            .unwrap_or_else(|error| panic!("change_limits failed: {error}"));
        let mut evicted = Vec::new();
        for _ in 0..10_000 {
            let step = self.evict(scope, now, EVICTED_PER_CALL).await;
            let step = step.unwrap_or_else(|error| panic!("evict failed: {error}"));
            assert!(step.evicted.len() <= EVICTED_PER_CALL, "evict keeps to its limit");
            evicted.extend(step.evicted);
            if !step.more {
                return evicted;
            }
        }
        panic!("evict still says `more` after 10,000 rounds");
    }

    /// The limits of the cache.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn limits(&self) -> Limits {
        let limits = self.change_limits(None, &LimitsChange::new()).await;
        limits.unwrap_or_else(|error| panic!("change_limits failed: {error}"))
    }

    /// Clears a namespace.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn clear_all(&self, name: &str) -> u64 {
        self.clear(&namespace(name)).await.unwrap_or_else(|error| panic!("clear failed: {error}"))
    }

    /// Purges once.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn purge_once(&self, now: Timestamp, limit: usize) -> Purged {
        self.purge(now, limit).await.unwrap_or_else(|error| panic!("purge failed: {error}"))
    }

    /// Purges until nothing is left to do, and returns how many entries had expired and how many were reclaimed.
    ///
    /// # Panics
    /// Where a call fails, or there is always more to do.
    pub async fn purge_all(&self, now: Timestamp) -> (u64, u64) {
        let (mut expired, mut reclaimed) = (0, 0);
        for _ in 0..10_000 {
            let purged = self.purge_once(now, 100).await;
            expired += purged.expired;
            reclaimed += purged.reclaimed;
            if !purged.more {
                return (expired, reclaimed);
            }
        }
        panic!("purge still says `more` after 10,000 rounds");
    }

    /// The blobs that may be deleted at `now`, sorted.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn due(&self, now: Timestamp) -> Vec<BlobId> {
        let mut due =
            self.due_garbage(now, 10_000).await.unwrap_or_else(|error| panic!("due_garbage failed: {error}"));
        due.sort();
        due
    }

    /// Records uses of one entry.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn used(&self, name: &str, key: &str, version: Version, accessed_at: Timestamp, hits: u64) {
        let access = EntryAccess::new(namespace(name), key, version, accessed_at, hits);
        self.record(AccessBatch { counters: Vec::new(), accesses: vec![access] }).await;
    }

    /// Records a batch.
    ///
    /// # Panics
    /// Where the call fails.
    pub async fn record(&self, batch: AccessBatch) {
        self.record_accesses(batch).await.unwrap_or_else(|error| panic!("record_accesses failed: {error}"));
    }
}
