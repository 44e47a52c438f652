//! What the script that writes has answered: what became of each change, who was evicted, who goes next.

use cacheness_core::__private::condemned;
use cacheness_core::{
    Change, Entry, Error, ErrorKind, Evicted, EvictionReason, Key, Limits, Namespace, Outcome, Purged,
    Ranking, Result, Version,
};

use super::failure::unexpected;
use super::layout;
use super::ops::Op;
use super::reply::Reply;
use super::rules::{self, Correction};

/// What became of it.
#[derive(Default)]
pub(super) struct Done {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) evicted: Vec<Evicted>,
    pub(super) more: bool,
    pub(super) cleared: Option<u64>,
    pub(super) purged: Purged,
}

/// An entry that may be evicted next.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) namespace: Namespace,
    pub(super) key: String,
    pub(super) version: Version,
    /// As the script names it.
    pub(super) member: Vec<u8>,
}

pub(super) fn read_outcome(op: &Op, reply: &mut Reply, done: &mut Done) -> Result<()> {
    if let Op::Purge { .. } = op {
        let (expired, reclaimed, more) = (reply.number()?, reply.number()?, reply.flag()?);
        let mut keys = reply.list()?;
        let mut named = Vec::with_capacity(keys.left());
        while keys.left() > 0 {
            let mut one = keys.list()?;
            let (name, key) = (one.text()?, one.bytes()?);
            if let Some(key) = String::from_utf8(key).ok().and_then(|key| Key::new(&key).ok()) {
                named.push((Namespace::new(name)?, key));
            }
        }
        done.purged = Purged::new(expired, reclaimed, more).with_expired_keys(named);
        return Ok(());
    }
    let made = reply.flag()?;
    match op {
        Op::Change(_) => {
            let previous = read_version(reply)?;
            if !made {
                done.outcomes.push(Outcome::skipped(previous));
            } else if reply.left() == 0 {
                done.outcomes.push(Outcome::applied(previous, None));
            } else {
                let outcome = Outcome::applied(previous, read_version(reply)?);
                done.outcomes.push(outcome.with_evicted(read_evicted(reply.list()?)?));
            }
        }
        Op::Evict { .. } => {
            reply.bytes()?;
            reply.bytes()?;
            done.evicted.extend(read_evicted(reply.list()?)?);
            done.more = reply.flag()?;
        }
        Op::Clear { .. } => {
            let removed = reply.number()?;
            done.cleared = made.then_some(removed);
        }
        Op::Count(..) | Op::Reset(_) | Op::Forget(_) | Op::Condemn { .. } | Op::Purge { .. } => {}
    }
    Ok(())
}

/// Checks the rank that an entry was given by a put or a touch.
pub(super) fn check_rank(
    op: &Op,
    reply: &mut Reply,
    done: &Done,
    puts: &mut std::vec::IntoIter<String>,
    ranking: &Ranking,
    age: i64,
) -> Result<Option<Correction>> {
    let version = done.outcomes.last().and_then(|outcome| outcome.version);
    match op {
        Op::Change(Change::Put { entry, .. }) => {
            let header = puts.next().ok_or_else(unexpected)?;
            if reply.left() == 0 {
                return Ok(None);
            }
            let (rank, id) = (reply.bytes()?, reply.bytes()?);
            let Some(version) = version.filter(|_| !rank.is_empty()) else { return Ok(None) };
            let mut entry: Entry = entry.as_ref().clone();
            entry.version = version;
            Ok(rules::check_put(ranking, &entry, &header, (id, &rank), age))
        }
        Op::Change(Change::Touch { now, .. }) if reply.left() > 0 => {
            rules::check_use(ranking, &reply.bytes()?, (*now, 1, age))
        }
        _ => Ok(None),
    }
}

fn read_version(reply: &mut Reply) -> Result<Option<Version>> {
    let digits = reply.bytes()?;
    if digits.is_empty() {
        return Ok(None);
    }
    layout::read_hex(&digits).map(|number| Some(Version(number))).ok_or_else(unexpected)
}

pub(super) fn read_evicted(mut list: Reply) -> Result<Vec<Evicted>> {
    let mut evicted = Vec::with_capacity(list.left());
    while list.left() > 0 {
        let mut one = list.list()?;
        let (name, key) = (one.text()?, one.bytes()?);
        let reason = if one.bytes()? == b"expired" { EvictionReason::Expired } else { EvictionReason::Limit };
        // A key that is none is the key of a damaged entry, which is gone now and has nothing to be told.
        let key = String::from_utf8(key).ok().and_then(|key| Key::new(&key).ok());
        evicted.extend(
            key.map(|key| Ok::<_, Error>(Evicted::new(Namespace::new(&name)?, key, reason))).transpose()?,
        );
    }
    Ok(evicted)
}

pub(super) fn read_candidates(list: &mut Reply) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    while list.left() > 0 {
        let (name, key, member) = (list.text()?, list.bytes()?, list.bytes()?);
        let version = member.get(..14).and_then(layout::read_hex).ok_or_else(unexpected)?;
        // Of a key that is damaged nobody has made any use.
        let key = String::from_utf8(key).unwrap_or_default();
        candidates.push(Candidate {
            namespace: Namespace::new(name)?,
            key,
            version: Version(version),
            member,
        });
    }
    Ok(candidates)
}

/// The error for a call that is over the limits, or names a blob that was swept away.
pub(super) fn refusal(status: &str, about: &mut Reply) -> Result<Error> {
    if status == "CONDEMNED" {
        return Ok(condemned());
    }
    let name = about.text()?;
    let error = match status {
        "FITS" | "REFUSED" => {
            let mut limits = Limits::unbounded();
            (limits.max_entries, limits.max_bytes) = (about.maybe()?, about.maybe()?);
            if status == "REFUSED" {
                limits.refusal()
            } else {
                limits.check_fits(about.number()?).err().ok_or_else(unexpected)?
            }
        }
        "OWN" => {
            let whose =
                if name.is_empty() { "the cache".to_owned() } else { format!("the namespace `{name}`") };
            let message = format!(
                "the {} values of one call have {} bytes, which is over the limits of {whose}; put them in several calls",
                about.number()?,
                about.number()?
            );
            Error::new(ErrorKind::LimitExceeded, message)
        }
        _ => return Err(unexpected()),
    };
    Ok(if name.is_empty() { error } else { error.with_context("namespace", name) })
}
