//! The totals of the cache and of its namespaces: what a writer remembers of them between transactions, and when they
//! are written.

use cacheness_core::{EvictionPolicies, Limits, Namespace, Ranking, Result};
use rusqlite::Row;

use super::ages::{Ages, SLOTS};
use super::connection::Session;
use super::failure::{Tried, damaged};
use super::schema::MAX_VERSION;
use super::statements::Sql;
use super::transaction::lenient;

/// What stands for the whole cache.
#[derive(Clone, PartialEq)]
pub(super) struct Head {
    pub(super) generation: i64,
    pub(super) entries: i64,
    pub(super) bytes: i64,
    pub(super) garbage_bytes: i64,
    /// The last version that was issued. Where it is stored, the last one that may have been.
    pub(super) sequence: i64,
    /// The highest rank of any victim since entries were last ranked anew.
    pub(super) age: i64,
    /// Entries with ids below this have a row in `ranks`, all others have none; `None` where nothing is ranked.
    pub(super) ranked_to: Option<i64>,
    /// How many cleared generations are still to be taken back.
    pub(super) cleared: i64,
}

/// The limits as they are stored, and the policy by which entries are ranked.
pub(super) struct Rules {
    /// Those of the cache; `None` until they are first stored.
    pub(super) limits: Option<Limits>,
    /// How many namespaces have limits.
    pub(super) limited: i64,
    /// The policy, where it is known here.
    policy: Option<Ranking>,
    policies: EvictionPolicies,
    /// True where something is not stored yet.
    changed: bool,
}

/// A namespace and its totals.
pub(super) struct Tenant {
    pub(super) name: Namespace,
    pub(super) generation: i64,
    pub(super) entries: i64,
    pub(super) bytes: i64,
    pub(super) blob_bytes: i64,
    pub(super) ages: Ages,
    pub(super) evictions: i64,
    pub(super) expirations: i64,
    /// The bytes of those that were evicted or have expired.
    pub(super) victim_bytes: i64,
    /// Its own limits; they name no policy.
    pub(super) limits: Limits,
    /// How many entries the present call has put, and how many bytes; and which call that is.
    pub(super) own: Own,
    /// Generation, entries, bytes and bytes of blobs as they are stored.
    stored: [i64; 4],
    /// True where something is not stored yet.
    pub(super) changed: bool,
}

/// What one call has put.
#[derive(Clone, Copy, Default)]
pub(super) struct Own {
    /// The first version that the call issued.
    pub(super) from: i64,
    pub(super) entries: i64,
    pub(super) bytes: i64,
}

/// The totals as one connection knows them. Between transactions they hold as long as nobody else has committed.
///
/// A put over a known key, by a value of the same length, changes no total but the [`Ages`] and the last version
/// issued, and most often neither is written: versions are reserved ahead, as many as the last such puts have needed,
/// and the ages wait until something else is written, which is within [`AHEAD`] puts. So such a put changes one page
/// less. What a killed process, or one that another got in between of, has not written is lost: some versions, which
/// nobody then has, and the ages of the last puts, which then count as those of what they replaced; so the oldest
/// entry is still never said to be younger than it is.
pub(super) struct Totals {
    data_version: i64,
    pub(super) head: Head,
    pub(super) rules: Rules,
    /// The head as it is stored.
    stored: Head,
    pub(super) tenants: Vec<Tenant>,
    /// How many versions are reserved when the totals are written.
    ahead: i64,
}

/// The most versions that are reserved beyond the last one that was issued.
const AHEAD: i64 = 64;

/// The most namespaces whose totals are kept between transactions.
const KNOWN_TENANTS: usize = 64;

impl Totals {
    /// What `last` says, if it still holds, or else what stands in the database. To be called within a transaction.
    pub(super) fn now(
        session: &mut Session<'_, '_>,
        last: Option<Self>,
        policies: &EvictionPolicies,
    ) -> Tried<Self> {
        let data_version = session.statement(Sql::DataVersion)?.query_row((), |row| row.get(0))?;
        if let Some(last) = last.filter(|last| last.data_version == data_version) {
            return Ok(last);
        }
        let (head, rules) = read(session, policies)?;
        Ok(Self { data_version, stored: head.clone(), head, rules, tenants: Vec::new(), ahead: 0 })
    }

    /// Writes what has to be, or all that has changed.
    pub(super) fn save(&mut self, session: &mut Session<'_, '_>, everything: bool) -> Tried<()> {
        let of_victims = |tenant: &&mut Tenant| tenant.evictions > 0 || tenant.expirations > 0;
        for tenant in self.tenants.iter_mut().filter(of_victims) {
            let count = session.statement(Sql::CountVictims)?;
            count.execute((tenant.name.as_str(), tenant.evictions, tenant.expirations))?;
            (tenant.evictions, tenant.expirations, tenant.victim_bytes) = (0, 0, 0);
        }
        let rest = |head: &Head| (head.generation, head.ranked_to, head.cleared);
        if rest(&self.head) != rest(&self.stored) {
            session.statement(Sql::SaveState)?.execute(rest(&self.head))?;
        }
        if self.rules.changed {
            self.rules.save(session)?;
        }
        let sums = |head: &Head| (head.entries, head.bytes, head.garbage_bytes, head.age);
        let may_wait = sums(&self.head) == sums(&self.stored)
            && self.tenants.iter().all(Tenant::may_wait)
            && !everything;
        let reserved = self.stored.sequence;
        if !(may_wait && self.head.sequence <= reserved) {
            self.ahead = match (everything, may_wait) {
                (true, _) => 0,
                (false, true) => (self.ahead * 2).clamp(1, AHEAD),
                (false, false) => self.ahead,
            };
            // What was reserved and is not used is given back.
            let sequence = (self.head.sequence + self.ahead).min(MAX_VERSION);
            self.write(session, sequence)?;
            self.stored = Head { sequence, ..self.head.clone() };
        } else {
            self.stored = Head { sequence: reserved, ..self.head.clone() };
        }
        Ok(())
    }

    /// Writes the rows of all totals that have changed; those of the whole cache with this sequence.
    fn write(&mut self, session: &mut Session<'_, '_>, sequence: i64) -> Tried<()> {
        let now = &self.head;
        let mut changed = self.tenants.iter().filter(|tenant| tenant.changed);
        if let (Some(tenant), None) = (changed.next(), changed.next()) {
            // So it is for nearly every put.
            session.statement(Sql::SaveBothTotals)?.execute((
                now.entries,
                now.bytes,
                now.garbage_bytes,
                sequence,
                now.age,
                tenant.generation,
                tenant.entries,
                tenant.bytes,
                tenant.blob_bytes,
                tenant.ages.to_bytes(),
            ))?;
        } else {
            for tenant in self.tenants.iter().filter(|tenant| tenant.changed) {
                let save = session.statement(Sql::SaveNamespace)?;
                let ages = tenant.ages.to_bytes();
                save.execute((tenant.generation, tenant.entries, tenant.bytes, tenant.blob_bytes, ages))?;
            }
            if (Head { sequence, ..now.clone() }) != self.stored {
                let save = session.statement(Sql::SaveTotals)?;
                save.execute((now.entries, now.bytes, now.garbage_bytes, sequence, now.age))?;
            }
        }
        self.tenants.iter_mut().for_each(Tenant::settle);
        Ok(())
    }

    /// Keeps no more than is worth keeping between transactions.
    pub(super) fn shrink(&mut self) {
        // Those that came in last stand at the end.
        self.tenants.drain(..self.tenants.len().saturating_sub(KNOWN_TENANTS));
    }

    /// How many entries and bytes this transaction adds to the cache or a namespace, beside what it evicts.
    pub(super) fn added(&self, tenant: Option<usize>) -> (i64, i64) {
        let gone = |tenant: &Tenant| (tenant.evictions + tenant.expirations, tenant.victim_bytes);
        match tenant.and_then(|at| self.tenants.get(at)) {
            Some(tenant) => {
                let [_, entries, bytes, _] = tenant.stored;
                let gone = gone(tenant);
                (tenant.entries - entries + gone.0, tenant.bytes.saturating_sub(bytes).saturating_add(gone.1))
            }
            None => {
                let (head, stored) = (&self.head, &self.stored);
                let gone = self.tenants.iter().map(gone);
                let gone = gone.fold((0, 0), |sum, one| (sum.0 + one.0, one.1.saturating_add(sum.1)));
                (head.entries - stored.entries + gone.0, (head.bytes - stored.bytes).saturating_add(gone.1))
            }
        }
    }

    /// True where something is not stored yet.
    pub(super) fn is_behind(&self) -> bool {
        self.stored.sequence != self.head.sequence || self.tenants.iter().any(|tenant| tenant.changed)
    }
}

impl Tenant {
    /// A namespace of which nothing is stored but its generation.
    pub(super) fn new(name: Namespace, generation: i64) -> Self {
        Self {
            name,
            generation,
            entries: 0,
            bytes: 0,
            blob_bytes: 0,
            ages: Ages::default(),
            evictions: 0,
            expirations: 0,
            victim_bytes: 0,
            limits: Limits::unbounded(),
            own: Own::default(),
            stored: [generation, 0, 0, 0],
            changed: false,
        }
    }

    /// Reads what the statement `Namespace` found.
    pub(super) fn read(name: &Namespace, row: &Row<'_>) -> rusqlite::Result<Self> {
        let number = |index: usize| row.get_ref(index).map(lenient);
        let mut tenant = Self {
            entries: number(1)?.max(0),
            bytes: number(2)?.max(0),
            blob_bytes: number(3)?.max(0),
            ages: ages(row, 4)?,
            limits: limits(row, 5)?,
            ..Self::new(name.clone(), row.get(0)?)
        };
        tenant.settle();
        Ok(tenant)
    }

    fn sums(&self) -> [i64; 4] {
        [self.generation, self.entries, self.bytes, self.blob_bytes]
    }

    /// True where all that has changed is when entries were put, and there are so many that the oldest is no longer
    /// known exactly.
    fn may_wait(&self) -> bool {
        !self.changed
            || (self.sums() == self.stored && self.entries > SLOTS as i64 && self.ages.are_in_order())
    }

    /// Takes note that all is stored.
    fn settle(&mut self) {
        (self.stored, self.changed) = (self.sums(), false);
    }
}

impl Rules {
    /// True where there is a limit, of the cache or of a namespace.
    pub(super) fn are_limiting(&self) -> bool {
        self.limited > 0 || self.limits.as_ref().is_some_and(Limits::is_limited)
    }

    /// True where entries have ranks. A policy that refuses needs them only to find what has expired in a namespace.
    pub(super) fn are_ranking(&self) -> bool {
        self.are_limiting() && (self.limited > 0 || !self.policy.as_ref().is_some_and(Ranking::refuses))
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

    /// Checks that the policy is known, where one is needed.
    ///
    /// # Errors
    /// `NotRegistered` where it is not.
    pub(super) fn check(&self) -> Result<()> {
        if self.policy.is_none() && self.are_limiting() { self.known(self.policy_name()) } else { Ok(()) }
    }

    /// The policy that entries are ranked by, where they are and it is known here.
    pub(super) fn known_ranking(&self) -> Option<&Ranking> {
        self.policy.as_ref().filter(|_| self.are_ranking())
    }

    /// Checks that a policy is known here.
    pub(super) fn known(&self, policy: &str) -> Result<()> {
        self.policies.get(policy).map(drop)
    }

    pub(super) fn policy_name(&self) -> &str {
        self.limits.as_ref().map_or(Limits::DEFAULT_POLICY, Limits::policy_name)
    }

    /// Makes these the limits of the cache, and this the number of namespaces that have some.
    pub(super) fn set(&mut self, limits: Option<Limits>, limited: i64) {
        (self.limits, self.limited, self.changed) = (limits, limited, true);
        self.policy = self.policies.get(self.policy_name()).ok();
    }

    fn save(&mut self, session: &mut Session<'_, '_>) -> Tried<()> {
        let limits = self.limits.as_ref();
        let (policy, [entries, bytes]) = (limits.map(Limits::policy_name), columns(limits));
        session.statement(Sql::SaveLimits)?.execute((policy, entries, bytes, self.limited))?;
        self.changed = false;
        Ok(())
    }
}

/// Limits as their columns have them. More than a column holds is as good as that.
pub(super) fn columns(limits: Option<&Limits>) -> [Option<i64>; 2] {
    let column = |most: u64| i64::try_from(most).unwrap_or(i64::MAX);
    limits.map_or([None, None], |limits| [limits.max_entries.map(column), limits.max_bytes.map(column)])
}

/// Reads limits from two columns.
fn limits(row: &Row<'_>, index: usize) -> rusqlite::Result<Limits> {
    let number = |index| {
        Ok::<_, rusqlite::Error>(row.get_ref(index)?.as_i64().ok().map(|most| most.max(0).unsigned_abs()))
    };
    let mut limits = Limits::unbounded();
    limits.max_entries = number(index)?;
    limits.max_bytes = number(index + 1)?;
    Ok(limits)
}

fn read(session: &mut Session<'_, '_>, policies: &EvictionPolicies) -> Tried<(Head, Rules)> {
    let (head, rules) = session.statement(Sql::Head)?.query_row((), |row| {
        let number = |index: usize| row.get_ref(index).map(lenient);
        let head = Head {
            generation: number(0)?.max(0),
            entries: number(1)?.max(0),
            bytes: number(2)?.max(0),
            garbage_bytes: number(3)?.max(0),
            sequence: row.get(4)?,
            age: number(5)?,
            ranked_to: row.get_ref(6)?.as_i64().ok(),
            cleared: number(7)?.max(0),
        };
        let mut stored = limits(row, 9)?;
        stored.policy = row.get_ref(8)?.as_str().ok().map(str::to_owned);
        let mut rules =
            Rules { limits: None, limited: 0, policy: None, policies: policies.clone(), changed: false };
        rules.set(Some(stored).filter(|stored| stored.policy.is_some()), number(11)?.max(0));
        rules.changed = false;
        Ok((head, rules))
    })?;
    if !(0..=MAX_VERSION).contains(&head.sequence) {
        return Err(damaged("its sequence is out of range").into());
    }
    Ok((head, rules))
}

/// Reads a column `ages`.
pub(super) fn ages(row: &Row<'_>, index: usize) -> rusqlite::Result<Ages> {
    Ok(row.get_ref(index)?.as_blob().map(Ages::from_bytes).unwrap_or_default())
}
