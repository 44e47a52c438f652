//! What goes without being asked for by key: victims of the limits, expired entries, and what cleared generations
//! left behind.

use std::fmt;

use bytes::Bytes;
use cacheness_core::{
    Counters, Error, ErrorKind, Evicted, EvictionReason, Key, Limits, Namespace, Ranking, Result, Timestamp,
    Version,
};

use super::changes::{Found, Own};
use super::layout;
use super::rows::{self, EntryRow, NamespaceRow};
use super::transaction::Transaction;

/// How many rows of an index are read at once where most of them will do.
const AT_ONCE: usize = 16;

/// Whose limits are meant: the cache's, or those of a namespace, whose entries are in this generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Cache,
    Namespace(Namespace, u64),
}

impl Scope {
    fn has(&self, generation: u64) -> bool {
        match self {
            Self::Cache => true,
            Self::Namespace(_, own) => *own == generation,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache => f.write_str("the cache"),
            Self::Namespace(name, _) => write!(f, "the namespace `{name}`"),
        }
    }
}

/// What is to be added, and must find room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Room {
    entries: i64,
    bytes: i64,
}

/// Room that takes more evictions than one transaction makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Crowded {
    pub(super) scope: Scope,
    pub(super) room: Room,
}

/// An entry that a row of an index led to.
struct Candidate {
    namespace: Namespace,
    generation: u64,
    key: Key,
    row: EntryRow,
}

/// Which counter of its namespace an entry that goes belongs to.
type Count = fn(&mut Counters);

/// What a purge did, or one step of it.
#[derive(Default)]
pub(super) struct PurgeStep {
    pub(super) expired: Vec<(Namespace, Key)>,
    pub(super) reclaimed: u64,
    pub(super) more: bool,
}

impl Transaction<'_> {
    /// Evicts until the limits hold after a put of `own`, the last of them into this namespace.
    pub(super) async fn make_room(
        &mut self,
        name: &Namespace,
        generation: u64,
        now: Timestamp,
        own: &Own,
    ) -> Result<Vec<Evicted>> {
        let mut evicted = Vec::new();
        for scope in [Scope::Namespace(name.clone(), generation), Scope::Cache] {
            if !self.is_over(&scope, Room::default()).await? {
                continue;
            }
            self.check_own(&scope, own).await?;
            let most = self.evictions_left;
            let more = self.evict(&scope, now, own, (most, Room::default())).await?;
            self.evictions_left = self.evictions_left.saturating_sub(more.len());
            evicted.extend(more);
            if self.is_over(&scope, Room::default()).await? {
                if self.evictions_left == 0 {
                    self.crowded = Some(self.crowded_by(scope).await?);
                    return Err(Error::new(ErrorKind::Unexpected, "more is to be evicted before"));
                }
                if self.ranking()?.refuses() {
                    return Err(self.refusal(&scope).await?);
                }
                self.unranked |= self.head.ranking;
            }
        }
        Ok(evicted)
    }

    /// Checks that what one call puts is not over the limits by itself.
    async fn check_own(&self, scope: &Scope, own: &Own) -> Result<()> {
        let sizes = own.iter().filter(|((generation, _), _)| scope.has(*generation)).map(|(_, size)| *size);
        let (count, bytes) = (sizes.clone().count(), sizes.fold(0_u64, u64::saturating_add));
        if !self.limits_of(scope).await?.is_some_and(|limits| limits.exceeded_by(count as u64, bytes)) {
            return Ok(());
        }
        let message = format!(
            "the {count} values of one call have {bytes} bytes, which is over the limits of {scope}; put them in \
             several calls"
        );
        Err(Error::new(ErrorKind::LimitExceeded, message))
    }

    async fn refusal(&self, scope: &Scope) -> Result<Error> {
        let error = self.limits_of(scope).await?.unwrap_or_default().refusal();
        Ok(match scope {
            Scope::Cache => error,
            Scope::Namespace(name, _) => error.with_context("namespace", name.as_str()),
        })
    }

    async fn limits_of(&self, scope: &Scope) -> Result<Option<Limits>> {
        Ok(match scope {
            Scope::Cache => self.head.limits.clone(),
            Scope::Namespace(name, _) => self.namespace(name).await?.map(|namespace| namespace.limits),
        })
    }

    /// True where a cache or a namespace with so much more in it would be over its limits.
    pub(super) async fn is_over(&self, scope: &Scope, room: Room) -> Result<bool> {
        let add = |has: u64, more: i64| has.saturating_add_signed(more);
        Ok(match scope {
            Scope::Cache => {
                self.head.is_over(add(self.head.entries, room.entries), add(self.head.bytes, room.bytes))
            }
            Scope::Namespace(..) if self.head.limited == 0 => false,
            Scope::Namespace(name, generation) => self.namespace(name).await?.is_some_and(|row| {
                let (entries, bytes) = (add(row.entries, room.entries), add(row.bytes, room.bytes));
                row.generation == *generation && row.limits.exceeded_by(entries, bytes)
            }),
        })
    }

    /// What the call adds to a cache or a namespace, beside what it evicts.
    async fn crowded_by(&self, scope: Scope) -> Result<Crowded> {
        let (now, before, victims) = match &scope {
            Scope::Cache => {
                let victims = self.victims.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                let before = (self.before.entries, self.before.bytes);
                ((self.head.entries, self.head.bytes), before, victims)
            }
            Scope::Namespace(name, _) => {
                let of = |row: Option<NamespaceRow>| row.map_or((0, 0), |row| (row.entries, row.bytes));
                let before = self.get_stored(&layout::namespace(name.as_str())).await?;
                let before = before.as_ref().map(NamespaceRow::decode).transpose()?;
                let victims = self.victims.get(name).copied().unwrap_or_default();
                (of(self.namespace(name).await?), of(before), victims)
            }
        };
        let added = |now: u64, before: u64, victims: u64| {
            i64::try_from(i128::from(now) + i128::from(victims) - i128::from(before)).unwrap_or(i64::MAX)
        };
        let room =
            Room { entries: added(now.0, before.0, victims.0), bytes: added(now.1, before.1, victims.1) };
        Ok(Crowded { scope, room })
    }

    /// Evicts until so much more fits, `most` entries at most: first what has expired, then by priority and rank.
    pub(super) async fn evict(
        &mut self,
        scope: &Scope,
        now: Timestamp,
        own: &Own,
        (most, room): (usize, Room),
    ) -> Result<Vec<Evicted>> {
        let mut evicted = Vec::new();
        let ranking = self.ranking()?;
        let (expired, ranked) = match scope {
            Scope::Cache => (layout::until(layout::EXPIRY, now), layout::all(layout::RANK)),
            Scope::Namespace(_, generation) => {
                (layout::expired_in(*generation, now), layout::ranks_in(*generation))
            }
        };
        for (range, reason) in [(expired, EvictionReason::Expired), (ranked, EvictionReason::Limit)] {
            if reason == EvictionReason::Limit && ranking.refuses() {
                break;
            }
            let mut range = range;
            while self.is_over(scope, room).await? && evicted.len() < most {
                let rows = self.scan(range.clone(), AT_ONCE).await?;
                if rows.is_empty() {
                    break;
                }
                for (index, reference) in rows {
                    if evicted.len() == most || !self.is_over(scope, room).await? {
                        break;
                    }
                    range.start = layout::after(&index);
                    let Some(candidate) = self.candidate(index, &reference).await? else { continue };
                    if own.contains_key(&(candidate.generation, candidate.key.as_str().to_owned())) {
                        continue;
                    }
                    if reason == EvictionReason::Limit && self.spare(&ranking, &candidate).await? {
                        // It has a new row further on, perhaps among those that were read already.
                        break;
                    }
                    evicted.push(self.evict_one(candidate, reason, now).await?);
                }
            }
        }
        Ok(evicted)
    }

    /// Ranks a candidate anew where this process has used it since its rank was written.
    async fn spare(&mut self, ranking: &Ranking, candidate: &Candidate) -> Result<bool> {
        let Candidate { namespace: name, key, row, .. } = candidate;
        let version = Version(row.version);
        if row.epoch != self.head.epoch {
            return Ok(false);
        }
        let Some(uses) = self.pending_uses(name, key, version) else { return Ok(false) };
        let mut after = row.clone();
        after.hits = after.hits.saturating_add(uses.hits);
        if ranking.rank_after_use(row.rank, &self.use_of(&after, uses.accessed_at, uses.hits)) <= row.rank {
            return Ok(false);
        }
        let Some(namespace) = self.namespace(name).await? else { return Ok(false) };
        let Some(uses) = self.take_uses(name, key, version) else { return Ok(false) };
        self.used(name, &namespace, key.as_str(), row, row.clone(), uses.accessed_at, uses.hits);
        Ok(true)
    }

    async fn evict_one(
        &mut self,
        candidate: Candidate,
        reason: EvictionReason,
        now: Timestamp,
    ) -> Result<Evicted> {
        let Candidate { namespace, key, row, .. } = candidate;
        if reason == EvictionReason::Limit && row.epoch == self.head.epoch {
            self.head.age = self.head.age.max(row.rank);
        }
        let count: Count = match reason {
            EvictionReason::Limit => |counters| counters.evictions += 1,
            _ => |counters| counters.expirations += 1,
        };
        self.take_out_of(&namespace, &key, row, now, count).await?;
        Ok(Evicted::new(namespace, key, reason))
    }

    async fn take_out_of(
        &mut self,
        name: &Namespace,
        key: &Key,
        row: EntryRow,
        now: Timestamp,
        count: Count,
    ) -> Result<()> {
        let Some(mut namespace) = self.namespace(name).await? else {
            return Err(rows::damage("a namespace with entries has no row"));
        };
        let victims = self.victims.entry(name.clone()).or_default();
        *victims = (victims.0 + 1, victims.1.saturating_add(row.stored_size));
        self.take_out(&mut namespace, key.as_str(), Found::Entry(row), now);
        count(&mut namespace.counters);
        self.set(layout::namespace(name.as_str()), namespace.encode());
        Ok(())
    }

    /// The entry that a row of an index is about. Where there is none any more, what is left of it goes.
    async fn candidate(&mut self, index: Bytes, reference: &Bytes) -> Result<Option<Candidate>> {
        let Ok((generation, key)) = rows::read_reference(reference) else {
            self.unset(index);
            return Ok(None);
        };
        let found = self.entry(generation, key.as_str()).await?;
        let row = match found {
            Found::Entry(row) if is_index_of(&index, generation, &row) => row,
            _ => {
                self.unset(index);
                return Ok(None);
            }
        };
        if let Some(name) = self.get(&layout::live(generation)).await? {
            let namespace = rows::read_namespace(&name)?;
            return Ok(Some(Candidate { namespace, generation, key, row }));
        }
        let since = self.get(&layout::cleared(generation)).await?;
        let since = since.as_ref().map(rows::read_time).transpose()?.unwrap_or_default();
        self.reclaim_one(generation, key.as_str(), Some(row), since);
        Ok(None)
    }

    /// Removes up to `limit` entries that have expired, and rows of cleared generations.
    pub(super) async fn purge(&mut self, now: Timestamp, limit: usize) -> Result<PurgeStep> {
        let mut step = PurgeStep::default();
        let range = layout::until(layout::EXPIRY, now);
        let rows = self.scan(range.clone(), limit).await?;
        let looked_at = rows.len();
        for (index, reference) in rows {
            match self.candidate(index, &reference).await? {
                Some(Candidate { namespace, key, row, .. }) => {
                    self.take_out_of(&namespace, &key, row, now, |counters| counters.expirations += 1)
                        .await?;
                    step.expired.push((namespace, key));
                }
                None => step.reclaimed += 1,
            }
        }
        step.reclaimed += self.reclaim(limit - looked_at).await? as u64;
        step.more = self.head.cleared > 0 || !self.scan(range, 1).await?.is_empty();
        Ok(step)
    }

    /// Takes back up to `limit` entries of cleared generations.
    pub(super) async fn reclaim(&mut self, limit: usize) -> Result<usize> {
        let mut left = limit;
        while left > 0 && self.head.cleared > 0 {
            let Some((cleared, since)) = self.scan(layout::all(layout::CLEARED), 1).await?.pop() else {
                self.head.cleared = 0;
                break;
            };
            let (generation, since) = (rows::number(&cleared)?, rows::read_time(&since)?);
            let mut entries = self.scan(layout::entries(generation, ""), left.saturating_add(1)).await?;
            if entries.len() <= left {
                self.unset(cleared);
                self.head.cleared -= 1;
            }
            entries.truncate(left);
            left -= entries.len();
            for (key, value) in entries {
                let row = EntryRow::decode(&value).ok();
                self.reclaim_one(generation, rows::tail(&key, 9)?, row, since);
            }
        }
        Ok(limit - left)
    }

    /// Takes back the rows of one entry of a cleared generation. Its bytes were counted as garbage by the clearing.
    pub(super) fn reclaim_one(
        &mut self,
        generation: u64,
        key: &str,
        row: Option<EntryRow>,
        since: Timestamp,
    ) {
        self.unset(layout::entry(generation, key));
        if let Some(row) = row {
            self.unindex(generation, &row);
            self.discard_blob(&row, since);
        }
    }

    /// Begins to rank all entries anew, or joins in where that is under way already.
    pub(super) fn begin_ranking(&mut self, joins: bool) -> u32 {
        if !(joins && self.head.ranking) {
            self.head.epoch = self.head.epoch.wrapping_add(1).max(1);
            self.head.ranked = true;
            self.head.ranking = true;
            self.head.age = 0;
        }
        self.head.epoch
    }

    /// Ranks the next `limit` entries after `start`. Where to go on; `None` when all have been ranked.
    pub(super) async fn rank_some(&mut self, start: Bytes, limit: usize) -> Result<Option<Bytes>> {
        let ranking = self.ranking()?;
        let mut range = layout::all(layout::ENTRY);
        range.start = start;
        let rows = self.scan(range, limit).await?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|(key, _)| layout::after(key));
        let mut known: Option<(u64, Namespace, bool)> = None;
        for (key, value) in rows {
            let (generation, text) = (rows::number(&key)?, rows::tail(&key, 9)?);
            let Ok(row) = EntryRow::decode(&value) else { continue };
            if row.epoch == self.head.epoch {
                continue;
            }
            if known.as_ref().is_none_or(|(last, ..)| *last != generation) {
                let Some(name) = self.get(&layout::live(generation)).await? else { continue };
                let name = rows::read_namespace(&name)?;
                let indexed = self.namespace(&name).await?.is_some_and(|namespace| namespace.indexed);
                known = Some((generation, name, indexed));
            }
            let Some((_, name, indexed)) = &known else { continue };
            let mut ranked = row.clone();
            ranked.rank = self.rank_of(&ranking, name, text, &row);
            (ranked.epoch, ranked.scoped) = (self.head.epoch, *indexed);
            self.unindex(generation, &row);
            self.index(generation, text, &ranked);
            self.set(key.clone(), ranked.encode());
        }
        Ok(next)
    }
}

/// True where the row of the index is one that this entry has.
fn is_index_of(index: &Bytes, generation: u64, row: &EntryRow) -> bool {
    let EntryRow { epoch, priority, rank, version, scoped, .. } = *row;
    let expiry = row.expires_at.is_some_and(|at| {
        *index == layout::expiry(at, version)
            || (scoped && *index == layout::expiry_in(generation, at, version))
    });
    let ranked = || {
        *index == layout::rank(epoch, priority, rank, version)
            || (scoped && *index == layout::rank_in(generation, epoch, priority, rank, version))
    };
    expiry || (epoch != 0 && ranked())
}
