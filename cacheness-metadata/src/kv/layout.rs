//! The keys of the rows: one letter for the kind, then parts whose bytes sort as the values do. Only the last part
//! of a key may have any length, so no part needs an end mark and all of them may hold any bytes, NUL included.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use cacheness_core::{BlobId, Timestamp};

/// The head: there is one.
pub(super) const HEAD: Bytes = Bytes::from_static(b"h");

pub(super) const CLEARED: u8 = b'd';
pub(super) const ENTRY: u8 = b'e';
pub(super) const GARBAGE: u8 = b'g';
pub(super) const NAMESPACE: u8 = b'n';
pub(super) const RANK: u8 = b'r';
const RANK_IN_NAMESPACE: u8 = b'q';
const EXPIRY_IN_NAMESPACE: u8 = b'y';
pub(super) const EXPIRY: u8 = b'x';

pub(super) const CONDEMNED: u8 = b'k';

pub(super) const BLOB: u8 = b'b';
const CREATED: u8 = b'c';
const LIVE: u8 = b'l';

const SIGN: u64 = 1 << 63;

/// Which entry a row of an index is about: its generation and key, as the row's value.
pub(super) fn reference(generation: u64, key: &str) -> Bytes {
    build(8 + key.len(), |out| {
        out.put_u64(generation);
        out.put_slice(key.as_bytes());
    })
}

pub(super) fn namespace(name: &str) -> Bytes {
    with_tail(NAMESPACE, name.as_bytes())
}

pub(super) fn live(generation: u64) -> Bytes {
    with_tail(LIVE, &generation.to_be_bytes())
}

pub(super) fn cleared(generation: u64) -> Bytes {
    with_tail(CLEARED, &generation.to_be_bytes())
}

pub(super) fn entry(generation: u64, key: &str) -> Bytes {
    build(9 + key.len(), |out| {
        out.put_u8(ENTRY);
        out.put_u64(generation);
        out.put_slice(key.as_bytes());
    })
}

pub(super) fn expiry(expires_at: i64, version: u64) -> Bytes {
    build(17, |out| {
        out.put_u8(EXPIRY);
        out.put_u64(ordered(expires_at));
        out.put_u64(version);
    })
}

pub(super) fn rank(epoch: u32, priority: f32, rank: i64, version: u64) -> Bytes {
    build(25, |out| {
        out.put_u8(RANK);
        out.put_u32(epoch);
        out.put_u32(ordered_float(priority));
        out.put_u64(ordered(rank));
        out.put_u64(version);
    })
}

/// As [`rank`], among the entries of one generation.
pub(super) fn rank_in(generation: u64, epoch: u32, priority: f32, rank: i64, version: u64) -> Bytes {
    in_generation(RANK_IN_NAMESPACE, generation, &self::rank(epoch, priority, rank, version))
}

/// As [`expiry`], among the entries of one generation.
pub(super) fn expiry_in(generation: u64, expires_at: i64, version: u64) -> Bytes {
    in_generation(EXPIRY_IN_NAMESPACE, generation, &expiry(expires_at, version))
}

/// The ranks of the entries of a generation.
pub(super) fn ranks_in(generation: u64) -> Range<Bytes> {
    let start = with_tail(RANK_IN_NAMESPACE, &generation.to_be_bytes());
    let end = successor(&start);
    start..end
}

/// The entries of a generation that expire up to and with this moment.
pub(super) fn expired_in(generation: u64, moment: Timestamp) -> Range<Bytes> {
    let start = with_tail(EXPIRY_IN_NAMESPACE, &generation.to_be_bytes());
    let last = in_generation(EXPIRY_IN_NAMESPACE, generation, &expiry(moment.as_nanos(), u64::MAX));
    start..after(&last)
}

/// The key of an index over all entries as one of an index over the entries of one generation.
fn in_generation(kind: u8, generation: u64, key: &[u8]) -> Bytes {
    build(8 + key.len(), |out| {
        out.put_u8(kind);
        out.put_u64(generation);
        out.put_slice(key.get(1..).unwrap_or_default());
    })
}

pub(super) fn created(generation: u64, created_at: i64, version: u64) -> Bytes {
    build(25, |out| {
        out.put_u8(CREATED);
        out.put_u64(generation);
        out.put_u64(ordered(created_at));
        out.put_u64(version);
    })
}

/// The time that a row of [`created`] names.
pub(super) fn created_at(key: &[u8]) -> Option<Timestamp> {
    let time = key.get(9..17)?.try_into().ok()?;
    Some(Timestamp::from_nanos((u64::from_be_bytes(time) ^ SIGN) as i64))
}

pub(super) fn garbage(due: i64, blob: BlobId) -> Bytes {
    build(25, |out| {
        out.put_u8(GARBAGE);
        out.put_u64(ordered(due));
        out.put_slice(blob.as_bytes());
    })
}

pub(super) fn blob(blob: BlobId) -> Bytes {
    with_tail(BLOB, blob.as_bytes())
}

/// That a blob was swept away.
pub(super) fn condemned(blob: BlobId) -> Bytes {
    with_tail(CONDEMNED, blob.as_bytes())
}

/// All rows of one kind.
pub(super) fn all(kind: u8) -> Range<Bytes> {
    Bytes::copy_from_slice(&[kind])..Bytes::copy_from_slice(&[kind + 1])
}

/// The entries of a generation whose keys begin with `prefix`.
pub(super) fn entries(generation: u64, prefix: &str) -> Range<Bytes> {
    let start = entry(generation, prefix);
    let end = successor(&start);
    start..end
}

/// The rows of a generation in the order in which their entries were put.
pub(super) fn all_created(generation: u64) -> Range<Bytes> {
    let start = with_tail(CREATED, &generation.to_be_bytes());
    let end = successor(&start);
    start..end
}

/// The rows of a kind that is ordered by time, up to and with this moment.
pub(super) fn until(kind: u8, moment: Timestamp) -> Range<Bytes> {
    let last = with_tail(kind, &ordered(moment.as_nanos()).to_be_bytes());
    Bytes::copy_from_slice(&[kind])..successor(&last)
}

/// The key that comes right after this one.
pub(super) fn after(key: &[u8]) -> Bytes {
    build(key.len() + 1, |out| {
        out.put_slice(key);
        out.put_u8(0);
    })
}

/// The first key that does not begin with `prefix` and comes after all that do.
fn successor(prefix: &[u8]) -> Bytes {
    // The first byte is a letter, so there always is one that can be raised.
    let kept = prefix.iter().rposition(|&byte| byte != 0xff).unwrap_or(0);
    let mut end = BytesMut::from(&prefix[..=kept]);
    end[kept] = end[kept].saturating_add(1);
    end.freeze()
}

/// A number whose bytes, most significant first, sort as the signed numbers do.
fn ordered(value: i64) -> u64 {
    (value as u64) ^ SIGN
}

/// The same for floating point numbers, in the order of [`f32::total_cmp`].
fn ordered_float(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn with_tail(kind: u8, tail: &[u8]) -> Bytes {
    build(1 + tail.len(), |out| {
        out.put_u8(kind);
        out.put_slice(tail);
    })
}

fn build(len: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(len);
    fill(&mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encoded_numbers_sort_as_the_numbers_do(a: i64, b: i64, x: f32, y: f32, v: u64, w: u64) {
            prop_assert_eq!(expiry(a, v).cmp(&expiry(b, w)), (a, v).cmp(&(b, w)));
            prop_assert_eq!(created_at(&created(7, a, v)), Some(Timestamp::from_nanos(a)));
            prop_assert_eq!(created(7, a, v).cmp(&created(7, b, w)), (a, v).cmp(&(b, w)));
            let order = x.total_cmp(&y).then(a.cmp(&b)).then(v.cmp(&w));
            prop_assert_eq!(rank(1, x, a, v).cmp(&rank(1, y, b, w)), order);
            prop_assert_eq!(rank_in(7, 1, x, a, v).cmp(&rank_in(7, 1, y, b, w)), order);
            prop_assert!(ranks_in(7).contains(&rank_in(7, 1, x, a, v)));
            prop_assert!(!ranks_in(8).contains(&rank_in(7, 1, x, a, v)));
            let within = expired_in(7, Timestamp::from_nanos(b)).contains(&expiry_in(7, a, v));
            prop_assert_eq!(within, a <= b);
        }

        #[test]
        fn entries_sort_by_generation_and_key_and_prefixes_hold_what_they_should(
            g: u64, h: u64, k in "[\\x00a\\u{ff}\\u{10ffff}]{0,4}", l in "[\\x00a\\u{ff}\\u{10ffff}]{0,4}",
        ) {
            prop_assert_eq!(entry(g, &k).cmp(&entry(h, &l)), (g, &k).cmp(&(h, &l)));
            prop_assert_eq!(entries(g, &k).contains(&entry(h, &l)), g == h && l.starts_with(&k));
            prop_assert!(entry(g, &k) < after(&entry(g, &k)));
            prop_assert!(!(after(&entry(g, &k))..entry(g, &k)).contains(&entry(h, &l)));
        }

        #[test]
        fn a_moment_is_within_what_lies_until_it(at: i64, until: i64, version: u64) {
            let range = super::until(EXPIRY, Timestamp::from_nanos(until));
            prop_assert_eq!(range.contains(&expiry(at, version)), at <= until);
        }
    }

    #[test]
    fn the_ends_of_the_ranges_of_numbers_are_found() {
        for at in [i64::MIN, -1, 0, i64::MAX] {
            assert!(until(EXPIRY, Timestamp::from_nanos(at)).contains(&expiry(at, u64::MAX)));
        }
        assert!(entries(u64::MAX, "").contains(&entry(u64::MAX, "\u{10ffff}")));
        assert!(!entries(u64::MAX, "").contains(&expiry(0, 0)));
    }
}
