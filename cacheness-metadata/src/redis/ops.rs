//! What the script that writes is asked to do, as arguments.

use cacheness_core::{
    BlobId, CONDEMNED_FOR, Change, Condition, Counters, Error, ErrorKind, Expiry, GARBAGE_DELAY, Namespace,
    Ranking, Result, Timestamp,
};

use super::layout::{self, Row};
use super::rules::{self, Rules};
use super::server::{Args, args};

/// What is to be done.
pub(super) enum Op {
    Change(Change),
    Evict { namespace: Option<Namespace>, now: Timestamp, room: (u64, u64), most: usize },
    Count(Namespace, Counters),
    Reset(Namespace),
    Clear { namespace: Namespace, now: Timestamp, drop: bool },
    Purge { now: Timestamp, limit: usize },
    Forget(Vec<BlobId>),
    Condemn { blobs: Vec<BlobId>, now: Timestamp },
}

/// Adds the nine arguments of a change.
pub(super) fn push(
    op: &Op,
    args: &mut Args,
    (rules, ranking): (&Rules, Option<&Ranking>),
    puts: &mut Vec<String>,
    evicted: usize,
) -> Result<()> {
    let due = |now: Timestamp| layout::moment(now + GARBAGE_DELAY);
    let time = layout::moment;
    match op {
        Op::Change(Change::Put { entry, condition, now }) => {
            let (rank, form) = rules::rank_of_new(ranking, entry, rules.age);
            let Row { header, tail } = Row::new(entry, rank)?;
            let (name, key) = (entry.namespace.as_str(), entry.key.as_str());
            let of = self::condition(*condition)?;
            args.extend(args!["put", name, key, of, time(*now), due(*now), header.as_str(), tail, form]);
            puts.push(header);
        }
        Op::Change(Change::Remove { namespace, key, condition, now }) => {
            let of = self::condition(*condition)?;
            args.extend(args![
                "remove",
                namespace.as_str(),
                key.as_str(),
                of,
                time(*now),
                due(*now),
                "",
                "",
                ""
            ]);
        }
        Op::Change(Change::Touch { namespace, key, condition, expiry, now }) => {
            let (way, by) = match expiry {
                Expiry::Set(at) => ("set", layout::expiry(*at)),
                Expiry::Extend(by) => {
                    ("extend", format!("{:016x}", u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
                }
                _ => return Err(unknown()),
            };
            let form = rules::form_of_use(ranking, *now, 1, rules.age);
            let (name, of) = (namespace.as_str(), self::condition(*condition)?);
            args.extend(args!["touch", name, key.as_str(), of, time(*now), due(*now), way, by, form]);
        }
        Op::Change(_) => return Err(unknown()),
        Op::Evict { namespace, now, room, most } => {
            let name = namespace.as_ref().map_or("", Namespace::as_str);
            let (entries, bytes) = (room.0.to_string(), room.1.to_string());
            let most = most.saturating_sub(evicted).to_string();
            args.extend(args!["evict", name, "", "", time(*now), due(*now), entries, bytes, most]);
        }
        Op::Count(name, counters) => {
            let Counters { hits, misses, puts, removals, evictions, expirations, errors, .. } = counters;
            let numbers = [
                hits,
                misses,
                puts,
                removals,
                evictions,
                expirations,
                errors,
                &counters.bytes_out,
                &counters.bytes_in,
            ];
            let numbers = numbers.map(u64::to_string).join(" ");
            args.extend(args!["count", name.as_str(), "", "", "", "", numbers, "", ""]);
        }
        Op::Reset(name) => {
            args.extend(args!["reset", name.as_str(), "", "", "", "", "", "", ""]);
        }
        Op::Clear { namespace, now, drop } => {
            let way = if *drop { "drop" } else { "" };
            args.extend(args!["clear", namespace.as_str(), "", "", time(*now), due(*now), way, "", ""]);
        }
        Op::Purge { now, limit } => {
            let limit = limit.to_string();
            args.extend(args!["purge", "", "", "", time(*now), due(*now), limit, "", ""]);
        }
        Op::Forget(blobs) => {
            let blobs: String = blobs.iter().map(BlobId::to_string).collect();
            args.extend(args!["forget", "", "", "", "", "", blobs, "", ""]);
        }
        Op::Condemn { blobs, now } => {
            let blobs: String = blobs.iter().map(BlobId::to_string).collect();
            let until = time(*now + CONDEMNED_FOR);
            args.extend(args!["condemn", "", "", "", time(*now), until, blobs, "", ""]);
        }
    }
    Ok(())
}

fn unknown() -> Error {
    Error::new(ErrorKind::Unsupported, "this backend does not know a change that was asked for")
}

fn condition(condition: Condition) -> Result<String> {
    Ok(match condition {
        Condition::Always => "always".to_owned(),
        Condition::Absent => String::new(),
        Condition::Version(version) => layout::version(version),
        _ => return Err(unknown()),
    })
}
