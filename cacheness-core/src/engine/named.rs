//! Which blobs are named by entries, in bounded memory however many they are: a Bloom filter, by which a sweep of a large cache
//! finds the few that it has to ask for.

use twox_hash::XxHash3_128;

use crate::names::BlobId;

/// Blobs that entries name. It has each of them, and seems to have few others: one in 2,000 where there are up to 32
/// million entries, more beyond that. Those change from one filter to the next.
pub(super) struct Named {
    bits: Vec<u64>,
    seed: u64,
}

/// How many bits there are for each entry.
const BITS_PER_ENTRY: u64 = 16;

/// How many of them a blob sets.
const SET: u64 = 8;

/// The fewest and the most bits: 8 KiB and 64 MiB.
const FEWEST: u64 = 1 << 16;
const MOST: u64 = 1 << 29;

impl Named {
    /// For about so many entries.
    pub(super) fn of(entries: u64) -> Self {
        let bits = entries.saturating_mul(BITS_PER_ENTRY).clamp(FEWEST, MOST).next_power_of_two();
        // Another one each time, so that an orphan that seems to be named is found by the next sweep.
        let seed = (uuid::Uuid::new_v4().as_u128() >> 64) as u64;
        Self { bits: vec![0; (bits / 64) as usize], seed }
    }

    pub(super) fn add(&mut self, blob: BlobId) {
        for (word, bit) in self.places(blob) {
            self.bits[word] |= bit;
        }
    }

    /// True for every blob that was added, and for few others.
    pub(super) fn may_have(&self, blob: BlobId) -> bool {
        self.places(blob).all(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// The words and the bits in them that stand for a blob.
    fn places(&self, blob: BlobId) -> impl Iterator<Item = (usize, u64)> + use<> {
        let hash = XxHash3_128::oneshot_with_seed(self.seed, blob.as_bytes());
        // An odd step visits all places of a number that is a power of two.
        let (first, step, mask) = (hash as u64, (hash >> 64) as u64 | 1, self.bits.len() as u64 * 64 - 1);
        (0..SET).map(move |turn| {
            let place = first.wrapping_add(step.wrapping_mul(turn)) & mask;
            ((place / 64) as usize, 1 << (place % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Timestamp;

    #[test]
    fn what_was_added_is_always_there_and_little_else_seems_to_be() {
        let new = || BlobId::new(Timestamp::from_nanos(0));
        let blobs: Vec<BlobId> = (0..20_000).map(|_| new()).collect();
        let mut named = Named::of(20_000);
        blobs.iter().for_each(|&blob| named.add(blob));
        assert!(blobs.iter().all(|&blob| named.may_have(blob)));
        let wrong = (0..20_000).filter(|_| named.may_have(new())).count();
        assert!(wrong < 60, "{wrong} of 20,000 seem to be named");
    }

    #[test]
    fn more_entries_than_it_was_made_for_cost_memory_no_more() {
        assert_eq!(Named::of(u64::MAX).bits.len(), 1 << 23);
        assert_eq!(Named::of(0).bits.len(), 1 << 10);
    }
}
