//! Queries over the entries of a cache: listing them in pages, counting them, and removing what matches.

use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use super::Engine;
use super::counting::Tenant;
use super::inspect::EntryInfo;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::{
    Change, Condition, Cursor, Direction, FieldComparison, Glob, ListOrder, ListQuery, Page, yield_now,
};
use crate::names::Timestamp;

/// How often one page asks the metadata backend for more where few entries match. Each time it looks at up to 4,000
/// entries, so this is a million.
const READS_PER_PAGE: usize = 250;

/// How many entries are removed in one transaction.
const REMOVALS_AT_ONCE: usize = 500;

/// Which entries to list, count or remove. By default all of the namespace, by key, 1,000 a page.
///
/// Conditions of different kinds must all hold, and so must several tags and several filters. Of the other conditions
/// the last one that is given counts.
///
/// ```
/// use cacheness::blocking::Cache;
/// use cacheness::{ListOptions, ListOrder, PutOptions, field};
///
/// let cache = Cache::memory()?;
/// for (key, city) in [("user:1", "Oslo"), ("user:2", "Rome"), ("job:1", "Oslo")] {
///     cache.put_with(key, &1, PutOptions::new().tag("team:7").custom("address", [("city", city)]))?;
/// }
/// let page = cache.list(
///     ListOptions::new().glob("user:*").tag("team:7").filter(field("address[0][1]").eq("Oslo")),
/// )?;
/// assert_eq!(page.entries.len(), 1);
/// let newest = cache.list(ListOptions::new().order_by(ListOrder::Created).descending().limit(1))?;
/// assert_eq!(newest.entries[0].key.as_str(), "job:1");
/// # Ok::<(), cacheness::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ListOptions {
    prefix: String,
    glob: Option<String>,
    tags: Vec<String>,
    fields: Vec<FieldComparison>,
    size: (Bound<u64>, Bound<u64>),
    age: (Bound<Duration>, Bound<Duration>),
    valid: Option<bool>,
    order: ListOrder,
    direction: Direction,
    limit: Option<usize>,
    after: Option<Cursor>,
    all_namespaces: bool,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            glob: None,
            tags: Vec::new(),
            fields: Vec::new(),
            size: (Bound::Unbounded, Bound::Unbounded),
            age: (Bound::Unbounded, Bound::Unbounded),
            valid: None,
            order: ListOrder::Key,
            direction: Direction::Ascending,
            limit: None,
            after: None,
            all_namespaces: false,
        }
    }
}

impl ListOptions {
    /// All entries of the namespace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only keys that begin with this.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only keys that match this pattern as a whole: `*`, `?`, `[a-z]`, `[!a-z]` and `\`, as [`Glob`] says. What
    /// stands before the first sign narrows the search as a prefix does.
    #[must_use]
    pub fn glob(mut self, pattern: impl Into<String>) -> Self {
        self.glob = Some(pattern.into());
        self
    }

    /// Only entries with this tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Only entries with all of these tags.
    #[must_use]
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Only entries whose custom fields meet this: `filter(field("region.city").eq("Oslo"))`.
    /// [`FieldPath`](crate::FieldPath) says how a field is named, [`FieldCondition`](crate::FieldCondition) how values
    /// compare.
    #[must_use]
    pub fn filter(mut self, comparison: FieldComparison) -> Self {
        self.fields.push(comparison);
        self
    }

    /// Only values of such a length in bytes, before compression: `size(1_000_000..)`, `size(..=100)`.
    #[must_use]
    pub fn size(mut self, bytes: impl RangeBounds<u64>) -> Self {
        self.size = (bytes.start_bound().cloned(), bytes.end_bound().cloned());
        self
    }

    /// Only values that were put so long ago: `age(Duration::from_secs(3600)..)` are those of an hour and older.
    #[must_use]
    pub fn age(mut self, age: impl RangeBounds<Duration>) -> Self {
        self.age = (age.start_bound().cloned(), age.end_bound().cloned());
        self
    }

    /// Only entries that may be served (`true`) or may not (`false`).
    #[must_use]
    pub fn valid(mut self, valid: bool) -> Self {
        self.valid = Some(valid);
        self
    }

    /// Sorts by this rather than by key.
    ///
    /// Backends that have no index for it, as the built-in ones do not, look at every entry for each page.
    #[must_use]
    pub fn order_by(mut self, order: ListOrder) -> Self {
        self.order = order;
        self
    }

    /// Lists from the last to the first: the largest, the newest, the most used.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.direction = Direction::Descending;
        self
    }

    /// At most so many entries on the page, from 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Goes on where the page before ended, which was listed with the same options.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// The entries of all namespaces, in the order of namespace and key. To list and to count only: what removes
    /// entries refuses it, so that a handle does not reach beyond its namespace by an option that was set elsewhere.
    #[must_use]
    pub fn all_namespaces(mut self) -> Self {
        self.all_namespaces = true;
        self
    }

    /// An error where the options reach beyond the namespace of the handle.
    pub(crate) fn check_own_namespace(&self) -> Result<()> {
        if self.all_namespaces {
            let message = "`remove_matching` removes from the namespace of its handle only; to remove from all namespaces, \
                           call `remove_matching_everywhere`";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(())
    }

    /// The most entries to take; an error where it is out of its range.
    fn checked_limit(&self) -> Result<Option<usize>> {
        match self.limit {
            Some(limit) if !(1..=ListQuery::MAX_PAGE).contains(&limit) => {
                let message =
                    format!("a page has 1 to {} entries; {limit} were asked for", ListQuery::MAX_PAGE);
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
            limit => Ok(limit),
        }
    }

    /// What to ask of the backend. Whether an entry is valid in all respects only the engine can tell.
    fn into_query(self, tenant: &Tenant, now: Timestamp) -> Result<ListQuery> {
        if let Some(cursor) = self.after.as_ref().filter(|cursor| cursor.order != self.order) {
            let message = format!(
                "the cursor is a place in a listing by {:?} and cannot go on with one by {:?}; sort as for the page \
                 that gave it",
                cursor.order, self.order
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let mut query = ListQuery::new();
        query.namespace = (!self.all_namespaces).then(|| tenant.namespace.clone());
        query.prefix = self.prefix;
        // What has expired is not valid, but what has not may be invalid for another reason.
        query.expired = self.valid.filter(|&valid| valid).map(|_| (false, now));
        query.filter.glob = self.glob.map(Glob::new).transpose()?;
        query.filter.tags = self.tags;
        query.filter.fields = self.fields.into_iter().map(FieldComparison::check).collect::<Result<_>>()?;
        query.filter.size = self.size;
        query.filter.created = (put_after(self.age.1, now), put_before(self.age.0, now));
        query.order = self.order;
        query.direction = self.direction;
        query.after = self.after;
        Ok(query)
    }
}

/// A part of a listing.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct EntryPage {
    /// The entries, in the order that was asked for.
    pub entries: Vec<EntryInfo>,
    /// Where the next page begins, for [`ListOptions::after`]; `None` at the end.
    pub next: Option<Cursor>,
    /// How many entries were left out because their records are damaged, whether the options ask for them or not.
    /// [`verify`](crate::Cache::verify) says which, and [`repair`](crate::Cache::repair) removes them.
    pub damaged: usize,
}

impl Engine {
    pub(crate) async fn list(&self, tenant: &Tenant, options: ListOptions) -> Result<EntryPage> {
        let limit = options.checked_limit()?.unwrap_or(ListQuery::MAX_PAGE);
        let valid = options.valid;
        let mut query = self.query(tenant, options).await?;
        let mut page = EntryPage::default();
        for _ in 0..READS_PER_PAGE {
            // What is filtered here is asked for by whole pages.
            query.limit = if valid.is_some() { ListQuery::MAX_PAGE } else { limit - page.entries.len() };
            let part = self.read_page(&query, valid).await;
            let part = self.count_failure(tenant, None, "list", part)?;
            page.damaged += part.damaged.len();
            self.found_damaged(&part.damaged, "list");
            let mut entries = part.entries.into_iter();
            while let Some(entry) = entries.next() {
                // Before pending uses are added: the backend knows the place by what it has stored.
                let place = (page.entries.len() + 1 == limit).then(|| Cursor::of(&entry, query.order));
                let info = self.inspect(entry).await;
                if valid.is_some_and(|valid| info.is_valid() != valid) {
                    continue;
                }
                page.entries.push(info);
                if place.is_some() {
                    page.next = place.filter(|_| entries.len() > 0 || part.next.is_some());
                    return Ok(page);
                }
            }
            query.after = part.next;
            if query.after.is_none() {
                break;
            }
            yield_now().await;
        }
        page.next = query.after;
        Ok(page)
    }

    /// Counts what matches; the order, the limit and the cursor of the options have no say.
    pub(crate) async fn count_matching(&self, tenant: &Tenant, mut options: ListOptions) -> Result<u64> {
        options.checked_limit()?;
        options.order = ListOrder::Key;
        options.direction = Direction::Ascending;
        options.after = None;
        let valid = options.valid;
        let mut query = self.query(tenant, options).await?;
        let mut count = 0;
        loop {
            let page = self.list_page(&query).await;
            let page = self.count_failure(tenant, None, "list", page)?;
            self.found_damaged(&page.damaged, "count_matching");
            count += self.as_valid_as(page.entries, valid).await.len() as u64;
            query.after = page.next;
            if query.after.is_none() {
                return Ok(count);
            }
            yield_now().await;
        }
    }

    /// Removes what matches, as many as the limit says, in the order of the options. Each entry is removed as it was
    /// found and not where it has been replaced since.
    pub(crate) async fn remove_matching(&self, tenant: &Tenant, mut options: ListOptions) -> Result<u64> {
        let limit = options.checked_limit()?;
        if limit.is_none() && options.after.is_none() {
            // All of them go, so they go in the order that is found fastest.
            options.order = ListOrder::Key;
            options.direction = Direction::Ascending;
        }
        // What waits to be written is not listed, and came before.
        let written = self.write_queued_first().await;
        self.count_failure(tenant, None, "remove", written)?;
        let valid = options.valid;
        let mut query = self.query(tenant, options).await?;
        let (mut left, mut removed) = (limit.unwrap_or(usize::MAX), 0);
        loop {
            query.limit = if valid.is_some() { ListQuery::MAX_PAGE } else { left.min(ListQuery::MAX_PAGE) };
            let page = crate::fallback::whole(self.read_page(&query, valid)).await;
            let page = self.count_failure(tenant, None, "list", page)?;
            self.found_damaged(&page.damaged, "remove_matching");
            let mut entries = self.as_valid_as(page.entries, valid).await;
            while left > 0 && !entries.is_empty() {
                let rest = entries.split_off(entries.len().min(left).min(REMOVALS_AT_ONCE));
                let gone = self.remove_as_found(tenant, entries).await?;
                left -= gone;
                removed += gone as u64;
                entries = rest;
            }
            query.after = page.next;
            if left == 0 || query.after.is_none() {
                return Ok(removed);
            }
            yield_now().await;
        }
    }

    /// One page of the backend. In another order than by key, each takes a walk over all entries, so that invalid ones,
    /// which are few and which the backend cannot tell, are gathered from all over by one.
    async fn read_page(&self, query: &ListQuery, valid: Option<bool>) -> Result<Page> {
        if valid != Some(false) || query.is_in_key_order() {
            return self.list_page(query).await;
        }
        let by_key = |query: ListQuery| async move {
            let mut page = self.list_page(&query).await?;
            page.entries = self.as_valid_as(page.entries, valid).await;
            Ok(page)
        };
        query.in_order(by_key).await
    }

    /// Removes entries in one transaction, those that still have the version that was read.
    async fn remove_as_found(&self, tenant: &Tenant, entries: Vec<Entry>) -> Result<usize> {
        let now = self.env.now();
        let change = |entry: &Entry| Change::Remove {
            namespace: entry.namespace.clone(),
            key: entry.key.as_str().to_owned(),
            condition: Condition::Version(entry.version),
            now,
        };
        let changes = entries.iter().map(change).collect();
        let applied = self.metadata.apply(changes).await;
        let outcomes = self.count_failure(tenant, None, "remove", applied)?;
        let mut removed = 0;
        for (entry, outcome) in entries.iter().zip(outcomes) {
            if outcome.applied {
                removed += 1;
                self.removed(&self.tenants.get(&entry.namespace), entry.key.as_str());
            }
        }
        self.flusher.mark();
        self.collect_fresh_garbage().await;
        Ok(removed)
    }

    /// Checks the options and makes them a query that the backend can answer.
    async fn query(&self, tenant: &Tenant, options: ListOptions) -> Result<ListQuery> {
        self.check_open()?;
        let query = options.into_query(tenant, self.env.now())?;
        self.check_readable(&query)?;
        self.metadata.capabilities().queries.check(&query, &self.metadata_name)?;
        if matches!(query.order, ListOrder::Accessed | ListOrder::Hits) {
            // The backend sorts by what it has stored.
            self.flush(true).await?;
        }
        Ok(query)
    }

    /// Those of the entries that are valid, or are not, where that is asked for.
    async fn as_valid_as(&self, entries: Vec<Entry>, valid: Option<bool>) -> Vec<Entry> {
        let Some(valid) = valid else { return entries };
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            if (self.state(&entry).await == super::EntryState::Valid) == valid {
                kept.push(entry);
            }
        }
        kept
    }
}

/// An entry that is at least so old was put by then.
fn put_before(youngest: Bound<Duration>, now: Timestamp) -> Bound<Timestamp> {
    match youngest {
        // What was put by a clock ahead of ours is of age 0, too.
        Bound::Included(Duration::ZERO) => Bound::Unbounded,
        other => other.map(|age| now - age),
    }
}

/// An entry that is at most so old was not put before then.
fn put_after(oldest: Bound<Duration>, now: Timestamp) -> Bound<Timestamp> {
    oldest.map(|age| now - age)
}
