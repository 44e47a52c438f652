//! What a newer version of Cacheness would store.

use twox_hash::XxHash3_64;

/// The stored record of an entry as a later version would write it that knows a class of types which this one does not.
/// It has the same length, and its checksum is right.
///
/// Tests put it in the place of `record`, past the backend, which must then say
/// [`Unsupported`](cacheness_core::ErrorKind::Unsupported) of the entry, and not that it is damaged.
///
/// # Panics
/// Where `record` is none that [`Entry::to_stored`](cacheness_core::Entry::to_stored) gives.
#[must_use]
pub fn of_a_newer_version(record: &[u8], namespace: &str, key: &str) -> Vec<u8> {
    let mut newer = record.to_vec();
    let end = newer.len().checked_sub(10).expect("a record ends with its checksum");
    let mut at = 0;
    // Fields before the one with the class have numbers below 16, which are one byte, and lengths of one byte.
    while newer[at] != 6 << 3 {
        let wire_type = newer[at] & 7;
        at += 1;
        match wire_type {
            0 => at += newer[at..].iter().position(|byte| byte & 0x80 == 0).expect("a number ends") + 1,
            2 => at += usize::from(newer[at]) + 1,
            other => panic!("a record has no field of wire type {other} before its class"),
        }
        assert!(at < end, "a record says of which class its type is");
    }
    newer[at + 1] = 99;
    let seed = XxHash3_64::oneshot(namespace.as_bytes());
    let seed = XxHash3_64::oneshot_with_seed(seed, key.as_bytes());
    let sum = XxHash3_64::oneshot_with_seed(seed, &newer[..end]);
    newer[end + 2..].copy_from_slice(&sum.to_le_bytes());
    newer
}
