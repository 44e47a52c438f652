//! What queries mean, said once more and otherwise, and random entries and queries to compare with.

use std::ops::Bound;
use std::time::Duration;

use cacheness_core::{
    Direction, Entry, FieldCondition, FieldPath, Glob, ListOrder, ListQuery, Literal, Operator, QuerySupport,
};
use serde_json::json;

use crate::metadata::MetadataSubject;
use crate::metadata::subject::namespace;

pub(super) const ORDERS: [ListOrder; 6] = [
    ListOrder::Key,
    ListOrder::Created,
    ListOrder::Accessed,
    ListOrder::Size,
    ListOrder::Expiry,
    ListOrder::Hits,
];

pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Ascending, Direction::Descending];

pub(super) fn glob(pattern: &str) -> Glob {
    Glob::new(pattern).unwrap_or_else(|error| panic!("the suite has a glob that is none: {error}"))
}

pub(super) fn condition(path: &str, operator: Operator, value: impl Into<Literal>) -> FieldCondition {
    let path =
        FieldPath::new(path).unwrap_or_else(|error| panic!("the suite has a path that is none: {error}"));
    FieldCondition::new(path, operator, value)
}

/// The order of a listing, said once more and otherwise.
pub(super) fn sort(entries: &mut [Entry], order: ListOrder, direction: Direction) {
    entries.sort_by(|a, b| {
        let by_value = match order {
            ListOrder::Created => a.created_at.cmp(&b.created_at),
            ListOrder::Accessed => a.accessed_at.cmp(&b.accessed_at),
            ListOrder::Size => a.size.cmp(&b.size),
            ListOrder::Hits => a.hits.cmp(&b.hits),
            ListOrder::Expiry => match (a.validity.expires_at, b.validity.expires_at) {
                (Some(a), Some(b)) => a.cmp(&b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            },
            _ => std::cmp::Ordering::Equal,
        };
        let by_name = (a.namespace.as_str(), a.key.as_str()).cmp(&(b.namespace.as_str(), b.key.as_str()));
        let ascending = by_value.then(by_name);
        if direction == Direction::Descending { ascending.reverse() } else { ascending }
    });
}

/// What a query asks for, said once more and without the query's own help, but for patterns and single conditions.
pub(super) fn matches(query: &ListQuery, entry: &Entry) -> bool {
    let within = |bounds: (Bound<u64>, Bound<u64>), value: u64| {
        let starts = match bounds.0 {
            Bound::Included(least) => value >= least,
            Bound::Excluded(least) => value > least,
            Bound::Unbounded => true,
        };
        let ends = match bounds.1 {
            Bound::Included(most) => value <= most,
            Bound::Excluded(most) => value < most,
            Bound::Unbounded => true,
        };
        starts && ends
    };
    let seconds = |at: cacheness_core::Timestamp| (at.as_nanos() / 1_000_000_000).unsigned_abs();
    let filter = &query.filter;
    let is_expired = |now| entry.validity.expires_at.is_some_and(|at| at <= now);
    query.namespace.as_ref().is_none_or(|name| *name == entry.namespace)
        && entry.key.as_str().starts_with(&query.prefix)
        && query.expired.is_none_or(|(expired, now)| is_expired(now) == expired)
        && filter.glob.as_ref().is_none_or(|glob| glob.matches(entry.key.as_str()))
        && filter.tags.iter().all(|tag| entry.tags.contains(tag))
        && filter.fields.iter().all(|condition| condition.holds(&entry.custom))
        && within(filter.size, entry.size)
        && within((filter.created.0.map(seconds), filter.created.1.map(seconds)), seconds(entry.created_at))
}

/// Numbers that are the same in every run, by the generator xorshift64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end.max(1)
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Entries with few different values in each field, so that many are equal.
    pub(super) fn entries(&mut self, subject: &MetadataSubject, count: usize) -> Vec<Entry> {
        let entry = |i: usize, random: &mut Self| {
            let name = random.one_of(&["a", "b", "c"]);
            let key = format!("{}{}:{i}", random.one_of(&["user", "us", "job"]), random.below(3));
            let mut entry = subject.entry_of_size(name, &key, random.below(4) as u64 * 10);
            let now = subject.now();
            if random.below(2) == 0 {
                let ttl = Duration::from_secs(random.below(4) as u64);
                entry.validity.start_ttl(Some(ttl), now);
            }
            entry.created_at = now - Duration::from_secs(random.below(5) as u64);
            entry.accessed_at = now + Duration::from_secs(random.below(5) as u64);
            entry.hits = random.below(4) as u64;
            entry.tags =
                ["x", "y", "z"].into_iter().filter(|_| random.below(2) == 0).map(str::to_owned).collect();
            if random.below(3) > 0 {
                entry.custom.insert("stock".to_owned(), json!(random.below(5)));
                entry.custom.insert("at".to_owned(), json!({"city": random.one_of(&["Oslo", "Rome"])}));
            }
            entry
        };
        (0..count).map(|i| entry(i, self)).collect()
    }

    /// A query of parts that the backend can answer.
    pub(super) fn query(&mut self, subject: &MetadataSubject, can: QuerySupport) -> ListQuery {
        let mut query = ListQuery::new();
        query.limit = self.one_of(&[1, 3, 10, 1_000]);
        if self.below(2) == 0 {
            query.namespace = Some(namespace(self.one_of(&["a", "b", "nobody"])));
        }
        query.prefix = self.one_of(&["", "", "us", "user1"]).to_owned();
        if self.below(4) == 0 {
            query.expired = Some((self.below(2) == 0, subject.now()));
        }
        if can.glob && self.below(3) == 0 {
            query.filter.glob = Some(glob(self.one_of(&["us*", "*:1?", "user[01]:*", "*e*", "?ob*"])));
        }
        if can.tags {
            let tags = ["x", "y"].into_iter().filter(|_| self.below(4) == 0);
            query.filter.tags = tags.map(str::to_owned).collect();
        }
        if can.fields && self.below(4) == 0 {
            let operator = self.one_of(&[Operator::Eq, Operator::NotEq, Operator::Lt, Operator::GtEq]);
            query.filter.fields.push(condition("stock", operator, 2));
        }
        if can.fields && self.below(6) == 0 {
            query.filter.fields.push(condition("at.city", Operator::Eq, "Rome"));
        }
        let bounds = |random: &mut Self| {
            let end = |random: &mut Self| match random.below(3) {
                0 => Bound::Unbounded,
                1 => Bound::Included(random.below(4)),
                _ => Bound::Excluded(random.below(4)),
            };
            (end(random), end(random))
        };
        if can.size && self.below(4) == 0 {
            let (start, end) = bounds(self);
            query.filter.size = (start.map(|n| n as u64 * 10), end.map(|n| n as u64 * 10));
        }
        if can.created && self.below(4) == 0 {
            let (start, end) = bounds(self);
            let ago = |n: usize| subject.now() - Duration::from_secs(n as u64);
            query.filter.created = (start.map(ago), end.map(ago));
        }
        if can.order {
            (query.order, query.direction) = (self.one_of(&ORDERS), self.one_of(&DIRECTIONS));
        }
        query
    }
}
