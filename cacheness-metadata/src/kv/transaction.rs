//! Transactions over a store that only has conditional writes: what is read and changed is gathered, and written
//! only if the head is still the one that was read.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bytes::Bytes;
use cacheness_core::{
    AccessLog, EntryAccess, Error, ErrorKind, EvictionPolicies, Key, Namespace, PendingAccess, Ranking,
    Result, Version,
};
use tokio::sync::MutexGuard;

use super::eviction::Crowded;
use super::rows::{self, Head};
use super::{KvStore, WriteBatch, layout};

/// How often a write is tried. Each failure means that another process has made a write, so this many in a row are
/// a sign of a store whose conditions never hold.
const ATTEMPTS: u32 = 1_000;

/// Uses of entries that were taken from the log, to be written down with the transaction.
pub(super) type Taken = HashMap<(Namespace, Key, Version), PendingAccess>;

/// The attempts of one write. Other writers of this process wait while it exists.
pub(super) struct Attempts<'a> {
    store: &'a dyn KvStore,
    accesses: &'a AccessLog,
    policies: &'a EvictionPolicies,
    _turn: MutexGuard<'a, ()>,
    left: u32,
    taken: Taken,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        store: &'a dyn KvStore,
        (accesses, policies): (&'a AccessLog, &'a EvictionPolicies),
        turn: MutexGuard<'a, ()>,
    ) -> Self {
        Self { store, accesses, policies, _turn: turn, left: ATTEMPTS, taken: Taken::new() }
    }

    /// Begins the next attempt.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'a>> {
        let Some(read) = self.store.get(&layout::HEAD).await? else {
            return Err(rows::damage("the head of the entries is gone"));
        };
        let head = Head::decode(&read)?;
        Ok(Transaction {
            store: self.store,
            accesses: self.accesses,
            policies: self.policies,
            read,
            before: head.clone(),
            head,
            changes: BTreeMap::new(),
            available: self.taken.clone(),
            taken: std::mem::take(&mut self.taken),
            evictions_left: usize::MAX,
            victims: HashMap::new(),
            crowded: None,
            unranked: false,
        })
    }

    /// Writes what the transaction gathered; `None` where another process was quicker and it must be done again.
    pub(super) async fn finish<T>(
        &mut self,
        transaction: Transaction<'a>,
        result: Result<T>,
    ) -> Result<Option<T>> {
        let Transaction { read, before, mut head, changes, taken, available, .. } = transaction;
        self.taken = taken;
        let unchanged = changes.is_empty() && head == before;
        let written = match &result {
            Ok(_) if !unchanged => {
                // A head that differs after every write is what tells the others that there was one.
                head.sequence = head.sequence.saturating_add(1);
                let mut changes: Vec<_> = changes.into_iter().collect();
                let at = changes.partition_point(|(key, _)| *key < layout::HEAD);
                changes.insert(at, (layout::HEAD, Some(head.encode())));
                let conditions = vec![(layout::HEAD, Some(read))];
                self.store.write(WriteBatch { conditions, changes }).await?
            }
            // Reads in the middle of another process's writes may fail, or find what never was there at once.
            Ok(_) | Err(_) => self.store.get(&layout::HEAD).await? == Some(read),
        };
        if written {
            if !unchanged && result.is_ok() {
                // They are written down, so another write with these attempts must not count them again.
                self.taken = available;
            }
            return result.map(Some);
        }
        self.left -= 1;
        if self.left == 0 {
            let message =
                format!("other processes changed the entries during each of {ATTEMPTS} attempts to write");
            return Err(Error::new(ErrorKind::Unavailable, message).with_outcome_unknown(false));
        }
        Ok(None)
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        // What was not written down with them is still to be.
        for ((namespace, key, version), uses) in self.taken.drain() {
            let key = key.as_str().to_owned();
            self.accesses.put_back(EntryAccess::new(namespace, key, version, uses.accessed_at, uses.hits));
        }
    }
}

/// One attempt: it reads through what it has changed already.
pub(super) struct Transaction<'a> {
    store: &'a dyn KvStore,
    pub(super) accesses: &'a AccessLog,
    pub(super) policies: &'a EvictionPolicies,
    read: Bytes,
    pub(super) before: Head,
    pub(super) head: Head,
    changes: BTreeMap<Bytes, Option<Bytes>>,
    /// Uses that an earlier attempt took from the log.
    available: Taken,
    taken: Taken,
    /// How many entries may still be evicted; what takes more is done in transactions of its own.
    pub(super) evictions_left: usize,
    /// How many entries of each namespace were evicted, and how many bytes they had.
    pub(super) victims: HashMap<Namespace, (u64, u64)>,
    /// Set where more has to be evicted than may be.
    pub(super) crowded: Option<Crowded>,
    /// Set where a limit does not hold because entries are still to be ranked.
    pub(super) unranked: bool,
}

impl Transaction<'_> {
    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.store.get(key).await,
        }
    }

    pub(super) async fn scan(&self, range: Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        if self.changes.range(range.clone()).next().is_none() {
            return self.store.scan(range, limit).await;
        }
        // Of the stored rows as many more are read as may have been deleted here.
        let changes: Vec<_> = self.changes.range(range.clone()).collect();
        let deleted = changes.iter().filter(|(_, value)| value.is_none()).count();
        let stored = self.store.scan(range, limit.saturating_add(deleted)).await?;
        let mut rows: BTreeMap<Bytes, Bytes> = stored.into_iter().collect();
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        Ok(rows.into_iter().take(limit).collect())
    }

    pub(super) fn set(&mut self, key: Bytes, value: Bytes) {
        self.changes.insert(key, Some(value));
    }

    pub(super) fn unset(&mut self, key: Bytes) {
        self.changes.insert(key, None);
    }

    /// Forgets what was changed.
    pub(super) fn discard(&mut self) {
        self.changes.clear();
        self.head = self.before.clone();
    }

    /// A number that was never issued before.
    pub(super) fn next_number(&mut self) -> Result<u64> {
        match self.head.sequence.checked_add(1) {
            Some(next) => {
                self.head.sequence = next;
                Ok(next)
            }
            None => Err(rows::damage("the last number of the sequence has been issued")),
        }
    }

    /// The policy by which entries are ranked.
    pub(super) fn ranking(&self) -> Result<Ranking> {
        self.policies.get(self.head.policy())
    }

    /// What is stored under a key, without what was changed here.
    pub(super) async fn get_stored(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.store.get(key).await
    }

    /// The uses of an entry that are not recorded yet.
    pub(super) fn pending_uses(
        &self,
        namespace: &Namespace,
        key: &Key,
        version: Version,
    ) -> Option<PendingAccess> {
        let known = self.available.get(&(namespace.clone(), key.clone(), version)).copied();
        match self.accesses.pending(namespace, key.as_str(), version) {
            Some(more) => Some(add(known, more)),
            None => known,
        }
    }

    /// Takes the uses of an entry that are not recorded yet; what is taken is kept for a further attempt.
    pub(super) fn take_uses(
        &mut self,
        namespace: &Namespace,
        key: &Key,
        version: Version,
    ) -> Option<PendingAccess> {
        let id = (namespace.clone(), key.clone(), version);
        let mut uses = self.available.remove(&id);
        if let Some(fresh) = self.accesses.take(namespace, key.as_str(), version) {
            let sum = add(uses, fresh);
            uses = Some(sum);
            let kept = self.taken.get(&id).copied();
            self.taken.insert(id, add(kept, fresh));
        }
        uses
    }
}

fn add(known: Option<PendingAccess>, more: PendingAccess) -> PendingAccess {
    match known {
        None => more,
        Some(known) => PendingAccess {
            accessed_at: known.accessed_at.max(more.accessed_at),
            hits: known.hits.saturating_add(more.hits),
        },
    }
}
