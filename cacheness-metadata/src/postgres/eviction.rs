//! What goes without being asked for by key, in steps that are each short: victims of the limits, expired entries, what
//! cleared namespaces left behind; and limits.

use cacheness_core::{
    Error, ErrorKind, Evicted, Evictions, GARBAGE_DELAY, Key, Limits, LimitsChange, Namespace, Purged,
    Timestamp,
};

use super::changes::{OLD_RULES, evicted};
use super::deadline::Deadline;
use super::failure::{Asked, Failure};
use super::reading::namespace;
use super::rules::{Rules, limits};
use super::statements::Sql;
use super::store::{Store, params};
use super::uses::{Hint, Taken};

/// How many entries one transaction of a long work changes.
pub(super) const ENTRIES_PER_STEP: usize = 500;

/// How often a call begins anew because what it went by was changed by others meanwhile.
pub(super) const BUSY: usize = 50;

/// Room that takes more evictions than one transaction makes.
pub(super) struct Crowded {
    /// The namespace whose limits are meant; `None` for those of the cache.
    pub(super) namespace: Option<Namespace>,
    /// How many entries and bytes are to be added.
    pub(super) room: (i64, i64),
    pub(super) now: Timestamp,
}

/// The error where others change the same all the time.
pub(super) fn busy() -> Failure {
    Error::new(
        ErrorKind::Unavailable,
        "other processes changed the limits or evicted again and again; try again",
    )
    .into()
}

impl Store {
    /// Evicts up to `most` entries. What this process has used is looked up in its log first, so nothing goes that it has
    /// not looked at.
    pub(super) async fn evict(
        &self,
        crowded: &Crowded,
        most: usize,
        deadline: Deadline,
    ) -> Result<Evictions, Failure> {
        let most = most.min(ENTRIES_PER_STEP);
        let mut rules = self.rules();
        let mut gone = Vec::new();
        for _ in 0..BUSY {
            deadline.check()?;
            let (some, more) = match self.evict_once(&rules, crowded, most - gone.len()).await {
                Ok(Some(done)) => done,
                Ok(None) => {
                    rules = self.read_rules().await?;
                    continue;
                }
                Err(Failure::Asked(Asked::Unprepared, _)) => {
                    rules = self.read_rules().await?;
                    self.prepare_eviction(&rules, deadline).await?;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let none = some.is_empty();
            gone.extend(some);
            // Where there is more and nothing went, what was looked at had been used, and comes later now.
            if !more || gone.len() >= most || (none && rules.refuses()) {
                let more = more && gone.len() >= most;
                return Ok(Evictions::new(gone, more));
            }
        }
        if gone.is_empty() { Err(busy()) } else { Ok(Evictions::new(gone, true)) }
    }

    /// One transaction of it: what went, and whether there is more; `None` where the rules have changed.
    async fn evict_once(
        &self,
        rules: &Rules,
        crowded: &Crowded,
        most: usize,
    ) -> Result<Option<(Vec<Evicted>, bool)>, Failure> {
        let ranking = rules.ranking()?;
        let name = crowded.namespace.as_ref().map(|name| name.as_str().as_bytes().to_vec());
        let count = most + 32;
        let (mut hints, mut bound) = (Vec::new(), (f32::INFINITY, i64::MAX, i64::MAX));
        if !ranking.refuses() {
            let most = i32::try_from(count).unwrap_or(i32::MAX);
            let rows = self.query(Sql::Next, &params![name.clone(), rules.epoch, most]).await?;
            if let Some(last) = rows.last().filter(|_| rows.len() >= count) {
                bound = (last.try_get(5)?, last.try_get(6)?, last.try_get(4)?);
            }
            for row in &rows {
                hints.extend(Hint::read(row, 0, 4, 6)?);
            }
        }
        let uses = Taken::of(&self.accesses, Some(&ranking), &hints);
        let mut params = Vec::from(params![
            rules.epoch,
            ranking.refuses(),
            name,
            crowded.now.as_nanos(),
            (crowded.now + GARBAGE_DELAY).as_nanos(),
            crowded.room.0,
            crowded.room.1,
            i32::try_from(most).unwrap_or(i32::MAX),
            bound.0,
            bound.1,
            bound.2,
        ]);
        params.extend(uses.params());
        let rows = self.query(Sql::Evict, &params).await?;
        let (mut gone, mut more) = (Vec::new(), false);
        for row in &rows {
            match row.try_get::<_, i16>(0)? {
                OLD_RULES => return Ok(None),
                1 => gone.extend(evicted(row, 1, 2)?),
                _ => more = true,
            }
        }
        uses.written();
        // Where all that there is was looked at, there is no more to evict, whatever the limits say.
        let exhausted = bound.1 == i64::MAX && gone.len() < most;
        Ok(Some((gone, more && !exhausted)))
    }

    /// Evicts what a put needs evicted before it.
    pub(super) async fn make_room_before(
        &self,
        rules: &mut Rules,
        crowded: &Crowded,
        gone: &mut Vec<Evicted>,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        loop {
            let step = self.evict(crowded, ENTRIES_PER_STEP, deadline).await?;
            gone.extend(step.evicted);
            if !step.more {
                *rules = self.rules();
                return Ok(());
            }
        }
    }

    /// Does what an eviction needs done before it: ranks entries, and takes back what cleared namespaces left.
    pub(super) async fn prepare_eviction(&self, rules: &Rules, deadline: Deadline) -> Result<(), Failure> {
        self.rank_all(rules, deadline).await?;
        let most = i32::try_from(ENTRIES_PER_STEP).unwrap_or(i32::MAX);
        loop {
            deadline.check()?;
            let rows = self.query(Sql::Reclaim, &params![most]).await?;
            if rows.first().map(|row| row.try_get::<_, i32>(0)).transpose()?.unwrap_or(0) == 0 {
                return Ok(());
            }
        }
    }

    /// Changes the limits of the cache or of a namespace, and returns what they are now.
    pub(super) async fn change_limits(
        &self,
        name: Option<Namespace>,
        change: &LimitsChange,
        deadline: Deadline,
    ) -> Result<Limits, Failure> {
        for _ in 0..BUSY {
            let (rules, before) = match &name {
                None => {
                    let rules = self.read_rules().await?;
                    let before = rules.limits.clone();
                    (rules, before)
                }
                Some(name) => {
                    let rows = self.query(Sql::LimitsOf, &params![name.as_str().as_bytes().to_vec()]).await?;
                    let Some(row) = rows.first() else { return Err(busy()) };
                    let before = limits(row.try_get(0)?, row.try_get(1)?);
                    if change.is_empty() {
                        return Ok(before);
                    }
                    let rules = self.read_rules().await?;
                    if rules.revision != row.try_get::<_, i64>(2)? {
                        continue;
                    }
                    (rules, Some(before))
                }
            };
            let mut wanted = change.apply(before.as_ref());
            wanted.policy = match &name {
                None => Some(wanted.policy_name().to_owned()),
                Some(_) => None,
            };
            let policy = wanted.policy.as_deref().unwrap_or_else(|| rules.policy_name());
            if wanted.is_limited() || (name.is_none() && rules.limited > 0) {
                rules.known(policy)?;
            }
            if before.as_ref() != Some(&wanted) {
                let column = |most: Option<u64>| most.map(|most| i64::try_from(most).unwrap_or(i64::MAX));
                let params = params![
                    rules.revision,
                    name.as_ref().map(|name| name.as_str().as_bytes().to_vec()),
                    column(wanted.max_entries),
                    column(wanted.max_bytes),
                    wanted.policy.as_ref().map(|policy| policy.as_bytes().to_vec()),
                ];
                let rows = self.query_until(Sql::Limit, &params, deadline).await?;
                if !rows.first().map(|row| row.try_get::<_, bool>(0)).transpose()?.unwrap_or(false) {
                    continue;
                }
            }
            let rules = self.read_rules().await?;
            if rules.are_limiting() && rules.known_ranking().is_some() {
                // The limits are stored: what comes now takes as long as it takes, and does no harm later.
                self.rank_all(&rules, Deadline::NONE).await?;
            }
            return Ok(wanted);
        }
        Err(busy())
    }

    /// Removes what has expired, and takes back what cleared namespaces left, `limit` at the most.
    pub(super) async fn purge(&self, now: Timestamp, limit: usize) -> Result<Purged, Failure> {
        let (mut expired, mut keys, mut reclaimed, mut left) = (0, Vec::new(), 0, limit);
        let rules = self.rules();
        loop {
            let step = i32::try_from(left.min(ENTRIES_PER_STEP)).unwrap_or(i32::MAX);
            let due = (now + GARBAGE_DELAY).as_nanos();
            let rows = self.query(Sql::Purge, &params![rules.epoch, now.as_nanos(), due, step]).await?;
            let (mut done, mut more) = (0, false);
            for row in &rows {
                if row.try_get::<_, i16>(0)? == 5 {
                    let back = usize::try_from(row.try_get::<_, i32>(3)?).unwrap_or(0);
                    reclaimed += back as u64;
                    done += back;
                    more = row.try_get(4)?;
                    continue;
                }
                expired += 1;
                done += 1;
                let key: Option<&[u8]> = row.try_get(2)?;
                if let Some(key) =
                    key.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| Key::new(key).ok())
                {
                    keys.push((namespace(row.try_get(1)?)?, key));
                }
            }
            left -= done.min(left);
            if left == 0 || !more || done == 0 {
                return Ok(Purged::new(expired, reclaimed, more).with_expired_keys(keys));
            }
        }
    }
}
